"""A thread that seals older rows and merges small segments, so that the table stays small and nobody waits for it.

A process that ends while one of its threads is inside DuckDB is aborted, and the child of one that forks then may hang.
So the thread is stopped before, amid a seal if need be: what has been sealed is sealed, the rest stays where it is.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref

from farthing.errors import LedgerBusy, LedgerError
from farthing.event import now_us
from farthing.ledger import duck, forks
from farthing.ledger.engine import Database
from farthing.ledger.merge import merge
from farthing.ledger.seal import KEPT_ROWS, seal
from farthing.ledger.segments import folder_of, sweep, upkeep

SEAL_ROWS = 16_000
"""So many rows in the table are worth sealing the older ones,"""
AT_ONCE_ROWS = 256_000
"""at once, from so many on; below it the sealer waits until nothing has been written for a moment."""
OLD_ROWS = 4_000
OLD_US = 24 * 3_600_000_000
"""So many rows of which the first was recorded so long ago are worth it as well."""
SETTLED_S = 10.0
"""A store that has been open for so long is one of a process that stays."""
_ASK_EVERY = 4_000
_QUIET_S = 0.5
_IDLE_S = 10.0
EXIT_S = 10.0
"""How long the end of the process waits for the thread, which ends at its next step or when DuckDB has been stopped."""
_STOP_EVERY_S = 0.02

_open: weakref.WeakSet[Sealer] = weakref.WeakSet()


class _Stopped(LedgerError):
    """The process ends or forks: to be gone on with later."""


class Sealer:
    """Told of rows that were added or seen; starts its thread when there may be something to do."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.faults = 0
        self.last_fault: str | None = None
        self._fresh()
        _open.add(self)

    def _fresh(self) -> None:
        self._all = 0
        self._looked = 0
        self._since = time.monotonic()
        self._wake = threading.Event()
        self._gate = threading.Lock()
        self._held = False
        self._stop = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def added(self, rows: int) -> None:
        """So many rows have been committed."""
        before = self._all
        self._all += rows
        if before // _ASK_EVERY != self._all // _ASK_EVERY:
            self._start()

    def seen(self, rows: int) -> None:
        """A reader has found so many rows in the table. Who only looks in, as a report does, is not kept waiting."""
        if rows >= SEAL_ROWS and time.monotonic() - self._since > SETTLED_S:
            self._start()

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None and not self._stop:
            self._thread = threading.Thread(target=self._run, name="farthing-sealer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending
                self._thread = None

    def close(self) -> None:
        """End the thread, after what it is doing. Who has recorded very much leaves it sealed."""
        self._stop = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=30.0)
        if self._all >= AT_ONCE_ROWS and not self._stopping.is_set():
            self._looked = self._all
            self._work()
            self._all = 0

    def leave(self, until: float) -> None:
        """At exit: end the thread amid what it is doing, until this moment of `time.monotonic` at most."""
        self._stop = True
        self._stopping.set()
        self._wake.set()
        thread = self._thread
        while thread is not None and thread.is_alive() and time.monotonic() < until:
            self._interrupt()
            thread.join(_STOP_EVERY_S)

    def _interrupt(self) -> None:
        thread = self._thread
        if thread is not None and thread.ident is not None:
            duck.interrupt(thread.ident)

    def _step(self, _name: str) -> None:
        if self._stopping.is_set():
            raise _Stopped("the process ends or forks amid sealing")

    def _run(self) -> None:
        while True:
            woken = self._wake.wait(_IDLE_S)
            with self._gate:
                if self._stop or not woken:
                    self._thread = None
                    return
                self._wake.clear()
                again = self._work()
            if again:
                self._stopping.wait(_QUIET_S)
                self._wake.set()

    def _work(self) -> bool:
        """Seal what is due. Whether to look again soon: it is due, but somebody is writing."""
        try:
            database = Database(self._path)
        except LedgerError:
            return False  # what is wrong with the file, the writer will say
        try:
            waiting = _waiting(database)
            if not waiting:
                return False
            if waiting < AT_ONCE_ROWS and self._all != self._looked:
                self._looked = self._all
                return True
            with upkeep(self._path):
                seal(database, step=self._step)
                merge(database, step=self._step)
                sweep(database, folder_of(self._path))
        except LedgerBusy:
            return False  # another process is at it
        except LedgerError as error:
            if self._stopping.is_set():
                return True
            self.faults += 1
            self.last_fault = str(error)
        finally:
            with contextlib.suppress(LedgerError):
                database.close()
        return False

    def before_fork(self) -> None:
        """Wait until the thread is outside of SQLite."""
        begun = time.monotonic()
        self._stopping.set()
        while not (held := self._gate.acquire(timeout=_STOP_EVERY_S)) and time.monotonic() < begun + forks.HOLD_S:
            if time.monotonic() > begun + forks.HOLD_S / 2:
                self._interrupt()
        self._held = held

    def after_fork_in_parent(self) -> None:
        """Let the thread go on."""
        if not self._stop:
            self._stopping.clear()
        if self._held:
            self._gate.release()

    def after_fork_in_child(self) -> None:
        """The thread has stayed with the parent."""
        self._fresh()


def _waiting(database: Database) -> int:
    """How many rows may be sealed, where that is worth it, else 0."""
    ((first, last, recorded),) = database.rows(
        "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events),"
        " (SELECT recorded_at_us FROM events ORDER BY seq LIMIT 1)"
    )
    if first is None:
        return 0
    rows = int(last - first + 1)
    old = rows >= OLD_ROWS and recorded < now_us() - OLD_US
    return rows - KEPT_ROWS if rows >= SEAL_ROWS or old else 0


def _at_exit() -> None:
    until = time.monotonic() + EXIT_S
    for one in list(_open):
        one.leave(until)


atexit.register(_at_exit)
