"""The guard: what is held, what is denied and how it is said; downgrades, approvals, alerts; a ledger out of reach."""

from __future__ import annotations

import asyncio
import pickle
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import farthing
from farthing import testing
from farthing.budgets import guard as guard_module
from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError, BudgetUnavailable, InputError, LedgerBusy, LedgerUnavailable
from farthing.event import Attribution
from farthing.ledger import Store, open_ledger
from farthing.ledger.alerts import Alert
from farthing.ledger.beside import place_beside, read_beside
from farthing.ledger.holds import Ask
from farthing.policy import make_budget
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


def test_reserve_and_record(tracker: CostTracker, guard: Guard) -> None:
    """A record with a reservation ends it in the transaction that keeps its event, dated as the hold."""
    guard.set("agent=researcher", usd=1, per="day", name="r")
    with guard.reserve("dear", input_tokens=1000, max_tokens=500, agent="researcher") as hold:
        assert hold.held_usd == Decimal("0.15")
        hold.dispatch()
        event = tracker.record("dear", 1000, 100, agent="researcher", reservation=hold)
    (found,) = guard.status()
    assert (found.posted, found.reserved, hold.state) == (event.cost_pico, 0, "settled")
    assert event.at_us == hold.at_us
    assert found.inflation == pytest.approx(0.15 / 0.11)


def test_a_reservation_is_the_hold_itself(tracker: CostTracker, guard: Guard) -> None:
    """Its key, or a reserve that was not awaited, is refused before anything is written."""
    guard.set("agent=researcher", usd=1)
    hold = guard.reserve("dear", input_tokens=1000, max_tokens=500, agent="researcher", gone=True)
    with pytest.raises(InputError, match="must be the hold that"):
        tracker.record("dear", 1000, 100, agent="researcher", reservation=hold.key)
    assert list(tracker.ledger.events()) == [] and hold.state == "dispatched"


def test_left_without_an_end(guard: Guard) -> None:
    """What never left is freed, also by an error; what left stays held until it expires."""
    guard.set(None, usd=1, name="all")
    with pytest.raises(RuntimeError), guard.reserve("m", usd="0.1"):
        raise RuntimeError
    with guard.reserve("m", usd="0.2") as hold:
        hold.dispatch()
    assert guard.status()[0].reserved == 2 * 10**11


def test_async(tracker: CostTracker, guard: Guard) -> None:
    """The same from an event loop."""

    async def work() -> None:
        async with await guard.areserve("m", usd="0.10", agent="a") as hold:
            await hold.adispatch()
            assert await hold.asettle(usd="0.08") == ["added"]
        async with await guard.areserve("m", usd="0.10", agent="a") as other:
            assert await other.arelease() is True

    guard.set("agent=a", usd=1)
    asyncio.run(work())
    assert (guard.status()[0].posted, guard.status()[0].reserved) == (8 * 10**10, 0)


def test_a_call_that_nothing_covers_holds_nothing(guard: Guard) -> None:
    """Without a budget for it a call costs a look; nothing is written."""
    guard.set("agent=a", usd=1)
    hold = guard.reserve("no-such-model", agent="b")
    assert not hold.covered
    assert hold.release() is True
    assert guard.accounts.audit().holds == 0


def test_scopes(guard: Guard) -> None:
    """`agent=*` has an account for each agent, a model is meant by a beginning, metadata and tasks are scopes too."""
    guard.set("agent=*", usd=1, name="each")
    guard.set("model=gpt-4o*,agent=a", calls=1, name="model")
    guard.set("metadata.ticket=7", calls=1, name="ticket")
    guard.set(None, calls=1, per="task", name="task")
    guard.reserve("gpt-4o-mini", usd="0.6", agent="a")
    guard.reserve("gpt-4o", usd="0.6", agent="b")
    for expected, model, who in (
        ("each", "x", {"agent": "a"}),
        ("model", "gpt-4o-2024-08-06", {"agent": "a"}),
        ("ticket", "x", {"metadata": {"ticket": 7}}),
        ("task", "x", {"task": "t1"}),
    ):
        if expected in ("ticket", "task"):
            guard.reserve(model, usd=0, **who)
        with pytest.raises(BudgetExceededError) as caught:
            guard.reserve(model, usd="0.6" if expected == "each" else 0, **who)
        assert caught.value.budget == expected
    guard.reserve("x", usd=0, task="t2")


def test_what_answered_counts_for_what_was_asked(tracker: CostTracker, guard: Guard) -> None:
    """A budget for `cheap` counts the call that asked for it, whatever dated name answered."""
    guard.set("model=cheap", calls=2, name="m")
    tracker.record("cheap-2026-01-01", 1, 1, requested_model="cheap")
    tracker.record("cheap", 1, 1)
    assert guard.status()[0].posted == 2


def test_a_budget_of_a_provider(tracker: CostTracker, guard: Guard) -> None:
    """It holds for calls that name only the model: their provider is that of its price, as their events have it."""
    guard.set("provider=openai", usd=1, name="openai")
    with guard.reserve("gpt-4o", usd="0.6") as hold:
        hold.dispatch()
        tracker.record("gpt-4o", 10, 10, cost_usd="0.5", reservation=hold)
    with pytest.raises(BudgetExceededError) as caught:
        guard.reserve("gpt-4o-mini", usd="0.6")
    assert (caught.value.budget, caught.value.posted) == ("openai", Decimal("0.5"))
    with pytest.raises(BudgetExceededError):
        guard.check("gpt-4o-mini", usd="0.6")
    assert not guard.reserve("claude-3-haiku", usd="0.6").covered
    assert not guard.reserve("gpt-4o", usd="0.6", provider="azure").covered


def test_one_call_and_lists_of_models(guard: Guard) -> None:
    """A budget per call, an allow-list of models, and calls a minute are budgets."""
    guard.set(None, usd="0.5", per="call", name="one")
    guard.set("agent=a", models=["cheap", "gpt-*"], name="list")
    guard.set("agent=a", calls=2, per="minute", name="rate")
    with pytest.raises(BudgetExceededError, match=r"\$0\.50 for one call") as caught:
        guard.reserve("cheap", usd="0.51", agent="a")
    assert caught.value.why == "call"
    with pytest.raises(BudgetExceededError, match="allows cheap, gpt-") as caught:
        guard.reserve("dear", usd="0.1", agent="a")
    assert caught.value.why == "model"
    guard.reserve("gpt-9", usd="0.1", agent="a")
    guard.reserve("cheap", usd="0.1", agent="a")
    with pytest.raises(BudgetExceededError, match="2 calls per minute"):
        guard.reserve("cheap", usd="0.1", agent="a")


def test_the_error_travels(guard: Guard) -> None:
    """It can be pickled, is JSON-safe, and is no error of a connection or of the system."""
    guard.set(None, usd="0.1", per="day", tz="Asia/Tokyo", name="d")
    with pytest.raises(BudgetExceededError) as caught:
        guard.reserve("m", usd=1)
    error = pickle.loads(pickle.dumps(caught.value))
    assert vars(error) == vars(caught.value) and str(error) == str(caught.value)
    assert error.to_dict()["resets_at"] == "2026-03-10T15:00:00+00:00"
    assert not isinstance(error, OSError)


def test_check_holds_nothing(guard: Guard) -> None:
    """`check` raises what `reserve` would, and leaves nothing behind."""
    guard.set("agent=a", usd=1)
    guard.check("m", usd=1, agent="a")
    with pytest.raises(BudgetExceededError):
        guard.check("m", usd="1.01", agent="a")
    assert guard.status()[0].reserved == 0


def test_soft_and_shadow(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """Soft and shadow budgets let pass; what they would have denied is told once and counted."""
    told: list[Alert] = []
    guard.on_alert = told.append
    guard.set("agent=a", usd=1, name="soft", mode="soft")
    guard.set("agent=a", usd=1, name="shadow", mode="shadow")
    for _ in range(3):
        guard.reserve("m", usd=2, agent="a", gone=True).settle(usd=2)
    assert [(a.budget, a.rule) for a in told] == [
        ("soft", "would_deny:limit"),
        ("shadow", "would_deny:limit"),
        ("soft", "threshold:0.8"),
        ("soft", "threshold:1"),
        ("shadow", "threshold:0.8"),
        ("shadow", "threshold:1"),
    ]
    kept = {(a.budget, a.rule): a.times for a in guard.alerts()}
    assert kept["soft", "would_deny:limit"] == 3
    assert len([r for r in caplog.records if "soft" in r.getMessage()]) == 3


def test_who_is_told_of_alerts_stops_no_call() -> None:
    """What a listener raises is counted as a fault; a soft budget lets pass all the same, a hard one says itself."""

    def broken(alert: object) -> None:
        raise ConnectionError("nobody listens")

    tracker = testing.tracker({"dear": (100, 100)})
    guard = tracker.guard
    guard.on_alert = broken
    guard.set("agent=soft", usd=1, mode="soft")
    assert guard.reserve("dear", usd=2, agent="soft").state == "held"
    guard.set("agent=hard", usd=1)
    with pytest.raises(BudgetExceededError):
        guard.reserve("dear", usd=2, agent="hard")
    assert tracker.faults == 2


def test_thresholds_once_a_window(tracker: CostTracker, guard: Guard, clock: FakeClock) -> None:
    """Each threshold is told once a window, by plain records as well; a new window tells anew."""
    told: list[str] = []
    guard.on_alert = lambda alert: told.append(f"{alert.place} {alert.rule}")
    guard.set("agent=*", usd=1, per="day", thresholds=[0.5, 1])
    for _ in range(4):
        tracker.record("dear", 4000, agent="a")
    assert told == ["agent=a threshold:0.5", "agent=a threshold:1"]
    clock.advance(days=1)
    tracker.record("dear", 6000, agent="a")
    assert told[2:] == ["agent=a threshold:0.5"]


def test_downgrade(guard: Guard) -> None:
    """Where the dear model does not fit, the cheaper one that the budget names is held for."""
    guard.set("agent=a", usd="0.10", on_exceed="downgrade:cheap", name="d")
    hold = guard.reserve("dear", input_tokens=1000, max_tokens=1000, agent="a")
    assert (hold.model, hold.held_usd) == ("cheap", Decimal("0.002"))
    with pytest.raises(BudgetExceededError):
        guard.reserve("dear", input_tokens=100_000, max_tokens=1000, agent="a")
    guard.set("agent=b", models=["cheap"], on_exceed="downgrade:cheap", name="list")
    assert guard.reserve("dear", input_tokens=1000, agent="b").model == "cheap"
    assert guard.reserve("cheap", models=["cheap"], input_tokens=1000, agent="b").model == "cheap"
    guard.set("agent=b", models=["other"], on_exceed="downgrade:cheap", name="list")
    with pytest.raises(BudgetExceededError, match="does not allow model 'cheap'"):
        guard.reserve("dear", input_tokens=1000, agent="b")


def test_ask_a_callback(guard: Guard) -> None:
    """`ask`: the callback sees the error and lets the call pass, in this window."""
    asked: list[BudgetExceededError] = []
    guard.set("agent=a", usd=1, on_exceed="ask", name="q")
    guard.on_ask = lambda error: not asked.append(error)  # type: ignore[func-returns-value]
    guard.reserve("m", usd=2, agent="a", gone=True).settle(usd=2)
    assert [error.requested for error in asked] == [2]
    for answer in (False, None, "no", object()):  # the last as a coroutine would be, which nobody awaits
        guard.on_ask = lambda error, said=answer: said  # type: ignore[assignment,misc]
        with pytest.raises(BudgetExceededError):
            guard.reserve("m", usd="0.01", agent="a")


def test_ask_a_callback_for_one_call(guard: Guard) -> None:
    """A call that is dearer than one may be is asked for once, and let pass; others of its models count, too."""
    asked: list[BudgetExceededError] = []
    guard.set("agent=a", usd=1, per="call", on_exceed="ask", name="one")
    guard.set("agent=a", usd=2, on_exceed="ask", name="all")
    guard.on_ask = lambda error: not asked.append(error)  # type: ignore[func-returns-value]
    hold = guard.reserve("cheap", models=["dear"], input_tokens=30_000, max_tokens=0, agent="a")
    assert hold.held_usd == 3
    assert [(error.budget, error.why) for error in asked] == [("one", "call")]
    with pytest.raises(BudgetExceededError, match="this one needs up to"):
        hold.top_up(usd=1)
    guard.on_ask = lambda error: False
    with pytest.raises(BudgetExceededError, match="for one call"):
        guard.reserve("cheap", usd="1.01", agent="a")


def test_a_list_has_every_model_that_may_answer(guard: Guard) -> None:
    """A fallback that is not listed is refused before it can answer."""
    guard.set("agent=a", models=["cheap"], name="list")
    guard.reserve("cheap", models=["cheap"], agent="a")
    for ask in (guard.reserve, guard.check):
        with pytest.raises(BudgetExceededError, match="does not allow model 'dear'"):
            ask("cheap", models=["dear"], agent="a")


def test_a_call_that_came_to_more_than_one_may(tracker: CostTracker, guard: Guard) -> None:
    """It is told, also where nobody asked before: each by itself, and of many that come at once the first."""
    guard.set("agent=a", usd=1, per="call", name="one")
    told: list[Alert] = []
    guard.on_alert = told.append
    guard.reserve("cheap", usd="0.9", agent="a", gone=True).settle(usd="1.5")
    for tokens in (1_000_000, 1_000_001):
        tracker.record("cheap", tokens, 0, agent="a")
    assert [(one.rule, one.requested) for one in told] == [
        ("over:call", 15 * 10**11),
        ("over:call", 10**12 + 10**6),
    ]
    assert told[0].text == "a call came to $1.50, above $1.00"
    assert [(one.rule, one.times) for one in guard.alerts()] == [("over:call", 2)]


def test_one_call_tops_up_as_far_as_one_may_come(guard: Guard) -> None:
    """What a stream holds in all is compared with what one call may cost."""
    guard.set(None, usd=1, per="call")
    hold = guard.reserve("cheap", usd="0.9", gone=True)
    hold.top_up(usd="0.1")
    with pytest.raises(BudgetExceededError) as caught:
        hold.top_up(usd="0.1")
    assert (caught.value.why, caught.value.requested) == ("call", Decimal("1.1"))
    assert hold.held_usd == 1


def test_ask_a_person(guard: Guard) -> None:
    """Without a callback an approval waits, one for an account; granted, the call passes."""
    guard.set("agent=a", usd=1, on_exceed="ask", name="q")
    for usd in ("1.5", "1.2"):
        with pytest.raises(BudgetExceededError, match="Approval 1 was asked for") as caught:
            guard.reserve("m", usd=usd, agent="a")
        assert caught.value.approval == 1
    (waiting,) = guard.approvals()
    assert (waiting.number, waiting.place, waiting.amount) == (1, "agent=a", 5 * 10**11)
    guard.grant(1, by="ann", reason="just today")
    guard.reserve("m", usd="1.5", agent="a")
    assert guard.approvals() == []
    with pytest.raises(InputError, match="granted already"):
        guard.refuse(1)


def test_reset_is_an_entry(guard: Guard) -> None:
    """A reset gives the limit anew and leaves what was spent, with who and why in the entries."""
    guard.set("agent=a", usd=1, name="r")
    guard.reserve("m", usd=1, agent="a", gone=True).settle(usd=1)
    assert guard.reset("r", by="ann", reason="new sprint") == 1
    guard.reserve("m", usd=1, agent="a")
    assert (guard.status()[0].posted, guard.status()[0].limit) == (10**12, 2 * 10**12)


def test_streams_top_up(guard: Guard, clock: FakeClock) -> None:
    """What a stream has come to is compared with its hold: topped up while it fits, stopped when not."""
    guard.set("agent=a", usd="0.25", name="s")
    hold = guard.reserve("m", usd="0.10", tokens=100, agent="a", gone=True)
    hold.accrued(usd="0.05")
    assert hold.held_usd == Decimal("0.10")
    hold.accrued(usd="0.10")
    assert hold.held_usd == Decimal("0.15")
    hold.accrued(usd="0.16")
    with pytest.raises(BudgetExceededError):
        hold.accrued(usd="0.24")
    hold.settle(usd="0.24")
    assert (guard.status()[0].posted, guard.status()[0].reserved) == (24 * 10**10, 0)


def test_what_a_stream_shows_is_held_at_its_price(tracker: CostTracker, guard: Guard) -> None:
    """Output that is dearer than input is held as output, by the dearest model that may answer."""
    tracker.register_model_pricing("uneven", input_price_per_million=1, output_price_per_million=100)
    guard.set(None, usd=3)
    hold = guard.reserve("cheap", models=["uneven"], input_tokens=1_000_000, max_tokens=100, gone=True)
    assert hold.held_usd == Decimal("1.01")
    hold.accrued(output_tokens=99)
    hold.accrued(output_tokens=100)
    assert (hold.held_usd, hold.amounts.tokens) == (Decimal("1.015"), 1_000_150)
    hold.accrued(output_tokens=10_000)
    assert (hold.held_usd, hold.amounts.tokens) == (2, 1_010_000)
    with pytest.raises(BudgetExceededError):
        hold.accrued(output_tokens=20_001)


def test_extend(guard: Guard, clock: FakeClock) -> None:
    """A hold that is extended outlives its first end."""
    guard.set("agent=a", usd=1)
    hold = guard.reserve("m", usd="0.10", agent="a", gone=True, hold_s=60)
    clock.advance(50)
    assert hold.extend(600)
    clock.advance(60)
    assert guard.status()[0].reserved == 10**11
    clock.advance(600)
    assert (guard.status()[0].reserved, guard.status()[0].posted) == (0, 10**11)
    assert not hold.extend()


def test_several_models_may_answer(tracker: CostTracker, guard: Guard) -> None:
    """Without another name the first of them counts as the call's, and the dearest is what is held."""
    guard.set(None, usd=5, name="all", models=["cheap", "dear"])
    with guard.reserve(models=["cheap", "dear"], input_tokens=1000, max_tokens=0) as hold:
        assert (hold.model, hold.held_usd) == ("cheap", Decimal("0.1"))
    with pytest.raises(BudgetExceededError, match="does not allow model 'other'"):
        guard.check(models=["cheap", "other"], input_tokens=1)


def test_check_says_what_reserve_would(tracker: CostTracker, guard: Guard, clock: FakeClock) -> None:
    """Also where a hold that is due is in the way; nobody hears of an alert, and nothing is held."""
    guard.set(None, usd=1, name="all")
    guard.reserve("m", usd=1, hold_s=10)
    with pytest.raises(BudgetExceededError):
        guard.check("m", usd="0.5")
    clock.advance(11)
    guard.check("m", usd="0.5")
    assert not guard.alerts()
    assert guard.status()[0].reserved == 0


def test_amounts_that_cannot_be_are_told_where_no_budget_asks_for_them(guard: Guard) -> None:
    """The mistake shows at once, not on the day on which somebody sets a budget."""
    for wrong in ({"usd": -1}, {"usd": float("nan")}, {"input_tokens": "5"}, {"max_tokens": -1}):
        with pytest.raises(InputError):
            guard.reserve("m", **wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError):
            guard.check("m", **wrong)  # type: ignore[arg-type]


class Broken:
    """Gives a ledger until it is broken."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.broken = False

    def __call__(self) -> Store:
        if self.broken:
            raise LedgerUnavailable("gone")
        return self.store


def test_a_ledger_out_of_reach(tmp_path: Path) -> None:
    """Hard budgets fail closed; soft ones open, up to the allowance; what no budget covers passes, and what is free."""
    with open_ledger(tmp_path / "ledger.db") as store:
        source = Broken(store)
        guard = Guard(source, allowance_usd="0.50")
        guard.set("agent=hard", usd=1, name="h")
        guard.set("agent=soft", usd=1, name="s", mode="soft")
        guard.set("agent=few", calls=5, name="f")
        guard.reserve("m", usd=0, agent="hard")
        source.broken = True
        guard.reserve("m", usd=0, agent="hard")
        with pytest.raises(BudgetUnavailable, match="hard budget 'f' cannot be asked"):
            guard.reserve("m", usd=0, agent="few")
        with pytest.raises(BudgetUnavailable, match="hard budget 'h' cannot be asked"):
            guard.reserve("m", usd="0.01", agent="hard")
        guard.reserve("m", usd="0.30", agent="soft")
        with pytest.raises(BudgetUnavailable, match=r"0\.5 USD that soft budgets allow"):
            guard.reserve("m", usd="0.30", agent="soft")
        guard.reserve("m", usd=50, agent="other")
        source.broken = False
        guard.reserve("m", usd="0.30", agent="soft")
    declared = [make_budget("agent=hard", usd=1)]
    with pytest.raises(BudgetUnavailable):
        Guard(_never, known=lambda: declared).reserve("m", usd=1, agent="hard")


def test_a_ledger_that_hangs_is_left_alone_by_whom_it_cannot_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soft calls do not wait for it one after the other: after one has, the next tries half a minute later."""
    now, asked = [100.0], []
    monkeypatch.setattr(guard_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with open_ledger(tmp_path / "ledger.db") as store:
        guard = Guard(lambda: store)
        guard.set("agent=soft", calls=100, mode="soft")
        guard.set("agent=hard", calls=100)
        reserve = store.accounts.reserve

        def hangs(ask: Ask) -> Any:
            asked.append(ask.subject.who.agent)
            if guard.is_out_of_reach():
                guard.reserve("m", usd=0, agent="soft")  # another one, while this one tries: it does not wait
            raise LedgerBusy("locked")

        monkeypatch.setattr(store.accounts, "reserve", hangs)
        for _ in range(3):
            guard.reserve("m", usd="0.01", agent="soft")
        assert asked == ["soft"] and guard.is_out_of_reach()
        with pytest.raises(BudgetUnavailable, match="locked"):
            guard.reserve("m", usd="0.01", agent="hard")
        now[0] += guard_module.OUT_OF_REACH_S
        for _ in range(3):
            guard.reserve("m", usd="0.01", agent="soft")
        assert asked == ["soft", "hard", "soft"]
        monkeypatch.setattr(store.accounts, "reserve", reserve)
        assert not guard.reserve("m", usd="0.01", agent="soft").covered
        now[0] += guard_module.OUT_OF_REACH_S
        assert guard.reserve("m", usd="0.01", agent="soft").covered and not guard.is_out_of_reach()


@pytest.mark.parametrize("harm", ["damaged", "cut off", "a folder in its place"])
def test_a_new_process_holds_budgets_of_a_ledger_it_cannot_open(tmp_path: Path, harm: str) -> None:
    """It knows them by what is kept beside the ledger: those in force, not those that were removed."""
    path = tmp_path / "ledger.db"
    with farthing.CostTracker(path) as tracker:
        tracker.guard.set("agent=hard", usd=1)
        tracker.guard.set("agent=gone", usd=1)
        tracker.guard.remove("agent=gone usd per total")
    if harm == "a folder in its place":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"\x07" * 20_000 if harm == "damaged" else path.read_bytes()[:5_000])
    with farthing.CostTracker(path) as tracker:
        with pytest.raises(BudgetUnavailable, match="hard budget 'agent=hard usd per total' cannot be asked"):
            tracker.guard.reserve("m", usd="0.01", agent="hard")
        assert not tracker.guard.reserve("m", usd="0.01", agent="gone").covered


def test_budgets_are_kept_beside_a_ledger_that_has_none_kept(tmp_path: Path) -> None:
    """A ledger of an earlier version, or restored from a backup, gets the file when its budgets are first read."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        budget = Guard(lambda: store).set("agent=a", usd=1)
    place_beside(str(path)).unlink()
    with open_ledger(path) as store:
        store.accounts.rules()
    assert read_beside(str(path)) == [budget]
    assert place_beside(str(path)).stat().st_mode & 0o777 == 0o600


def _never() -> Store:
    raise LedgerUnavailable("gone")


def test_public_faces() -> None:
    """The names that callers use, and the defaults of a budget."""
    budget = make_budget("agent=researcher", usd=50, per="day", tz="Europe/Amsterdam")
    assert isinstance(budget, farthing.Budget)
    assert (budget.name, budget.mode) == ("agent=researcher usd per day", "hard")
    with pytest.raises(InputError, match="one limit"):
        make_budget(None, usd=1, tokens=1)
    with pytest.raises(InputError, match="a budget has no lmit"):
        make_budget(None, usd=1, lmit=1)
    with pytest.raises(TypeError, match="no keyword 'agnt'"):
        Guard(_never).reserve("m", agnt="a")  # type: ignore[call-arg]
    assert Attribution(agent="a").org == "default"
