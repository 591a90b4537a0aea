"""Work that is done for the host's threads on one of our own: the ledger's writes, while the host must not wait.

One daemon thread for the process, started when first needed. What is left at exit is finished there; a forked child
starts with nothing to do, for the parent does it.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
from collections.abc import Callable

from farthing import scopes
from farthing.capture.faults import FAULTS, guarded
from farthing.recording import Entry

LIMIT = 20_000
"""Lots that wait at most; what comes beyond is counted as a fault. A ledger that is locked for hours fills it."""

LOT = 500
"""Entries that one write takes at most."""

PAUSE_S = 0.005
"""How long the thread rests after work, unless somebody waits for it: waking it for each call costs the callers."""

EXIT_PATIENCE_S = 10.0

_WRITING = "writing to the ledger on a thread of its own"

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

    def write(self, write: Write, entries: list[Entry]) -> None:
        """Have `write(entries)` called soon; several that use the same `write` become one call."""
        if threading.current_thread() is self._thread:  # work of ours leaves it: whoever waits for that, waits for both
            guarded(_WRITING, write, list(entries))
        else:
            self._put((write, entries))

    def do(self, work: Work) -> None:
        """Have `work()` called soon."""
        self._put(work)

    def _put(self, item: Item) -> None:
        if self._queue.qsize() >= LIMIT:
            FAULTS.add("waiting for the ledger", f"{LIMIT} calls wait already: later ones are not recorded")
            return
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
            guarded(_WRITING, write, entries)
            if rest is None:
                return
            item = rest

    def flush(self, patience_s: float | None = None) -> bool:
        """Wait until all that was put before is done; False where patience ended first."""
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
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            self._do(item, self._queue)

    def finish(self) -> None:
        """At exit: `at_end`, then what waits is done, for as long as patience lasts."""
        for work in self.at_end:
            guarded("work at exit", work)
        until = time.monotonic() + EXIT_PATIENCE_S
        if not self.flush(max(0.0, until - time.monotonic())):
            FAULTS.add("writing to the ledger at exit", f"the last calls could not be written in {EXIT_PATIENCE_S:g} s")


LATER = Later()
atexit.register(LATER.finish)
os.register_at_fork(after_in_child=LATER._fresh)
