"""From files to the ledger: read, price, append in lots; what could not be read is told, the rest is kept."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import BinaryIO

from farthing.capture.logs.csv_rows import Reading, read_rows
from farthing.capture.logs.files import LINE_LIMIT, Block, Source, looks_like, opened
from farthing.capture.logs.helpers import read_all
from farthing.capture.logs.jsonl import read_json, read_value
from farthing.capture.logs.lot import Lot, read_lot
from farthing.capture.logs.values import BadLine, Outcome, Problem
from farthing.errors import InputError, LedgerError
from farthing.event import EMPTY, Attribution
from farthing.ledger.store import Counts, Store
from farthing.pricing.catalog import Catalog
from farthing.recording import Call

LOT = 2_000
"""Rows that are read, priced and kept together; of lines as many as a block has. A lot is durable once it is kept."""

PROBLEMS_KEPT = 1_000

Progress = Callable[[Source, "Tally"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to read. kind: jsonl, csv or json; None: as the file looks. mapping, constants: see `csv_rows`.

    attribute: what calls are attributed to where their line says nothing
    finish: what is done to every call before it is priced, e.g. its user hashed
    """

    kind: str | None = None
    mapping: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    constants: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    attribute: Attribution | None = None
    finish: Callable[[Call], Call] | None = None


@dataclass(slots=True)
class Tally:
    """What became of the lines. `bad` counts all problems, `problems` keeps the first ones."""

    lines: int = 0
    counts: Counts = field(default_factory=Counts)
    skipped: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    problems: list[Problem] = field(default_factory=list)

    def problem(self, problem: Problem) -> None:
        """One more line that could not be read."""
        self.bad += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


def import_files(
    paths: Iterable[str], store: Store, catalog: Catalog, *, options: Options, stdin: BinaryIO, progress: Progress
) -> Tally:
    """Read every file into the store. A file that cannot be read is a problem of its line 0; the others are read."""
    tally = Tally()
    for path in paths:
        try:
            with opened(path, stdin) as source, no_collector():
                _import(source, store, catalog, options, tally, progress)
        except InputError as error:
            tally.problem(Problem(path, 0, str(error).removeprefix(f"{path}: ")))
        except OSError as error:
            tally.problem(Problem(path, 0, error.strerror or str(error)))
    return tally


@contextmanager
def no_collector() -> Iterator[None]:
    """Nothing that is read forms cycles; looking for some in every lot would take a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _import(source: Source, store: Store, catalog: Catalog, options: Options, tally: Tally, progress: Progress) -> None:
    told_apart = _Occurrences()
    reading = _Reading(source, catalog, options)
    for lot in reading.lots():
        tally.lines += lot.lines
        tally.skipped.update(lot.skipped)
        for problem in lot.problems:
            tally.problem(problem)
        for content, calls in lot.nameless:
            key = told_apart.key(content)
            for place, part in calls:
                lot.entries[place] = lot.entries[place].keyed(f"{key}#{part}" if part else key)
        try:
            tally.counts += store.append_many(lot.entries)
        except LedgerError as error:
            if type(error) is not LedgerError:  # the ledger itself failed: full, busy, damaged, ...
                raise
            _keep_one_by_one(store, lot, source.name, tally)
        progress(source, tally)
    if reading.broken is not None:
        raise reading.broken


def _keep_one_by_one(store: Store, lot: Lot, file: str, tally: Tally) -> None:
    """The entries of a lot in which one was refused, e.g. a number beyond the ledger's 64 bits: that is a problem."""
    for number, entry in zip(lot.numbers, lot.entries, strict=True):
        try:
            tally.counts += store.append_many([entry])
        except LedgerError as error:
            if type(error) is not LedgerError:
                raise
            tally.problem(Problem(file, number, str(error)))


class _Occurrences:
    """Tells equal lines of one file apart by their number among their equals. 64 bits of each digest are remembered."""

    def __init__(self) -> None:
        self._once: set[int] = set()
        self._more: dict[int, int] = {}

    def key(self, content: bytes) -> str:
        """The dedupe key of a line: its content, and which of the file's equal lines it is."""
        short = int.from_bytes(content[:8], "big")
        if short not in self._once:
            self._once.add(short)
            return f"content:{content.hex()}"
        self._more[short] = number = self._more.get(short, 1) + 1
        return f"content:{content.hex()}:{number}"


class _Reading:
    """One file, lot by lot. `broken`: why it could not be read to its end, once all before that has been given."""

    def __init__(self, source: Source, catalog: Catalog, options: Options) -> None:
        self.broken: InputError | None = None
        self._source, self._catalog, self._options = source, catalog, options
        self._named = f"import:{PurePath(source.name).name}" if source.name != "-" else "import:stdin"

    def lots(self) -> Iterator[Lot]:
        """What the lines of the file came to."""
        kind = self._options.kind or looks_like(self._source.name, self._source.head())
        if kind == "jsonl":
            yield from read_all(self._blocks(), self._read_block)
            return
        outcomes = self._values() if kind == "json" else self._rows()
        while some := list(islice(outcomes, LOT)):
            yield self._read(some)

    def _read(self, outcomes: Iterable[tuple[int, Outcome]]) -> Lot:
        return read_lot(outcomes, self._source.name, self._catalog, self._options.finish)

    def _read_block(self, block: Block) -> Lot:
        return self._read(_json_lines(block, self._source.name, self._named, self._options.attribute))

    def _blocks(self) -> Iterator[Block]:
        """The lines of the file, as far as it can be read."""
        try:
            yield from self._source.blocks()
        except InputError as broken:
            self.broken = broken

    def _values(self) -> Iterator[tuple[int, Outcome]]:
        """What the values of a `.json` file hold."""
        for number, value in enumerate(self._source.values(), 1):
            try:
                yield number, read_value(value, source=self._named, defaults=self._options.attribute)
            except BadLine as bad:
                yield number, Problem(self._source.name, number, str(bad))

    def _rows(self) -> Iterator[tuple[int, Outcome]]:
        """What the rows of a CSV file hold."""
        options = self._options
        reading = Reading(self._source.name, self._named, options.mapping, options.constants, options.attribute)
        text = (
            line.decode("utf-8", "replace") + "\n"
            for block in self._blocks()
            for _, line in block.lines()
            if line is not None
        )
        yield from read_rows(text, reading)


def _json_lines(block: Block, file: str, name: str, defaults: Attribution | None) -> Iterator[tuple[int, Outcome]]:
    """(line number, what it holds) for every line that is not blank."""
    for number, line in block.lines():
        if line is None:
            yield number, Problem(file, number, f"is longer than {LINE_LIMIT} bytes")
            continue
        try:
            text = (line.decode("utf-8-sig") if number == 1 else line.decode()).lstrip()
            if not text:
                continue
            yield number, read_json(text, source=name, defaults=defaults)
        except BadLine as bad:
            yield number, Problem(file, number, str(bad))
        except UnicodeDecodeError as bad:
            yield number, Problem(file, number, f"is no UTF-8: {bad.reason} at byte {bad.start}")
