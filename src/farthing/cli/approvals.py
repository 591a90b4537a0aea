"""`farthing approvals`: what budgets with on_exceed = ask have asked, and the answers."""

from __future__ import annotations

import click

from farthing.cli.frame import App, Guarded, pass_app, shared_options
from farthing.cli.guarding import by_option, guard_of, org_option, reason_option
from farthing.reports.blocks import Page, Span
from farthing.reports.budget_values import approval_json
from farthing.reports.budgets import approvals_page, asked_whom


@click.group(cls=Guarded, invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also those that were answered.")
@org_option
@shared_options
@click.pass_context
def approvals(ctx: click.Context, everything: bool, org: str | None) -> None:
    """Approvals: calls that somebody may allow over a budget.

    Without a command: what waits for an answer.
    """
    if ctx.invoked_subcommand is None:
        app = ctx.ensure_object(App)
        with guard_of(app) as (guard, _):
            found = guard.approvals(pending_only=not everything, org=org)
        app.show(approvals_page(found), [approval_json(one) for one in found])


@approvals.command()
@click.argument("number", type=int)
@by_option
@reason_option
@shared_options
@pass_app
def grant(app: App, number: int, by: str | None, reason: str | None) -> None:
    """Grant an approval: its account may go over its limit by what was asked for, in this window."""
    _answer(app, number, by, reason, granted=True)


@approvals.command()
@click.argument("number", type=int)
@by_option
@reason_option
@shared_options
@pass_app
def refuse(app: App, number: int, by: str | None, reason: str | None) -> None:
    """Refuse an approval."""
    _answer(app, number, by, reason, granted=False)


def _answer(app: App, number: int, by: str | None, reason: str | None, *, granted: bool) -> None:
    with guard_of(app) as (guard, _):
        (guard.grant if granted else guard.refuse)(number, by=by, reason=reason)
        found = next(one for one in guard.approvals(pending_only=False) if one.number == number)
    page = Page()
    more = "" if found.budget is None else f", {found.budget.amount_text(found.amount)} for {asked_whom(found)}"
    page.line(Span(f"{found.state}: ", "good" if granted else "warn"), f"approval {number}{more}")
    app.show(page, approval_json(found))
