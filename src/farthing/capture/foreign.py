"""Calls that others have metered (spans, Langfuse, LangSmith, LangChain), recorded once.

Our own price goes first: what another tool says a call cost is its estimate, and stands where we know no price.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from farthing import scopes
from farthing.capture import otel
from farthing.capture.faults import guarded
from farthing.capture.otel_spans import SpanFacts
from farthing.event import ATTRIBUTION_FIELDS, NO_MODEL, Event
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, Entry, price_call
from farthing.tracker import CostTracker

_FIELD_OF = {
    "thread_id": "session",
    "session_id": "session",
    "conversation_id": "session",
    "user_id": "user",
    "lc_agent_name": "agent",
    "agent_name": "agent",
    "agent_type": "agent",
    "langgraph_node": "step",
}
_OWN = ("ls_", "langgraph_", "checkpoint_", "__", "lc_", "langfuse_", "LANGSMITH_", "revision_id")
"""Metadata that tools keep for themselves."""
_KEPT, _LENGTH = 32, 512


def who_of(metadata: Mapping[str, Any], tags: Iterable[Any] | None = None) -> dict[str, Any]:
    """Who a call is for, by another tool's metadata and tags: fields of `Attribution`, the rest as metadata.

    A field of ours is taken by its name, but for the organisation, which is not theirs to say. Long values stay out.
    """
    who: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in metadata.items():
        if not isinstance(value, str | int | float | bool) or value == "" or len(str(value)) > _LENGTH:
            continue
        field = name if name in ATTRIBUTION_FIELDS and name != "org" else _FIELD_OF.get(name)
        if field and isinstance(value, str | int) and not isinstance(value, bool):
            who.setdefault(field, str(value))
        elif not name.startswith(_OWN) and len(rest) < _KEPT:
            rest[name] = value
    if told := [str(tag)[:_LENGTH] for tag in tags or () if not str(tag).startswith("seq:step")]:
        rest["tags"] = told[:_KEPT]
    if rest:
        who["metadata"] = rest
    return who


def run_key(run_id: Any) -> str:
    """The dedupe key of a run of LangChain's, which LangSmith knows by the same id."""
    return f"run:{run_id}"


def span_key(trace_id: str, span_id: str) -> str:
    """The dedupe key of a span, which Langfuse knows by the same ids. Both in hexadecimal."""
    return f"span:{trace_id}:{span_id}"


def priced(catalog: Catalog, call: Call) -> Entry:
    """The call as an entry: by our price; where there is none, by what the other tool said it cost."""
    theirs = call.reported_usd
    if theirs is None:
        return price_call(catalog, call)
    if call.usage is not None:
        entry = price_call(catalog, replace(call, reported_usd=None))
        if entry[0].cost_pico is not None and entry[0].price_status != "partial":
            return entry
    return price_call(catalog, call)


def call_of_span(facts: SpanFacts, *, at_us: int, key: str, source: str, error: str | None = None) -> Call:
    """The call that a span tells of. `key` is its dedupe key where it names no response."""
    usage = facts.usage
    failed = error is not None and usage is None and facts.reported_usd is None
    return Call(
        model=facts.model or NO_MODEL,
        usage=usage,
        attribution=facts.attribution,
        provider=facts.provider,
        requested_model=facts.requested_model if facts.requested_model != facts.model else None,
        operation=facts.operation,
        at_us=at_us,
        context=facts.context,
        reported_usd=facts.reported_usd,
        usage_status=facts.usage_status,
        usage_reason="the span tells no usage" if usage is None else None,
        response_id=facts.response_id,
        dedupe_key=None if facts.response_id else key,
        event_id=facts.event_id,
        billed=not failed,
        error=error,
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """A reported call that waits: what would record it, until when, and which of the reporter's things it is."""

    call: Call
    ended_us: int
    record: Callable[[], None]
    until_s: float
    of: Hashable


class Sightings:
    """What other hooks of ours recorded, so that a second report of a call without a response's id is known.

    A report is of a recorded call where its counts are the same and the call was dispatched while the reported one
    ran. Each recorded call answers for one report. Either may come first: where calls have gone out since a reported
    one began, the report waits up to `PATIENCE_S` for one that is the same, and is recorded then.
    """

    def __init__(self, tracker: CostTracker, own_source: str) -> None:
        self._lock = threading.RLock()
        self._recent: OrderedDict[tuple[int, int], deque[Event]] = OrderedDict()
        self._held: list[_Held] = []
        self._timer: threading.Timer | None = None
        self._own = own_source
        self._deaf = tracker.on_event(self._heard)
        _all.add(self)

    def stop(self) -> None:
        """Records what waits, and hears nothing more."""
        self.release(everything=True)
        self._deaf()

    def settle(self, call: Call, ended_us: int, record: Callable[[], None], of: Hashable = None) -> None:
        """Has a reported call recorded unless it is one that is known: at once, or when it has waited.

        ended_us: when its report ended; of: what `forget` knows it by.
        """
        if call.at_us is None or call.response_id is not None:
            record()
            return
        with self._lock:
            if self._claimed(call, call.at_us):
                return
            waits = otel.dispatched_since(call.at_us) and len(self._held) < _HELD
            if waits:
                self._held.append(_Held(call, ended_us, record, time.monotonic() + PATIENCE_S, of))
                self._wake()
        if not waits:
            record()

    def forget(self, same: Callable[[Any], bool]) -> None:
        """Lets go of the waiting calls of which `same(of)` holds: what they tell of has been recorded."""
        with self._lock:
            self._held = [held for held in self._held if held.of is None or not same(held.of)]

    def release(self, *, everything: bool = False) -> None:
        """Records what has waited long enough; all that waits where `everything` is asked for."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            until_s = float("inf") if everything else time.monotonic()
            due = [held for held in self._held if held.until_s <= until_s]
            self._held = [held for held in self._held if held.until_s > until_s]
            atexit.unregister(self._last)
            if self._held:
                self._wake()
        for held in due:
            guarded("recording a call that another tool told of", held.record)

    def _wake(self) -> None:
        """See to it that what waits is looked at: in time, or at the program's end."""
        if self._timer is None:
            self._timer = threading.Timer(max(0.0, self._held[0].until_s - time.monotonic()), self.release)
            self._timer.daemon = True
            atexit.register(self._last)
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                self._timer.start()

    def _last(self) -> None:
        self.release(everything=True)

    def after_fork(self) -> None:
        """In a child: what waits stays the parent's."""
        self._lock = threading.RLock()
        self._held, self._timer = [], None

    def _heard(self, event: Event, _: scopes.Frame | None) -> None:
        if event.calls != 1 or event.source.startswith(self._own):
            return
        counts = (event.usage.input_tokens, event.usage.output_tokens)
        with self._lock:
            for held in self._held:
                if _counts(held.call) == counts and (held.call.at_us or 0) <= event.at_us <= held.ended_us:
                    self._held.remove(held)
                    return
            self._recent.setdefault(counts, deque(maxlen=_ALIKE)).append(event)
            self._recent.move_to_end(counts)
            if len(self._recent) > _COUNTS:
                self._recent.popitem(last=False)

    def _claimed(self, call: Call, at_us: int) -> bool:
        """Whether a recorded call is this one; it is then taken."""
        counts = _counts(call)
        alike = deque() if counts is None else self._recent.get(counts, deque())
        for event in alike:
            if at_us <= event.at_us:
                alike.remove(event)
                return True
        return False


def _counts(one: Call) -> tuple[int, int] | None:
    """By what a report is known; one that tells no usage, by nothing."""
    return None if one.usage is None else (one.usage.input_tokens, one.usage.output_tokens)


_all: weakref.WeakSet[Sightings] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_all):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork)

PATIENCE_S = 5.0
"""How long a reported call waits for a metered one: a client may leave a stream open for a moment after its end."""
_COUNTS, _ALIKE, _HELD = 512, 32, 1_000
"""Different counts, and calls of the same counts, that are remembered; reports that wait."""
