"""The overview's figures, at a fixed moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from farthing.event import Attribution, Event, new_id, to_us
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Filter, Store
from farthing.reports.plain import plain
from farthing.reports.queries import breakdown
from farthing.reports.screens import overview_page
from farthing.reports.summary import overview
from farthing.usage import Usage

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
USD = 10**12


def event(days_ago: float, dollars: int | None, agent: str | None) -> Event:
    identity = new_id()
    at = to_us(NOW - timedelta(days=days_ago))
    return Event(
        id=identity, at_us=at, recorded_at_us=at, attribution=Attribution(agent=agent), provider="p", model="m",
        usage=Usage(input_tokens=10), cost_pico=None if dollars is None else dollars * USD,
        price_status="unpriced" if dollars is None else "reported", dedupe_key=identity,
    )  # fmt: skip


@pytest.fixture
def store() -> Iterator[Store]:
    """Today 3 and an unpriced call, yesterday 5, 8 days ago 7, last month 11."""
    with open_ledger(":memory:") as opened:
        for days_ago, dollars, agent in (
            (0.1, 1, "a"), (0.2, 2, "b"), (0.3, None, "b"), (1, 5, "a"), (8, 7, "a"), (20, 11, None),
        ):  # fmt: skip
            opened.append(event(days_ago, dollars, agent))
        yield opened


def test_events_of_the_future_are_in_no_share_of_the_last_days(store: Store) -> None:
    """A wrong clock wrote next year: shares of the last 30 days stay parts of their sum."""
    store.append(event(-300, 1000, "a"))
    found = overview(store, NOW)
    for rows in found.places.values():
        assert sum(row.totals.cost_pico for row in rows) == found.recent.cost_pico == 26 * USD
    assert {move.name: move.now // USD for move in found.moves} == {"a": 6, "b": 2}


def test_a_place_without_any_price_says_so(store: Store) -> None:
    """Unpriced is not nothing."""
    store.append(event(0.5, None, "mystery"))
    (line,) = (line for line in plain(overview_page(overview(store, NOW), "u")).splitlines() if "mystery" in line)
    assert line.split()[1] == "unpriced"


def test_how_much(store: Store) -> None:
    """Today, the last 7 days, this month, all; and the same spans before."""
    found = overview(store, NOW)
    assert [t.cost_pico // USD for t in (found.today, found.week, found.month, found.everything)] == [3, 8, 15, 26]
    assert {name: t.cost_pico // USD for name, t in found.before.items()} == {"today": 5, "week": 7, "month": 11}
    assert (found.today.calls, found.today.unpriced_calls) == (3, 1)


def test_where_and_trend(store: Store) -> None:
    """Dearest first, days without calls included, and who moved most."""
    found = overview(store, NOW)
    assert [row.key[0] for row in found.places["agent"]] == ["a", None, "b"]
    assert len(found.daily) == 30 and sum(t.cost_pico for _, t in found.daily) == 26 * USD
    assert (found.moves[0].name, found.moves[0].now // USD, found.moves[0].before // USD) == ("b", 2, 0)


def test_the_month_at_its_pace(store: Store) -> None:
    """15 dollars in 14 and a half of 30 days; on the first day nothing is foretold."""
    assert overview(store, NOW).expected_month == 15 * USD * 30 * 2 // 29
    assert overview(store, datetime(2026, 11, 1, 12, tzinfo=UTC)).expected_month is None


def test_breakdowns_show_what_is_missing(store: Store) -> None:
    """The unattributed, the rest beyond the limit, the order of time."""
    by_agent = breakdown(store, ("agent",), Filter(), 1)
    assert by_agent.rest[0] == 2 and by_agent.unattributed is not None
    assert by_agent.unattributed.cost_pico == 11 * USD
    assert by_agent.rows[0].totals + by_agent.rest[1] == by_agent.total
    by_day = breakdown(store, ("day",), Filter(), 2)
    assert [row.key[0] for row in by_day.rows] == ["2026-11-14", "2026-11-15"]
    assert by_day.unattributed is None


def test_plans_are_told_apart(store: Store) -> None:
    """What of each figure is list price inside a flat plan, which nobody owes."""
    assert set(overview(store, NOW).plans.values()) == {0}
    planned = replace(event(0.1, 4, "a"), billing="subscription")
    store.append(planned)
    store.append(replace(event(20, 9, "a"), billing="subscription"))
    found = overview(store, NOW)
    assert {name: pico // USD for name, pico in found.plans.items()} == {
        "today": 4, "week": 4, "month": 4, "everything": 13,
    }  # fmt: skip
    words = plain(overview_page(found, "ledger.db"))
    assert "$4.00 in plans" in words and "which nobody owes" in words
