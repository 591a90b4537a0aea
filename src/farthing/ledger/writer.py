"""The one connection that writes: whole intents, each in one transaction, under one lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from farthing.errors import LedgerBusy, LedgerError
from farthing.event import Event, now_us
from farthing.ledger import corrections, forks
from farthing.ledger.engine import Database, translated
from farthing.ledger.known import Known, by_id, by_key, corrections_in, days, original_of
from farthing.ledger.rows import (
    COLUMNS,
    CORRECTS,
    ID,
    KEY,
    OBSERVED,
    OBSERVED_COLUMNS,
    ORG,
    PRICE_HASH,
    Prepared,
    cleaned,
    prepare,
    to_event,
)
from farthing.ledger.segments import Sealed
from farthing.ledger.sheet import Book
from farthing.ledger.store import Outcome

Answer = TypeVar("Answer")
Given = TypeVar("Given")
Work = Callable[[Database], Answer]
_LISTED = ",".join(COLUMNS)  # without quotes: that many letters less for each statement to be recognised by
SELECT = f"SELECT {_LISTED} FROM events"
INSERT = f"INSERT INTO events ({_LISTED}) VALUES ({','.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"

MEASURED_ROWS = 32
"""The write-ahead log is measured after so many rows, each of which makes it some ten pages longer at most."""
_SEEN = f"SELECT seq, corrects, {', '.join(OBSERVED_COLUMNS)} FROM events"


def no_text(error: UnicodeEncodeError) -> LedgerError:
    """The error of who asks the ledger with half a surrogate."""
    return LedgerError(f"a key or a name is no text, so the ledger cannot keep it: {error}")


class Writer:
    """Writes entries and says what became of each. Opens its connection again in a forked child."""

    def __init__(self, open_database: Callable[[], Database], grown: Callable[[Database], None] | None = None) -> None:
        self._open = open_database
        self._grown = grown
        self.faults = 0
        self.last_fault: str | None = None
        self.book = Book()
        self.known: Known | None = None
        self._fresh()
        self._database: Database | None = open_database()

    def _fresh(self) -> None:
        self.lock = threading.RLock()
        self._database = None
        self._writing = False
        self._left = MEASURED_ROWS
        self._late: list[Work[object]] = []
        self._prices: set[str | None] = {None}  # those that are kept
        self._new_prices: set[str] = set()
        self._held = False

    @property
    def database(self) -> Database:
        """The connection; whoever uses it holds `lock`."""
        if self._database is None:
            self._database = self._open()
        return self._database

    def write(self, entries: Sequence[Prepared]) -> list[Outcome]:
        """Keep the entries, in one transaction: what became of each. Nothing is kept where an error is raised."""
        return self.transact(lambda database: self._write(database, entries), late=["added"] * len(entries))

    @overload
    def transact(self, work: Work[Answer], *, late: Answer | None = None) -> Answer: ...
    @overload
    def transact(
        self, work: Callable[[Database, Writer, Given], Answer], given: Given, *, late: Answer | None = None
    ) -> Answer: ...
    def transact(self, work: Callable[..., Answer], given: Any = None, *, late: Answer | None = None) -> Answer:
        """What `work` gives, done in one transaction; nothing of it is kept where it raises.

        given: work for which a closure would be dear gets it, after the writer.
        late: the answer where this very thread is amid a transaction (a signal handler, a finalizer): the work is then
        done right after it; after the next one, or at the close, where that is undone. Work that cannot wait:
        LedgerBusy.
        """
        since = time.monotonic()
        with self.lock:
            if self._writing:
                if late is None:
                    raise LedgerBusy("the ledger is amid a transaction of this very thread: try again after it")
                self._late.append(work if given is None else lambda database: work(database, self, given))
                self._left = 0
                return late
            database = self._database or self.database
            database.since[0] = since
            kept = False
            self._writing = True
            try:
                database.begin()
                answer = work(database) if given is None else work(database, self, given)
                database.commit()
                kept = True
            except database.fault as error:
                raise translated(error, database.path) from error
            except UnicodeEncodeError as error:
                raise no_text(error) from error
            finally:
                try:
                    if not kept:
                        self._forget()
                        database.undo()
                finally:
                    self._writing = False  # not before: what comes while it is undone is late, too
            self._left -= 1
            if self._left <= 0:
                self._after()
        if self.book.alerts:
            self.book.announce()
        return answer

    def _after(self) -> None:
        """Do what need not be done each time: remember the prices kept, do what came meanwhile, measure the log."""
        self._left = MEASURED_ROWS
        self._prices |= self._new_prices
        self._new_prices.clear()
        while self._late:  # one that is interrupted leaves the others for later
            try:
                self.transact(self._late.pop(0))
            except LedgerError as error:
                self.faults += 1
                self.last_fault = str(error)
        if self._grown is not None:
            self._grown(self.database)

    def _forget(self) -> None:
        """The transaction is undone, and so is what was learned in it."""
        self._new_prices.clear()
        self.book.forget()

    def restart(self, database: Database) -> None:
        """Undo what a transaction of `transact` has done, which was only to try a plan, and begin it again."""
        self._new_prices.clear()
        database.restart()

    def clean(self, database: Database, entries: Sequence[Prepared]) -> list[Prepared]:
        """The entries, with all that is no text replaced; the transaction that they broke begins again."""
        self._forget()
        database.restart()
        return [cleaned(entry) for entry in entries]

    def _write(self, database: Database, entries: Sequence[Prepared]) -> list[Outcome]:
        self._left -= len(entries) - 1
        try:
            return self._insert_and_post(database, entries)
        except UnicodeEncodeError:
            return self._insert_and_post(database, self.clean(database, entries))
        except (TypeError, OverflowError) as error:
            raise LedgerError(
                f"one of {len(entries)} events has a value that the ledger cannot keep: {error}"
            ) from error

    def _insert_and_post(self, database: Database, entries: Sequence[Prepared]) -> list[Outcome]:
        news: list[Prepared] = []
        outcomes = self._insert(database, entries, news)
        if news and self.book.current(database):
            self.book.post(database, [entry.event for entry in news], now_us())
        return outcomes

    def insert(self, database: Database, entries: Sequence[Prepared], news: list[Prepared]) -> list[Outcome]:
        """Keep entries inside a transaction of `transact`: what became of each; `news` gets what was really added.

        UnicodeEncodeError where a value is no text: to be tried again with what `clean` makes of them.
        """
        try:
            return self._insert(database, entries, news)
        except (TypeError, OverflowError) as error:
            raise LedgerError(f"an event has a value that the ledger cannot keep: {error}") from error

    def insert_new(self, database: Database, entry: Prepared) -> bool:
        """Keep one event, as `insert`, if it is new and corrects none; False: nothing was done."""
        row = entry.row
        if row[CORRECTS] is not None:
            return False
        sealed = self.known.look(database) if self.known is not None else None
        if sealed is not None and sealed.keys.runs and days(sealed, entry) is not None:
            return False
        run, changes = database.run, database.changes
        try:
            run(INSERT, row)
        except (TypeError, OverflowError) as error:
            raise LedgerError(f"{row[ID]} has a value that the ledger cannot keep: {error}") from error
        if not changes():
            return False
        price_hash = row[PRICE_HASH]
        if price_hash is not None and price_hash not in self._prices:
            self._keep_prices(database, (entry,), ("added",))
        return True

    def known_by(self, database: Database, key: str, org: str) -> Event | None:
        """The event with this dedupe key, inside a transaction: the original, or a correction that has a call's key."""
        found = database.rows(f"{SELECT} WHERE dedupe_key = ? AND org = ?", (key, org))
        sealed = self.known.look(database) if self.known is not None and not found else None
        return to_event(found[0]) if found else by_key(sealed, key, org) if sealed is not None else None

    def put_right(
        self, database: Database, original: Event, seen: Prepared, news: list[Prepared], calls: int = 0
    ) -> None:
        """Keep, inside a transaction, that an event is as it was now seen, even where that is less; as `instead`."""
        sealed = self.known.look(database) if self.known is not None else None
        made = corrections.instead(seen.event, original, corrections_of(database.rows, original, sealed), calls=calls)
        entry = prepare(made, seen.price_record)
        database.execute(INSERT, entry.row)
        news.append(entry)
        self._keep_prices(database, [entry], ["corrected"])

    def _insert(self, database: Database, entries: Sequence[Prepared], news: list[Prepared]) -> list[Outcome]:
        if len(entries) == 1 and self.insert_new(database, entries[0]):
            news.append(entries[0])
            return ["added"]
        sealed = self.known.look(database) if self.known is not None else None
        if sealed is None or not sealed.keys.runs:
            outcomes = self._insert_new(database, entries, news)
        else:
            outcomes = self._insert_unknown(database, entries, news, sealed)
        self._keep_prices(database, entries, outcomes)
        return outcomes

    def _insert_unknown(
        self, database: Database, entries: Sequence[Prepared], news: list[Prepared], sealed: Sealed
    ) -> list[Outcome]:
        """Insert what is not sealed, and correct what is, where more is known of it now."""
        outcomes: list[Outcome] = ["duplicate"] * len(entries)
        unknown: list[int] = []
        for place, entry in enumerate(entries):
            where = days(sealed, entry)
            original = original_of(sealed, entry.event, where) if where else None
            if where is None or (where and original is None):
                unknown.append(place)
            elif original is not None:
                outcomes[place] = _correct(database, entry, original, news, sealed)
        became = self._insert_new(database, [entries[place] for place in unknown], news, sealed) if unknown else []
        for place, outcome in zip(unknown, became, strict=True):
            outcomes[place] = outcome
        return outcomes

    def _insert_new(
        self, database: Database, entries: Sequence[Prepared], news: list[Prepared], sealed: Sealed | None = None
    ) -> list[Outcome]:
        """Insert what is not sealed."""
        if len(entries) == 1:
            return [_insert_one(database, entries[0], news, sealed)]
        if any(entry.row[CORRECTS] is not None for entry in entries):
            return [_insert_one(database, entry, news, sealed) for entry in entries]
        last = database.rows("SELECT max(seq) FROM events")[0][0] or 0
        if database.many(INSERT, [entry.row for entry in entries]) == len(entries):
            news.extend(entries)
            return ["added"] * len(entries)
        # Which of them were new: those with a row now, matched in order, for one lot may hold the same event twice.
        added = iter(database.rows("SELECT id, org, dedupe_key FROM events WHERE seq > ? ORDER BY seq", (last,)))
        expected = next(added, None)
        outcomes: list[Outcome] = []
        for entry in entries:
            if expected == (entry.row[ID], entry.row[ORG], entry.row[KEY]):
                outcomes.append("added")
                news.append(entry)
                expected = next(added, None)
            else:
                outcomes.append(_observe_again(database, entry, news, sealed))
        return outcomes

    def _keep_prices(self, database: Database, entries: Sequence[Prepared], outcomes: Sequence[Outcome]) -> None:
        new: dict[str, str] = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            price_hash = entry.row[PRICE_HASH]
            if price_hash in self._prices or price_hash in self._new_prices or outcome == "duplicate":
                continue
            if price_hash is not None and entry.price_record is not None:
                new[price_hash] = entry.price_record
        if new:
            database.many("INSERT INTO price_records VALUES (?, ?) ON CONFLICT DO NOTHING", list(new.items()))
            self._new_prices.update(new)
            self._left = 0

    def close(self) -> None:
        """Let go of the file, when what came amid the last transaction is done."""
        with self.lock:
            if self._late:
                self._after()
            if self._database is not None:
                self._database.close()
                self._database = None

    def before_fork(self) -> None:
        """Wait for the transaction under way."""
        self._held = self.lock.acquire(timeout=forks.HOLD_S)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._held:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """The connection is the parent's."""
        forks.keep_for_ever(self._database)
        self._fresh()


def _insert_one(database: Database, entry: Prepared, news: list[Prepared], sealed: Sealed | None = None) -> Outcome:
    if entry.row[CORRECTS] is not None and _is_settled(database, entry, sealed):
        return "duplicate"
    database.execute(INSERT, entry.row)
    if not database.changes():
        return _observe_again(database, entry, news, sealed)
    news.append(entry)
    return "added"


def _observe_again(database: Database, entry: Prepared, news: list[Prepared], sealed: Sealed | None = None) -> Outcome:
    """What an observation of a known call comes to. The call is known by id, or else by dedupe key."""
    row = entry.row
    found = database.rows(f"{_SEEN} WHERE id = ? AND org = ?", (row[ID], row[ORG])) or database.rows(
        f"{_SEEN} WHERE dedupe_key = ? AND org = ?", (row[KEY], row[ORG])
    )
    seq, corrects, *observed = found[0]
    if corrects is None and tuple(observed) == row[OBSERVED]:
        return "duplicate"
    return _correct(database, entry, to_event(database.rows(f"{SELECT} WHERE seq = ?", (seq,))[0]), news, sealed)


def _original(database: Database, event_id: str, org: str, sealed: Sealed | None) -> Event | None:
    found = database.rows(f"{SELECT} WHERE id = ? AND org = ?", (event_id, org))
    return to_event(found[0]) if found else by_id(sealed, event_id, org) if sealed is not None else None


def _correct(
    database: Database, entry: Prepared, original: Event, news: list[Prepared], sealed: Sealed | None = None
) -> Outcome:
    """What an observation of a known call, hot or sealed, comes to.

    It may be known by the key of a correction: it was settled by that after it had been posted as estimated.
    """
    if original.corrects is not None:
        known = None if entry.event.corrects else _original(database, original.corrects, entry.row[ORG], sealed)
        if known is None or known.corrects is not None:
            return "duplicate"
        original = known
    made = corrections.correction(entry.event, original, corrections_of(database.rows, original, sealed))
    if made is None:
        return "duplicate"
    correcting = prepare(made, None)
    database.execute(INSERT, correcting.row)
    news.append(correcting)
    return "corrected"


def _is_settled(database: Database, entry: Prepared, sealed: Sealed | None) -> bool:
    """Whether a correction that comes from elsewhere is known here, by its id or by what it says."""
    event = entry.event
    org = event.attribution.org
    assert event.corrects is not None
    if database.rows("SELECT 1 FROM events WHERE id = ? AND org = ?", (event.id, org)):
        return True
    original = _original(database, event.corrects, org, sealed)
    if original is None:
        return False
    return corrections.settled(event, original, corrections_of(database.rows, original, sealed))


def corrections_of(
    rows: Callable[[str, Sequence[object]], list[tuple[object, ...]]], original: Event, sealed: Sealed | None = None
) -> list[Event]:
    """The corrections of an event, in the order they were made."""
    found = rows(f"{SELECT} WHERE corrects = ? AND org = ? ORDER BY seq", (original.id, original.attribution.org))
    older = corrections_in(sealed, original) if sealed is not None else []
    return [*older, *(to_event(row) for row in found)]
