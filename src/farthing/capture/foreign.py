"""Calls that others have metered (spans, Langfuse, LangSmith, LangChain), recorded once.

Our own price goes first: what another tool says a call cost is its estimate, and stands where we know no price.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from farthing import scopes
from farthing.capture.otel_spans import SpanFacts
from farthing.event import ATTRIBUTION_FIELDS, Event
from farthing.pricing.catalog import Catalog
from farthing.recording import NO_MODEL, Call, Entry, price_call
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


class Sightings:
    """What other hooks of ours recorded lately, so that a second report of a call without a response's id is known.

    A report is of a recorded call where its counts are the same and the call was dispatched while the reported one
    ran. Each recorded call answers for one report.
    """

    def __init__(self, tracker: CostTracker, own_source: str) -> None:
        self._lock = threading.RLock()
        self._recent: OrderedDict[tuple[int, int], deque[Event]] = OrderedDict()
        self._own = own_source
        self.stop: Callable[[], None] = tracker.on_event(self._heard)

    def _heard(self, event: Event, _: scopes.Frame | None) -> None:
        if event.calls != 1 or event.source.startswith(self._own):
            return
        counts = (event.usage.input_tokens, event.usage.output_tokens)
        with self._lock:
            self._recent.setdefault(counts, deque(maxlen=_ALIKE)).append(event)
            self._recent.move_to_end(counts)
            if len(self._recent) > _COUNTS:
                self._recent.popitem(last=False)

    def claim(self, call: Call) -> Event | None:
        """The recorded call that this one is, which is then taken; None where it is news."""
        if call.usage is None or call.at_us is None or call.response_id is not None:
            return None
        with self._lock:
            alike = self._recent.get((call.usage.input_tokens, call.usage.output_tokens), ())
            for event in alike:
                if call.at_us <= event.at_us:
                    alike.remove(event)  # type: ignore[union-attr]
                    return event
        return None


_COUNTS, _ALIKE = 512, 32
"""Different counts, and calls of the same counts, that are remembered."""
