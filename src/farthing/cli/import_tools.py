"""`farthing import langfuse|langsmith`: the history of a project of another tool, as far as it is new."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

import click

from farthing.capture import langfuse_history, langsmith
from farthing.capture.history import History, HistoryOptions, read_history
from farthing.capture.logs.importer import Tally
from farthing.cli.frame import App, Moment, pass_app, shared_options
from farthing.cli.tallies import defaults, hashing, tell, values
from farthing.errors import InputError
from farthing.event import to_us
from farthing.pricing.catalog import Catalog
from farthing.reports import render
from farthing.reports.blocks import Page
from farthing.reports.text import count, plural

Environment = Mapping[str, str]


def _langfuse(env: Environment, project: str | None) -> History:
    if project is not None:
        raise InputError("--project: Langfuse's keys belong to one project; set the keys of the one that is meant")
    return langfuse_history.LangfuseHistory(
        _said(env, "LANGFUSE_BASE_URL", "LANGFUSE_HOST") or langfuse_history.DEFAULT_URL,
        _needed(env, "LANGFUSE_PUBLIC_KEY"),
        _needed(env, "LANGFUSE_SECRET_KEY"),
    )


def _langsmith(env: Environment, project: str | None) -> History:
    named = project or _said(env, "LANGSMITH_PROJECT", "LANGCHAIN_PROJECT")
    if not named:
        raise InputError("which project? name it with --project, or set LANGSMITH_PROJECT")
    return langsmith.LangSmithHistory(
        _said(env, "LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT") or langsmith.DEFAULT_URL,
        _needed(env, "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"),
        named,
        workspace=_said(env, "LANGSMITH_WORKSPACE_ID"),
    )


TOOLS: Mapping[str, Callable[[Environment, str | None], History]] = MappingProxyType(
    {"langfuse": _langfuse, "langsmith": _langsmith}
)


def _said(env: Environment, *names: str) -> str | None:
    return next((env[name].strip() for name in names if env.get(name, "").strip()), None)


def _needed(env: Environment, *names: str) -> str:
    found = _said(env, *names)
    if found is None:
        raise InputError(f"set {names[0]}: keys are read from the environment, and are stored nowhere")
    return found


def tool_command(name: str) -> click.Command:
    """`farthing import <name>`."""

    @click.command(name, help=_HELP.format(name=name.title().replace("smith", "Smith")))
    @click.option("--project", help="LangSmith: the project's name or id. Default: LANGSMITH_PROJECT.")
    @click.option("--since", type=Moment(), help="Only calls from this moment on. Default: what is new.")
    @click.option("--until", type=Moment(end_of_day=True), help="Only calls before this; a date counts to its end.")
    @click.option("--theirs", is_flag=True, help="Keep the costs that the tool has, where it has any.")
    @click.option("--attributes", metavar="K=V,...", help="What calls are for where the tool says nothing.")
    @shared_options
    @pass_app
    def command(
        app: App,
        project: str | None,
        since: datetime | None,
        until: datetime | None,
        theirs: bool,
        attributes: str | None,
    ) -> None:
        history = TOOLS[name](os.environ, project)
        options = HistoryOptions(
            since_us=None if since is None else to_us(since),
            until_us=None if until is None else to_us(until),
            theirs=theirs,
            attribute=defaults(app, attributes),
            finish=hashing(app),
        )
        with app.store(may_be_new=True) as store, render.progress("reading", None, sys.stderr) as move:

            def progress(tally: Tally, total: int | None) -> None:
                of = f" of {count(total)}" if total else ""
                move(tally.lines, f"{count(tally.lines)}{of} rows")

            tally = read_history(history, store, Catalog.default(), options=options, progress=progress)
        page = Page()
        tell(page, tally, f"from {plural(tally.lines, 'row')} of {history.name}")
        app.show(page, values(tally))
        if tally.bad:
            sys.exit(1)

    return command


_HELP = """Read a project's history from {name}.

    Only what is new since the last time; an import that broke off goes on where it was, and what is known already is
    not added again. Costs are worked out anew; where no price is known, the tool's figure stands. Server and keys are
    read from the environment (docs/integrations.md). Rows that cannot be read are shown; the exit code is then 1.
    """
