"""Refusals as errors, in words a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from farthing.amounts import amount_text
from farthing.errors import AgentPausedError, BudgetExceededError, TaskKilledError
from farthing.event import NO_MODEL, from_us
from farthing.ledger.controls import ALL_ORDINARY, Control
from farthing.money import pico_to_usd
from farthing.policy import Refusal


def in_unit(unit: str, amount: int) -> Decimal | int:
    """An amount as errors carry it: exact US dollars, or a count."""
    return pico_to_usd(amount) if unit == "usd" else amount


def exceeded(refusals: Sequence[Refusal], more: str = "") -> BudgetExceededError:
    """The error of a call that was refused: of the hard budget that stands most in its way. more: said after it."""
    hard = [refusal for refusal in refusals if refusal.budget.mode == "hard"] or list(refusals)
    worst = max(hard, key=lambda r: (r.why != "limit", r.span[1] is None, r.span[1] or 0))
    budget = worst.budget
    return BudgetExceededError(
        sentence(worst) + more,
        budget=budget.name,
        scope=worst.place,
        unit=budget.unit,
        limit=in_unit(budget.unit, worst.limit),
        posted=in_unit(budget.unit, worst.posted),
        reserved=in_unit(budget.unit, worst.reserved),
        requested=in_unit(budget.unit, worst.requested),
        resets_at=None if worst.span[1] is None else from_us(worst.span[1]),
        why=worst.why,
        on_exceed=budget.on_exceed,
        approval=worst.approval,
    )


def sentence(refusal: Refusal) -> str:
    """What was refused, why, and what can be done."""
    budget, unit = refusal.budget, refusal.budget.unit

    def text(amount: int) -> str:
        return amount_text(unit, amount)

    name = f"budget {budget.name!r}"
    whom = "everything" if refusal.place == "*" else refusal.place
    if refusal.why == "model":
        listed = ", ".join(budget.models)
        return f"{name} does not allow model {refusal.model!r} for {whom}: it allows {listed}"
    if refusal.why == "unpriced":
        if refusal.model == NO_MODEL:
            return f"{name} refuses a call that names no model: it might cost anything. Name it, or say usd="
        return (
            f"{name} refuses a call to {refusal.model!r}: nobody knows its price, so it might cost anything. Register "
            f"it (register_model_pricing({refusal.model!r}, ...)), or let the budget say on_unpriced='allow'"
        )
    if refusal.why == "call":
        needs = text(refusal.requested)
        return f"{name} allows {text(refusal.limit)} for one call of {whom}; this one needs up to {needs}"
    per = "in all" if budget.window == "total" else f"per {budget.window}"
    held = f", {text(refusal.reserved)} held by calls under way" if refusal.reserved else ""
    end = refusal.span[1]
    needs = f", and this call needs up to {text(refusal.requested)}" if refusal.requested else ""
    anew = "Only a higher limit makes room"
    if end is not None:
        anew = f"It begins anew at {from_us(end):%Y-%m-%d %H:%M} UTC; or somebody raises it"
    asked = f" Approval {refusal.approval} was asked for." if refusal.approval is not None else ""
    return (
        f"{name} has no room: {text(refusal.limit)} {per} for {whom}, {text(refusal.posted)} spent{held}{needs}. "
        f"{anew}.{asked}"
    )


def paused(agent: str | None, control: Control) -> AgentPausedError:
    """The error of a call of a paused agent: why, until when, and who may lift it."""
    named = "a call that names no agent" if agent is None else f"agent {agent!r}"
    whom = named if control.name != ALL_ORDINARY else f"{named}, like all that are not critical,"
    until = "" if control.until_us is None else f" until {from_us(control.until_us):%Y-%m-%d %H:%M} UTC"
    name = "all that were paused" if control.name == ALL_ORDINARY else repr(control.name)
    return AgentPausedError(
        f"{whom} is paused{until}: {control.reason or 'no reason was given'}. Whoever paused it "
        f"({control.by or 'not named'}) may lift that: resume {name}",
        name=agent or "",
        reason=control.reason,
        by=control.by,
        until=None if control.until_us is None else from_us(control.until_us),
    )


def killed(control: Control) -> TaskKilledError:
    """The error of a call of a killed task."""
    return TaskKilledError(
        f"task {control.name!r} was killed by {control.by or 'somebody'}: {control.reason or 'no reason was given'}. "
        "It goes on when it is revived: farthing tasks revive",
        name=control.name,
        reason=control.reason,
        by=control.by,
    )
