"""The rows that are not sealed yet, as Arrow, together with the list of segments: one moment of the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.ledger import duck
from farthing.ledger.keys import DAY_US
from farthing.ledger.readers import Reads
from farthing.ledger.rows import COLUMNS, TOKEN_COLUMNS
from farthing.ledger.segments import Rows, Sealed, look, nothing

CACHED_ROWS = 50_000
"""From so many hot rows on only the columns that a question needs are fetched, each time anew,"""
MOST_CACHED_ROWS = 500_000
"""unless all of them are needed, as for pages of events, which would fetch them again for each page."""
_BATCHES = 32

INTEGERS = frozenset(
    {
        *("seq", "at_us", "recorded_at_us", "calls", "cost_pico", "reported_pico", *TOKEN_COLUMNS),
        *("restates", "attempt", "billed", "cache_hit"),
    }
)


def _calls_that(said: str, *, price: bool = False, usage: bool = False) -> str:
    now = " OR ".join([f"price_status = '{said}'"] * price + [f"usage_status = '{said}'"] * usage)
    before = " OR ".join([f"prior_price_status IS '{said}'"] * price + [f"prior_usage_status IS '{said}'"] * usage)
    return f"(calls + restates) * ({now}) - restates * ({before})"


DERIVED = {
    "day": f"(at_us - (at_us % {DAY_US} + {DAY_US}) % {DAY_US}) / {DAY_US}",
    "unpriced_calls": _calls_that("unpriced", price=True),
    "partial_calls": _calls_that("partial", price=True, usage=True),
    "estimated_calls": _calls_that("estimated", usage=True),
    "unbilled_attempts": "corrects IS NULL AND NOT billed AND NOT cache_hit",
    "cache_hits": "corrects IS NULL AND cache_hit",
    "errors": "corrects IS NULL AND error IS NOT NULL",
}
"""What a row adds to the counters of `Totals`, as SQLite says it. Segments keep it: all of them are plain sums."""

EVERY = ("seq", *COLUMNS, *DERIVED)


def select(columns: Sequence[str]) -> str:
    """The SELECT of hot rows with these columns."""
    return "SELECT " + ", ".join(f"{DERIVED[c]} AS {c}" if c in DERIVED else f'"{c}"' for c in columns) + " FROM events"


def batch(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Rows of `select(columns)` as an Arrow batch."""
    values: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    kinds = ("int64" if c in INTEGERS or c in DERIVED else "text" for c in columns)
    return duck.batch({c: (kind, held) for c, kind, held in zip(columns, kinds, values, strict=True)})


@dataclass(frozen=True, slots=True)
class Moment:
    """All of a ledger at one moment: no event is in both parts, none in neither.

    rows         the hot rows, an Arrow table; None where there are none
    corrections  whether any hot row corrects another
    last_seq     the greatest number of a row
    """

    sealed: Sealed
    rows: Any
    corrections: bool
    last_seq: int
    first_us: int | None
    last_us: int | None


class Hot:
    """Takes moments of a ledger; keeps hot rows that it has seen, which never change, for the next."""

    def __init__(self, path: str, reads: Reads, seen: Callable[[int], None] | None = None) -> None:
        """seen: told how many rows there are, each time they are looked at."""
        self._path, self._reads, self._seen = path, reads, seen
        self.fresh()

    def fresh(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()
        self._sealed = nothing(self._path)
        self._empty()

    def _empty(self) -> None:
        self._batches: list[Any] = []
        self._table: Any = None
        self._last = 0
        self._corrections = False
        self._first_us: int | None = None
        self._last_us: int | None = None

    def sealed(self) -> Sealed:
        """The sealed part alone, as it is now."""
        return self._reads.snapshot(lambda rows: self._look(rows))

    def _look(self, rows: Rows) -> Sealed:
        with self._lock:
            self._sealed = look(rows, self._sealed)
            return self._sealed

    def moment(self, columns: Collection[str] = EVERY) -> Moment:
        """The ledger as it is now, its hot rows with these columns at least."""
        return self._reads.snapshot(lambda rows: self._take(rows, columns))

    def _take(self, rows: Rows, columns: Collection[str]) -> Moment:
        with self._lock:
            sealed = look(rows, self._sealed)
            if sealed is not self._sealed:
                self._sealed = sealed
                self._empty()
            ((first, last, first_us, last_us),) = rows(
                "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events),"
                " (SELECT min(at_us) FROM events), (SELECT max(at_us) FROM events)"
            )
            if last is None:
                return Moment(sealed, None, False, 0, None, None)
            if self._seen is not None:
                self._seen(last - first + 1)
            warm = self._table is not None and last - self._last < CACHED_ROWS
            most = MOST_CACHED_ROWS if len(columns) == len(EVERY) else CACHED_ROWS
            if not warm and last - first >= most:
                needed = [c for c in EVERY if c in columns or c in ("seq", "corrects")]
                found = rows(select(needed))
                some = any(row[needed.index("corrects")] is not None for row in found)
                return Moment(sealed, duck.table([batch(needed, found)]), some, last, first_us, last_us)
            self._catch_up(rows, last)
            return Moment(sealed, self._table, self._corrections, last, first_us, last_us)

    def _catch_up(self, rows: Rows, last: int) -> None:
        if last == self._last:
            return
        if len(self._batches) >= _BATCHES:
            self._empty()
        found = rows(select(EVERY) + " WHERE seq > ? ORDER BY seq", (self._last,))
        place = EVERY.index("corrects")
        self._corrections = self._corrections or any(row[place] is not None for row in found)
        self._batches.append(batch(EVERY, found))
        self._table = duck.table(self._batches)
        self._last = last
