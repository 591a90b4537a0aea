"""The live view: who spends how fast just now, and how budgets stand. One frame is one look at the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from farthing.amounts import amount_text
from farthing.event import to_us
from farthing.ledger.policies import Standing
from farthing.ledger.store import Filter, Question, Store
from farthing.reports.blocks import Bar, Cell, Column, Figures, Heading, Page, Span, Spark, Table
from farthing.reports.outlook import standings_of
from farthing.reports.text import account_of, change, count, money, of_org, places_for, plural, share
from farthing.totals import Totals
from farthing.windows import zone

SORTS = {"rate": "$/hour", "cost": "24 hours", "calls": "calls", "tokens": "tokens", "name": "agent"}
"""What rows can be sorted by, and the column that it is."""
HOURS = 24
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One agent. rate: picodollars in the last 60 minutes; the others are of the last 24 hours."""

    name: str | None
    rate: int
    calls_an_hour: int
    day: Totals
    hours: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One look. Money is what is owed, in picodollars; `hours` are whole hours, the present one last."""

    at: datetime
    tz: str
    by: str
    lines: Sequence[Line]
    rate: int
    before: int
    today: int
    month: int
    standings: Sequence[Standing]


def look(store: Store, now: datetime, by: str = "agent", tz: str = "UTC", where: Filter | None = None) -> Frame:
    """The ledger at this moment (aware)."""
    where = where or Filter()
    hour = Filter(since_us=to_us(now) - _HOUR_US, until_us=to_us(now) + 1, org=where.org, equals=where.equals)
    day = Filter(since_us=to_us(now) - HOURS * _HOUR_US, until_us=hour.until_us, org=where.org, equals=where.equals)
    local = now.astimezone(zone(tz))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    current = _sums(store, hour, by)
    spans: dict[str | None, dict[str, int]] = {}
    whole: dict[str | None, Totals] = {}
    for row in store.totals(Question(by=(by, "hour", "billing"), where=day)):
        name, at, billing = row.key
        if billing != "subscription":
            held = spans.setdefault(name, {})
            held[at or ""] = held.get(at or "", 0) + row.totals.cost_pico
        whole[name] = whole.get(name, Totals()) + row.totals
    names = [f"{(now - timedelta(hours=back)).astimezone(zone('UTC')):%Y-%m-%dT%H:00}" for back in range(HOURS, -1, -1)]
    lines = [
        Line(
            name=name,
            rate=current.get(name, (0, 0))[0],
            calls_an_hour=current.get(name, (0, 0))[1],
            day=totals,
            hours=tuple(spans.get(name, {}).get(at, 0) for at in names),
        )
        for name, totals in whole.items()
    ]
    past = sum(sum(line.hours) for line in lines)
    return Frame(
        at=now,
        tz=tz,
        by=by,
        lines=lines,
        rate=sum(line.rate for line in lines),
        before=(past - sum(line.rate for line in lines)) // (HOURS - 1),
        today=_owed(store, midnight, where),
        month=_owed(store, midnight.replace(day=1), where),
        standings=[one for one in standings_of(store, now, where.org) if one.limit is not None],
    )


def _sums(store: Store, where: Filter, by: str) -> dict[str | None, tuple[int, int]]:
    """(owed, calls) of each name."""
    found: dict[str | None, tuple[int, int]] = {}
    for row in store.totals(Question(by=(by, "billing"), where=where, sums=())):
        owed = 0 if row.key[1] == "subscription" else row.totals.cost_pico
        before = found.get(row.key[0], (0, 0))
        found[row.key[0]] = (before[0] + owed, before[1] + row.totals.calls)
    return found


def _owed(store: Store, since: datetime, where: Filter) -> int:
    asked = Filter(since_us=to_us(since), org=where.org, equals={**where.equals, "billing": "metered"})
    return sum(row.totals.cost_pico for row in store.totals(Question(where=asked, sums=())))


def sorted_lines(frame: Frame, sort: str) -> list[Line]:
    """The lines in an order of `SORTS`; of equal ones the dearest first, then by name."""
    return sorted(frame.lines, key=lambda line: (_place(line, sort), -line.day.cost_pico, line.name or ""))


def _place(line: Line, sort: str) -> tuple[bool, str] | int:
    if sort == "name":
        return (line.name is None, line.name or "")
    day = line.day
    amounts = {"rate": line.rate, "cost": day.cost_pico, "calls": day.calls, "tokens": day.total_tokens}
    return -amounts[sort]


def top_page(frame: Frame, sort: str = "rate", rows: int = 15, keys: str = "") -> Page:
    """The frame as a screen of at most so many agents. keys: what can be pressed, at its foot."""
    page = Page()
    local = frame.at.astimezone(zone(frame.tz))
    page.add(Heading("farthing top", f"{local:%Y-%m-%d %H:%M:%S} {frame.tz}, by {SORTS[sort]}"))
    page.line()
    page.add(_figures(frame))
    page.line()
    lines = sorted_lines(frame, sort)
    if lines:
        page.add(_table(frame, lines[:rows], len(lines) - rows, sort))
    else:
        page.line("No calls in the last 24 hours.")
    if frame.standings:
        page.line()
        page.add(_budgets(sorted(frame.standings, key=lambda one: -one.percent)[:6]))
    if keys:
        page.line()
        page.line(Span(keys, "dim"))
    return page


def _figures(frame: Frame) -> Figures:
    moved = change(frame.rate, frame.before)
    style = "warn" if moved.startswith("+") else "good" if moved.startswith("-") else "dim"
    words = f"{moved} on the 23 hours before" if frame.before else ""
    calls = sum(line.calls_an_hour for line in frame.lines)
    return Figures(
        [
            ("burn rate", f"{money(frame.rate)}/h", [Span(words, style)]),
            ("calls", f"{count(calls)}/h", [Span(f"{plural(len(frame.lines), frame.by)} in 24 hours", "dim")]),
            ("today", money(frame.today), []),
            ("this month", money(frame.month), []),
        ]
    )


def _table(frame: Frame, lines: Sequence[Line], more: int, sort: str) -> Table:
    def mark(name: str, key: str) -> str:
        return f"{name} ▾" if key == sort else name

    columns = (
        Column(mark(frame.by, "name"), least=14),
        Column(mark("$/hour", "rate"), right=True),
        Column(mark("24 hours", "cost"), right=True),
        Column(mark("calls", "calls"), right=True, rank=1),
        Column(mark("tokens", "tokens"), right=True, rank=2),
        Column("last 24 hours", rank=3),
        Column("share", right=True, rank=2),
        Column("", rank=4),
    )
    whole = sum(line.day.cost_pico for line in frame.lines)
    places = places_for([line.day.cost_pico for line in frame.lines])
    rate_places = places_for([line.rate for line in frame.lines])
    top = max((line.rate for line in frame.lines), default=0)
    rows: list[list[Cell]] = [
        [
            line.name or Span("(none)", "dim"),
            Span(money(line.rate, rate_places), "strong" if line.rate else "dim"),
            money(line.day.cost_pico, places),
            count(line.day.calls),
            count(line.day.total_tokens),
            Spark(line.hours),
            share(line.day.cost_pico, whole),
            Bar(line.rate / top) if top else "",
        ]
        for line in lines
    ]
    if more > 0:
        rows.append([Span(f"{more} more", "dim"), *[""] * 7])
    return Table(columns, rows)


def _budgets(standings: Sequence[Standing]) -> Table:
    columns = (
        Column("budget", least=14, enough=24),
        Column("window", rank=1),
        Column("spent", right=True),
        Column("held", right=True, rank=0 if any(one.reserved for one in standings) else 3),
        Column("limit", right=True),
        Column("", right=True),
        Column("", rank=2),
    )
    rows: list[list[Cell]] = []
    for one in standings:
        limit, unit = one.limit or 0, one.budget.unit
        style = "bad" if one.percent >= 100 else "warn" if one.percent >= 80 else "good"
        name = account_of(one.budget.name, one.place, f" {unit} per {one.budget.window}")
        rows.append(
            [
                of_org(name, one.budget.org),
                one.budget.window,
                _amount(unit, one.posted),
                _amount(unit, one.reserved) if one.reserved else "",
                _amount(unit, limit),
                Span(f"{one.percent:.0f} %", style),
                Bar(min(1.0, one.percent / 100)),
            ]
        )
    return Table(columns, rows)


def _amount(unit: str, amount: int) -> str:
    return money(amount, 2) if unit == "usd" else amount_text(unit, amount)
