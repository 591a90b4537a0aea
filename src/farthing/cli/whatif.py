"""`farthing whatif`: real usage at another model's or tier's price."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import click

from farthing.cli.frame import App, as_filter, filter_options, key_values, now, pass_app, shared_options
from farthing.pricing.catalog import Catalog
from farthing.reports.booked import booked
from farthing.reports.periods import period as read_period
from farthing.reports.whatif import Swap
from farthing.reports.whatif import whatif as tried
from farthing.reports.whatif_page import whatif_json, whatif_page
from farthing.reports.words import span_words


def _factor(ctx: click.Context, param: click.Parameter, given: str) -> Fraction:
    try:
        value = Decimal(given)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise click.BadParameter(f"{given!r}: must be a number above 0, e.g. 1.1")
    return Fraction(value)


@click.command()
@click.argument("period", required=False)
@click.option(
    "--model", "models", multiple=True, metavar="A=B", help="The calls to A (or A*) at the price of B. Repeatable."
)
@click.option("--tier", help="At the price of this tier: batch, flex, priority, ...")
@click.option(
    "--tokens", "factor", default="1", callback=_factor, metavar="X", help="B counts X tokens for each one of A."
)
@filter_options
@shared_options
@pass_app
def whatif(
    app: App,
    period: str | None,
    models: tuple[str, ...],
    tier: str | None,
    factor: Fraction,
    since: datetime | None,
    until: datetime | None,
    where: tuple[str, ...],
) -> None:
    """What real usage would cost at other prices.

    PERIOD is such as october or 30d; without it and without --since, this month. What was really used is priced anew,
    as of then; how tokenizers differ is said with it.
    """
    pairs = key_values(models, "--model")
    if not pairs and tier is None:
        raise click.UsageError("name another model (--model A=B), another tier (--tier batch), or both")
    for name, other in pairs.items():
        if not other:
            raise click.BadParameter(f"{name}=: name the other model", param_hint="--model")
    asked = as_filter(since, until, where)
    if period is not None or since is None:
        asked = read_period(period or "this month", now(), "UTC").filter(asked)
    swap = Swap(models=pairs, tier=tier, factor=factor)
    with app.store() as store:
        found = tried(booked(store), Catalog.default(), asked, swap)
    words = [f"{name} as {other}" for name, other in pairs.items()] + ([f"{tier} tier"] if tier else [])
    app.show(whatif_page(found, f"What if: {', '.join(words)}", span_words(asked)), whatif_json(found))
