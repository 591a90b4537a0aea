"""What the commands about budgets share: the ledger's guard, who gives the word, budgets as options."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import click

from farthing.budgets.desk import budget_as_stored
from farthing.budgets.guard import Guard
from farthing.cli.frame import App
from farthing.errors import InputError
from farthing.ledger.store import Store
from farthing.policy import MODES, Budget, scope_of
from farthing.tracker import CostTracker
from farthing.windows import WINDOWS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_SHORT = re.compile(r"([0-9]{1,9})([kKmM])")
_TIMES = {"k": 1000, "m": 1_000_000}


@contextmanager
def guard_of(app: App) -> Iterator[tuple[Guard, Store]]:
    """The budgets of the ledger, and the ledger."""
    with app.store(may_be_new=True) as store:
        hashed = CostTracker(ledger=store).hashed_user if app.settings.hash_users else None
        guard = Guard(lambda: store)
        guard.make = partial(budget_as_stored, hashed)
        yield guard, store


def whoever() -> str | None:
    """The name that the system knows this user by."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user on this machine
        return None


by_option = click.option("--by", default=whoever, help="Who does it. Default: the name you are logged in with.")
reason_option = click.option("--reason", help="Why, for the history.")


def _org(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    if given is not None and not given.strip():
        raise click.BadParameter(f"{given!r}: name an organisation, or leave --org out for the one that needs no name")
    return given


org_option = click.option("--org", callback=_org, help="Of this organisation. Default: the one that needs no name.")


def one_org(scope: str, org: str | None) -> str | None:
    """The organisation that SCOPE or --org names; None: neither. InputError where they name two."""
    try:
        said = scope_of(scope).get("org")
    except InputError:  # no scope, but a budget's name
        said = None
    if said is not None and org not in (None, said):
        raise InputError(f"scope {scope!r} is of organisation {said!r}, and --org says {org!r}: say one of them")
    return said or org


def meant(guard: Guard, wanted: str, org: str | None) -> Budget:
    """The budget meant, by its name or by its scope where that names one. Else InputError."""
    if not wanted.strip():
        raise InputError(f"name {wanted!r}: say which budget, by its name or its scope")
    org = one_org(wanted, org)
    everywhere = fitting(guard, wanted)
    found = [budget for budget in everywhere if budget.org == (org or "default")]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"several budgets are called {wanted!r}: there are {_names(found)}")
    of_whom = "" if org is None else f" of {org}"
    if elsewhere := sorted({budget.org for budget in everywhere}):
        says = " or ".join(f"--org {one if one != '*' else repr(one)}" for one in elsewhere)
        raise InputError(
            f"no budget{of_whom or ' of the default organisation'} is called {wanted!r}, "
            f"but {' and '.join(elsewhere)} {'has' if len(elsewhere) == 1 else 'have'} one: use {says}"
        )
    raise InputError(f"no budget{of_whom} is called {wanted!r}: there are {_names(guard.budgets(org or 'default'))}")


def _names(budgets: Sequence[Budget]) -> str:
    return ", ".join(repr(budget.name) for budget in budgets) or "none"


def fitting(guard: Guard, wanted: str) -> list[Budget]:
    """The budgets of all organisations that have this name, or else this scope."""
    present = guard.budgets()
    scopes = scopes_of(guard, wanted)
    return [b for b in present if b.name == wanted] or [b for b in present if b.scope_text in scopes]


def scopes_of(guard: Guard, wanted: str) -> tuple[str, ...]:
    """A scope as budgets of the ledger have it, be its fields in whatever order, and `everything` as tables say it."""
    if wanted == "everything":
        return ("*",)
    try:
        return (wanted, guard.make(wanted, calls=0).scope_text)
    except InputError:  # no scope
        return (wanted,)


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


def budget_options(function: Decorated) -> Decorated:
    """A budget as SCOPE and options."""
    for decorate in (
        click.argument("scope", default="*"),
        click.option("--name", help="Its name. Default: made of scope, unit and window."),
        click.option("--usd", metavar="AMOUNT", help="The limit in US dollars."),
        click.option("--tokens", type=Whole(), metavar="N", help="The limit in tokens."),
        click.option("--calls", type=Whole(), metavar="N", help="The limit in calls."),
        click.option("--per", type=click.Choice(WINDOWS), default="day", show_default=True, help="The window."),
        click.option("--tz", default="UTC", show_default=True, help="The time zone of days, weeks and months."),
        click.option("--mode", type=click.Choice(MODES), default="hard", show_default=True,
                     help="hard denies, soft lets pass and alerts, shadow only notes."),
        click.option("--on-exceed", default="deny", show_default=True, metavar="WHAT",
                     help="deny, ask (see `farthing approvals`), or downgrade:MODEL."),
        click.option("--on-unpriced", type=click.Choice(("deny", "allow")), default="deny", show_default=True,
                     help="What becomes of calls whose price nobody knows."),
        click.option("--thresholds", default="80,100", show_default=True, metavar="PERCENTS",
                     help="Percents of the limit at which an alert is raised."),
        click.option("--models", metavar="NAMES", help="The only models that may be called, e.g. gpt-4o*,o3-mini."),
        click.option("--owner", help="Who answers for it."),
        click.option("--critical", is_flag=True, help="Its agents are spared by `agents pause --noncritical`."),
        org_option,
    ):  # fmt: skip
        function = decorate(function)
    return function


def budget_of_options(make: Callable[..., Budget], scope: str, given: dict[str, Any]) -> Budget:
    """The budget that the options mean, made by `make`. What cannot be: InputError."""
    one_org(scope, given["org"])
    words = {
        name: given[name] for name in ("usd", "tokens", "calls", "name", "owner", "org") if given[name] is not None
    }
    if "usd" in words:
        words["usd"] = plain_amount(words["usd"], "--usd")
    models = tuple(filter(None, (name.strip() for name in (given["models"] or "").split(","))))
    return make(
        scope,
        **words,
        per=given["per"],
        tz=given["tz"],
        mode=given["mode"],
        on_exceed=given["on_exceed"],
        on_unpriced=given["on_unpriced"],
        thresholds=shares(given["thresholds"]),
        models=models,
        critical=given["critical"],
    )


def shares(percents: str) -> list[Decimal]:
    """`80,100` as fractions of a limit."""
    found = []
    for text in filter(None, (part.strip().rstrip("%") for part in percents.split(","))):
        try:
            percent = Decimal(text)
        except ArithmeticError:
            raise click.BadParameter(f"{text!r} is no number", param_hint="--thresholds") from None
        if 0 < percent < 1:
            raise click.BadParameter(f"{text!r}: must be percents from 1 on, e.g. 80,100", param_hint="--thresholds")
        found.append(percent / 100)
    return found
