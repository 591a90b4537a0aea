"""`farthing tasks`: what a completed task costs, and stopping one that goes on and on."""

from __future__ import annotations

from datetime import datetime

import click

from farthing.cli.frame import App, Guarded, as_filter, filter_options, pass_app, shared_options
from farthing.cli.guarding import by_option, guard_of, org_option, reason_option
from farthing.reports.blocks import Page, Span
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
    with guard_of(app) as (guard, _):
        guard.people.kill(task, reason, by=by, org=org)
    page = Page()
    page.line(Span("killed: ", "bad"), of_org(task, org or "default"))
    app.show(page, {"killed": task, "org": org or "default"})
