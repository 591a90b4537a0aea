"""Some lines of a file, priced and made ready for the ledger, in a form that one process can hand to another."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from farthing.capture.logs.values import Outcome, Problem, Read
from farthing.errors import LedgerError
from farthing.ledger.rows import PRICE_HASH, Prepared, prepare
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, price_call

Nameless = tuple[bytes, tuple[tuple[int, int], ...]]
"""A line whose calls have no id: the digest of what it says, and (place among the entries, part) of each call."""


@dataclass(slots=True)
class Lot:
    """What the lines came to, in their order. `numbers` are the lines of the `entries`, from 1.

    lines     how many they were, blank ones apart
    said      log records of a process that helps: (logger, level, text)
    """

    lines: int = 0
    numbers: list[int] = field(default_factory=list)
    entries: list[Prepared] = field(default_factory=list)
    nameless: list[Nameless] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    said: list[tuple[str, int, str]] = field(default_factory=list)


def read_lot(
    outcomes: Iterable[tuple[int, Outcome]], file: str, catalog: Catalog, finish: Callable[[Call], Call] | None
) -> Lot:
    """Prices what lines hold: (number, outcome) of each. `finish` is done to every call before."""
    lot = Lot()
    for number, outcome in outcomes:
        lot.lines += 1
        if isinstance(outcome, Read):
            places = []
            for part, call in enumerate(outcome.calls):
                event, record = price_call(catalog, call if finish is None else finish(call))
                try:
                    entry = prepare(event, record)
                except LedgerError as error:  # counts beyond the ledger's 64 bits
                    lot.problems.append(Problem(file, number, str(error)))
                    continue
                if outcome.content is not None and call.dedupe_key is None:
                    places.append((len(lot.entries), part))
                lot.entries.append(entry)
                lot.numbers.append(number)
            if outcome.content is not None:
                lot.nameless.append((outcome.content, tuple(places)))
        elif isinstance(outcome, Problem):
            lot.problems.append(outcome if outcome.line else Problem(outcome.file, number, outcome.reason))
        else:
            lot.skipped[outcome.reason] += 1
    return lot


def packed(lot: Lot) -> bytes:
    """The lot as bytes for `unpacked`, in another process of this same program."""
    records = {entry.row[PRICE_HASH]: entry.price_record for entry in lot.entries}
    problems = [(one.file, one.line, one.reason) for one in lot.problems]
    rows = [entry.row for entry in lot.entries]
    return marshal.dumps((lot.lines, lot.numbers, rows, records, lot.nameless, problems, dict(lot.skipped), lot.said))


def unpacked(data: bytes) -> Lot:
    """The lot; its events are made when asked for."""
    parts: tuple[Any, ...] = marshal.loads(data)
    lines, numbers, rows, records, nameless, problems, skipped, said = parts
    entries = [Prepared(row, records[row[PRICE_HASH]]) for row in rows]
    told = [Problem(*problem) for problem in problems]
    return Lot(lines, numbers, entries, nameless, told, Counter(skipped), said)
