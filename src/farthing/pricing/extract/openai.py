"""OpenAI's shapes, and those of every host that speaks them: Azure, Groq, xAI, DeepSeek, Mistral, OpenRouter, ...

Cache reads and reasoning are inside the totals, with the exceptions that `_outside` and `_perplexity` state.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from farthing.pricing.extract.result import Draft, JsonObject, dollars, is_count, items, number, obj, text, total


def read(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a chat, completion, embeddings, response, image, transcription or run object."""
    draft.name(body)
    if draft.provider == "ollama" and draft.response_id is not None and _DRAWN.search(draft.response_id):
        draft.response_id = None
    draft.tier(body.get("service_tier"))
    kind = body.get("object")
    if isinstance(kind, str):
        draft.operation = _OPERATIONS.get(kind, draft.operation)
    usage = body.get("usage")
    if not isinstance(usage, dict) or not usage:
        usage = obj(obj(body.get("x_groq")).get("usage"))
    if usage:
        read_usage(draft, usage)
        if not usage.keys() <= _PLAIN:
            draft.reported_cost = _cost(usage)
            _server_tools(draft, usage)
    if draft.units is not None:
        if "output" in body or "tool_usage" in body:
            response_tools(draft, body)
        if "data" in body or "svg_usage" in usage:
            _images(draft, body, usage)
    elif "data" in body and body.get("usage") is None:
        _images(draft, body, usage)
    elif is_count(number(body.get("duration"))) and isinstance(body.get("text"), str):
        draft.units = {}  # a verbose transcription: its length is what is billed
        draft.add("audio_seconds", body["duration"])
    if draft.units is None and text(body.get("status")) in _UNFINISHED:
        draft.reason = f"not finished yet (status {body['status']}): its usage comes with the end"
        draft.complete = False


_DRAWN = re.compile(r"^(?:chatcmpl-|cmpl-|resp_)\d{1,6}$")
"""Ollama draws the ids of this API at random, of a chat from 999 numbers: soon two answers have the same."""

_PLAIN = frozenset(
    f"{which}_tokens{what}"
    for which in ("prompt", "completion", "total", "input", "output")
    for what in ("", "_details")
)
"""OpenAI's own keys: a usage with no others has no cost, no tools and no counts under another host's names."""

_OPERATIONS = {
    "chat.completion": "chat",
    "chat.completion.chunk": "chat",
    "response": "chat",
    "text_completion": "text_completion",
}
_UNFINISHED = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


def read_usage(draft: Draft, usage: JsonObject) -> None:
    """The counts of a usage object of either naming (prompt/completion or input/output)."""
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        _prompt_and_completion(draft, usage)
    elif usage.get("type") == "duration" or ("seconds" in usage and "input_tokens" not in usage):
        draft.units = {}
        draft.add("audio_seconds", usage.get("seconds"))
    elif "input_tokens" in usage or "output_tokens" in usage:
        input_and_output(draft, usage)
    elif "total_tokens" in usage:  # Voyage, some embedding hosts: everything is input
        draft.units = {}
        draft.add("input_tokens", usage.get("total_tokens"))
    else:
        draft.reason = "the usage object has none of the names we know"


def _prompt_and_completion(draft: Draft, usage: JsonObject) -> None:
    draft.units = {}
    add = draft.add
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    add("input_tokens", prompt)
    add("output_tokens", completion)
    details = usage.get("prompt_tokens_details") or usage.get("prompt_token_details")
    cached = None
    if isinstance(details, dict):
        cached = details.get("cached_tokens")
        _written(draft, details)
        add("input_audio_tokens", details.get("audio_tokens"))
        add("input_image_tokens", details.get("image_tokens"))
        add("input_video_tokens", details.get("video_tokens"))
    if not usage.keys() <= _PLAIN:
        cached = cached or next((usage[key] for key in _CACHED if usage.get(key)), None)
    add("cache_read_tokens", cached)
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        _anthropic_style_cache(draft, usage, counted=bool(cached))
    seconds = usage.get("prompt_audio_seconds")
    if seconds:  # Mistral's Voxtral
        add("audio_seconds", seconds)
    details = usage.get("completion_tokens_details") or usage.get("completion_token_details")
    reasoning: Any = None
    if isinstance(details, dict):
        reasoning = details.get("reasoning_tokens")
        add("output_audio_tokens", details.get("audio_tokens"))
        add("output_image_tokens", details.get("image_tokens"))
    reasoning = reasoning or usage.get("reasoning_tokens")
    if reasoning:
        add("output_reasoning_tokens", reasoning)
        if _outside(draft, usage, prompt, completion, reasoning):
            add("output_tokens", reasoning)
    elif draft.provider == "google":
        _untold_thoughts(draft, usage)
    if "citation_tokens" in usage or "num_search_queries" in usage or "search_context_size" in usage:
        _perplexity(draft, usage)


_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cached_prompt_text_tokens")
"""Where hosts put cache reads that belong inside prompt_tokens: DeepSeek; Together and Moonshot; xAI.

Not Mistral's `num_cached_tokens`: a count of its inference server (69 of a prompt of 70), billed in full.
"""


def _outside(draft: Draft, usage: JsonObject, prompt: Any, completion: Any, reasoning: Any) -> bool:
    """Whether reasoning tokens are beside the completion's rather than in them.

    xAI's chat reports them beside (its total_tokens is the sum of three). Where a total is given it decides, for any
    host; without one, xAI's are beside, and so are any that exceed the completion they would have to be part of.
    """
    p, c, r = number(prompt), number(completion), number(reasoning)
    if isinstance(p, str) or isinstance(c, str) or isinstance(r, str):
        return False
    stated = number(usage.get("total_tokens"))
    if is_count(stated):
        return bool(stated == p + c + r)
    return draft.provider == "x-ai" or bool(r > c)


def _untold_thoughts(draft: Draft, usage: JsonObject) -> None:
    """Gemini's OpenAI-compatible endpoint tells thoughts in the total alone, beside the completion; they are billed."""
    stated, told = usage.get("total_tokens"), total(usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if is_count(stated) and is_count(told) and stated > told:
        draft.add("output_tokens", stated - told)
        draft.add("output_reasoning_tokens", stated - told)


def _anthropic_style_cache(draft: Draft, usage: JsonObject, *, counted: bool) -> None:
    """`cache_read_input_tokens` beside `prompt_tokens`, as Databricks, LiteLLM and Portkey report Claude.

    They are inside prompt_tokens, unless the total or their size shows that they are beside it.
    """
    read, write = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    if not counted:
        draft.add("cache_read_tokens", read)
    if draft.units is not None and not draft.units.get("cache_write_tokens"):
        draft.add("cache_write_tokens", write)
    both, prompt, completion = (
        total(read, write),
        number(usage.get("prompt_tokens")),
        number(usage.get("completion_tokens")),
    )
    if not isinstance(both, str) and not isinstance(prompt, str) and not isinstance(completion, str) and both > 0:
        stated = number(usage.get("total_tokens"))
        if stated == prompt + completion + both or (both > prompt and not counted):
            draft.add("input_tokens", both)


def _written(draft: Draft, details: JsonObject) -> None:
    """Cache writes, and their lifetimes where they are told apart."""
    written = details.get("cache_write_tokens") or details.get("cache_creation_tokens")
    if written:
        draft.add("cache_write_tokens", written)
        lifetimes = obj(details.get("cache_write_tokens_details"))
        for lifetime in ("5m", "30m", "1h", "12h", "24h"):
            draft.add(f"cache_write_{lifetime}_tokens", lifetimes.get(f"ttl_{lifetime}_tokens"))


def _perplexity(draft: Draft, usage: JsonObject) -> None:
    """Perplexity's Sonar: citations and reasoning are billed beside the completion, searches or requests apart.

    Deep research bills every search; the other Sonar models a fee for each request by `search_context_size`,
    which covers their searches.
    """
    draft.add("output_tokens", usage.get("citation_tokens"))
    draft.add("output_citation_tokens", usage.get("citation_tokens"))
    beside = usage.get("reasoning_tokens")
    if beside and not _outside(draft, usage, usage.get("prompt_tokens"), usage.get("completion_tokens"), beside):
        draft.add("output_tokens", beside)
    size = text(usage.get("search_context_size"))
    if size:
        draft.context["search_context_size"] = size.lower()
    if draft.model and draft.model.startswith("sonar") and "deep-research" not in draft.model:
        draft.add("requests", 1)
    else:
        draft.add("web_searches", usage.get("num_search_queries"))


def input_and_output(draft: Draft, usage: JsonObject) -> None:
    """The counts of responses, images, transcriptions and realtime: `input_tokens`, `output_tokens`, their details."""
    draft.units = {}
    add = draft.add
    add("input_tokens", usage.get("input_tokens"))
    add("output_tokens", usage.get("output_tokens"))
    details = usage.get("input_tokens_details") or usage.get("input_token_details")
    if isinstance(details, dict):
        add("cache_read_tokens", details.get("cached_tokens") or details.get("cache_read_input_tokens"))
        _written(draft, details)
        cached = obj(details.get("cached_tokens_details"))
        for modality in ("text", "audio", "image"):
            add(f"input_{modality}_tokens", details.get(f"{modality}_tokens"))
            if cached:
                add(f"cache_{modality}_read_tokens", cached.get(f"{modality}_tokens"))
    details = usage.get("output_tokens_details") or usage.get("output_token_details")
    if isinstance(details, dict):
        add("output_reasoning_tokens", details.get("reasoning_tokens"))
        for modality in ("text", "audio", "image"):
            add(f"output_{modality}_tokens", details.get(f"{modality}_tokens"))
    searched = obj(obj(usage.get("tool_calls_details")).get("search_web"))  # Perplexity's responses
    add("web_searches", searched.get("invocation"))
    if "billable_audio_seconds" in usage:  # xAI's voice
        add("audio_seconds", usage.get("billable_audio_seconds"))
        add("input_text_messages", usage.get("input_text_messages"))


def _cost(usage: JsonObject) -> Decimal | None:
    """The figure of OpenRouter, Perplexity, xAI, DeepInfra or a gateway, in USD.

    OpenRouter with one's own key (`is_byok`) charges a fee; the upstream provider bills the rest.
    """
    cost = usage.get("cost")
    if isinstance(cost, dict):  # Perplexity
        return dollars(cost.get("total_cost"))
    stated = dollars(cost)
    if stated is not None:
        if usage.get("is_byok") is True:
            stated += dollars(obj(usage.get("cost_details")).get("upstream_inference_cost")) or 0
        return stated
    ticks = dollars(usage.get("cost_in_usd_ticks"))  # xAI: 10^10 ticks a dollar
    if ticks is not None:
        return ticks.scaleb(-10)
    gateway = obj(usage.get("pydantic_ai_gateway"))
    return dollars(gateway.get("cost_estimate")) if gateway else dollars(usage.get("estimated_cost"))


_SERVER_TOOLS = {
    "web_search_calls": "web_searches",
    "x_search_calls": "social_searches",
    "code_interpreter_calls": "code_executions",
    "file_search_calls": "storage_searches",
    "document_search_calls": "storage_searches",
    "SERVER_SIDE_TOOL_WEB_SEARCH": "web_searches",
    "SERVER_SIDE_TOOL_X_SEARCH": "social_searches",
    "SERVER_SIDE_TOOL_CODE_EXECUTION": "code_executions",
    "SERVER_SIDE_TOOL_COLLECTIONS_SEARCH": "storage_searches",
}


def _server_tools(draft: Draft, usage: JsonObject) -> None:
    """xAI's tools that run on its side, and OpenRouter's searches. xAI's live search is billed by source."""
    used = obj(usage.get("server_side_tool_usage_details") or usage.get("server_side_tool_usage"))
    for name, count in used.items():
        unit = _SERVER_TOOLS.get(name) if isinstance(name, str) else None
        if unit:
            draft.add(unit, count)
    if not used and usage.get("num_sources_used"):
        draft.add("web_searches", usage["num_sources_used"])
        draft.context["search"] = "live"
    draft.add("web_searches", obj(usage.get("server_tool_use")).get("web_search_requests"))


def response_tools(draft: Draft, body: JsonObject) -> None:
    """What the tools of a Responses object cost beside its tokens.

    Searches: `tool_usage.web_search.num_requests` where it is told, else the `web_search_call` items that searched
    (opening a page or looking within one is not billed). File searches: `file_search_call` items. An image tool's
    tokens are another model's: a part of their own. A code interpreter is billed by container and time, which the
    body does not tell: not counted.
    """
    told = obj(body.get("tool_usage"))
    requests = obj(told.get("web_search")).get("num_requests")
    searches = files = 0
    for item in items(body.get("output")):
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "web_search_call" and item.get("status") != "failed":
            searches += obj(item.get("action")).get("type", "search") == "search"
        elif kind == "file_search_call":
            files += 1
    if "search_web" not in obj(obj(body.get("usage")).get("tool_calls_details")):
        draft.add("web_searches", requests if requests is not None else searches)
    draft.add("storage_searches", files)
    images = obj(told.get("image_gen"))
    if is_count(images.get("input_tokens")) or is_count(images.get("output_tokens")):
        tools = (tool for tool in items(body.get("tools")) if isinstance(tool, dict))
        named = next((tool.get("model") for tool in tools if tool.get("type") == "image_generation"), None)
        if not images.get("output_tokens_details"):  # then all of it is image
            images = {**images, "output_tokens_details": {"image_tokens": images.get("output_tokens")}}
        _part(draft, images, text(images.get("model")) or text(named), "image_generation")


def _images(draft: Draft, body: JsonObject, usage: JsonObject) -> None:
    """Images: their output is image tokens where the body does not tell it apart; `svg_usage` is another model's.

    Without a usage (DALL-E, hosts that bill by the image) the images themselves are counted.
    """
    made = items(body.get("data"))
    first = obj(made[0]) if made else {}
    if "b64_json" in first or ("url" in first and "embedding" not in first):
        draft.operation = "image_generation"
        if draft.units is None:
            draft.units = {"output_images": len(made)}
        elif draft.units.get("output_tokens") and not usage.get("output_tokens_details"):
            draft.units["output_image_tokens"] = draft.units["output_tokens"]
    svg = obj(usage.get("svg_usage"))
    if svg:
        _part(draft, svg, text(svg.get("model")), draft.operation)


def _part(draft: Draft, usage: JsonObject, model: str | None, operation: str) -> None:
    part = Draft(provider=draft.provider, model=model, response_id=draft.response_id, operation=operation)
    part.stream, part.complete = draft.stream, draft.complete
    input_and_output(part, usage)
    draft.parts.append(part.finish())


def batch_line(body: JsonObject) -> JsonObject | None:
    """The answer inside a line of a batch's output file (OpenAI, Azure, Groq, Mistral); None where it is none."""
    response = body.get("response")
    if isinstance(response, dict) and "body" in response and ("custom_id" in body or "status_code" in response):
        return obj(response.get("body")) or {"error": body.get("error") or {"message": "the batch line has no body"}}
    return None
