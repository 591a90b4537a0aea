"""Budgets tried on what has happened: what one would have denied, and which ones would fit."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from farthing.amounts import Amounts, amounts_of
from farthing.errors import InputError
from farthing.ledger.store import Filter, Question, Store
from farthing.money import pico_to_usd
from farthing.policy import Budget, Rule, fits, make_budget, subject_of, unfit

HEADROOM = Decimal("1.5")
"""A suggested limit is so many times what the window of the 95th percentile came to."""


@dataclass(slots=True)
class Tried:
    """What a budget would have done to one account: calls it would have denied, and what they came to.

    denied_unpriced: those of the denied whose price nobody knows.
    """

    place: str
    calls: int = 0
    denied_calls: int = 0
    denied_unpriced: int = 0
    denied: int = 0
    first_us: int | None = None
    windows: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A budget tried on history. Amounts are in its unit.

    calls, amount                what its scope came to in all
    denied_calls, denied_amount  of that, what would not have been let pass
    denied_unpriced              calls of those whose price nobody knows: on_unpriced = "allow" lets them pass
    windows                      windows in which something would have been denied
    accounts                     the same for each account, those most denied first
    """

    budget: Budget
    calls: int
    amount: int
    denied_calls: int
    denied_amount: int
    denied_unpriced: int
    windows: int
    accounts: tuple[Tried, ...]


def try_budget(store: Store, budget: Budget, *, since_us: int | None = None, until_us: int | None = None) -> Trial:
    """What the budget would have denied of what is in the ledger, had it been hard. Nothing is changed."""
    rule = Rule(budget)
    posted: dict[tuple[str, int], int] = defaultdict(int)
    tried: dict[str, Tried] = {}
    total = calls = 0
    where = Filter(since_us=since_us, until_us=until_us, org=None if budget.org == "*" else budget.org)
    denied_ids: set[str] = set()
    for event in store.events(where):
        subject = subject_of(event)
        key = rule.key(subject)
        if key is None:
            continue
        amounts = amounts_of(event)
        amount = amounts.of(budget.unit)
        total += amount
        calls += event.calls
        account = tried.setdefault(key, Tried(rule.place(key)))
        account.calls += event.calls
        start = rule.spans(event.at_us)[0]
        if event.corrects in denied_ids:
            account.denied += amount
            continue
        priced = Amounts(None, *amounts[1:]) if event.cost_pico is None and event.calls else amounts
        why = unfit(rule, subject, priced) if event.corrects is None else None
        counted = budget.limit is not None and budget.window != "call" and event.corrects is None
        if why is None and counted and not fits(budget.limit or 0, posted[key, start], 0, amount):
            why = "limit"
        if why is None:
            posted[key, start] += amount
            continue
        denied_ids.add(event.id)
        account.denied_calls += event.calls
        account.denied_unpriced += event.calls if why == "unpriced" else 0
        account.denied += amount
        account.windows.add(start)
        account.first_us = account.first_us if account.first_us is not None else event.at_us
    accounts = sorted(tried.values(), key=lambda a: (-a.denied_calls, -a.denied, a.place))
    return Trial(
        budget=budget,
        calls=calls,
        amount=total,
        denied_calls=sum(a.denied_calls for a in accounts),
        denied_amount=sum(a.denied for a in accounts),
        denied_unpriced=sum(a.denied_unpriced for a in accounts),
        windows=sum(len(a.windows) for a in accounts),
        accounts=tuple(accounts),
    )


def suggest(
    store: Store,
    *,
    by: str = "agent",
    per: str = "day",
    org: str = "default",
    since_us: int | None = None,
    tz: str = "UTC",
) -> list[Budget]:
    """Shadow budgets in dollars that history would have kept: 1.5 times the 95th percentile of each one's windows.

    One for each value of `by`; windows in which nothing was spent do not count. `per`: hour, day, week or month.
    """
    if per not in ("hour", "day", "week", "month"):
        raise InputError(f"per = {per!r}: must be hour, day, week or month")
    spent: dict[str, list[int]] = defaultdict(list)
    where = Filter(since_us=since_us, org=org, equals={"billing": "metered"})  # as budgets count: plans apart
    for row in store.totals(Question(by=(by, per), where=where, tz=tz)):
        value = row.key[0]
        if value is not None and row.totals.cost_pico > 0:
            spent[value].append(row.totals.cost_pico)
    found = []
    for value, windows in sorted(spent.items(), key=lambda pair: (-sum(pair[1]), pair[0])):
        ordered = sorted(windows)
        high = ordered[math.ceil(len(ordered) * 0.95) - 1]
        limit = _round_up(pico_to_usd(high) * HEADROOM)
        found.append(make_budget({by: value}, usd=limit, per=per, tz=tz, mode="shadow", org=org))
    return found


def _round_up(usd: Decimal) -> Decimal:
    """To two leading digits, upwards: 13.07 -> 14, 0.0123 -> 0.013."""
    step = Decimal(1).scaleb(usd.adjusted() - 1)
    return (usd / step).to_integral_value(ROUND_CEILING) * step
