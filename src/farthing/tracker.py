"""CostTracker: the face of the library. It records calls, keeps the run's totals, and never breaks the host program.

Wrong arguments raise (`UsageError`, `InputError`, `TypeError`): the caller can mend them. Trouble of the ledger and
faults of ours do not: they are counted (`faults`, `lost`), logged once each, and the call goes on; the event is
returned and stands in the run's totals all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast

from farthing import answers, scopes
from farthing.budgets.declared import budgets_of
from farthing.budgets.desk import budget_as_stored
from farthing.budgets.guard import Guard
from farthing.budgets.reservation import Reservation
from farthing.config import Settings, default_ledger_url, load_settings, parse_attributes, user_hash_key
from farthing.details import CallDetails, attribution_of, parted
from farthing.errors import (
    ExtractionError,
    FarthingError,
    InputError,
    LedgerBusy,
    LedgerError,
    LedgerUnavailable,
    UsageError,
)
from farthing.event import Attribution, Event, from_us, new_id, now_us, to_us
from farthing.ledger.open import budgets_beside, open_ledger
from farthing.ledger.store import DURABILITIES, Durability, Store
from farthing.pricing.catalog import Catalog
from farthing.pricing.extract import extract
from farthing.questions import Questions
from farthing.recording import USES_NOTHING, Entry, call_of, calls_of, price_call, readable, unpriced_entry
from farthing.running import RunningTotals
from farthing.totals import Totals

LOG = logging.getLogger("farthing")
CALLS_LOG = logging.getLogger("farthing.calls")
"""One INFO line a call, its fields as the record's attributes."""

RETRY_OPENING_S = 30.0
"""How long a ledger that could not be opened is left alone: the host does not wait for it on every call."""

Listener = Callable[[Event, scopes.Frame | None], object]
"""Told of each newly counted event, and of the scope it belongs to."""

Impatience = Callable[[scopes.Frame | None], bool]
"""Whether a listener must hear of a call in that scope before the call's caller goes on."""

_NOTHING = Totals()
_KNOWN_ATTRIBUTIONS = 4_096
_number = itertools.count(1)
_trackers: weakref.WeakSet[CostTracker] = weakref.WeakSet()


class CostTracker(Questions):
    """Records what calls cost. Safe to share between threads; a forked child goes on with its parent's totals.

    url         the ledger; default: FARTHING_URL, farthing.toml, else the user's data folder. Opened when first needed
    scope       `run`: totals are those of this tracker; `ledger`: of everything in the ledger
    durability  `commit` (a returned record survives a killed process), `full` (a power loss too), `queued`
    catalog     the prices; default: a child of the common catalog, so that prices registered here stay here
    attributes  what every call is for where it says nothing itself: a mapping, `agent=a,team=b`, or an Attribution;
                over those of FARTHING_ATTRIBUTES and farthing.toml
    clock       gives the present moment, for tests
    ledger      an open store to use instead of `url`; it stays the caller's to close
    """

    def __init__(
        self,
        url: str | Path | None = None,
        *,
        scope: Literal["run", "ledger"] = "run",
        durability: Durability | None = None,
        catalog: Catalog | None = None,
        attributes: Mapping[str, Any] | Attribution | str | None = None,
        clock: Callable[[], datetime] | None = None,
        ledger: Store | None = None,
    ) -> None:
        if scope not in ("run", "ledger"):
            raise InputError(f"scope = {scope!r}: must be 'run' or 'ledger'")
        if durability is not None and durability not in DURABILITIES:
            raise InputError(f"durability = {durability!r}: must be one of {', '.join(DURABILITIES)}")
        if url is not None and ledger is not None:
            raise InputError("url and ledger: name one of them")
        self.scope = scope
        self._settings: Settings = load_settings()
        self._url = url
        self._durability = durability or cast(Durability, self._settings.durability)
        self._catalog = catalog
        self._clock = clock
        self._store = ledger
        self._owns_store = ledger is None
        self._closed = False
        self._opening_failed: LedgerError | None = None
        self._retry_at = 0.0
        self._run = RunningTotals()
        self._listeners: tuple[tuple[Listener, Impatience | None], ...] = ()
        self._known_attributions: dict[object, Attribution] = {}
        self._defaults = self._default_attribution(attributes)
        self._told: set[str] = set()
        self.faults = self.lost = 0
        self.before_reading: Callable[[], object] | None = None  # who writes for us elsewhere is waited for
        self._start_process()
        _trackers.add(self)

    def _start_process(self) -> None:
        """What belongs to one process: the locks, and the name under which events are recorded."""
        self._lock = threading.RLock()
        self._run.after_fork()
        self.recorder = f"{socket.gethostname()}/{os.getpid()}/{next(_number)}-{new_id()[-8:]}"
        if (guard := self.__dict__.get("guard")) is not None:
            guard.after_fork()
            guard.recorder = self.recorder

    # --- recording -------------------------------------------------------------------------------------------------

    def record(
        self,
        model: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        agent: str | None = None,
        **details: Unpack[CallDetails],
    ) -> Event:
        """Records one call and returns its event (`.cost`, `.usd`, `.status`); `CallDetails` lists the other keywords.

        Inside `farthing.attribute(...)` what the keywords leave open is filled in from there. Counts are inclusive:
        cached tokens are inside `input_tokens`, reasoning inside `output_tokens`. Of a `response`
        that bills several models, the first event is returned and all are recorded.
        Impossible counts raise UsageError, unusable arguments InputError, an unreadable response ExtractionError.
        """
        counts, who, rest = parted(details) if details else ({}, {}, {})
        if input_tokens is not None:
            counts["input_tokens"] = input_tokens
        if output_tokens is not None:
            counts["output_tokens"] = output_tokens
        if agent is not None:
            who["agent"] = agent
        response = rest.get("response")
        if not model and response is None and rest.get("operation") not in USES_NOTHING:
            raise InputError("model: name the model that was called, or give its response=")
        frame = scopes.here()
        held = rest.get("reservation")
        if held is not None:
            if not isinstance(held, Reservation):
                raise InputError(f"reservation = {held!r}: must be the hold that guard.reserve() gave")
            rest.setdefault("at", from_us(held.at_us))
        call = call_of(model, counts, self.attributed(who, frame), rest, self._now_us(), self.recorder)
        try:
            if response is None:
                entries = [price_call(self.catalog, call)]
            else:
                found = extract(readable(response), provider=call.provider)
                entries = [price_call(self.catalog, one) for one in calls_of(found, call)]
        except (UsageError, InputError, ExtractionError):
            raise
        except Exception as fault:  # noqa: BLE001 - the fault boundary
            self._count_fault("pricing a call", fault)
            entries = [unpriced_entry(call, f"{type(fault).__name__} in farthing: {fault}")]
        write = None if held is None else partial(self.write, held=held)
        self.keep(entries, frame, may_be_known=call.event_id is not None, write=write)
        return entries[0][0]

    def keep(
        self,
        entries: list[Entry],
        frame: scopes.Frame | None,
        *,
        may_be_known: bool = False,
        write: Callable[[list[Entry]], None] | None = None,
    ) -> None:
        """Counts entries into the run and writes them to the ledger. The one place where faults of ours end.

        write: takes the entries instead of `self.write`, to call that on another thread.
        """
        news = []
        for event, _ in entries:
            known = may_be_known or event.dedupe_key != event.id
            if (counted := self._run.add(event, may_be_known=known, frame=frame)) is not None:
                scopes.count(*counted)
                news.append(counted)
        (write or self.write)(entries)
        if self._listeners or self._settings.log_calls:
            self._tell([event for event, _ in entries], news)

    def _counted(self, event: Event, frame: scopes.Frame | None) -> None:
        """Counts an event into the run that a settlement by hand has kept."""
        if (counted := self._run.add(event, may_be_known=True, frame=frame)) is not None:
            scopes.count(*counted)
            self._tell([event], [counted])

    def _tell(self, events: list[Event], news: list[tuple[Event, scopes.Frame | None]]) -> None:
        """A log line for each event; listeners are told what is new."""
        if self._settings.log_calls and CALLS_LOG.isEnabledFor(logging.INFO):
            for event in events:
                if event.calls or not event.billed:  # not what only frames calls: a trace, a span
                    CALLS_LOG.info("LLM API call", extra=answers.log_line(event))
        for listener, _ in self._listeners:
            for event, home in news:
                self._safely("telling a listener of an event", listener, event, home)

    def write(
        self, entries: list[Entry], held: Reservation | None = None, again: Callable[[], bool] | None = None
    ) -> None:
        """Writes entries to the ledger, no more; what cannot be written is counted in `lost`. They end `held`.

        again: called where another process does not let go of the ledger; True: it will have them written later.
        """
        try:
            store = self._open()
            if held is not None:
                held.keep(entries, store)
            elif len(entries) == 1:
                store.append(*entries[0])
            else:
                store.append_many(entries)
        except Exception as fault:  # noqa: BLE001 - the fault boundary
            waits = isinstance(fault, LedgerBusy) and again is not None and again()
            self._count_fault("writing to the ledger", fault, lost=0 if waits else len(entries))
            if held is not None:
                held.abandon()

    @cached_property
    def guard(self) -> Guard:
        """Budgets of this tracker's ledger: `guard.set("agent=a", usd=50, per="day")`, `guard.reserve(...)`."""
        make = partial(budget_as_stored, self.hashed_user if self._settings.hash_users else None)
        declared = budgets_of(self._settings.budgets, self._settings.budgets_place, make)
        guard = Guard(
            self._open,
            catalog=lambda: self.catalog,
            attributed=self.attributed,
            known=lambda: budgets_beside(self._place if self._store is None else self._store.url) or declared,
            clock_us=lambda: now_us() if self._clock is None else to_us(self._clock()),
        )
        guard.make, guard.counted, guard.recorder = make, self._counted, self.recorder
        guard.tell = partial(self._safely, "telling of an alert")
        guard.ask = partial(self._safely, "asking about a call that a budget refuses")
        guard.catch_up = self.flush
        return guard

    def works_in(self, frame: scopes.Frame) -> None:
        """The asyncio task that is running works for the task of this frame: who kills that cancels it."""
        self._safely("noting what runs", lambda: self.guard.people.tasks.note(self.attributed({}, frame), frame))

    def _safely(self, doing: str, listener: Callable[..., object], *news: object) -> object:
        """What a listener answers who is told; what goes wrong there is counted, and is no answer: None."""
        try:
            return listener(*news)
        except Exception as fault:  # noqa: BLE001 - the fault boundary
            self._count_fault(doing, fault)
            return None

    def on_event(self, listener: Listener, *, at_once: Impatience | None = None) -> Callable[[], None]:
        """Tells the listener of each newly counted event, corrections included, after it was written.

        Call the result to stop. A listener that raises is a fault that is counted, and told again.
        at_once: of which calls it hears before their caller goes on; of others perhaps a moment later, on another
        thread. None: of all.
        """
        added = (listener, at_once)
        self._listeners = (*self._listeners, added)

        def stop() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not added)

        return stop

    def is_awaited(self, frame: scopes.Frame | None) -> bool:
        """Whether a call in that scope is counted before its caller goes on: somebody listens, or reads the log."""
        for _, at_once in self._listeners:
            if at_once is None or at_once(frame):
                return True
        return self._settings.log_calls and CALLS_LOG.isEnabledFor(logging.INFO)

    def _count_fault(self, doing: str, fault: Exception, lost: int = 0) -> None:
        """Counts a fault and logs it: each kind of message once, so that a full disk does not flood the log."""
        with self._lock:
            self.faults += 1
            self.lost += lost
            text = f"{doing}: {fault}" if isinstance(fault, FarthingError) else f"{doing}: {fault!r}"
            if text in self._told or len(self._told) > 100:
                return
            self._told.add(text)
        expected = isinstance(fault, LedgerError)
        LOG.error("farthing: %s; the program goes on, losses are counted", text, exc_info=None if expected else fault)

    def moment(self) -> datetime:
        """The present moment, aware UTC, by this tracker's clock."""
        return from_us(now_us()) if self._clock is None else self._clock()

    def _now_us(self) -> int | None:
        return None if self._clock is None else to_us(self._clock())

    def attributed(self, who: dict[str, Any], frame: scopes.Frame | None = None) -> Attribution:
        """The attribution of a call, scopes and defaults filled in; made once for each distinct set of keywords."""
        if not who and frame is None:
            return self._defaults
        scope = frame and frame.number
        if len(who) == 1 and "agent" in who:
            key: object = (scope, who["agent"])
        elif "metadata" in who:
            return self._attribution(who, frame)
        else:
            key = (scope, *who.items())
        try:
            known = self._known_attributions.get(key)
        except TypeError:  # an unhashable value: the check of its kind says what is wrong
            return self._attribution(who, frame)
        if known is None:
            known = self._attribution(who, frame)
            if len(self._known_attributions) >= _KNOWN_ATTRIBUTIONS:
                self._known_attributions.clear()
            self._known_attributions[key] = known
        return known

    def _attribution(self, who: Mapping[str, Any], frame: scopes.Frame | None = None) -> Attribution:
        given = attribution_of(who)
        if frame is not None:
            given = given.with_defaults(frame.attribution)
        if given.user is not None and self._settings.hash_users:
            given = replace(given, user=self.hashed_user(given.user))
        return given.with_defaults(self._defaults)

    def _default_attribution(self, attributes: Mapping[str, Any] | Attribution | str | None) -> Attribution:
        self._defaults = Attribution()
        configured = self._attribution(self._settings.attributes.to_dict())
        if attributes is None:
            return configured
        if isinstance(attributes, Attribution):
            attributes = attributes.to_dict()
        elif isinstance(attributes, str):
            attributes = parse_attributes(attributes, "attributes")
        elif not isinstance(attributes, Mapping):
            raise InputError(f"attributes = {attributes!r}: must be a mapping, an Attribution, or 'agent=a,team=b'")
        return self._attribution(attributes).with_defaults(configured)

    def hashed_user(self, user: str) -> str | None:
        """A user id as it is stored where `hash_users` is on: the same for the same user, and not to be guessed back.

        None where the key can be neither read nor made: then the user is left out rather than stored in the clear.
        """
        try:
            key = user_hash_key(self._settings)
        except (OSError, FarthingError) as fault:
            self._count_fault("hashing a user id, which is left out", fault)
            return None
        return "u_" + hmac.new(key, user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

    @property
    def settings(self) -> Settings:
        """The settings it was made with."""
        return self._settings

    # --- prices and ledger -----------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The prices of this tracker."""
        if self._catalog is None:
            with self._lock:
                self._catalog = self._catalog or Catalog.default().child()
        return self._catalog

    def register_model_pricing(
        self,
        model: str,
        input_price_per_million: Any = None,
        output_price_per_million: Any = None,
        provider: str = "custom",
        **more: Any,
    ) -> None:
        """Sets the price of a model for this tracker, from now on; `more` as in `Catalog.register`."""
        self.catalog.register(model, input_price_per_million, output_price_per_million, provider, **more)

    @property
    def _place(self) -> str | Path:
        return self._url if self._url is not None else default_ledger_url(self._settings)

    @property
    def ledger(self) -> Store:
        """The open ledger. One that cannot be opened: LedgerError, here and in every question to the ledger."""
        if self.before_reading is not None:
            self.before_reading()
        return self._open(insist=True)

    def _open(self, *, insist: bool = False) -> Store:
        if (store := self._store) is not None:
            return store
        with self._lock:
            if self._store is None:
                if self._closed:
                    raise LedgerUnavailable("this tracker is closed; make a new CostTracker")
                if self._opening_failed is not None and not insist and time.monotonic() < self._retry_at:
                    raise self._opening_failed
                try:
                    self._store = open_ledger(self._place, durability=self._durability)
                except LedgerError as error:
                    self._opening_failed = error.with_traceback(None)
                    self._retry_at = time.monotonic() + RETRY_OPENING_S
                    raise
            return self._store

    def flush(self) -> None:
        """Returns when everything recorded so far is written."""
        if self.before_reading is not None:
            self.before_reading()
        if self._store is not None:
            self._store.flush()

    def close(self) -> None:
        """Writes what is queued (what cannot be is logged, and counted in `lost`) and closes the ledger it opened."""
        if self.before_reading is not None:
            self.before_reading()
        self._closed = True
        if self._store is not None and self._owns_store:
            store, self._store = self._store, None
            try:
                store.close()
            except LedgerError as fault:
                self._count_fault("closing the ledger", fault, lost=fault.lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _after_fork_in_child() -> None:
    for tracker in list(_trackers):
        tracker._start_process()


os.register_at_fork(after_in_child=_after_fork_in_child)
