"""What budgets have said: rules that fired, as the ledger keeps them and as listeners are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.amounts import amount_text
from farthing.policy import Budget, org_of

Listener = Callable[["Alert"], object]

OVER_ONE = "over:call"
"""The rule that fires where a call came to more than one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule that fired for an account, told once per window and limit. Amounts are in the budget's unit.

    rule   `threshold:0.8`: so much of the limit is spent; `denied:<why>`: a hard budget refused a call;
           `downgraded:<why>`: it named another model to call instead (never for unpriced); `would_deny:<why>`: a soft
           or shadow budget let one pass; why is limit, call, unpriced or model;
           `over:call`: a call came to more than one may; each such call is told, but of many at once the first
    org    whose account it is
    times  how often it fired in this window; at_us: when first; last_us: when last
    """

    budget: str
    org: str
    place: str
    unit: str
    mode: str
    window: str
    rule: str
    start_us: int
    end_us: int | None
    at_us: int
    last_us: int
    limit: int
    posted: int
    reserved: int
    requested: int = 0
    times: int = 1
    model: str | None = None

    @property
    def text(self) -> str:
        """What happened, in words."""
        kind, _, what = self.rule.partition(":")
        asked, most = amount_text(self.unit, self.requested), amount_text(self.unit, self.limit)
        spent = f"{amount_text(self.unit, self.posted)} of {most} spent"
        if kind == "threshold":
            return f"{float(what):.0%} of the limit is reached: {spent}"
        if kind == "over":
            return f"a call came to {asked}, above {most}"
        call = f"a call to {self.model}" if self.model else "a call"
        if kind == "downgraded" and what == "model":
            return f"{call} was to go to another model: that model is not allowed"
        if kind == "downgraded":
            return f"{call} was to go to a cheaper model: {spent}, {asked} asked for"
        did = "was refused" if kind == "denied" else "was let pass that does not fit"
        if what in ("model", "unpriced"):
            return f"{call} {did}: {'that model is not allowed' if what == 'model' else 'nobody knows its price'}"
        return f"a call {did} ({what}): {spent}, {asked} asked for"


def alert_of(budget: Budget, row: Sequence[Any]) -> Alert:
    """An alert from (key, rule, start, first, last, limit, times, facts) of its row."""
    key, name, start_us, first_us, last_us, limit, times, facts = row
    said = json.loads(facts)
    return Alert(
        budget=budget.name,
        org=org_of(budget, key),
        place=said["place"],
        unit=budget.unit,
        mode=budget.mode,
        window=budget.window,
        rule=name,
        start_us=start_us,
        end_us=said["end_us"],
        at_us=first_us,
        last_us=last_us,
        limit=limit,
        posted=said["posted"],
        reserved=said["reserved"],
        requested=said["requested"],
        times=times,
        model=said["model"],
    )
