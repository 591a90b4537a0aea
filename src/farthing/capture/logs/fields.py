"""One call from named fields: what an event line or a CSV row says. `docs/event-lines.md` describes the form."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from farthing.capture.logs.values import BadLine, Read, digest
from farthing.errors import UsageError
from farthing.event import ATTRIBUTION_FIELDS, EMPTY, USAGE_STATUSES, Attribution, to_us
from farthing.money import pico_to_usd, usd_to_pico
from farthing.recording import NO_MODEL, Call, response_key
from farthing.usage import UNITS, Usage

SHORT_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "input_tokens": "input_tokens",
        "prompt_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "completion_tokens": "output_tokens",
        "cached_tokens": "cache_read_tokens",
        "cached_input_tokens": "cache_read_tokens",
        "reasoning_tokens": "output_reasoning_tokens",
        **{name: name for name in UNITS},
    }
)
"""Counts may stand beside the other fields too, under these names."""

TIME_NAMES = ("at", "timestamp", "time", "date", "ts", "created_at")
_WHO = frozenset(ATTRIBUTION_FIELDS)
_KNOWN = frozenset(
    {
        *TIME_NAMES,
        *(
            "model",
            "provider",
            "requested_model",
            "operation",
            "usage",
            "usage_status",
            "usage_reason",
            "usage_problems",
            "context",
        ),
        *("metadata", "response_id", "id", "dedupe_key", "attempt", "billed", "cache_hit", "error"),
        *(
            "cost_usd",
            "reported_cost_usd",
            "price_status",
            "price_reason",
            "price_hash",
            "status",
            "source",
            "recorder",
        ),
        *("recorded_at", "corrects", "usage_delta", "calls", "unit"),
    }
)
"""Fields of the form that are no attribution. Costs that `farthing export` writes are read over: worked out anew."""

TEXT_LIMIT = 4_096
"""Characters of one attribution value: a prompt in a name is a mistake that would fill the ledger."""


def read_fields(fields: Mapping[str, Any], *, source: str, defaults: Attribution | None = None) -> Read:
    """The call that these fields describe. What cannot be: BadLine."""
    who: dict[str, str] = {}
    units: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _KNOWN or value is None or value == "":
            continue
        if name in _WHO:
            who[name] = value if type(value) is str and len(value) <= TEXT_LIMIT else _text(name, value)
        elif name in SHORT_UNITS:
            units[SHORT_UNITS[name]] = value
        else:
            more[name.removeprefix("metadata.")] = value
    given = fields.get("metadata")
    if given is not None:
        if not isinstance(given, Mapping):
            raise BadLine(f"metadata = {given!r}: must be an object")
        more.update(given)
    attribution = Attribution(**who, metadata=more or EMPTY)
    if defaults is not None:
        attribution = attribution.with_defaults(defaults)
    usage = _usage(fields.get("usage"), units, impossible=bool(fields.get("usage_problems")))
    identity, response_id = fields.get("id"), fields.get("response_id")
    provider = _optional(fields, "provider")
    key = fields.get("dedupe_key")
    if key is None and response_id is not None:
        response_id = _text("response_id", response_id)
        key = response_key(provider, response_id)
    elif key is not None:
        key = _text("dedupe_key", key)
    if identity is not None:
        identity = _text("id", identity)
    call = Call(
        model=_text("model", fields["model"]) if fields.get("model") else NO_MODEL,
        usage=usage,
        attribution=attribution,
        provider=provider,
        requested_model=_optional(fields, "requested_model"),
        operation=_optional(fields, "operation") or "chat",
        at_us=_at(fields),
        context=_context(fields.get("context")),
        reported_usd=_reported(fields.get("reported_cost_usd")),
        usage_status=_status(fields.get("usage_status")),
        usage_reason=_optional(fields, "usage_reason"),
        response_id=response_id,
        dedupe_key=key,
        event_id=identity if not fields.get("corrects") else None,
        attempt=_whole(fields.get("attempt"), "attempt", 1),
        billed=_flag(fields.get("billed"), "billed", True),
        cache_hit=_flag(fields.get("cache_hit"), "cache_hit", False),
        error=_optional(fields, "error"),
        source=source,
    )
    return Read((call,), None if key or identity else digest(fields))


def _usage(given: Any, units: dict[str, Any], *, impossible: bool) -> Usage | None:
    """The counts; None where the line names none at all. `impossible`: the line says itself that a provider erred."""
    if given is None and not units:
        return None
    if given is not None:
        if not isinstance(given, Mapping):
            raise BadLine(f"usage = {given!r}: must be an object of units and counts")
        units = {**units, **{SHORT_UNITS.get(name, name): value for name, value in given.items()}}
    if set(units) == {"total_tokens"}:
        raise BadLine("usage has a total alone: input_tokens and output_tokens are priced differently")
    units.pop("total_tokens", None)
    try:
        return Usage.reported(units) if impossible else Usage(**units)
    except (UsageError, TypeError) as error:
        raise BadLine(str(error)) from None


_EPOCH_NUMBER = re.compile(r"\d{9,17}(\.\d+)?")


def moment_us(value: Any) -> int:
    """A moment as written, in microseconds since 1970 UTC: ISO 8601 (without a zone: UTC), or seconds, milli- or
    microseconds since 1970, told apart by their size. Else BadLine."""
    if type(value) is str:
        try:
            if not (value[:4].isdigit() and _EPOCH_NUMBER.fullmatch(value)):
                return to_us(datetime.fromisoformat(value))
            value = Decimal(value)
        except (ValueError, OverflowError):
            raise BadLine(f"at = {value[:40]!r}: is no moment; write it as 2026-11-01T09:30:00Z") from None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 10**8 < value < 10**17:
        raise BadLine(f"at = {value!r}: is no moment; write it as 2026-11-01T09:30:00Z or seconds since 1970")
    scale = 10**6 if value < 10**11 else 10**3 if value < 10**14 else 1
    return int(Decimal(repr(value) if isinstance(value, float) else value) * scale)


def _at(fields: Mapping[str, Any]) -> int | None:
    for name in TIME_NAMES:
        value = fields.get(name)
        if value is not None and value != "":
            return moment_us(value)
    return None


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | dict | list) or value is None:
        raise BadLine(f"{name} = {value!r}: must be text")
    text = str(value)
    if not text or len(text) > TEXT_LIMIT:
        raise BadLine(f"{name}: must have 1 to {TEXT_LIMIT} characters, has {len(text)}")
    return text


def _optional(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    return value if type(value) is str and len(value) <= TEXT_LIMIT else _text(name, value)


def _context(given: Any) -> Mapping[str, str]:
    if not given:
        return EMPTY
    if not isinstance(given, Mapping) or not all(isinstance(value, str | int) for value in given.values()):
        raise BadLine(f'context = {given!r}: must be an object of texts, e.g. {{"processing": "batch"}}')
    return {str(key): str(value) for key, value in given.items()}


def _reported(given: Any) -> Decimal | None:
    """What the line says the provider charged, US dollars. A cost of our own (`cost_usd`) is no such figure."""
    if given is None or given == "":
        return None
    try:
        pico = usd_to_pico(given)
    except (ArithmeticError, TypeError, ValueError):
        pico = -1
    if isinstance(given, bool) or pico < 0:
        raise BadLine(f"reported_cost_usd = {given!r}: must be a finite amount of US dollars, not negative")
    return pico_to_usd(pico)


def _status(given: Any) -> str:
    if given is None or given == "":
        return "reported"
    if given not in USAGE_STATUSES:
        near = difflib.get_close_matches(str(given), USAGE_STATUSES, n=1)
        raise BadLine(f"usage_status = {given!r}: must be one of {', '.join(near or USAGE_STATUSES)}")
    return str(given)


def _whole(given: Any, name: str, default: int) -> int:
    if given is None or given == "":
        return default
    try:
        number = int(given)
    except (TypeError, ValueError):
        number = 0
    if isinstance(given, bool) or not 1 <= number < 10**6:
        raise BadLine(f"{name} = {given!r}: must be a whole number from 1")
    return number


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _flag(given: Any, name: str, default: bool) -> bool:
    if given is None or given == "":
        return default
    if isinstance(given, bool):
        return given
    found = _FLAGS.get(str(given).strip().lower())
    if found is None:
        raise BadLine(f"{name} = {given!r}: must be true or false")
    return found
