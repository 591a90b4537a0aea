"""Files as lines: plain or gzip, named or standard input, of any size in little memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from farthing.errors import InputError

LINE_LIMIT = 64 * 2**20
"""Bytes of one line. A recorded response with images is large; a file without line ends is a mistake."""

BLOCK = 2**19
"""Bytes that are read at once, to the end of a line."""

WHOLE_LIMIT = 512 * 2**20
"""Bytes of a `.json` file, which is read whole."""


class Block(NamedTuple):
    """Whole lines of a file. `number`: of the first one, from 1. `data` None: it is one line, which is too long."""

    number: int
    data: bytes | None

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """(number, the line without its end; None for one that is too long) of every line."""
        if self.data is None:
            return iter(((self.number, None),))
        return enumerate(self.data.removesuffix(b"\n").split(b"\n"), self.number)


class Source:
    """An open file. `done` of `size` bytes have been read from disk (compressed ones, where it is compressed)."""

    def __init__(self, name: str, raw: BinaryIO, size: int | None) -> None:
        self.name, self.size, self._raw = name, size, raw
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
        packed = buffered.peek(2)[:2] == b"\x1f\x8b"
        self._file = gzip.GzipFile(fileobj=cast(BinaryIO, buffered)) if packed else buffered

    def head(self) -> bytes:
        """The beginning of the file, without moving on; 1 byte at least where it is not empty."""
        try:
            return self._file.peek(4096)[:4096]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{self.name}: is no gzip data: {error}") from error

    @property
    def done(self) -> int:
        """Bytes read so far; 0 where the file cannot tell."""
        try:
            return self._raw.tell()
        except OSError:
            return 0

    def blocks(self) -> Iterator[Block]:
        """All lines, many at once. A damaged or cut gzip file: InputError, after the lines that could be read."""
        number = 1
        while True:
            data, whole, broken = self._some()
            lines = data if whole and broken is None else data[: data.rfind(b"\n") + 1]
            if lines:
                yield Block(number, lines)
                number += lines.count(b"\n")
            if not whole:
                yield Block(number, None)
                number += 1
            if broken is not None:
                raise InputError(
                    f"{self.name}: the gzip data ends or breaks after line {number - 1}: {broken}"
                ) from broken
            if not data:
                return

    def _some(self) -> tuple[bytes, bool, Exception | None]:
        """(bytes up to the end of a line, whether that line is whole: else it is too long, why no more can be read)."""
        parts: list[bytes] = []
        size, whole = 0, True
        try:
            while size < BLOCK and (part := self._file.read1(BLOCK)):
                parts.append(part)
                size += len(part)
            if parts and not parts[-1].endswith(b"\n"):
                parts.append(self._file.readline(LINE_LIMIT))
                whole = len(parts[-1]) < LINE_LIMIT or parts[-1].endswith(b"\n")
                rest = parts[-1] if whole else b"?"
                while rest and not whole and not rest.endswith(b"\n"):
                    rest = self._file.readline(LINE_LIMIT)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return b"".join(parts), whole, error
        return b"".join(parts), whole, None

    def values(self) -> list[object]:
        """A `.json` file's array, or its one value."""
        text = self._file.read(WHOLE_LIMIT + 1)
        if len(text) > WHOLE_LIMIT:
            raise InputError(f"{self.name}: is larger than {WHOLE_LIMIT} bytes; write one value a line (.jsonl)")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.name}: is no JSON: {error}") from None
        return value if isinstance(value, list) else [value]


@contextmanager
def opened(path: str, stdin: BinaryIO) -> Iterator[Source]:
    """The file, or standard input for `-`."""
    if path == "-":
        yield Source("-", stdin, None)
        return
    found = Path(path)
    if found.is_dir():
        raise InputError(f"{path}: is a directory; name its files")
    with found.open("rb") as raw:
        yield Source(path, raw, found.stat().st_size)


def looks_like(path: str, head: bytes) -> str:
    """csv, json (a whole file) or jsonl, by the name, else by how the file begins."""
    name = path.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        return "csv"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    start, first = text[:1], text.split(b"\n", 1)[0]
    if name.endswith(".json"):
        whole = start == b"[" or first.strip() == b"{"
        return "json" if whole else "jsonl"
    return "jsonl" if start in (b"{", b"[") or not start else "csv"
