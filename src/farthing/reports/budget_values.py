"""Budgets for programs: how they stand, their history, a plan, a trial, what was asked of somebody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farthing.budgets.declared import Step
from farthing.budgets.tryout import Trial, Tried
from farthing.event import from_us
from farthing.ledger.alerts import Alert
from farthing.ledger.audit import Audit
from farthing.ledger.policies import Approval, Standing, Version
from farthing.money import PICO_PER_USD, pico_to_usd
from farthing.policy import Budget
from farthing.reports.outlook import Outlook, Outlooks, heading_of
from farthing.windows import span


def in_units(unit: str, **amounts: int | None) -> dict[str, Any]:
    """Amounts of a budget by name, in `unit`; dollars as picodollars, with `<name>_usd` (rounded once) beside each."""
    found: dict[str, Any] = {"unit": "picodollars" if unit == "usd" else unit}
    for name, value in amounts.items():
        found[name] = value
        if unit == "usd":
            found[f"{name}_usd"] = None if value is None else value / PICO_PER_USD
    return found


def budget_json(budget: Budget) -> dict[str, Any]:
    """A budget for programs, its limit as it is declared: `usd` (exact, as text), `tokens` or `calls`, or none."""
    limit: dict[str, int | str] = {}
    if budget.limit is not None:
        limit[budget.unit] = str(pico_to_usd(budget.limit)) if budget.unit == "usd" else budget.limit
    return {
        "name": budget.name,
        "org": budget.org,
        "scope": dict(budget.scope),
        **limit,
        "per": budget.window,
        "tz": budget.tz,
        "mode": budget.mode,
        "thresholds": [float(share) for share in budget.thresholds],
        "on_exceed": budget.on_exceed,
        "on_unpriced": budget.on_unpriced,
        "models": list(budget.models),
        "owner": budget.owner,
        "critical": budget.critical,
    }


def standing_json(one: Standing, outlooks: Outlooks) -> dict[str, Any]:
    """An account of a budget as it stands, for programs; amounts as `in_units`. `limit` has what was granted in it."""
    budget = one.budget
    heading = heading_of(one, outlooks)
    amounts = in_units(
        budget.unit,
        limit=one.limit,
        posted=one.posted,
        reserved=one.reserved,
        remaining=one.remaining,
        granted=one.granted,
        forecast=None if heading is None else heading.end,
    )
    return {
        **budget_json(budget),
        "covers": one.place,
        **(amounts if budget.limit is not None else {"unit": None, "limit": None}),
        "percent": round(one.percent, 2),
        "resets_at": _moment(one.end_us),
        "hold_inflation": None if one.inflation is None else round(one.inflation, 3),
    }


def outlook_json(one: Outlook) -> dict[str, Any]:
    """Where an account, or all spending, is heading, for programs; amounts as `in_units`.

    forecast: what the window will come to; low, high: its range, where there is one.
    """
    return {
        "name": one.name,
        "org": one.org,
        "covers": one.place,
        "per": one.window,
        "starts_at": _moment(one.start_us),
        "resets_at": _moment(one.end_us),
        **in_units(one.unit, posted=one.spent, limit=one.limit, forecast=one.end, low=one.low, high=one.high),
        "limit_reached_at": _moment(one.over_at_us),
        "method": one.forecast.method,
        "tests": one.forecast.tests,
        "tests_held": one.forecast.held,
        "how": one.forecast.why,
    }


def _moment(at_us: int | None) -> str | None:
    return None if at_us is None else from_us(at_us).isoformat()


def version_json(one: Version) -> dict[str, Any]:
    """A version for programs."""
    return {
        "version": one.version,
        "at": _moment(one.at_us),
        "action": one.action,
        "by": one.by,
        "reason": one.reason,
        "budget": budget_json(one.budget),
    }


def alert_json(one: Alert) -> dict[str, Any]:
    """An alert for programs; amounts as `in_units`."""
    return {
        "budget": one.budget,
        "org": one.org,
        "covers": one.place,
        "per": one.window,
        "mode": one.mode,
        "rule": one.rule,
        "text": one.text,
        "times": one.times,
        "first_at": _moment(one.at_us),
        "last_at": _moment(one.last_us),
        "resets_at": _moment(one.end_us),
        **in_units(one.unit, limit=one.limit, posted=one.posted, reserved=one.reserved, requested=one.requested),
        "model": one.model,
    }


def step_json(step: Step) -> dict[str, Any]:
    """A step for programs."""
    differs = {name: {"before": before, "after": after} for name, before, after in step.differs}
    return {"action": step.action, "budget": budget_json(step.budget), "differs": differs}


def set_json(change: str, step: Step, full: Sequence[Standing]) -> dict[str, Any]:
    """A budget that was set or raised, for programs; used_up: its accounts that have nothing left."""
    spent = [standing_json(one, {}) for one in full if one.budget == step.budget]
    return budget_json(step.budget) | {"change": change, "differs": step_json(step)["differs"], "used_up": spent}


def trial_json(found: Trial) -> dict[str, Any]:
    """A trial for programs; amounts as `in_units`."""
    return {
        "budget": budget_json(found.budget),
        "calls": found.calls,
        "denied_calls": found.denied_calls,
        "denied_unpriced": found.denied_unpriced,
        **in_units(found.budget.unit, amount=found.amount, denied_amount=found.denied_amount),
        "windows": found.windows,
        "accounts": [_tried_json(one, found.budget.unit) for one in found.accounts],
    }


def _tried_json(one: Tried, unit: str) -> dict[str, Any]:
    return {
        "covers": one.place,
        "calls": one.calls,
        "denied_calls": one.denied_calls,
        "denied_unpriced": one.denied_unpriced,
        **in_units(unit, denied_amount=one.denied),
        "first": _moment(one.first_us),
    }


def asked_text(one: Approval) -> str:
    """How much more was asked for, in words."""
    return str(one.amount) if one.budget is None else one.budget.amount_text(one.amount)


def approval_json(one: Approval) -> dict[str, Any]:
    """An approval for programs; amounts as `in_units`, without a unit where its budget is not known any more."""
    budget = one.budget
    amount: dict[str, Any] = {"amount": one.amount}
    ends = None
    if budget is not None:
        amount = in_units(budget.unit, amount=one.amount)
        ends = _moment(span(budget.window, one.at_us, budget.tz)[1])
    return {
        "number": one.number,
        "at": _moment(one.at_us),
        "budget": None if budget is None else budget.name,
        "org": one.org,
        "covers": one.place,
        "per": None if budget is None else budget.window,
        "resets_at": ends,
        "model": one.model,
        **amount,
        "amount_text": asked_text(one),
        "state": one.state,
        "by": one.by,
        "reason": one.reason,
    }


def audit_json(found: Audit) -> dict[str, Any]:
    """The proof for programs."""
    return {
        "budgets_hold": found.holds_true,
        "accounts": found.accounts,
        "account_entries": found.entries,
        "open_holds": found.holds,
        "account_mismatches": [str(one) for one in found.mismatches],
    }
