"""A budget around a piece of code, in the memory of this process: `with farthing.budget(usd=2): ...`.

What the calls inside come to is the block's live total; calls under way hold what they are expected to. Nothing is kept
when the process ends: a budget that is to last is one of the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

from farthing import scopes
from farthing.amounts import Amounts, amount_text, amounts_of, count_of, money
from farthing.budgets.words import exceeded
from farthing.errors import InputError
from farthing.event import Attribution, Event
from farthing.money import pico_to_usd
from farthing.policy import Budget, Refusal, fits
from farthing.scopes import Frame, Scope
from farthing.windows import ALWAYS


class BudgetBlock(Scope):
    """What the calls inside may come to in all. Entered again, or by several tasks at once, it goes on counting.

    Calls of a flat plan are in its totals (`cost`), and in none of its limits in dollars: nobody is billed for them.

    Entering it when it is used up raises BudgetExceededError; so does a call inside that would not fit, where calls are
    instrumented or reserved. A call recorded by hand has been made: it counts, and the next one is refused.
    """

    kind = "budget"

    def __init__(self, limits: dict[str, int], name: str, *, on_unpriced: str = "deny") -> None:
        super().__init__(Attribution())
        self.name = name
        self._budgets = {
            unit: Budget(name=name, limit=limit, unit=unit, on_unpriced=on_unpriced) for unit, limit in limits.items()
        }
        self._held = dict.fromkeys(limits, 0)
        self._posted = dict.fromkeys(limits, 0)

    def __enter__(self) -> Self:
        self.check()
        return super().__enter__()

    def check(self) -> None:
        """Raises BudgetExceededError where it is used up."""
        with scopes.lock():
            for unit, budget in self._budgets.items():
                if self._posted[unit] + self._held[unit] >= (budget.limit or 0):
                    raise exceeded([self._refusal(unit, 0, "", "limit")])

    def adds(self, event: Event) -> None:
        """Adds an event to the totals, and to what is spent of the limits, as budgets of a ledger count it."""
        super().adds(event)
        amounts = amounts_of(event)
        for unit in self._posted:
            self._posted[unit] += amounts.of(unit)

    def hold(self, amounts: Amounts, model: str) -> None:
        """Holds the amounts for a call; where they do not fit, holds nothing and raises BudgetExceededError."""
        with scopes.lock():
            for unit, budget in self._budgets.items():
                amount = amounts.of(unit)
                if unit == "usd" and amounts.usd is None and budget.on_unpriced == "deny":
                    raise exceeded([self._refusal(unit, 0, model, "unpriced")])
                if not fits(budget.limit or 0, self._posted[unit], self._held[unit], amount):
                    raise exceeded([self._refusal(unit, amount, model, "limit")])
            for unit in self._held:
                self._held[unit] += amounts.of(unit)

    def free(self, amounts: Amounts) -> None:
        """Holds them no more: the call has ended, and what it came to is in the totals."""
        with scopes.lock():
            for unit in self._held:
                self._held[unit] -= amounts.of(unit)

    def _refusal(self, unit: str, requested: int, model: str, why: str) -> Refusal:
        budget, posted, held = self._budgets[unit], self._posted[unit], self._held[unit]
        return Refusal(budget, "this block", why, budget.limit or 0, posted, held, requested, ALWAYS, model)

    @property
    def remaining_usd(self) -> Decimal | None:
        """US dollars that are neither spent nor held; None without a limit in dollars."""
        budget = self._budgets.get("usd")
        if budget is None:
            return None
        with scopes.lock():
            return pico_to_usd(max(0, (budget.limit or 0) - self._posted["usd"] - self._held["usd"]))

    def __repr__(self) -> str:
        limits = ", ".join(amount_text(unit, budget.limit or 0) for unit, budget in self._budgets.items())
        return f"<farthing budget {self.name!r} of {limits}: {self.totals.usd} USD spent>"


def budget(
    usd: Any = None,
    *,
    tokens: int | None = None,
    calls: int | None = None,
    name: str = "block",
    on_unpriced: str = "deny",
) -> BudgetBlock:
    """A budget around code: `with farthing.budget(usd=2) as b:`; `b.cost`, `b.remaining_usd` are live.

    One limit or several; on_unpriced: deny or allow calls whose price nobody knows. What cannot be: InputError.
    """
    limits = {}
    if usd is not None:
        limits["usd"] = money(usd, "usd")
    if tokens is not None:
        limits["tokens"] = count_of(tokens, "tokens")
    if calls is not None:
        limits["calls"] = count_of(calls, "calls")
    if not limits:
        raise InputError("a budget needs a limit: give usd=, tokens= or calls=")
    return BudgetBlock(limits, name, on_unpriced=on_unpriced)


def around(frame: Frame | None) -> Iterator[BudgetBlock]:
    """The blocks around a place in the program, the innermost first, each once."""
    seen: set[int] = set()
    for outer in frame.around() if frame is not None else ():
        scope = outer.scope
        if isinstance(scope, BudgetBlock) and id(scope) not in seen:
            seen.add(id(scope))
            yield scope
