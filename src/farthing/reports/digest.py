"""The budget report of a day, week or month: what was spent, the window before, the budgets, the forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from farthing.amounts import amount_text
from farthing.event import from_us, to_us
from farthing.ledger.store import Filter, Question, Row, Store
from farthing.money import PICO_PER_USD
from farthing.reports.blocks import Bar, Cell, Column, Figures, Heading, Page, Span, Table
from farthing.reports.breakdown import breakdown_table, footnotes
from farthing.reports.budget_values import outlook_json
from farthing.reports.currency import USD, Currency
from farthing.reports.lines import row_json, totals_json
from farthing.reports.outlook import Outlook, outlook, outlooks, standings_of
from farthing.reports.periods import Period, month, one_day, week
from farthing.reports.queries import Asked, Breakdown, breakdown
from farthing.reports.text import account_of, change, count, of_org, plural, share
from farthing.totals import Totals
from farthing.windows import zone

WINDOWS = {"daily": "day", "weekly": "week", "monthly": "month"}
KEYS = ("agent", "model", "team", "user")
_SHOWN, _BUDGETS = 8, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One window of one ledger.

    through   the last moment that was looked at; `over`: the window is past
    so_far_before  owed in the window before, up to the same point of it; `owed_before`: in all of it. Picodollars
    parts     breakdowns by `KEYS`
    """

    window: str
    period: Period
    through: datetime
    over: bool
    totals: Totals
    owed: int
    plan: int
    owed_before: int
    so_far_before: int
    parts: Sequence[Breakdown]
    whole: Outlook | None
    budgets: Sequence[Outlook]
    days: Sequence[Row]


def digest(store: Store, window: str, at: datetime, where: Filter | None = None, tz: str = "UTC") -> Digest:
    """The report of the window (day, week or month) around a moment, as of that moment."""
    local = at.astimezone(zone(tz)).date()
    period = {"day": one_day, "week": week, "month": month}[window](local, tz)
    over = to_us(at) >= period.until_us - 1
    before = period.before()
    chosen = period.filter(where)
    so_far = before.since_us + min(to_us(at) - period.since_us, before.until_us - before.since_us)
    earlier = replace(before.filter(where), until_us=so_far)
    asked = Asked(limit=_SHOWN, tz=tz, before=earlier, trends=window != "day")
    parts = [breakdown(store, (key,), chosen, asked=asked) for key in KEYS]
    owed, plan, totals = _owed(store, chosen, tz)
    standings = standings_of(store, at, chosen.org) if not chosen.equals else []
    return Digest(
        window=window,
        period=period,
        through=at,
        over=over,
        totals=totals,
        owed=owed,
        plan=plan,
        owed_before=_owed(store, before.filter(where), tz)[0],
        so_far_before=_owed(store, earlier, tz)[0],
        parts=parts,
        whole=None if over else outlook(store, at, window, tz, where),
        budgets=outlooks(store, at, standings),
        days=store.totals(Question(by=("hour" if window == "day" else "day",), where=chosen, tz=tz)),
    )


def _owed(store: Store, asked: Filter, tz: str) -> tuple[int, int, Totals]:
    """(owed, list price in plans, all sums)."""
    rows = store.totals(Question(by=("billing",), where=asked, tz=tz))
    plan = sum(row.totals.cost_pico for row in rows if row.key[0] == "subscription")
    totals = sum((row.totals for row in rows), Totals())
    return totals.cost_pico - plan, plan, totals


def title(found: Digest) -> str:
    """`Budget report: November 2026`."""
    return f"Budget report: {found.period.name}"


def note(found: Digest) -> str:
    """Up to when, and in which time zone."""
    tz = found.period.tz
    if found.over:
        return f"the whole {found.window}, {tz}"
    return f"up to {found.through.astimezone(zone(tz)):%Y-%m-%d %H:%M}, {tz}"


def digest_page(found: Digest, currency: Currency = USD, *, heading: bool = True) -> Page:
    """The report as a screen."""
    page = Page()
    if heading:
        page.add(Heading(title(found), note(found)))
        page.line()
    page.add(_figures(found, currency))
    page.line()
    page.add(Heading("Budgets", "spent, and where each is heading by the end of its window"))
    if found.budgets:
        shown = found.budgets[:_BUDGETS]
        page.add(budgets_table(shown))
        if more := len(found.budgets) - len(shown):
            page.line(Span(f"and {count(more)} more: ", "dim"), Span("farthing forecast", "accent"))
        for line in over_lines(shown, found.period.tz):
            page.line(*line, hang=2)
    else:
        page.line("No budget is set for windows of the calendar: nothing is held back.")
    page.line()
    parts = [part for part in found.parts if any(row.key[0] is not None for row in part.everything)]
    for part in parts:
        by_then = "" if found.over else " by then"
        page.add(Heading(f"By {part.by[0]}", f"compared with {found.period.before().name}{by_then}"))
        page.add(breakdown_table(part, currency))
        page.line()
    if parts:
        for line in footnotes(parts[0], currency):
            page.line(*line, hang=2)
    if found.whole is not None and found.whole.forecast.expected:
        page.line(Span("forecast: ", "dim"), found.whole.forecast.why, hang=2)
    return page


def _figures(found: Digest, currency: Currency) -> Figures:
    money = currency.money
    moved = change(found.owed, found.so_far_before)
    style = "warn" if moved.startswith("+") else "good" if moved.startswith("-") else "dim"
    first = [Span(plural(found.totals.calls, "call"), "dim")]
    before = found.period.before().name
    if found.so_far_before:
        words = f"{moved} on {before}" + ("" if found.over else " by then")
        first.append(Span(words, style))
    items = [("owed", money(found.owed), first)]
    if found.plan:
        items.append(("list price in plans", money(found.plan), [Span("nobody owes it", "dim")]))
    items.append((before, money(found.owed_before), [Span("all of it", "dim")] if not found.over else []))
    if found.whole is not None:
        ends = found.whole
        words = "at this pace"
        if ends.low is not None and ends.high is not None:
            words = f"{money(ends.low)} – {money(ends.high)}, 4 times in 5"
        items.append((f"this {found.window} ends at", money(ends.end), [Span(words, "dim")]))
    tokens = found.totals.total_tokens
    cached = share(found.totals.cache_read_tokens, found.totals.input_tokens)
    items.append(("tokens", count(tokens), [Span(f"{cached or '0 %'} of input from caches", "dim")]))
    return Figures(items)


def budgets_table(found: Sequence[Outlook]) -> Table:
    """Budgets with what is spent, what is left, and the end that is expected."""
    columns = (
        Column("budget", least=12, enough=24),
        Column("spent", right=True),
        Column("limit", right=True),
        Column("used", right=True, rank=1),
        Column("", rank=2),
        Column("ends at", right=True),
        Column("", rank=2),
    )
    rows: list[list[Cell]] = []
    for one in found:
        limit = one.limit or 0
        will = one.end > limit
        style = "bad" if one.spent > limit else "warn" if will else "good"
        between = ""
        if one.low is not None and one.high is not None:
            between = f"{_short(one.unit, one.low)} – {_short(one.unit, one.high)}"
        mode = "" if one.mode == "hard" else f" ({one.mode})"
        rows.append(
            [
                called(one) + mode,
                _short(one.unit, one.spent),
                _amount(one.unit, limit),
                Span(share(one.spent, limit) or "0 %", style),
                Bar(one.spent / limit if limit else 1.0),
                Span(_short(one.unit, one.end), style),
                Span(between, "dim"),
            ]
        )
    return Table(columns, rows)


def _amount(unit: str, amount: int) -> str:
    """An amount of a budget, money in cents."""
    if unit == "usd":
        cent = PICO_PER_USD // 100
        return amount_text("usd", round(amount / cent) * cent) if amount else "$0.00"
    return f"{count(amount)} {unit}"


def _short(unit: str, amount: int) -> str:
    """An amount beside a limit that names the unit."""
    return _amount(unit, amount) if unit == "usd" else count(amount)


def over_lines(found: Sequence[Outlook], tz: str) -> Iterator[tuple[str | Span, ...]]:
    """What is used up, and what will be before its window ends."""
    for one in found:
        if one.over_at_us is None:
            continue
        name = called(one)
        if one.limit is not None and one.spent >= one.limit:
            yield (Span(f"{name}: used up", "bad"), f" until {_moment(one.end_us, tz)}")
        else:
            more = one.end - (one.limit or 0)
            yield (
                Span(f"{name}: {_amount(one.unit, more)} over", "warn"),
                f" at the expected pace; its limit is reached about {_moment(one.over_at_us, tz)}",
            )


def called(one: Outlook) -> str:
    """The account's name, and whose it is."""
    return of_org(account_of(one.name, one.place, f" {one.unit} per {one.window}"), one.org)


def _moment(at_us: int, tz: str) -> str:
    local = (from_us(at_us) + timedelta(seconds=30)).astimezone(zone(tz))
    return f"{local:%a %d %b %H:%M}"


def digest_json(found: Digest) -> dict[str, Any]:
    """The report for programs. Amounts of money as `_usd` (rounded once) and `_pico` (exact)."""
    return {
        "window": found.window,
        "period": found.period.to_json(),
        "through": found.through.isoformat(),
        "over": found.over,
        **_money("owed", found.owed),
        **_money("subscription", found.plan),
        **_money("before", found.owed_before),
        **_money("before_so_far", found.so_far_before),
        "total": totals_json(found.totals),
        "forecast": None if found.whole is None else outlook_json(found.whole),
        "budgets": [outlook_json(one) for one in found.budgets],
        **{f"by_{part.by[0]}": [row_json(part.by, row) for row in part.everything] for part in found.parts},
        "over_time": [{"at": row.key[0], **totals_json(row.totals)} for row in found.days],
    }


def _money(name: str, pico: int) -> dict[str, Any]:
    return {f"{name}_usd": pico / PICO_PER_USD, f"{name}_pico": pico}
