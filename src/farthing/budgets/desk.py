"""The desk at which budgets are set, changed and looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from farthing.errors import InputError
from farthing.ledger.accounts import Accounts
from farthing.ledger.alerts import Alert
from farthing.ledger.policies import Approval, Change, Standing, Version
from farthing.policy import EACH, Budget, make_budget, raised, scope_of


def whose(own: str | None, named: str | None) -> str | None:
    """The organisation that is meant: the one named, else one's own. InputError: another's than one's own."""
    if named is not None and own not in (None, named):
        raise InputError(f"this guard speaks for organisation {own!r}, not for {named!r}")
    return named or own


def budget_as_stored(
    user_as_stored: Callable[[str], str | None] | None,
    scope: Mapping[str, Any] | str | None = None,
    **words: Any,
) -> Budget:
    """`make_budget`, its scope's user as the ledger knows that one: hashed, where users are."""
    covered = scope_of(scope)
    user = covered.get("user", EACH)
    if user_as_stored is not None and user != EACH:
        stored = user_as_stored(user)
        if stored is None:
            raise InputError("a budget for one user: the key that hashes users cannot be read; set FARTHING_HASH_KEY")
        covered["user"] = stored
    return make_budget(covered, **words)


class Desk:
    """Budgets of one ledger, or of one organisation in it: what people do with them."""

    org: str | None
    make: Callable[..., Budget]
    catch_up: Callable[[], object]
    """What is done before the ledger is read: what calls that have ended came to is to be in it."""

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
        budget = scope if isinstance(scope, Budget) else self.make(scope, **words)
        whose(self.org, budget.org)
        self._accounts().put(budget, by=by, reason=reason, at_us=self.now_us())
        return budget

    def put(self, budget: Budget, *, by: str | None = None, reason: str | None = None) -> Change:
        """Sets a budget: added, changed or unchanged."""
        whose(self.org, budget.org)
        return self._accounts().put(budget, by=by, reason=reason, at_us=self.now_us())

    def get(self, name: str, org: str | None = None) -> Budget | None:
        """The active budget of this name."""
        wanted = whose(self.org, org) or "default"
        return next((b for b in self._accounts().budgets(wanted) if b.name == name), None)

    def _known(self, name: str, org: str | None) -> Budget:
        budget = self.get(name, org)
        if budget is None:
            raise InputError(f"no budget {name!r}: there are {', '.join(b.name for b in self.budgets(org)) or 'none'}")
        return budget

    def budgets(self, org: str | None = None) -> list[Budget]:
        """The active budgets."""
        return self._accounts().budgets(whose(self.org, org))

    def remove(self, name: str, *, org: str | None = None, by: str | None = None, reason: str | None = None) -> None:
        """Removes a budget; its history stays. InputError where there is none of this name."""
        wanted = whose(self.org, org) or "default"
        self._accounts().remove(name, wanted, by=by, reason=reason, at_us=self.now_us())

    def raise_limit(
        self, name: str, limit: Any, *, org: str | None = None, by: str | None = None, reason: str | None = None
    ) -> Budget:
        """Gives a budget another limit, in its own unit; what is spent stays spent. InputError: no such budget."""
        changed = raised(self._known(name, org), limit)
        self.put(changed, by=by, reason=reason)
        return changed

    def reset(
        self,
        name: str,
        *,
        org: str | None = None,
        by: str | None = None,
        reason: str | None = None,
        held: bool = False,
    ) -> int:
        """Gives a budget's accounts their whole limit again, as entries that say so; how many. What is spent stays.

        held: also what calls under way hold; what they leave of it then comes on top. InputError: no such budget.
        """
        note = f"reset by {by or 'somebody'}: {reason or 'no reason was given'}"
        return self._accounts().reset(name, self._known(name, org).org, note, self.now_us(), held=held)

    def status(self, org: str | None = None) -> list[Standing]:
        """Every account in its present window: limit, posted, reserved, percent, when it ends, hold inflation."""
        self.catch_up()
        wanted = whose(self.org, org)
        found = self._accounts().standings(self.now_us())
        return [one for one in found if wanted is None or one.org in (wanted, EACH)]

    def history(self, name: str | None = None, org: str | None = None) -> list[Version]:
        """Every version of a budget, or of all, and what was granted above it (`reset`, approvals), oldest first."""
        return self._accounts().history(name, whose(self.org, org))

    def alerts(self, *, org: str | None = None, since_us: int | None = None) -> list[Alert]:
        """The rules that fired, the latest first; each once for its account, window and limit."""
        self.catch_up()
        return self._accounts().alerts(whose(self.org, org), since_us)

    def approvals(self, *, pending_only: bool = True, org: str | None = None) -> list[Approval]:
        """What budgets with on_exceed='ask' have asked of somebody, the latest first."""
        self.catch_up()
        wanted = whose(self.org, org)
        found = self._accounts().approvals(pending_only=pending_only, at_us=self.now_us())
        return [one for one in found if wanted in (None, one.org)]

    def grant(self, number: int, *, by: str | None = None, reason: str | None = None) -> None:
        """Grants an approval: its account may go over its limit by what was asked for, in this window."""
        self._decide(number, by, reason, grant=True)

    def refuse(self, number: int, *, by: str | None = None, reason: str | None = None) -> None:
        """Refuses an approval."""
        self._decide(number, by, reason, grant=False)

    def _decide(self, number: int, by: str | None, reason: str | None, *, grant: bool) -> None:
        if self.org is not None and all(one.number != number for one in self.approvals(pending_only=False)):
            raise InputError(f"approval {number} does not exist in organisation {self.org!r}: see the pending ones")
        self._accounts().decide(number, grant=grant, by=by, reason=reason, at_us=self.now_us())
