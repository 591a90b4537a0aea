"""Threads and executors that inherit who calls are for, while this is switched on.

A thread starts in the block that started it. What is handed to an executor runs in the block that handed it over, and
an executor's threads belong to no block themselves: they outlive the one in which the first of them was needed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from farthing import scopes

_start = threading.Thread.start
_submit = ThreadPoolExecutor.submit


def _run_inside(thread: threading.Thread, frame: scopes.Frame, run: Callable[[], None]) -> None:
    del thread.run  # ours, so that the thread is again as it was made
    with scopes.within(frame):
        run()


@functools.wraps(_start)
def _start_inside(thread: threading.Thread) -> None:
    frame = scopes.current()
    if frame is not None and "run" not in vars(thread):
        thread.run = functools.partial(_run_inside, thread, frame, thread.run)  # type: ignore[method-assign]
    _start(thread)


def _call_inside(frame: scopes.Frame | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    with scopes.within(frame):
        return function(*args, **kwargs)


@functools.wraps(_submit)  # type: ignore[arg-type]
def _submit_inside(pool: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    frame = scopes.current()
    if frame is None:
        return _submit(pool, fn, *args, **kwargs)
    with scopes.within(None):  # a thread that the pool starts for this is nobody's
        return _submit(pool, _call_inside, frame, fn, *args, **kwargs)


def follow_threads() -> None:
    """From now on threads, and what executors are handed, inherit the block they come from. Twice is once."""
    if threading.Thread.start is _start:
        threading.Thread.start = _start_inside  # type: ignore[method-assign,assignment]
    if ThreadPoolExecutor.submit is _submit:
        ThreadPoolExecutor.submit = _submit_inside  # type: ignore[method-assign,assignment]


def leave_threads() -> None:
    """As before `follow_threads`; where somebody else has changed the same since, theirs stays, and ours inside it."""
    if threading.Thread.start is _start_inside:
        threading.Thread.start = _start  # type: ignore[method-assign]
    if ThreadPoolExecutor.submit is _submit_inside:
        ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign]


def following() -> bool:
    """Whether threads inherit."""
    return threading.Thread.start is _start_inside
