"""`farthing reprice` and `farthing close`: the history of prices, and months that are reported for good."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from farthing.cli.frame import App, as_filter, filter_options, now, pass_app, shared_options
from farthing.cli.options import tz_option
from farthing.errors import InputError
from farthing.event import from_us, to_us
from farthing.ledger.closing import Closing
from farthing.ledger.store import Question
from farthing.pricing.catalog import Catalog
from farthing.reports import render
from farthing.reports.blocks import Cell, Column, Heading, Page, Span, Table
from farthing.reports.booked import booked
from farthing.reports.periods import period as read_period
from farthing.reports.reprice import reprice as repriced
from farthing.reports.reprice_page import reprice_json, reprice_page
from farthing.reports.text import count, money, when
from farthing.reports.words import span_words


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@filter_options
@shared_options
@pass_app
def reprice(app: App, dry_run: bool, since: datetime | None, until: datetime | None, where: tuple[str, ...]) -> None:
    """Price recorded calls anew by the prices now known.

    Each call is priced as of its own moment, so that only prices that were wrong or unknown then change anything. What
    changes is added as corrections: the events stay as they were recorded, and the budgets of their windows follow.
    Needs --since.
    """
    if since is None:
        raise click.UsageError("say from when on: --since 2026-10-01 (--dry-run shows what would change)")
    chosen = as_filter(since, until, where)
    with app.store() as store, render.progress("repricing", None, sys.stderr) as move:
        found = repriced(
            store, Catalog.default(), chosen, apply=not dry_run, progress=lambda n: move(n, f"{count(n)} calls")
        )
    page = reprice_page(found, span_words(chosen), applied=not dry_run)
    app.show(page, reprice_json(found, applied=not dry_run))


@click.command()
@click.argument("month", required=False)
@click.option("--by", "who", metavar="NAME", help="Who closes it.")
@tz_option
@shared_options
@pass_app
def close(app: App, month: str | None, who: str | None, tz: str) -> None:
    """Close a month: its reported figures stay.

    MONTH is such as 2026-10 or october. What is recorded for it later (corrections, late imports) is reported in the
    first month that is still open. Without MONTH: the months that are closed.
    """
    at = now()
    with app.store() as store:
        if month is not None:
            chosen = read_period(month, at, tz)
            if chosen.unit != "month":
                raise InputError(f"{month!r} is no month: write 2026-10 or october")
            if chosen.until_us > to_us(at):
                raise InputError(f"{chosen.name} is not over: it can be closed from {chosen.end} on")
            rows = booked(store).totals(Question(where=chosen.filter()))
            store.close_month(
                Closing(
                    month=f"{chosen.first:%Y-%m}",
                    tz=tz,
                    since_us=chosen.since_us,
                    until_us=chosen.until_us,
                    at_us=to_us(at),
                    cost_pico=sum(row.totals.cost_pico for row in rows),
                    calls=sum(row.totals.calls for row in rows),
                    by=who,
                )
            )
        closings = store.closings()
    app.show(_closed_page(closings), [_closing_json(one) for one in closings])


def _closed_page(closings: list[Closing]) -> Page:
    page = Page()
    page.add(Heading("Closed months", "what comes for them later is reported in the first open month"))
    page.line()
    if not closings:
        page.line("None is closed.")
        return page
    columns = (
        Column("month"),
        Column("cost", right=True),
        Column("calls", right=True),
        Column("closed"),
        Column("by"),
        Column("time zone", rank=1),
    )
    rows: list[list[Cell]] = []
    for one in closings:
        closed = when(from_us(one.at_us))
        rows.append([one.month, money(one.cost_pico, 2), count(one.calls), closed, one.by or "", Span(one.tz, "dim")])
    page.add(Table(columns, rows))
    return page


def _closing_json(one: Closing) -> dict[str, object]:
    return {
        "month": one.month,
        "tz": one.tz,
        "closed_at": from_us(one.at_us).isoformat(),
        "by": one.by,
        "cost_pico": one.cost_pico,
        "calls": one.calls,
    }
