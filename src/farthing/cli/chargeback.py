"""`farthing chargeback`: statements for teams and cost centres."""

from __future__ import annotations

from pathlib import Path

import click

from farthing.cli.frame import App, as_filter, now, pass_app, shared_options
from farthing.cli.options import tz_option, where_option
from farthing.cli.output import chosen_kind, currency_of, currency_options, output_options, put
from farthing.errors import InputError
from farthing.event import to_us
from farthing.reports.allocation import Allocation, read_allocation
from farthing.reports.booked import booked
from farthing.reports.chargeback import chargeback as charged
from farthing.reports.chargeback import chargeback_json
from farthing.reports.chargeback_page import chargeback_page, chargeback_rows
from farthing.reports.html import document
from farthing.reports.periods import period as read_period


@click.command()
@click.argument("period", required=False)
@click.option(
    "--allocation",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that says who pays (TOML). Default: allocation.toml in the data folder, if there is one.",
)
@click.option("--short", is_flag=True, help="Only the table of teams, without their statements.")
@tz_option
@currency_options
@output_options
@where_option
@shared_options
@pass_app
def chargeback(
    app: App,
    period: str | None,
    path: Path | None,
    short: bool,
    tz: str,
    currency: str | None,
    rates: Path | None,
    kind: str | None,
    out: Path | None,
    where: tuple[str, ...],
) -> None:
    """Statements for teams, which add up to the total.

    PERIOD is such as october or 2026-Q3; without it, this month. A dated file maps agents, users, keys, ... to teams
    and cost centers, and splits what is shared (docs/reports.md). Without a file: the teams that calls name themselves.
    """
    at = now()
    chosen = read_period(period or "this month", at, tz)
    usual = app.settings.data_dir / "allocation.toml"
    allocation = read_allocation(path or usual, tz) if path or usual.is_file() else Allocation()
    with app.store() as store:
        found = charged(booked(store), allocation, chosen.filter(as_filter(None, None, where)))
    if found.total != sum(one.total for one in found.statements):  # cannot be; better told than billed
        raise InputError("the statements do not add up to the total: please report this")
    money = currency_of(app, currency, rates, min(chosen.last, at.date()))
    title, note = f"Chargeback: {chosen.name}", "so far" if to_us(at) < chosen.until_us else ""
    page = chargeback_page(found, title, note, money, lines=not short)
    values = {"period": chosen.to_json(), **chargeback_json(found)}
    made = f"Made by farthing from {app.url} on {at:%Y-%m-%d %H:%M} UTC."
    put(
        app,
        chosen_kind(app, kind, out),
        out,
        page=page,
        values=values,
        rows=lambda: chargeback_rows(found),
        html=lambda: document(title, note, [type(page)(page.blocks[1:])], made),
    )
