"""The screen of forecasts: the whole, each budget, and how each figure was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from farthing.event import from_us
from farthing.reports.blocks import Figures, Heading, Page, Span
from farthing.reports.budget_values import outlook_json
from farthing.reports.digest import budgets_table, called, over_lines
from farthing.reports.outlook import Outlook
from farthing.reports.text import count, money, of_org
from farthing.windows import zone


def forecast_page(whole: Outlook, budgets: Sequence[Outlook], tz: str) -> Page:
    """What the window comes to, and where budgets are heading."""
    page = Page()
    end = from_us(whole.end_us - 1).astimezone(zone(tz))
    page.add(Heading("Forecast", f"to the end of this {whole.window}, {end:%Y-%m-%d} {tz}"))
    page.line()
    between = [Span("no range: see below", "dim")]
    if whole.low is not None and whole.high is not None:
        between = [Span(f"{money(whole.low, 2)} – {money(whole.high, 2)}, 4 times in 5", "dim")]
    page.add(
        Figures(
            [
                ("so far", money(whole.spent), []),
                ("still to come", money(whole.forecast.expected), []),
                (f"this {whole.window} ends at", money(whole.end), between),
            ]
        )
    )
    page.line(Span("how: ", "dim"), whole.forecast.why, hang=2)
    if budgets:
        page.line()
        page.add(Heading("Budgets", "where each is heading by the end of its window"))
        shown, rest = few(budgets)
        page.add(budgets_table(shown))
        for name, number in rest.items():
            page.line(Span(f"{name}: {count(number)} more, which use less of their limit", "dim"), hang=2)
        for line in over_lines(shown, tz):
            page.line(*line, hang=2)
        page.line()
        for why in dict.fromkeys(one.forecast.why for one in shown):
            names = [called(one) for one in shown if one.forecast.why == why]
            page.line(Span(f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}: ", "dim"), why, hang=2)
    return page


def few(budgets: Sequence[Outlook], most: int = 8) -> tuple[list[Outlook], Counter[str]]:
    """Of each budget so many accounts, in their order; and how many are left out of which."""
    seen: Counter[str] = Counter()
    shown = []
    for one in budgets:
        name = of_org(one.name, one.org)
        seen[name] += 1
        if seen[name] <= most:
            shown.append(one)
    return shown, Counter({name: number - most for name, number in seen.items() if number > most})


def forecast_json(whole: Outlook, budgets: Sequence[Outlook]) -> dict[str, Any]:
    """The same for programs."""
    return {"all": outlook_json(whole), "budgets": [outlook_json(one) for one in budgets]}
