"""The embedded store: one SQLite file, written by one connection of each process, read through others."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from farthing.errors import LedgerError
from farthing.event import Event
from farthing.ledger import ask, forks, pages, sql, uses
from farthing.ledger.accounts import Accounts
from farthing.ledger.backup import Backup, backup
from farthing.ledger.checkpoint import Checkpointer
from farthing.ledger.closing import LISTED as CLOSED
from farthing.ledger.closing import Closing, close_month, closings
from farthing.ledger.engine import Database, sqlite_version
from farthing.ledger.forget import Forgotten, forget
from farthing.ledger.hot import Hot
from farthing.ledger.known import Known, beginning_with, by_id, corrections_in, keyed, retried
from farthing.ledger.migrate import bring_up_to_date
from farthing.ledger.parquet import write_parquet
from farthing.ledger.places import make_ready
from farthing.ledger.queue import Group, Queue
from farthing.ledger.readers import Readers, Reads, SharedReads
from farthing.ledger.retain import Expired, expire
from farthing.ledger.rows import Prepared, prepare, to_event
from farthing.ledger.seal import KEPT_ROWS
from farthing.ledger.sealer import Sealer
from farthing.ledger.sql_values import Answer, Limits
from farthing.ledger.store import (
    Counts,
    Durability,
    Entry,
    Filter,
    Health,
    Order,
    Outcome,
    PriceUse,
    Question,
    Row,
    Top,
)
from farthing.ledger.upkeep import Compacted, compact
from farthing.ledger.writer import SELECT, Writer, corrections_of

MEMORY = ":memory:"
LOT = 2_000
"""Entries of one transaction of `append_many`: other writers wait for so many at most. With 500, each lot dirties as
many pages of the indexes again, and an import takes a quarter more time and twice the writing."""
_FOUND = 50
_EVERYTHING = Filter()
_SUM = Question()
_LIMITS = Limits()


class SqliteStore:
    """A `Store` in a file of this machine, or in the memory of this process (":memory:")."""

    def __init__(self, path: str | Path = MEMORY, durability: Durability = "commit") -> None:
        in_memory = str(path) == MEMORY
        self._path = MEMORY if in_memory else os.path.abspath(os.path.expanduser(path))
        self._durability: Durability = durability
        self._version = 0
        self._closed = False
        if not in_memory:
            make_ready(self._path)
        self._checkpointer = None if in_memory else Checkpointer(self._path)
        self._writer = Writer(self._open_to_write, None if self._checkpointer is None else self._checkpointer.measure)
        self._readers = None if in_memory else Readers(lambda: Database(self._path, read_only=True))
        self._reads: Reads = self._readers or SharedReads(self._writer)
        self._sealer = None if in_memory else Sealer(self._path)
        self._hot = Hot(self._path, self._reads, None if self._sealer is None else self._sealer.seen)
        self._writer.known = None if in_memory else Known(self._path)
        self.accounts = Accounts(self._writer, self._ready_reads, None if in_memory else self._path)
        self._queue = Queue(self._write_lot) if durability == "queued" else None
        self._group = Group(self._writer.write) if durability == "full" else None
        forks.watch(self)

    def _open_to_write(self) -> Database:
        database = Database(self._path, full=self._durability == "full")
        try:
            self._version = bring_up_to_date(database)
        except LedgerError:
            database.close()
            raise
        return database

    @property
    def url(self) -> str:
        """What opens this store again."""
        return MEMORY if self._path == MEMORY else f"sqlite:///{self._path}"

    @property
    def durability(self) -> Durability:
        """What an acknowledged event survives."""
        return self._durability

    def append(self, event: Event, price_record: str | None = None) -> Outcome:
        """Keep one event: see `Store.append`."""
        self._must_be_open()
        entry = prepare(event, price_record)
        if self._queue is not None:
            self._queue.put(entry)
            return "added"
        if self._group is not None:
            return self._group.write(entry)
        return self._write_one(entry)

    def _write_one(self, entry: Prepared) -> Outcome:
        (outcome,) = self._writer.write((entry,))
        if self._sealer is not None:
            self._sealer.added(1)
        return outcome

    def append_many(self, entries: Iterable[Entry | Prepared]) -> Counts:
        """Keep many, in order: see `Store.append_many`. Each lot is taken and made ready before the lock is."""
        self._must_be_open()
        if self._queue is not None:
            self._queue.flush()
        became: Counter[Outcome] = Counter()
        source = iter(entries)
        while lot := [one if isinstance(one, Prepared) else prepare(*one) for one in islice(source, LOT)]:
            became.update(self._write_lot(lot))
        return Counts(became["added"], became["duplicate"], became["corrected"])

    def _write_lot(self, lot: list[Prepared]) -> list[Outcome]:
        outcomes = self._writer.write(lot)
        if self._checkpointer is not None:
            self._checkpointer.wait_for_room()
        return outcomes

    def get(self, event_id: str, org: str | None = None) -> Event | None:
        """The event with this id as it was recorded, or None."""
        of_org, values = (" AND org = ?", (event_id, org)) if org is not None else ("", (event_id,))
        found = self._read().rows(f"{SELECT} WHERE id = ?{of_org} LIMIT 1", values)
        return to_event(found[0]) if found else retried(lambda sealed: by_id(sealed, event_id, org), self._hot.sealed)

    def get_by_key(self, dedupe_key: str, org: str) -> Event | None:
        """The event of this organisation with this dedupe key as it was recorded, or None."""
        found = self._read().rows(f"{SELECT} WHERE dedupe_key = ? AND org = ?", (dedupe_key, org))
        return to_event(found[0]) if found else retried(lambda sealed: keyed(sealed, dedupe_key, org), self._hot.sealed)

    def history(self, event_id: str, org: str | None = None) -> list[Event]:
        """The event and its corrections, oldest first; empty where the id is unknown."""
        event = self.get(event_id, org)
        if event is not None and event.corrects is not None:
            event = self.get(event.corrects, event.attribution.org) or event
        if event is None:
            return []
        newer = corrections_of(
            self._reads.rows, event
        )  # first: what is sealed meanwhile is then found twice, not never
        older = retried(lambda sealed: corrections_in(sealed, event), self._hot.sealed)
        return [event, *older, *(one for one in newer if one not in older)]

    def find(self, prefix: str) -> list[Event]:
        """Events whose id begins so, at most 50, in order of id."""
        sql = f"{SELECT} WHERE id >= ? AND id < ? ORDER BY id, org LIMIT {_FOUND}"
        hot = [to_event(row) for row in self._read().rows(sql, (prefix, prefix + "\U0010ffff"))]
        sealed = retried(lambda sealed: beginning_with(sealed, prefix, _FOUND), self._hot.sealed)
        found = {(event.id, event.attribution.org): event for event in (*sealed, *hot)}
        return [found[key] for key in sorted(found)][:_FOUND]

    def events(
        self, where: Filter = _EVERYTHING, *, order: Order = "time", limit: int | None = None
    ) -> Iterator[Event]:
        """The events as of the first `next()`: see `Store.events`."""
        self._read()
        return pages.events(self._hot, where, order, limit)

    def totals(self, question: Question = _SUM) -> list[Row]:
        """Exact sums, corrections included."""
        self._read()
        return ask.totals(self._hot, question)

    def top(self, question: Question = _SUM) -> Top:
        """The first rows and what all the others come to."""
        self._read()
        return ask.top(self._hot, question)

    def quantiles(
        self, of: str, shares: tuple[float, ...], *, by: tuple[str, ...] = (), where: Filter = _EVERYTHING
    ) -> dict[tuple[str | None, ...], list[int]]:
        """Values of billed calls at shares of them: see `Store.quantiles`."""
        self._read()
        return uses.quantiles(self._hot, of, where, by, shares)

    def usage_by_price(
        self, *, by: tuple[str, ...] = (), where: Filter = _EVERYTHING, steps: tuple[int, ...] = ()
    ) -> list[PriceUse]:
        """What was used at each price: see `PriceUse`."""
        self._read()
        return uses.usage_by_price(self._hot, where, by, steps)

    def sql(self, statement: str, *, org: str = "default", limits: Limits = _LIMITS) -> Answer:
        """The answer to one SELECT over the views `events` and `traces`: see `Store.sql`."""
        self._read()
        return sql.run(self._hot, statement, org, limits)

    def compact(self, *, keep_rows: int = KEPT_ROWS, all_small: bool = False) -> Compacted:
        """Seal what is older than the newest rows, merge small files, remove those that nobody reads any more."""
        return compact(self._on_disk("compacted"), keep_rows=keep_rows, all_small=all_small)

    def forget(self, *users: str, org: str | None = None) -> Forgotten:
        """Replace a person's name, in any of these spellings, by a label; every sum stays."""
        return forget(self._on_disk("asked to forget"), users, org)

    def expire(self, before_us: int, *, org: str | None = None, dry_run: bool = False) -> Expired:
        """Remove the events dispatched before a moment: what was lost. dry_run: what would be."""
        return expire(self._on_disk("shortened"), before_us, org=org, dry_run=dry_run)

    def backup(self, folder: str | Path) -> Backup:
        """Copy the ledger as it is now into a new folder."""
        return backup(self._on_disk("backed up"), folder)

    def _on_disk(self, done: str) -> str:
        self._read()
        if self._path == MEMORY:
            raise LedgerError(f"a ledger in memory cannot be {done}: open one in a file")
        return self._path

    def write_parquet(self, path: Path, where: Filter = _EVERYTHING) -> int:
        """Write events as a Parquet file: see `Store.write_parquet`."""
        self._read()
        return write_parquet(self._hot, where, path)

    def price_record(self, price_hash: str) -> str | None:
        """The text of a price record that an event was priced with."""
        found = self._read().rows("SELECT text FROM price_records WHERE hash = ?", (price_hash,))
        return str(found[0][0]) if found else None

    def closings(self) -> list[Closing]:
        """The months that were closed, in their order."""
        return closings(self._ready_reads().rows(CLOSED))

    def close_month(self, closing: Closing) -> None:
        """Keeps that a month is closed."""
        self._must_be_open()
        self._writer.transact(lambda db: close_month(db, closing))

    def _read(self) -> Reads:
        """Whoever reads, once what this store has accepted is there to be read."""
        self._must_be_open()
        if self._queue is not None:
            with contextlib.suppress(LedgerError):  # counted and told by the queue; the rest can be read
                self._queue.flush()
        return self._reads

    def _ready_reads(self) -> Reads:
        """Whoever reads what needs no event that may still be queued."""
        self._must_be_open()
        return self._reads

    def _must_be_open(self) -> None:
        if self._closed:
            raise LedgerError(f"the ledger {self._path} has been closed: open it again with open_ledger({self.url!r})")

    def flush(self) -> None:
        """Returns when everything accepted so far is as durable as `commit`."""
        if self._queue is not None:
            self._queue.flush()

    def health(self) -> Health:
        """How the store is."""
        self._must_be_open()
        ((count, last),) = self._reads.rows("SELECT (SELECT count(*) FROM events), (SELECT max(at_us) FROM events)")
        sealed = self._hot.sealed()
        lasts = [at for at in (last, *(segment.last_us for segment in sealed.segments)) if at is not None]
        on_disk = self._path != MEMORY
        faulty = [part for part in (self._writer, self._checkpointer, self._queue, self._sealer) if part is not None]
        said = [part.last_fault for part in faulty if part.last_fault is not None]
        return Health(
            url=self.url,
            path=self._path if on_disk else None,
            durability=self._durability,
            size_bytes=_size(self._path) if on_disk else 0,
            wal_bytes=_size(self._path + "-wal") if on_disk else 0,
            events=count + sealed.rows,
            last_at_us=max(lasts, default=None),
            sealed=sealed.rows,
            segments=len(sealed.segments),
            sealed_bytes=sum(segment.bytes for segment in sealed.segments),
            schema_version=self._version,
            sqlite_version=sqlite_version(),
            queued=len(self._queue) if self._queue is not None else 0,
            lost=self._queue.lost if self._queue is not None else 0,
            faults=sum(part.faults for part in faulty),
            last_fault=said[-1] if said else None,
        )

    def close(self) -> None:
        """Flush and let go of the file. May be called twice. LedgerError where queued events could not be written."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._queue is not None:
                self._queue.close()
        finally:
            for part in (self._sealer, self._checkpointer, self._readers, self._writer):
                if part is not None:
                    part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def before_fork(self) -> None:
        """No thread of this store is inside SQLite while the process forks."""
        for part in (self._sealer, self._writer, self._checkpointer, self._readers):
            if part is not None:
                part.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for part in (self._sealer, self._writer, self._checkpointer, self._readers):
            if part is not None:
                part.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Connections of its own, opened when first used; nothing queued. A ledger in memory starts empty."""
        for part in (self._sealer, self._writer, self._checkpointer, self._readers, self._queue, self._group):
            if part is not None:
                part.after_fork_in_child()
        self._hot.fresh()
        if self._path == MEMORY:
            self.accounts.fresh()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
