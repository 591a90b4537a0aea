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
    heading = heading_of(one, outlooks)
    return values | {
        "percent": round(one.percent, 2),
        "resets_at": None if one.end_us is None else from_us(one.end_us).isoformat(),
        "hold_inflation": None if one.inflation is None else round(one.inflation, 3),
        "forecast": None if heading is None else heading.end,
    }


def outlook_json(one: Outlook) -> dict[str, Any]:
    """A forecast for programs, in the window's unit: picodollars, tokens or calls."""
    return {
        "name": one.name,
        "org": one.org,
        "place": one.place,
        "unit": "picodollars" if one.unit == "usd" else one.unit,
        "window": one.window,
        "start": from_us(one.start_us).isoformat(),
        "end": from_us(one.end_us).isoformat(),
        "spent": one.spent,
        "limit": one.limit,
        "expected": one.end,
        "low": one.low,
        "high": one.high,
        "limit_reached_at": None if one.over_at_us is None else from_us(one.over_at_us).isoformat(),
        "method": one.forecast.method,
        "tests": one.forecast.tests,
        "held": one.forecast.held,
        "how": one.forecast.why,
    }


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


def step_json(step: Step) -> dict[str, Any]:
    """A step for programs."""
    differs = {name: {"before": before, "after": after} for name, before, after in step.differs}
    return {"action": step.action, "budget": budget_json(step.budget), "differs": differs}


def set_json(change: str, step: Step, full: Sequence[Standing]) -> dict[str, Any]:
    """A budget that was set or raised, for programs; used_up: its accounts that have nothing left."""
    spent = [standing_json(one, {}) for one in full if one.budget == step.budget]
    return budget_json(step.budget) | {"change": change, "differs": step_json(step)["differs"], "used_up": spent}


def trial_json(found: Trial) -> dict[str, Any]:
    """A trial for programs; amounts in the budget's unit, dollars as picodollars."""
    return {
        "budget": budget_json(found.budget),
        "calls": found.calls,
        "amount": found.amount,
        "denied_calls": found.denied_calls,
        "denied_amount": found.denied_amount,
        "denied_unpriced": found.denied_unpriced,
        "windows": found.windows,
        "accounts": [_tried_json(one) for one in found.accounts],
    }


def _tried_json(one: Tried) -> dict[str, Any]:
    return {
        "covers": one.place,
        "calls": one.calls,
        "denied_calls": one.denied_calls,
        "denied_amount": one.denied,
        "denied_unpriced": one.denied_unpriced,
        "first": None if one.first_us is None else from_us(one.first_us).isoformat(),
    }


def asked_text(one: Approval) -> str:
    """How much more was asked for, in words."""
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
