"""Calls whose end is heard of after their hold has expired: whatever comes, in whatever order, they count once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.budgets.guard import Guard
from farthing.budgets.reservation import Reservation
from farthing.event import Attribution, Event, new_id, to_us
from farthing.ledger import Store, open_ledger
from farthing.ledger.upkeep import compact
from farthing.testing import FakeClock
from farthing.usage import Usage

Spent = tuple[Decimal, int, int]
"""US dollars, calls and tokens."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A ledger in a file; accounts, entries and events agree at the end."""
    with open_ledger(tmp_path / "ledger.db") as opened:
        yield opened
        found = opened.accounts.audit()
        assert found.holds_true, [str(m) for m in found.mismatches]


@pytest.fixture
def guard(store: Store, clock: FakeClock) -> Guard:
    """Budgets of dollars, calls and tokens over everything."""
    guard = Guard(lambda: store, clock_us=lambda: to_us(clock.now))
    guard.set(None, usd=1, name="usd")
    guard.set(None, calls=10, name="calls")
    guard.set(None, tokens=5_000, name="tokens")
    return guard


@pytest.fixture
def hold(guard: Guard, clock: FakeClock) -> Reservation:
    """A hold of $0.10 and 1,000 tokens, posted as estimated: its call left and was not heard of."""
    held = guard.reserve("m", usd="0.10", tokens=1_000, agent="a", gone=True)
    clock.advance(601)
    assert guard.accounts.expire(guard.now_us()) == 1
    assert spent(guard) == (Decimal("0.10"), 1, 1_000)
    return held


def spent(guard: Guard) -> Spent:
    found = {one.budget.name: one.posted for one in guard.status()}
    return Decimal(found["usd"]) / 10**12, found["calls"], found["tokens"]


def response(hold: Reservation, usd: str, tokens: int, status: str = "reported") -> Event:
    """What the provider's response `r:1` says of the call."""
    return Event(
        id=new_id(),
        dedupe_key="r:1",
        at_us=hold.at_us,
        recorded_at_us=hold.at_us,
        attribution=Attribution(agent="a"),
        provider=None,
        model="m",
        usage=Usage(input_tokens=tokens),
        usage_status=status,
        cost_pico=int(Decimal(usd) * 10**12),
        price_status="priced",
    )


def test_imported_after_it_was_settled_late(guard: Guard, store: Store, hold: Reservation) -> None:
    """The same response, imported from a log after the late settlement, is known by its id."""
    assert hold.keep([(response(hold, "0.04", 400), None)]) == ["corrected"]
    assert store.append(response(hold, "0.04", 400)) == "duplicate"
    assert spent(guard) == (Decimal("0.04"), 1, 400)
    assert store.totals()[0].totals.calls == 1


def test_imported_before_it_was_settled_late(guard: Guard, store: Store, hold: Reservation) -> None:
    """The response came from a log first: the estimate comes to nothing, not even to a call. Twice is once."""
    assert store.append(response(hold, "0.04", 400)) == "added"
    for _ in range(2):
        assert hold.keep([(response(hold, "0.04", 400), None)]) == ["duplicate"]
        assert spent(guard) == (Decimal("0.04"), 1, 400)
    totals = store.totals()[0].totals
    assert (totals.calls, totals.estimated_calls) == (1, 0)


def test_a_late_estimate_takes_the_place_of_ours(guard: Guard, store: Store, hold: Reservation) -> None:
    """A late settlement that is an estimate itself, and lower, counts; what is reported later counts instead."""
    assert hold.keep([(response(hold, "0.03", 300, "estimated"), None)]) == ["corrected"]
    assert spent(guard) == (Decimal("0.03"), 1, 300)
    assert hold.keep([(response(hold, "0.03", 300, "estimated"), None)]) == ["duplicate"]
    assert store.append(response(hold, "0.02", 200)) == "corrected"
    assert hold.keep([(response(hold, "0.02", 200), None)]) == ["duplicate"]
    assert spent(guard) == (Decimal("0.02"), 1, 200)


def test_settled_after_its_estimate_was_sealed(guard: Guard, store: Store, hold: Reservation, tmp_path: Path) -> None:
    """The estimate has moved into a segment: the late settlement, and its response again, still count once."""
    path = str(tmp_path / "ledger.db")
    unbilled = replace(response(hold, "0", 0), calls=0, billed=False)  # the newest event always stays hot
    store.append(replace(unbilled, id=new_id(), dedupe_key="other 1"))
    compact(path, keep_rows=1)
    assert store.health().sealed == 1
    assert hold.keep([(response(hold, "0.04", 400), None)]) == ["corrected"]
    assert store.append(response(hold, "0.04", 400)) == "duplicate"
    store.append(replace(unbilled, id=new_id(), dedupe_key="other 2"))
    compact(path, keep_rows=1)
    assert store.health().sealed == 3
    assert store.append(response(hold, "0.04", 400)) == "duplicate"
    assert store.append(response(hold, "0.05", 500)) == "corrected"
    assert spent(guard) == (Decimal("0.05"), 1, 500)


def test_an_estimate_is_all_that_was_held(guard: Guard, clock: FakeClock) -> None:
    """What a hold was topped up by is in the estimate, in every unit."""
    held = guard.reserve("m", usd="0.10", tokens=1_000, input_tokens=100, gone=True)
    held.top_up(usd="0.05", tokens=500)
    clock.advance(3_600)
    guard.accounts.expire(guard.now_us())
    assert spent(guard) == (Decimal("0.15"), 1, 1_500)
