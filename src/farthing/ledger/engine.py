"""Open connections to SQLite: the only file that knows `apsw`. Its errors leave here as ours.

`apsw` brings a SQLite of its own, without the race of resetting the WAL that loses commits in builds before 3.51.3.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from farthing.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerFull, LedgerUnavailable

APPLICATION_ID = 0x66727468
"""'frth': marks a file as a ledger."""

PATIENCE_S = 10.0
"""How long a lock that another process holds is waited for."""
LEAST_S = 0.02
"""How long by a thread whose patience went by while it queued behind others of this process."""

WRITER_VERSION = 2
"""What this code writes. `farthing_writer()` gives it to triggers that forbid older writers (migrate.py)."""

_chance = random.Random()  # of our own: the host program's seeded sequences stay as they are


class Database:
    """One connection. To be used by one thread at a time. `transaction()` is a transaction.

    moment: an object, another one in each transaction before which other connections may have committed: what was read
    in a transaction of the same moment, and not written by this connection since, is so still.
    run, run_many, begin, commit: for the hot path, whose end makes a `fault` ours with `translated`.
    since: its one item is when whoever uses it began to wait, by the monotonic clock: patience is counted from there.
    changes, changed: how many rows the last statement changed, and all so far. last_number: of the last row that was
    inserted; half the price of RETURNING, for which SQLite makes a table each time.
    """

    __slots__ = (
        "_connection",
        "_cursor",
        "_left",
        "_version",
        "changed",
        "changes",
        "fault",
        "last_number",
        "moment",
        "path",
        "run",
        "run_many",
        "since",
    )

    def __init__(
        self, path: str, *, full: bool = False, read_only: bool = False, patience_s: float = PATIENCE_S
    ) -> None:
        """Open `path` (":memory:" too), which must exist. `full`: commits survive power loss."""
        import apsw

        self.path = path
        self.since: list[float] = [0.0]
        self.moment = object()
        self._left = -1
        try:
            connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
            self._connection = connection
            self._cursor = connection.cursor()
            self.fault = apsw.Error
            self.run: Callable[..., object] = self._cursor.execute
            self.changes: Callable[[], int] = connection.changes
            self.last_number: Callable[[], int] = connection.last_insert_rowid
            self.run_many: Callable[..., object] = self._cursor.executemany
            self.changed: Callable[[], int] = connection.total_changes
            self._version: Callable[[], int] = connection.data_version
            connection.set_busy_handler(_waiter(patience_s, self.since))
            connection.create_scalar_function("farthing_writer", _writer_version, 0)
            self._set_up(full, read_only, patience_s)
        except apsw.Error as error:
            raise translated(error, path) from error

    def _set_up(self, full: bool, read_only: bool, patience_s: float) -> None:
        cursor = self._cursor
        if self.path != ":memory:":
            self._use_wal(patience_s)
        cursor.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.execute("PRAGMA cache_size = -16000")
        cursor.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        self._connection.wal_autocheckpoint(0)
        if read_only:
            cursor.execute("PRAGMA query_only = ON")

    def _use_wal(self, patience_s: float) -> None:
        """Turn the WAL on where it is not: SQLite does not wait for others here, so we do."""
        import apsw

        until = time.monotonic() + patience_s
        while True:
            try:
                mode = self._cursor.execute("PRAGMA journal_mode").get
                if mode != "wal":
                    mode = self._cursor.execute("PRAGMA journal_mode = WAL").get
                break
            except apsw.BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(_chance.uniform(0.0001, 0.001))
        if mode != "wal":
            raise LedgerUnavailable(
                f"{self.path} is on a file system without a write-ahead log: move the ledger to a local disk"
            )

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run one statement that gives no rows."""
        try:
            self._cursor.execute(sql, values)
        except self.fault as error:
            raise translated(error, self.path) from error

    def script(self, sql: str) -> None:
        """Run several statements."""
        self.rows(sql)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        try:
            return self._cursor.execute(sql, values).fetchall()
        except self.fault as error:
            raise translated(error, self.path) from error

    def rows_apart(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """`rows`, for who may come amid a query of this connection: a signal handler, a finalizer."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except self.fault as error:
            raise translated(error, self.path) from error

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement for each row; how many rows of the database that changed."""
        before = self.changed()
        try:
            self.run_many(sql, rows)
        except self.fault as error:
            raise translated(error, self.path) from error
        return self.changed() - before

    def begin(self) -> None:
        """Begin a transaction that writes."""
        run, version = self.run, self._version
        run("BEGIN IMMEDIATE")
        if version() != self._left:
            self.moment = object()

    def commit(self) -> None:
        """Keep what the transaction has done."""
        run, version = self.run, self._version
        run("COMMIT")
        self._left = version()

    def undo(self) -> None:
        """Undo what the transaction has done."""
        if self._connection.in_transaction:  # else SQLite has undone it itself
            self.execute("ROLLBACK")

    def restart(self) -> None:
        """Undo what a transaction has done so far and begin it again; others may write in between."""
        self.execute("ROLLBACK")
        self.begin()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done in the block is kept at its end, and undone where it raises."""
        kept = False
        try:
            self.begin()
            yield
            self.commit()
            kept = True
        except self.fault as error:
            raise translated(error, self.path) from error
        finally:
            if not kept:
                self.undo()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction that reads: all its queries see one moment. Not inside another."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.undo()

    def log_pages(self) -> int:
        """The length of the write-ahead log in pages."""
        import apsw

        try:
            return self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]
        except apsw.Error as error:
            raise translated(error, self.path) from error

    def checkpoint(self, mode: Literal["passive", "restart", "truncate"]) -> tuple[int, int]:
        """Move pages from the WAL into the file: (pages in it, of them moved). LedgerBusy where others prevent it."""
        import apsw

        modes = {
            "passive": apsw.SQLITE_CHECKPOINT_PASSIVE,
            "restart": apsw.SQLITE_CHECKPOINT_RESTART,
            "truncate": apsw.SQLITE_CHECKPOINT_TRUNCATE,
        }
        try:
            return self._connection.wal_checkpoint(mode=modes[mode])
        except apsw.Error as error:
            raise translated(error, self.path) from error

    def copy_to(self, path: str) -> None:
        """Copy the whole file as it is now to a new one; writers go on meanwhile."""
        import apsw

        try:
            target = apsw.Connection(path)
            try:
                with target.backup("main", self._connection, "main") as copying:
                    while not copying.done:
                        copying.step(-1)
            finally:
                target.close()
        except apsw.Error as error:
            raise translated(error, path) from error

    def close(self) -> None:
        """Let go of the file."""
        try:
            self._connection.close()
        except self.fault as error:
            raise translated(error, self.path) from error


def _writer_version(*_nothing: object) -> int:
    return WRITER_VERSION


def sqlite_version() -> str:
    """The version of the SQLite in use."""
    import apsw

    return apsw.sqlite_lib_version()


def _waiter(patience_s: float, since: list[float]) -> Callable[[int], bool]:
    """A busy handler that tries again each 0.05 to 0.3 ms, until patience ends: of several threads that queue for one
    connection each has waited since it came, and their waits do not add up.

    SQLite's own sleeps up to 100 ms. A lock is held for a tenth of one: who sleeps longer misses the gaps between those
    of others, and of four processes the unluckiest call waits twice as long.
    """
    until = 0.0

    def wait(tries: int) -> bool:
        nonlocal until
        now = time.monotonic()
        if tries == 0:
            until = max(now + LEAST_S, (since[0] or now) + patience_s)
        elif now > until:
            return False
        time.sleep(_chance.uniform(0.00005, 0.0003))
        return True

    return wait


def translated(error: Exception, path: str) -> LedgerError:
    """An error of the database as ours: what, where, and what to do about it."""
    import apsw

    said = str(error)
    if isinstance(error, apsw.FullError) or _no_space(error):
        return LedgerFull(
            f"no space left for the ledger {path}: nothing of this was recorded. Free some space, or move the ledger "
            "elsewhere and set FARTHING_URL"
        )
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return LedgerCorrupt(
            f"the ledger {path} is damaged, or is no ledger ({said}): move it aside with its -wal and -shm files and "
            "restore a backup; a new one is made in its place"
        )
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return LedgerBusy(
            f"another process holds the ledger {path} and did not let go of it in {PATIENCE_S:g} s: "
            f"look for one that hangs ({said})"
        )
    if isinstance(error, (apsw.ReadOnlyError, apsw.PermissionsError, apsw.CantOpenError, apsw.AuthError)):
        return LedgerUnavailable(
            f"the ledger {path} cannot be written by this user ({said}): give the file and its folder "
            "write permission, or set FARTHING_URL to another place"
        )
    if "this farthing is too old" in said:
        return LedgerUnavailable(f"the ledger {path} was changed by a newer version: {said}")
    return LedgerError(f"the ledger {path} could not do it: {said}")


def _no_space(error: Exception) -> bool:
    import apsw

    if not isinstance(error, apsw.IOError):
        return False
    return getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE or _errno_of(error) == errno.ENOSPC


def _errno_of(error: Exception) -> int:
    """The operating system's number where the text carries one, else 0."""
    said = str(error)
    return errno.ENOSPC if os.strerror(errno.ENOSPC).lower() in said.lower() else 0
