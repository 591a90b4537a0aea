"""`farthing why`: the difference between two periods, and what made it."""

from __future__ import annotations

from datetime import datetime

import click

from farthing.cli.frame import App, as_filter, now, pass_app, shared_options
from farthing.cli.options import tz_option, where_option
from farthing.event import to_us
from farthing.reports.booked import booked
from farthing.reports.periods import Period
from farthing.reports.periods import period as read_period
from farthing.reports.why import why as explained
from farthing.reports.why_page import why_json, why_page


@click.command()
@click.argument("before", required=False)
@click.argument("after", required=False)
@tz_option
@where_option
@shared_options
@pass_app
def why(app: App, before: str | None, after: str | None, tz: str, where: tuple[str, ...]) -> None:
    """Why one period cost more or less than another.

    BEFORE and AFTER are periods such as october, 2026-W42, 30d or 2026-10-01..2026-10-15; one alone is compared with
    the one before it; without any, this month with the last. The difference is split exactly into the number of calls,
    the models, tokens per call, caching and price.
    """
    at = now()
    first, second = _periods(before, after, at, tz)
    with app.store() as store:
        found = explained(booked(store), first, second, as_filter(None, None, where), to_us(at))
    app.show(why_page(found), why_json(found))


def _periods(before: str | None, after: str | None, at: datetime, tz: str) -> tuple[Period, Period]:
    if after is not None:
        return read_period(before or "", at, tz), read_period(after, at, tz)
    second = read_period(before or "this month", at, tz)
    return second.before(), second
