"""A thread that moves pages from the write-ahead log into the file, so that callers never do and it stays small."""

from __future__ import annotations

import contextlib
import threading

from farthing.errors import LedgerBusy, LedgerError
from farthing.ledger import forks
from farthing.ledger.engine import Database

PAGE = 4096
PASSIVE_PAGES = 2000
"""From this length on (8 MB) pages are moved while writers go on."""
RESTART_PAGES = 8000
"""From this length on (32 MB) writers wait for the last pages, so that the log starts again from its beginning."""
MOST_PAGES = (64 << 20) // PAGE
"""The length that writers of many rows do not pass: they wait for the thread."""
_PATIENCE_S = 0.02
"""How long readers of an older state may hold up a restart, during which writers wait."""
_IDLE_S = 10.0
"""How long a thread without work stays: a ledger that is dropped unclosed leaves none behind."""


class Checkpointer:
    """Told now and then how long it is; starts its thread when there is something to do for the first time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.faults = 0
        self.last_fault: str | None = None
        self._fresh()

    def _fresh(self) -> None:
        self.pages = 0
        self._next = PASSIVE_PAGES
        self._wake = threading.Event()
        self._rested = threading.Event()
        self._gate = threading.Lock()
        self._held = False
        self._stop = False
        self._database: Database | None = None
        self._thread: threading.Thread | None = None

    def measure(self, database: Database) -> None:
        """Look how long the log is. A hook of SQLite would cost each commit more than this now and then."""
        try:
            self._has_grown(database.log_pages())
        except LedgerError as error:  # no fault of the commit, which is done
            self.faults += 1
            self.last_fault = str(error)

    def _has_grown(self, pages: int) -> None:
        self.pages = pages
        if pages < PASSIVE_PAGES:
            self._next = PASSIVE_PAGES
        elif pages >= self._next:
            self._next = pages + PASSIVE_PAGES
            self._rested.clear()
            self._wake.set()
            if self._thread is None and not self._stop:
                self._thread = threading.Thread(target=self._run, name="farthing-checkpoint", daemon=True)
                self._thread.start()

    def wait_for_room(self, patience_s: float = 1.0) -> None:
        """Return when the log is well below its bound, or after `patience_s`: a reader can hold it up."""
        if self.pages > MOST_PAGES // 2 and self._thread is not None:
            self._rested.wait(patience_s)

    def close(self) -> None:
        """End the thread."""
        self._stop = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10.0)

    def _run(self) -> None:
        while True:
            busy = self._wake.wait(_IDLE_S)
            self._wake.clear()
            with self._gate:
                if self._stop or not busy:
                    self._thread = None
                    self._let_go()
                    return
                self._work()
            self._rested.set()

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(LedgerError):  # what is wrong with the file, the writer will say
                database.close()

    def _work(self) -> None:
        try:
            if self._database is None:
                self._database = Database(self._path, patience_s=_PATIENCE_S)
            length, _moved = self._database.checkpoint("passive")
            if length >= RESTART_PAGES:
                self._database.checkpoint("restart")
        except LedgerBusy:
            pass  # another process is at it, or readers hold an older state: the next commits wake us again
        except LedgerError as error:
            self.faults += 1
            self.last_fault = str(error)

    def before_fork(self) -> None:
        """Wait until the thread is outside of SQLite."""
        self._held = self._gate.acquire(timeout=forks.HOLD_S)

    def after_fork_in_parent(self) -> None:
        """Let the thread go on."""
        if self._held:
            self._gate.release()

    def after_fork_in_child(self) -> None:
        """The thread has stayed with the parent."""
        forks.keep_for_ever(self._database)
        self._fresh()
