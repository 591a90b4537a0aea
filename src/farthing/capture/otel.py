"""Inside a traced program: what each metered call cost, on its span, and as metrics.

`start()` adds to the span of each call, or to a span of its own, the attributes of OpenTelemetry's GenAI conventions
and the `llm.*` and `cost.*` ones; to the spans of agent runs and sessions their totals. Nothing happens in a program
that has not loaded OpenTelemetry's SDK. This is the one place where amounts become floats: attributes have no decimals.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from farthing import scopes
from farthing.capture import process
from farthing.capture.faults import guarded
from farthing.capture.langfuse import span_attributes as langfuse_attributes
from farthing.capture.otel_attributes import PROVIDERS, call_attributes, cost_attributes, scope_attributes
from farthing.capture.otel_names import EVENT_ID
from farthing.capture.otel_spans import read_span
from farthing.event import Event, now_us
from farthing.recording import USES_NOTHING
from farthing.tracker import CostTracker

TRACER_NAME = "farthing"
SPAN_AT_DISPATCH = "otel span at dispatch"
SPAN_OF_SCOPE = "otel span of scope"

TOKEN_BUCKETS = tuple(4**power for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))

Signals = Callable[[Event], Mapping[str, Any]]
"""What else is known of a call: attributes, e.g. {"prompt.compression_ratio": 0.7, "model.recommendation": "…"}."""


def start(
    tracker: CostTracker | None = None, *, signals: Signals | None = None, langfuse: bool | None = None
) -> Callable[[], None]:
    """Shows the tracker's calls in OpenTelemetry from now on; call the result to stop.

    tracker: None: the process-wide one. signals: further attributes of a call. langfuse: whether spans carry
    `langfuse.observation.cost_details` too; None: where the program has loaded Langfuse.
    """
    telemetry = _Telemetry(signals, langfuse)
    if tracker is None:
        telemetry.stops.append(process.with_each(telemetry.listen))
    else:
        telemetry.listen(tracker)
    telemetry.stops += (scopes.watch(telemetry), follow_spans())
    return telemetry.stop


# --- where the program is --------------------------------------------------------------------------------------------


def _sdk() -> Any:
    """OpenTelemetry's tracing API, where the program has loaded an SDK that records; else None."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    return trace


class _Following:
    number = 0
    last_us = 0


def follow_spans() -> Callable[[], None]:
    """Calls remember from now on the span they were dispatched in, and its trace. Call the result to stop."""
    _Following.number += 1
    scopes.look_with(_probe)
    running = [True]

    def stop() -> None:
        if running:
            running.clear()
            _Following.number -= 1
            if not _Following.number:
                scopes.look_with(None)

    return stop


def dispatched_since(at_us: int) -> bool:
    """Whether a call has gone out since then, as far as this is followed: its event may be yet to come."""
    return _Following.number > 0 and _Following.last_us >= at_us


def _probe() -> tuple[str | None, dict[object, Any]] | None:
    _Following.last_us = now_us()
    return guarded("looking for the current span", _look)


def _look() -> tuple[str | None, dict[object, Any]] | None:
    api = _sdk()
    if api is None:
        return None
    span = api.get_current_span()
    context = span.get_span_context()
    return (f"{context.trace_id:032x}", {SPAN_AT_DISPATCH: span}) if context.is_valid else None


# --- what is shown ---------------------------------------------------------------------------------------------------


class _Telemetry:
    """Shows events and scopes as spans, attributes and metrics."""

    def __init__(self, signals: Signals | None, langfuse: bool | None) -> None:
        self._signals = signals
        self._langfuse = langfuse
        self._metrics: _Metrics | None = None
        self._trackers: weakref.WeakSet[CostTracker] = weakref.WeakSet()
        self.stops: list[Callable[[], None]] = []

    def listen(self, tracker: CostTracker) -> None:
        """Shows what this tracker records too. Twice is once."""
        if tracker not in self._trackers:
            self._trackers.add(tracker)
            self.stops.append(tracker.on_event(partial(self.shown, tracker), at_once=_is_traced))

    def stop(self) -> None:
        """Shows nothing more."""
        while self.stops:
            self.stops.pop()()

    def shown(self, tracker: CostTracker, event: Event, frame: scopes.Frame | None) -> None:
        """Shows an event; what spans told us is not shown to them again."""
        api = _sdk()
        if api is None or event.operation in USES_NOTHING or event.source.startswith(("otel", "import")):
            return
        if self._metrics is None:
            self._metrics = _Metrics()
        self._metrics.add(event)
        if event.corrects is not None:
            return
        span = _dispatched_in(frame)
        if span is None and isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
            return  # the program has set no provider: nobody would see a span of ours
        attributes = cost_attributes(event, tracker)
        usage = call_attributes(event)
        if self._langfuse or (self._langfuse is None and "langfuse" in sys.modules):
            usage |= langfuse_attributes(event, tracker)
        if self._signals is not None:
            attributes |= guarded("asking for signals", self._signals, event) or {}
        if span is not None and span.is_recording() and _may_carry(span, frame):
            span.set_attributes({**_unsaid(span, usage), **attributes})
            return
        if span is None or not _is_ended_call(span):
            attributes |= usage
        self._own_span(api, event, attributes, frame, span)

    def _own_span(
        self, api: Any, event: Event, attributes: dict[str, Any], frame: scopes.Frame | None, at_dispatch: Any
    ) -> None:
        parent = _parent(frame, at_dispatch)
        span = api.get_tracer(TRACER_NAME).start_span(
            f"{event.operation} {event.model}",
            context=None if parent is None else api.set_span_in_context(parent),
            kind=api.SpanKind.CLIENT,
            start_time=event.at_us * 1000,
            attributes=attributes,
        )
        if event.error:
            span.set_status(api.StatusCode.ERROR, event.error)
        span.end(max(event.recorded_at_us, event.at_us) * 1000)

    # --- scopes ------------------------------------------------------------------------------------------------------

    def entered(self, frame: scopes.Frame) -> None:
        """An agent run, session or task begins: its span is the program's own, or one that is made."""
        if frame.scope.kind != "scope":
            guarded("opening a scope's span", self._entered, frame)

    def _entered(self, frame: scopes.Frame) -> None:
        api = _sdk()
        if api is None:
            return
        current = api.get_current_span()
        kind = frame.scope.kind
        around = [f.held[SPAN_OF_SCOPE] for f in frame.around() if f is not frame and SPAN_OF_SCOPE in f.held]
        if current.is_recording() and not any(span is current and of == kind for span, _, of in around):
            frame.held[SPAN_OF_SCOPE] = (current, False, kind)
            return
        parent = around[0][0] if around else current
        name = f"invoke_agent {frame.scope.attribution.agent}" if kind == "agent run" else kind
        span = api.get_tracer(TRACER_NAME).start_span(name, context=api.set_span_in_context(parent))
        if kind == "agent run":
            span.set_attribute("gen_ai.operation.name", "invoke_agent")
        frame.held[SPAN_OF_SCOPE] = (span, True, kind)

    def left(self, frame: scopes.Frame, error: BaseException | None) -> None:
        """The scope is left: its span gets its totals."""
        if SPAN_OF_SCOPE in frame.held:
            guarded("closing a scope's span", self._left, frame, error)

    def _left(self, frame: scopes.Frame, error: BaseException | None) -> None:
        span, own, kind = frame.held[SPAN_OF_SCOPE]
        span.set_attributes(scope_attributes(kind, frame))
        if own:
            if error is not None:
                span.record_exception(error)
            span.end()


def _is_traced(frame: scopes.Frame | None) -> bool:
    """Whether a call there is shown: its span may end, and the program read its spans and metrics, right after it."""
    api = _sdk()
    if api is None:
        return False
    if frame is not None and _dispatched_in(frame) is not None:
        return True
    return "opentelemetry.sdk.metrics" in sys.modules or not isinstance(
        api.get_tracer_provider(), api.ProxyTracerProvider
    )


def _dispatched_in(frame: scopes.Frame | None) -> Any:
    if frame is None:
        return None
    return next((f.held[SPAN_AT_DISPATCH] for f in frame.around() if SPAN_AT_DISPATCH in f.held), None)


def _may_carry(span: Any, frame: scopes.Frame | None) -> bool:
    """Whether a call's attributes belong on this span: it is the call's, or a step of the program with this one call.

    Not a server's request, nor the span of an agent or session, nor one that has a call already.
    """
    said = getattr(span, "attributes", None)
    if said is None or EVENT_ID in said:
        return False
    facts = read_span(said)
    if facts.kind == "call":
        return True
    if facts.kind == "frame" or getattr(getattr(span, "kind", None), "name", "") in ("SERVER", "CONSUMER"):
        return False
    held = [f.held[SPAN_OF_SCOPE][0] for f in frame.around() if SPAN_OF_SCOPE in f.held] if frame else []
    return all(other is not span for other in held)


def _is_ended_call(span: Any) -> bool:
    """Whether another instrumentation's span of this call has ended: usage said again would be added up twice."""
    return not span.is_recording() and read_span(getattr(span, "attributes", None)).kind == "call"


def _unsaid(span: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What the span does not say already: another instrumentation's own words stay."""
    return {name: value for name, value in attributes.items() if name not in span.attributes}


def _parent(frame: scopes.Frame | None, at_dispatch: Any) -> Any:
    """The span that a call's own span goes under: the innermost of the program's and of ours."""
    own = next((f.held[SPAN_OF_SCOPE][0] for f in frame.around() if SPAN_OF_SCOPE in f.held), None) if frame else None
    if own is None or at_dispatch is None:
        return own if at_dispatch is None else at_dispatch
    above = getattr(own, "parent", None)
    outer = above is not None and above.span_id == at_dispatch.get_span_context().span_id
    return own if outer else at_dispatch


# --- metrics ---------------------------------------------------------------------------------------------------------


class _Metrics:
    """`gen_ai.client.token.usage`, `gen_ai.client.operation.duration`, and a counter of US dollars."""

    def __init__(self) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter(TRACER_NAME)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Input and output tokens of a call",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Time from dispatch to the end of the answer",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._cost = meter.create_counter("farthing.client.cost", unit="{USD}", description="Cost of calls")

    def add(self, event: Event) -> None:
        """Counts an event. Of a correction what it adds to the cost: a counter cannot go down."""
        attributes = {
            "gen_ai.operation.name": event.operation,
            "gen_ai.provider.name": PROVIDERS.get(event.provider or "", event.provider or "unknown"),
            "gen_ai.request.model": event.requested_model or event.model,
            "gen_ai.response.model": event.model,
        }
        if event.cost_pico is not None and event.cost_pico > 0:
            who = {"cost.agent": event.attribution.agent, "cost.feature": event.attribution.feature}
            said = {name: value for name, value in who.items() if value is not None}
            self._cost.add(event.cost_pico / 10**12, {**attributes, **said})
        if event.corrects is not None or not event.calls:
            return
        for side, count in (("input", event.usage.input_tokens), ("output", event.usage.output_tokens)):
            if count:
                self._tokens.record(count, {**attributes, "gen_ai.token.type": side})
        if event.source == "transport":
            self._seconds.record(max(event.recorded_at_us - event.at_us, 0) / 1_000_000, attributes)
