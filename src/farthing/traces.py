"""A trace and its observations, read from the ledger: one piece of work and what each call in it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.event import Event
from farthing.money import pico_to_usd

OBSERVATION_TYPES: Mapping[str, str] = {
    "span": "SPAN",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "retrieval": "RETRIEVER",
    "event": "EVENT",
    "task": "EVENT",
}
"""Type by operation. Every billed call is a GENERATION, so that the generations' costs sum to the trace's."""

TRACE = "trace"
"""The operation of an event that opens a trace and uses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One step of a trace. Costs are US dollars, None where no price is known."""

    id: str
    trace_id: str
    type: str
    name: str | None
    model: str | None
    start_time: datetime
    usage: Mapping[str, Any]
    calculated_total_cost: float | None
    usd: Decimal | None
    status: str
    level: str
    status_message: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One piece of work, its observations in order of time, and what they cost together.

    total_cost      US dollars as a float, rounded once; `total_usd` exactly. Observations without a known price are not
                    in it: `unpriced` counts them
    """

    id: str
    name: str | None
    user_id: str | None
    session_id: str | None
    timestamp: datetime | None
    metadata: Mapping[str, Any]
    observations: tuple[Observation, ...]
    total_usd: Decimal
    total_cost: float
    unpriced: int

    @property
    def calculated_total_cost(self) -> float:
        """total_cost, by the name it has in a table of traces."""
        return self.total_cost


def trace_of(trace_id: str, events: Iterable[Event]) -> Trace:
    """The trace of its events, corrections folded into what they correct. Without events: a trace of nothing."""
    known = list(events)
    changes: dict[str, list[Event]] = {}
    for event in known:
        if event.corrects is not None:
            changes.setdefault(event.corrects, []).append(event)
    originals = sorted((e for e in known if e.corrects is None), key=lambda e: (e.at_us, e.id))
    head = next((e for e in originals if e.operation == TRACE), originals[0] if originals else None)
    observations = []
    pico = 0
    unpriced = 0
    for event in originals:
        if event.operation == TRACE:
            continue
        later = sorted(changes.get(event.id, ()), key=lambda e: (e.recorded_at_us, e.id))
        cost = _sum(event.cost_pico, later)
        pico += cost or 0
        unpriced += cost is None
        observations.append(_observation(trace_id, event, later[-1] if later else event, cost))
    who = head.attribution if head else None
    return Trace(
        id=trace_id,
        name=who.name if who else None,
        user_id=who.user if who else None,
        session_id=who.session if who else None,
        timestamp=head.at if head else None,
        metadata=who.metadata if who else {},
        observations=tuple(observations),
        total_usd=pico_to_usd(pico),
        total_cost=pico / 10**12,
        unpriced=unpriced,
    )


def _sum(first: int | None, later: Iterable[Event]) -> int | None:
    amounts = [first, *(event.cost_pico for event in later)]
    return sum(a for a in amounts if a is not None) if any(a is not None for a in amounts) else None


def _observation(trace_id: str, event: Event, latest: Event, pico: int | None) -> Observation:
    usage = latest.usage
    kind = OBSERVATION_TYPES.get(event.operation, "GENERATION")
    if event.calls or usage:
        kind = "GENERATION"
    return Observation(
        id=event.id,
        trace_id=trace_id,
        type=kind,
        name=event.attribution.step or event.attribution.name,
        model=event.model if kind == "GENERATION" else None,
        start_time=event.at,
        usage={
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "total": usage.total_tokens,
            "unit": "TOKENS",
            **{unit: count for unit, count in usage.items() if unit not in ("input_tokens", "output_tokens")},
        },
        calculated_total_cost=None if pico is None else pico / 10**12,
        usd=None if pico is None else pico_to_usd(pico),
        status=latest.status,
        level="ERROR" if event.error else "DEFAULT",
        status_message=event.error,
        metadata=event.attribution.metadata,
    )
