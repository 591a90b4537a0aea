"""Pausing agents and killing tasks, seen by every process of the ledger within a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime

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


_CANCELLED: weakref.WeakKeyDictionary[asyncio.Task[object], set[Control]] = weakref.WeakKeyDictionary()
"""What was cancelled by which word: once, however many trackers of the process look at one ledger."""


class RunningTasks:
    """asyncio tasks and the tasks they work for, so that killing one of these cancels them; a thread looks while there
    are any."""

    def __init__(self, people: People) -> None:
        self._people = weakref.ref(people)
        self._watched = False
        self.after_fork()

    def after_fork(self) -> None:
        """The tasks and the thread are the parent's."""
        self._lock = threading.RLock()
        # Of each asyncio task the tasks it works for: their organisation, and whether it is inside their block.
        self._running: weakref.WeakKeyDictionary[asyncio.Task[object], dict[str, tuple[str, bool]]] = (
            weakref.WeakKeyDictionary()
        )
        self._thread: threading.Thread | None = None

    def note(self, who: Attribution, frame: scopes.Frame | None = None) -> None:
        """The asyncio task that is running, if any, works for the task of `who`. One that was killed before is told so
        by its calls.

        frame: the block, where one is being entered. Outside a block it works for the task of its latest call alone.
        """
        people = self._people()
        if who.task is None or people is None or (running := running_now()) is None:
            return
        if people.known().kill_of(who.org, who.task) is not None:
            return
        inside = _inside(frame or scopes.current(), who.task)
        with self._lock:
            known = self._running.setdefault(running, {})
            if known.get(who.task) == (who.org, inside):
                return
            for other in () if inside else [task for task, (_, block) in known.items() if not block]:
                del known[other]
            known[who.task] = (who.org, inside)
            if not self._watched:  # who leaves the task's block works for it no more
                self._watched = True
                watcher = _Watcher(weakref.ref(self))
                watcher.stop = scopes.watch(watcher)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="farthing-tasks", daemon=True)
                self._thread.start()

    def forget(self, task: str) -> None:
        """The asyncio task that is running works for it no more."""
        if (running := running_now()) is not None:
            with self._lock:
                self._running.get(running, {}).pop(task, None)

    def look(self) -> None:
        """Cancels what works for a killed task, once: what it does then to end well is left alone."""
        people = self._people()
        if people is None:
            return
        known = people.known()
        doomed = []
        with self._lock:
            for running, tasks in list(self._running.items()):
                for task, (org, _) in list(tasks.items()):
                    if running.done():
                        del tasks[task]
                    elif (word := known.kill_of(org, task)) is not None:
                        del tasks[task]
                        doomed.append((running, word))
        for running, word in doomed:
            before = _CANCELLED.setdefault(running, set())
            loop = running.get_loop()
            if word not in before and not loop.is_closed():
                before.add(word)
                loop.call_soon_threadsafe(running.cancel, str(killed(word)))

    def _run(self) -> None:
        while True:
            time.sleep(FRESH_S)
            with self._lock:
                if not any(self._running.values()) or self._people() is None:
                    self._thread = None
                    return
            self.look()


def _inside(frame: scopes.Frame | None, task: str) -> bool:
    """Whether the place is in a block of the task."""
    return frame is not None and any(outer.attribution.task == task for outer in frame.around())


class _Watcher:
    """Tells running tasks of the blocks that are left, for as long as somebody wants to know."""

    def __init__(self, tasks: weakref.ref[RunningTasks]) -> None:
        self._tasks = tasks
        self.stop: Callable[[], None] = lambda: None

    def entered(self, frame: scopes.Frame) -> None:
        """A block was entered."""

    def left(self, frame: scopes.Frame, error: BaseException | None) -> None:
        """A block was left."""
        tasks, task = self._tasks(), frame.attribution.task
        if tasks is None:
            self.stop()
        elif task is not None and not _inside(frame.parent, task):
            tasks.forget(task)
