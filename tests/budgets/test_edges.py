"""Holds asked for twice, holds by the hundred, and words that cannot be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from farthing import testing
from farthing.amounts import Amounts
from farthing.budgets.guard import Guard
from farthing.errors import BudgetConflict, BudgetExceededError, InputError
from farthing.ledger.holds import KEEP_US, LOT
from farthing.ledger.store import Filter
from farthing.policy import Budget, make_budget
from farthing.reports.evidence import verify
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


def test_the_key_of_a_call_that_is_over_holds_nothing(guard: Guard) -> None:
    """A key whose hold has ended is a conflict, not a way past the budget."""
    guard.set(None, usd="0.15")
    guard.reserve("cheap", usd="0.10", key="K", gone=True).settle(usd="0.10")
    with pytest.raises(BudgetConflict, match="is settled, so nothing is held"):
        guard.reserve("cheap", usd="0.10", key="K", gone=True)


def test_the_key_of_another_agents_call(guard: Guard) -> None:
    """One key cannot name holds in different budgets."""
    guard.set("agent=*", usd=1)
    guard.reserve("cheap", usd="0.10", key="K", agent="a")
    guard.reserve("cheap", usd="0.10", key="K", agent="a", step="again")
    with pytest.raises(BudgetConflict, match="for another call"):
        guard.reserve("cheap", usd="0.10", key="K", agent="b")


def test_a_key_of_ours_that_is_handed_on(guard: Guard) -> None:
    """Whoever asks by it has the hold that stands; delivered twice, the call is made once."""
    guard.set(None, usd=1)
    first = guard.reserve("cheap", usd="0.10")
    for _ in range(2):
        mine = guard.reserve("cheap", usd="0.10", key=first.key)
    mine.dispatch()
    mine.settle(usd="0.10")
    with pytest.raises(BudgetConflict, match="is settled, so nothing is held"):
        guard.reserve("cheap", usd="0.10", key=first.key)
    assert [(one.posted, one.reserved) for one in guard.status()] == [(10**11, 0)]


def test_a_call_that_another_has_settled_does_not_leave(guard: Guard) -> None:
    """Nothing is held for it any more, and that is said."""
    guard.set(None, usd=1)
    hold = guard.reserve("cheap", usd="0.10")
    guard.reserve("cheap", usd="0.10", key=hold.key).settle(usd="0.10")
    other = guard.reserve("cheap", usd="0.10")
    guard.accounts.settle(other.key, [])
    for one, state in ((hold, "settled"), (other, "over")):
        with pytest.raises(BudgetConflict, match=f"is {state}: another has ended it; reserve again"):
            one.dispatch()


def test_asked_for_again_as_gone(guard: Guard) -> None:
    """A hold that is asked for again with its call leaving has left: it is not freed any more."""
    guard.set(None, usd=1)
    first = guard.reserve("cheap", usd="0.10", key="K")
    assert guard.reserve("cheap", usd="0.10", key="K", gone=True).state == "dispatched"
    assert not first.release()
    assert guard.reserve("cheap", usd="0.10", key="K").state == "dispatched"


def test_a_budget_set_amid_calls(guard: Guard) -> None:
    """What calls under way hold counts in a budget that is set meanwhile, or whose window is another from now on."""
    guard.set(None, usd=1, per="day", name="day")
    under_way = [guard.reserve("cheap", usd="0.40", agent=agent, gone=True) for agent in "ab"]
    guard.set(None, usd=1, per="day", tz="Asia/Tokyo", name="day")
    guard.set("agent=*", usd="0.50", name="each")
    with pytest.raises(BudgetExceededError, match="budget 'day' has no room"):
        guard.reserve("cheap", usd="0.30", agent="c")
    with pytest.raises(BudgetExceededError, match="budget 'each' has no room"):
        guard.reserve("cheap", usd="0.20", agent="a")
    for hold in under_way:
        hold.settle(usd="0.10")
    assert {one.place: (one.posted, one.reserved) for one in guard.status()} == {
        "*": (2 * 10**11, 0),
        "agent=a": (10**11, 0),
        "agent=b": (10**11, 0),
        "agent=c": (0, 0),
    }


def test_all_that_is_due_makes_room(guard: Guard, clock: FakeClock) -> None:
    """However many holds are due, a call is refused only after all of them have ended."""
    guard.set(None, calls=3 * LOT)
    for _ in range(3 * LOT):
        guard.reserve("cheap", usd=0)
    clock.advance(601)
    assert guard.reserve("cheap", usd=0, calls=3 * LOT).covered


def test_old_holds_are_forgotten_behind_expired_ones(guard: Guard, clock: FakeClock) -> None:
    """Expired holds stay, for a late settlement, and keep none of those that ended after them."""
    guard.set(None, usd=100)
    lost = [guard.reserve("cheap", usd="0.01", gone=True) for _ in range(LOT + 1)]
    clock.advance(700)
    guard.accounts.expire(guard.now_us())
    ended = guard.reserve("cheap", usd="0.01", gone=True, key="mine")
    ended.settle(usd="0.01")
    assert guard.accounts.hold(ended.key) is not None
    for _ in range(3):
        clock.advance(KEEP_US / 1e6 + 1)
        guard.reserve("cheap", usd="0.01").release()
    assert guard.accounts.hold(ended.key) is None
    assert all(guard.accounts.hold(one.key) is not None for one in lost)


def test_holds_are_forgotten_after_all_of_before_are(guard: Guard, clock: FakeClock) -> None:
    """However often: the ledger numbers its rows anew when none is left."""
    guard.set(None, usd=100)
    for _ in range(3):
        ended = [guard.reserve("cheap", usd="0.01") for _ in range(5)]
        assert all(one.release() for one in ended)
        for _ in range(3):
            clock.advance(KEEP_US / 1e6 + 1)
            guard.reserve("cheap", usd="0.01", gone=True).settle(usd="0.01")
        assert [guard.accounts.hold(one.key) for one in ended] == [None] * 5


def test_a_stream_of_a_free_model_under_a_token_budget(guard: Guard) -> None:
    """What a stream accrues counts by its tokens where dollars are none; it holds what it is, however it leaps."""
    guard.set(None, tokens=300)
    held = guard.reserve("cheap", usd=0, tokens=100, input_tokens=10, gone=True)
    held.accrued(output_tokens=50)
    assert held.amounts.tokens == 100
    held.accrued(output_tokens=250)
    assert held.amounts == Amounts(0, 260, 1)
    with pytest.raises(BudgetExceededError):
        held.accrued(output_tokens=260)


def test_tokens_as_told(guard: Guard) -> None:
    """A caller who knows what comes at most is believed, also where the input is given, too."""
    guard.set(None, tokens=300)
    assert guard.reserve("cheap", tokens=150, input_tokens=100).amounts == Amounts(150 * 10**6, 150, 1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5, 0, "x", True])
def test_no_span_of_time(guard: Guard, seconds: Any) -> None:
    """A hold stands for a number of seconds above 0."""
    guard.set(None, usd=1)
    with pytest.raises(InputError, match=r"hold_s = .*: must be a number of seconds above 0"):
        guard.reserve("cheap", usd="0.1", hold_s=seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 10**30},
        {"limit": 5, "thresholds": (Decimal("NaN"),)},
        {"limit": 5, "thresholds": (0.8,)},
        {"limit": 5, "on_exceed": None},
    ],
)
def test_no_budget(wrong: dict[str, Any]) -> None:
    """What a budget cannot be is told where it is made, also without `make_budget`."""
    with pytest.raises(InputError):
        Budget(**{"name": "x", **wrong})


@pytest.mark.parametrize(
    ("scope", "words", "said"),
    [
        (None, {"thresholds": ["abc"]}, "threshold 'abc': must be"),
        (None, {"thresholds": [80]}, "threshold 80: must be .* up to 10, e.g. 0.8 for 80 %"),
        (None, {"thresholds": [float("nan")]}, "threshold nan: must be"),
        (None, {"window": "day"}, "window = 'day': say per="),
        (None, {"limit": 5}, "limit = 5: say usd="),
        (None, {"tz": None}, "unknown time zone None"),
        (None, {"critical": "no"}, "critical = 'no': must be True or False"),
        (None, {"owner": 3}, "owner = 3: must be text"),
        (None, {"usd": True}, "usd = True: must be a finite amount"),
        (None, {"usd": None, "tokens": 10**19}, "tokens = 10000000000000000000: the embedded ledger counts up to"),
        ("agent=a,agent=b", {}, "names agent twice"),
        ({"agent": None}, {}, "agent = None: name one, or '\\*' for each"),
        ({"agent": ""}, {}, "agent = '': name one"),
        ("agent=re*", {}, "scope agent=re\\*: a model may end in \\*; no other field"),
        ("model=gpt*o", {}, "scope model=gpt\\*o: \\* may stand at the end alone"),
        (5, {}, "scope = 5: must be text such as"),
        ({"agent": ["a", "b"]}, {}, "agent = \\['a', 'b'\\]: name one"),
        ("metadata.=7", {}, "unknown scope field 'metadata.'"),
        (None, {"thresholds": None}, "thresholds = None: must be a list"),
        (None, {"models": ["gpt-4o", ""]}, "each must be a model's name"),
    ],
)
def test_no_words_of_a_budget(scope: Any, words: dict[str, Any], said: str) -> None:
    """What cannot be is told with its value and what to say instead; a budget that would cover nothing is none."""
    with pytest.raises(InputError, match=said):
        make_budget(scope, **{"usd": 1, **words})


def test_no_name(guard: Guard) -> None:
    """Nobody is paused or killed by a name that is missing."""
    for wrong in ("", None):
        for word in (guard.people.pause, guard.people.resume, guard.people.kill, guard.people.set_critical):
            with pytest.raises(InputError, match="must be its name, as text"):
                word(wrong)  # type: ignore[operator]


def test_a_call_that_names_no_model(guard: Guard) -> None:
    """It is told to name one, not to register a price for none."""
    guard.set(None, usd=1)
    with pytest.raises(BudgetExceededError, match=r"names no model: .*\. Name it, or say usd="):
        guard.reserve(input_tokens=5)


def test_settled_by_hand(tracker: CostTracker, guard: Guard) -> None:
    """As many calls as were held, priced by a record that the ledger keeps; without a figure it is a mistake."""
    guard.set(None, calls=100)
    hold = guard.reserve("gpt-4o", calls=90, input_tokens=0, max_tokens=0)
    with pytest.raises(InputError, match="say what the call came to"):
        hold.settle()
    hold.settle(input_tokens=1000)
    assert guard.status()[0].posted == tracker.totals().calls == 90
    assert not verify(tracker.ledger, Filter()).wrong
    guard.reserve("gpt-4o", usd=0, calls=5).settle(usd=0, calls=2)
    assert guard.status()[0].posted == 92


def test_the_model_whose_price_nobody_knows_is_named(guard: Guard) -> None:
    """Of those that may answer it is the one to be registered, not the one that was asked for."""
    guard.set(None, usd=1)
    with pytest.raises(BudgetExceededError, match=r"register_model_pricing\('no-such-model'"):
        guard.reserve("cheap", models=["dear", "no-such-model"], input_tokens=10)


def test_a_truth_in_metadata_is_written_as_events_have_it(guard: Guard) -> None:
    """`True` of a scope is `true`, as in the metadata of calls."""
    guard.set({"metadata.trial": True}, calls=0)
    with pytest.raises(BudgetExceededError, match=r"metadata\.trial=true"):
        guard.reserve("cheap", usd=0, metadata={"trial": True})


def test_an_approval_ends_with_its_window(guard: Guard, clock: FakeClock) -> None:
    """Nobody can grant what would change nothing any more; the next call asks anew."""
    guard.set("agent=a", usd=1, per="day", on_exceed="ask")
    with pytest.raises(BudgetExceededError, match="Approval 1"):
        guard.reserve("cheap", usd=2, agent="a")
    clock.advance(days=1)
    assert guard.approvals() == []
    assert [one.state for one in guard.approvals(pending_only=False)] == ["expired"]
    with pytest.raises(InputError, match="was for a window that ended at 2026-03-11 00:00 UTC"):
        guard.grant(1)
    with pytest.raises(BudgetExceededError, match="Approval 2"):
        guard.reserve("cheap", usd=2, agent="a")
    guard.grant(2)
    guard.reserve("cheap", usd=2, agent="a")


def test_a_call_does_not_leave_on_a_hold_that_was_released(guard: Guard) -> None:
    """Nothing is held for it any more; what it came to all the same is posted."""
    guard.set(None, usd=1)
    with guard.reserve("cheap", usd="0.10") as hold:
        pass
    with pytest.raises(BudgetConflict, match="is released"):
        hold.dispatch()
    hold.settle(usd="0.10")
    assert (guard.status()[0].posted, guard.status()[0].reserved) == (10**11, 0)


def test_what_expired_verifies(tracker: CostTracker, guard: Guard, clock: FakeClock) -> None:
    """An estimate is its own evidence, whether its dollars were told or priced; so is the late settlement of one."""
    guard.set(None, usd=1)
    told = guard.reserve("cheap", usd="0.10", gone=True)
    guard.reserve("cheap", input_tokens=1000, max_tokens=100, gone=True)
    guard.reserve("no-such-model", usd=0, gone=True)
    clock.advance(601)
    assert (guard.status()[0].posted, guard.status()[0].reserved) == (10**11 + 1100 * 10**6, 0)
    found = verify(tracker.ledger, Filter())
    assert (found.wrong, found.events) == (0, 3), found.mismatches
    told.settle(usd="0.04")
    assert guard.status()[0].posted == 4 * 10**10 + 1100 * 10**6
    assert not verify(tracker.ledger, Filter()).wrong


def test_a_negative_number_of_characters(guard: Guard) -> None:
    """It is refused by its own name."""
    guard.set(None, usd=1)
    with pytest.raises(InputError, match="input_characters = -5"):
        guard.reserve("cheap", input_characters=-5)


def test_a_budget_of_a_user_where_users_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by the user and kept by the hash, also in its name: so calls of that user are in it."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    monkeypatch.setenv("FARTHING_HASH_KEY", "of this test")
    with testing.tracker({"m": (1, 1)}) as tracker:
        budget = tracker.guard.set("user=ann@example.org", usd=1)
        tracker.guard.set("user=*", usd=2, name="each")
        tracker.record("m", 900_000, user="ann@example.org")
        assert "ann" not in budget.to_json()
        with pytest.raises(BudgetExceededError) as caught:
            tracker.guard.reserve("m", usd="0.2", user="ann@example.org")
        assert (caught.value.budget, caught.value.posted) == (budget.name, Decimal("0.9"))
        tracker.guard.reserve("m", usd="0.2", user="bob@example.org")


def test_a_reset_of_no_budget(guard: Guard) -> None:
    """A name that no budget has is told, with those that there are."""
    guard.set("agent=a", usd=1, name="known")
    with pytest.raises(InputError, match="no budget 'nosuch': there are known"):
        guard.reset("nosuch")
