"""What `record` takes as keywords, and how keywords become counts, attribution and the rest of a call."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from farthing.errors import InputError
from farthing.event import ATTRIBUTION_FIELDS, BILLINGS, EMPTY, USAGE_STATUSES, Attribution, Who
from farthing.usage import ELSEWHERE, UNITS, Usage


class CallDetails(Who, total=False):
    """The keywords of `CostTracker.record`; any other unit of `farthing.usage.UNITS` may be one too.

    Counts: `usage` (a Usage, our units, or `{"input", "output", "unit"}`) instead of single counts; `cached_tokens` is
    `cache_read_tokens`; both, like cache writes and reasoning, are counted inside the totals.
    `response`: the provider's body or stream (bytes, text, parsed JSON, or an SDK's object), from which counts, model,
    id and tier are read.
    `cost_usd`: the provider's or the caller's own figure; it goes before our price.
    `at`: when the call was dispatched; naive counts as UTC. `context`: what of the request changes its price.
    `attempt`, `error`, `billed`, `cache_hit`: an attempt with an error and no usage, an unbilled one and a cache hit
    cost nothing and are reported apart. `billing`: `metered`, or `subscription` for a flat plan's call.
    The rest is attribution: who and what the call was for.
    """

    usage: Usage | Mapping[str, Any]
    cached_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_reasoning_tokens: int
    response: Any
    provider: str | None
    requested_model: str | None
    cost_usd: Decimal | float | int | str | None
    at: datetime | None
    context: Mapping[str, str]
    service_tier: str | None
    response_id: str | None
    dedupe_key: str | None
    event_id: str | None
    operation: str
    usage_status: str
    usage_reason: str | None
    attempt: int
    error: str | BaseException | None
    billed: bool
    cache_hit: bool
    source: str
    billing: str
    fingerprints: Mapping[str, Any]
    reservation: Any


ATTRIBUTES = frozenset((*ATTRIBUTION_FIELDS, "metadata"))
_OPTIONS = frozenset(CallDetails.__annotations__) - ATTRIBUTES - frozenset(UNITS)


def parted(details: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(counts, attribution, the rest) of keywords; an unknown keyword is a TypeError with the nearest known one."""
    counts: dict[str, Any] = {}
    who: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in details.items():
        if name in ATTRIBUTES:
            who[name] = value
        elif name == "cached_tokens":
            counts["cache_read_tokens"] = value
        elif name in UNITS:
            counts[name] = value
        elif name in _OPTIONS:
            rest[name] = value
        else:
            meant = ELSEWHERE.get(name)
            near = [meant] if meant else difflib.get_close_matches(name, (*_OPTIONS, *ATTRIBUTES, *UNITS), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; what is free to name goes into metadata={...}"
            raise TypeError(f"record() has no keyword {name!r}{hint}")
    return counts, who, rest


_TEXTS = ("provider", "requested_model", "response_id", "dedupe_key", "event_id", "operation", "source", "service_tier")


def checked_options(rest: Mapping[str, Any]) -> dict[str, Any]:
    """What is neither count nor attribution, its kinds checked; an exception as `error` becomes text. InputError."""
    attempt = rest.get("attempt", 1)
    if type(attempt) is not int or attempt < 1:
        raise InputError(f"attempt = {attempt!r}: must be a whole number, 1 for the first try")
    at = rest.get("at")
    if at is not None and not isinstance(at, datetime):
        raise InputError(f"at = {at!r}: must be a datetime")
    context = rest.get("context")
    if context is not None and not isinstance(context, Mapping):
        raise InputError(f"context = {context!r}: must be a mapping, e.g. {{'processing': 'batch'}}")
    if rest.get("usage_status", "reported") not in USAGE_STATUSES:
        raise InputError(f"usage_status = {rest['usage_status']!r}: must be one of {', '.join(USAGE_STATUSES)}")
    if rest.get("billing", "metered") not in BILLINGS:
        raise InputError(f"billing = {rest['billing']!r}: must be one of {', '.join(BILLINGS)}")
    for name in _TEXTS:
        if rest.get(name) is not None and not isinstance(rest[name], str):
            raise InputError(f"{name} = {rest[name]!r}: must be text")
    error = rest.get("error")
    if error is None or isinstance(error, str):
        return dict(rest)
    return {**rest, "error": f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)}


def attribution_of(fields: Mapping[str, Any]) -> Attribution:
    """An Attribution of keywords: numbers become text, empty text says nothing; else InputError."""
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "metadata":
            given[name] = _metadata(value)
        elif name not in ATTRIBUTES:
            near = difflib.get_close_matches(name, ATTRIBUTES, n=1)
            hint = (
                f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join((*ATTRIBUTION_FIELDS, 'metadata'))}"
            )
            raise InputError(f"unknown attribute {name!r} (= {value!r}){hint}")
        elif value is not None and value != "":
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise InputError(f"{name} = {value!r}: must be text")
            given[name] = str(value)
    return Attribution(**given)


def _metadata(value: Any) -> Mapping[str, Any]:
    """Metadata as JSON can hold it: what is neither text, number, truth value nor None becomes its text."""
    if not value:
        return EMPTY
    if not isinstance(value, Mapping):
        raise InputError(f"metadata = {value!r}: must be a mapping of names to values")
    return MappingProxyType({str(name): _plain(given) for name, given in value.items()})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # NaN and infinities are no JSON
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)
