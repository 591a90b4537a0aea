"""`FarthingSpanProcessor`: GenAI spans that other instrumentations make become events.

    provider.add_span_processor(FarthingSpanProcessor())

A span is counted when it ends, unless one of its descendants was: a parent repeats its children. A span that frames
others (an agent, a workflow) and has usage waits until its trace has no open span, and counts where nothing under it
did. A call that our transport metered inside a span is that span's: it is not counted again, whichever is told first.

It needs no import of OpenTelemetry's: a span processor is whatever has these methods.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from farthing import scopes
from farthing.capture import process
from farthing.capture.faults import guarded
from farthing.capture.foreign import Sightings, call_of_span, priced, span_key
from farthing.capture.otel import SPAN_AT_DISPATCH, TRACER_NAME, follow_spans
from farthing.capture.otel_spans import SpanFacts, named, read_span
from farthing.event import Attribution, Event
from farthing.recording import USES_NOTHING, Call
from farthing.tracker import CostTracker

SOURCE = "otel"
MAX_TRACES = 1_000
"""Traces with open spans that are followed; the one longest unheard of is let go first."""
MAX_DEPTH = 32
"""Spans around a span that are asked whom it is for."""
MAX_SPANS = 10_000
"""Spans of one trace that are followed; further ones are counted as if they had no parent."""


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A call that a span of a trace told of: in which frame, whom the spans around it name, and when it ended."""

    call: Call
    frame: scopes.Frame | None
    around: Attribution
    ended_us: int
    trace: _Trace
    trace_id: int
    span_id: int


@dataclass(slots=True)
class _Trace:
    """A trace that has open spans: who is whose parent, what was counted under whom, and what waits.

    open: (the frame it was started in, the span itself) of each span that has not ended
    """

    parents: dict[int, int | None] = field(default_factory=dict)
    open: dict[int, tuple[scopes.Frame | None, Any]] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)
    waiting: dict[int, _Told] = field(default_factory=dict)

    def cover(self, span: int | None) -> None:
        """Something under this span, or the span itself, was counted: so it and all around it are."""
        while span is not None and span not in self.covered:
            self.covered.add(span)
            self.waiting.pop(span, None)
            span = self.parents.get(span)

    def named_around(self, span: int) -> Attribution:
        """Whom the open spans around a span name: an agent's calls do not say themselves whose they are."""
        said: dict[str, Any] = {}
        outer = self.parents.get(span)
        for _ in range(MAX_DEPTH):
            if outer is None:
                break
            if outer in self.open:
                said = {**named(dict(self.open[outer][1].attributes or ())), **said}
            outer = self.parents.get(outer)
        return Attribution(**said)

    def is_around(self, outer: int, span: int | None) -> bool:
        """Whether a span is another, or lies somewhere in it."""
        for _ in range(len(self.parents) + 1):
            if span is None or span == outer:
                break
            span = self.parents.get(span)
        return span == outer


class FarthingSpanProcessor:
    """Records the calls that spans of any instrumentation tell of.

    tracker: where; None: the process-wide one. Call `shutdown`, as the provider does, to stop.
    """

    def __init__(self, tracker: CostTracker | None = None) -> None:
        self._tracker = tracker or process.tracker()
        self._lock = threading.RLock()
        self._traces: OrderedDict[int, _Trace] = OrderedDict()
        self._sightings = Sightings(self._tracker, SOURCE)
        self._stops = (self._sightings.stop, self._tracker.on_event(self._metered), follow_spans())
        self.counted = 0

    # --- what OpenTelemetry calls ------------------------------------------------------------------------------------

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """A span has started."""
        guarded("noting the start of a span", self._started, span)

    def on_end(self, span: Any) -> None:
        """A span has ended."""
        guarded("reading a span", self._ended, span)

    def _on_ending(self, span: Any) -> None:
        """A span is about to end; the SDK asks every processor."""

    def shutdown(self) -> None:
        """Counts what waits, and stops."""
        self.force_flush()
        for stop in self._stops:
            stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Counts what waits for its trace to end or for a metered call, and writes."""
        with self._lock:
            waiting = [told for trace in self._traces.values() for told in trace.waiting.values()]
            for trace in self._traces.values():
                trace.covered.update(trace.waiting)
                trace.waiting.clear()
        for told in waiting:
            guarded("recording a span", self._settle, told)
        self._sightings.release(everything=True)
        guarded("writing what spans told", self._tracker.flush)
        return True

    # --- spans -------------------------------------------------------------------------------------------------------

    def _started(self, span: Any) -> None:
        context, parent = span.context, span.parent
        evicted: list[_Told] = []
        with self._lock:
            trace = self._traces.get(context.trace_id)
            if trace is None:
                trace = self._traces[context.trace_id] = _Trace()
                if len(self._traces) > MAX_TRACES:
                    evicted = list(self._traces.popitem(last=False)[1].waiting.values())
            if len(trace.parents) < MAX_SPANS:
                remote = parent is None or getattr(parent, "is_remote", False)
                trace.parents[context.span_id] = None if remote else parent.span_id
                trace.open[context.span_id] = (scopes.current(), span)
        for told in evicted:
            self._settle(told)

    def _ended(self, span: Any) -> None:
        context = span.context
        ours = getattr(span.instrumentation_scope, "name", None) == TRACER_NAME
        facts = read_span(span.attributes, span.name)
        call = None if ours or facts.kind == "other" else self._call(span, facts)
        known = ours or facts.event_id is not None
        done: list[_Told] = []
        with self._lock:
            trace = self._traces.get(context.trace_id) or _Trace()
            frame, _ = trace.open.pop(context.span_id, (None, None))
            frame = frame or scopes.current()
            if known and (facts.kind == "call" or facts.event_id):
                trace.cover(context.span_id)
            elif call is not None and context.span_id not in trace.covered:
                around = trace.named_around(context.span_id)
                ended_us = (span.end_time or 0) // 1000
                told = _Told(call, frame, around, ended_us, trace, context.trace_id, context.span_id)
                if facts.kind == "call":
                    trace.cover(context.span_id)
                    done.append(told)
                else:
                    trace.waiting[context.span_id] = told
            if not trace.open:
                done += trace.waiting.values()
                self._traces.pop(context.trace_id, None)
        for told in done:
            self._settle(told)

    def _call(self, span: Any, facts: SpanFacts) -> Call | None:
        """The call that the span tells of; None where it frames others and has no usage, or another span tells it."""
        failed = getattr(getattr(span.status, "status_code", None), "name", "") == "ERROR"
        is_call = facts.kind == "call" and (failed or not facts.opens_stream)
        if facts.usage is None and facts.reported_usd is None and not is_call:
            return None
        context = span.context
        error = (span.status.description or "error") if failed else None
        call = call_of_span(
            facts,
            at_us=(span.start_time or 0) // 1000,
            key=span_key(f"{context.trace_id:032x}", f"{context.span_id:016x}"),
            source=f"{SOURCE}:{getattr(span.instrumentation_scope, 'name', '') or 'unknown'}",
            error=error,
        )
        place = Attribution(trace=f"{context.trace_id:032x}", environment=_environment(span))
        who = call.attribution.with_defaults(place)
        return replace(call, attribution=who, recorder=self._tracker.recorder)

    def _settle(self, told: _Told) -> None:
        """Records it, unless a metered call is the same or turns out to be within a moment."""
        self._sightings.settle(told.call, told.ended_us, partial(self._record, told), told)

    def _record(self, told: _Told) -> None:
        tracker = self._tracker
        who = told.call.attribution.to_dict()
        who.pop("org", None)
        call = replace(told.call, attribution=tracker.attributed(who, told.frame).with_defaults(told.around))
        tracker.keep([priced(tracker.catalog, call)], told.frame, may_be_known=True)
        self.counted += 1

    def _metered(self, event: Event, frame: scopes.Frame | None) -> None:
        """The transport metered a call: the span it was dispatched in, and those around, are not counted."""
        if frame is None or event.source.startswith(SOURCE) or event.operation in USES_NOTHING:
            return
        span = next((f.held[SPAN_AT_DISPATCH] for f in frame.around() if SPAN_AT_DISPATCH in f.held), None)
        if span is None:
            return
        context = span.get_span_context()
        with self._lock:
            trace = self._traces.get(context.trace_id)
            if trace is not None:
                trace.cover(context.span_id)
        self._sightings.forget(
            lambda told: told.trace_id == context.trace_id and told.trace.is_around(told.span_id, context.span_id)
        )


def _environment(span: Any) -> str | None:
    attributes: Mapping[str, Any] = getattr(getattr(span, "resource", None), "attributes", None) or {}
    found = attributes.get("deployment.environment.name") or attributes.get("deployment.environment")
    return str(found) if found else None
