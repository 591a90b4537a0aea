"""Connections that read, each used by one thread at a time and then kept for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from farthing.ledger import forks
from farthing.ledger.engine import Database

if TYPE_CHECKING:
    from farthing.ledger.writer import Writer

Answer = TypeVar("Answer")
Rows = Callable[..., list[tuple[Any, ...]]]

_KEPT = 4
"""Idle connections that are kept open."""


class Reads(Protocol):
    """Whoever answers a query."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as of one moment."""

    def snapshot(self, work: Callable[[Rows], Answer]) -> Answer:
        """What `work` gives, all of whose queries see one moment."""

    def moment(self, work: Callable[[Database], Answer]) -> Answer:
        """As `snapshot`, for work that takes the connection."""


class SharedReads:
    """Reads through the writer's own connection: all that a ledger in memory has."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as of one moment."""
        with self._writer.lock:
            return self._writer.database.rows_apart(sql, values)

    def snapshot(self, work: Callable[[Rows], Answer]) -> Answer:
        """What `work` gives, all of whose queries see one moment."""
        with self._writer.lock:
            return work(self._writer.database.rows_apart)

    def moment(self, work: Callable[[Database], Answer]) -> Answer:
        """As `snapshot`, for work that takes the connection."""
        return self._writer.transact(work)


class Readers:
    """Reads through connections of their own, which never make a writer wait."""

    def __init__(self, open_database: Callable[[], Database]) -> None:
        self._open = open_database
        self._fresh()

    def _fresh(self) -> None:
        self._idle: list[Database] = []
        self._turn = threading.Condition()
        self._active = 0
        self._forking = False
        self._closed = False

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as of one moment."""
        return self._lend(lambda database: database.rows(sql, values))

    def snapshot(self, work: Callable[[Rows], Answer]) -> Answer:
        """What `work` gives, all of whose queries see one moment."""
        return self.moment(lambda database: work(database.rows))

    def moment(self, work: Callable[[Database], Answer]) -> Answer:
        """As `snapshot`, for work that takes the connection."""

        def in_one_moment(database: Database) -> Answer:
            with database.reading():
                return work(database)

        return self._lend(in_one_moment)

    def _lend(self, work: Callable[[Database], Answer]) -> Answer:
        with self._turn:
            if self._forking:
                self._turn.wait_for(lambda: not self._forking)
            self._active += 1
            database = self._idle.pop() if self._idle else None
        try:
            if database is None:
                database = self._open()
            return work(database)
        finally:
            with self._turn:
                self._active -= 1
                surplus = database is not None and (self._closed or len(self._idle) >= _KEPT)
                if database is not None and not surplus:
                    self._idle.append(database)
                if self._forking:
                    self._turn.notify_all()
            if surplus and database is not None:
                database.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._closed = True
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()

    def before_fork(self) -> None:
        """Wait for the queries under way."""
        with self._turn:
            self._forking = True
            self._turn.wait_for(lambda: not self._active, timeout=forks.HOLD_S)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        with self._turn:
            self._forking = False
            self._turn.notify_all()

    def after_fork_in_child(self) -> None:
        """The connections are the parent's."""
        forks.keep_for_ever(self._idle)
        self._fresh()
