"""Whether an agent or a task that somebody names is one that the ledger knows: a mistyped one must not look so."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from farthing.ledger.store import Filter, Question, Store
from farthing.reports.text import of_org


def unknown_agent(store: Store, agent: str, org: str) -> str | None:
    """What is said where no call of an agent of this name is in the ledger; None: there is one."""
    keys = {(str(row.key[0]), row.key[1]) for row in store.totals(Question(by=("org", "agent"), sums=()))}
    if (org, agent) in keys:
        return None
    elsewhere = sorted(whose for whose, name in keys if name == agent)
    mates = [name for whose, name in keys if whose == org and name is not None]
    return f"no call of an agent {of_org(repr(agent), org)} is in the ledger{_instead(agent, mates, elsewhere)}"


def unknown_task(store: Store, task: str, org: str) -> str | None:
    """What is said where no call of this task is in the ledger; None: there is one."""
    rows = store.totals(Question(by=("org",), where=Filter(equals={"task": task}), sums=()))
    orgs = sorted(str(row.key[0]) for row in rows)
    if org in orgs:
        return None
    return f"no call of a task {of_org(repr(task), org)} is in the ledger{_instead(task, (), orgs)}"


def not_so(did: str, name: str, org: str, *, mates: Iterable[str], elsewhere: Iterable[str]) -> str:
    """What is said of one that is not paused or killed; `mates` of its organisation are, or its like `elsewhere`."""
    return f"{of_org(name, org)} is not {did}{_instead(name, mates, sorted(elsewhere))}"


def _instead(name: str, mates: Iterable[str], elsewhere: Iterable[str]) -> str:
    if orgs := list(elsewhere):
        whose = " and ".join("the default organisation" if org == "default" else org for org in orgs)
        return f"; there is one of {whose}: say {' or '.join(f'--org {org}' for org in orgs)}"
    near = difflib.get_close_matches(name, sorted(mates), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
