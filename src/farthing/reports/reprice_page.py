"""The screen of a repricing: what would change, by model, in dollars."""

from __future__ import annotations

from typing import Any

from farthing.reports.blocks import Cell, Column, Heading, Page, Span, Table
from farthing.reports.reprice import Repriced
from farthing.reports.text import change, count, money, places_for, plural


def reprice_page(found: Repriced, note: str, *, applied: bool) -> Page:
    """The table of changes by model, and what was done."""
    page = Page()
    page.add(Heading("Repriced" if applied else "What repricing would change", note))
    page.line()
    if not found.moved:
        page.line(
            f"Nothing: every cost is what the prices now known give ({plural(found.looked_at, 'call')} looked at)."
        )
        return _rest(page, found, applied=applied)
    models = sorted(found.moved.values(), key=lambda one: (-abs(one.difference), one.model[1]))
    places = places_for([*(one.before for one in models), *(one.after for one in models)])
    rows: list[list[Cell]] = []
    for one in models:
        new = Span(plural(one.newly_priced, "had", "had") + " no price", "dim") if one.newly_priced else ""
        rows.append(
            [
                one.model[1],
                one.model[0] or "",
                count(one.calls),
                money(one.before, places),
                money(one.after, places),
                _signed(one.difference, places),
                change(one.after, one.before),
                new,
            ]
        )
    columns = (
        Column("model", least=14),
        Column("provider", rank=3),
        Column("calls", right=True, rank=1),
        Column("cost now", right=True),
        Column("would be" if not applied else "is", right=True),
        Column("difference", right=True),
        Column("", right=True, rank=2),
        Column("", rank=4),
    )
    before, after = sum(one.before for one in models), sum(one.after for one in models)
    total: list[Cell] = [
        "total", "", count(found.calls), money(before, places), money(after, places),
        _signed(found.difference, places), change(after, before), "",
    ]  # fmt: skip
    page.add(Table(columns, rows, [total]))
    page.line()
    return _rest(page, found, applied=applied)


def _rest(page: Page, found: Repriced, *, applied: bool) -> Page:
    if found.still_unpriced:
        calls = plural(found.still_unpriced, "call")
        page.line(Span(f"still without a price: {calls}", "warn"), "; farthing prices add ... sets one", hang=2)
    if found.closed:
        page.line(f"{money(found.closed)} of it is for closed months and is reported in the first open one", hang=2)
    if applied and found.applied:
        page.line(
            Span(f"{plural(found.applied, 'correction')} added", "good"), "; the events stay as they were recorded"
        )
    elif not applied and found.moved:
        page.line(
            "Nothing was changed. Without --dry-run corrections are added; the events stay as they were recorded."
        )
    return page


def _signed(pico: int, places: int) -> Cell:
    style = "warn" if pico > 0 else "good" if pico < 0 else "dim"
    return Span(f"{'+' if pico > 0 else ''}{money(pico, places)}", style)


def reprice_json(found: Repriced, *, applied: bool) -> dict[str, Any]:
    """The same for programs; amounts are picodollars."""
    return {
        "applied": applied,
        "looked_at": found.looked_at,
        "corrections": found.applied,
        "still_unpriced": found.still_unpriced,
        "calls": found.calls,
        "difference_pico": found.difference,
        "of_closed_months_pico": found.closed,
        "models": [
            {
                "provider": one.model[0],
                "model": one.model[1],
                "calls": one.calls,
                "newly_priced": one.newly_priced,
                "before_pico": one.before,
                "after_pico": one.after,
                "difference_pico": one.difference,
            }
            for one in found.moved.values()
        ],
    }
