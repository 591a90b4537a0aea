"""What went by of a streamed body: a bounded copy, and one end.

A `Tap` is fed by whatever wraps a client's stream. It keeps references to the chunks, so it copies nothing while the
stream runs, and it ends once: at the stream's end, when it is closed, fails, or is forgotten by everybody.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Protocol

from farthing.capture.faults import guarded

MAX_BYTES = 32 << 20
"""Kept of one body. Of a longer one the first and the last part are: a stream's usage stands at its ends."""

_HEAD_BYTES = 1 << 20


class _Collector:
    """Whether the garbage collector is at work: what it ends may hold locks of ours further up in this thread."""

    at_work = False

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        self.at_work = phase == "start"


collector = _Collector()
gc.callbacks.append(collector)


class Watch(Protocol):
    """Who may stop a stream while it runs."""

    def due(self) -> bool:
        """Whether it is time to look."""

    def look(self) -> None:
        """Looks at what has come; raises where no more may."""


OPEN: set[Tap] = set()
"""Streams under way. A program may end amid one, or leave one open after its last event; it has been paid for."""

os.register_at_fork(after_in_child=OPEN.clear)  # they are the parent's


def end_open() -> None:
    """End all streams under way, as far as they have come: the program is ending."""
    for tap in tuple(OPEN):
        tap.end()


class Tap:
    """The chunks of one body. `done(tap)` is called once, when it ends.

    ended         the body's end was reached
    cut           a part in the middle was dropped, because the body was longer than `MAX_BYTES`
    error         what broke it off
    packed        the chunks still carry their `Content-Encoding`
    size          bytes that went by
    watch         where a budget covers the call: what is to be asked before each piece
    """

    __slots__ = ("_chunks", "_done", "_head", "_trim_at", "cut", "ended", "error", "packed", "size", "watch")

    def __init__(self, done: Callable[[Tap], None]) -> None:
        self._done: Callable[[Tap], None] | None = done
        self._chunks: list[bytes] = []
        self._head: list[bytes] = []
        self._trim_at = MAX_BYTES
        self.size = 0
        self.watch: Watch | None = None
        self.ended = False
        self.cut = False
        self.error: BaseException | None = None
        self.packed = True
        OPEN.add(self)

    def add(self, chunk: bytes) -> None:
        """One more chunk went by."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        if self.size > self._trim_at:
            self._trim()

    def _trim(self) -> None:
        """Drop the middle; the head is kept apart, the tail goes on to grow."""
        if not self.cut:
            kept = 0
            while self._chunks and kept < _HEAD_BYTES:
                self._head.append(self._chunks.pop(0))
                kept += len(self._head[-1])
            self.cut = True
        del self._chunks[: len(self._chunks) // 2 + 1]
        kept = sum(map(len, self._head)) + sum(map(len, self._chunks))
        self._trim_at = self.size + MAX_BYTES - kept

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._done is None

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """The body is over: its end was reached (`whole`), or it broke off. Only the first call counts."""
        done, self._done = self._done, None
        OPEN.discard(self)
        if done is not None:
            self.ended = whole
            self.error = error
            guarded("ending a stream", done, self)

    def body(self) -> bytes:
        """What was seen, in one piece."""
        return b"".join(self._head + self._chunks)
