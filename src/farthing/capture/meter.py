"""From a request that goes out to events in the ledger: one pipeline for every client library.

A hook asks `target` whether a request is an LLM call. If so it gets a `Dispatch`, which it tells what came of it:
`answered`, then `finish` with the body, or a `tap` for a body that streams; or `failed`. All that is ours on the way
runs inside `guarded`: a fault of ours is counted, and the host's call goes on as if we were not there.

When a call ends its caller goes on. A thread of ours extracts, prices and counts it a moment later and writes it to the
ledger, several calls in one transaction. Whoever reads totals counts what has ended first; whoever reads the ledger by
the tracker waits for what is under way, and so does a program that ends; one that is killed may lose the calls of its
last milliseconds. Where a budget may have a say or somebody listens, a call is counted before its caller goes on, and
only written later. With `at_once` it is in the ledger by then, but for callers on an event loop, and while it is slow.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from farthing import scopes
from farthing.budgets.aside import aside
from farthing.budgets.reservation import Reservation
from farthing.capture import process
from farthing.capture.encoding import decoded
from farthing.capture.faults import FAULTS, allowed, guarded
from farthing.capture.fingerprint import Prints, api_key_of, fingerprints, tokens_by_role
from farthing.capture.gate import Admission, Gate
from farthing.capture.hosts import Hosts, Target
from farthing.capture.later import LATER
from farthing.capture.observed import Answer, Header, calls, no_header
from farthing.capture.request import Asked, read_request
from farthing.capture.stream import Tap, collector, end_open
from farthing.config import load_settings, user_hash_key
from farthing.errors import FarthingError
from farthing.event import EMPTY, NO_MODEL, Attribution, now_us
from farthing.pricing.extract import extract
from farthing.recording import Entry, make_call, price_call
from farthing.tracker import CostTracker

SLOW_S = 0.02
"""A write that takes longer makes the ledger slow: until it is fast again, nobody of the host waits for it."""

BIG_BYTES = 1 << 20
"""What an event loop asks or gets that is larger is read on a thread of ours."""

PENDING = 1_000
"""Responses made in the background that are remembered until they are fetched."""

DOWNGRADED = "downgraded_from"
"""The metadata that names the model which a call was meant for, where a budget sent it to a cheaper one."""

INSIDE: ContextVar[bool] = ContextVar("farthing_inside", default=False)
"""Whether a hook further out has this call already: one library often uses another."""


@dataclass(slots=True)
class Outgoing:
    """A request, as its hook sees it. `header` gives a header by its lower-case name; `body` is what is sent, as far
    as it is in memory; `model` where the hook knows it better than the body does."""

    path: str
    header: Header = no_header
    body: bytes | None = None
    model: str | None = None


class Meter:
    """Meters the calls that the hooks see.

    tracker        where they are recorded; None: the process-wide one
    hosts          hosts of the user's own -> provider
    include_usage  ask chat streams for the usage they would not report, and hide it from the caller
    tell           hosts that are told in headers who a call is for
    at_once        a caller without an event loop goes on when its call is in the ledger, not a moment before
    """

    def __init__(
        self,
        tracker: CostTracker | None = None,
        *,
        hosts: Mapping[str, str] = EMPTY,
        include_usage: bool = False,
        tell: tuple[str, ...] = (),
        at_once: bool = False,
    ) -> None:
        self._tracker = tracker
        self._watched: CostTracker | None = None
        self.target: Callable[[str, str, str], Target | None] = Hosts(hosts).target
        self.gate = Gate(lambda: self.tracker)
        self.include_usage = include_usage
        self.tell = tell
        self.at_once = at_once
        self._key: bytes | None = None
        self._slow = False
        self._pending: OrderedDict[str, None] = OrderedDict()
        self.seen = 0

    @property
    def tracker(self) -> CostTracker:
        """Where calls are recorded."""
        tracker = self._tracker or process.tracker()
        if tracker is not self._watched:
            tracker.before_reading = LATER.flush
            self._watched = tracker
        return tracker

    def flush(self) -> None:
        """Returns when every call that has ended is in the ledger."""
        LATER.flush()

    # --- an ended call -----------------------------------------------------------------------------------------------

    def record(self, dispatch: Dispatch, answer: Answer) -> None:
        """Makes events of an ended call: a moment later on a thread of ours, or at once where somebody waits for it."""
        size = len(answer.body) + len(dispatch.outgoing.body or b"")
        if self._may_wait(dispatch, size):
            LATER.count(partial(self._recorded, dispatch, answer, later=True), size)
        else:
            self._recorded(dispatch, answer, later=dispatch.on_loop or self._slow)

    def _may_wait(self, dispatch: Dispatch, size: int) -> bool:
        """Whether nobody needs to know of the call before its caller goes on."""
        if collector.at_work:
            return True
        if dispatch.on_loop and size > BIG_BYTES:
            return LATER.has_room(size)
        if not dispatch.open or (self.at_once and not dispatch.on_loop):
            return False
        return LATER.has_room(size) and not self.tracker.is_awaited(dispatch.frame)

    def _recorded(self, dispatch: Dispatch, answer: Answer, *, later: bool) -> None:
        """Records it; whatever happens, what was held for it is not counted as about to end for ever."""
        admission = dispatch.admission
        if admission is None:
            self._record(dispatch, answer, self._write_later if later or not self.at_once else self._write)
            return
        try:
            settle = partial(admission.settle, self._write)
            if not self._record(dispatch, answer, partial(self._settle_later, admission) if later else settle):
                admission.drop()
        finally:
            admission.left()

    def _record(self, dispatch: Dispatch, answer: Answer, write: Callable[[list[Entry]], None]) -> bool:
        """Whether it was a call."""
        tracker = self.tracker
        outgoing = dispatch.outgoing
        asked = dispatch.asked or read_request(outgoing.body)
        prints = None if dispatch.target.results else Prints(partial(self._fingerprints, asked, outgoing))
        model, who = self._whose(dispatch, outgoing.model or asked.model or NO_MODEL)
        call = make_call(
            model=model,
            usage=None,
            attribution=who,
            at_us=dispatch.at_us,
            attempt=dispatch.attempt(),
            source="transport",
            recorder=tracker.recorder,
            fingerprints=EMPTY if prints is None else prints,
        )
        found = calls(call, dispatch.target, asked, answer, self._pending)
        if not found:
            return False
        first = found[0]
        if prints is not None and first.usage is not None:
            prints.input_tokens = first.usage.input_tokens
        made_later = asked.background and first.usage is None and bool(first.response_id)
        if first.response_id and made_later:
            self._await(first.response_id)
        self.seen += 1
        entries = [price_call(tracker.catalog, one) for one in found]
        if dispatch.admission is not None and answer.status is not None and answer.status < 300:
            entries = dispatch.admission.in_place_of(entries, made_later=made_later)
        tracker.keep(entries, dispatch.frame, write=write)
        return True

    def _whose(self, dispatch: Dispatch, model: str) -> tuple[str, Attribution]:
        """The model that was called, and whom for; a call that was sent to a cheaper model says so."""
        who = self.tracker.attributed(dispatch.who, dispatch.frame)
        admission = dispatch.admission
        if admission is None or admission.sent is None:
            return model, who
        told = MappingProxyType({**who.metadata, DOWNGRADED: admission.asked})
        return admission.held.model, replace(who, metadata=told)

    def _await(self, response_id: str) -> None:
        """Remembers a response that has no usage yet: it is being made in the background, and fetched later."""
        self._pending[response_id] = None
        if len(self._pending) > PENDING:
            self._pending.popitem(last=False)

    def _write(self, entries: list[Entry], held: Reservation | None = None) -> None:
        started = time.perf_counter()
        self.tracker.write(entries, held, partial(LATER.again, partial(self._write, entries, held), len(entries)))
        self._slow = time.perf_counter() - started > SLOW_S

    def _write_later(self, entries: list[Entry]) -> None:
        LATER.write(self._write, entries)

    def _settle_later(self, admission: Admission, entries: list[Entry]) -> None:
        admission.hand_on()
        LATER.do(partial(admission.settle, self._write, entries))

    def _fingerprints(self, asked: Asked, outgoing: Outgoing, input_tokens: int | None) -> dict[str, Any]:
        if self._key is None:
            self._key = _hash_key()
        if not self._key:
            return {}
        path = outgoing.path.partition("?")[0]
        found = fingerprints(self._key, asked, outgoing.body, path, api_key_of(outgoing.header, outgoing.path))
        if roles := tokens_by_role(asked, input_tokens):
            found["tokens_by_role"] = roles
        return found


def _hash_key() -> bytes:
    """The key of the digests; empty where it can be neither read nor made, which is a fault."""
    try:
        return user_hash_key(load_settings())
    except (OSError, FarthingError) as fault:
        FAULTS.add("reading the key of fingerprints, which are left out", fault)
        return b""


class Dispatch:
    """One call under way: what went out, when and for whom. It ends once, by `finish`, `failed` or its tap."""

    __slots__ = (
        *("_answer", "_meter", "_over", "admission", "asked", "at_us", "frame"),
        *("on_loop", "open", "outgoing", "target", "who"),
    )

    def __init__(self, meter: Meter, target: Target, outgoing: Outgoing, *, on_loop: bool) -> None:
        self._meter = meter
        self.target = target
        self.outgoing = outgoing
        self.on_loop = on_loop
        self.at_us = now_us()
        self.frame = scopes.here()
        self.who: dict[str, Any] = {}
        self.asked: Asked | None = None
        self.admission: Admission | None = None
        self.open = False
        self._answer = Answer()
        self._over = False

    def admit(self) -> None:
        """Asks budgets and pauses whether the call may be made. BudgetError: it may not."""
        if not self._is_open():
            self._admitted(allowed(_ASKING, self._meter.gate.ask, self))

    async def admit_async(self) -> None:
        """`admit`, while the event loop goes on."""
        if not self._is_open():
            gate = self._meter.gate
            allowed(_ASKING, gate.note, self)
            self._admitted(await aside(partial(allowed, _ASKING, gate.ask, self), _dropped))

    def _is_open(self) -> bool:
        self.open = guarded("looking for budgets", self._meter.gate.is_open, self) is not False
        return self.open

    def _admitted(self, admission: Admission | None) -> None:
        self.admission = admission
        if admission is not None:
            self.at_us = admission.held.at_us

    @property
    def sent(self) -> tuple[str, bytes] | None:
        """(path, body) to be sent instead, where a budget wants a cheaper model."""
        return None if self.admission is None else self.admission.sent

    def attempt(self) -> int:
        """Which try this is, as far as the client tells in a header; else 1."""
        told = self.outgoing.header("x-stainless-retry-count")
        if told is not None:
            return int(told) + 1 if told.isdigit() else 1
        told = self.outgoing.header("amz-sdk-request")
        found = _ATTEMPT.search(told) if told else None
        return max(1, int(found[1])) if found else 1

    def answered(self, status: int, header: Header) -> None:
        """The answer's head has come."""
        self._answer.status = status
        self._answer.header = header

    def tap(self) -> Tap:
        """What is to be fed the answer's body as it goes by; the call ends with it."""
        tap = Tap(self._tapped)
        if self.admission is not None:
            tap.watch = self.admission.watch(tap, self)
        return tap

    def packed(self) -> bool:
        """Whether the answer comes in an encoding."""
        return bool(self._answer.header("content-encoding"))

    def output_so_far(self, tap: Tap) -> int:
        """About how many tokens the answer has shown so far."""
        body, kind = tap.body(), self._answer.header("content-type")
        if tap.packed and self.packed():
            body, _ = decoded(body, self._answer.header("content-encoding"))
        usage = extract(body, provider=self.target.provider, path=self.target.url, content_type=kind).usage
        return 0 if usage is None else int(usage.output_tokens)

    def _tapped(self, tap: Tap) -> None:
        answer = self._answer
        answer.packed, answer.ended, answer.cut, answer.error = tap.packed, tap.ended, tap.cut, tap.error
        self._end(tap.body())

    def finish(self, body: bytes) -> None:
        """The answer's whole body has come, unpacked."""
        self._end(body)

    def failed(self, error: BaseException | None) -> None:
        """It ended without a body. A caller that just leaves, leaves a generator: that is no error."""
        self._answer.error = error
        self._answer.ended = False
        self._end(b"")

    def _end(self, body: bytes) -> None:
        if self._over:
            return
        self._over = True
        if self.target.batch:  # its calls are metered when their results are fetched
            return
        if isinstance(self._answer.error, GeneratorExit):
            self._answer.error = None
        self._answer.body = body
        if self.admission is not None:
            self.admission.over()
        guarded("recording a call", self._meter.record, self, self._answer)


_ASKING = "asking the budgets, so the call is let pass"


def _dropped(admission: Admission | None) -> None:
    """The call that this was held for is not made: its caller was cancelled meanwhile."""
    if admission is not None:
        admission.drop()


_ATTEMPT = re.compile(r"attempt=(\d{1,3})\b")


LATER.at_end.append(end_open)
