"""Pausing agents and killing tasks, seen by every process of the ledger within a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime
from functools import partial

from farthing import scopes
from farthing.budgets.desk import whose
from farthing.budgets.words import killed, paused
from farthing.errors import InputError, LedgerError
from farthing.event import Attribution, to_us
from farthing.ledger.accounts import Accounts
from farthing.ledger.controls import ALL_ORDINARY, Action, Control, Controls

FRESH_S = 0.25
"""How old what is known of pauses and kills may be."""


class People:
    """Who is paused and which tasks are killed, and the words that change it."""

    def __init__(self, accounts: Callable[[], Accounts], now_us: Callable[[], int], org: str | None = None) -> None:
        self._accounts = accounts
        self._now_us = now_us
        self.org = org
        self._known = Controls()
        self._until = 0.0
        self.tasks = RunningTasks(self)

    def pause(
        self,
        agent: str,
        reason: str | None = None,
        *,
        by: str | None = None,
        until: datetime | None = None,
        org: str | None = None,
    ) -> None:
        """From now on every call of the agent raises AgentPausedError, in all processes; until then, or resumed."""
        self._say("agent", agent, "pause", reason, by, until, org)

    def resume(self, agent: str, reason: str | None = None, *, by: str | None = None, org: str | None = None) -> None:
        """The agent may go on, also where all others are paused."""
        self._say("agent", agent, "resume", reason, by, None, org)

    def pause_noncritical(
        self,
        reason: str | None = None,
        *,
        by: str | None = None,
        until: datetime | None = None,
        org: str | None = None,
    ) -> None:
        """Pauses every agent that is not critical, and calls that name no agent."""
        self._say("agent", ALL_ORDINARY, "pause", reason, by, until, org)

    def resume_noncritical(self, reason: str | None = None, *, by: str | None = None, org: str | None = None) -> None:
        """Ends `pause_noncritical`; agents that were paused by name stay so."""
        self._say("agent", ALL_ORDINARY, "resume", reason, by, None, org)

    def kill(self, task: str, reason: str | None = None, *, by: str | None = None, org: str | None = None) -> None:
        """Every further call of the task raises TaskKilledError; what of it runs in asyncio is cancelled."""
        self._say("task", task, "kill", reason, by, None, org)
        self.tasks.look()

    def revive(self, task: str, reason: str | None = None, *, by: str | None = None, org: str | None = None) -> None:
        """Takes a killing back: calls of the task may be made again. What was cancelled stays so."""
        self._say("task", task, "resume", reason, by, None, org)

    def set_critical(
        self,
        agent: str,
        critical: bool = True,
        *,
        owner: str | None = None,
        by: str | None = None,
        org: str | None = None,
    ) -> None:
        """Whether `pause_noncritical` spares the agent, and who answers for it, which its word has as its reason."""
        self._say("rank", agent, "critical" if critical else "ordinary", owner, by, None, org)

    def _say(
        self,
        kind: str,
        name: str,
        action: Action,
        reason: str | None,
        by: str | None,
        until: datetime | None,
        org: str | None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise InputError(f"{'task' if kind == 'task' else 'agent'} = {name!r}: must be its name, as text")
        now_us, until_us = self._now_us(), None if until is None else to_us(until)
        if until_us is not None and until_us <= now_us:
            raise InputError(f"until = {until}: is past already, so nothing would be paused; name a later moment")
        control = Control(
            org=whose(self.org, org) or "default",
            kind=kind,
            name=name,
            action=action,
            at_us=now_us,
            until_us=until_us,
            by=by,
            reason=reason,
        )
        self._accounts().say(control)
        self.refresh()

    def all(self) -> list[Control]:
        """The newest word about each agent and task."""
        self.refresh()
        return [word for word in self.known().all() if self.org in (None, word.org)]

    def refresh(self) -> None:
        """Look anew at the next question."""
        self._until = 0.0

    def known(self) -> Controls:
        """What is known now; read anew when it is older than a quarter of a second. Unreadable: what was known last."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + FRESH_S
            with contextlib.suppress(LedgerError):
                self._known = self._accounts().controls()
        return self._known

    def check(self, who: Attribution, *, critical: Callable[[], bool] = lambda: False) -> None:
        """Raises AgentPausedError or TaskKilledError where a call for these may not be made."""
        known = self.known()
        if not known:
            return
        if (word := known.kill_of(who.org, who.task)) is not None:
            raise killed(word)
        word = known.pause_of(who.org, who.agent, self._now_us())
        if word is not None and not (word.name == ALL_ORDINARY and critical()):
            raise paused(who.agent, word)


def running_now() -> asyncio.Task[object] | None:
    """The asyncio task that is running; None outside event loops."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class RunningTasks:
    """asyncio tasks by the task they work for, so that killing it cancels them; a thread looks while there are any."""

    def __init__(self, people: People) -> None:
        self._people = weakref.ref(people)
        self._watched = False
        self.after_fork()

    def after_fork(self) -> None:
        """The tasks and the thread are the parent's."""
        self._lock = threading.RLock()
        self._running: dict[tuple[str, str], set[asyncio.Task[object]]] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def note(self, who: Attribution) -> None:
        """The asyncio task that is running, if any, works for the task of `who`."""
        if who.task is None or (running := running_now()) is None:
            return
        key = (who.org, who.task)
        with self._lock:
            known = self._running.setdefault(key, set())
            if running in known:
                return
            known.add(running)
            running.add_done_callback(partial(self._done, key))
            if not self._watched:  # who leaves the task's block works for it no more
                self._watched = True
                watcher = _Watcher(weakref.ref(self))
                watcher.stop = scopes.watch(watcher)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="farthing-tasks", daemon=True)
                self._thread.start()

    def forget(self, who: Attribution) -> None:
        """The asyncio task that is running works for it no more."""
        if who.task is not None and (running := running_now()) is not None:
            self._done((who.org, who.task), running)

    def _done(self, key: tuple[str, str], running: asyncio.Task[object]) -> None:
        with self._lock:
            known = self._running.get(key)
            if known is not None:
                known.discard(running)
                if not known:
                    del self._running[key]
        self._wake.set()

    def look(self) -> None:
        """Cancels what works for a killed task, once: what it does then to end well is left alone."""
        people = self._people()
        if people is None:
            return
        known = people.known()
        with self._lock:
            killed_now = [(key, word) for key in self._running if (word := known.kill_of(*key)) is not None]
            doomed = [(one, word) for key, word in killed_now for one in self._running.pop(key)]
        for one, word in doomed:
            loop = one.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(one.cancel, str(killed(word)))

    def _run(self) -> None:
        while True:
            self._wake.wait(FRESH_S)
            self._wake.clear()
            with self._lock:
                if not self._running or self._people() is None:
                    self._thread = None
                    return
            self.look()


class _Watcher:
    """Tells running tasks of the blocks that are left, for as long as somebody wants to know."""

    def __init__(self, tasks: weakref.ref[RunningTasks]) -> None:
        self._tasks = tasks
        self.stop: Callable[[], None] = lambda: None

    def entered(self, frame: scopes.Frame) -> None:
        """A block was entered."""

    def left(self, frame: scopes.Frame, error: BaseException | None) -> None:
        """A block was left."""
        tasks = self._tasks()
        outer = frame.parent
        if tasks is None:
            self.stop()
        elif outer is None or outer.attribution.task != frame.attribution.task:
            tasks.forget(frame.attribution)
