"""`farthing budgets`: limits, how they stand, and what they would have done."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from farthing.budgets.declared import budgets_of, plan, plan_agents
from farthing.budgets.guard import Guard
from farthing.budgets.presets import PRESETS
from farthing.budgets.tryout import suggest as suggested
from farthing.budgets.tryout import try_budget
from farthing.cli.budget_options import (
    budget_of_options,
    budget_options,
    plain_amount,
    preset_of_options,
    tried_of_options,
    whole_number,
)
from farthing.cli.frame import App, Guarded, Moment, now, pass_app, shared_options
from farthing.cli.guarding import (
    by_option,
    guard_of,
    meant,
    one_org,
    org_option,
    reason_option,
    scopes_of,
)
from farthing.config import FILE_NAME, Settings, declared_in
from farthing.errors import InputError
from farthing.event import to_us
from farthing.ledger.policies import Standing
from farthing.policy import EACH, Budget
from farthing.reports.blocks import Page, Span
from farthing.reports.budget_values import (
    alert_json,
    budget_json,
    set_json,
    standing_json,
    step_json,
    trial_json,
    version_json,
)
from farthing.reports.budgets import (
    alerts_page,
    budgets_page,
    few,
    fullest_first,
    history_page,
    plan_page,
    presets_page,
    raised_page,
    set_page,
    suggest_page,
    trial_page,
    used_up,
)
from farthing.reports.outlook import by_account, outlooks
from farthing.reports.text import of_org


@click.group(cls=Guarded, invoke_without_command=True)
@click.option("--all", "every", is_flag=True, help="Show all accounts, not the fullest eight of each budget.")
@org_option
@shared_options
@click.pass_context
def budgets(ctx: click.Context, every: bool, org: str | None) -> None:
    """Budgets: limits, what is spent and held, where each is heading.

    Without a command: how every budget stands.
    """
    if ctx.invoked_subcommand is None:
        _show(ctx.ensure_object(App), org, every=every)


def _show(app: App, org: str | None, *, every: bool) -> None:
    at = now()
    with guard_of(app) as (guard, store):
        standings = guard.status(org)
        seen = standings if every or app.as_json else [one for one in few(standings) if isinstance(one, Standing)]
        heading = by_account(outlooks(store, at, seen))
        nothing = "" if standings or org is None else _without(guard, org)
        undeclared = _undeclared(app, guard)
    app.show(
        budgets_page(standings, heading, at, every=every, nothing=nothing, undeclared=undeclared),
        [standing_json(one, heading) for one in fullest_first(standings)],
    )


def _without(guard: Guard, org: str) -> str:
    """What is said of an organisation without a budget while others have some."""
    others = sorted({budget.org for budget in guard.budgets()})
    if EACH in others:
        return f"Organisation {org} has spent nothing under the budgets that each organisation has by itself."
    if not others:
        return ""
    return f"Organisation {org} has no budget, so nothing of it is held back; there are budgets of {', '.join(others)}."


def _undeclared(app: App, guard: Guard) -> list[str]:
    """What the user's own settings declare and the ledger does not have."""
    steps = plan(guard.budgets(), budgets_of(app.settings.budgets, app.settings.budgets_place, guard.make))
    missing = sum(step.action in ("add", "change") for step in steps)
    if not missing:
        return []
    verb = "is" if missing == 1 else "are"
    return [f"{missing} of the budgets in your farthing.toml {verb} not set so here: farthing budgets apply"]


@budgets.command("set")
@budget_options
@click.option("--preset", "kind", type=click.Choice([one.name for one in PRESETS]), help="The limits of an agent type.")
@by_option
@reason_option
@shared_options
@pass_app
def set_(app: App, /, scope: str | None, kind: str | None, by: str | None, reason: str | None, **given: Any) -> None:
    """Set a budget; of one that is set under the same name, what is not said stays as it was.

    SCOPE is field=value,... over attribution, provider and model: agent=researcher, team=search,model=gpt-4o*,
    agent=* (each agent by itself); without it: everything.
    """
    with guard_of(app, may_be_new=True) as (guard, _):
        wanted = preset_of_options(guard, kind, scope, given) if kind else [budget_of_options(guard, scope, given)]
        present = [old for one in wanted if (old := guard.get(one.name, one.org)) is not None]
        changes = [guard.put(budget, by=by, reason=reason) for budget in wanted]
        done = list(zip(changes, plan(present, wanted), strict=True))
        full = used_up(guard.status(), wanted)
    app.answer(set_page(done, full), [set_json(change, step, full) for change, step in done])


@budgets.command()
@click.argument("name")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def remove(app: App, name: str, org: str | None, by: str | None, reason: str | None) -> None:
    """Remove a budget; its history stays."""
    with guard_of(app) as (guard, _):
        budget = meant(guard, name, org)
        guard.remove(budget.name, org=budget.org, by=by, reason=reason)
    page = Page()
    page.line(Span("removed: ", "warn"), of_org(budget.name, budget.org))
    app.show(page, {"removed": budget.name, "org": budget.org})


@budgets.command("raise")
@click.argument("name")
@click.argument("limit")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def raise_(app: App, name: str, limit: str, org: str | None, by: str | None, reason: str | None) -> None:
    """Give a budget another limit, in its own unit; what is spent stays spent."""
    with guard_of(app) as (guard, _):
        before = meant(guard, name, org)
        amount = _limit(before, limit)
        after = guard.raise_limit(before.name, amount, org=before.org, by=by, reason=reason)
        full = used_up(guard.status(), [after])
    old, new = before.limit or 0, after.limit or 0
    change = "raised" if new > old else "lowered" if new < old else "unchanged"
    (step,) = plan([before], [after])
    app.show(raised_page(change, before, after, full), set_json(change, step, full))


def _limit(budget: Budget, text: str) -> Any:
    """A limit in the budget's own unit. InputError where it is none."""
    if text.strip().startswith("+"):
        now_is = "" if budget.limit is None else f"; it is {budget.amount_text(budget.limit)} now"
        raise InputError(f"limit {text!r}: give the whole new limit, not what is to be added{now_is}")
    if budget.unit == "usd":
        return plain_amount(text, "limit")
    return whole_number(text, f"{budget.name!r} is a budget of {budget.unit}: limit")


@budgets.command()
@click.argument("name", required=False)
@org_option
@shared_options
@pass_app
def history(app: App, name: str | None, org: str | None) -> None:
    """Show every version of a budget, or of all: who set it, when and why."""
    with guard_of(app) as (guard, _):
        found = guard.history(name, org)
        if name and not found:  # its scope: removed ones are meant, too
            org, scopes = one_org(name, org), scopes_of(guard, name)
            found = [v for v in guard.history(None, org) if v.budget.scope_text in scopes]
    if name and not found:
        raise InputError(f"no budget {name!r} was ever set: `farthing budgets history` shows all that were")
    app.show(history_page(found), [version_json(one) for one in found])


@budgets.command()
@click.option("--since", type=Moment(), default="30d", show_default=True, help="Only what has fired since then.")
@org_option
@shared_options
@pass_app
def alerts(app: App, since: datetime, org: str | None) -> None:
    """Show what budgets have said: limits reached, calls refused, calls let pass; each once for its window."""
    with guard_of(app) as (guard, _):
        found = guard.alerts(org=org, since_us=to_us(since))
    app.show(alerts_page(found), [alert_json(one) for one in found])


@budgets.command()
@shared_options
@pass_app
def presets(app: App) -> None:
    """Show limits for common types of agents."""
    values = [
        {"name": p.name, "title": p.title, "daily_tokens": p.daily_tokens, "monthly_usd": p.monthly_usd}
        for p in PRESETS
    ]
    app.show(presets_page(), values)


@budgets.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show the plan. Exit code 1 where something differs.")
@click.option("--prune", is_flag=True, help="Remove budgets that are not in the file.")
@by_option
@reason_option
@shared_options
@pass_app
def apply(app: App, file: Path | None, dry_run: bool, prune: bool, by: str | None, reason: str | None) -> None:
    """Set the budgets that a file declares; show what differs.

    FILE has [[budgets]] and [[agents]] as farthing.toml has them. Without it: your own farthing.toml. That of a working
    directory counts only where you name it, for the directory may be a stranger's.
    """
    rows, agents = declared_in(file) if file is not None else (app.settings.budgets, app.settings.agents)
    if file is None and not rows and not agents:
        raise InputError(_declares_nothing(app.settings))
    with guard_of(app, may_be_new=not dry_run) as (guard, _):
        wanted = budgets_of(rows, f"{file}: budgets" if file else app.settings.budgets_place, guard.make)
        steps = plan(guard.budgets(), wanted, prune=prune)
        ranks = plan_agents(guard.people.all(), agents, f"{file}: agents" if file else "agents")
        if not dry_run:
            for step in steps:
                if step.action in ("add", "change"):
                    guard.put(step.budget, by=by, reason=reason)
                elif step.action == "remove":
                    guard.remove(step.budget.name, org=step.budget.org, by=by, reason=reason)
            for rank in ranks:
                if rank.action == "change":
                    guard.people.set_critical(rank.name, rank.critical, owner=rank.owner, by=by, org=rank.org)
    values = {
        "dry_run": dry_run,
        "budgets": [step_json(step) for step in steps],
        "agents": [
            {"action": r.action, "name": r.name, "org": r.org, "critical": r.critical, "owner": r.owner} for r in ranks
        ],
    }
    app.answer(plan_page(steps, ranks, dry_run=dry_run), values)
    actions = [step.action for step in steps] + [rank.action for rank in ranks]
    if dry_run and not {"keep", "extra"}.issuperset(actions):
        sys.exit(1)


def _declares_nothing(settings: Settings) -> str:
    """What is said where no file is named and the user's own, which alone counts then, declares nothing."""
    here = Path.cwd() / FILE_NAME
    own = next((file for file in settings.files if file != here), settings.config_dir / FILE_NAME)
    words = f"your own settings, {own}, declare no [[budgets]]{'' if own.is_file() else ', for there is no such file'}"
    if here.is_file() and not (own.is_file() and here.samefile(own)):
        return (
            f"{words}; that of the working directory counts only where it is named: farthing budgets apply {FILE_NAME}"
        )
    return f"{words}: name a file that does"


@budgets.command()
@click.option("--by", "key", default="agent", show_default=True, metavar="KEY", help="One budget for each of these.")
@click.option("--per", type=click.Choice(("hour", "day", "week", "month")), default="day", show_default=True,
              help="The window.")  # fmt: skip
@click.option("--since", type=Moment(), help="Only what has happened from this moment on.")
@click.option("--tz", default="UTC", show_default=True, help="The time zone of days, weeks and months.")
@org_option
@click.option("--set", "set_them", is_flag=True, help="Set them, in shadow mode: nothing is denied yet.")
@shared_options
@pass_app
def suggest(app: App, key: str, per: str, since: datetime | None, tz: str, org: str | None, set_them: bool) -> None:
    """Suggest budgets that history would have kept."""
    with guard_of(app) as (guard, store):
        since_us = None if since is None else to_us(since)
        found = suggested(store, by=key, per=per, org=org or "default", since_us=since_us, tz=tz)
        in_force = {one.name for one in guard.budgets(org or "default") if one.mode != "shadow"}
        wanted = [one for one in found if one.name not in in_force] if set_them else []
        for budget in wanted:
            guard.put(budget, by="farthing", reason="suggested by history")
    page = suggest_page(found)
    if set_them and found:
        page.line(Span(f"{len(wanted)} set in shadow mode", "good"))
        for one in found:
            if one.name in in_force:
                page.line(f"{of_org(one.name, one.org)}: stays as it is, for a budget of that name is in force", hang=2)
    app.show(page, [budget_json(one) | ({"set": one in wanted} if set_them else {}) for one in found])


@budgets.command("try")
@budget_options
@click.option("--since", type=Moment(), help="Only what has happened from this moment on.")
@click.option("--until", type=Moment(end_of_day=True), help="Only what has happened before this.")
@shared_options
@pass_app
def try_(app: App, /, scope: str | None, since: datetime | None, until: datetime | None, **given: Any) -> None:
    """Show what a budget would have denied of what has happened; nothing is set.

    SCOPE and options are those of `budgets set`. With the name or scope of a budget that is set, that one is tried, as
    the options would have it.
    """
    with guard_of(app) as (guard, store):
        found = try_budget(
            store,
            tried_of_options(guard, scope, given),
            since_us=None if since is None else to_us(since),
            until_us=None if until is None else to_us(until),
        )
    app.show(trial_page(found), trial_json(found))
