"""Work that is done for the host's threads on one of our own: counting calls that have ended, and the ledger's writes.

One daemon thread for the process, started when first needed. Whoever reads a total counts what is uncounted himself, so
that nobody waits for the ledger to know what was spent. What is left at exit is finished there; a forked child starts
with nothing to do, for the parent does it.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from farthing import scopes
from farthing.capture.faults import FAULTS, guarded
from farthing.recording import Entry

LIMIT = 20_000
"""Lots that wait at most; what comes beyond is counted as a fault. A ledger that is locked for hours fills it."""

ROOM = 256
"""Calls that wait to be counted at most; beyond that callers count their own."""

ROOM_BYTES = 64 << 20
"""What the requests and answers of these may come to."""

SMALL_BYTES = ROOM_BYTES // ROOM

COUNTING_PATIENCE_S = 2.0
"""How long a reader waits for the one call that another thread is counting: for ever only if that thread is stuck."""

LOT = 500
"""Entries that one write takes at most."""

AGAIN_S = 0.5
"""How long a ledger that another process does not let go of is left alone before it is tried again."""

PAUSE_S = 0.005
"""How long the thread rests after work, unless somebody waits for it: waking it for each call costs the callers."""

EXIT_PATIENCE_S = 10.0

Write = Callable[[list[Entry]], None]
Work = Callable[[], None]
Item = tuple[Write, list[Entry]] | Work


class Later:
    """A queue of writes and other work, and the thread that does it in order. `put` may be called by a finalizer."""

    def __init__(self) -> None:
        # What is done at exit before the rest is finished.
        self.at_end: list[Work] = []
        self._fresh()

    def _fresh(self) -> None:
        # SimpleQueue is the one queue that may be put into by the collector, amid a put of the same thread.
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._hurry = threading.Event()
        self._uncounted: deque[tuple[int, Work]] = deque()
        self._counting = threading.RLock()
        self._refused: deque[int] = deque()
        self._rest_until = 0.0
        self._ends = False

    # --- calls to be counted -----------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a call with so many bytes may wait to be counted."""
        waiting = len(self._uncounted)
        if size <= SMALL_BYTES:
            return waiting < ROOM
        return waiting < ROOM and size + sum(one for one, _ in tuple(self._uncounted)) <= ROOM_BYTES

    def count(self, work: Work, size: int) -> None:
        """Have `work()`, which counts a call, called soon, and before anybody reads a total."""
        self._uncounted.append((size, work))
        if len(self._uncounted) == 1:  # else somebody is at it already, or is about to be
            self._send(self.catch_up)

    def catch_up(self) -> None:
        """Returns when every call that has ended is counted. It waits for no ledger."""
        waiting = self._uncounted
        while self._counting.acquire(timeout=COUNTING_PATIENCE_S):
            try:
                _, work = waiting.popleft()
                guarded("counting a call", work)
            except IndexError:
                return
            finally:
                self._counting.release()
            if waiting and threading.current_thread() is self._thread:
                time.sleep(0)  # lets go of the interpreter: a thread of the host waits for one call, not for all

    # --- writes and other work ---------------------------------------------------------------------------------------

    def write(self, write: Write, entries: list[Entry]) -> None:
        """Have `write(entries)` called soon; several that use the same `write` become one call."""
        self._put((write, entries))

    def do(self, work: Work) -> None:
        """Have `work()` called soon."""
        self._put(work)

    def again(self, work: Work, entries: int) -> bool:
        """Have a write that could not be made, of so many entries, tried again behind all that waits.

        False: there is no room for it, or the program ends and nobody would try.
        """
        if self._ends or entries + sum(tuple(self._refused)) > LIMIT:
            return False
        self._refused.append(entries)
        self._rest_until = time.monotonic() + AGAIN_S
        self._send(partial(self._try, work))
        return True

    def _try(self, work: Work) -> None:
        self._refused.popleft()
        self._hurry.wait(max(0.0, self._rest_until - time.monotonic()))
        work()

    def _put(self, item: Item) -> None:
        if self._queue.qsize() >= LIMIT:
            FAULTS.add("waiting for the ledger", f"{LIMIT} calls wait already: later ones are not recorded")
            return
        self._send(item)

    def _send(self, item: Item) -> None:
        self._queue.put(item)
        if self._thread is None and self._starting.acquire(blocking=False):
            try:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="farthing-capture", daemon=True)
                    with scopes.within(None):  # it is nobody's, whoever makes the first call
                        self._thread.start()
                        self._at_end_of_worker()
            except RuntimeError:  # the interpreter is ending: `finish` does what is left
                self._thread = None
            finally:
                self._starting.release()

    def _at_end_of_worker(self) -> None:
        """A forked worker of multiprocessing ends by what it knows itself, not by `atexit`."""
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(None, self.finish, exitpriority=0)

    def _run(self) -> None:
        waiting, hurry = self._queue, self._hurry  # this thread's for ever: a forked child has others
        while True:
            self._do(waiting.get(), waiting)
            if waiting.empty():
                hurry.wait(PAUSE_S)

    def _do(self, item: Item, waiting: queue.SimpleQueue[Item]) -> None:
        """One piece of work, with the writes waiting behind it that can be made in one go."""
        while True:
            if not isinstance(item, tuple):
                guarded("work on a thread of its own", item)
                return
            write, entries = item
            rest: Item | None = None
            entries = list(entries)
            while len(entries) < LOT:
                try:
                    rest = waiting.get_nowait()
                except queue.Empty:
                    rest = None
                    break
                if not isinstance(rest, tuple) or rest[0] != write:
                    break
                entries += rest[1]
                rest = None
            guarded("writing to the ledger on a thread of its own", write, entries)
            if rest is None:
                return
            item = rest

    def flush(self, patience_s: float | None = None) -> bool:
        """Wait until all that was put before is done; False where patience ended first."""
        self.catch_up()  # so that what counting leaves to be written is put before `done`
        if self._thread is None or not self._thread.is_alive():
            self._drain()
            return True
        if threading.current_thread() is self._thread:
            return True
        done = threading.Event()
        self._hurry.set()
        self._queue.put(done.set)
        try:
            return done.wait(patience_s)
        finally:
            self._hurry.clear()

    def _drain(self) -> None:
        ends, self._ends = self._ends, True  # nobody would try again
        try:
            while True:
                self._do(self._queue.get_nowait(), self._queue)
        except queue.Empty:
            self._ends = ends

    def finish(self) -> None:
        """At exit: `at_end`, then what waits is done, for as long as patience lasts."""
        for work in self.at_end:
            guarded("work at exit", work)
        self._ends = True
        until = time.monotonic() + EXIT_PATIENCE_S
        if not self.flush(max(0.0, until - time.monotonic())):
            FAULTS.add("writing to the ledger at exit", f"the last calls could not be written in {EXIT_PATIENCE_S:g} s")


LATER = Later()
atexit.register(LATER.finish)
os.register_at_fork(before=LATER.catch_up, after_in_child=LATER._fresh)
scopes.count_first(LATER.catch_up)
