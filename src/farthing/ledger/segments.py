"""Which files hold the sealed part of a ledger: what is listed in its tables, and the folder beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from farthing.errors import LedgerBusy
from farthing.event import new_id, now_us
from farthing.ledger.engine import Database
from farthing.ledger.keys import DAY_US, Keys, Run

Rows = Callable[..., list[tuple[Any, ...]]]

GRACE_S = 600.0
"""How long a replaced file stays for readers that have it open or are about to."""
GENERATION = "SELECT value FROM ledger_meta WHERE key = 'generation'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One Parquet file of one organisation. Moments are microseconds since 1970 UTC, inclusive.

    corrections     rows that correct others
    metadata_kinds  different texts of metadata
    columns         digest of the names and types
    """

    file: str
    org: str
    rows: int
    bytes: int
    first_us: int
    last_us: int
    first_seq: int
    last_seq: int
    first_id: str
    last_id: str
    corrections: int
    metadata_kinds: int
    columns: str


_NAMES = tuple(f.name for f in fields(Segment))
_LISTED = f"SELECT {', '.join(_NAMES)} FROM segments ORDER BY first_us, last_us, file"


@dataclass(frozen=True, slots=True)
class Sealed:
    """The sealed part of a ledger at one moment."""

    generation: str
    folder: Path
    segments: tuple[Segment, ...]
    keys: Keys

    @property
    def rows(self) -> int:
        """How many events are sealed."""
        return sum(segment.rows for segment in self.segments)

    def path(self, segment: Segment) -> str:
        """Where the file is."""
        return str(self.folder / segment.file)

    def of(self, *, org: str | None, since_us: int | None = None, until_us: int | None = None) -> list[Segment]:
        """Those that may hold events of `[since, until)`, earliest first."""
        return [
            s
            for s in self.segments
            if (org is None or s.org == org)
            and (since_us is None or s.last_us >= since_us)
            and (until_us is None or s.first_us < until_us)
        ]

    def of_day(self, org: str, day: int) -> list[Segment]:
        """Those of an organisation that may hold events of a day, known modulo 65536."""
        return [
            s
            for s in self.segments
            if s.org == org and (day - s.first_us // DAY_US) % 65536 <= s.last_us // DAY_US - s.first_us // DAY_US
        ]


def folder_of(path: str) -> Path:
    """The folder of the segments of a ledger's file."""
    return Path(path + ".segments")


def nothing(path: str) -> Sealed:
    """The sealed part of a ledger that has none."""
    return Sealed("0", folder_of(path), (), Keys(()))


def look(rows: Rows, known: Sealed) -> Sealed:
    """The sealed part as of the transaction of `rows`: `known` itself where nothing has changed since."""
    generation = rows(GENERATION)[0][0]
    if generation == known.generation:
        return known
    segments = tuple(Segment(**dict(zip(_NAMES, row, strict=True))) for row in rows(_LISTED))
    open_runs = {run.path.name: run for run in known.keys.runs}
    runs = [
        open_runs.get(file) or Run(known.folder / file, count, last_id)
        for file, count, last_id in rows("SELECT file, rows, last_id FROM key_runs ORDER BY rows DESC")
    ]
    return Sealed(generation, known.folder, segments, Keys(runs))


def enlist(database: Database, segments: Sequence[Segment], runs: Sequence[tuple[str, int, str]] = ()) -> None:
    """List new files. Inside a transaction."""
    marks = ", ".join("?" * len(_NAMES))
    database.many(f"INSERT INTO segments ({', '.join(_NAMES)}) VALUES ({marks})", [astuple(s) for s in segments])
    database.many("INSERT INTO key_runs (file, rows, last_id) VALUES (?, ?, ?)", list(runs))
    _changed(database)


def retire(database: Database, files: Sequence[str]) -> None:
    """Take files off the list; they are removed after the grace of readers. Inside a transaction."""
    at = now_us()
    for table in ("segments", "key_runs"):
        database.many(f"DELETE FROM {table} WHERE file = ?", [(file,) for file in files])
    database.many("INSERT OR REPLACE INTO retired_files VALUES (?, ?)", [(file, at) for file in files])
    _changed(database)


def _changed(database: Database) -> None:
    database.execute("UPDATE ledger_meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")


@contextmanager
def door_open(database: Database) -> Iterator[None]:
    """Let rows be deleted or changed until the block ends. Inside a transaction: nobody else finds it open."""
    database.execute("UPDATE ledger_meta SET value = 'open' WHERE key = 'door'")
    yield
    database.execute("UPDATE ledger_meta SET value = 'shut' WHERE key = 'door'")


@contextmanager
def upkeep(path: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """The right to change what is sealed, which one process has at a time. LedgerBusy where another keeps it."""
    folder = folder_of(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    until = time.monotonic() + wait_s
    handle = os.open(folder / "upkeep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    raise LedgerBusy(f"another process is sealing or merging the ledger {path}: try again") from None
                time.sleep(0.05)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked meanwhile has the handle too
        os.close(handle)


def new_name(kind: str) -> str:
    """A name that no other file has."""
    return f"{new_id()}.{kind}"


def unlisted(folder: Path, name: str) -> Path:
    """Where a file is written before it is what its name says."""
    return folder / f"{name}.new"


def publish(folder: Path, name: str) -> None:
    """Give a finished file its name, for good: the file and its entry in the folder are on disk."""
    sync(unlisted(folder, name))
    os.rename(unlisted(folder, name), folder / name)
    sync(folder)


def sync(path: Path) -> None:
    """Returns when it is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(database: Database, folder: Path, *, grace_s: float = GRACE_S) -> int:
    """Remove files that were replaced long enough ago, and what a killed process left: how many. Under `upkeep`."""
    listed = {row[0] for row in database.rows("SELECT file FROM segments UNION ALL SELECT file FROM key_runs")}
    retired = dict(database.rows("SELECT file, retired_at_us FROM retired_files"))
    before = now_us() - int(grace_s * 1_000_000)
    gone = []
    for path in folder.iterdir():
        name = path.name
        if name in listed or name == "upkeep.lock" or path.is_dir():
            continue
        if name in retired:
            if retired[name] > before:
                continue
        elif not name.endswith((".new", ".words")) and path.stat().st_mtime * 1_000_000 > before:
            continue  # maybe just about to be listed
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        gone.append((name,))
    if gone:
        with database.transaction():
            database.many("DELETE FROM retired_files WHERE file = ?", gone)
    return len(gone)
