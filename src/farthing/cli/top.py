"""`farthing top`: the live view."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from farthing.cli.frame import App, as_filter, now, pass_app, shared_options
from farthing.cli.options import tz_option, where_option
from farthing.cli.report import KEYS
from farthing.reports import render
from farthing.reports.budget_values import standing_json
from farthing.reports.queries import TIME_KEYS
from farthing.reports.top import SORTS, Frame, look, sorted_lines, top_page

PRESS = {"r": "rate", "c": "cost", "n": "calls", "t": "tokens", "a": "name"}
KEYS_WORDS = "sort: r $/hour  c 24 hours  n calls  t tokens  a name    q quit"


def _by(ctx: click.Context, param: click.Parameter, given: str) -> str:
    if (given not in KEYS and not given.startswith("metadata.")) or given in TIME_KEYS:
        raise click.BadParameter(f"unknown key {given!r}; name agent, model, user, team, metadata.<key>, ...")
    return given


@click.command()
@click.option("--by", default="agent", show_default=True, callback=_by, help="agent, model, user, team, ...")
@click.option("--sort", type=click.Choice(list(SORTS)), default="rate", show_default=True, help="What comes first.")
@click.option("--rows", type=click.IntRange(1, 200), default=15, show_default=True, help="So many rows at most.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="SECONDS", help="How often."
)
@click.option("--once", is_flag=True, help="One look, for pipes and scripts.")
@tz_option
@where_option
@shared_options
@pass_app
def top(app: App, by: str, sort: str, rows: int, every: float, once: bool, tz: str, where: tuple[str, ...]) -> None:
    """Who spends how fast, live.

    The burn rate of the last 60 minutes, today, this month, the agents (or models, users, ...) of the last 24 hours,
    and how budgets stand. Press r, c, n, t or a to sort, q to leave.
    """
    chosen = as_filter(None, None, where)
    with app.store() as store:

        def frame() -> Frame:
            return look(store, now(), by, tz, chosen)

        if once or app.as_json or not sys.stdout.isatty():
            seen = frame()
            app.show(top_page(seen, sort, rows), as_json(seen, sort))
        else:
            with contextlib.suppress(KeyboardInterrupt):
                _live(frame, sort, rows, every)


def _live(frame: Callable[[], Frame], sort: str, rows: int, every: float) -> None:
    with render.live(sys.stdout) as show, _keys() as pressed:
        seen = frame()
        while True:
            show(top_page(seen, sort, rows, KEYS_WORDS))
            key = pressed(every)
            if key in ("q", "\x03", "\x1b"):
                return
            if key in PRESS:
                sort = PRESS[key]
            else:
                seen = frame()


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key and gives it, or nothing."""
    if not sys.stdin.isatty():

        def wait(seconds: float) -> str:
            select.select([], [], [], seconds)
            return ""

        yield wait
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return (
            os.read(terminal, 1).decode(errors="replace").lower() if ready else ""
        )  # sys.stdin would keep a second one

    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def as_json(frame: Frame, sort: str) -> dict[str, Any]:
    """One look, for programs; amounts are picodollars."""
    return {
        "at": frame.at.isoformat(),
        "by": frame.by,
        "burn_rate_pico_an_hour": frame.rate,
        "before_pico_an_hour": frame.before,
        "today_pico": frame.today,
        "month_pico": frame.month,
        "rows": [
            {
                frame.by: line.name,
                "pico_an_hour": line.rate,
                "calls_an_hour": line.calls_an_hour,
                "last_24_hours_pico": line.day.cost_pico,
                "calls": line.day.calls,
                "tokens": line.day.total_tokens,
                "hours_pico": list(line.hours),
            }
            for line in sorted_lines(frame, sort)
        ],
        "budgets": [standing_json(one, {}) for one in frame.standings],
    }
