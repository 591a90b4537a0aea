"""Events as event lines: the JSON objects that `farthing export` writes and `farthing import` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from farthing.event import ATTRIBUTION_FIELDS, Event, from_us
from farthing.ledger.store import Filter, Row, Store
from farthing.money import pico_to_usd
from farthing.totals import TOTALS_FIELDS, Totals


def event_line(event: Event, dedupe_key: str | None = None) -> dict[str, Any]:
    """One event in the form of docs/event-lines.md. Amounts are exact decimal text; what says nothing is left out.

    dedupe_key: of a correction, its original's: read again, it is a fuller observation of the same call.
    """
    who = event.attribution.to_dict()
    metadata = who.pop("metadata", None)
    if who.get("org") == "default":
        del who["org"]
    given: dict[str, Any] = {
        "at": _iso(event.at_us),
        "id": event.id,
        "provider": event.provider,
        "model": event.model,
        "requested_model": event.requested_model,
        "operation": event.operation,
        "usage": {unit: count if isinstance(count, int) else str(count) for unit, count in event.usage.items()},
        "usage_status": event.usage_status,
        "usage_problems": list(event.usage.problems) or None,
        "context": dict(event.context) or None,
        **who,
        "metadata": metadata,
        "response_id": event.response_id,
        "dedupe_key": dedupe_key or event.dedupe_key,
        "attempt": event.attempt if event.attempt != 1 else None,
        "billed": None if event.billed else False,
        "cache_hit": event.cache_hit or None,
        "error": event.error,
        "billing": None if event.billing == "metered" else event.billing,
        "fingerprints": dict(event.fingerprints) or None,
        "corrects": event.corrects,
        "reported_cost_usd": None if event.reported_pico is None else f"{pico_to_usd(event.reported_pico):f}",
        "cost_usd": None if event.cost_pico is None else f"{pico_to_usd(event.cost_pico):f}",
        "price_status": event.price_status,
        "price_reason": event.price_reason,
        "price_hash": event.price_hash,
        "source": event.source,
        "recorder": event.recorder,
        "recorded_at": _iso(event.recorded_at_us),
    }
    return {name: value for name, value in given.items() if value is not None}


def export_lines(store: Store, where: Filter) -> Iterator[dict[str, Any]]:
    """Every event of the filter as an event line, in order of time, corrections after their events."""
    for event in store.events(where):
        key = None
        if event.corrects is not None:
            original = store.get(event.corrects, event.attribution.org)
            key = original.dedupe_key if original else None
        yield event_line(event, key)


CSV_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens")
CSV_COLUMNS = (
    *("at", "id", "corrects", "calls", "provider", "model", "requested_model", "operation"),
    *CSV_COUNTS,
    *("cost_usd", "price_status", "usage_status", "billing", "billed", "cache_hit", "error"),
    *ATTRIBUTION_FIELDS,
    *("metadata", "units", "context", "response_id", "price_hash", "price_reason", "source", "recorded_at"),
)


def csv_row(event: Event) -> list[Any]:
    """One event as `CSV_COLUMNS`. Of a correction: what it adds, so that every column of numbers may be summed."""
    counts = event.usage_delta if event.corrects is not None else event.usage.to_dict()
    own = {name: counts.get(name, 0) for name in CSV_COUNTS}
    units = {name: str(count) for name, count in counts.items() if name not in CSV_COUNTS}
    values = {
        **{name: getattr(event, name) for name in CSV_COLUMNS if name in _PLAIN},
        **own,
        **event.attribution.to_dict(),
        "at": _iso(event.at_us),
        "recorded_at": _iso(event.recorded_at_us),
        "cost_usd": None if event.cost_pico is None else f"{pico_to_usd(event.cost_pico):f}",
        "billed": int(event.billed),
        "cache_hit": int(event.cache_hit),
        "metadata": _json(event.attribution.metadata),
        "units": _json(units),
        "context": _json(event.context),
    }
    return [values.get(name) for name in CSV_COLUMNS]


_PLAIN = frozenset(f.name for f in fields(Event))


def _json(values: Mapping[str, Any]) -> str | None:
    return json.dumps(dict(values), ensure_ascii=False, default=str) if values else None


def _iso(moment_us: int) -> str:
    return from_us(moment_us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def totals_json(totals: Totals) -> dict[str, Any]:
    """Sums as JSON: `cost_usd` a number rounded once, `cost_pico` the exact whole picodollars."""
    sums = {name: getattr(totals, name) for name in TOTALS_FIELDS if name != "cost_pico"}
    return {"cost_usd": totals.cost, "cost_pico": totals.cost_pico, **sums}


def row_json(by: tuple[str, ...], row: Row) -> dict[str, Any]:
    """A row of a breakdown: its key's values by name, then its sums."""
    return {**dict(zip(by, row.key, strict=True)), **totals_json(row.totals)}
