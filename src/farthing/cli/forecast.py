"""`farthing forecast`: what windows will come to."""

from __future__ import annotations

import click

from farthing.cli.frame import App, as_filter, now, pass_app, shared_options
from farthing.cli.options import tz_option, where_option
from farthing.reports.forecast_page import forecast_json, forecast_page
from farthing.reports.outlook import outlook, outlooks, standings_of


@click.command()
@click.option(
    "--window",
    type=click.Choice(["day", "week", "month"]),
    default="month",
    show_default=True,
    help="The window whose end is meant; budgets have their own.",
)
@tz_option
@where_option
@shared_options
@pass_app
def forecast(app: App, window: str, tz: str, where: tuple[str, ...]) -> None:
    """What this month, and every budget, will come to.

    From the ledger's own past: the pace of late, or the same weekday of the last weeks, whichever would have come
    nearer. A range is given only where it would have held in the past as often as it claims; each figure says how it
    was made.
    """
    at, chosen = now(), as_filter(None, None, where)
    with app.store() as store:
        whole = outlook(store, at, window, tz, chosen)
        budgets = [] if chosen.equals else outlooks(store, at, standings_of(store, at, chosen.org))
    app.show(forecast_page(whole, budgets, tz), forecast_json(whole, budgets))
