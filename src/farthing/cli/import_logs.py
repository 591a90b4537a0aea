"""`farthing import claude-code|codex|gemini-cli|opencode`: the logs of coding agents, once or as they grow."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from farthing.capture.logs.agents import AgentImport, AgentLog, AgentOptions, AgentTally, watch
from farthing.capture.logs.claude_code import ClaudeCode
from farthing.capture.logs.codex import Codex
from farthing.capture.logs.gemini_cli import GeminiCli
from farthing.capture.logs.opencode import OpenCode
from farthing.capture.logs.positions import Positions
from farthing.cli.frame import App, now, pass_app, shared_options
from farthing.cli.import_ledger import ledger_command
from farthing.cli.import_tools import TOOLS, tool_command
from farthing.cli.tallies import defaults, hashing, tell, values
from farthing.errors import InputError
from farthing.event import Attribution, to_us
from farthing.ledger.absorb import is_ledger
from farthing.ledger.store import Filter, Question, Store
from farthing.pricing.catalog import Catalog
from farthing.reports import render
from farthing.reports.blocks import Page, Span
from farthing.reports.text import count, money, plural

AGENTS: Mapping[str, Callable[[], AgentLog]] = MappingProxyType(
    {"claude-code": ClaudeCode, "codex": Codex, "gemini-cli": GeminiCli, "opencode": OpenCode}
)

_SHARED = ("--json", "--ledger")


class FilesOrAgent(click.Command):
    """The `import` command: with the name of an agent or tool first, the command that reads its logs or history."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of whichever command is meant. A file of an agent's name is meant where there is one."""
        place = _first(args)
        if place is not None and args[place] in (*AGENTS, *TOOLS) and not Path(args[place]).exists():
            name, rest = args[place], args[:place] + args[place + 1 :]
            meant = agent_command(name) if name in AGENTS else tool_command(name)
            return meant.make_context(f"{info_name} {name}", rest, parent, **extra)
        if place is not None and is_ledger(args[place]):
            return ledger_command().make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _first(args: list[str]) -> int | None:
    """The place of the first argument that is no option that all commands share; None where there is none."""
    place = 0
    while place < len(args) and args[place].startswith(_SHARED):
        place += 2 if args[place] == "--ledger" else 1
    return place if place < len(args) else None


def agent_command(name: str) -> click.Command:
    """`farthing import <name>`."""

    @click.command(name, help=_HELP.format(name=name))
    @click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
    @click.option("--watch", "live", is_flag=True, help="Go on reading what is written, until Ctrl-C.")
    @click.option("--every", type=click.FloatRange(min=0.1), default=2.0, help="Seconds between looks with --watch.")
    @click.option(
        "--subscription/--metered",
        default=None,
        help="What pays for the calls: a flat plan or each call. Default: as the log says, else metered.",
    )
    @click.option("--model", help="The model of calls whose log names none.")
    @click.option("--attributes", metavar="K=V,...", help="What calls are for where their log says nothing.")
    @shared_options
    @pass_app
    def command(
        app: App,
        paths: tuple[Path, ...],
        live: bool,
        every: float,
        subscription: bool | None,
        model: str | None,
        attributes: str | None,
    ) -> None:
        machine = Attribution(metadata={"machine": socket.gethostname()})
        options = AgentOptions(
            attribute=defaults(app, attributes).with_defaults(machine),
            billing=None if subscription is None else "subscription" if subscription else "metered",
            model=model,
            finish=hashing(app),
        )
        log = AGENTS[name]()
        places = list(paths) or log.places(os.environ, Path.home())
        if not live and not log.files(places):
            raise InputError(f"no logs of {name} in {', '.join(map(str, places))}; name a folder that has some")
        with (
            app.store(may_be_new=True) as store,
            Positions(positions_path(store.url), org=options.attribute.org) as positions,
        ):
            reader = AgentImport(log, store, Catalog.default(), positions, options)
            bad = _follow(app, reader, places, store, every) if live else _once(app, reader, places)
        if bad:
            sys.exit(1)

    return command


_HELP = """Read the logs of {name}, each call once.

    Without a path: where {name} keeps them. Only what is new since the last time is read, and what is known already is
    not added again. Calls are for their project, git branch, ticket, session, subagent and machine
    (docs/import-logs.md). Lines that cannot be read are shown with their reason; the exit code is then 1.
    """


def positions_path(url: str) -> Path | None:
    """Where it is kept how far logs were read into this ledger: beside it. None for a ledger in memory."""
    path = url.removeprefix("sqlite:///")
    return None if path == ":memory:" else Path(f"{path}.positions")


def _once(app: App, reader: AgentImport, places: list[Path]) -> int:
    with render.progress("importing", reader.ahead(places) or None, sys.stderr) as move:
        tally = reader.poll(places, lambda done, so_far: move(done, f"{count(so_far.counts.added)} events"))
    page = Page()
    tell(page, tally, f"from {count(tally.read)} of {plural(tally.files, 'log')}")
    if tally.subscription:
        page.line(Span(plural(tally.subscription, "call"), "dim"), " of a subscription, at list price", hang=2)
    app.show(page, _values(tally))
    return tally.bad


def _values(tally: AgentTally) -> dict[str, Any]:
    return {**values(tally), "logs": tally.files, "read": tally.read, "subscription": tally.subscription}


def _follow(app: App, reader: AgentImport, places: list[Path], store: Store, every: float) -> int:
    """Tell what is new as it comes, until the user has seen enough."""
    enough = threading.Event()
    bad = 0

    def told(tally: AgentTally) -> None:
        nonlocal bad
        bad += tally.bad
        if app.as_json:
            click.echo(json.dumps(_values(tally), ensure_ascii=False))
            return
        moment = now().astimezone()
        counts = tally.counts
        more = f", {count(counts.corrected)} corrected" if counts.corrected else ""
        click.echo(f"{moment:%H:%M:%S}  {plural(counts.added, 'event')} added{more}; {_last_day(store)} in 24 hours")
        for problem in tally.problems:
            click.echo(f"          {problem}", err=True)

    try:
        watch(lambda: reader.poll(places), lambda: enough.wait(every), told)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    return bad


def _last_day(store: Store) -> str:
    since = to_us(now() - timedelta(hours=24))
    rows = store.totals(Question(where=Filter(since_us=since)))
    return money(rows[0].totals.cost_pico if rows else 0)
