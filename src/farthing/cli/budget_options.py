"""A budget as SCOPE and options of the command line, and as it becomes where one of its name is set already."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import click

from farthing.budgets.guard import Guard
from farthing.budgets.presets import preset
from farthing.cli.guarding import fitting, meant, one_org, org_option
from farthing.errors import InputError
from farthing.policy import MODES, Budget
from farthing.reports.budgets import made_name
from farthing.windows import WINDOWS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_SHORT = re.compile(r"([0-9]{1,9})([kKmM])")
_TIMES = {"k": 1000, "m": 1_000_000}
LIMITS = ("usd", "tokens", "calls")
_KEPT = ("tz", "mode", "on_exceed", "on_unpriced", "thresholds", "models", "owner", "critical")
_HIGHEST_PERCENT = 1000
_WAYS = "give --usd, --tokens, --calls or --models"


def plain_amount(text: str, what: str) -> str:
    """An amount as people write it, `$1,000`, as a number. InputError where a comma does not group thousands."""
    amount = text.strip().removeprefix("$")
    if "," in amount and not _GROUPED.fullmatch(amount):
        raise InputError(f"{what} {text!r}: a comma may only group thousands, as in 1,000; decimals have a point: 0.50")
    return amount.replace(",", "")


def whole_number(text: str, what: str) -> int:
    """A count as people write it, `2,000,000`. InputError where it is none, or its commas do not group thousands."""
    digits = text.strip()
    if digits.isascii() and digits.isdecimal():
        return int(digits)
    if _GROUPED.fullmatch(digits) and "." not in digits:
        return int(digits.replace(",", ""))
    short = _SHORT.fullmatch(digits)
    example = int(short[1]) * _TIMES[short[2].lower()] if short else 2_000_000
    raise InputError(f"{what} {text!r}: give a whole number, 0 or more, in digits: {example:,} or {example}")


class Whole(click.ParamType[int]):
    """A whole number on the command line, its thousands grouped or not."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        return whole_number(value, param.opts[0] if param is not None else "N")


def _names(ctx: click.Context, param: click.Parameter, given: str | None) -> tuple[str, ...] | None:
    """`gpt-4o*,o3-mini` as names; '' is none."""
    if given is None:
        return None
    names = tuple(filter(None, (name.strip() for name in given.split(","))))
    if given and not names:
        raise click.BadParameter(f"{given!r} names no model: name them as in gpt-4o*,o3-mini, or leave --models out")
    return names


def budget_options(function: Decorated) -> Decorated:
    """A budget as SCOPE and options."""
    for decorate in reversed((
        click.argument("scope", required=False),
        click.option("--usd", metavar="AMOUNT", help="The limit in US dollars."),
        click.option("--tokens", type=Whole(), metavar="N", help="The limit in tokens."),
        click.option("--calls", type=Whole(), metavar="N", help="The limit in calls."),
        click.option("--per", type=click.Choice(WINDOWS), help="The window. Default: day."),
        click.option("--tz", help="The time zone of days, weeks and months. Default: UTC."),
        click.option("--mode", type=click.Choice(MODES),
                     help="hard (the default) denies, soft lets pass and alerts, shadow only notes."),
        click.option("--on-exceed", metavar="WHAT",
                     help="deny (the default), ask (see `farthing approvals`), or downgrade:MODEL."),
        click.option("--on-unpriced", type=click.Choice(("deny", "allow")),
                     help="What becomes of calls whose price nobody knows. Default: deny."),
        click.option("--thresholds", metavar="PERCENTS",
                     help="Percents of the limit at which an alert is raised. Default: 80,100."),
        click.option("--models", metavar="NAMES", callback=_names,
                     help="The only models that may be called, e.g. gpt-4o*,o3-mini; '' for all."),
        click.option("--name", help="Its name. Default: made of scope, unit and window."),
        click.option("--owner", help="Who answers for it; '' for nobody."),
        click.option("--critical/--ordinary", default=None,
                     help="Whether its agents are spared by `agents pause --noncritical`."),
        org_option,
    )):  # fmt: skip
        function = decorate(function)
    return function


def budget_of_options(guard: Guard, scope: str | None, given: dict[str, Any]) -> Budget:
    """The budget that SCOPE and options mean; what they leave unsaid is as the present one of its name has it.

    Where --name names one that is set, its scope, window and limit may be left unsaid, too. What cannot be: InputError.
    """
    org = one_org(scope or "*", given["org"])
    if given["name"] and (present := guard.get(given["name"], org)) is not None:
        return changed(guard, present, scope, given)
    if _kind_said(given) is None:
        raise InputError(_limits_nothing(guard, scope, org))
    fresh = _made(guard, scope, given)
    return _as_before(fresh, guard.get(fresh.name, fresh.org), given)


def changed(guard: Guard, present: Budget, scope: str | None, given: dict[str, Any]) -> Budget:
    """A budget that is set, with what SCOPE and options say otherwise; its name stays."""
    said = _as_before(_made(guard, scope, given), present, given)
    limited = any(given[unit] is not None for unit in LIMITS)
    if not limited and present.limit is None and not said.models:
        raise InputError(f"budget {present.name!r} would limit nothing: {_WAYS}")
    return replace(
        said,
        name=present.name,
        org=present.org,
        scope=present.scope if scope is None else said.scope,
        window=present.window if given["per"] is None else said.window,
        unit=said.unit if limited else present.unit,
        limit=said.limit if limited else present.limit,
    )


def tried_of_options(guard: Guard, scope: str | None, given: dict[str, Any]) -> Budget:
    """The budget that is to be tried: one that is set, by its name or scope, or another, or the one as the other."""
    wanted, kind = scope or "everything", _kind_said(given)
    org = one_org(wanted, given["org"])
    present = [budget for budget in fitting(guard, wanted) if budget.org == (org or "default")]
    if kind is not None and any(budget.name != wanted for budget in present):
        present = [budget for budget in present if kind == _kind(budget) and given["per"] in (None, budget.window)]
    if given["name"] is None and len(present) == 1:
        tried = changed(guard, present[0], None, given)
        return replace(tried, name=made_name(tried)) if present[0].name == made_name(present[0]) else tried
    if given["name"] is None and kind is None:
        try:
            meant(guard, wanted, given["org"])
        except InputError as error:
            raise InputError(f"{error}. To try another, {_WAYS}") from None
    return budget_of_options(guard, scope, given)


def preset_of_options(guard: Guard, kind: str, scope: str | None, given: dict[str, Any]) -> list[Budget]:
    """The budgets of an agent type; of those that are set already, what is not said stays."""
    name, equals, agent = (scope or "*").partition("=")
    if name.strip() != "agent" or not equals or "," in agent:
        raise InputError(f"scope {scope or '*'!r}: a preset is for one agent: agent=researcher --preset {kind}")
    fixed = (*LIMITS, "per", "models", "name")
    if any(given[word] is not None for word in fixed):
        options = ", ".join(f"--{word}" for word in fixed[:-1])
        raise InputError(f"--preset has its own limits, windows and names: leave {options} and --name out")
    wanted = preset(kind).budgets(agent.strip(), **_said(given))
    return [_as_before(budget, guard.get(budget.name, budget.org), given) for budget in wanted]


def _kind(budget: Budget) -> str:
    return "models" if budget.limit is None else budget.unit


def _kind_said(given: dict[str, Any]) -> str | None:
    """The unit that is limited, or `models`, or nothing."""
    units = [unit for unit in LIMITS if given[unit] is not None]
    return units[0] if units else "models" if given["models"] else None


def _limits_nothing(guard: Guard, scope: str | None, org: str | None) -> str:
    words = f"a budget of {scope or 'everything'!r} limits nothing: {_WAYS}"
    present = [one for one in fitting(guard, scope or "everything") if one.org == (org or "default")]
    if len(present) != 1:
        return words
    return f"{words}; what is set already is changed by its name: --name {present[0].name!r}"


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were said, as `make_budget` has them; without scope, limit, window and name."""
    words = {name: given[name] for name in (*_KEPT, "org") if given[name] is not None}
    if "thresholds" in words:
        words["thresholds"] = shares(words["thresholds"])
    if "owner" in words:
        words["owner"] = words["owner"] or None
    return words


def _made(guard: Guard, scope: str | None, given: dict[str, Any]) -> Budget:
    """A budget of what was said; where it limits nothing, of no calls."""
    words = _said(given) | {unit: given[unit] for unit in LIMITS if given[unit] is not None}
    if "usd" in words:
        words["usd"] = plain_amount(words["usd"], "--usd")
    if not words.get("models") and not any(unit in words for unit in LIMITS):
        words["calls"] = 0
    covered = "*" if scope in (None, "everything") else scope
    return guard.make(covered, **words, name=given["name"], per=given["per"] or "day")


def _as_before(fresh: Budget, present: Budget | None, given: dict[str, Any]) -> Budget:
    if present is None:
        return fresh
    return replace(fresh, **{name: getattr(present, name) for name in _KEPT if given[name] is None})


def shares(percents: str) -> list[Decimal]:
    """`80,100` as fractions of a limit."""
    found = []
    for text in filter(None, (part.strip().rstrip("%").strip() for part in percents.split(","))):
        try:
            percent = Decimal(text)
        except ArithmeticError:
            raise click.BadParameter(f"{text!r} is no number", param_hint="--thresholds") from None
        if not percent.is_finite() or not 1 <= percent <= _HIGHEST_PERCENT:
            words = f"{text!r}: must be percents of the limit, from 1 to {_HIGHEST_PERCENT}, e.g. 80,100"
            raise click.BadParameter(words, param_hint="--thresholds")
        found.append(percent / 100)
    return found
