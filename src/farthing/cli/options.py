"""Options that several reports share."""

from __future__ import annotations

import click

from farthing.errors import InputError
from farthing.windows import zone


def _zone(ctx: click.Context, param: click.Parameter, given: str) -> str:
    try:
        zone(given)
    except InputError as error:
        raise click.BadParameter(str(error)) from error
    return given


tz_option = click.option(
    "--tz", default="UTC", show_default=True, callback=_zone, help="The time zone of days, weeks and months."
)
where_option = click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only events with this value: agent=researcher, metadata.region=eu; `user=` means: none. Repeatable.",
)
