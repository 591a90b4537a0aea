"""Questions put to a ledger, answered in values: breakdowns by any key, with what is not known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise

from farthing.ledger.store import Filter, Question, Row, Store
from farthing.reports.lots import Prices, lots
from farthing.reports.names import empty_names
from farthing.reports.saved import Saved, saved_by
from farthing.totals import TOTALS_FIELDS, Totals

TIME_KEYS = ("hour", "day", "week", "month")
NAMED_KEYS = ("agent", "team", "feature", "task_type", "name")
"""Keys whose values people choose: a value that says nothing is worth pointing out."""

MOST_TRENDS = 500
"""With more rows than this, none gets a sparkline: they would cost more than the report."""

Key = tuple[str | None, ...]

_SUMS = (*TOTALS_FIELDS, "plan_pico")


@dataclass(frozen=True, slots=True)
class Spread:
    """What calls cost: 50, 95 and 99 of 100 cost no more than this; the dearest. Picodollars."""

    p50: int
    p95: int
    p99: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Sums by one or more keys.

    rows       dearest first; by time: oldest first. At most as many as asked for
    rest       (how many more rows there are, their sum)
    total      the sum of all rows
    everything all rows, those of `rest` too
    plans      of each key, the part of its cost that is list price inside a flat plan, picodollars
    unattributed  the sum of the rows whose first key is missing; None for keys that every event has
    empty_names   values of the first key that say nothing
    before     the sums of the period before; None where it was not asked for; `before_where`: its filter;
               `before_plans`: what of it is list price inside a flat plan, by key
    trends     cost over the time of the report in even parts, `trend_part` each
    saved, spread  what caching saved, and how the cost of calls is spread; None where they were not asked for
    """

    by: tuple[str, ...]
    where: Filter
    tz: str = "UTC"
    rows: Sequence[Row]
    rest: tuple[int, Totals]
    total: Totals
    everything: Sequence[Row] = ()
    plans: Mapping[Key, int] = field(default_factory=dict)
    unattributed: Totals | None
    empty_names: Sequence[str]
    before: Mapping[Key, Totals] | None = None
    before_where: Filter | None = None
    before_plans: Mapping[Key, int] = field(default_factory=dict)
    trends: Mapping[Key, tuple[int, ...]] = field(default_factory=dict)
    trend_part: str = ""
    saved: Mapping[Key, Saved] | None = None
    spread: Mapping[Key, Spread] | None = None

    @property
    def plan(self) -> int:
        """The part of the total that is list price inside a flat plan: nobody owes it."""
        return sum(self.plans.values())

    def before_owed(self, key: Key) -> int:
        """What a key owed in the period before, picodollars."""
        totals = (self.before or {}).get(key)
        return 0 if totals is None else totals.cost_pico - self.before_plans.get(key, 0)

    @property
    def before_total(self) -> Totals:
        """The sum of the period before."""
        return sum((self.before or {}).values(), Totals())


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted beside the sums. before: the filter of the period to compare with."""

    limit: int | None = None
    tz: str = "UTC"
    before: Filter | None = None
    trends: bool = False
    caching: bool = False
    spread: bool = False


PLAIN = Asked()


def breakdown(
    store: Store, by: tuple[str, ...], where: Filter, limit: int | None = None, asked: Asked = PLAIN
) -> Breakdown:
    """The sums of the events that `where` lets through, by the keys of `by`."""
    limit = asked.limit if limit is None else limit
    ends = ("first_us", "last_us") if asked.trends else ()
    rows = store.totals(Question(by=by, where=where, tz=asked.tz, sums=(*_SUMS, *ends)))
    if by[0] in TIME_KEYS:
        rows = sorted(rows, key=lambda row: tuple(part or "" for part in row.key))
        shown, others = (rows[-limit:], rows[:-limit]) if limit else (rows, [])
    else:
        rows = by_cost(rows)
        shown, others = (rows[:limit], rows[limit:]) if limit else (rows, [])
    nobody = [row for row in rows if row.key[0] is None]
    always = by[0] in TIME_KEYS or by[0] in ("model", "provider", "price_status", "usage_status", "source", "operation")
    found = Breakdown(
        by=by,
        where=where,
        tz=asked.tz,
        rows=shown,
        rest=(len(others), added(others)),
        total=added(rows),
        everything=rows,
        plans=_plans(rows, by),
        unattributed=None if always else added(nobody),
        empty_names=empty_names(row.key[0] for row in rows) if by[0] in NAMED_KEYS else [],
    )
    return _with_more(store, found, asked)


def _plans(rows: Sequence[Row], by: tuple[str, ...]) -> dict[Key, int]:
    """List price inside flat plans, by key; where the keys say what is billed how, it is not told apart."""
    return {} if "billing" in by else {row.key: row.plan_pico for row in rows if row.plan_pico}


def _with_more(store: Store, found: Breakdown, asked: Asked) -> Breakdown:
    if asked.before is not None:
        rows = store.totals(Question(by=found.by, where=asked.before, tz=asked.tz, sums=_SUMS))
        before = {row.key: row.totals for row in rows}
        found = replace(found, before=before, before_where=asked.before, before_plans=_plans(rows, found.by))
    if asked.trends and 0 < len(found.everything) <= MOST_TRENDS and not set(TIME_KEYS) & set(found.by):
        found = _with_trends(store, found)
    if asked.caching:
        used = lots(store, found.where, found.by, asked.tz)
        found = replace(found, saved=saved_by(used, Prices(store)))
    if asked.spread:
        found = replace(found, spread=_spreads(store, found.by, found.where))
    return found


def _spreads(store: Store, by: tuple[str, ...], where: Filter) -> dict[Key, Spread]:
    """The spread of each key, and of all calls under `()`."""
    shares = (0.5, 0.95, 0.99, 1.0)
    found = {key: Spread(*values) for key, values in store.quantiles("cost_pico", shares, by=by, where=where).items()}
    whole = store.quantiles("cost_pico", shares, where=where)
    return found | {key: Spread(*values) for key, values in whole.items()}


def _with_trends(store: Store, found: Breakdown) -> Breakdown:
    firsts = [row.first_us for row in found.everything if row.first_us is not None]
    lasts = [row.last_us for row in found.everything if row.last_us is not None]
    days = (max(lasts, default=0) - min(firsts, default=0)) / 86_400_000_000
    part = "hour" if days <= 2 else "day" if days <= 62 else "week" if days <= 400 else "month"
    sums: dict[Key, dict[str, int]] = {}
    times: set[str] = set()
    for row in store.totals(Question(by=(*found.by, part), where=found.where, tz=found.tz, sums=())):
        moment = row.key[-1] or ""
        times.add(moment)
        sums.setdefault(row.key[:-1], {})[moment] = row.totals.cost_pico
    ordered = _every_day(sorted(times)) if part == "day" else sorted(times)
    trends = {key: tuple(of.get(moment, 0) for moment in ordered) for key, of in sums.items()}
    return replace(found, trends=trends, trend_part=part)


def _every_day(days: Sequence[str]) -> list[str]:
    first, last = (date.fromisoformat(day).toordinal() for day in (days[0], days[-1]))
    return [date.fromordinal(day).isoformat() for day in range(first, last + 1)]


def by_cost(rows: Sequence[Row]) -> list[Row]:
    """Dearest first; of equal cost the one with more tokens, then by name, so that the order is always the same."""
    return sorted(
        rows, key=lambda row: (-row.totals.cost_pico, -row.totals.total_tokens, tuple(part or "" for part in row.key))
    )


def added(rows: Sequence[Row]) -> Totals:
    """The sum of rows."""
    return sum((row.totals for row in rows), Totals())


def thinned(values: Sequence[int], most: int) -> tuple[int, ...]:
    """The values in at most so many parts, neighbours added up."""
    if len(values) <= most:
        return tuple(values)
    edges = [len(values) * i // most for i in range(most + 1)]
    return tuple(sum(values[a:b]) for a, b in pairwise(edges))
