"""What a fork may not break: no thread of ours is inside SQLite at that moment, and the child starts afresh.

A child that used or closed an inherited connection would commit or drop what is its parent's, so it does neither: what
it inherited is kept alive for as long as it runs.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Protocol

HOLD_S = 2.0
"""How long a fork waits for work under way; then it goes on, as a fork without us would."""


class Forkable(Protocol):
    """Something that holds connections or locks."""

    def before_fork(self) -> None:
        """Wait until nothing is under way, and let nothing start."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start afresh: new locks, no connections, nothing queued."""


_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_last: weakref.WeakSet[Forkable] = weakref.WeakSet()
_lock = threading.Lock()
_holding: list[Forkable] = []


def watch(member: Forkable, *, last: bool = False) -> None:
    """From now on tell `member` of forks, for as long as it lives. last: after those that may be at work in it."""
    with _lock:
        (_last if last else _members).add(member)


def keep_for_ever(inherited: object) -> None:
    """Never let it be collected, not even when the interpreter ends: closing a connection writes to its file."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _before() -> None:
    _lock.acquire()
    _holding.extend((*_members, *_last))
    for member in _holding:
        member.before_fork()


def _after_in_parent() -> None:
    for member in _holding:
        member.after_fork_in_parent()
    _holding.clear()
    _lock.release()


def _after_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for member in _holding:
        member.after_fork_in_child()
    _holding.clear()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
