"""`farthing tasks`: what a completed task costs, and stopping one that goes on and on."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

import click

from farthing.budgets.guard import Guard
from farthing.cli.frame import App, Guarded, as_filter, filter_options, pass_app, shared_options
from farthing.cli.guarding import by_option, guard_of, org_option, reason_option
from farthing.cli.whom import not_so, unknown_task
from farthing.event import from_us
from farthing.ledger.controls import Control
from farthing.reports.blocks import Column, Page, Span, Table
from farthing.reports.tasks import task_type_json, tasks_by_type, tasks_page
from farthing.reports.text import of_org


@click.group(cls=Guarded, invoke_without_command=True)
@filter_options
@shared_options
@click.pass_context
def tasks(ctx: click.Context, since: datetime | None, until: datetime | None, where: tuple[str, ...]) -> None:
    """Tasks: what a completed one costs, by type; stop one.

    Without a command: how many of each type ended how, what a completed one cost, alone and with what failed, and what
    it was worth as `task.finish` told.
    """
    if ctx.invoked_subcommand is not None:
        if since is not None or until is not None or where:
            raise click.UsageError("--since, --until and --where say which tasks are shown; no command takes them")
        return
    app = ctx.ensure_object(App)
    with app.store() as store:
        types = tasks_by_type(store, as_filter(since, until, where))
    app.show(tasks_page(types), [task_type_json(one) for one in types])


@tasks.command()
@click.argument("task")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def kill(app: App, task: str, org: str | None, by: str | None, reason: str | None) -> None:
    """Kill a task: its calls raise from now on, and what of it runs in asyncio is cancelled, in every process."""
    whose = org or "default"
    with guard_of(app, may_be_new=True) as (guard, store):
        guard.people.kill(task, reason, by=by, org=org)
        unknown = unknown_task(store, task, whose)
    page = Page()
    page.line(Span("killed: ", "bad"), of_org(task, whose))
    if unknown is not None:
        page.line(Span(unknown, "warn"), hang=2)
    of_whom = "" if org is None else f" --org {shlex.quote(org)}"
    page.line(Span("take it back: ", "dim"), Span(f"farthing tasks revive {shlex.quote(task)}{of_whom}", "accent"))
    app.answer(page, {"killed": task, "org": whose, "known": unknown is None})


@tasks.command()
@click.argument("task")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def revive(app: App, task: str, org: str | None, by: str | None, reason: str | None) -> None:
    """Take the killing of a task back: its calls may be made again; what was cancelled stays so."""
    whose = org or "default"
    with guard_of(app) as (guard, _):
        words = _killings(guard)
        was_killed = any((word.org, word.name) == (whose, task) for word in words)
        if was_killed:
            guard.people.revive(task, reason, by=by, org=org)
    page = Page()
    if was_killed:
        page.line(Span("revived: ", "good"), of_org(task, whose))
    else:
        elsewhere = {word.org for word in words if word.name == task}
        mates = [word.name for word in words if word.org == whose]
        page.line(Span(not_so("killed", task, whose, mates=mates, elsewhere=elsewhere), "warn"), hang=2)
    app.show(page, {"revived": task if was_killed else None, "org": whose})


@tasks.command("killed")
@org_option
@shared_options
@pass_app
def killed_(app: App, org: str | None) -> None:
    """Show the tasks that are killed: by whom, when and why."""
    with guard_of(app) as (guard, _):
        words = [word for word in _killings(guard) if org in (None, word.org)]
    page = Page()
    if words:
        columns = (Column("task", least=14), Column("when (UTC)"), Column("by"), Column("why", rank=1, least=12))
        rows = [
            (of_org(word.name, word.org), f"{from_us(word.at_us):%Y-%m-%d %H:%M}", word.by or "", word.reason or "")
            for word in words
        ]
        page.add(Table(columns, rows))
    else:
        page.line("No task is killed.")
    app.show(page, [_killing_json(word) for word in words])


def _killing_json(word: Control) -> dict[str, Any]:
    at = from_us(word.at_us).isoformat()
    return {"task": word.name, "org": word.org, "at": at, "by": word.by, "reason": word.reason}


def _killings(guard: Guard) -> list[Control]:
    """The killings that stand, the latest first."""
    found = [word for word in guard.people.all() if (word.kind, word.action) == ("task", "kill")]
    return sorted(found, key=lambda word: (-word.at_us, word.name))
