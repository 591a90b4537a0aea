"""`farthing run`: start a program so that its LLM calls are metered, and say what they came to."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import NoReturn

import click

from farthing.capture.launch import environment
from farthing.cli.frame import App, key_values, pass_app, shared_options
from farthing.errors import ConfigError, LedgerError
from farthing.event import ATTRIBUTION_FIELDS
from farthing.ledger.open import place_of
from farthing.ledger.store import Filter, Question
from farthing.reports.text import count, money, plural

LAUNCH = "launch"
"""The metadata key by which the calls of one `farthing run` are found again."""

NOT_FOUND = 127


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--set", "more", multiple=True, metavar="FIELD=VALUE", help="What its calls are for: agent=..., team=...")
@click.option("--agent", help="The agent its calls are for.")
@click.option("--include-usage", is_flag=True, help="Ask chat streams for the usage they would not report.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing at the end.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@shared_options
@pass_app
def run(
    app: App, more: tuple[str, ...], agent: str | None, include_usage: bool, quiet: bool, command: tuple[str, ...]
) -> None:
    """Meter a program without a change to its code.

    farthing run -- python app.py

    The program needs farthing installed beside it. The Python processes that it starts are metered too. Its exit code
    is ours; what it spent stands on standard error at the end.
    """
    attributes = _attributes(more, agent)
    launch = secrets.token_hex(4)
    attributes[f"metadata.{LAUNCH}"] = launch
    env = _metered(app, attributes, include_usage)
    if command[0].endswith(".py"):
        command = (sys.executable, *command)
    program = shutil.which(command[0])
    if program is None:
        raise _exit(f"{command[0]}: there is no such program; write it as you would without `farthing run --`")
    started = time.time_ns() // 1000
    code = _run((program, *command[1:]), env)
    if not quiet and env is not None:
        click.echo(_summary(app, launch, started), err=True)
    sys.exit(code if code >= 0 else 128 - code)


def _attributes(more: tuple[str, ...], agent: str | None) -> dict[str, str]:
    given = key_values(more, "--set")
    for name in given:
        if name not in ATTRIBUTION_FIELDS and not name.startswith("metadata."):
            known = ", ".join(ATTRIBUTION_FIELDS)
            raise click.BadParameter(f"unknown field {name!r}; known: {known}, metadata.<key>", param_hint="--set")
    if agent:
        given["agent"] = agent
    return given


def _metered(app: App, attributes: dict[str, str], include_usage: bool) -> dict[str, str] | None:
    """The environment that meters the program; None, and why, where settings are broken: it runs all the same."""
    try:
        return environment(os.environ, ledger=_whole(app.url), attributes=attributes, include_usage=include_usage)
    except ConfigError as error:
        click.echo(f"farthing: not metering: {error}", err=True)
        return None


def _whole(url: str) -> str:
    """The ledger by its whole path: the program may work in another folder. What is no file stays as it is."""
    try:
        return place_of(url)
    except LedgerError:
        return url


def _exit(words: str) -> NoReturn:
    click.echo(f"Error: {words}", err=True)
    sys.exit(NOT_FOUND)


def _run(command: tuple[str, ...], env: dict[str, str] | None) -> int:
    """Its exit code. Signals that are meant for it are handed on; Ctrl-C reaches it by itself."""
    program = subprocess.Popen(command, env=env)

    def hand_on(number: int, _frame: FrameType | None) -> None:
        program.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return program.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(app: App, launch: str, started_us: int) -> str:
    """One line: calls, tokens, cost, and what is not known."""
    where = Filter(since_us=started_us, equals={f"metadata.{LAUNCH}": launch})
    try:
        with app.store(may_be_new=True) as store:
            rows = store.totals(Question(where=where))
    except LedgerError as error:
        return f"farthing: {error}"
    totals = rows[0].totals if rows else None
    if totals is None or not (totals.calls or totals.unbilled_attempts):
        return "farthing: no LLM calls were seen; `farthing doctor` says what can be metered"
    words = [plural(totals.calls, "call"), f"{count(totals.input_tokens + totals.output_tokens)} tokens",
             money(totals.cost_pico)]  # fmt: skip
    if totals.unpriced_calls:
        words.append(f"{totals.unpriced_calls} without a price")
    if totals.estimated_calls or totals.partial_calls:
        words.append(f"{totals.estimated_calls + totals.partial_calls} estimated")
    if totals.unbilled_attempts:
        words.append(plural(totals.unbilled_attempts, "failed attempt"))
    return f"farthing: {', '.join(words)} · farthing report --where metadata.{LAUNCH}={launch} --by model"
