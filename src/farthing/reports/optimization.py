"""The figures of a cost dashboard, in the six keys that its specification names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from farthing.event import from_us, to_us
from farthing.ledger.policies import Standing
from farthing.ledger.store import Filter, Question, Store
from farthing.money import PICO_PER_USD
from farthing.reports.outlook import outlook
from farthing.reports.queries import by_cost
from farthing.windows import span

UNATTRIBUTED = "unattributed"
WARNING = 80.0
"""From this percentage of its limit on a budget is one to watch."""


def cost_optimization(
    store: Store,
    now: datetime,
    where: Filter,
    time: tuple[datetime | None, datetime | None] = (None, None),
    tz: str = "UTC",
) -> dict[str, Any]:
    """total_cost_today, total_cost_month, projected_monthly, by_provider, by_agent (US dollars, floats), and budget.

    Only what is owed. The breakdowns are of `time` where it is given, else of this month.
    """
    owed = replace(where, equals={**where.equals, "billing": "metered"})
    until = to_us(now) + 1
    day, _ = span("day", until - 1, tz)
    month, _ = span("month", until - 1, tz)
    since, end = time
    chosen = replace(
        owed,
        since_us=month if since is None and end is None else None if since is None else to_us(since),
        until_us=until if end is None else to_us(end),
    )
    spent = _usd(_sum(store, replace(owed, since_us=month, until_us=until)))
    ahead = outlook(store, now, "month", tz, where)
    return {
        "total_cost_today": _usd(_sum(store, replace(owed, since_us=day, until_us=until))),
        "total_cost_month": spent,
        "projected_monthly": _usd(ahead.end),
        "by_provider": _by(store, "provider", chosen),
        "by_agent": _by(store, "agent", chosen),
        "budget": budget_status(
            [one for one in store.accounts.standings(until - 1) if where.org in (None, one.budget.org)]
        ),
    }


def _sum(store: Store, where: Filter) -> int:
    return sum(row.totals.cost_pico for row in store.totals(Question(where=where, sums=())))


def _by(store: Store, key: str, where: Filter) -> dict[str, float]:
    rows = by_cost(store.totals(Question(by=(key,), where=where)))
    return {row.key[0] or UNATTRIBUTED: _usd(row.totals.cost_pico) for row in rows if row.totals.calls}


def _usd(pico: int) -> float:
    return pico / PICO_PER_USD


def budget_status(standings: Sequence[Standing]) -> dict[str, Any]:
    """How budgets stand: `status` is the worst of them (none, ok, warning, exceeded), `budgets` lists each account.

    Limits and amounts are US dollars, or tokens or calls as `unit` says.
    """
    listed = [_account(one) for one in standings if one.limit is not None]
    ranks = ("none", "ok", "warning", "exceeded")
    worst = max((one["status"] for one in listed), key=ranks.index, default="none")
    return {"status": worst, "budgets": listed}


def _account(one: Standing) -> dict[str, Any]:
    unit = one.budget.unit
    size = PICO_PER_USD if unit == "usd" else 1

    def amount(value: int) -> float | int:
        return value / size if size != 1 else value

    status = "exceeded" if one.percent >= 100 else "warning" if one.percent >= WARNING else "ok"
    return {
        "name": one.budget.name,
        "scope": one.place,
        "window": one.budget.window,
        "unit": unit,
        "mode": one.budget.mode,
        "limit": amount(one.limit or 0),
        "spent": amount(one.posted),
        "reserved": amount(one.reserved),
        "remaining": amount(one.remaining or 0),
        "percent_used": one.percent,
        "status": status,
        "resets_at": None if one.end_us is None else from_us(one.end_us).isoformat(),
    }
