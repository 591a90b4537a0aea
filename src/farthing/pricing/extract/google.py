"""Gemini's shapes: the Gemini API, Vertex, their Python SDKs' snake_case, the Live API and Interactions.

Thoughts are beside `candidatesTokenCount` and tool-use prompts beside `promptTokenCount`; both are added to our totals.
Cached content is inside the prompt.
"""

from __future__ import annotations

import re
from typing import Any

from farthing.pricing.extract.result import Draft, JsonObject, dollars, is_count, items, obj, text, total

_MODALITIES = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
_MODALITY_NUMBERS = {1: "text", 2: "image", 3: "video", 4: "audio", 5: "image"}
"""Vertex over REST from a protobuf sends the enum's numbers. Pages of documents are billed as images."""


def read(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a GenerateContentResponse, an embedding, a Live message or a prediction."""
    if "usage_metadata" in body or "model_version" in body:
        body = _camel(body, depth=3)
    draft.operation = "generate_content"
    draft.name(body, "modelVersion", "responseId")
    if draft.model:
        draft.model = draft.model.removeprefix("models/")
    usage = obj(body.get("usageMetadata"))
    if any(is_count(usage.get(key)) for key in _COUNTS):
        read_usage(draft, usage)
        if "pydantic_ai_gateway" in usage:
            draft.reported_cost = dollars(obj(usage["pydantic_ai_gateway"]).get("cost_estimate"))
    elif "totalTokenCount" in usage and "expireTime" in body:
        _cached_content(draft, body, usage)
    elif "predictions" in body:
        _predictions(draft, body)
    elif any(key in usage for key in _COUNTS):
        draft.units = {}
    if "embedding" in body or "embeddings" in body:
        draft.operation = "embeddings"
    if draft.units is not None and "candidates" in body:
        grounding(draft, [obj(one).get("groundingMetadata") for one in items(body.get("candidates"))])


_COUNTS = (
    "promptTokenCount",
    "candidatesTokenCount",
    "responseTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
)


def has_counts(usage: Any) -> bool:
    """Whether a usageMetadata (either spelling) says more than the traffic type."""
    return isinstance(usage, dict) and any(key in usage or _SNAKE[key] in usage for key in _COUNTS)


def read_usage(draft: Draft, usage: JsonObject) -> None:
    """The counts of one usageMetadata."""
    draft.units = {}
    add = draft.add
    thoughts, tool = usage.get("thoughtsTokenCount"), usage.get("toolUsePromptTokenCount")
    produced = usage.get("candidatesTokenCount")
    if produced is None:
        produced = usage.get("responseTokenCount")
    add("input_tokens", usage.get("promptTokenCount"))
    add("output_tokens", produced)
    add("cache_read_tokens", usage.get("cachedContentTokenCount"))
    if thoughts:
        add("output_tokens", thoughts)
        add("output_reasoning_tokens", thoughts)
    if tool:
        add("input_tokens", tool)
        add("input_tool_tokens", tool)
    for key, units in _DETAILS.items():
        details = usage.get(key)
        if details:
            _by_modality(draft, details, units)
    draft.tier(_tier(usage))


_DETAILS = {
    "promptTokensDetails": ("input_{}_tokens",),
    "promptTokenDetails": ("input_{}_tokens",),  # so spelt by embeddings
    "cacheTokensDetails": ("cache_{}_read_tokens",),
    "candidatesTokensDetails": ("output_{}_tokens",),
    "responseTokensDetails": ("output_{}_tokens",),
    "toolUsePromptTokensDetails": ("input_{}_tokens", "input_{}_tool_tokens"),
}


def _by_modality(draft: Draft, details: Any, units: tuple[str, ...], count: str = "tokenCount") -> None:
    for entry in items(details):
        if isinstance(entry, dict):
            name = entry.get("modality")
            modality = _MODALITIES.get(name.upper()) if isinstance(name, str) else _number_of(name)
            if modality:
                for unit in units:
                    draft.add(unit.format(modality), entry.get(count))


def _number_of(name: Any) -> str | None:
    return _MODALITY_NUMBERS.get(name) if isinstance(name, int) else None


def _tier(usage: JsonObject) -> str | None:
    """flex, priority, provisioned_throughput, ...: from `serviceTier`, or Vertex' `trafficType` (name or number)."""
    tier = text(usage.get("serviceTier"))
    if tier:
        return tier.lower().removeprefix("service_tier_")
    traffic = usage.get("trafficType")
    if traffic == 2 and not isinstance(traffic, bool):
        return "provisioned_throughput"
    if not isinstance(traffic, str):
        return None
    plain = traffic.lower().removeprefix("traffic_type_")
    return plain.removeprefix("on_demand_") if plain != "on_demand" else plain


_GENERATION = re.compile(r"gemini-(?:[a-z-]*-)?(\d+)")


def grounding(draft: Draft, found: list[Any]) -> None:
    """Counts searches of grounding with Google Search as they are billed.

    Gemini 3 and later: every distinct query that is not empty; Gemini 2.5 and earlier: once for a grounded prompt
    (ai.google.dev/gemini-api/docs/pricing and .../google-search). Google Maps: once for a grounded prompt.
    """
    queries: dict[str, None] = {}
    maps = False
    for metadata in found:
        if isinstance(metadata, dict):
            for query in items(metadata.get("webSearchQueries") or metadata.get("web_search_queries")):
                if isinstance(query, str) and query:
                    queries[query] = None
            chunks = items(metadata.get("groundingChunks") or metadata.get("grounding_chunks"))
            maps = maps or any(isinstance(chunk, dict) and "maps" in chunk for chunk in chunks)
    if queries:
        generation = _GENERATION.search(draft.model or "")
        by_prompt = generation is not None and int(generation[1][:4]) < 3
        draft.add("web_searches", 1 if by_prompt else len(queries))
    if maps:
        draft.add("map_searches", 1)


def _cached_content(draft: Draft, body: JsonObject, usage: JsonObject) -> None:
    """A cache that was made: its tokens went in once; the time it is kept is billed too and not known here."""
    draft.name(body, "model", "name")
    draft.model = (draft.model or "").rsplit("/", 1)[-1] or None
    draft.operation = "create_cache"
    draft.units = {}
    draft.add("input_tokens", usage.get("totalTokenCount"))
    draft.add("cache_write_tokens", usage.get("totalTokenCount"))
    draft.status = "partial"
    draft.reason = "a cache was created: keeping it is billed by the hour, which this response does not tell"


def _predictions(draft: Draft, body: JsonObject) -> None:
    """Vertex `:predict`: embeddings with their statistics, images by count."""
    made = [obj(one) for one in items(body.get("predictions"))]
    counts = [obj(obj(one.get("embeddings")).get("statistics")).get("token_count") for one in made]
    if any(is_count(count) for count in counts):
        draft.operation, draft.units = "embeddings", {}
        draft.add("input_tokens", total(*counts))
        draft.add("input_characters", obj(body.get("metadata")).get("billableCharacterCount"))
    elif images := sum("bytesBase64Encoded" in one or "gcsUri" in one for one in made):
        draft.operation, draft.units = "image_generation", {}
        draft.add("output_images", images)


def read_interaction(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from an Interactions object: `total_input_tokens`, ...; tool use and thoughts are beside."""
    draft.name(body)
    draft.tier(body.get("service_tier"))
    usage = obj(body.get("usage"))
    if not usage:
        return
    draft.units = {}
    add = draft.add
    thoughts = usage.get("total_thought_tokens") or usage.get("total_reasoning_tokens")
    tool = usage.get("total_tool_use_tokens")
    add("input_tokens", total(usage.get("total_input_tokens"), tool))
    add("input_tool_tokens", tool)
    add("cache_read_tokens", usage.get("total_cached_tokens"))
    add("output_tokens", total(usage.get("total_output_tokens"), thoughts))
    add("output_reasoning_tokens", thoughts)
    for key, units in _INTERACTION_DETAILS.items():
        _by_modality(draft, usage.get(key), units, "tokens")
    counted = [obj(one) for one in items(usage.get("grounding_tool_count"))]
    if counted:
        for one in counted:
            unit = {"google_search": "web_searches", "google_maps": "map_searches"}.get(str(one.get("type"))[:32])
            if unit:
                add(unit, one.get("count"))
    else:
        calls = [obj(one) for one in items(body.get("steps") or body.get("outputs"))]
        searches = [obj(one.get("arguments")) for one in calls if one.get("type") == "google_search_call"]
        grounding(draft, [{"webSearchQueries": one.get("queries")} for one in searches])


_INTERACTION_DETAILS = {
    "input_tokens_by_modality": ("input_{}_tokens",),
    "output_tokens_by_modality": ("output_{}_tokens",),
    "cached_tokens_by_modality": ("cache_{}_read_tokens",),
    "tool_use_tokens_by_modality": ("input_{}_tokens", "input_{}_tool_tokens"),
}

_HUMP = re.compile(r"_([a-z])")
_SNAKE = {key: re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), key) for key in _COUNTS}


def _camel(value: Any, depth: int) -> Any:
    """The value with its keys in camelCase, as the REST API spells them; not deeper than the usage lies."""
    if depth < 0:
        return value
    if isinstance(value, dict):
        return {
            _HUMP.sub(lambda m: m[1].upper(), k) if isinstance(k, str) else k: _camel(v, depth - 1)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_camel(one, depth) for one in value]
    return value


def is_unfinished(body: JsonObject) -> bool:
    """Whether the candidates of a last chunk lack a finish reason."""
    candidates = items(body.get("candidates"))
    blocked = obj(body.get("promptFeedback")).get("blockReason")
    return not blocked and not any(obj(one).get("finishReason") or obj(one).get("finish_reason") for one in candidates)
