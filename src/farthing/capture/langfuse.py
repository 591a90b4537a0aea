"""Langfuse gets our exact costs: an event as `usage_details` and `cost_details`, whose buckets exclude each other.

    event = tracker.record("claude-sonnet-4-20250514", input_tokens=1500, output_tokens=1000)
    farthing.capture.langfuse.update_current_generation(event)

Reading a project's history is `langfuse_history`.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from farthing.capture import process
from farthing.event import Event
from farthing.tracker import CostTracker
from farthing.usage import UNITS

EVENT_ID = "farthing_event"
"""The key of an observation's metadata that holds the event it shows: reading it back adds nothing."""

_INSIDE_INPUT = {
    "input_cached_tokens": "cache_read_tokens",
    "input_cache_creation": "cache_write_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "input_image_tokens": "input_image_tokens",
}
_INSIDE_OUTPUT = {
    "output_reasoning_tokens": "output_reasoning_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "output_image_tokens": "output_image_tokens",
}
_CACHED_TOO = {"input_audio_tokens": "cache_audio_read_tokens", "input_image_tokens": "cache_image_read_tokens"}


def usage_details(event: Event) -> dict[str, int]:
    """The event's tokens in Langfuse's buckets: `input` without what was cached, `output` without reasoning, ...

    They sum to `total`. Units that are no tokens keep their names.
    """
    counts = event.usage.completed()
    details: dict[str, int] = {}
    for side, inside in (("input", _INSIDE_INPUT), ("output", _INSIDE_OUTPUT)):
        rest = int(counts.get(f"{side}_tokens", 0))
        for bucket, unit in inside.items():
            own = int(counts.get(unit, 0)) - int(counts.get(_CACHED_TOO.get(bucket, ""), 0))
            if (own := max(min(own, rest), 0)) > 0:
                details[bucket] = own
                rest -= own
        details[side] = rest
    for lifetime in ("5m", "1h"):
        own = min(int(counts.get(f"cache_write_{lifetime}_tokens", 0)), details.get("input_cache_creation", 0))
        if own:
            details[f"input_cache_creation_{lifetime}"] = own
            details["input_cache_creation"] -= own
    details["total"] = event.usage.total_tokens
    others = {unit: int(n) for unit, n in counts.items() if UNITS[unit].family != "tokens" and n == int(n)}
    return {name: number for name, number in {**details, **others}.items() if number or name in ("input", "output")}


def cost_details(event: Event, tracker: CostTracker | None = None) -> dict[str, float]:
    """What the event cost, in US dollars: `input`, `output`, `other` where there is such, and `total`.

    Empty where no price is known: Langfuse then asks its own price list instead of believing a 0. Only `total` where
    the parts are not known to be the ones that were recorded.
    """
    if event.cost_pico is None:
        return {}
    total = {"total": event.cost_pico / 10**12}
    if event.price_status not in ("priced", "partial", "free"):
        return total
    catalog = (tracker or process.tracker()).catalog
    cost = catalog.price(event.model, event.usage, provider=event.provider, at=event.at, context=event.context)
    if cost.pico != event.cost_pico:
        return total
    sides: dict[str, Fraction] = {"input": Fraction(0), "output": Fraction(0)}
    for line in cost.lines:
        side = dict(UNITS[line.unit].dimensions).get("direction", "other") if line.unit in UNITS else "other"
        sides[side] = sides.get(side, Fraction(0)) + line.usd
    return {**{side: float(usd) for side, usd in sides.items()}, **total}


def span_attributes(event: Event, tracker: CostTracker) -> dict[str, Any]:
    """The attributes by which Langfuse reads counts and costs off a span."""
    said = {
        "langfuse.observation.type": "embedding" if event.operation == "embeddings" else "generation",
        "langfuse.observation.model.name": event.model,
        "langfuse.observation.usage_details": json.dumps(usage_details(event)),
        f"langfuse.observation.metadata.{EVENT_ID}": event.id,
    }
    if costs := cost_details(event, tracker):
        said["langfuse.observation.cost_details"] = json.dumps(costs)
    return said


def update_current_generation(event: Event, *, tracker: CostTracker | None = None, client: Any = None) -> None:
    """Sets the event's model, counts and costs on Langfuse's current generation.

    client: a Langfuse client of version 3 or newer; None: `langfuse.get_client()`.
    """
    if client is None:
        import langfuse

        client = langfuse.get_client()
    client.update_current_generation(
        model=event.model,
        usage_details=usage_details(event),
        cost_details=cost_details(event, tracker) or None,
        metadata={EVENT_ID: event.id},
    )
