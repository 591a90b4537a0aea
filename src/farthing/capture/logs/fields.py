"""One call from named fields: what an event line or a CSV row says. `docs/event-lines.md` describes the form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from farthing.capture.logs.values import BadLine, Read, digest
from farthing.errors import UsageError
from farthing.event import ATTRIBUTION_FIELDS, BILLINGS, NO_MODEL, USAGE_STATUSES, Attribution, quick, to_us
from farthing.money import pico_to_usd, usd_to_pico
from farthing.recording import Call, response_key
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
TEXT_LIMIT = 4_096
"""Characters of one attribution value: a prompt in a name is a mistake that would fill the ledger."""

_TEXTS = {
    **{name: name for name in ("model", "provider", "requested_model", "operation", "usage_reason", "response_id")},
    **{name: name for name in ("dedupe_key", "error")},
    "id": "event_id",
}
"""Fields that are texts -> what a Call names them."""

_READ_OVER = frozenset(
    {
        *("cost_usd", "price_status", "price_reason", "price_hash", "status", "source", "recorder", "recorded_at"),
        *("corrects", "usage_delta", "usage_problems", "calls", "unit", "usage", "metadata"),
    }
)
"""Fields that are read elsewhere, or not at all: costs that `farthing export` writes are worked out anew."""

_attribution, _call = quick(Attribution), quick(Call)
_WHO, _UNIT, _TEXT, _TIME, _VALUE, _OVER = range(6)
_PLAIN = (_WHO, _TEXT)


def read_fields(fields: Mapping[str, Any], *, source: str, defaults: Attribution | None = None) -> Read:
    """The call that these fields describe. What cannot be: BadLine."""
    who: dict[str, Any] = {}
    units: dict[str, Any] = {}
    more: dict[str, Any] = {}
    call: dict[str, Any] = {"model": NO_MODEL, "source": source}
    for name, value in fields.items():
        kind, meant = _FIELDS.get(name, _FREE)
        if kind in _PLAIN:
            if type(value) is not str or not 0 < len(value) <= TEXT_LIMIT:
                if value is None or value == "":
                    continue
                value = _text(name, value)
            if kind == _WHO:
                who[meant] = value
            else:
                call[meant] = value
        elif value is None or value == "":
            continue
        elif kind == _TIME:
            if "at_us" not in call or name == "at":
                call["at_us"] = moment_us(value)
        elif kind == _UNIT:
            units[meant] = value
        elif kind == _VALUE:
            call[meant] = _VALUES[name][1](name, value)
        elif kind is None:
            more[name.removeprefix("metadata.")] = value
    if (metadata := fields.get("metadata")) is not None:
        if not isinstance(metadata, Mapping):
            raise BadLine(f"metadata = {metadata!r}: must be an object")
        more.update(metadata)
    if more:
        who["metadata"] = more
    attribution = _attribution(**who)
    call["attribution"] = attribution if defaults is None else attribution.with_defaults(defaults)
    call["usage"] = _usage(fields.get("usage"), units, impossible="usage_problems" in fields)
    if fields.get("corrects"):
        call.pop("event_id", None)
    if "dedupe_key" not in call and "response_id" in call:
        call["dedupe_key"] = response_key(call.get("provider"), call["response_id"])
    named = "dedupe_key" in call or "event_id" in call
    return Read((_call(**call),), None if named else digest(fields))


def _usage(given: Any, units: dict[str, Any], *, impossible: bool) -> Usage | None:
    """The counts; None where the line names none at all. `impossible`: the line says itself that a provider erred."""
    if given is None and not units:
        return None
    if type(given) is dict and not units and not impossible:
        try:
            return Usage(**given)
        except (UsageError, TypeError):
            pass  # other names, or impossible: looked at below
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
            if value[4:5] == "-" or not _EPOCH_NUMBER.fullmatch(value):
                return to_us(datetime.fromisoformat(value))
            value = Decimal(value)
        except (ValueError, OverflowError):
            raise BadLine(f"at = {value[:40]!r}: is no moment; write it as 2026-11-01T09:30:00Z") from None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 10**8 < value < 10**17:
        raise BadLine(f"at = {value!r}: is no moment; write it as 2026-11-01T09:30:00Z or seconds since 1970")
    scale = 10**6 if value < 10**11 else 10**3 if value < 10**14 else 1
    return int(Decimal(repr(value) if isinstance(value, float) else value) * scale)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | dict | list) or value is None:
        raise BadLine(f"{name} = {value!r}: must be text")
    text = str(value)
    if not text or len(text) > TEXT_LIMIT:
        raise BadLine(f"{name}: must have 1 to {TEXT_LIMIT} characters, has {len(text)}")
    return text


def _context(name: str, given: Any) -> Mapping[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(value, str | int) for value in given.values()):
        raise BadLine(f'{name} = {given!r}: must be an object of texts, e.g. {{"processing": "batch"}}')
    return {str(key): str(value) for key, value in given.items()}


def _reported(name: str, given: Any) -> Decimal:
    """What the line says the provider charged, US dollars."""
    try:
        pico = usd_to_pico(given)
    except (ArithmeticError, TypeError, ValueError):
        pico = -1
    if isinstance(given, bool) or not 0 <= pico < 2**63:
        raise BadLine(f"{name} = {str(given)[:40]}: must be an amount of US dollars, not negative, below 9 million")
    return pico_to_usd(pico)


def _status(name: str, given: Any) -> str:
    if given not in USAGE_STATUSES:
        raise BadLine(f"{name} = {given!r}: must be one of {', '.join(USAGE_STATUSES)}")
    return str(given)


def _whole(name: str, given: Any) -> int:
    try:
        number = int(given)
    except (TypeError, ValueError):
        number = 0
    if isinstance(given, bool) or not 1 <= number < 10**6:
        raise BadLine(f"{name} = {given!r}: must be a whole number from 1")
    return number


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _flag(name: str, given: Any) -> bool:
    found = given if isinstance(given, bool) else _FLAGS.get(str(given).strip().lower())
    if found is None:
        raise BadLine(f"{name} = {given!r}: must be true or false")
    return found


def _billing(name: str, given: Any) -> str:
    if given not in BILLINGS:
        raise BadLine(f"{name} = {given!r}: must be one of {', '.join(BILLINGS)}")
    return str(given)


def _fingerprints(name: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise BadLine(f"{name} = {given!r}: must be an object of digests")
    return given


_VALUES: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "context": ("context", _context),
    "reported_cost_usd": ("reported_usd", _reported),
    "usage_status": ("usage_status", _status),
    "attempt": ("attempt", _whole),
    "billed": ("billed", _flag),
    "cache_hit": ("cache_hit", _flag),
    "billing": ("billing", _billing),
    "fingerprints": ("fingerprints", _fingerprints),
}
"""Fields that are more than text -> (what a Call names them, what reads them)."""

_FIELDS: Mapping[str, tuple[int | None, str]] = {
    **{name: (_UNIT, unit) for name, unit in SHORT_UNITS.items()},
    **{name: (_WHO, name) for name in ATTRIBUTION_FIELDS},
    **{name: (_TEXT, meant) for name, meant in _TEXTS.items()},
    **dict.fromkeys(TIME_NAMES, (_TIME, "at_us")),
    **{name: (_VALUE, meant) for name, (meant, _) in _VALUES.items()},
    **{name: (_OVER, name) for name in _READ_OVER},
}
"""Name of a field -> (its kind, what a Call, an Attribution or a Usage names it): that very text, by which Python finds
a parameter in half the time."""
_FREE = (None, "")
