"""A budget around a piece of code, in the memory of this process: `with farthing.budget(usd=2): ...`.

What the calls inside come to is the block's live total; calls under way hold what they are expected to. Nothing is kept
when the process ends: a budget that is to last is one of the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

from farthing import scopes
from farthing.amounts import Amounts, amount_text, count_of, money
from farthing.budgets.words import exceeded
from farthing.errors import InputError
from farthing.event import Attribution
from farthing.money import pico_to_usd
from farthing.policy import Budget, Refusal, fits
from farthing.scopes import Frame, Scope
from farthing.totals import Totals
from farthing.windows import ALWAYS


class BudgetBlock(Scope):
    """What the calls inside may come to in all. Entered again, or by several tasks at once, it goes on counting.

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

    def __enter__(self) -> Self:
        self.check()
        return super().__enter__()

    def check(self) -> None:
        """Raises BudgetExceededError where it is used up."""
        with scopes.lock():
            for unit, budget in self._budgets.items():
                posted = posted_of(self.counted(), unit)
                if posted + self._held[unit] >= (budget.limit or 0):
                    raise exceeded([self._refusal(unit, posted, 0, "", "limit")])

    def hold(self, amounts: Amounts, model: str) -> None:
        """Holds the amounts for a call; where they do not fit, holds nothing and raises BudgetExceededError."""
        with scopes.lock():
            totals = self.counted()
            for unit, budget in self._budgets.items():
                posted, amount = posted_of(totals, unit), amounts.of(unit)
                if unit == "usd" and amounts.usd is None and budget.on_unpriced == "deny":
                    raise exceeded([self._refusal(unit, posted, 0, model, "unpriced")])
                if not fits(budget.limit or 0, posted, self._held[unit], amount):
                    raise exceeded([self._refusal(unit, posted, amount, model, "limit")])
            for unit in self._held:
                self._held[unit] += amounts.of(unit)

    def free(self, amounts: Amounts) -> None:
        """Holds them no more: the call has ended, and what it came to is in the totals."""
        with scopes.lock():
            for unit in self._held:
                self._held[unit] -= amounts.of(unit)

    def _refusal(self, unit: str, posted: int, requested: int, model: str, why: str) -> Refusal:
        budget = self._budgets[unit]
        return Refusal(budget, "this block", why, budget.limit or 0, posted, self._held[unit], requested, ALWAYS, model)

    @property
    def remaining_usd(self) -> Decimal | None:
        """US dollars that are neither spent nor held; None without a limit in dollars."""
        budget = self._budgets.get("usd")
        if budget is None:
            return None
        with scopes.lock():
            return pico_to_usd(max(0, (budget.limit or 0) - self.counted().cost_pico - self._held["usd"]))

    def __repr__(self) -> str:
        limits = ", ".join(amount_text(unit, budget.limit or 0) for unit, budget in self._budgets.items())
        return f"<farthing budget {self.name!r} of {limits}: {self.totals.usd} USD spent>"


def posted_of(totals: Totals, unit: str) -> int:
    """What totals come to in a unit of budgets."""
    return {"usd": totals.cost_pico, "tokens": totals.total_tokens, "calls": totals.calls}[unit]


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
