"""Token counts as other tools keep them, as Usage: Langfuse's exclusive buckets, LangChain's totals, and more.

Our totals are inclusive. Where a tool's are not, or one cannot tell, the counts themselves decide: a part that exceeds
its total lies outside it, and a stated sum shows what was added up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.usage import Quantity, Usage

Counts = dict[str, Quantity]

_CACHE = ("cache_read_tokens", "cache_write_tokens")
_LIFETIMES = ("cache_write_5m_tokens", "cache_write_1h_tokens")


def whole(value: Any) -> int | None:
    """A count of any tool: an int, a float or text that means one; None where it is no count."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str | float):
        try:
            value = Decimal(str(value))
        except ArithmeticError:
            return None
    if isinstance(value, Decimal):
        if not value.is_finite() or value != value.to_integral_value():
            return None
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 10**15 else None


def parsed(value: Any) -> Any:
    """What JSON text means, as attributes of spans hold it; other values as they are. None where it is no JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, or what its JSON text means, where that is an object; else an empty one."""
    found = parsed(value)
    return found if isinstance(found, Mapping) else {}


def inclusive(counts: Mapping[str, Quantity], total: int | None = None) -> tuple[Usage | None, str]:
    """(usage, status) of counts whose totals may or may not contain their parts; (None, ...) where nothing is counted.

    `total` is what the tool says input and output add up to. Where it is all there is, it counts as input: `partial`.
    """
    known: Counts = {unit: value for unit, value in counts.items() if value}
    if not known:
        return (Usage(input_tokens=total), "partial") if total else (None, "partial")
    _complete_cache_writes(known)
    into, out = known.get("input_tokens", 0), known.get("output_tokens", 0)
    cached = sum(known.get(unit, 0) for unit in _CACHE)
    thought = known.get("output_reasoning_tokens", 0)
    ways = [(a, b) for a in (0, cached) for b in (0, thought)]
    ways = [(a, b) for a, b in ways if into + a >= cached and out + b >= thought] or ways[-1:]
    added = next(((a, b) for a, b in ways if into + a + out + b == total), ways[0])
    if into + added[0]:
        known["input_tokens"] = into + added[0]
    if out + added[1]:
        known["output_tokens"] = out + added[1]
    return Usage.reported(known), "reported"


def _complete_cache_writes(counts: Counts) -> None:
    by_lifetime = sum(counts.get(unit, 0) for unit in _LIFETIMES)
    if by_lifetime > counts.get("cache_write_tokens", 0):
        counts["cache_write_tokens"] = by_lifetime


# --- Langfuse --------------------------------------------------------------------------------------------------------

LANGFUSE_BUCKETS: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("input", "input_tokens"),
    "cache_read_tokens": (
        *("input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached"),
        *("input_cached_content_tokens", "cached_content_token_count"),
    ),
    "cache_write_tokens": (
        *("input_cache_creation", "cache_creation_input_tokens", "input_cache_write", "input_cache_write_tokens"),
        "input_cache_creation_tokens",
    ),
    "cache_write_5m_tokens": ("input_cache_creation_5m", "input_cache_write_5m"),
    "cache_write_1h_tokens": ("input_cache_creation_1h", "input_cache_write_1h"),
    "input_audio_tokens": ("input_audio_tokens", "input_audio", "input_modality_1_audio"),
    "input_image_tokens": ("input_image_tokens", "input_image", "input_modality_1_image"),
    "input_text_tokens": ("input_text_tokens", "input_text", "input_modality_1_text"),
    "output_tokens": ("output", "output_tokens"),
    "output_reasoning_tokens": ("output_reasoning_tokens", "output_reasoning", "thoughts_token_count"),
    "output_audio_tokens": ("output_audio_tokens", "output_audio", "output_modality_1_audio"),
    "output_image_tokens": ("output_image_tokens", "output_image", "output_modality_1_image"),
    "output_text_tokens": ("output_text_tokens", "output_text", "output_modality_1_text"),
}
"""Our unit, and the names of the bucket in Langfuse that holds what is of this unit and of no other bucket."""

_UNIT_OF = {name: unit for unit, names in LANGFUSE_BUCKETS.items() for name in names}


def of_langfuse(details: Any) -> tuple[Usage | None, str]:
    """(usage, status) of Langfuse's `usageDetails`, whose buckets exclude each other, or of its older `usage`.

    A bucket we do not know is read by the words in its name, and counts to input or output by them, as Langfuse itself
    adds buckets up.
    """
    given = mapping(details)
    if "prompt_tokens" in given or "completion_tokens" in given or "promptTokens" in given:
        return of_openai(given)
    counts: Counts = {}
    for name, value in given.items():
        number = whole(value)
        if not number or name in ("total", "unit") or (unit := _UNIT_OF.get(name) or _by_words(name)) is None:
            continue
        side = "output_tokens" if unit.startswith("output") else "input_tokens"
        for counted in {unit, side}:
            counts[counted] = counts.get(counted, 0) + number
    lifetimes = sum(counts.get(unit, 0) for unit in _LIFETIMES)
    if lifetimes:
        counts["cache_write_tokens"] = counts.get("cache_write_tokens", 0) + lifetimes
    if not counts:
        return inclusive({}, whole(given.get("total")))
    return Usage.reported(counts), "reported"


def _by_words(name: str) -> str | None:
    """The unit that a bucket's name means, where we do not know the name; None where it is neither in nor out."""
    if "cache" in name:
        return "cache_write_tokens" if "creat" in name or "write" in name else "cache_read_tokens"
    if "reason" in name or "thought" in name or "thinking" in name:
        return "output_reasoning_tokens"
    side = "input" if "input" in name else "output" if "output" in name else None
    if side and "audio" in name:
        return f"{side}_audio_tokens"
    return side and f"{side}_tokens"


# --- OpenAI's shape, LangChain and LangSmith -------------------------------------------------------------------------


def of_openai(usage: Mapping[str, Any]) -> tuple[Usage | None, str]:
    """(usage, status) of OpenAI's usage object, and of its older camel-case names."""

    def number(*names: str) -> int:
        return next((n for name in names if (n := whole(usage.get(name))) is not None), 0)

    into = mapping(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    out = mapping(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    counts: Counts = {
        "input_tokens": number("prompt_tokens", "input_tokens", "promptTokens"),
        "output_tokens": number("completion_tokens", "output_tokens", "completionTokens"),
        "cache_read_tokens": whole(into.get("cached_tokens")) or number("cache_read_input_tokens"),
        "cache_write_tokens": whole(into.get("cache_write_tokens")) or number("cache_creation_input_tokens"),
        "input_audio_tokens": whole(into.get("audio_tokens")) or 0,
        "output_reasoning_tokens": whole(out.get("reasoning_tokens")) or 0,
        "output_audio_tokens": whole(out.get("audio_tokens")) or 0,
    }
    return inclusive(counts, number("total_tokens", "totalTokens") or None)


def of_langchain(usage: Any, into: Any = None, out: Any = None) -> tuple[Usage | None, str]:
    """(usage, status) of LangChain's and LangSmith's `usage_metadata`: inclusive totals with details.

    into, out: the details where they are kept apart from it. A detail may carry a service tier as a prefix
    (`priority_cache_read`).
    """
    given = mapping(usage)
    if "prompt_tokens" in given:
        return of_openai(given)
    inside = mapping(into) or mapping(given.get("input_token_details"))
    outside = mapping(out) or mapping(given.get("output_token_details"))

    def of(details: Mapping[str, Any], *endings: str) -> int:
        return sum(whole(v) or 0 for k, v in details.items() if k.endswith(endings) and "over" not in k)

    counts: Counts = {
        "input_tokens": whole(given.get("input_tokens")) or 0,
        "output_tokens": whole(given.get("output_tokens")) or 0,
        "cache_read_tokens": of(inside, "cache_read", "cached_tokens"),
        "cache_write_tokens": of(inside, "cache_creation", "cache_write"),
        "cache_write_5m_tokens": of(inside, "ephemeral_5m_input_tokens"),
        "cache_write_1h_tokens": of(inside, "ephemeral_1h_input_tokens"),
        "input_audio_tokens": of(inside, "audio"),
        "input_image_tokens": of(inside, "image"),
        "output_reasoning_tokens": of(outside, "reasoning"),
        "output_audio_tokens": of(outside, "audio"),
        "output_image_tokens": of(outside, "image"),
    }
    return inclusive(counts, whole(given.get("total_tokens")))
