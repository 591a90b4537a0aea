"""Budgets as they are declared in a file, and what setting them would change: the plan and the drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from farthing.errors import ConfigError, InputError
from farthing.ledger.controls import Control
from farthing.policy import Budget, make_budget

Action = Literal["add", "change", "keep", "remove", "extra"]
"""extra: in the ledger and not in the file; it stays unless removal is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one budget. `differs`: (field, before, after) of one that changes; opens: with other accounts."""

    action: Action
    budget: Budget
    differs: tuple[tuple[str, str, str], ...] = ()
    opens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStep:
    """What becomes of an agent's rank."""

    action: Literal["change", "keep"]
    name: str
    org: str
    critical: bool
    owner: str | None


def budgets_of(
    rows: Iterable[Mapping[str, Any]], where: str = "budgets", make: Callable[..., Budget] = make_budget
) -> list[Budget]:
    """The budgets that rows declare, made by `make`. What cannot be, or two of one name: ConfigError with the row."""
    found: dict[tuple[str, str], Budget] = {}
    for i, row in enumerate(rows):
        try:
            budget = make(**row)
        except (InputError, TypeError) as error:
            raise ConfigError(f"{where}[{i}]: {error}") from error
        if (budget.org, budget.name) in found:
            raise ConfigError(f"{where}[{i}]: a second budget {budget.name!r}: give one of them another name")
        found[budget.org, budget.name] = budget
    return list(found.values())


def plan(present: Sequence[Budget], wanted: Sequence[Budget], *, prune: bool = False) -> list[Step]:
    """What setting the wanted budgets would do to those present; `prune`: and removing all others."""
    known = {(budget.org, budget.name): budget for budget in present}
    steps = []
    for budget in wanted:
        old = known.pop((budget.org, budget.name), None)
        if old is None:
            steps.append(Step(action="add", budget=budget))
        elif old == budget:
            steps.append(Step(action="keep", budget=budget))
        else:
            steps.append(
                Step(action="change", budget=budget, differs=_differs(old, budget), opens=old.shape != budget.shape)
            )
    return steps + [Step(action="remove" if prune else "extra", budget=budget) for budget in known.values()]


def _differs(old: Budget, new: Budget) -> tuple[tuple[str, str, str], ...]:
    pairs = ((f.name, getattr(old, f.name), getattr(new, f.name)) for f in fields(Budget))
    return tuple((name, said(old, name), said(new, name)) for name, before, after in pairs if before != after)


def said(budget: Budget, name: str) -> str:
    """A field of a budget in words."""
    value = getattr(budget, name)
    if name == "limit":
        return "none" if value is None else budget.amount_text(value)
    if name == "scope":
        return budget.scope_text
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value) or "none"
    return "none" if value is None else str(value)


def plan_agents(known: Iterable[Control], rows: Iterable[Mapping[str, Any]], where: str = "agents") -> list[AgentStep]:
    """What declaring these agents would do, where `where` is. Two of one name: ConfigError with the row."""
    ranks = {(word.org, word.name): word for word in known if word.kind == "rank"}
    steps: list[AgentStep] = []
    for i, row in enumerate(rows):
        org, critical = row.get("org", "default"), bool(row.get("critical"))
        if any((step.org, step.name) == (org, row["name"]) for step in steps):
            raise ConfigError(f"{where}[{i}]: a second agent {row['name']!r}: say all about it in one place")
        old = ranks.get((org, row["name"]))
        same = old is not None and (old.action == "critical", old.reason) == (critical, row.get("owner"))
        steps.append(
            AgentStep(
                action="keep" if same else "change",
                name=row["name"],
                org=org,
                critical=critical,
                owner=row.get("owner"),
            )
        )
    return steps
