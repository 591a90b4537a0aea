"""What the commands about budgets share: the ledger's guard, who gives the word, which budget is meant."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from farthing.budgets.guard import Guard
from farthing.cli.frame import App
from farthing.errors import InputError
from farthing.ledger.store import Store
from farthing.policy import Budget, scope_of
from farthing.tracker import CostTracker


@contextmanager
def guard_of(app: App, *, may_be_new: bool = False) -> Iterator[tuple[Guard, Store]]:
    """The budgets of the ledger, and the ledger. One that is named and not there: InputError, unless it may be new."""
    with app.store(may_be_new=may_be_new) as store:
        yield CostTracker(ledger=store).guard, store


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
    present, scopes = guard.budgets(), scopes_of(guard, wanted)
    named = {budget.org for budget in present if budget.name == wanted}
    return [b for b in present if b.name == wanted or (b.org not in named and b.scope_text in scopes)]


def scopes_of(guard: Guard, wanted: str) -> tuple[str, ...]:
    """A scope as budgets of the ledger have it, be its fields in whatever order, and `everything` as tables say it."""
    if wanted == "everything":
        return ("*",)
    try:
        return (wanted, guard.make(wanted, calls=0).scope_text)
    except InputError:  # no scope
        return (wanted,)
