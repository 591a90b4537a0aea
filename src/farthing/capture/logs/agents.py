"""From the logs of coding agents to the ledger: what is new of them, each call once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from farthing.capture.logs.attributed import Who
from farthing.capture.logs.importer import LOT, Tally, no_collector
from farthing.capture.logs.positions import Position, Positions
from farthing.capture.logs.tail import Tail
from farthing.capture.logs.values import Problem, Skipped
from farthing.errors import InputError
from farthing.event import Attribution
from farthing.ledger.store import Entry, Store
from farthing.money import usd_to_pico
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, price_call

Found = tuple[int, Call | Skipped | Problem]
"""What a line (from 1) of a log holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to read an agent's logs.

    who       makes attributions
    billing   `metered` or `subscription` for every call; None: as the log says, else metered
    model     of calls whose log names none
    source    what events name as theirs
    """

    who: Who
    billing: str | None = None
    model: str | None = None
    source: str


@dataclass(slots=True)
class Part:
    """One log to be read, from where it was left.

    tail       its new lines; None where the log is no file of lines, and is read as a whole from `path`
    state      what the reader remembers from the last time and for the next one; JSON
    positions  what is known across logs
    """

    path: Path
    how: How
    state: dict[str, object]
    positions: Positions
    tail: Tail | None = None

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """The new lines: see `Tail.lines`."""
        return iter(()) if self.tail is None else self.tail.lines()

    def problem(self, number: int, reason: str) -> Found:
        """What to say of a line that cannot be read."""
        return number, Problem(str(self.path), number, reason)


class AgentLog(Protocol):
    """What is particular to one coding agent. `name` is its name on the command line and in reports."""

    @property
    def name(self) -> str:
        """claude-code, codex, ..."""

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """Where its logs are by default, whether or not they exist."""

    def files(self, places: Sequence[Path]) -> list[Path]:
        """The logs in these places, each a folder or a log, in the order in which they are to be read."""

    def by_lines(self, path: Path) -> bool:
        """Whether the log is a file of lines that grows."""

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of a log, and what of it could not be read."""


@dataclass(slots=True)
class AgentTally(Tally):
    """What became of the logs: `files` were looked at, `read` of them had something new, `subscription` calls."""

    files: int = 0
    read: int = 0
    read_bytes: int = 0
    subscription: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """attribute: what fills in what the log does not say; billing, model: as in `How`; finish: as in `Options`."""

    attribute: Attribution = field(default_factory=Attribution)
    billing: str | None = None
    model: str | None = None
    finish: Callable[[Call], Call] | None = None


Progress = Callable[[int, AgentTally], None]
"""Told the bytes done, of those that were not read before."""


class AgentImport:
    """Reads an agent's logs into a store; `poll` reads what is new, and may be called again and again."""

    def __init__(
        self, log: AgentLog, store: Store, catalog: Catalog, positions: Positions, options: AgentOptions | None = None
    ) -> None:
        options = options or AgentOptions()
        self._log, self._store, self._catalog, self._positions = log, store, catalog, positions
        self._finish = options.finish
        self._how = How(
            who=Who(log.name, options.attribute),
            billing=options.billing,
            model=options.model,
            source=f"import:{log.name}",
        )
        self._lot: list[Entry] = []
        self._done: dict[str, Position] = {}
        self._witness: str | None = None
        self._unsettled = 0
        self._org = options.attribute.org
        self._trust()

    def _trust(self) -> None:
        """Forget what was read where the ledger is not the one it was read into."""
        witness = self._positions.witness
        if witness is not None and self._store.get_by_key(witness, self._org) is None:
            self._positions.forget()

    def ahead(self, places: Sequence[Path]) -> int:
        """How many bytes a poll would read."""
        total = 0
        for path in self._log.files(places):
            with contextlib.suppress(OSError):
                looks = _looks(path)
                known = self._positions.get(str(path))
                total += 0 if known is not None and known.is_unchanged(*looks) else _new_bytes(looks, known)
        return total

    def poll(self, places: Sequence[Path], progress: Progress | None = None) -> AgentTally:
        """Read what is new. A log that cannot be read is a problem of its line 0; the others are read."""
        tally = AgentTally()
        with no_collector():
            self._poll(places, tally, progress)
        return tally

    def _poll(self, places: Sequence[Path], tally: AgentTally, progress: Progress | None) -> None:
        before = 0
        for path in self._log.files(places):
            tally.files += 1
            try:
                looks = _looks(path)
                known = self._positions.get(str(path))
                if known is not None and known.is_unchanged(*looks):
                    continue
                tally.read += 1
                self._read(path, known, tally, progress, before)
                before += _new_bytes(looks, known)
                tally.read_bytes = before
            except InputError as error:
                tally.problem(Problem(str(path), 0, str(error)))
            except OSError as error:
                tally.problem(Problem(str(path), 0, error.strerror or str(error)))
            if progress is not None:
                progress(before, tally)
        self._settle(tally)

    def _read(
        self, path: Path, known: Position | None, tally: AgentTally, progress: Progress | None, before: int
    ) -> None:
        if self._log.by_lines(path):
            with Tail(path, known) as tail:
                start = tail.offset
                part = Part(path, self._how, tail.state, self._positions, tail)
                for i, found in enumerate(self._log.read(part)):
                    self._take(found, tally)
                    if progress is not None and i % 1024 == 0:
                        progress(before + tail.offset - start, tally)
                position = tail.position()
                tally.lines += position.lines - (known.lines if known is not None and start else 0)
        else:
            inode, size, mtime_ns = _looks(path)
            part = Part(path, self._how, dict(known.state) if known else {}, self._positions)
            for found in self._log.read(part):
                self._take(found, tally)
                tally.lines += 1
            position = Position(inode=inode, size=size, mtime_ns=mtime_ns, offset=size, state=part.state)
        self._done[str(path)] = position
        if self._unsettled + len(self._lot) >= LOT or len(self._done) >= LOT:
            self._settle(tally)

    def _take(self, found: Found, tally: AgentTally) -> None:
        _, outcome = found
        if isinstance(outcome, Call):
            tally.subscription += outcome.billing == "subscription"
            self._lot.append(priced(self._catalog, outcome if self._finish is None else self._finish(outcome)))
            if len(self._lot) >= LOT:
                self._append(tally)
        elif isinstance(outcome, Problem):
            tally.problem(outcome)
        else:
            tally.skipped[outcome.reason] += 1

    def _append(self, tally: AgentTally) -> None:
        if self._lot:
            tally.counts += self._store.append_many(self._lot)
            self._witness = self._lot[-1][0].dedupe_key
            self._unsettled += len(self._lot)
            self._lot.clear()

    def _settle(self, tally: AgentTally) -> None:
        """Append what was read; then, and only then, remember how far. In between lies reading a little twice."""
        self._append(tally)
        if self._done:
            self._positions.save(self._done, self._witness)
            self._done.clear()
        self._unsettled = 0


def priced(catalog: Catalog, call: Call) -> Entry:
    """The call at list price, what its log says it cost beside it; by the log's figure where we know no price."""
    if call.reported_usd is None:
        return price_call(catalog, call)
    event, record = price_call(catalog, replace(call, reported_usd=None))
    if event.cost_pico is None:
        return price_call(catalog, call)
    return replace(event, reported_pico=usd_to_pico(call.reported_usd)), record


def _new_bytes(looks: tuple[int, int, int], known: Position | None) -> int:
    """How much of a log was not read yet; all of one that has become smaller."""
    return looks[1] - (known.offset if known is not None and known.offset <= looks[1] else 0)


def _looks(path: Path) -> tuple[int, int, int]:
    """(inode, size, mtime_ns) of a log; of a database with what waits in its write-ahead log."""
    stat = path.stat()
    inode, size, mtime_ns = stat.st_ino, stat.st_size, stat.st_mtime_ns
    if path.suffix == ".db":
        try:
            waiting = path.with_name(path.name + "-wal").stat()
        except FileNotFoundError:
            return inode, size, mtime_ns
        return inode, size + waiting.st_size, max(mtime_ns, waiting.st_mtime_ns)
    return inode, size, mtime_ns


def files_under(places: Iterable[Path], endings: tuple[str, ...]) -> list[Path]:
    """The files with these endings in the places (folders, or files themselves), each once, by name.

    Links to folders are not followed, so that none is read twice or for ever.
    """
    found: dict[str, Path] = {}
    for place in places:
        if place.is_file():
            found.setdefault(os.path.realpath(place), place)
        for folder, folders, names in os.walk(place):
            folders.sort()
            for name in sorted(names):
                if name.endswith(endings):
                    path = os.path.join(folder, name)
                    found.setdefault(os.path.realpath(path), Path(path))
    return list(found.values())


def watch(poll: Callable[[], AgentTally], wait: Callable[[], bool], told: Callable[[AgentTally], None]) -> None:
    """Poll until `wait`, which waits for the next time, says that it is enough. `told` hears of what was new."""
    while True:
        tally = poll()
        if tally.counts.added or tally.counts.corrected or tally.bad:
            told(tally)
        if wait():
            return
