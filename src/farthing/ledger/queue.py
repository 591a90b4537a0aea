"""Two ways to share commits: a queue that a thread writes (`queued`), and one commit for all who wait (`full`)."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import islice

from farthing.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerFull, LedgerUnavailable
from farthing.ledger.rows import Prepared
from farthing.ledger.store import Outcome

LIMIT = 10_000
"""Entries that wait at most: then `put` waits for room."""
LOT = 1000
"""Entries of one transaction."""
RETRY_S = 1.0
"""How long the thread waits after a failure before it tries again."""
IDLE_S = 10.0
"""How long a thread without work stays: a ledger that is dropped unclosed leaves none behind."""

_PASSING = (LedgerFull, LedgerBusy, LedgerUnavailable, LedgerCorrupt)
"""Failures that are no fault of the entries: they are kept and tried again."""

Write = Callable[[list[Prepared]], list[Outcome]]

_log = logging.getLogger("farthing.ledger")
_open: weakref.WeakSet[Queue] = weakref.WeakSet()


class Queue:
    """A bounded queue with a thread that writes it. Nothing is dropped while it can still be written.

    While writing fails (a full disk), entries wait and are tried again; when no more fit, `put` raises the reason.
    What an entry's own fault keeps out of the ledger is counted in `lost`, with a fault and a line in the log.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self.lost = 0
        self.faults = 0
        self.last_fault: str | None = None
        self._fresh()
        _open.add(self)

    def _fresh(self) -> None:
        self._turn = threading.Condition()
        self._entries: deque[Prepared] = deque()
        self._accepted = 0
        self._done = 0
        self._failure: LedgerError | None = None
        self._idle = False
        self._stop = False
        self._thread: threading.Thread | None = None
        self._finalized = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Prepared) -> None:
        """Accept an entry; waits while the queue is full. LedgerError where it is full and cannot be written."""
        with self._turn:
            while len(self._entries) >= LIMIT:
                if self._failure is not None:
                    raise self._failure
                self._turn.wait()
            self._entries.append(entry)
            self._accepted += 1
            if self._thread is None:
                self._start()
            elif self._idle:
                self._turn.notify_all()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="farthing-writer", daemon=True)
        self._thread.start()
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._finalized:
            self._finalized = True  # a process of multiprocessing ends without atexit
            util.Finalize(None, _at_exit, exitpriority=10)

    def _run(self) -> None:
        while True:
            with self._turn:
                while not self._entries:
                    if self._stop:
                        return
                    self._idle = True
                    if not self._turn.wait(IDLE_S) and not self._entries:
                        self._thread = None
                        return
                self._idle = False
                lot = list(islice(self._entries, LOT))
            failure = self._try(lot)
            with self._turn:
                self._failure = failure
                if failure is None:
                    for _ in lot:
                        self._entries.popleft()
                    self._done += len(lot)
                self._turn.notify_all()
                if failure is not None:
                    if self._stop:
                        return
                    self._turn.wait(RETRY_S)

    def _try(self, lot: list[Prepared]) -> LedgerError | None:
        """Write the lot. The error where it is to be tried again; entries that can never be written are counted."""
        try:
            self._write(lot)
        except _PASSING as error:
            self._count(error, 0)
            return error
        except LedgerError as error:
            if len(lot) == 1:
                self._count(error, 1)
                return None
            for entry in lot:
                if (failure := self._try([entry])) is not None:
                    return failure  # those written already will be found to be duplicates
        return None

    def _count(self, error: LedgerError, lost: int) -> None:
        if str(error) != self.last_fault:
            _log.error("%s%s", "an event is lost: " if lost else "events wait: ", error)
        self.faults += 1
        self.lost += lost
        self.last_fault = str(error)

    def flush(self) -> None:
        """Returns when all that was accepted before has been written. LedgerError where it cannot be, for now."""
        with self._turn:
            until, faults = self._accepted, self.faults
            self._turn.notify_all()
            while self._done < until:
                if self._failure is not None and self.faults > faults:
                    raise self._failure
                self._turn.wait()

    def close(self) -> None:
        """Flush and end the thread. LedgerError where entries could not be written: its `lost` counts them."""
        try:
            self.flush()
        except LedgerError as error:
            error.lost = len(self)
            raise
        finally:
            with self._turn:
                self._stop = True
                self._turn.notify_all()
            if self._thread is not None:
                self._thread.join(timeout=30.0)
            self._thread = None
            if self._entries:
                self.lost += len(self._entries)
                _log.error("%d events are lost: %s", len(self._entries), self.last_fault)
                self._entries.clear()

    def after_fork_in_child(self) -> None:
        """What waits is the parent's, and so is the thread."""
        self._fresh()


def _at_exit() -> None:
    for queue in list(_open):
        try:
            queue.flush()
        except LedgerError as error:
            _log.error("%d events are lost at exit: %s", len(queue), error)


atexit.register(_at_exit)


class _Ticket:
    __slots__ = ("done", "entry", "error", "outcome")

    def __init__(self, entry: Prepared) -> None:
        self.entry = entry
        self.outcome: Outcome = "added"
        self.error: LedgerError | None = None
        self.done = False


class Group:
    """Writes what all waiting threads bring in one transaction: they share the wait for the disk."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Who waits is in the parent."""
        self._lock = threading.RLock()
        self._waiting: deque[_Ticket] = deque()

    def write(self, entry: Prepared) -> Outcome:
        """Returns when the entry is kept; what became of it."""
        ticket = _Ticket(entry)
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:
                self._write_waiting()
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcome

    def _write_waiting(self) -> None:
        tickets = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            for ticket, outcome in zip(tickets, self._write([t.entry for t in tickets]), strict=True):
                ticket.outcome = outcome
        except LedgerError as error:
            if len(tickets) == 1 or isinstance(error, _PASSING):
                for ticket in tickets:
                    ticket.error = error
            else:
                self._one_by_one(tickets)
        finally:
            for ticket in tickets:
                ticket.done = True

    def _one_by_one(self, tickets: list[_Ticket]) -> None:
        """One entry's fault is not the others'."""
        for ticket in tickets:
            try:
                (ticket.outcome,) = self._write([ticket.entry])
            except LedgerError as error:
                ticket.error = error
