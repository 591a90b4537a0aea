"""DuckDB and Arrow: the only file that knows `duckdb` and `arro3`. Both are loaded when first used.

One instance in the memory of the process does all the work. It owns no data: it is let go before a fork.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from farthing.errors import FarthingError, InputError, LedgerCorrupt, LedgerError, LedgerFull
from farthing.ledger import forks

if TYPE_CHECKING:
    import duckdb

_SETTINGS: Mapping[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "temp_directory": "",  # nothing of a ledger is spilled where nobody looks after it
    "preserve_insertion_order": False,
}
_SET_UP = "SET GLOBAL parquet_metadata_cache = true; SET GLOBAL TimeZone = 'UTC'"
_FETCHED = 50_000


class FileGone(LedgerError):
    """A file was replaced and removed before it was read: look up which files there are, and read again."""


class _Instance:
    """The instance of this process."""

    def __init__(self) -> None:
        self._fresh()
        forks.watch(self, last=True)

    def _fresh(self) -> None:
        self._turn = threading.Condition()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._active = 0
        self._forking = False
        self._of: dict[int, list[duckdb.DuckDBPyConnection]] = {}  # what each thread has

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for one piece of work."""
        import duckdb

        with self._turn:
            self._turn.wait_for(lambda: not self._forking)
            if self._connection is None:
                threads = min(os.cpu_count() or 1, 8)
                self._connection = duckdb.connect(":memory:", config={**_SETTINGS, "threads": threads})
                self._connection.execute(_SET_UP)
            cursor = self._connection.cursor()
            self._active += 1
            here = self._of.setdefault(threading.get_ident(), [])
            here.append(cursor)
        try:
            yield cursor
        finally:
            with self._turn:
                here.remove(cursor)
                if not here:
                    self._of.pop(threading.get_ident(), None)
                cursor.close()
                self._active -= 1
                self._turn.notify_all()

    def interrupt(self, thread: int) -> None:
        """Stop what a thread has running."""
        with self._turn:
            for cursor in self._of.get(thread, ()):
                cursor.interrupt()

    def before_fork(self) -> None:
        """Let the instance go: its threads would not be in the child, where it could neither be used nor closed."""
        with self._turn:
            self._forking = True
            if self._turn.wait_for(lambda: not self._active, timeout=forks.HOLD_S) and self._connection is not None:
                self._connection.close()
                self._connection = None

    def after_fork_in_parent(self) -> None:
        """Go on."""
        with self._turn:
            self._forking = False
            self._turn.notify_all()

    def after_fork_in_child(self) -> None:
        """Make an own one."""
        if self._connection is not None:
            forks.keep_for_ever(self._connection)
        self._fresh()


_instance = _Instance()


class Query:
    """A connection for one piece of work. Tables that are shown to it are seen by it alone."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def show(self, name: str, table: Any) -> None:
        """Make an Arrow table known by a name."""
        try:
            self._cursor.register(name, table)
        except _duck_error() as error:  # at exit DuckDB takes no more tables
            raise translated(error) from error

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run statements that give no rows."""
        self.rows(sql, values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        try:
            return (
                self._cursor.execute(sql, list(values)).fetchall() if values else self._cursor.execute(sql).fetchall()
            )
        except _duck_error() as error:
            raise translated(error) from error

    def pairs(self, sql: str) -> Iterator[tuple[array[int], array[int]]]:
        """The two columns of a query of unsigned 64-bit numbers, a piece at a time."""
        try:
            self._cursor.execute(sql)
            while found := self._cursor.fetchmany(_FETCHED):
                first, second = zip(*found, strict=True)
                yield array("Q", first), array("Q", second)
        except _duck_error() as error:
            raise translated(error) from error

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        self._cursor.interrupt()


@contextmanager
def query() -> Iterator[Query]:
    """A connection of the process's instance, for one piece of work at a time."""
    with _instance.cursor() as cursor:
        yield Query(cursor)


def interrupt(thread: int) -> None:
    """Stop what a thread, by its `ident`, runs in the process's instance, if it does: there it is a LedgerError."""
    _instance.interrupt(thread)


def fenced(set_up: Sequence[str], readable: Sequence[str], memory_mb: int) -> Query:
    """A connection of an instance of its own that may read these files and do nothing else outside of itself, for good.

    set_up  statements that are run before the fence is shut: views over the files
    """
    import duckdb

    connection = duckdb.connect(":memory:", config={**_SETTINGS, "preserve_insertion_order": True})
    query = Query(connection)
    files = ", ".join(quoted(path) for path in readable)
    for sql in (
        "SET GLOBAL TimeZone = 'UTC'",
        f"SET GLOBAL memory_limit = '{memory_mb}MB'",
        *set_up,
        f"SET GLOBAL allowed_paths = [{files}]",
        "SET GLOBAL enable_external_access = false",
        "SET GLOBAL lock_configuration = true",
    ):
        query.execute(sql)
    return query


def batch(columns: Mapping[str, tuple[str, Sequence[Any]]]) -> Any:
    """An Arrow batch of `{column: (type, values)}`; types: int64 and text."""
    from arro3.core import Array, DataType, Field, RecordBatch, Schema

    types = {"int64": DataType.int64(), "text": DataType.large_utf8()}
    return RecordBatch.from_arrays(
        [Array(values, types[kind]) for kind, values in columns.values()],
        schema=Schema([Field(name, types[kind]) for name, (kind, _) in columns.items()]),
    )


def table(batches: Sequence[Any]) -> Any:
    """An Arrow table of batches, at least one, with the same columns."""
    from arro3.core import Table

    return Table.from_batches(list(batches), schema=batches[0].schema)


def numbers(columns: Mapping[str, memoryview]) -> Any:
    """An Arrow table over buffers of unsigned 64-bit numbers, without copying them."""
    from arro3.core import Array, DataType, Field, RecordBatch, Schema, Table

    schema = Schema([Field(name, DataType.uint64()) for name in columns])
    arrays = [Array.from_buffer(values) for values in columns.values()]
    return Table.from_batches([RecordBatch.from_arrays(arrays, schema=schema)], schema=schema)


def _duck_error() -> type[Exception]:
    import duckdb

    return duckdb.Error


def translated(error: Exception) -> FarthingError:
    """An error of DuckDB as ours."""
    said = str(error).strip()
    first = said.splitlines()[0] if said else type(error).__name__
    if "No such file" in said or "No files found" in said:
        return FileGone(f"a file of the ledger is gone: {first}")
    if "No space left" in said:
        return LedgerFull(f"no space left beside the ledger: {first}")
    if "Out of Memory" in said:
        return LedgerError(f"the question needs more memory than it may have: ask about less ({first})")
    if type(error).__name__ in ("ParserException", "BinderException", "CatalogException", "ConversionException"):
        return InputError("\n".join(said.splitlines()[:6]))
    if ".parquet" in said and ("magic bytes" in said or "footer" in said or "too small" in said or "corrupt" in said):
        return LedgerCorrupt(f"a segment of the ledger is damaged: restore it from a backup ({first})")
    return LedgerError(f"the ledger could not answer: {first}")


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
