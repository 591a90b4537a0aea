"""Work that an event loop waits for without standing still: asking the ledger, on threads of our own.

Not on the loop's own threads: a program may have filled those with work that waits for the very call that is asked for.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

Answer = TypeVar("Answer")

THREADS = 4


class _Pool:
    """The threads, started when first needed; a forked child starts its own."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="farthing-budgets")
            return self._pool


_pool = _Pool()
os.register_at_fork(after_in_child=_pool.after_fork)


async def aside(call: Callable[[], Answer], undo: Callable[[Answer], object] | None = None) -> Answer:
    """What `call` returns, run on a thread of ours. `undo` is given that where nobody waits for it any more."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop: it stands still for a moment
        return call()
    future = _pool.get().submit(copy_context().run, call)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if undo is not None:
            future.add_done_callback(partial(_undone, undo))
        raise


def _undone(undo: Callable[[Answer], object], future: Future[Answer]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
