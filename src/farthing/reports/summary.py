"""The four questions of anybody who pays for LLM calls: how much, where, within budget, what is trending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from farthing.event import to_us
from farthing.ledger.store import Filter, Question, Row, Store
from farthing.reports.queries import by_cost
from farthing.totals import TOTALS_FIELDS, Totals

TREND_DAYS = 30
PLACES = ("agent", "model", "user", "feature")


@dataclass(frozen=True, slots=True)
class Move:
    """How the cost of one agent changed: the last 7 days against the 7 before, picodollars."""

    name: str | None
    now: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One screen's worth of figures. Days are UTC; a week is the last 7 days, today included.

    plans      of `today`, `week`, `month` and `everything`: what of it is list price inside flat plans, picodollars
    before     of `today`, `week`, `month`: the same span of the time before (yesterday, the 7 days before, last month)
    expected_month  what this month comes to at its pace so far, picodollars; None in its first day
    places     key -> rows, dearest first, of the last 30 days
    daily      (day, its sums) of the last 30 days, oldest first, days without calls included
    moves      agents by how much their week changed, greatest first
    """

    now: datetime
    first_day: date | None
    today: Totals
    week: Totals
    month: Totals
    everything: Totals
    plans: Mapping[str, int]
    before: Mapping[str, Totals]
    expected_month: int | None
    places: Mapping[str, Sequence[Row]]
    recent: Totals
    daily: Sequence[tuple[date, Totals]]
    moves: Sequence[Move]


def overview(store: Store, now: datetime, where: Filter | None = None) -> Overview:
    """The figures of the ledger at this moment (aware)."""
    where = where or Filter()
    now = now.astimezone(UTC)
    today = now.date()
    days: dict[date, Totals] = {}
    plan_days: dict[date, int] = {}
    for row in store.totals(Question(by=("day",), where=where, sums=(*TOTALS_FIELDS, "plan_pico"))):
        if row.key[0]:
            day = date.fromisoformat(row.key[0])
            days[day], plan_days[day] = row.totals, row.plan_pico

    def span(first: date, last: date) -> Totals:
        return sum((totals for day, totals in days.items() if first <= day <= last), Totals())

    def plan(first: date) -> int:
        return sum(pico for day, pico in plan_days.items() if first <= day <= today)

    def ago(number: int) -> date:
        return today - timedelta(days=number)

    month_start = today.replace(day=1)
    last_month = (month_start - timedelta(days=1)).replace(day=1)
    month = span(month_start, today)
    recent_filter = _since(where, ago(TREND_DAYS - 1), today + timedelta(days=1))
    return Overview(
        now=now,
        first_day=min(days, default=None),
        today=days.get(today, Totals()),
        week=span(ago(6), today),
        month=month,
        everything=sum(days.values(), Totals()),
        plans={
            "today": plan(today),
            "week": plan(ago(6)),
            "month": plan(month_start),
            "everything": sum(plan_days.values()),
        },
        before={
            "today": days.get(ago(1), Totals()),
            "week": span(ago(13), ago(7)),
            "month": span(last_month, month_start - timedelta(days=1)),
        },
        expected_month=_expected(month.cost_pico, now),
        places={
            key: by_cost(store.totals(Question(by=(key,), where=recent_filter, sums=TOTALS_FIELDS))) for key in PLACES
        },
        recent=span(ago(TREND_DAYS - 1), today),
        daily=[(ago(i), days.get(ago(i), Totals())) for i in range(TREND_DAYS - 1, -1, -1)],
        moves=_moves(store, where, today),
    )


def _since(where: Filter, first: date, end: date | None = None) -> Filter:
    """The same filter from the first moment of `first` on, up to the first of `end`; never wider than it was."""
    since = to_us(datetime(first.year, first.month, first.day, tzinfo=UTC))
    until = to_us(datetime(end.year, end.month, end.day, tzinfo=UTC)) if end else None
    return Filter(
        since_us=since if where.since_us is None else max(since, where.since_us),
        until_us=min((end for end in (where.until_us, until) if end is not None), default=None),
        org=where.org,
        equals=where.equals,
    )


def _moves(store: Store, where: Filter, today: date) -> list[Move]:
    week_ago, tomorrow = today - timedelta(days=6), today + timedelta(days=1)

    def cost(asked: Filter) -> dict[str | None, int]:
        rows = store.totals(Question(by=("agent",), where=asked, sums=()))
        return {row.key[0]: row.totals.cost_pico for row in rows}

    now = cost(_since(where, week_ago, tomorrow))
    before = cost(_since(where, week_ago - timedelta(days=7), week_ago))
    moves = [Move(name, now.get(name, 0), before.get(name, 0)) for name in {**now, **before}]
    return sorted(moves, key=lambda move: (-abs(move.now - move.before), move.name or ""))


def _expected(spent: int, now: datetime) -> int | None:
    """The month's cost at its pace so far; a first day says too little."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    gone = now - start
    if gone < timedelta(days=1):
        return None
    return spent * int((end - start).total_seconds()) // int(gone.total_seconds())
