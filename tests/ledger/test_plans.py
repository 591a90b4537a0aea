"""The quick way of a hold and its end: another connection may change anything in between, and it comes out the same."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.amounts import Amounts
from farthing.errors import InputError
from farthing.event import Attribution, Event, new_id, now_us
from farthing.ledger import Store, holds, open_ledger, plans
from farthing.ledger.engine import Database
from farthing.ledger.holds import Ask, Hold
from farthing.ledger.rows import MOST_COUNT
from farthing.policy import Subject, make_budget

WHO = Attribution(agent="writer")
OTHER = Attribution(agent="reader")
HELD = "key, org, number, state, at_us, expires_us, usd, tokens, calls, input, moves, call"
Make = Callable[..., Event]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two stores of one file, as two processes have them; a budget of 1,000 picodollars for one agent."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as here, open_ledger(path) as there:
        here.accounts.put(make_budget("agent=writer", usd="0.000000001", name="w"))
        reserve(here, 1)  # opens the account, and looks for holds that are due
        yield here, there


def reserve(store: Store, usd: int, tokens: int = 5, calls: int = 1) -> str | None:
    """The key of a hold; None: it was refused."""
    key, at = new_id(), now_us()
    subject = Subject(WHO, "openai", "gpt-5")
    found = store.accounts.reserve(Ask(key, subject, Amounts(usd, tokens, calls), at, at + 600_000_000, True, True))
    return key if isinstance(found, Hold) else None


def budgets_of(store: Store, *units: str) -> None:
    """A budget in each unit, with room for any call, and 1 of each held."""
    for unit in units:
        store.accounts.put(make_budget(None, name=unit, **{unit: 1_000_000}))
    assert reserve(store, 1, 1, 1)  # opens the accounts, and looks for holds that are due


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that are made from here on."""
    asked: list[str] = []
    rows = Database.rows
    monkeypatch.setattr(Database, "rows", lambda self, sql, values=(): asked.append(sql) or rows(self, sql, values))
    return asked


def settle(store: Store, key: str, made: Event) -> None:
    assert store.accounts.settle(key, [(made, None)]) == ["added"]


def stands(store: Store) -> dict[str, tuple[int, int]]:
    """(posted, reserved) by budget; the proof holds."""
    assert store.accounts.audit().holds_true
    return {one.budget.name: (one.posted, one.reserved) for one in store.accounts.standings()}


def made(make_event: Make, usd: int) -> Event:
    return make_event(attribution=WHO, provider="openai", model="gpt-5", cost_pico=usd)


def test_the_quick_way_reads_no_account(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold for which there is room is made without a query; one for which there is none is refused as ever."""
    here, _ = two
    assert reserve(here, 10)
    asked = watched(monkeypatch)
    assert reserve(here, 10) and not asked
    assert reserve(here, 1000) is None and asked
    assert stands(here) == {"w": (0, 21)}


@pytest.mark.parametrize("quick", [True, False])
def test_budgets_in_several_units(
    tmp_path: Path, make_event: Make, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    """The quick way makes no query; where there are no plans the slow way is gone, and comes to the same."""
    with open_ledger(tmp_path / "ledger.db") as store:
        budgets_of(store, "usd", "tokens", "calls")
        if not quick:
            monkeypatch.setattr(plans, "plan_for", lambda *_: None)
        key, one = reserve(store, 10, 20, 2), made(make_event, 7)
        assert key
        settle(store, key, one)
        asked = watched(monkeypatch)
        again, other = reserve(store, 30, 40, 3), made(make_event, 8)
        assert again
        settle(store, again, other)
        assert bool(asked) is not quick
        monkeypatch.undo()
        tokens = sum(one.usage.counts[name] for name in ("input_tokens", "output_tokens"))
        assert stands(store) == {"usd": (15, 1), "tokens": (2 * tokens, 1), "calls": (2, 1)}
        found = store._writer.database.rows(  # type: ignore[attr-defined]
            "SELECT moves FROM entries WHERE kind IN ('reserve', 'settle') ORDER BY seq"
        )
        assert [json.loads(moves) for (moves,) in found[1:]] == [
            [[1, 0, 10, 0], [2, 0, 20, 0], [3, 0, 2, 0]],
            [[1, 7, -10, 0], [2, tokens, -20, 0], [3, 1, -2, 0]],
            [[1, 0, 30, 0], [2, 0, 40, 0], [3, 0, 3, 0]],
            [[1, 8, -30, 0], [2, tokens, -40, 0], [3, 1, -3, 0]],
        ]


def test_what_another_holds_leaves_no_room(two: tuple[Store, Store]) -> None:
    """Holds of others count, and those that they end give room again."""
    here, there = two
    assert reserve(here, 10)
    theirs = reserve(there, 900)
    assert theirs and reserve(here, 100) is None
    there.accounts.expire(now_us() + 10**12)
    assert stands(here)["w"][1] == 0


def test_a_budget_that_another_sets_counts_at_once(two: tuple[Store, Store], make_event: Make) -> None:
    """It takes in a hold of before it; that hold's end, settled here, frees and posts in both."""
    here, there = two
    key = reserve(here, 100)
    there.accounts.put(make_budget(None, usd="0.0000000005", name="all"))
    assert key and reserve(here, 450) is None  # 1 and 100 are held of 500
    settle(here, key, made(make_event, 70))
    assert stands(here) == {"w": (70, 1), "all": (70, 1)}


def test_a_hold_that_another_tops_up_is_freed_whole(two: tuple[Store, Store], make_event: Make) -> None:
    """What this process remembers of its hold is not what is freed where the hold has changed since."""
    here, there = two
    key = reserve(here, 100)
    assert key and isinstance(there.accounts.top_up(key, Amounts(50, 0, 0)), Hold)
    settle(here, key, made(make_event, 120))
    assert stands(here) == {"w": (120, 1)}


def test_a_hold_that_another_has_ended_is_not_freed_twice(two: tuple[Store, Store], make_event: Make) -> None:
    """Settled there, its end here finds its event known; expired there, it corrects what was posted as estimated."""
    here, there = two
    key, late = reserve(here, 100), reserve(here, 200)
    one = made(make_event, 30)
    assert key and late
    settle(there, key, one)
    assert here.accounts.settle(key, [(one, None)]) == ["duplicate"]
    there.accounts.expire(now_us() + 10**12)
    assert here.accounts.settle(late, [(made(make_event, 40), None)]) == ["corrected"]
    assert stands(here)["w"] == (71, 0)  # 1 of the hold that nobody has settled


def test_each_threshold_is_told_once(two: tuple[Store, Store], make_event: Make) -> None:
    """A threshold that a call passes here is told, also after another has posted; calls between two tell nothing."""
    here, there = two
    told: list[str] = []
    here.accounts.on_alert(lambda alert: told.append(alert.rule))
    for store, usd in ((here, 300), (there, 400), (here, 99), (here, 1), (here, 1), (here, 150)):
        key = reserve(store, 10)
        assert key
        settle(store, key, made(make_event, usd))
    assert told == ["threshold:0.8"]
    assert stands(here)["w"][0] == 951


NO_AMOUNTS = (True, False, 1.0, 0.0, math.nan, math.inf, -1, 2**63, Decimal(3), Decimal(0), "5", "")


@pytest.mark.parametrize("units", [("usd",), ("tokens",), ("calls",), ("usd", "tokens", "calls")], ids="+".join)
def test_what_is_no_amount_is_refused(tmp_path: Path, units: tuple[str, ...]) -> None:
    """InputError, and nothing is held, whichever unit the budgets count in; the next hold is made."""
    with open_ledger(tmp_path / "ledger.db") as store:
        budgets_of(store, *units)
        for place, bad in itertools.product(range(3), NO_AMOUNTS):
            amounts: list[Any] = [5, 5, 5]
            amounts[place] = bad
            with pytest.raises(InputError, match="whole numbers"):
                reserve(store, *amounts)
        assert reserve(store, 5, 5, 5)
        assert stands(store) == dict.fromkeys(units, (0, 6))


@pytest.mark.parametrize("tokens", [MOST_COUNT + 1, 2**63 - 1])
def test_a_hold_is_of_no_more_tokens_than_an_event_can_have(tmp_path: Path, tokens: int) -> None:
    """Never heard of again, it could not be posted as estimated, and no hold could be made after it."""
    with open_ledger(tmp_path / "ledger.db") as store:
        budgets_of(store, "calls")
        with pytest.raises(InputError, match=f"a hold of {tokens} tokens"):
            reserve(store, 5, tokens, 1)
        key = reserve(store, 5, MOST_COUNT, 1)
        assert key
        with pytest.raises(InputError, match=f"a hold of {MOST_COUNT + 1} tokens"):
            store.accounts.top_up(key, Amounts(0, 1, 0))
        with pytest.raises(InputError, match="whole numbers"):
            store.accounts.top_up(key, Amounts(2**63 - 5, 0, 0))
        store.accounts.expire(now_us() + 10**12)
        assert stands(store) == {"calls": (2, 0)}


def test_a_threshold_makes_one_plan_void(
    two: tuple[Store, Store], make_event: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many calls under way, the one that passes it is settled the slow way, and those after it the quick way."""
    here, _ = two
    slow: list[str] = []
    ends = holds.settle
    keys = [reserve(here, 100) for _ in range(5)]
    monkeypatch.setattr(holds, "settle", lambda *given: slow.append(given[2]) or ends(*given))
    for key, usd in zip(keys, (10, 800, 1, 1, 1), strict=True):
        assert key
        settle(here, key, made(make_event, usd))
    assert slow == [keys[1]]
    assert stands(here) == {"w": (813, 1)}


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_over_is_remembered_for_who_may_say_it_again(
    tmp_path: Path, make_event: Make, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    """By a key of the caller's own; by one of ours nobody can, so nothing of a settled hold stays."""
    if not quick:
        monkeypatch.setattr(plans, "plan_for", lambda *_: None)
    with open_ledger(tmp_path / "ledger.db") as store:
        budgets_of(store, "calls")
        for key, fresh in (("mine", False), ("ours", True)):
            at = now_us()
            ask = Ask(key, Subject(WHO, "openai", "gpt-5"), Amounts(1, 2, 3), at, at + 600_000_000, True, fresh)
            assert isinstance(store.accounts.reserve(ask), Hold)
            assert (hold := store.accounts.hold(key)) and hold.state == "dispatched"
            one = made(make_event, 1)
            assert [store.accounts.settle(key, [(one, None)]) for _ in range(3)] == [["added"], *[["duplicate"]] * 2]
            kept = store.accounts.hold(key)
            assert (kept and kept.state) == (None if fresh else "settled")
            assert store.accounts.reserve(ask._replace(fresh=False)) == kept or fresh
        assert store.accounts.audit().holds_true


def test_few_holds_are_known_by_heart(
    two: tuple[Store, Store], make_event: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are not ended the oldest are read again where they end; that comes to the same."""
    here, _ = two
    monkeypatch.setattr("farthing.ledger.sheet._KNOWN_HOLDS", 2)
    keys = [reserve(here, 10) for _ in range(5)]
    book = here._writer.book  # type: ignore[attr-defined]
    book.swept(book.swept_us)
    assert list(book.made) == [(key, "default") for key in keys[-2:]]
    for key in keys:
        assert key
        settle(here, key, made(make_event, 7))
    assert stands(here) == {"w": (35, 1)} and not book.made


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_come_to_the_same(
    tmp_path: Path, make_event: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Calls by chance, in a ledger with plans and in one without: the same answers, accounts, entries and events."""
    events = [made(make_event, usd) for usd in (0, 3, 40, 90) for _ in range(15)]
    events += [replace(one, id=new_id(), dedupe_key=new_id(), billing="subscription") for one in events[::3]]
    events += [replace(one, id=new_id(), dedupe_key=new_id(), billed=False) for one in events[::5]]
    events += [replace(one, id=new_id(), dedupe_key=new_id(), attribution=OTHER) for one in events[::6]]
    events += [replace(one, id=new_id(), dedupe_key=new_id(), model="o3") for one in events[::6]]
    events += [replace(one, id=new_id(), dedupe_key=new_id(), cost_pico=None) for one in events[::7]]
    dear = made(make_event, 10**16)
    at, found = now_us(), []
    for quick in (True, False):
        chance = random.Random(seed)
        with open_ledger(tmp_path / f"{quick}.db") as store, monkeypatch.context() as patch:
            patch.setattr("farthing.ledger.accounts.now_us", lambda: at)
            if not quick:
                patch.setattr(plans, "plan_for", lambda *_: None)
            for n, unit in enumerate(chance.sample(["usd", "usd", "tokens", "calls"], k=3)):
                limit = Decimal("0.000000002") if unit == "usd" else 9_000 if unit == "tokens" else 80
                scope = chance.choice([None, "agent=*", "model=gpt-5*"])
                budget = make_budget(scope, name=f"{n}", per="day", thresholds=(0.1, 0.2, 0.3, 0.4), **{unit: limit})
                store.accounts.put(budget, at_us=at)
            answers: list[Any] = []
            for n, one in enumerate([*chance.sample(events, k=len(events)), dear]):
                amounts = Amounts(chance.choice([None, 0, *[50] * 10]), chance.choice([0, *[110] * 10]), 1)
                ask = Ask(f"{n}", Subject(WHO, "openai", "gpt-5"), amounts, at, at + 10**9, True, chance.random() < 0.9)
                answers.append(store.accounts.reserve(ask))
                if chance.random() < 0.8:
                    key = f"{max(0, n - chance.choice([0, 0, 0, 1, 4]))}"
                    answers.append(store.accounts.settle(key, [(one, None)]))
            assert store.accounts.audit().holds_true
            rows = store._writer.database.rows  # type: ignore[attr-defined]
            tables = ("accounts", "entries", "events", "alerts", f"(SELECT {HELD} FROM holds)")
            tables += (f"(SELECT {HELD} FROM ended_holds)",)
            found.append((answers, [rows(f"SELECT * FROM {name}") for name in tables]))
    assert found[0] == found[1]
