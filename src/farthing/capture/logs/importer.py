"""From files to the ledger: read, price, append in lots; what could not be read is told, the rest is kept."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import BinaryIO

from farthing.capture.logs.csv_rows import Reading, read_rows
from farthing.capture.logs.files import LINE_LIMIT, Source, looks_like, opened
from farthing.capture.logs.jsonl import read_json, read_value
from farthing.capture.logs.values import BadLine, Outcome, Problem, Read
from farthing.errors import InputError, LedgerError
from farthing.event import EMPTY, Attribution
from farthing.ledger.store import Counts, Entry, Store
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, price_call

LOT = 2_000
"""Entries of one append: each lot is durable when its append returns."""

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
            with opened(path, stdin) as source, _no_collector():
                _import(source, store, catalog, options, tally, progress)
        except InputError as error:
            tally.problem(Problem(path, 0, str(error).removeprefix(f"{path}: ")))
        except OSError as error:
            tally.problem(Problem(path, 0, error.strerror or str(error)))
    return tally


@contextmanager
def _no_collector() -> Iterator[None]:
    """Nothing that is read forms cycles; looking for some in every lot would take a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _import(source: Source, store: Store, catalog: Catalog, options: Options, tally: Tally, progress: Progress) -> None:
    lot: list[Entry] = []
    numbers: list[int] = []

    def keep() -> None:
        read, lines = lot.copy(), numbers.copy()
        lot.clear()
        numbers.clear()
        try:
            tally.counts += store.append_many(read)
        except LedgerError as error:
            if type(error) is not LedgerError:  # the ledger itself failed: full, busy, damaged, ...
                raise
            _keep_one_by_one(store, read, lines, source.name, tally)
        progress(source, tally)

    try:
        for number, entry in _entries(source, catalog, options, tally):
            lot.append(entry)
            numbers.append(number)
            if len(lot) == LOT:
                keep()
    finally:  # what was read before a file broke off is kept
        keep()


def _keep_one_by_one(store: Store, lot: list[Entry], numbers: list[int], file: str, tally: Tally) -> None:
    """The entries of a lot in which one was refused, e.g. counts beyond the ledger's 64 bits: that one is a problem."""
    for number, entry in zip(numbers, lot, strict=True):
        try:
            tally.counts += store.append_many([entry])
        except LedgerError as error:
            if type(error) is not LedgerError:
                raise
            tally.problem(Problem(file, number, str(error)))


def _entries(source: Source, catalog: Catalog, options: Options, tally: Tally) -> Iterator[tuple[int, Entry]]:
    """(line number, priced event) of a file, problems and skipped lines told to the tally."""
    told_apart = _Occurrences()
    finish = options.finish
    for number, outcome in _outcomes(source, options):
        tally.lines += 1
        if isinstance(outcome, Read):
            occurrence = None if outcome.content is None else told_apart.key(outcome.content)
            for part, call in enumerate(outcome.calls):
                if occurrence is not None and call.dedupe_key is None:
                    call = replace(call, dedupe_key=f"{occurrence}#{part}" if part else occurrence)
                yield number, price_call(catalog, call if finish is None else finish(call))
        elif isinstance(outcome, Problem):
            tally.problem(outcome if outcome.line else Problem(outcome.file, number, outcome.reason))
        else:
            tally.skipped[outcome.reason] += 1


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


def _outcomes(source: Source, options: Options) -> Iterator[tuple[int, Outcome]]:
    """(line number, what it holds) for every line that is not blank."""
    name = f"import:{PurePath(source.name).name}" if source.name != "-" else "import:stdin"
    kind = options.kind or looks_like(source.name, source.head())
    if kind == "json":
        for number, value in enumerate(source.values(), 1):
            yield number, _read(partial(read_value, value, source=name, defaults=options.attribute), source, number)
    elif kind == "csv":
        text = (line.decode("utf-8", "replace") for _, line in source.lines() if line is not None)
        reading = Reading(source.name, name, options.mapping, options.constants, options.attribute)
        yield from read_rows(text, reading)
    else:
        yield from _json_lines(source, name, options.attribute)


def _json_lines(source: Source, name: str, defaults: Attribution | None) -> Iterator[tuple[int, Outcome]]:
    for number, line in source.lines():
        if line is None:
            yield number, Problem(source.name, number, f"is longer than {LINE_LIMIT} bytes")
            continue
        try:
            text = (line.decode("utf-8-sig") if number == 1 else line.decode()).lstrip()
            if not text:
                continue
            yield number, read_json(text, source=name, defaults=defaults)
        except BadLine as bad:
            yield number, Problem(source.name, number, str(bad))
        except UnicodeDecodeError as bad:
            yield number, Problem(source.name, number, f"is no UTF-8: {bad.reason} at byte {bad.start}")


def _read(read: Callable[[], Outcome], source: Source, number: int) -> Outcome:
    try:
        return read()
    except BadLine as bad:
        return Problem(source.name, number, str(bad))
