"""TenantCostTracker: tracker and budgets bound to one organisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from farthing import scopes
from farthing.budgets.guard import Guard
from farthing.errors import InputError
from farthing.event import Attribution
from farthing.ledger.policies import Standing
from farthing.ledger.store import Filter, Row
from farthing.policy import Budget
from farthing.traces import Trace, trace_of
from farthing.tracker import CostTracker


class TenantCostTracker(CostTracker):
    """A CostTracker of one organisation: it records, reads and budgets for that one only, in a ledger shared by many.

    `with TenantCostTracker("org_123") as costs: costs.set_budget(usd=1000, per="month")`. The other arguments are those
    of CostTracker. A call that says it is for another organisation: InputError.
    """

    def __init__(self, org: str, *args: Any, **options: Any) -> None:
        if not isinstance(org, str) or not org:
            raise InputError(f"org = {org!r}: must be the organisation's id, as text")
        self.org = org
        super().__init__(*args, **options)
        self._defaults = replace(self._defaults, org=org)

    def attributed(self, who: dict[str, Any], frame: scopes.Frame | None = None) -> Attribution:
        """The attribution of a call, always of this organisation. InputError where it says another."""
        said = who.get("org")
        if said not in (None, self.org):
            raise InputError(
                f"this tracker is of organisation {self.org!r}: a call for {said!r} needs a tracker of its own"
            )
        found = super().attributed(who, frame)
        return found if found.org == self.org else replace(found, org=self.org)

    @cached_property
    def guard(self) -> Guard:
        """The organisation's budgets."""
        guard = super().guard
        guard.org = guard.people.org = self.org
        return guard

    def set_budget(self, scope: Mapping[str, Any] | str | None = None, **words: Any) -> Budget:
        """Sets a budget of the organisation: `set_budget(usd=1000, per="month")`; see `Guard.set`."""
        return self.guard.set(scope, **words)

    def budget_status(self) -> list[Standing]:
        """How the organisation's budgets stand."""
        return self.guard.status()

    def cost_optimization(self, org_id: str | None = None, **time: Any) -> dict[str, Any]:
        """The figures of `CostTracker.cost_optimization`, of this organisation alone."""
        if org_id not in (None, self.org):
            raise InputError(f"this tracker is of organisation {self.org!r}: {org_id!r} needs a tracker of its own")
        return super().cost_optimization(self.org, **time)

    def trace(self, trace_id: str) -> Trace:
        """A trace of the organisation, with its observations and costs."""
        self.flush()
        return trace_of(trace_id, self.ledger.events(Filter(org=self.org, equals={"trace": trace_id})))

    def _rows(self, by: tuple[str, ...], where: Filter) -> list[Row]:
        return super()._rows(by, replace(where, org=self.org))
