"""`farthing agents`: who has spent what, who is paused, and stopping them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from farthing.budgets.guard import Guard
from farthing.cli.frame import App, Guarded, now, pass_app, shared_options
from farthing.cli.guarding import by_option, guard_of, org_option, reason_option
from farthing.cli.times import moment
from farthing.cli.whom import not_so, unknown_agent
from farthing.errors import InputError
from farthing.event import Attribution, from_us, to_us
from farthing.ledger.controls import ALL_ORDINARY, Control
from farthing.ledger.store import Filter, Question, Row
from farthing.money import PICO_PER_USD
from farthing.reports.blocks import Cell, Column, Page, Span, Table
from farthing.reports.text import count, money, of_org

DAYS = 30


@click.group(cls=Guarded, invoke_without_command=True)
@shared_options
@click.pass_context
def agents(ctx: click.Context) -> None:
    """Agents: what they cost, which are paused or critical.

    Without a command: all that were called in the last 30 days, and all that somebody has said something about.
    """
    if ctx.invoked_subcommand is None:
        _show(ctx.ensure_object(App))


def _show(app: App) -> None:
    at = now()
    with guard_of(app) as (guard, store):
        words = guard.people.all()
        since = to_us(at - timedelta(days=DAYS))
        rows = store.totals(Question(by=("org", "agent"), where=Filter(since_us=since)))
        found = _agents(rows, words, guard, to_us(at))
    page = Page()
    together = [word for word in words if word.name == ALL_ORDINARY and _holds(word, to_us(at))]
    for word in together:
        whose = of_org("All agents", word.org)
        page.line(Span(f"{whose} that are not critical are paused{_why(word)}", "bad"), hang=2)
        page.line()
    if found:
        columns = (
            Column("agent", least=14),
            *(Column("30 days", right=True), Column("calls", right=True, rank=2), Column("state")),
            *(Column("owner", rank=3), Column("why", rank=1, least=12)),
        )
        page.add(Table(columns, [_row(one) for one in found]))
    else:
        page.line("No agent was called in the last 30 days, and nothing was said about any.")
    app.show(page, {"agents": found, "paused_noncritical": [{"org": word.org, **_pause(word)} for word in together]})


def _pause(word: Control) -> dict[str, Any]:
    until = None if word.until_us is None else from_us(word.until_us).isoformat()
    return {"reason": word.reason, "by": word.by, "until": until}


def _agents(rows: list[Row], words: list[Control], guard: Guard, at_us: int) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def entry(org: str, name: str) -> dict[str, Any]:
        fresh = {"agent": name, "org": org, "cost_pico": 0, "cost_usd": 0.0, "calls": 0, "state": "running"}
        fresh["critical"] = False
        return found.setdefault((org, name), {**fresh, "owner": None, "reason": None, "by": None, "until": None})

    for row in sorted(rows, key=lambda row: -row.totals.cost_pico):
        org, name = row.key
        if name is not None:
            cost = row.totals.cost_pico
            entry(str(org), name).update(cost_pico=cost, cost_usd=cost / PICO_PER_USD, calls=row.totals.calls)
    for word in words:
        if word.name == ALL_ORDINARY:
            continue
        if word.kind == "rank":
            entry(word.org, word.name).update(critical=word.action == "critical", owner=word.reason)
        elif word.kind == "agent" and _holds(word, at_us):
            entry(word.org, word.name).update(state="paused", **_pause(word))
    for (org, name), one in found.items():
        one["critical"] = one["critical"] or guard.is_critical(Attribution(org=org, agent=name))
        every = guard.people.known().pause_of(org, name, at_us, critical=one["critical"])
        if every is not None and one["state"] == "running":
            one.update(state="paused", **_pause(every))
    return list(found.values())


def _holds(word: Control, at_us: int) -> bool:
    return word.kind == "agent" and word.action == "pause" and (word.until_us is None or word.until_us > at_us)


def _why(word: Control) -> str:
    until = "" if word.until_us is None else f" until {from_us(word.until_us):%Y-%m-%d %H:%M} UTC"
    return f"{until} by {word.by or 'somebody'}: {word.reason or 'no reason was given'}"


def _row(one: dict[str, Any]) -> list[Cell]:
    state = Span("paused", "bad") if one["state"] == "paused" else Span("critical" if one["critical"] else "", "good")
    why = f"{one['reason'] or 'no reason'} ({one['by'] or 'somebody'})" if one["state"] == "paused" else ""
    return [
        of_org(one["agent"], one["org"]),
        money(one["cost_pico"]),
        count(one["calls"]),
        state,
        one["owner"] or "",
        why,
    ]


@agents.command()
@click.argument("agent", required=False)
@click.option("--noncritical", is_flag=True, help="All agents that are not critical, and calls that name none.")
@click.option("--until", metavar="WHEN", help="It ends by itself then: 2h, 30m (from now), or a moment.")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def pause(
    app: App,
    agent: str | None,
    noncritical: bool,
    until: str | None,
    org: str | None,
    by: str | None,
    reason: str | None,
) -> None:
    """Pause an agent: within a second its next call raises, in every process."""
    name = _one_of(agent, noncritical)
    end = None if until is None else _later(until)
    unknown = None
    with guard_of(app, may_be_new=True) as (guard, store):
        if name is None:
            guard.people.pause_noncritical(reason, by=by, until=end, org=org)
        else:
            guard.people.pause(name, reason, by=by, until=end, org=org)
            unknown = unknown_agent(store, name, org or "default")
    page = Page()
    page.line(Span("paused: ", "warn"), _whom(name, org, "that are not critical"),
              "" if end is None else f", until {end:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    if unknown is not None:
        page.line(Span(unknown, "warn"), hang=2)
    said: dict[str, Any] = {"paused": name or ALL_ORDINARY, "org": org or "default"}
    if name is not None:
        said["known"] = unknown is None
    app.answer(page, {**said, "until": None if end is None else end.isoformat()})


@agents.command()
@click.argument("agent", required=False)
@click.option("--noncritical", is_flag=True, help="End `pause --noncritical`.")
@org_option
@by_option
@reason_option
@shared_options
@pass_app
def resume(app: App, agent: str | None, noncritical: bool, org: str | None, by: str | None, reason: str | None) -> None:
    """Let an agent go on."""
    name, whose = _one_of(agent, noncritical), org or "default"
    with guard_of(app) as (guard, _):
        was_paused = _is_paused(guard, name, whose)
        paused = [word for word in guard.people.all() if _holds(word, to_us(now()))]
        if was_paused and name is None:
            guard.people.resume_noncritical(reason, by=by, org=org)
        elif was_paused and name is not None:
            guard.people.resume(name, reason, by=by, org=org)
    page = Page()
    if not was_paused:
        called = name or ALL_ORDINARY
        elsewhere = {word.org for word in paused if word.name == called}
        mates = [word.name for word in paused if word.org == whose and name and word.name != ALL_ORDINARY]
        words = not_so("paused", name or "what is not critical", whose, mates=mates, elsewhere=elsewhere)
        page.line(Span(words, "warn"), hang=2)
        app.show(page, {"resumed": None, "org": whose, "paused_in": sorted(elsewhere)})
        return
    page.line(Span("goes on: ", "good"), _whom(name, org, "that were paused together"))
    app.show(page, {"resumed": name or ALL_ORDINARY, "org": whose})


def _is_paused(guard: Guard, agent: str | None, org: str) -> bool:
    """Whether there is a pause of the agent, or of all that are not critical, to be ended."""
    at_us = to_us(now())
    if agent is None:
        return any(w.name == ALL_ORDINARY and w.org == org and _holds(w, at_us) for w in guard.people.all())
    critical = guard.is_critical(Attribution(org=org, agent=agent))
    return guard.people.known().pause_of(org, agent, at_us, critical=critical) is not None


@agents.command("set")
@click.argument("agent")
@click.option("--critical/--ordinary", default=None, help="Whether `pause --noncritical` spares it.")
@click.option("--owner", help="Who answers for it; '' for nobody.")
@org_option
@by_option
@shared_options
@pass_app
def set_(app: App, agent: str, critical: bool | None, owner: str | None, org: str | None, by: str | None) -> None:
    """Say whether an agent is critical, and who answers for it. What is not said stays as it was."""
    if critical is None and owner is None:
        raise InputError(f"agent {agent!r}: nothing to set; say --critical, --ordinary or --owner")
    with guard_of(app, may_be_new=True) as (guard, _):
        ranks = (w for w in guard.people.all() if (w.org, w.kind, w.name) == (org or "default", "rank", agent))
        if (said := next(ranks, None)) is not None:
            critical = said.action == "critical" if critical is None else critical
            owner = said.reason if owner is None else owner
        critical, owner = bool(critical), owner or None
        guard.people.set_critical(agent, critical, owner=owner, by=by, org=org)
    page = Page()
    page.line(
        Span(of_org(agent, org or "default"), "strong"),
        f": {'critical' if critical else 'ordinary'}{f', owner {owner}' if owner else ''}",
    )
    app.answer(page, {"agent": agent, "org": org or "default", "critical": critical, "owner": owner})


def _whom(agent: str | None, org: str | None, which: str) -> str:
    """An agent, or all those of an organisation, in words."""
    return f"{of_org('all agents', org or 'default')} {which}" if agent is None else of_org(agent, org or "default")


def _one_of(agent: str | None, noncritical: bool) -> str | None:
    if (agent is None) != noncritical:
        raise InputError("name one agent, or say --noncritical for all that are not critical")
    return agent


def _later(text: str) -> datetime:
    """A moment to come: `2h` is from now on."""
    at = now()
    found = moment(text, at)
    if found < at and text.strip()[:1].isdigit() and "-" not in text:
        found = at + (at - found)
    if found <= at:
        raise InputError(f"--until {text!r}: lies in the past")
    return found.astimezone(UTC)
