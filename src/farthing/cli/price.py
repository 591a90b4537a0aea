"""`farthing price`: what a call costs, explained; with several models, compared."""

from __future__ import annotations

import sys
from typing import Any

import click

from farthing.cli.counts import context_of, context_options, usage_of_options, usage_options
from farthing.cli.frame import App, Moment, now, pass_app, shared_options
from farthing.pricing.catalog import Catalog
from farthing.pricing.cost import Cost
from farthing.reports.blocks import Heading, Page, Pairs, Span
from farthing.reports.compare import compare_page, compared_json
from farthing.reports.explain import cost_table, line_json, provenance_json, provenance_pairs
from farthing.reports.text import exact_money, money, plural
from farthing.usage import Usage


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--provider", help="Who serves it, e.g. openai, azure, aws. Default: found by the model's name.")
@usage_options
@context_options
@click.option("--at", type=Moment(), help="Prices of that moment. Default: now.")
@click.option("--times", type=click.IntRange(1), metavar="N", help="Also what so many such calls cost: a month's.")
@shared_options
@pass_app
def price(app: App, /, **given: Any) -> None:
    """What a call costs, or would cost with other models.

    One model: every line of its cost, the total and where the price is from. Several: a comparison, cheapest first,
    with what each saves against the first one named. Without counts: a thousand tokens in and a thousand out.
    Exit code 1 where no price is known.
    """
    usage = usage_of_options(given) or Usage(input_tokens=1000, output_tokens=1000)
    at = given["at"] or now()
    context = context_of(given)
    catalog = Catalog.default()
    costs = [
        catalog.price(model, usage, provider=given["provider"], at=at, context=context)
        for model in dict.fromkeys(given["models"])
    ]
    times = given["times"]
    if len(costs) == 1:
        lacking = catalog.resolve(costs[0].model, given["provider"], at).evaluate(usage) is None
        app.show(_one_page(costs[0], usage, times, lacking=lacking), _one_json(costs[0], usage, times))
    else:
        app.show(compare_page(costs, usage, times), compared_json(costs, usage, times))
    if all(cost.pico is None for cost in costs):
        sys.exit(1)


def _one_page(cost: Cost, usage: Usage, times: int | None, *, lacking: bool) -> Page:
    """`lacking`: the model has no price in any context, so that one of the user's own would help."""
    page = Page()
    page.add(Heading(exact_money(cost.pico), cost.model if cost.pico is None else f"{cost.model}, {cost.status}"))
    if cost.pico is not None and times:
        page.line(f"{plural(times, 'such call')}: ", Span(money(cost.pico * times), "strong"))
    page.line()
    if cost.lines:
        page.add(cost_table(cost.lines, cost.pico))
        page.line()
    if cost.provenance is not None:
        page.add(Pairs(list(provenance_pairs(cost.provenance, cost.reasons))))
    else:
        for reason in cost.reasons:
            page.line(Span(reason, "warn"), hang=2)
        if lacking:
            page.line(
                "Set a price of your own: ",
                Span(f"farthing prices add {cost.model} --input 1.50 --output 5.00", "accent"),
            )
    return page


def _one_json(cost: Cost, usage: Usage, times: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": cost.model,
        "provider": cost.provider,
        "status": cost.status,
        "cost_usd": None if cost.usd is None else str(cost.usd),
        "cost_pico": cost.pico,
        "reasons": list(cost.reasons),
        "usage": {unit: number if isinstance(number, int) else str(number) for unit, number in usage.items()},
        "lines": [line_json(line) for line in cost.lines],
        "provenance": provenance_json(cost.provenance),
    }
    if times:
        found |= {"times": times, "times_cost_pico": None if cost.pico is None else cost.pico * times}
    return found
