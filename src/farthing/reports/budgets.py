"""Screens of budgets: how they stand, their history, a plan, a trial, what was asked of somebody, who is paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from farthing.budgets.declared import AgentStep, Step
from farthing.budgets.presets import PRESETS
from farthing.budgets.tryout import Trial
from farthing.event import from_us, to_us
from farthing.ledger.alerts import Alert
from farthing.ledger.audit import Audit
from farthing.ledger.policies import Approval, Standing, Version
from farthing.money import PICO_PER_USD, pico_to_usd
from farthing.policy import Budget
from farthing.reports.blocks import Bar, Cell, Column, Page, Span, Table
from farthing.reports.outlook import Outlook
from farthing.reports.text import count, money, plural

Outlooks = Mapping[tuple[str, str, int], Outlook]
"""Where accounts are heading, by (budget's name, account's place, start of the window)."""

_FULL, _NEARLY = 100.0, 80.0


def by_account(found: Sequence[Outlook]) -> Outlooks:
    """Outlooks by the account they are of."""
    return {(one.name, one.place, one.start_us): one for one in found}


def amount(unit: str, value: int | None) -> str:
    """An amount of a budget as tables show it: dollars to the cent, small ones as small as they are."""
    if value is None:
        return ""
    return money(value) if unit == "usd" else count(value)


def covers(place: str) -> str:
    """A scope in words."""
    return "everything" if place == "*" else place


def fullest_first(standings: Sequence[Standing]) -> list[Standing]:
    """Standings, those with the least room first."""
    return sorted(standings, key=lambda one: (-one.percent, one.budget.name, one.place))


def budgets_page(
    standings: Sequence[Standing], outlooks: Outlooks, now: datetime, *, undeclared: Sequence[str] = ()
) -> Page:
    """Every account: limit, spent, held, how full, when it begins anew, where it is heading."""
    page = Page()
    if standings:
        page.add(standings_table(fullest_first(standings), outlooks, now))
        _notes(page, standings)
    else:
        page.line("No budget is set, so nothing is held back.")
        page.line()
        for words in ("farthing budgets set agent=researcher --usd 50 --per day", "farthing budgets suggest",
                      "farthing budgets presets"):  # fmt: skip
            page.line("  ", Span(words, "accent"), hang=6)
    for words in undeclared:
        page.line(Span(words, "warn"), hang=2)
    return page


def standings_table(standings: Sequence[Standing], outlooks: Outlooks, now: datetime, *, heading: bool = True) -> Table:
    """Accounts as rows; `heading`: with where they are heading."""
    named = heading and any(_own_name(one.budget) for one in standings)
    columns = [
        Column("covers", least=14),
        Column("per", rank=1),
        Column("limit", right=True),
        Column("spent", right=True),
        Column("held", right=True, rank=4),
        Column("used", right=True),
        Column("", rank=3),
        Column("resets in", right=True, rank=2),
    ]
    if heading:
        columns.append(Column("forecast", right=True, rank=5))
    if named:
        columns.append(Column("name", rank=6))
    rows = [_row(one, now) for one in standings]
    for one, row in zip(standings, rows, strict=True):
        if heading:
            row.append(_heading(one, outlooks))
        if named:
            row.append(_own_name(one.budget))
    return Table(tuple(columns), rows)


def _heading(one: Standing, outlooks: Outlooks) -> Cell:
    found = outlooks.get((one.budget.name, one.place, one.start_us))
    if found is None:
        return ""
    will = found.limit is not None and found.end > found.limit
    return Span(amount(one.budget.unit, found.end), "warn" if will else "dim")


def _own_name(budget: Budget) -> str:
    """A budget's name, where it is not the one that is made of what it covers."""
    scope = budget.scope_text if budget.scope else "everything"
    plain = f"{scope} {'models' if budget.limit is None else budget.unit} per {budget.window}"
    return "" if budget.name == plain else budget.name


def limit_of(budget: Budget) -> str:
    """What a budget allows: `$50.00`, `2,000,000 tokens`, `only gpt-4o*`."""
    return f"only {', '.join(budget.models)}" if budget.limit is None else budget.amount_text(budget.limit)


def limit_per(budget: Budget) -> str:
    """What it allows in which window: `$50.00 per day (Europe/Amsterdam)`, `only gpt-4o*`."""
    per = "" if budget.limit is None else f" per {budget.window}"
    return f"{limit_of(budget)}{per}{'' if budget.tz == 'UTC' else f' ({budget.tz})'}"


def _row(one: Standing, now: datetime) -> list[Cell]:
    budget, unit = one.budget, one.budget.unit
    whom = covers(one.place) if budget.org in ("default", "*") else f"{covers(one.place)} of {budget.org}"
    mode = "" if budget.mode == "hard" else f" ({budget.mode})"
    if one.limit is None:
        row: list[Cell] = [f"{whom}{mode}: {limit_of(budget)}", *[""] * 7]
    else:
        style = "bad" if one.percent >= _FULL else "warn" if one.percent >= _NEARLY else "good"
        limit = amount(unit, one.limit)
        row = [
            whom + mode,
            budget.window,
            limit if unit == "usd" else f"{limit} {unit}",
            amount(unit, one.posted),
            amount(unit, one.reserved) if one.reserved else "",
            Span(f"{one.percent:.0f} %", style),
            Bar(one.percent / 100),
            until(one.end_us, now) if one.end_us is not None else "",
        ]
    return row


def until(end_us: int, now: datetime) -> str:
    """How long it is until then: `5 h 12 min`, `3 d 4 h`."""
    left = max(0, end_us - to_us(now)) // 1_000_000
    days, hours, minutes = left // 86_400, left % 86_400 // 3600, left % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left % 60} s"


def _notes(page: Page, standings: Sequence[Standing]) -> None:
    inflated = [one for one in standings if one.inflation is not None and one.inflation >= 10 and one.reserved]
    for one in inflated[:3]:
        page.line(
            Span(f"{covers(one.place)}: calls hold {one.inflation:.0f} times what they come to", "warn"),
            "; name max_tokens in them, or raise the limit",
            hang=2,
        )
    over = [one for one in standings if one.limit is not None and one.posted > one.limit]
    for one in over[:3]:
        by = one.posted - (one.limit or 0)
        more = money(by) if one.budget.unit == "usd" else one.budget.amount_text(by)
        page.line(Span(f"{covers(one.place)} per {one.budget.window}: {more} over its limit", "bad"), hang=2)


def standing_json(one: Standing, outlooks: Outlooks) -> dict[str, Any]:
    """A standing for programs. Amounts are in `unit`: picodollars, tokens or calls; `_usd` beside them for money."""
    budget = one.budget
    values: dict[str, Any] = {
        "name": budget.name,
        "org": budget.org,
        "scope": dict(budget.scope),
        "covers": one.place,
        "per": budget.window,
        "tz": budget.tz,
        "mode": budget.mode,
        "on_exceed": budget.on_exceed,
        "on_unpriced": budget.on_unpriced,
        "models": list(budget.models),
        "owner": budget.owner,
        "critical": budget.critical,
        "unit": "picodollars" if budget.unit == "usd" else budget.unit,
        "thresholds": [float(share) for share in budget.thresholds],
    }
    for name in ("limit", "posted", "reserved", "remaining", "granted"):
        value = getattr(one, name)
        values[name] = value
        if budget.unit == "usd":
            values[f"{name}_usd"] = None if value is None else value / PICO_PER_USD
    heading = outlooks.get((budget.name, one.place, one.start_us))
    return values | {
        "percent": round(one.percent, 2),
        "resets_at": None if one.end_us is None else from_us(one.end_us).isoformat(),
        "hold_inflation": None if one.inflation is None else round(one.inflation, 3),
        "forecast": None if heading is None else heading.end,
    }


def history_page(versions: Sequence[Version]) -> Page:
    """Every version of budgets: when, what, by whom and why."""
    page = Page()
    if not versions:
        page.line("No budget was ever set.")
        return page
    columns = (
        *(Column("when (UTC)"), Column("did"), Column("budget", least=16), Column("limit", right=True)),
        *(Column("mode", rank=1), Column("by", rank=2), Column("why", rank=3, least=12)),
    )
    rows = [
        (f"{from_us(v.at_us):%Y-%m-%d %H:%M}", v.action, v.budget.name, limit_of(v.budget), v.budget.mode,
         v.by or "", v.reason or "")
        for v in versions
    ]  # fmt: skip
    page.add(Table(columns, rows))
    return page


def version_json(one: Version) -> dict[str, Any]:
    """A version for programs."""
    return {
        "version": one.version,
        "at": from_us(one.at_us).isoformat(),
        "action": one.action,
        "by": one.by,
        "reason": one.reason,
        "budget": budget_json(one.budget),
    }


def budget_json(budget: Budget) -> dict[str, Any]:
    """A budget for programs, its limit in its own unit (US dollars as text)."""
    limit = budget.limit if budget.unit != "usd" or budget.limit is None else str(pico_to_usd(budget.limit))
    return {
        "name": budget.name,
        "org": budget.org,
        "scope": dict(budget.scope),
        budget.unit: limit,
        "per": budget.window,
        "tz": budget.tz,
        "mode": budget.mode,
        "thresholds": [str(share) for share in budget.thresholds],
        "on_exceed": budget.on_exceed,
        "on_unpriced": budget.on_unpriced,
        "models": list(budget.models),
        "owner": budget.owner,
        "critical": budget.critical,
    }


def alerts_page(found: Sequence[Alert]) -> Page:
    """Rules that fired: when last, for whom, what, and how often in its window."""
    page = Page()
    if not found:
        page.line("No limit was reached and no call refused.")
        return page
    columns = (
        *(Column("when (UTC)"), Column("covers", least=14), Column("per", rank=1)),
        *(Column("what", least=24), Column("times", right=True, rank=2), Column("budget", rank=3)),
    )
    rows = [
        (f"{from_us(a.last_us):%Y-%m-%d %H:%M}", covers(a.place), a.window, _told(a), count(a.times), a.budget)
        for a in found
    ]
    page.add(Table(columns, rows))
    return page


def _told(one: Alert) -> Span:
    return Span(one.text, "bad" if one.rule.startswith("denied:") else "warn")


def alert_json(one: Alert) -> dict[str, Any]:
    """An alert for programs. Amounts are in `unit`: picodollars, tokens or calls."""
    return {
        "budget": one.budget,
        "org": one.org,
        "covers": one.place,
        "per": one.window,
        "mode": one.mode,
        "rule": one.rule,
        "text": one.text,
        "times": one.times,
        "first_at": from_us(one.at_us).isoformat(),
        "last_at": from_us(one.last_us).isoformat(),
        "resets_at": None if one.end_us is None else from_us(one.end_us).isoformat(),
        "unit": "picodollars" if one.unit == "usd" else one.unit,
        "limit": one.limit,
        "posted": one.posted,
        "reserved": one.reserved,
        "requested": one.requested,
        "model": one.model,
    }


def presets_page() -> Page:
    """The kinds of agents and what they may use."""
    page = Page()
    columns = (
        Column("preset"),
        Column("agent type"),
        Column("tokens a day", right=True),
        Column("a month", right=True),
    )
    page.add(Table(columns, [(p.name, p.title, count(p.daily_tokens), f"${p.monthly_usd}") for p in PRESETS]))
    page.line()
    page.line("Set one: ", Span("farthing budgets set agent=researcher --preset research", "accent"))
    return page


_DOES = {
    "add": ("+", "good"),
    "change": ("~", "warn"),
    "remove": ("-", "bad"),
    "keep": ("=", "dim"),
    "extra": ("?", "dim"),
}


def plan_page(steps: Sequence[Step], agents: Sequence[AgentStep], *, dry_run: bool) -> Page:
    """What is going to be done, or was; what is in the ledger and not in the file."""
    page = Page()
    for step in steps:
        mark, style = _DOES[step.action]
        budget = step.budget
        whole = f" {limit_per(budget)}, {budget.mode}" if step.action == "add" else ""
        word = {"extra": "  (not in the file; --prune removes it)", "keep": "  as it is"}.get(step.action, "")
        page.line(Span(f"{mark} {budget.name}", style), whole, Span(word, "dim"), hang=4)
        for name, before, after in step.differs:
            page.line(f"    {name}: {before} → ", Span(after, "strong"), hang=6)
        if step.opens:
            page.line(Span("    counts other calls from now on: its window opens with what they have spent", "dim"))
    for agent in agents:
        style = "dim" if agent.action == "keep" else "warn"
        owner = f", owner {agent.owner}" if agent.owner else ""
        mark = "=" if agent.action == "keep" else "~"
        rank = "critical" if agent.critical else "ordinary"
        page.line(Span(f"{mark} agent {agent.name}: {rank}{owner}", style))
    changes = sum(s.action in ("add", "change", "remove") for s in steps) + sum(a.action == "change" for a in agents)
    drift = sum(s.action == "extra" for s in steps)
    page.line()
    done = "to do" if dry_run else "done"
    page.line(Span(f"{plural(changes, 'change')} {done}" if changes else "Nothing differs from the file", "strong"),
              f", {plural(drift, 'budget')} not in the file" if drift else "")  # fmt: skip
    return page


def step_json(step: Step) -> dict[str, Any]:
    """A step for programs."""
    differs = {name: {"before": before, "after": after} for name, before, after in step.differs}
    return {"action": step.action, "budget": budget_json(step.budget), "differs": differs}


def suggest_page(found: Sequence[Budget]) -> Page:
    """Suggested budgets, as commands that set them."""
    page = Page()
    if not found:
        page.line("Nothing was spent by anybody with a name, so there is nothing to go by.")
        return page
    columns = (Column("covers", least=16), Column("limit", right=True), Column("per"))
    page.add(Table(columns, [(covers(b.scope_text), limit_of(b), b.window) for b in found]))
    page.line()
    page.line("Each is 1.5 times the 95th percentile of its own past. Set them in shadow mode first: --set", hang=2)
    return page


def _said(budget: Budget, value: int) -> str:
    return money(value) if budget.unit == "usd" else budget.amount_text(value)


def trial_page(found: Trial) -> Page:
    """What a budget would have denied."""
    page, budget = Page(), found.budget
    page.line(Span(f"{budget.name}: {limit_per(budget)}", "strong"))
    share = f" of {plural(found.calls, 'call')}" if found.calls else ""
    if not found.denied_calls:
        words = "It would have denied nothing" if found.calls else "Nothing in its scope was called"
        page.line(Span(words, "good"), f"{share}, {_said(budget, found.amount)} in all")
        return page
    denied = _said(budget, found.denied_amount)
    page.line(
        Span(f"It would have denied {count(found.denied_calls)}{share}", "warn"),
        f", {denied} of {_said(budget, found.amount)}, in {plural(found.windows, 'window')}",
        hang=2,
    )
    page.line()
    columns = (
        *(Column("covers", least=14), Column("calls", right=True), Column("denied", right=True)),
        *(Column("amount", right=True), Column("first (UTC)", rank=1)),
    )
    rows = [
        (covers(a.place), count(a.calls), count(a.denied_calls), _said(budget, a.denied),
         "" if a.first_us is None else f"{from_us(a.first_us):%Y-%m-%d %H:%M}")
        for a in found.accounts[:20]
    ]  # fmt: skip
    page.add(Table(columns, rows))
    return page


def trial_json(found: Trial) -> dict[str, Any]:
    """A trial for programs; amounts in the budget's unit, dollars as picodollars."""
    return {
        "budget": budget_json(found.budget),
        "calls": found.calls,
        "amount": found.amount,
        "denied_calls": found.denied_calls,
        "denied_amount": found.denied_amount,
        "windows": found.windows,
        "accounts": [
            {"covers": a.place, "calls": a.calls, "denied_calls": a.denied_calls, "denied_amount": a.denied,
             "first": None if a.first_us is None else from_us(a.first_us).isoformat()}
            for a in found.accounts
        ],
    }  # fmt: skip


def approvals_page(found: Sequence[Approval]) -> Page:
    """What budgets with on_exceed = ask have asked."""
    page = Page()
    if not found:
        page.line("Nobody is asked for anything.")
        return page
    columns = (
        *(Column("no.", right=True), Column("when (UTC)"), Column("covers", least=14), Column("more", right=True)),
        *(Column("for", rank=1), Column("state"), Column("by", rank=2), Column("why", rank=3, least=10)),
    )
    rows = [
        (str(a.number), f"{from_us(a.at_us):%m-%d %H:%M}", covers(a.place), _more(a), a.model or "", a.state,
         a.by or "", a.reason or "")
        for a in found
    ]  # fmt: skip
    page.add(Table(columns, rows))
    if any(a.state == "pending" for a in found):
        page.line()
        page.line(
            Span("farthing approvals grant NO.", "accent"), " lets the account go over its limit by that much, once"
        )
    return page


def _more(one: Approval) -> str:
    return str(one.amount) if one.budget is None else one.budget.amount_text(one.amount)


def approval_json(one: Approval) -> dict[str, Any]:
    """An approval for programs."""
    return {
        "number": one.number,
        "at": from_us(one.at_us).isoformat(),
        "budget": None if one.budget is None else one.budget.name,
        "covers": one.place,
        "model": one.model,
        "amount": one.amount,
        "amount_text": _more(one),
        "state": one.state,
        "by": one.by,
        "reason": one.reason,
    }


def audit_lines(page: Page, found: Audit) -> None:
    """What the proof of accounts came to."""
    holds = plural(found.holds, "open hold")
    facts = f"{plural(found.accounts, 'account')}, {plural(found.entries, 'entry', 'entries')}, {holds}"
    if found.holds_true:
        page.line(
            Span("Every account of a budget is what its entries, its holds and the events say", "good"), f": {facts}"
        )
        return
    page.line(
        Span(f"{plural(len(found.mismatches), 'account')} of budgets with other amounts than they should have", "bad")
    )
    for mismatch in found.mismatches[:20]:
        page.line("  ", str(mismatch), hang=4)


def audit_json(found: Audit) -> dict[str, Any]:
    """The proof for programs."""
    return {
        "budgets_hold": found.holds_true,
        "accounts": found.accounts,
        "account_entries": found.entries,
        "open_holds": found.holds,
        "account_mismatches": [str(one) for one in found.mismatches],
    }
