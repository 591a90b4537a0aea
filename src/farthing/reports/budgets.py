"""Screens of budgets: how they stand, their history, a plan, a trial, what was asked of somebody, who is paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from farthing.budgets.declared import AgentStep, Step
from farthing.budgets.presets import PRESETS
from farthing.budgets.tryout import Trial
from farthing.event import from_us, to_us
from farthing.ledger.alerts import Alert
from farthing.ledger.audit import Audit
from farthing.ledger.policies import Approval, Standing, Version
from farthing.policy import Budget
from farthing.reports.blocks import Bar, Cell, Column, Page, Span, Table
from farthing.reports.budget_values import asked_text
from farthing.reports.outlook import Outlooks, heading_of
from farthing.reports.text import count, money, of_org, plural

_FULL, _NEARLY = 100.0, 80.0


def amount(unit: str, value: int | None) -> str:
    """An amount of a budget as tables show it: dollars to the cent, small ones as small as they are."""
    if value is None:
        return ""
    return money(value) if unit == "usd" else count(value)


def covers(place: str, org: str = "default") -> str:
    """A scope in words, and whose it is."""
    return of_org("everything" if place == "*" else place, org)


def fullest_first(standings: Sequence[Standing]) -> list[Standing]:
    """Standings, those with the least room first; what has no limit last."""
    return sorted(standings, key=lambda one: (one.limit is None, -one.percent, one.budget.name, one.place))


@dataclass(frozen=True, slots=True)
class Rest:
    """Accounts of a budget that a screen leaves out: how many, and how full the fullest of them is."""

    budget: Budget
    number: int
    percent: float


def few(standings: Sequence[Standing], most: int = 8) -> list[Standing | Rest]:
    """Accounts with a limit, the fullest first; of each budget so many, and what is left out of it."""
    seen: Counter[tuple[str, str]] = Counter()
    found: list[Standing | Rest] = []
    limited = fullest_first([one for one in standings if one.limit is not None])
    whole = Counter((one.budget.org, one.budget.name) for one in limited)
    for one in limited:
        key = (one.budget.org, one.budget.name)
        seen[key] += 1
        if seen[key] <= most:
            found.append(one)
        elif seen[key] == most + 1:
            found.append(Rest(one.budget, whole[key] - most, one.percent))
    return found


def budgets_page(
    standings: Sequence[Standing],
    outlooks: Outlooks,
    now: datetime,
    *,
    every: bool = False,
    nothing: str = "",
    undeclared: Sequence[str] = (),
) -> Page:
    """Accounts: limit, spent, held, how full, when each begins anew, where it is heading; of a budget the fullest few.

    every: all accounts. nothing: what is said without any, where it is not that no budget is set. undeclared: lines
    below all.
    """
    page = Page()
    if standings:
        if rows := few(standings, len(standings) if every else 8):
            page.add(standings_table(rows, outlooks, now))
        for one in standings:
            if one.limit is None:
                page.line(*_listed(one.budget), hang=2)
        if any(isinstance(row, Rest) for row in rows):
            page.line(Span("all of them: ", "dim"), Span("farthing budgets --all", "accent"))
        _notes(page, standings)
    elif nothing:
        page.line(nothing, hang=2)
    else:
        page.line("No budget is set, so nothing is held back.")
        page.line()
        for words in ("farthing budgets set agent=researcher --usd 50 --per day", "farthing budgets suggest",
                      "farthing budgets presets"):  # fmt: skip
            page.line("  ", Span(words, "accent"), hang=6)
    for words in undeclared:
        page.line(Span(words, "warn"), hang=2)
    return page


def _listed(budget: Budget) -> Iterator[str | Span]:
    """A budget that only lists models, as a line: it has neither limit nor account."""
    mode = "" if budget.mode == "hard" else f" ({budget.mode})"
    yield f"{covers(budget.scope_text, budget.org)}{mode}: "
    yield Span(limit_of(budget), "strong")
    if name := _own_name(budget):
        yield Span(f"  {name}", "dim")


def standings_table(
    standings: Sequence[Standing | Rest], outlooks: Outlooks, now: datetime, *, heading: bool = True
) -> Table:
    """Accounts as rows; `heading`: with where they are heading.

    `used` counts what is held, so that column stays for as long as anything is.
    """
    shown = [one for one in standings if isinstance(one, Standing)]
    named = heading and any(_own_name(one.budget) for one in shown)
    moded = any(one.budget.mode != "hard" for one in shown)
    columns = [
        Column("covers", least=8, enough=24),
        Column("per"),
        *([Column("mode", rank=1)] if moded else []),
        *(Column(name, right=True, least=12) for name in ("limit", "spent")),
        Column("held", right=True, least=12, rank=0 if any(one.reserved for one in shown) else 5),
        Column("used", right=True),
        Column("", rank=4),
        Column("resets in", right=True, rank=2),
    ]
    if heading:
        columns.append(Column("forecast", right=True, rank=3))
    if named:
        columns.append(Column("name", rank=6))
    rows = []
    for one in standings:
        row = _row(one, now) if isinstance(one, Standing) else _rest(one)
        if moded:
            row.insert(2, "" if one.budget.mode == "hard" else Span(one.budget.mode, "dim"))
        more = [_heading(one, outlooks), _own_name(one.budget)] if isinstance(one, Standing) else ["", ""]
        rows.append([*row, *more][: len(columns)])
    return Table(tuple(columns), rows)


def _rest(one: Rest) -> list[Cell]:
    whom = covers(one.budget.scope_text, one.budget.org)
    texts = (f"{count(one.number)} more of {whom}", one.budget.window, _limit(one.budget, one.budget.limit), "", "")
    return [*(Span(text, "dim") for text in texts), Span(f"≤ {one.percent:.0f} %", "dim"), "", ""]


def _heading(one: Standing, outlooks: Outlooks) -> Cell:
    found = heading_of(one, outlooks)
    if found is None:
        return ""
    will = found.limit is not None and found.end > found.limit
    return Span(amount(one.budget.unit, found.end), "warn" if will else "dim")


def made_name(budget: Budget) -> str:
    """The name that is made of what a budget covers, where it has none of its own."""
    return f"{covers(budget.scope_text)} {'models' if budget.limit is None else budget.unit} per {budget.window}"


def _own_name(budget: Budget) -> str:
    """A budget's name, where it is not the one that is made of what it covers."""
    return "" if budget.name == made_name(budget) else budget.name


def limit_of(budget: Budget) -> str:
    """What a budget allows: `$50.00`, `2,000,000 tokens`, `only gpt-4o*`."""
    return f"only {', '.join(budget.models)}" if budget.limit is None else budget.amount_text(budget.limit)


def limit_per(budget: Budget) -> str:
    """What it allows in which window: `$50.00 per day (Europe/Amsterdam)`, `only gpt-4o*`."""
    per = "" if budget.limit is None else f" per {budget.window}"
    return f"{limit_of(budget)}{per}{'' if budget.tz == 'UTC' else f' ({budget.tz})'}"


def _limit(budget: Budget, limit: int | None) -> str:
    text = amount(budget.unit, limit)
    return text if budget.unit == "usd" else f"{text} {budget.unit}"


def _row(one: Standing, now: datetime) -> list[Cell]:
    budget, unit = one.budget, one.budget.unit
    whom = covers(one.place, budget.org)
    if one.limit is None:
        return [whom, "", f"only {plural(len(budget.models), 'model')}", *[""] * 5]
    style = "bad" if one.percent >= _FULL else "warn" if one.percent >= _NEARLY else "good"
    return [
        whom,
        budget.window,
        _limit(budget, one.limit),
        amount(unit, one.posted),
        amount(unit, one.reserved) if one.reserved else "",
        Span(f"{one.percent:.0f} %", style),
        Bar(one.percent / 100),
        until(one.end_us, now) if one.end_us is not None else "",
    ]


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
        whose = covers(one.place, one.budget.org)
        page.line(
            Span(f"{whose}: calls hold {one.inflation:.0f} times what they come to", "warn"),
            "; name max_tokens in them, or raise the limit",
            hang=2,
        )
    over = [one for one in fullest_first(standings) if one.limit is not None and one.posted > one.limit]
    for one in over[:3]:
        by = one.posted - (one.limit or 0)
        more = money(by) if one.budget.unit == "usd" else one.budget.amount_text(by)
        whose = f"{covers(one.place, one.budget.org)} per {one.budget.window}"
        page.line(Span(f"{whose}: {more} over its limit", "bad"), hang=2)
    if len(over) > 3:
        page.line(Span(f"and {count(len(over) - 3)} more over theirs", "bad"))


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
        (f"{from_us(v.at_us):%Y-%m-%d %H:%M}", v.action, of_org(v.budget.name, v.budget.org), limit_of(v.budget),
         v.budget.mode, v.by or "", v.reason or "")
        for v in versions
    ]  # fmt: skip
    page.add(Table(columns, rows))
    return page


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
        (f"{from_us(a.last_us):%Y-%m-%d %H:%M}", covers(a.place, a.org), a.window, _told(a), count(a.times), a.budget)
        for a in found
    ]
    page.add(Table(columns, rows))
    return page


def _told(one: Alert) -> Span:
    return Span(one.text, "bad" if one.rule.startswith("denied:") else "warn")


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
        page.line(Span(f"{mark} {of_org(budget.name, budget.org)}", style), whole, Span(word, "dim"), hang=4)
        _differences(page, step)
    for agent in agents:
        style = "dim" if agent.action == "keep" else "warn"
        owner = f", owner {agent.owner}" if agent.owner else ""
        mark = "=" if agent.action == "keep" else "~"
        rank = "critical" if agent.critical else "ordinary"
        page.line(Span(f"{mark} agent {of_org(agent.name, agent.org)}: {rank}{owner}", style))
    changes = sum(s.action in ("add", "change", "remove") for s in steps) + sum(a.action == "change" for a in agents)
    drift = sum(s.action == "extra" for s in steps)
    page.line()
    done = "to do" if dry_run else "done"
    page.line(Span(f"{plural(changes, 'change')} {done}" if changes else "Nothing differs from the file", "strong"),
              f", {plural(drift, 'budget')} not in the file" if drift else "")  # fmt: skip
    return page


def _differences(page: Page, step: Step) -> None:
    """What changes of a budget, a line for each field."""
    for name, before, after in step.differs:
        page.line(f"    {name}: {before} → ", Span(after, "strong"), hang=6)
    if step.opens:
        page.line(Span("    counts other calls from now on: its window opens with what they have spent", "dim"))


def set_page(done: Sequence[tuple[str, Step]], full: Sequence[Standing]) -> Page:
    """What has become of budgets that were set: (change, step) of each; `full`: accounts of them that are used up."""
    page = Page()
    for change, step in done:
        budget = step.budget
        words = f", {limit_per(budget)}, {budget.mode}"
        page.line(Span(f"{change}: ", "good"), Span(of_org(budget.name, budget.org), "strong"), words, hang=2)
        _differences(page, step)
        _spent_already(page, budget, full)
    return page


def raised_page(change: str, before: Budget, after: Budget, full: Sequence[Standing]) -> Page:
    """What has become of a limit."""
    page = Page()
    old, new = (budget.amount_text(budget.limit or 0) for budget in (before, after))
    page.line(
        *(Span(f"{change}: ", "good"), Span(of_org(after.name, after.org), "strong"), ", "),
        *((f"{old} → ",) if old != new else ()),
        *(Span(new, "strong"), "" if after.window == "total" else f" per {after.window}"),
        hang=2,
    )
    _spent_already(page, after, full)
    return page


def used_up(standings: Sequence[Standing], budgets: Sequence[Budget]) -> list[Standing]:
    """The accounts of these budgets that have spent their limit, the fullest first."""
    wanted = {(budget.org, budget.name) for budget in budgets}
    mine = [one for one in standings if (one.budget.org, one.budget.name) in wanted]
    return fullest_first([one for one in mine if one.limit is not None and one.posted and one.posted >= one.limit])


_FEW = 3


def _spent_already(page: Page, budget: Budget, full: Sequence[Standing]) -> None:
    """What a budget means from now on for accounts that have nothing left."""
    mine = [one for one in full if one.budget == budget]
    for one in mine[:_FEW]:
        whose = "" if one.place == budget.scope_text else f"{covers(one.place)}: "
        spent = _said(budget, one.posted)
        page.line(Span(f"  {whose}{spent} is spent already: {_from_now_on(budget, one.end_us)}", "warn"), hang=4)
    if len(mine) > _FEW:
        page.line(Span(f"  so have {count(len(mine) - _FEW)} more spent theirs: farthing budgets", "warn"), hang=4)


def _from_now_on(budget: Budget, end_us: int | None) -> str:
    if budget.mode != "hard":
        return "it is over its limit, and calls pass"
    does = {"deny": "calls are refused", "ask": "somebody must allow each call"}
    words = does.get(budget.on_exceed) or f"calls go to {budget.on_exceed.removeprefix('downgrade:')}"
    return f"{words} until {'it is raised' if end_us is None else f'{from_us(end_us):%Y-%m-%d %H:%M} UTC'}"


def suggest_page(found: Sequence[Budget]) -> Page:
    """Suggested budgets, as commands that set them."""
    page = Page()
    if not found:
        page.line("Nothing was spent by anybody with a name, so there is nothing to go by.")
        return page
    columns = (Column("covers", least=16), Column("limit", right=True), Column("per"))
    page.add(Table(columns, [(covers(b.scope_text, b.org), limit_of(b), b.window) for b in found]))
    page.line()
    page.line("Each is 1.5 times the 95th percentile of its own past. Set them in shadow mode first: --set", hang=2)
    return page


def _said(budget: Budget, value: int) -> str:
    return money(value) if budget.unit == "usd" else budget.amount_text(value)


def trial_page(found: Trial) -> Page:
    """What a budget would have denied."""
    page, budget = Page(), found.budget
    page.line(Span(f"{of_org(budget.name, budget.org)}: {limit_per(budget)}", "strong"))
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
    if found.denied_unpriced:
        have = "has" if found.denied_unpriced == 1 else "have"
        page.line(f"{count(found.denied_unpriced)} of them {have} no known price: ",
                  Span("--on-unpriced allow", "accent"), " would let them pass", hang=2)  # fmt: skip
    page.line()
    columns = (
        *(Column("covers", least=14), Column("calls", right=True), Column("denied", right=True)),
        *(Column("amount", right=True), Column("first (UTC)", rank=1)),
    )
    rows = [
        (covers(a.place, budget.org), count(a.calls), count(a.denied_calls), _said(budget, a.denied),
         "" if a.first_us is None else f"{from_us(a.first_us):%Y-%m-%d %H:%M}")
        for a in found.accounts[:20]
    ]  # fmt: skip
    page.add(Table(columns, rows))
    return page


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
        (str(a.number), f"{from_us(a.at_us):%m-%d %H:%M}", asked_whom(a), asked_text(a), a.model or "", a.state,
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


def asked_whom(one: Approval) -> str:
    """The account that an approval is for, in words."""
    return covers(one.place) if one.budget is None else covers(one.place, one.budget.org)


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
