"""Sorted digests of what is sealed: whether an id or dedupe key is known is found in microseconds, without its segment.

A run is a file of two equally long parts, both of 64-bit numbers: the sorted digests of (organisation, key), and for
each a word on the event: 48 bits that digest what was observed of it, and 16 bits of the day it is in. An event that
comes again with the same observation is a duplicate by these alone; any other is looked up in the segments of its day.
"""

from __future__ import annotations

import mmap
import os
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import md5
from math import isqrt
from pathlib import Path
from typing import Any

from farthing.errors import LedgerCorrupt
from farthing.ledger import duck
from farthing.ledger.rows import OBSERVED, OBSERVED_COLUMNS

DAY_US = 86_400_000_000
_WORD = 8
_SEPARATOR = "\x1f"

# The same in SQL, over the columns of a segment. Both are held together by a test.
DIGEST_SQL = f"md5_number_upper(org || '{_SEPARATOR}' || {{0}})::UBIGINT"
_OBSERVED_SQL = " || '\x1f' || ".join(f"coalesce(\"{name}\"::VARCHAR, '')" for name in OBSERVED_COLUMNS)
WORD_SQL = f"((md5_number_upper({_OBSERVED_SQL})::UBIGINT >> 16) << 16) | (day % 65536 + 65536) % 65536"


def digest(org: str, key: str) -> int:
    """64 bits of a key of an organisation."""
    return int.from_bytes(md5(f"{org}{_SEPARATOR}{key}".encode(), usedforsecurity=False).digest()[:8], "little")


def observed_digest(row: Sequence[Any]) -> int:
    """48 bits of what was observed of a call: of a row in the order of `COLUMNS`."""
    text = _SEPARATOR.join("" if value is None else str(value) for value in row[OBSERVED])
    return int.from_bytes(md5(text.encode(), usedforsecurity=False).digest()[:8], "little") >> 16


class Run:
    """One file of digests, mapped into memory."""

    __slots__ = ("_words", "digests", "last_id", "path", "rows")

    def __init__(self, path: Path, rows: int, last_id: str) -> None:
        self.path, self.rows, self.last_id = path, rows, last_id
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != 2 * rows * _WORD:
                raise LedgerCorrupt(f"{path} is damaged: it should hold {rows} keys. Restore it from a backup")
            self._words = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast("Q")
        self.digests = self._words[:rows]

    def find(self, wanted: int) -> list[int]:
        """The words of a digest; empty where it is not in this run."""
        place = self._place(wanted)
        found = []
        while place < self.rows and self.digests[place] == wanted:
            found.append(self._words[self.rows + place])
            place += 1
        return found

    def _place(self, wanted: int) -> int:
        """Where the digest is, or would be. Digests are spread evenly: it is near where that says, on few pages."""
        digests, rows = self.digests, self.rows
        guess = wanted * rows >> 64
        reach = 8 + 4 * isqrt(rows)
        low, high = max(guess - reach, 0), min(guess + reach, rows)
        if (low == 0 or digests[low - 1] < wanted) and (high == rows or digests[high] >= wanted):
            return bisect_left(digests, wanted, low, high)
        return bisect_left(digests, wanted)

    def table(self) -> Any:
        """Both parts as an Arrow table: digest, word."""
        return duck.numbers({"digest": self.digests, "word": self._words[self.rows :]})


class Keys:
    """All runs of a ledger at one moment. last_id: an id of our making (UUIDv7) above it is in none."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = tuple(runs)
        self.last_id = max((run.last_id for run in self.runs), default="")

    def find(self, org: str, key: str) -> list[tuple[int, int]]:
        """(digest of what was observed, day modulo 65536) of each event that this key may be; mostly none or one."""
        if not self.runs:
            return []
        wanted = digest(org, key)
        return [(word >> 16, word & 0xFFFF) for run in self.runs for word in run.find(wanted)]


def write(path: Path, query: duck.Query, sql: str) -> int:
    """Write a run from a query of (digest, word) in the order of digests; how many there are. Then it is on disk."""
    assert sys.byteorder == "little", "key files are little-endian"
    words = path.with_suffix(".words")
    rows = 0
    with open(path, "xb") as first, open(words, "xb") as second:
        for digests, said in query.pairs(sql):
            digests.tofile(first)
            said.tofile(second)
            rows += len(digests)
        second.flush()
        with open(words, "rb") as said_file:
            while piece := said_file.read(1 << 20):
                first.write(piece)
        first.flush()
        os.fsync(first.fileno())
    words.unlink()
    os.chmod(path, 0o600)
    return rows


def too_many(sizes: Sequence[int]) -> int:
    """How many of the smallest runs to make one of, so that each is at least twice the sum of the smaller; 0: none."""
    ordered = sorted(sizes)
    below, merged = 0, 0
    for count, size in enumerate(ordered):
        if count and size < 2 * below:
            merged = count + 1
        below += size
    return merged
