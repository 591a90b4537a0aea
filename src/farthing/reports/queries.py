"""Questions put to a ledger, answered in values: breakdowns by any key, with what is not known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.ledger.store import Filter, Question, Row, Store
from farthing.reports.names import empty_names
from farthing.totals import Totals

TIME_KEYS = ("hour", "day", "week", "month")
NAMED_KEYS = ("agent", "team", "feature", "task_type", "name")
"""Keys whose values people choose: a value that says nothing is worth pointing out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Sums by one or more keys.

    rows       dearest first; by time: oldest first. At most as many as asked for
    rest       (how many more rows there are, their sum)
    total      the sum of all rows
    unattributed  the sum of the rows whose first key is missing; None for keys that every event has
    empty_names   values of the first key that say nothing
    """

    by: tuple[str, ...]
    where: Filter
    rows: Sequence[Row]
    rest: tuple[int, Totals]
    total: Totals
    unattributed: Totals | None
    empty_names: Sequence[str]


def breakdown(store: Store, by: tuple[str, ...], where: Filter, limit: int | None = None) -> Breakdown:
    """The sums of the events that `where` lets through, by the keys of `by`."""
    rows = store.totals(Question(by=by, where=where))
    if by[0] in TIME_KEYS:
        rows = sorted(rows, key=lambda row: tuple(part or "" for part in row.key))
        shown, others = (rows[-limit:], rows[:-limit]) if limit else (rows, [])
    else:
        rows = by_cost(rows)
        shown, others = (rows[:limit], rows[limit:]) if limit else (rows, [])
    nobody = [row for row in rows if row.key[0] is None]
    always = by[0] in TIME_KEYS or by[0] in ("model", "provider", "price_status", "usage_status", "source", "operation")
    return Breakdown(
        by=by,
        where=where,
        rows=shown,
        rest=(len(others), added(others)),
        total=added(rows),
        unattributed=None if always else added(nobody),
        empty_names=empty_names(row.key[0] for row in rows) if by[0] in NAMED_KEYS else [],
    )


def by_cost(rows: Sequence[Row]) -> list[Row]:
    """Dearest first; of equal cost the one with more tokens, then by name, so that the order is always the same."""
    return sorted(
        rows, key=lambda row: (-row.totals.cost_pico, -row.totals.total_tokens, tuple(part or "" for part in row.key))
    )


def added(rows: Sequence[Row]) -> Totals:
    """The sum of rows."""
    return sum((row.totals for row in rows), Totals())
