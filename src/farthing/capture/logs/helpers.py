"""Processes that read and price the lines of a long file, so that an import takes every core the machine has.

They begin as forks of this one, with its prices and settings, and hold no ledger: what they made of the lines comes
back, and is kept here in the order of the file. Short files, and systems where a fork is not safe, are read by this
process alone, in the same steps.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from itertools import chain, islice
from types import TracebackType
from typing import Self

from farthing.capture.logs.files import Block
from farthing.capture.logs.lot import Lot, packed, unpacked

ALONE = 1
"""So many blocks are read before others are asked to help, who need as long to begin."""
MOST = 4
"""Helpers: one process keeps what they give, and more of them would only wait for it."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def read_all(blocks: Iterable[Block], read: Callable[[Block], Lot]) -> Iterator[Lot]:
    """What `read` makes of each block, in their order; by several processes where there is much to read."""
    source = iter(blocks)
    yield from map(read, islice(source, ALONE))
    first = next(source, None)
    if first is None:
        return
    rest, helpers = chain((first,), source), useful()
    if helpers > 1:
        with _Helpers(read, helpers) as shared:
            yield from shared.read_all(rest)
    else:
        yield from map(read, rest)


def useful() -> int:
    """How many helpers are of use. Only on Linux no system library minds a fork; a daemon may have no children."""
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 1
    return min(len(os.sched_getaffinity(0)), MOST)


class _Helpers:
    """The processes, while a file is read. One that dies, e.g. for want of memory, leaves its work to this one."""

    def __init__(self, read: Callable[[Block], Lot], count: int) -> None:
        self._read, self._ahead = read, 2 * count
        fork = multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(count, mp_context=fork, initializer=_begin, initargs=(read, os.getpid()))
        self._said: set[tuple[str, int, str]] = set()

    def read_all(self, blocks: Iterable[Block]) -> Iterator[Lot]:
        """What is made of the blocks, in their order, a few of them ahead of who takes it."""
        waiting: deque[tuple[Block, Future[bytes] | None]] = deque()
        for block in blocks:
            waiting.append((block, self._asked(block)))
            if len(waiting) > self._ahead:
                yield self._answer(*waiting.popleft())
        while waiting:
            yield self._answer(*waiting.popleft())

    def _asked(self, block: Block) -> Future[bytes] | None:
        try:
            return self._pool.submit(_work, block)
        except BrokenExecutor:
            return None

    def _answer(self, block: Block, asked: Future[bytes] | None) -> Lot:
        try:
            lot = unpacked(asked.result()) if asked is not None else self._read(block)
        except BrokenExecutor:
            lot = self._read(block)
        for record in lot.said:
            if record not in self._said:
                self._said.add(record)
                name, level, text = record
                logging.getLogger(name).log(level, "%s", text)
        return lot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


# --- in a helper -----------------------------------------------------------------------------------------------------


class _Sayings(logging.Handler):
    """Keeps what is logged, to be said by the process that is helped: once, not by each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.name, record.levelno, record.getMessage()))


class _Own:
    """What a helper has."""

    read: Callable[[Block], Lot]
    sayings: _Sayings


def _begin(read: Callable[[Block], Lot], helped: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is helped ends us,
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)  # also by being killed
    if os.getppid() != helped:
        os._exit(1)
    gc.disable()
    _Own.read, _Own.sayings = read, _Sayings()
    log = logging.getLogger("farthing")
    log.handlers, log.propagate = [_Own.sayings], False


def _work(block: Block) -> bytes:
    lot = _Own.read(block)
    lot.said, _Own.sayings.kept = _Own.sayings.kept, []
    return packed(lot)
