"""Other tools' histories into the ledger: page by page, each durable before the next is asked for.

How far a project was read is kept beside the ledger after each page, so that an import that breaks off goes on where it
was, and the next one reads what is new. That record is a convenience: calls have keys of their own, and reading one
again adds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from farthing.capture.foreign import priced
from farthing.capture.logs.importer import Tally
from farthing.capture.logs.values import Problem
from farthing.errors import InputError
from farthing.event import Attribution, from_us, now_us, to_us
from farthing.ledger.store import Store
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, price_call

OVERLAP_US = 3_600 * 1_000_000
"""What was read last is read again so far back: calls may arrive at the server later than they were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is read: calls dispatched in [since_us, until_us); None: from the first one on. `place` is where to go on,
    in the source's own words; None at the beginning."""

    since_us: int | None
    until_us: int
    place: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a history: its calls, what could not be read, and where the next page begins (None: this was the
    last). `read` counts the rows on it, `total` those of the whole window where the server tells."""

    calls: tuple[Call, ...]
    read: int
    place: Mapping[str, Any] | None
    skipped: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    total: int | None = None


class LostPlace(InputError):
    """The server does not know the place any more: the window is read from its beginning."""


class History(Protocol):
    """A project of another tool."""

    name: str
    """The tool's."""
    identity: str
    """Server and project: what the record of how far it was read belongs to. Holds no secret."""

    def pages(self, window: Window) -> Iterator[Page]:
        """The pages of a window from its place on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOptions:
    """How to read. since_us, until_us: only calls dispatched in between; None: from where the last import ended, up to
    now. theirs: what the tool says a call cost goes before our price. attribute, finish: as of importing files."""

    since_us: int | None = None
    until_us: int | None = None
    theirs: bool = False
    attribute: Attribution | None = None
    finish: Callable[[Call], Call] | None = None


Progress = Callable[[Tally, int | None], object]


def read_history(
    history: History,
    store: Store,
    catalog: Catalog,
    *,
    options: HistoryOptions | None = None,
    progress: Progress = lambda tally, total: None,
) -> Tally:
    """Reads what is new of a project into the store; an import that broke off is finished first.

    progress is told after each page. Servers that cannot be reached or refuse: InputError; what was read is kept.
    """
    options = options or HistoryOptions()
    reader = _Reader(history, store, catalog, options, progress)
    if options.since_us is not None or options.until_us is not None:
        # A part that is read on purpose says nothing of how far the whole was read.
        reader.read(Window(since_us=options.since_us, until_us=options.until_us or now_us()), _Record(None))
        return reader.tally
    record = _Record(_record_path(store, history))
    if record.unfinished is not None:
        reader.read(record.unfinished, record)
    since = None if record.done_until_us is None else record.done_until_us - OVERLAP_US
    reader.read(Window(since_us=since, until_us=now_us()), record)
    return reader.tally


class _Reader:
    """Reads windows of one project into one store."""

    def __init__(
        self, history: History, store: Store, catalog: Catalog, options: HistoryOptions, progress: Progress
    ) -> None:
        self._history = history
        self._store = store
        self._price = catalog
        self._options = options
        self._progress = progress
        self.tally = Tally()

    def read(self, window: Window, record: _Record) -> None:
        """Reads a window from its place on, or from its beginning where the server does not know the place any more."""
        record.reading(window)
        try:
            self._pages(window, record)
        except LostPlace:
            if window.place is None:
                raise
            self._pages(Window(since_us=window.since_us, until_us=window.until_us), record)
        record.done(window)

    def _pages(self, window: Window, record: _Record) -> None:
        for page in self._history.pages(window):
            self._keep(page)
            record.reading(Window(since_us=window.since_us, until_us=window.until_us, place=page.place))
            self._progress(self.tally, page.total)

    def _keep(self, page: Page) -> None:
        entries = []
        for call in page.calls:
            who = self._options.attribute
            if who is not None:
                call = replace(call, attribution=call.attribution.with_defaults(who))
            if self._options.finish is not None:
                call = self._options.finish(call)
            entries.append(price_call(self._price, call) if self._options.theirs else priced(self._price, call))
        if entries:
            self.tally.counts += self._store.append_many(entries)
        self.tally.lines += page.read
        self.tally.skipped.update(page.skipped)
        for problem in page.problems:
            self.tally.problem(problem)


def _record_path(store: Store, history: History) -> Path | None:
    """Where it is kept how far this project was read into this ledger: beside it. None for a ledger in memory."""
    path = store.health().path
    if path is None:
        return None
    digest = hashlib.blake2b(history.identity.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return Path(f"{path}.{history.name}-{digest}.json")


class _Record:
    """How far a project was read. What cannot be read or written of it is as if it were not there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.unfinished: Window | None = None
        self.done_until_us: int | None = None
        if path is None:
            return
        try:
            kept = json.loads(path.read_bytes())
            done, window = kept.get("done_until_us"), kept.get("window")
            self.done_until_us = done if isinstance(done, int) else None
            if window and window.get("place") is not None:
                self.unfinished = Window(
                    since_us=window["since_us"], until_us=int(window["until_us"]), place=dict(window["place"])
                )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return

    def reading(self, window: Window) -> None:
        """The window has been read up to its place."""
        place = None if window.place is None else dict(window.place)
        self._write({"since_us": window.since_us, "until_us": window.until_us, "place": place})

    def done(self, window: Window) -> None:
        """The window has been read to its end."""
        self.done_until_us = window.until_us
        self.unfinished = None
        self._write(None)

    def _write(self, window: Mapping[str, Any] | None) -> None:
        if self._path is None:
            return
        text = json.dumps({"done_until_us": self.done_until_us, "window": window})
        fresh = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            os.replace(fresh, self._path)


# --- what sources share ----------------------------------------------------------------------------------------------


def moment_us(said: Any) -> int | None:
    """Microseconds of an ISO moment as servers write it; None where it is none. Without a zone it counts as UTC."""
    if not isinstance(said, str):
        return None
    try:
        return to_us(datetime.fromisoformat(said))
    except ValueError:
        return None


def iso(at_us: int) -> str:
    """A moment as servers read it: ISO with milliseconds, in UTC."""
    return from_us(at_us).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_us % 1_000_000 // 1000:03d}Z"


class Repeats:
    """Which of a parent and its child counts, where both tell usage: the one that is read first."""

    def __init__(self, limit: int = 200_000) -> None:
        self._parents: OrderedDict[str, None] = OrderedDict()
        self._counted: OrderedDict[str, None] = OrderedDict()
        self._limit = limit

    def is_one(self, own: str, parent: str | None) -> bool:
        """Whether this call repeats its parent, which was counted, or a child of it that was; else it counts now."""
        if own in self._parents or (parent is not None and parent in self._counted):
            return True
        self._remember(self._counted, own)
        if parent is not None:
            self._remember(self._parents, parent)
        return False

    def _remember(self, where: OrderedDict[str, None], what: str) -> None:
        where[what] = None
        if len(where) > self._limit:
            where.popitem(last=False)
