"""Holds that two ask for, grants and what they move, who is asked, and what comes in between."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import farthing
from farthing import testing
from farthing.budgets.estimate import Sample
from farthing.budgets.guard import Guard
from farthing.errors import BudgetConflict, BudgetExceededError, BudgetUnavailable, InputError, LedgerUnavailable
from farthing.event import to_us
from farthing.ledger import open_ledger, policies
from farthing.ledger.beside import place_beside, read_beside
from farthing.policy import Budget, make_budget
from farthing.tenants import TenantCostTracker
from farthing.testing import FakeClock
from farthing.tracker import CostTracker
from farthing.windows import CALENDAR


@pytest.mark.parametrize("gone", [False, True])
def test_what_another_has_asked_for_too_is_not_undone(guard: Guard, gone: bool) -> None:
    """Who gives a hold up that another has by its key gives up only its own word; the last one's frees it."""
    guard.set(None, usd=1)
    one, two = (guard.reserve("m", usd=1, key="k", gone=gone) for _ in range(2))
    one.undo()
    with pytest.raises(BudgetExceededError):
        guard.reserve("m", usd="0.01")
    two.undo()
    anew = guard.reserve("m", usd="0.60", key="k", gone=gone)
    anew.dispatch()
    anew.settle(usd="0.5")
    assert guard.status()[0].posted == 500_000_000_000


def test_a_key_said_again_after_a_long_time_is_a_conflict(guard: Guard, clock: FakeClock) -> None:
    """Its hold is forgotten by then, its event is not: what it came to now would be taken for the same."""
    guard.set(None, usd=1, per="day")
    hold = guard.reserve("m", usd="0.5", key="weekly")
    hold.dispatch()
    hold.settle(usd="0.5")
    clock.advance(days=8)
    guard.reserve("m", usd="0.01").release()
    with pytest.raises(BudgetConflict, match="settled"):
        guard.reserve("m", usd="0.5", key="weekly")


def test_a_stream_has_the_room_of_holds_that_are_due(guard: Guard, clock: FakeClock) -> None:
    """What frees itself is in the way of no top-up, as it is in the way of no new call."""
    guard.set(None, usd=1)
    stream = guard.reserve("m", usd="0.4", gone=True, hold_s=600)
    guard.reserve("m", usd="0.6", hold_s=10)
    clock.advance(11)
    stream.top_up(usd="0.3")
    assert guard.status()[0].reserved == 700_000_000_000
    stream.settle(usd="0.1")


def test_a_stream_whose_own_hold_is_due_has_none(guard: Guard, clock: FakeClock) -> None:
    """It is ended like others where room is looked for, and the stream hears of it."""
    guard.set(None, usd=1)
    stream = guard.reserve("m", usd="0.9", gone=True, hold_s=10)
    clock.advance(11)
    with pytest.raises(BudgetConflict, match="does not stand"):
        stream.top_up(usd="0.3")
    assert guard.status()[0].posted == 900_000_000_000


def test_a_reset_amid_calls(guard: Guard) -> None:
    """Never more than the limit is there again; only who asks for it has what calls under way hold on top."""
    guard.set(None, usd=1, name="all")
    hold = guard.reserve("m", usd="0.9", gone=True)
    assert guard.reset("all") == 0
    assert guard.reset("all", held=True) == 1
    with guard.reserve("m", usd=1), pytest.raises(BudgetExceededError):
        guard.reserve("m", usd="0.2")
    hold.settle(usd="0.9")
    assert guard.status()[0].remaining == 10**12


def test_what_was_granted_is_in_the_history(guard: Guard) -> None:
    """Resets and approvals, each with how much, for whom, by whom and why."""
    guard.set("agent=*", usd=1, name="each", on_exceed="ask")
    guard.set(None, calls=9, name="calls")
    guard.reserve("m", usd="0.75", agent="a", gone=True).settle(usd="0.75")
    guard.reset("each", by="ann", reason="a new month")
    with pytest.raises(BudgetExceededError) as caught:
        guard.reserve("m", usd="1.5", agent="a")
    guard.grant(caught.value.approval or 0, by="bob")
    told = [(one.action, one.by, one.reason) for one in guard.history("each")]
    assert told == [
        ("set", None, None),
        ("granted", "ann", "$0.75 more for agent=a: a new month"),
        ("granted", "bob", "$0.50 more for agent=a: approved"),
    ]
    assert [one.action for one in guard.history("calls")] == ["set"]


def test_two_resets_at_once_give_the_limit_once(tmp_path: Path) -> None:
    """What is granted is worked out where it is granted."""
    with open_ledger(tmp_path / "ledger.db") as store:
        guards = [Guard(lambda: store) for _ in range(8)]
        guards[0].set(None, usd=10, name="all")
        guards[0].reserve("m", usd=10, gone=True).settle(usd=10)
        threads = [threading.Thread(target=guard.reset, args=("all",)) for guard in guards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert guards[0].status()[0].granted == 10 * 10**12


def test_thresholds_are_of_what_was_granted_too(guard: Guard) -> None:
    """After a reset or a grant alerts come again, each in the words of the limit that holds then."""
    guard.set(None, usd=1, per="day", name="all")
    for _ in range(2):
        hold = guard.reserve("m", usd=1, gone=True)
        hold.settle(usd=1)
        guard.reset("all")
    told = [alert.text for alert in reversed(guard.alerts())]
    assert [text for text in told if text.startswith("100%")] == [
        "100% of the limit is reached: $1.00 of $1.00 spent",
        "100% of the limit is reached: $2.00 of $2.00 spent",
    ]


def test_an_answer_that_does_not_come_is_no_yes(tracker: CostTracker, guard: Guard) -> None:
    """A callback that raises is counted, and the call is refused as it would be without it."""
    guard.set(None, usd=1, on_exceed="ask")

    def asked(error: BudgetExceededError) -> bool:
        raise TimeoutError("nobody answered")

    guard.on_ask = asked
    with pytest.raises(BudgetExceededError, match="has no room"):
        guard.reserve("m", usd=2)
    assert tracker.faults == 1
    tracker.faults = 0


def test_two_calls_that_are_granted_one_approval(guard: Guard) -> None:
    """Both were asked about, and both pass: the second asks for the room that the first has taken."""
    guard.set(None, usd=1, on_exceed="ask")
    both = threading.Barrier(2)
    asked: list[str] = []

    def yes(error: BudgetExceededError) -> bool:
        asked.append(str(error))
        if len(asked) <= 2:
            both.wait(20)
        return True

    guard.on_ask = yes
    holds: list[Any] = []
    threads = [threading.Thread(target=lambda: holds.append(guard.reserve("m", usd=2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holds) == 2
    assert guard.status()[0].reserved == 4 * 10**12


def test_a_model_to_call_instead_that_nobody_knows(guard: Guard) -> None:
    """The refusal is the full budget's, and says what is wrong with the model that it names."""
    guard.set(None, usd=1, on_exceed="downgrade:chaep")
    with pytest.raises(BudgetExceededError, match=r"has no room.*'chaep', which is to be called instead") as caught:
        guard.reserve("dear", input_tokens=20_000, max_tokens=0)
    assert caught.value.why == "limit"


def test_an_alert_says_what_became_of_the_call(guard: Guard) -> None:
    """One that goes to a cheaper model was not refused; one to a model that is not allowed names it."""
    guard.set("agent=d", usd=1, on_exceed="downgrade:cheap")
    guard.set("agent=l", models=["cheap"])
    guard.set("agent=u", usd=1)
    guard.reserve("dear", input_tokens=20_000, max_tokens=0, agent="d")
    for agent, model in (("l", "dear"), ("u", "nobody-knows")):
        with pytest.raises(BudgetExceededError):
            guard.reserve(model, input_tokens=1, agent=agent)
    assert {(alert.rule, alert.text) for alert in guard.alerts()} == {
        ("downgraded:limit", "a call to dear was to go to a cheaper model: $0.00 of $1.00 spent, $2.00 asked for"),
        ("denied:model", "a call to dear was refused: that model is not allowed"),
        ("denied:unpriced", "a call to nobody-knows was refused: nobody knows its price"),
    }


def test_the_allowance_of_soft_budgets_can_be_set() -> None:
    """The error names the attribute, and that works."""

    def gone() -> Any:
        raise LedgerUnavailable("gone")

    guard = Guard(gone, known=lambda: [make_budget(None, usd=1, mode="soft")])
    with pytest.raises(BudgetUnavailable, match=r"guard\.allowance_usd"):
        guard.reserve("m", usd=2)
    guard.allowance_usd = "2.50"
    guard.reserve("m", usd=2)


def test_status_waits_for_calls_that_have_ended(tracker: CostTracker, guard: Guard) -> None:
    """As the tracker's own reports do: what is still to be written is written first."""
    guard.set(None, usd=1)
    waiting = [lambda: tracker.record("cheap", 1000, 0)]
    tracker.before_reading = lambda: waiting.pop()() if waiting else None
    assert guard.status()[0].posted == 1_000_000_000


def test_an_approval_is_of_the_organisation_whose_account_it_is() -> None:
    """Also where the budget is one for each organisation."""
    with testing.tracker() as plain, TenantCostTracker("acme", ledger=plain.ledger) as acme:
        plain.guard.set(None, usd=1, org="*", on_exceed="ask")
        with pytest.raises(BudgetExceededError) as caught:
            acme.guard.reserve("m", usd=2)
        (asked,) = acme.guard.approvals()
        assert (asked.number, asked.org) == (caught.value.approval, "acme")
        assert plain.guard.approvals(org="other") == []
        acme.guard.grant(asked.number)
        acme.guard.reserve("m", usd=2)


@pytest.mark.parametrize(
    "wrong", [{"org": ""}, {"org": " "}, {"org": None}, {"org": 5}, {"models": 5}, {"models": [1]}]
)
def test_no_budget_of_nobody(guard: Guard, wrong: dict[str, Any]) -> None:
    """One that would cover no call, or allow no model, was meant otherwise."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        guard.set(None, usd=1, **wrong)


def test_what_could_not_be_written_is_counted_once_in_a_block(
    tracker: CostTracker, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is spent, and held no more; what the ledger holds ends when it is due."""
    guard.set(None, usd=5)
    with farthing.budget(usd=2) as block:
        hold = guard.reserve("cheap", usd=1, gone=True)

        def full(*given: Any) -> Any:
            raise LedgerUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(guard.accounts, "settle", full)
            tracker.record("cheap", 1_000_000, 0, reservation=hold)
        assert (block.usd, block.remaining_usd) == (1, 1)
    assert (tracker.faults, tracker.lost) == (1, 1)
    tracker.faults = tracker.lost = 0


def test_a_call_amid_the_end_of_another(tracker: CostTracker, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler makes one: no lock of ours stands in its way."""
    guard.set(None, usd=5)
    plain = Sample.to_json
    calls: list[str] = []

    def to_json(sample: Sample) -> str:
        if not calls:
            calls.append("a call")
            with guard.reserve("cheap", input_tokens=10, max_tokens=5, gone=True) as hold:
                tracker.record("cheap", 10, 5, reservation=hold)
        return plain(sample)

    monkeypatch.setattr(Sample, "to_json", to_json)
    with guard.reserve("cheap", input_tokens=10, max_tokens=5, gone=True) as hold:
        tracker.record("cheap", 10, 5, reservation=hold)
    assert calls and tracker.totals().calls == 2


def test_calls_of_a_signal_handler_in_a_ledger_in_memory(tracker: CostTracker, guard: Guard) -> None:
    """Wherever it comes in between, both go on: what one has read is not the other's."""
    guard.set("agent=*", usd=1000)
    before = signal.signal(signal.SIGALRM, lambda *_: tracker.record("cheap", 10, 5, agent="b"))
    try:
        for n in range(3_000):
            signal.setitimer(signal.ITIMER_REAL, (n % 400 + 1) * 1e-6)
            with guard.reserve("cheap", input_tokens=10, max_tokens=5, agent="a", gone=True) as hold:
                hold.settle(usd="0.00002")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert tracker.totals().calls == tracker.ledger.totals()[0].totals.calls > 3_000


def test_what_was_expired_leaves_a_true_ledger(tmp_path: Path) -> None:
    """What windows have posted stays; the proof looks at the events of those that have them all."""
    with CostTracker(tmp_path / "ledger.db") as tracker:
        tracker.register_model_pricing("m", 1, 1)
        for per in ("day", "total"):
            tracker.guard.set("agent=a", usd=100, per=per, name=per)
        now = datetime.now(UTC)
        for days in (80, 40, 1, 0):
            tracker.record("m", 1_000_000, 0, agent="a", at=now - timedelta(days=days))
        assert tracker.ledger.expire(to_us(now - timedelta(days=30))).events == 2
        assert tracker.guard.accounts.audit().holds_true
        stand = {one.budget.name: one.posted for one in tracker.guard.status()}
        assert stand == {"day": 10**12, "total": 4 * 10**12}


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_call_of_a_moment_that_cannot_be_is_kept(tmp_path: Path, at: datetime) -> None:
    """A mistaken clock loses no event, whatever budgets there are."""
    with CostTracker(tmp_path / "ledger.db") as tracker:
        tracker.register_model_pricing("m", 1, 1)
        for per in CALENDAR:
            tracker.guard.set(None, usd=100, per=per, tz="America/New_York")
        tracker.record("m", 1_000_000, 0, at=at)
        assert (tracker.faults, tracker.lost) == (0, 0)
        assert tracker.ledger.totals()[0].totals.calls == 1
        assert tracker.guard.accounts.audit().holds_true


def test_half_a_character_loses_no_event(tracker: CostTracker, guard: Guard) -> None:
    """What no database takes as text is mended in the event that budgets see, too; a call that asks with it is told."""
    guard.set("agent=*", usd=10)
    for agent in ("a", "x\ud800"):
        tracker.record("cheap", 10, 5, agent=agent)
    assert (tracker.faults, tracker.lost) == (0, 0)
    assert {one.place for one in guard.status()} == {"agent=a", "agent=x\ufffd"}
    with pytest.raises(BudgetUnavailable, match="is no text"):
        guard.reserve("cheap", input_tokens=10, max_tokens=5, agent="x\ud800")


def test_a_look_is_no_call(guard: Guard) -> None:
    """`check` uses nothing of what soft budgets let pass while the ledger is out of reach."""

    def gone() -> Any:
        raise LedgerUnavailable("gone")

    guard = Guard(gone, known=lambda: [make_budget(None, usd=1, mode="soft")])
    for _ in range(5):
        guard.check("m", usd="0.4")
    guard.reserve("m", usd=1)
    with pytest.raises(BudgetUnavailable):
        guard.check("m", usd="0.4")


def test_what_is_kept_beside_is_of_the_ledger_that_is_there(tmp_path: Path) -> None:
    """Of another one, that lay here before, it is put right when budgets are first asked for."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=1)
        store.backup(tmp_path / "copy")
        guard.remove("agent=a usd per total")
        guard.set("agent=z", usd=1)
    restored = next((tmp_path / "copy").glob("*.db"))
    place_beside(str(restored)).write_text(place_beside(str(path)).read_text())
    with open_ledger(restored) as store:
        store.accounts.rules()
    assert [budget.scope_text for budget in read_beside(str(restored))] == ["agent=a"]


def test_a_budget_that_cannot_be_opened_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says what is in the ledger, which a budget is when all about it is done."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        budget = guard.set("agent=a", usd=1)

        def fails(*given: Any, **more: Any) -> Any:
            raise LedgerUnavailable("gone")

        monkeypatch.setattr(policies, "spent", fails)
        with pytest.raises(LedgerUnavailable):
            guard.set("agent=z", usd=1)
        assert read_beside(str(path)) == [budget]


def test_a_budget_that_an_earlier_version_kept_can_be_removed(guard: Guard) -> None:
    """What cannot be said any more is still read: an organisation without a name covers nobody."""
    guard.put(Budget(name="odd", limit=1, org=""))
    guard.set("agent=a", usd=1)
    assert {one.name for one in guard.budgets()} == {"odd", "agent=a usd per total"}
    guard.reserve("m", usd=1, agent="a")


def test_a_model_to_call_instead_of_one_that_is_not_listed(guard: Guard) -> None:
    """The alert says that the call was to go elsewhere, not that it was refused."""
    guard.set(None, models=["cheap"], on_exceed="downgrade:cheap")
    assert guard.reserve("dear", input_tokens=1).model == "cheap"
    (alert,) = guard.alerts()
    assert (alert.rule, alert.text) == (
        "downgraded:model",
        "a call to dear was to go to another model: that model is not allowed",
    )


def test_a_limit_given_to_a_list_of_models_opens_with_what_is_spent(tracker: CostTracker, guard: Guard) -> None:
    """Calls made and calls under way count, as for any new budget."""
    guard.set("agent=a", models=["cheap"], name="x")
    for _ in range(3):
        tracker.record("cheap", 10, 0, agent="a")
    hold = guard.reserve("cheap", input_tokens=1, max_tokens=1, agent="a", gone=True)
    guard.set("agent=a", calls=5, models=["cheap"], name="x")
    (stand,) = guard.status()
    assert (stand.posted, stand.reserved) == (3, 1)
    hold.settle(usd=0)


def test_what_is_exhausted_is_so_with_a_list_of_models_too(tracker: CostTracker, guard: Guard) -> None:
    """Whichever model a call may name, nothing is left; and where one call may come to nothing, none may be made."""
    guard.set("agent=a", usd=1, models=["cheap"], name="x")
    assert guard.exhausted(agent="a") is None
    tracker.record("cheap", 2_000_000, 0, agent="a")
    assert guard.exhausted(agent="a") is not None
    guard.set("agent=b", usd=0, per="call")
    assert guard.exhausted(agent="b") is not None


def test_what_is_kept_beside_another_ledger_is_not_this_ones(tmp_path: Path) -> None:
    """However often the budgets of each were changed."""
    for name in ("a", "b"):
        with open_ledger(tmp_path / f"{name}.db") as store:
            Guard(lambda: store).set(f"agent={name}", usd=1)
    place_beside(str(tmp_path / "a.db")).replace(place_beside(str(tmp_path / "b.db")))
    with open_ledger(tmp_path / "b.db") as store:
        store.accounts.rules()
    assert [budget.scope_text for budget in read_beside(str(tmp_path / "b.db"))] == ["agent=b"]
