"""The screens that answer from sums: the overview, the first steps, the breakdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farthing.ledger.policies import Standing
from farthing.ledger.store import Row
from farthing.reports.blocks import Bar, Beside, Cell, Chart, Column, Figures, Heading, Page, Span, Table
from farthing.reports.budgets import fullest_first, standings_table
from farthing.reports.summary import Overview
from farthing.reports.text import change, money, plural, share
from farthing.reports.words import name_of, nothing_known
from farthing.totals import Totals

_TOP = 4


def first_steps(url: str) -> Page:
    """What an empty ledger shows."""
    page = Page()
    page.add(Heading("farthing", "every token accounted for"))
    page.line()
    page.line("Nothing has been recorded yet. The ledger will be ", Span(url, "accent"))
    page.line()
    steps = (
        ("In your program", ["from farthing import CostTracker", "tracker = CostTracker()",
                             "tracker.record(model='gpt-4o', input_tokens=1200, output_tokens=450, agent='writer')"]),
        ("By hand", ["farthing record --model gpt-4o --input 1200 --output 450 --agent researcher"]),
        ("What you have recorded", ["farthing import responses.jsonl usage.csv"]),
        ("Just to look around", ["farthing sample --days 30 --out sample.jsonl",
                                 "farthing --ledger demo.db import sample.jsonl", "farthing --ledger demo.db"]),
    )  # fmt: skip
    for title, lines in steps:
        page.line(Span(title, "strong"))
        for line in lines:
            page.line("  ", Span(line, "accent"), hang=6)
        page.line()
    page.line(Span("farthing --help lists every command.", "dim"))
    return page


def overview_page(found: Overview, url: str, budgets: Sequence[Standing] = ()) -> Page:
    """How much, where, within budget, what is trending: one screen."""
    page = Page()
    page.add(Heading("farthing", url))
    page.line()
    page.add(Heading("How much", f"UTC, {found.now:%Y-%m-%d %H:%M}"))
    page.add(_how_much(found))
    for line in (*_in_plans(found), *_doubts(found.recent, "in the last 30 days")):
        page.line(*line, hang=2)
    page.line()
    page.add(Heading("Where", "last 30 days"))
    page.add(Beside([_top(key, rows, found.recent) for key, rows in found.places.items()]))
    page.line()
    _within(page, found, budgets)
    page.line()
    page.add(Heading("What is trending", "cost a day, last 30 days"))
    first, last = found.daily[0][0], found.daily[-1][0]
    page.add(Chart([totals.cost_pico for _, totals in found.daily], f"{first:%d %b}", f"{last:%d %b}"))
    for line in _trend(found):
        page.line(*line, hang=2)
    return page


def _within(page: Page, found: Overview, budgets: Sequence[Standing]) -> None:
    """The fullest budgets; without any, that there is none."""
    if not budgets:
        page.add(Heading("Within budget?"))
        page.line("No budget is set, so nothing is held back: this shows spending as it is.")
        return
    full = sum(one.limit is not None and one.percent >= 100 for one in budgets)
    page.add(Heading("Within budget?", f"{plural(full, 'budget')} used up" if full else "yes"))
    page.add(standings_table(fullest_first(budgets)[:_TOP], {}, found.now, heading=False))
    if len(budgets) > _TOP:
        page.line(Span(f"and {len(budgets) - _TOP} more: ", "dim"), Span("farthing budgets", "accent"))


def _how_much(found: Overview) -> Figures:
    spans = (
        ("today", "today", found.today, found.before["today"], "yesterday"),
        ("week", "7 days", found.week, found.before["week"], "7 before"),
        ("month", f"{found.now:%B}", found.month, found.before["month"], "last month"),
        ("everything", "in all", found.everything, None, ""),
    )
    items = []
    for key, label, totals, before, what in spans:
        notes = [Span(plural(totals.calls, "call"), "dim")]
        if before is not None:
            notes.append(Span(f"{what} {money(before.cost_pico)}" if before.calls else "", "dim"))
        elif found.first_day:
            notes.append(Span(f"since {found.first_day}", "dim"))
        if found.plans["everything"]:
            notes.append(Span(f"{money(found.plans[key])} in plans" if found.plans[key] else "", "accent"))
        items.append((label, money(totals.cost_pico), notes))
    return Figures(items)


def _top(key: str, rows: Sequence[Row], whole: Totals) -> Table:
    columns = (Column(key, least=12), Column("cost", right=True), Column("share", right=True), Column("", rank=1))
    shown = [
        (name_of(row.key[0]), cost_of(row.totals), share(row.totals.cost_pico, whole.cost_pico),
         Bar(_fraction(row.totals.cost_pico, rows[0].totals.cost_pico)))
        for row in rows[:_TOP]
    ]  # fmt: skip
    if len(rows) > _TOP:
        rest = sum(row.totals.cost_pico for row in rows[_TOP:])
        words = f"{len(rows) - _TOP} more"
        shown.append((Span(words, "dim"), Span(money(rest), "dim"), Span(share(rest, whole.cost_pico), "dim"), ""))  # type: ignore[arg-type]
    return Table(columns, shown)


def cost_of(totals: Totals) -> Cell:
    """The cost in words; `unpriced` where no call of them has a known price."""
    return Span("unpriced", "warn") if nothing_known(totals) else money(totals.cost_pico)


def _fraction(part: int, whole: int) -> float:
    return max(0, part) / whole if whole > 0 else 0.0


def _trend(found: Overview) -> Iterator[tuple[str | Span, ...]]:
    moved = change(found.week.cost_pico, found.before["week"].cost_pico)
    if moved:
        style = {"+": "warn", "-": "good"}.get(moved[0], "dim")
        words = f"{moved} on the 7 before" if moved != "new" else "the first 7"
        yield (
            "The last 7 days: ",
            Span(money(found.week.cost_pico), "strong"),
            ", ",
            Span(words, style),
        )
    dearest_day, dearest = max(found.daily, key=lambda pair: pair[1].cost_pico)
    if dearest.cost_pico:
        yield (f"The dearest day: {dearest_day} with ", Span(money(dearest.cost_pico), "strong"))
    if found.expected_month is not None and found.month.cost_pico:
        yield (f"{found.now:%B} at this pace: ", Span(money(found.expected_month), "strong"))
    moves = [m for m in found.moves[:3] if abs(m.now - m.before) * 50 > max(found.week.cost_pico, 1)]
    if moves and found.before["week"].calls:
        words = ", ".join(
            f"{m.name or 'no agent'} {'+' if m.now > m.before else '-'}{money(abs(m.now - m.before))}" for m in moves
        )
        yield ("What moved it: ", words)


def _in_plans(found: Overview) -> Iterator[tuple[str | Span, ...]]:
    if found.plans["everything"]:
        yield (Span("in plans", "accent"), ": list price of calls inside flat plans, which nobody owes")


def _doubts(totals: Totals, when: str) -> Iterator[tuple[str | Span, ...]]:
    if totals.unpriced_calls:
        yield (
            Span(f"{plural(totals.unpriced_calls, 'call')} {when} without a known price", "warn"),
            ", not in these sums: ",
            Span("farthing report --where price_status=unpriced --by model", "accent"),
        )
