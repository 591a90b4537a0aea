"""Which shape a whole body has, and the reader for it."""

from __future__ import annotations

from collections.abc import Callable

from farthing.pricing.extract import anthropic, bedrock, google, openai, others
from farthing.pricing.extract.result import Draft, JsonObject, items, obj, text

Reader = Callable[[Draft, JsonObject], None]


def reader(draft: Draft, body: JsonObject) -> Reader:
    """The reader for this body. The shape decides, since gateways serve any provider's shapes under any path."""
    usage = body.get("usage")
    if body.get("type") == "result" and ("modelUsage" in body or "total_cost_usd" in body):
        return anthropic.read_agent_result
    if isinstance(usage, dict) and usage:
        return _by_usage(draft, body, usage)
    for mark, found in _MARKS:
        if mark in body:
            return found
    meta = body.get("meta")
    if isinstance(meta, dict) and ("billed_units" in meta or "tokens" in meta):
        return others.read_cohere
    if body.get("type") == "message":
        return anthropic.read
    if "done" in body and ("message" in body or isinstance(body.get("response"), str)):
        return others.read_ollama
    if isinstance(body.get("output"), dict) and "stopReason" in body:
        return bedrock.read_converse
    if "choices" in body or "object" in body or "data" in body or "text" in body:
        return openai.read
    return others.read_pairs


def _by_usage(draft: Draft, body: JsonObject, usage: JsonObject) -> Reader:
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        return openai.read
    if "input_tokens" in usage or "output_tokens" in usage:
        if "input_tokens_details" in usage or "total_tokens" in usage or "input_token_details" in usage:
            return openai.read
        claude = (text(body.get("model")) or draft.model or "").find("claude") >= 0
        if claude or body.get("type") == "message" or any(key in usage for key in _ANTHROPIC):
            return anthropic.read
        return openai.read
    if "inputTokens" in usage or "outputTokens" in usage:
        return bedrock.read_converse
    if "billed_units" in usage or "tokens" in usage:
        return others.read_cohere
    if "total_input_tokens" in usage or "total_output_tokens" in usage:
        return google.read_interaction
    if "cacheRead" in usage and "input" in usage:
        return others.read_beside
    if "topicPolicyUnits" in usage:
        return bedrock.read_guardrail
    return others.read_pairs if "promptTokens" in usage else openai.read


_ANTHROPIC = (
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "server_tool_use",
    "iterations",
    "inference_geo",
    "service_tier",
)


def _llm_or_gemini(draft: Draft, body: JsonObject) -> None:
    usage = obj(body.get("usage_metadata"))
    if "input_tokens" in usage or "output_tokens" in usage:
        others.read_langchain(draft, body)
    else:
        google.read(draft, body)


def _metrics(draft: Draft, body: JsonObject) -> None:
    bedrock.read_metrics(draft, obj(body.get(bedrock.METRICS)))


_MARKS: tuple[tuple[str, Reader], ...] = (
    ("usageMetadata", google.read),
    ("usage_metadata", _llm_or_gemini),
    ("candidates", google.read),
    ("predictions", google.read),
    ("x_groq", openai.read),
    ("inputTextTokenCount", bedrock.read_titan),
    ("prompt_token_count", bedrock.read_llama),
    ("generation_token_count", bedrock.read_llama),
    (bedrock.METRICS, _metrics),
    ("prompt_eval_count", others.read_ollama),
    ("eval_count", others.read_ollama),
    ("usage_info", others.read_ocr),
    ("tokenUsage", others.read_beside),
)


def unwrap(draft: Draft, body: JsonObject) -> JsonObject:
    """The response inside the wrappings of batches, log lines, gateways and realtime events."""
    line = openai.batch_line(body) or anthropic.batch_line(body)
    if line is not None:
        draft.context["processing"] = "batch"
        return line
    line = bedrock.read_batch_record(draft, body)
    if line is not None:
        return line
    inner = body.get("response")
    if isinstance(inner, dict):
        if "candidates" in inner or "usageMetadata" in inner:  # a line of a Gemini batch
            draft.context["processing"] = "batch"
            return inner
        if "usage" in inner:  # response.done, response.completed
            return inner
    inner = body.get("message")
    if isinstance(inner, dict) and isinstance(inner.get("usage"), dict) and "usage" not in body:
        return inner  # a line of Claude Code's log
    inner = body.get("result")
    if isinstance(inner, dict) and ("usage" in inner or "response" in inner) and "usage" not in body:
        return inner  # Cloudflare
    inner = body.get("interaction")
    return inner if isinstance(inner, dict) and "usage" in inner else body


def error_of(body: JsonObject) -> str | None:
    """The provider's error message in a body, None where it is no error."""
    error = body.get("error")
    if isinstance(error, dict) and error:
        inner = error.get("error")
        if isinstance(inner, dict) and inner:  # a failed line of Anthropic's batches
            error = inner
        message = error.get("message") or error.get("detail") or error.get("code") or error.get("type")
        return text(message) or (f"error {message}"[:200] if isinstance(message, int) else "unnamed error")
    if isinstance(error, str) and error:
        return text(error)
    if error is not None and error is not False and error != {} and error != "":
        return "unnamed error"
    if body.get("type") == "error" or body.get("object") == "error":
        return text(body.get("message")) or "unnamed error"
    if "usage" not in body and len(body) <= 4:
        plain = body.get("message") or body.get("detail") or body.get("Message")
        if isinstance(plain, str) and not any(key in body for key in _ANSWERS):
            return text(plain)
        listed = items(body.get("detail")) or items(body.get("errors"))
        if listed:
            return text(obj(listed[0]).get("msg")) or text(obj(listed[0]).get("message")) or "unnamed error"
    return None


_ANSWERS = ("choices", "content", "text", "output", "done", "candidates", "embeddings", "results", "data")


def whole_answer(body: JsonObject) -> str | None:
    """The id of an answer that is told whole, by itself or in the event that ends it; None for anything else.

    A body with several is several calls: a session of the realtime API, a file of recorded responses.
    """
    if body.get("type") in ("response.done", "response.completed", "response.incomplete"):
        body = obj(body.get("response"))
    elif body.get("object") not in ("chat.completion", "text_completion", "response") and body.get("type") != "message":
        return None
    return text(body.get("id")) if obj(body.get("usage")) else None


def is_batch_line(body: JsonObject) -> bool:
    """Whether the object is a line of a batch's results."""
    if "custom_id" in body and ("response" in body or "result" in body):
        return True
    gemini = ("key" in body or "request" in body) and not obj(body.get("response")).keys().isdisjoint(_GEMINI)
    return gemini or "modelOutput" in body


_GEMINI = frozenset({"candidates", "usageMetadata"})


def lines_inside(body: JsonObject) -> list[JsonObject]:
    """The lines of a batch's results that the batch itself holds (Gemini's inlined ones); none of anything else.

    An answer without an id gets one from its batch, which is read again each time somebody looks whether it is done.
    """
    held = obj(obj(body.get("response")).get("inlinedResponses")).get("inlinedResponses")
    found = []
    for place, line in enumerate(map(obj, items(held))):
        answer = obj(line.get("response"))
        found.append({**line, "response": {"responseId": f"{body.get('name')}#{place}", **answer}} if answer else line)
    return found
