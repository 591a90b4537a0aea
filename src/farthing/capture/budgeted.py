"""`@with_budget`: what a function may spend, in this process run, or by the day."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from farthing.budgets.blocks import BudgetBlock, budget
from farthing.capture import process
from farthing.capture.decorators import in_scope
from farthing.errors import InputError
from farthing.event import Attribution
from farthing.policy import make_budget
from farthing.scopes import Scope
from farthing.tracker import CostTracker

Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "budget."
"""With the budget's name after it: the metadata by which the calls of a function, and of those in it, are known."""


def with_budget(
    max_cost_usd: Any = None,
    *,
    max_tokens: int | None = None,
    max_calls: int | None = None,
    per: str | None = None,
    name: str | None = None,
    tracker: CostTracker | None = None,
    on_unpriced: str = "deny",
) -> Callable[[Function], Function]:
    """The function, which may spend so much: `@farthing.with_budget(max_cost_usd=10)`.

    Without `per` the limit is for all calls of the function in this process run. `per="day"` (or another window) makes
    it a budget of the ledger, which other processes share and which begins anew with its window; `name` names it there,
    default: the module's, or the script's file, and the function's.
    When nothing is left, calling the function raises BudgetExceededError; so does a model's call inside it that would
    not fit, where calls are instrumented or reserved. For functions, coroutines, generators and async generators.
    """
    if callable(max_cost_usd):
        raise InputError("with_budget needs a limit, in parentheses: @farthing.with_budget(max_cost_usd=10)")
    given = {"usd": max_cost_usd, "tokens": max_tokens, "calls": max_calls}
    limits = {unit: value for unit, value in given.items() if value is not None}
    if not limits:
        raise InputError("with_budget needs a limit: max_cost_usd=, max_tokens= or max_calls=")
    for unit, value in limits.items():  # what is wrong is told where it is written, not when the function is called
        make_budget(**{unit: value}, per=per or "total", on_unpriced=on_unpriced)

    def decorate(function: Function) -> Function:
        if isinstance(function, type | staticmethod | classmethod) or not callable(function):
            raise InputError(f"@with_budget on {function!r}: must be a function; put it under @staticmethod and others")
        named = name or f"{_module_of(function)}.{getattr(function, '__qualname__', repr(function))}"
        made: Any
        if per is None:
            made = in_scope(function, _OfThisRun(budget(**limits, name=named, on_unpriced=on_unpriced)))
        else:
            made = in_scope(function, _Durable(named, limits, per, tracker, on_unpriced))
        return made  # type: ignore[no-any-return]

    return decorate


def _module_of(function: Any) -> str:
    """The module by the name under which others import it; that of a script by its file: many are called __main__."""
    module = str(getattr(function, "__module__", ""))
    if module not in ("__main__", "__mp_main__"):  # the latter in a process that multiprocessing has spawned
        return module
    place = getattr(inspect.unwrap(function), "__globals__", None) or vars(sys.modules.get(module, sys))
    spec, file = place.get("__spec__"), place.get("__file__")
    return spec.name if spec is not None else os.path.abspath(file) if file else module


class _OfThisRun:
    """Every call of the function enters the same block, which goes on counting."""

    def __init__(self, block: BudgetBlock) -> None:
        self._block = block

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope:
        self._block.check()
        return self._block


class _Durable:
    """Every call of the function carries the budget's mark; the budgets are set when it is first called."""

    def __init__(
        self, name: str, limits: dict[str, Any], per: str, tracker: CostTracker | None, on_unpriced: str
    ) -> None:
        self._name = name
        self._mark = f"{MARK}{name}"
        self._limits = limits
        self._per = per
        self._tracker = tracker
        self._on_unpriced = on_unpriced
        self._set_for: CostTracker | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope:
        tracker = self._tracker or process.tracker()
        names = {unit: f"{self._name} {unit} per {self._per}" for unit in self._limits}
        if self._set_for is not tracker:
            for unit, limit in self._limits.items():
                tracker.guard.set(
                    {f"metadata.{self._mark}": "yes"},
                    **{unit: limit},
                    per=self._per,
                    name=names[unit],
                    on_unpriced=self._on_unpriced,
                    by="with_budget",
                )
            self._set_for = tracker
        error = tracker.guard.exhausted(names.values(), metadata={self._mark: "yes"})
        if error is not None:
            raise error
        return Scope(Attribution(metadata={self._mark: "yes"}))
