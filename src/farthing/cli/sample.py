"""`farthing sample`: made-up event lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TextIO

import click

from farthing.cli.frame import App, Moment, now, pass_app, shared_options
from farthing.sample import MODELS, SamplePlan, sample_lines


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How many days.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes up the same company.")
@click.option("--events", type=click.IntRange(1), help="About how many calls in all; without it about 700 a weekday.")
@click.option("--agents", type=click.IntRange(1, 1000), default=8, show_default=True, help="How many agents.")
@click.option(
    "--models", type=click.IntRange(3, len(MODELS)), default=16, show_default=True, help="How many models they take."
)
@click.option("--users", type=click.IntRange(1, 10**6), default=120, show_default=True, help="How many users.")
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
