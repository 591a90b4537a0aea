"""Models compared for one shape of call: cheapest first, with what each saves against the first one named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farthing.money import pico_to_usd
from farthing.pricing.cost import Cost
from farthing.reports.blocks import Bar, Cell, Column, Heading, Page, Span, Table
from farthing.reports.text import change, count, exact_money, money, places_for
from farthing.usage import Usage


def by_cost(costs: Sequence[Cost]) -> list[Cost]:
    """Cheapest first; those without a price last, in their order."""
    return sorted(costs, key=lambda cost: (cost.pico is None, cost.pico or 0))


def compare_page(costs: Sequence[Cost], usage: Usage, times: int | None) -> Page:
    """The comparison as a table. `times`: also what so many calls cost and save."""
    first = costs[0]
    page = Page()
    words = ", ".join(f"{count(int(number))} {unit.replace('_', ' ')}" for unit, number in usage.items())
    page.add(Heading("Cost of a call", words))
    page.line()
    columns = [Column("model", least=14), Column("provider", rank=2), Column("a call", right=True)]
    if times:
        columns += [Column(f"{times:,} calls", right=True), Column("saves", right=True, rank=1)]
    columns += [Column(f"against {first.model}"[:28], right=True, rank=1), Column("", rank=3)]
    largest = max((cost.pico or 0 for cost in costs), default=0)
    all_places = places_for([largest * times]) if times else 2
    rows: list[list[Cell]] = []
    for cost in by_cost(costs):
        row: list[Cell] = [cost.model, cost.provider or ""]
        if cost.pico is None:
            row += [Span("unpriced", "warn"), *([""] * (2 if times else 0)), "", ""]
        else:
            row.append(exact_money(cost.pico))
            if times:
                saved = None if first.pico is None else (first.pico - cost.pico) * times
                row += [money(cost.pico * times, all_places), "" if not saved else money(saved, all_places)]
            row += [_against(cost, first), Bar(cost.pico / largest if largest else 0)]
        rows.append(row)
    page.add(Table(tuple(columns), rows))
    doubts = [(cost.model, reason) for cost in costs for reason in cost.reasons if cost.status != "priced"]
    if doubts:
        page.line()
    for model, reason in doubts:
        page.line(Span(f"{model}: ", "dim"), Span(reason, "warn"), hang=2)
    return page


def _against(cost: Cost, first: Cost) -> Cell:
    if cost is first or first.pico is None or cost.pico is None:
        return ""
    words = change(cost.pico, first.pico)
    return Span(words, "good" if cost.pico < first.pico else "warn" if cost.pico > first.pico else "dim")


def compared_json(costs: Sequence[Cost], usage: Usage, times: int | None) -> dict[str, Any]:
    """The same for programs, cheapest first."""
    first = costs[0]
    rows: list[dict[str, Any]] = []
    for cost in by_cost(costs):
        row: dict[str, Any] = {
            "model": cost.model,
            "provider": cost.provider,
            "status": cost.status,
            "cost_usd": None if cost.usd is None else str(cost.usd),
            "cost_pico": cost.pico,
            "reasons": list(cost.reasons),
        }
        if times:
            row["times_cost_usd"] = None if cost.pico is None else str(pico_to_usd(cost.pico * times))
            saves = None if cost.pico is None or first.pico is None else (first.pico - cost.pico) * times
            row["saves_usd"] = None if saves is None else str(pico_to_usd(saves))
        rows.append(row)
    counts = {unit: number if isinstance(number, int) else str(number) for unit, number in usage.items()}
    return {"usage": counts, "times": times, "against": first.model, "models": rows}
