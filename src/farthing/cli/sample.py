"""`farthing sample`: made-up event lines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO, TypeVar

import click

from farthing.cli.frame import App, Moment, now, pass_app, shared_options
from farthing.sample import MODELS, SamplePlan, sample_lines

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _count(option: str, most: int, default: int | None, words: str) -> Callable[[Decorated], Decorated]:
    kind = click.IntRange(3 if option == "--models" else 1, most)
    return click.option(option, type=kind, metavar="N", default=default, show_default=default is not None, help=words)


@click.command()
@_count("--days", 3_650, 30, "How many days.")
@click.option("--seed", type=int, metavar="N", default=7, show_default=True, help="The same seed, the same company.")
@_count("--events", 10**9, None, "About how many calls in all; without it about 700 a weekday.")
@_count("--agents", 1_000, 8, "How many agents.")
@_count("--models", len(MODELS), 16, "How many models they take.")
@_count("--users", 10**6, 120, "How many users.")
@click.option("--end", type=Moment(end_of_day=True), help="The last day, or moment. Default: now.")
@click.option(
    "--out", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="The file. Default: standard output."
)
@shared_options
@pass_app
def sample(
    app: App,
    days: int,
    seed: int,
    events: int | None,
    agents: int,
    models: int,
    users: int,
    end: datetime | None,
    out: TextIO,
) -> None:
    """Make up event lines to try things with.

    A company's agents, users and models over some days, with day and night, weekends, a dear day, retries, cache hits,
    models without a price. Each day depends on the seed and its date alone: tomorrow's sample repeats today's events.
    """
    last = now() if end is None else end.astimezone(UTC) - timedelta(microseconds=1)
    plan = SamplePlan(end=last, days=days, seed=seed, events=events, agents=agents, models=models, users=users)
    written = 0
    for line in sample_lines(plan):
        out.write(line)
        written += 1
    if out.name != "-":
        click.echo(f"{written:,} event lines of {days} days in {out.name}", err=app.as_json)
