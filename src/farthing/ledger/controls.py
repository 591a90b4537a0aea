"""Who may not go on: agents that are paused, tasks that were killed. The newest word about a name holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from farthing.ledger.engine import Database

Action = Literal["pause", "resume", "kill", "critical", "ordinary"]
GENERATION = "SELECT value FROM ledger_meta WHERE key = 'controls'"
NEWEST = """
SELECT org, kind, name, action, at_us, until_us, "by", reason FROM controls c
WHERE seq = (SELECT max(seq) FROM controls n WHERE n.org = c.org AND n.kind = c.kind AND n.name = c.name)
"""
ALL_ORDINARY = "*"
"""The name under which all agents that are not critical are paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A word about an agent or task. kind: `agent`, `task` or `rank` (whether an agent is critical)."""

    org: str
    kind: str
    name: str
    action: Action
    at_us: int
    until_us: int | None = None
    by: str | None = None
    reason: str | None = None


def say(database: Database, control: Control) -> None:
    """Keep a word about an agent or task; other processes see it when they next look."""
    database.execute(
        'INSERT INTO controls (at_us, org, kind, name, action, until_us, "by", reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
        (
            control.at_us,
            control.org,
            control.kind,
            control.name,
            control.action,
            control.until_us,
            control.by,
            control.reason,
        ),
    )
    database.execute("UPDATE ledger_meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'controls'")


class Controls:
    """The newest words, ready to be asked of each call."""

    def __init__(self, rows: Sequence[Sequence[Any]] = ()) -> None:
        self._said: dict[tuple[str, str, str], Control] = {}
        for org, kind, name, action, at_us, until_us, by, reason in rows:
            self._said[org, kind, name] = Control(
                org=org, kind=kind, name=name, action=action, at_us=at_us, until_us=until_us, by=by, reason=reason
            )

    def __bool__(self) -> bool:
        return bool(self._said)

    def all(self) -> list[Control]:
        """Every newest word."""
        return list(self._said.values())

    def is_critical(self, org: str, agent: str) -> bool:
        """Whether the agent was said to be critical."""
        rank = self._said.get((org, "rank", agent))
        return rank is not None and rank.action == "critical"

    def pause_of(self, org: str, agent: str | None, now_us: int, *, critical: bool = False) -> Control | None:
        """The pause that holds for an agent's call, if any. An agent that was resumed by name is not paused by `*`."""
        own = None if agent is None else self._said.get((org, "agent", agent))
        if own is not None and own.action == "pause" and not _over(own, now_us):
            return own
        every = self._said.get((org, "agent", ALL_ORDINARY))
        if every is None or every.action != "pause" or _over(every, now_us):
            return None
        if critical or (agent is not None and self.is_critical(org, agent)):
            return None
        if own is not None and own.action == "resume" and own.at_us >= every.at_us:
            return None
        return every

    def kill_of(self, org: str, task: str | None) -> Control | None:
        """The killing of a task, if it was killed."""
        found = None if task is None else self._said.get((org, "task", task))
        return found if found is not None and found.action == "kill" else None


def _over(control: Control, now_us: int) -> bool:
    return control.until_us is not None and control.until_us <= now_us
