"""`farthing report`: what was spent, by any key."""

from __future__ import annotations

from datetime import datetime

import click

from farthing.cli.frame import App, as_filter, filter_options, pass_app, shared_options
from farthing.event import ATTRIBUTION_FIELDS, from_us
from farthing.reports.lines import row_json, totals_json
from farthing.reports.queries import Breakdown, breakdown
from farthing.reports.screens import breakdown_page

KEYS = (
    *("agent", "model", "user", "team", "provider", "day", "hour", "week", "month"),
    *(field for field in ATTRIBUTION_FIELDS if field not in ("agent", "user", "team")),
    *("operation", "price_status", "usage_status", "status", "source", "requested_model", "billing"),
)


def _keys(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(part.strip().replace("-", "_") for text in given for part in text.split(",") if part.strip())
    for key in found:
        if key not in KEYS and not (key.startswith("metadata.") and len(key) > len("metadata.")):
            raise click.BadParameter(f"unknown key {key!r}; known: {', '.join(KEYS)}, metadata.<key>")
    return found or ("agent",)


@click.command()
@click.option(
    "--by",
    multiple=True,
    callback=_keys,
    metavar="KEY",
    help="agent (the default), model, user, team, provider, day, metadata.<key>, ...; several joined by commas.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many rows; one more sums up the rest.")
@filter_options
@shared_options
@pass_app
def report(
    app: App,
    by: tuple[str, ...],
    limit: int | None,
    since: datetime | None,
    until: datetime | None,
    where: tuple[str, ...],
) -> None:
    """What was spent, by agent, model, user, day, ...

    Dearest first; by time, oldest first. Below the total stands what is not known: calls without a price, estimated
    counts, calls that nobody claims.
    """
    chosen = as_filter(since, until, where)
    with app.store() as store:
        found = breakdown(store, by, chosen, limit)
    title = f"Cost by {' and '.join(key.replace('_', ' ') for key in by)}"
    app.show(breakdown_page(found, title=title), as_json(found))


def as_json(found: Breakdown) -> dict[str, object]:
    """The same figures for programs."""
    where = found.where
    return {
        "by": list(found.by),
        "since": None if where.since_us is None else from_us(where.since_us).isoformat(),
        "until": None if where.until_us is None else from_us(where.until_us).isoformat(),
        "where": dict(where.equals) | ({"org": where.org} if where.org is not None else {}),
        "rows": [row_json(found.by, row) for row in found.rows],
        "rest": {"rows": found.rest[0], **totals_json(found.rest[1])},
        "total": totals_json(found.total),
        "unattributed": None if found.unattributed is None else totals_json(found.unattributed),
        "names_that_say_nothing": list(found.empty_names),
    }
