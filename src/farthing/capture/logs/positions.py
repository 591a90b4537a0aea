"""How far each log was read, kept beside the ledger: the next import reads only what is new.

The record is a convenience, never the truth: the ledger knows its events by key. A record that is lost, damaged or
belongs to another ledger is thrown away, and everything is read again, which adds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from farthing.event import EMPTY

VERSION = "1"
"""Of the file's form and of what readers keep in `Position.state`: where it differs, all logs are read anew."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
  org TEXT, path TEXT, inode INTEGER, size INTEGER, mtime_ns INTEGER, offset INTEGER, lines INTEGER,
  head_bytes INTEGER, head BLOB, edge BLOB, state TEXT, PRIMARY KEY (org, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
  org TEXT, message INTEGER, request INTEGER, side INTEGER, PRIMARY KEY (org, message)
) WITHOUT ROWID;
"""

_COLUMNS = "inode, size, mtime_ns, offset, lines, head_bytes, head, edge, state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a file was read, and what tells that it is still the same file.

    inode, size, mtime_ns   as it was when it was last looked at: unchanged, it need not be opened
    offset, lines           bytes and lines that were read
    head, edge              digests of the first `head_bytes` bytes and of the bytes before `offset`
    state                   what the reader must remember of what it has read; JSON
    """

    inode: int
    size: int
    mtime_ns: int
    offset: int = 0
    lines: int = 0
    head_bytes: int = 0
    head: bytes = b""
    edge: bytes = b""
    state: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def is_unchanged(self, inode: int, size: int, mtime_ns: int) -> bool:
        """Whether a file that looks like this has nothing new."""
        return (self.inode, self.size, self.mtime_ns) == (inode, size, mtime_ns)


class Request(NamedTuple):
    """The request that a message id was first seen with, and whether that was a sidechain's copy."""

    number: int
    side: bool


def short(text: str) -> int:
    """63 bits that stand for an id."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


class Positions:
    """The record of one ledger and organisation. `path` None: in memory, for a ledger in memory."""

    def __init__(self, path: Path | None = None, *, org: str = "default") -> None:
        self._org = org
        self._new: dict[int, Request] = {}
        try:
            self._database = _opened(path)
        except sqlite3.DatabaseError:
            if path is None:
                raise
            _remove(path)
            self._database = _opened(path)

    @property
    def witness(self) -> str | None:
        """The dedupe key of an event that the ledger had when this was last written."""
        found = self._database.execute("SELECT value FROM facts WHERE name = ?", (f"witness {self._org}",)).fetchone()
        return None if found is None else str(found[0])

    def forget(self) -> None:
        """As if nothing had been read."""
        with self._database:
            self._database.execute("DELETE FROM files WHERE org = ?", (self._org,))
            self._database.execute("DELETE FROM requests WHERE org = ?", (self._org,))
            self._database.execute("DELETE FROM facts WHERE name = ?", (f"witness {self._org}",))
        self._new.clear()

    def get(self, path: str) -> Position | None:
        """How far the file was read; None where it never was."""
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM files WHERE org = ? AND path = ?", (self._org, path)
        ).fetchone()
        if row is None:
            return None
        names = _COLUMNS.split(", ")
        return Position(**{**dict(zip(names, row, strict=True)), "state": json.loads(row[-1])})

    def first_requests(self, messages: Iterable[int]) -> dict[int, Request]:
        """What is known of these messages."""
        found = {}
        asked = []
        for message in messages:
            if (known := self._new.get(message)) is not None:
                found[message] = known
            else:
                asked.append(message)
        for i in range(0, len(asked), 500):
            part = asked[i : i + 500]
            marks = ",".join("?" * len(part))
            sql = f"SELECT message, request, side FROM requests WHERE org = ? AND message IN ({marks})"
            for message, request, side in self._database.execute(sql, (self._org, *part)):
                found[message] = Request(request, bool(side))
        return found

    def note_request(self, message: int, request: Request) -> None:
        """Remember the request of a message; written with the next `save`."""
        self._new[message] = request

    def save(self, files: Mapping[str, Position], witness: str | None) -> None:
        """Keep what was read, all of it or nothing."""
        with self._database:
            self._database.executemany(
                f"INSERT OR REPLACE INTO files (org, path, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(self._org, path, *_row(position)) for path, position in files.items()],
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?)",
                [(self._org, message, one.number, one.side) for message, one in self._new.items()],
            )
            if witness is not None:
                self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (f"witness {self._org}", witness))
        self._new.clear()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(position: Position) -> tuple[object, ...]:
    state = json.dumps(dict(position.state), separators=(",", ":"))
    return (*(getattr(position, name) for name in _COLUMNS.split(", ")[:-1]), state)


def _opened(path: Path | None) -> sqlite3.Connection:
    """The record, made where it is missing, emptied where it has another form. It is nobody else's business: 0600."""
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    database = sqlite3.connect(":memory:" if path is None else str(path), timeout=10.0, check_same_thread=False)
    try:
        if path is not None:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # a power loss costs reading again, no more
        database.executescript(_SCHEMA)
        version = database.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
        with database:
            if version != (VERSION,):
                for table in ("files", "requests", "facts"):
                    database.execute(f"DELETE FROM {table}")
                database.execute("INSERT INTO facts VALUES ('version', ?)", (VERSION,))
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _remove(path: Path) -> None:
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
