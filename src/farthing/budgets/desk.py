"""The desk at which budgets are set, changed and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.errors import InputError
from farthing.ledger.accounts import Accounts
from farthing.ledger.policies import Approval, Change, Standing, Version
from farthing.ledger.sheet import Alert
from farthing.policy import Budget, make_budget, raised


class Desk:
    """Budgets of one ledger, or of one organisation in it: what people do with them."""

    org: str | None

    def _accounts(self) -> Accounts:
        raise NotImplementedError

    def now_us(self) -> int:
        """The present moment, by this guard's clock."""
        raise NotImplementedError

    def set(
        self,
        scope: Budget | Mapping[str, Any] | str | None = None,
        *,
        by: str | None = None,
        reason: str | None = None,
        **words: Any,
    ) -> Budget:
        """Sets a budget and returns it: `set("agent=researcher", usd=50, per="day", mode="hard")`; see `make_budget`.

        It holds at once, in every process; its window opens with what has been spent in it. InputError: cannot be.
        """
        if self.org is not None and not isinstance(scope, Budget):
            words.setdefault("org", self.org)
        budget = scope if isinstance(scope, Budget) else make_budget(scope, **words)
        self._own(budget.org)
        self._accounts().put(budget, by=by, reason=reason, at_us=self.now_us())
        return budget

    def put(self, budget: Budget, *, by: str | None = None, reason: str | None = None) -> Change:
        """Sets a budget: added, changed or unchanged."""
        self._own(budget.org)
        return self._accounts().put(budget, by=by, reason=reason, at_us=self.now_us())

    def _own(self, org: str) -> None:
        if self.org not in (None, org):
            raise InputError(f"this guard speaks for organisation {self.org!r}, not for {org!r}")

    def get(self, name: str, org: str | None = None) -> Budget | None:
        """The active budget of this name."""
        wanted = org or self.org or "default"
        return next((b for b in self._accounts().budgets(wanted) if b.name == name), None)

    def budgets(self, org: str | None = None) -> list[Budget]:
        """The active budgets."""
        return self._accounts().budgets(org or self.org)

    def remove(self, name: str, *, org: str | None = None, by: str | None = None, reason: str | None = None) -> None:
        """Removes a budget; its history stays. InputError where there is none of this name."""
        self._accounts().remove(name, org or self.org or "default", by=by, reason=reason)

    def raise_limit(
        self, name: str, limit: Any, *, org: str | None = None, by: str | None = None, reason: str | None = None
    ) -> Budget:
        """Gives a budget another limit, in its own unit; what is spent stays spent. InputError: no such budget."""
        budget = self.get(name, org)
        if budget is None:
            raise InputError(f"no budget {name!r}: there are {', '.join(b.name for b in self.budgets(org)) or 'none'}")
        changed = raised(budget, limit)
        self.put(changed, by=by, reason=reason)
        return changed

    def reset(self, name: str, *, org: str | None = None, by: str | None = None, reason: str | None = None) -> int:
        """Gives a budget's accounts their whole limit again, as entries that say so; how many. What is spent stays."""
        done = 0
        for standing in self.status(org):
            if standing.budget.name == name and standing.account is not None and standing.posted > standing.granted:
                note = f"reset by {by or 'somebody'}: {reason or 'no reason was given'}"
                self._accounts().grant(standing.account, standing.posted - standing.granted, note)
                done += 1
        return done

    def status(self, org: str | None = None) -> list[Standing]:
        """Every account in its present window: limit, posted, reserved, percent, when it ends, hold inflation."""
        wanted = org or self.org
        found = self._accounts().standings(self.now_us())
        return [one for one in found if wanted is None or one.budget.org in (wanted, "*")]

    def history(self, name: str | None = None, org: str | None = None) -> list[Version]:
        """Every version of a budget, or of all, oldest first."""
        return self._accounts().history(name, org or self.org)

    def alerts(self, *, org: str | None = None, since_us: int | None = None) -> list[Alert]:
        """The rules that fired, the latest first; each once for its account, window and limit."""
        return self._accounts().alerts(org or self.org, since_us)

    def approvals(self, *, pending_only: bool = True) -> list[Approval]:
        """What budgets with on_exceed='ask' have asked of somebody, the latest first."""
        found = self._accounts().approvals(pending_only=pending_only)
        return [one for one in found if self.org is None or (one.budget is not None and one.budget.org == self.org)]

    def grant(self, number: int, *, by: str | None = None, reason: str | None = None) -> None:
        """Grants an approval: its account may go over its limit by what was asked for, in this window."""
        self._accounts().decide(number, grant=True, by=by, reason=reason)

    def refuse(self, number: int, *, by: str | None = None, reason: str | None = None) -> None:
        """Refuses an approval."""
        self._accounts().decide(number, grant=False, by=by, reason=reason)
