"""What every store of events can do, as a Protocol, and the values that go in and come out.

A store's operations are whole intents (append, totals, ...), never SQL or open transactions, so that the same intents
work on another database or over a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from farthing.event import ATTRIBUTION_FIELDS, EMPTY, Event
from farthing.ledger.rows import Prepared, to_json
from farthing.ledger.sql_values import Answer, Limits
from farthing.totals import Totals

if TYPE_CHECKING:
    from farthing.ledger.backup import Backup
    from farthing.ledger.forget import Forgotten
    from farthing.ledger.retain import Expired
    from farthing.ledger.upkeep import Compacted

if TYPE_CHECKING:
    from farthing.ledger.accounts import Accounts
    from farthing.ledger.closing import Closing

Durability = Literal["commit", "full", "queued"]
"""commit: an acknowledged event survives kill -9; full: and power loss; queued: written soon, by a thread."""

DURABILITIES: tuple[Durability, ...] = ("commit", "full", "queued")

Outcome = Literal["added", "duplicate", "corrected"]
"""added: it was not known; duplicate: it was, as well as now; corrected: it was, but less was known of it, and the
difference has been added. A queued store answers `added` at once, and its sums are right all the same."""

Order = Literal["time", "-time", "recorded"]
"""time: as dispatched, corrections after their event; -time: latest first; recorded: as written."""

Entry = tuple[Event, str | None]
"""An event and the text of the price record it was priced with (None: known already, or there is none)."""

STATUS_FIELDS = ("status", "price_status", "usage_status")
"""Read as the newest correction has them, for an event and its corrections alike."""

TIME_FIELDS = ("hour", "day", "week", "month")
"""Parts of time, as text that sorts: 2026-07-01T14:00, 2026-07-01, 2026-06-29 (the week's Monday), 2026-07."""

TEXT_FIELDS = (
    *ATTRIBUTION_FIELDS,
    "provider",
    "model",
    "requested_model",
    "operation",
    "source",
    "recorder",
    "response_id",
    "dedupe_key",
    "price_hash",
    "error",
    "id",
    "corrects",
    "billing",
)
"""What a filter may compare and a question may group by, besides statuses and `metadata.<key>`."""


KEY_FIELD = "key"
"""The API key of a call as its fingerprint tells it: its last four characters and a digest. Used like a text field."""


def _everything() -> Mapping[str, str | None]:
    return EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events: all that satisfy everything given here.

    since_us, until_us  dispatched at or after, and before: `[since, until)`, microseconds since 1970 UTC
    recorded_since_us, recorded_until_us  written at or after, and before
    org                 of this organisation only
    equals              {field: text or None (= not given)} over `TEXT_FIELDS`, `STATUS_FIELDS` and `metadata.<key>`
    """

    since_us: int | None = None
    until_us: int | None = None
    recorded_since_us: int | None = None
    recorded_until_us: int | None = None
    org: str | None = None
    equals: Mapping[str, str | None] = field(default_factory=_everything)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to add up: one row of totals for each distinct value of `by` among the events of `where`.

    by     fields of `TEXT_FIELDS`, `STATUS_FIELDS`, `TIME_FIELDS` and `metadata.<key>`; none: one row of all
    limit  the first so many rows only; in order of time where the first field is one, else dearest first
    tz     the IANA time zone whose hours, days, weeks and months are meant
    sums   names of `Totals` (and plan_pico, first_us, last_us) that are wanted, the others are left 0: fewer are
           faster; None: all. Calls and cost always are
    """

    by: tuple[str, ...] = ()
    where: Filter = Filter()
    limit: int | None = None
    tz: str = "UTC"
    sums: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: the values asked for, in the question's order (None: not given), and what their events add up to.

    first_us and last_us are the earliest and latest dispatch; None where there are no events. plan_pico is the part of
    the cost that is list price inside a flat plan.
    """

    key: tuple[str | None, ...]
    totals: Totals
    first_us: int | None = None
    last_us: int | None = None
    plan_pico: int = 0


@dataclass(frozen=True, slots=True)
class Top:
    """The first rows of an answer, and what all the others come to.

    rest   the totals of the rows that are not shown; `rest_rows`: how many they are
    total  of all rows
    """

    rows: list[Row]
    rest: Totals
    rest_rows: int
    total: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceUse:
    """What was used at one price: enough to compute what it would have cost without a cache, or at other rates.

    key         the values of the fields asked for
    price_hash  the price record; None where none is known. context: of the requests, as JSON text
    step        how many of the steps asked for lie below the call's input tokens: its band of context length
    units       exact sums of all units of billed events, corrections included in the band of their own counts
    """

    key: tuple[str | None, ...]
    provider: str | None
    model: str
    price_hash: str | None
    context: str | None
    step: int
    calls: int
    cost_pico: int
    units: Mapping[str, int | Decimal]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the entries of one `append_many`."""

    added: int = 0
    duplicate: int = 0
    corrected: int = 0

    @property
    def total(self) -> int:
        """How many entries there were."""
        return self.added + self.duplicate + self.corrected

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.added + other.added, self.duplicate + other.duplicate, self.corrected + other.corrected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a store is. Sizes are bytes; `wal_bytes` waits to be moved into the file.

    queued  entries accepted but not yet written (durability `queued` only)
    sealed  events that are in `segments` files, of `sealed_bytes` together
    lost    entries that were accepted and could not be written when the store closed
    faults  what failed in the background since the store was opened; `last_fault` in words
    """

    url: str
    path: str | None
    durability: Durability
    size_bytes: int
    wal_bytes: int
    events: int
    last_at_us: int | None
    schema_version: int
    sqlite_version: str
    sealed: int = 0
    segments: int = 0
    sealed_bytes: int = 0
    queued: int = 0
    lost: int = 0
    faults: int = 0
    last_fault: str | None = None


class Store(Protocol):
    """The system of record: append-only, idempotent by event id and by dedupe key within an organisation.

    Safe to use from several threads. Every method may raise `LedgerError`; nothing of a failed append is kept.
    """

    @property
    def url(self) -> str:
        """What opens this store again."""

    @property
    def accounts(self) -> Accounts:
        """Its budgets, their accounts, and what is held in them."""

    def append(self, event: Event, price_record: str | None = None) -> Outcome:
        """Keep one event and the record it was priced with. When this returns, it is as durable as the store promises.

        A known event seen more fully becomes a correction: the difference, in an event of its own.
        """

    def append_many(self, entries: Iterable[Entry | Prepared]) -> Counts:
        """Keep many, in order; they are taken and committed in lots, so that memory and locks stay bounded.

        Those that are `Prepared` were made ready elsewhere, e.g. by a process that helps with an import.
        """

    def get(self, event_id: str, org: str | None = None) -> Event | None:
        """The event with this id as it was recorded, or None. Without `org`: of any organisation."""

    def get_by_key(self, dedupe_key: str, org: str) -> Event | None:
        """The event of this organisation with this dedupe key as it was recorded, or None."""

    def history(self, event_id: str, org: str | None = None) -> list[Event]:
        """The event and its corrections, oldest first; empty where the id is unknown. A correction's id will do."""

    def find(self, prefix: str) -> list[Event]:
        """Events whose id begins so, at most 50, in order of id."""

    def events(self, where: Filter = ..., *, order: Order = "time", limit: int | None = None) -> Iterator[Event]:
        """The events as of the first `next()`, a page at a time: no lock between pages, memory for one page."""

    def totals(self, question: Question = ...) -> list[Row]:
        """Exact sums, corrections included."""

    def top(self, question: Question = ...) -> Top:
        """As `totals`, and what the rows beyond the question's limit, and all together, come to."""

    def quantiles(
        self, of: str, shares: tuple[float, ...], *, by: tuple[str, ...] = (), where: Filter = ...
    ) -> dict[tuple[str | None, ...], list[int]]:
        """{key: values at these shares}, e.g. (0.5, 0.95), of `cost_pico` or a count of tokens over billed calls.

        Each value is one that a call has, corrections included; at least that share of the calls have no more. Calls
        without a known cost are not in it.
        """

    def usage_by_price(
        self, *, by: tuple[str, ...] = (), where: Filter = ..., steps: tuple[int, ...] = ()
    ) -> list[PriceUse]:
        """What was used at each price record, request context and step of input tokens: see `PriceUse`."""

    def sql(self, statement: str, *, org: str = "default", limits: Limits = ...) -> Answer:
        """The answer to one SELECT over the views `events` and `traces` of an organisation; nothing else may be run.

        InputError says what is wrong with it; LedgerError that it took more time or memory than `limits` allow.
        """

    def price_record(self, price_hash: str) -> str | None:
        """The text of a price record that an event was priced with."""

    def write_parquet(self, path: Path, where: Filter = ...) -> int:
        """Write the events of a filter as a Parquet file, whole or not at all; how many they are."""

    def closings(self) -> list[Closing]:
        """The months that were closed, in their order."""

    def close_month(self, closing: Closing) -> None:
        """Keeps that a month is closed. One that is closed already: InputError."""

    def compact(self, *, keep_rows: int = ..., all_small: bool = False) -> Compacted:
        """Seal what is older than the newest rows, and merge small files. It happens by itself as well."""

    def forget(self, *users: str, org: str | None = None) -> Forgotten:
        """Replace a person's name, in any of these spellings, by a label; every sum stays."""

    def expire(self, before_us: int, *, org: str | None = None, dry_run: bool = False) -> Expired:
        """Remove the events dispatched before a moment: what was lost. dry_run: what would be."""

    def backup(self, folder: str | Path) -> Backup:
        """Copy the ledger as it is now into a new folder."""

    def flush(self) -> None:
        """Returns when everything accepted so far is as durable as `commit`."""

    def health(self) -> Health:
        """How the store is."""

    def close(self) -> None:
        """Flush and let go of the file. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def metadata_text(value: Any) -> str | None:
    """A metadata value as filters and groups show it: text as it is, None as None, everything else as JSON."""
    return value if value is None or isinstance(value, str) else to_json(value)
