"""What is new in a log since it was last read, line by line, in little memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from farthing.capture.logs.files import LINE_LIMIT
from farthing.capture.logs.positions import Position

_BUFFER = 2**20
_HEAD, _EDGE = 1024, 256


class Tail:
    """The part of a file after a position. A file that was replaced, cut or rewritten is read from its start.

    Whether it is the same file is told by its first bytes and by those before the position, not by its inode: a log
    that was copied or restored goes on where it was.
    """

    def __init__(self, path: Path, known: Position | None = None) -> None:
        self._file = path.open("rb", buffering=_BUFFER)
        self._path = path
        stat = os.fstat(self._file.fileno())
        self._looks = {"inode": stat.st_ino, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        self.state: dict[str, Any] = {}
        self._offset = self._lines = 0
        if known is not None and stat.st_size >= known.offset and self._is_same(known):
            self._offset, self._lines = known.offset, known.lines
            self.state = json.loads(json.dumps(dict(known.state)))
        self._file.seek(self._offset)

    def _is_same(self, known: Position) -> bool:
        return (
            self._digest(0, known.head_bytes) == known.head
            and self._digest(max(0, known.offset - _EDGE), min(_EDGE, known.offset)) == known.edge
        )

    def _digest(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return hashlib.blake2b(self._file.read(length), digest_size=16).digest()

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """(line number from 1, the line with its end); None for a line that is too long.

        A last line without its end is given where it is whole JSON; else its writer is not done, and it is left for
        the next time.
        """
        number, offset = self._lines, self._offset
        for line in iter(partial(self._file.readline, LINE_LIMIT), b""):
            if line[-1] != 10:
                if len(line) >= LINE_LIMIT:
                    length = self._skip_rest()
                    if length is None:
                        break
                    number += 1
                    offset += LINE_LIMIT + length
                    self._lines, self._offset = number, offset
                    yield number, None
                    continue
                if not _is_whole(line):
                    break
            number += 1
            offset += len(line)
            self._lines, self._offset = number, offset
            yield number, line

    def _skip_rest(self) -> int | None:
        """The bytes until the end of the line, passed over; None where the line has no end yet."""
        length = 0
        while rest := self._file.readline(LINE_LIMIT):
            length += len(rest)
            if rest.endswith(b"\n"):
                return length
        return None

    @property
    def offset(self) -> int:
        """Bytes read."""
        return self._offset

    def position(self) -> Position:
        """How far it was read, with `state`."""
        head = min(_HEAD, self._offset)
        return Position(
            **self._looks,
            offset=self._offset,
            lines=self._lines,
            head_bytes=head,
            head=self._digest(0, head),
            edge=self._digest(max(0, self._offset - _EDGE), min(_EDGE, self._offset)),
            state=self.state,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _is_whole(line: bytes) -> bool:
    """Whether an object is closed: nothing of it can be missing."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
