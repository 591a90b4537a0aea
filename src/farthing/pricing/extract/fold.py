"""The events of a stream -> one body as it stands at the end, which the readers of whole bodies then read.

The last usage that is not null counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from farthing.pricing.extract import anthropic, google
from farthing.pricing.extract.bedrock import METRICS
from farthing.pricing.extract.result import JsonObject, items, obj


@dataclass(slots=True)
class Folded:
    """body: what the readers read; ended: the stream's own end was seen; usage: it carries counts;
    final: its output count is the last word, not a first guess; operation: where the events tell it."""

    body: JsonObject = field(default_factory=dict)
    ended: bool = False
    usage: bool = False
    final: bool = True
    operation: str | None = None


def is_event(body: JsonObject) -> bool:
    """Whether one object is an event of a stream rather than a response: `response.done`, `message_delta`, ..."""
    kind = body.get("type")
    if isinstance(kind, str):
        return kind in _ANTHROPIC or kind.startswith(_TYPED) or kind == "message-end"
    return len(body) == 1 and not body.keys().isdisjoint(_CONVERSE)


def fold(events: list[JsonObject]) -> Folded:
    """One body out of the events, by the kind of the first that is known."""
    for event in events:
        kind = event.get("type")
        if isinstance(kind, str):
            if kind in _ANTHROPIC:
                return _anthropic(events)
            if kind in ("message-start", "content-start", "content-delta", "message-end"):
                return _cohere(events)
            if kind.startswith(_TYPED):
                return _typed(events)
            if kind in ("result", "assistant", "system") and ("session_id" in event or "sessionId" in event):
                return _agent(events)
        if "choices" in event:
            return _chat(events)
        named = event.get("object")
        if isinstance(named, str) and named.startswith("thread."):
            return _thread(events)
        if "candidates" in event or "usageMetadata" in event or "usage_metadata" in event:
            return _google(events)
        if "interaction" in event:
            return _interaction(events)
        if isinstance(event.get("event_type"), str) and (
            "is_finished" in event or event["event_type"] == "stream-start"
        ):
            return _cohere(events)
        if any(key in event for key in _CONVERSE):
            return _converse(events)
    return _last(events)


_ANTHROPIC = frozenset({"message_start", "message_delta", "message_stop", "content_block_delta", "content_block_start"})
_TYPED = ("response.", "transcript.", "speech.", "image_generation.", "image_edit.", "conversation.", "session.")
_CONVERSE = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")


def _anthropic(events: list[JsonObject]) -> Folded:
    body, ended, final = anthropic.merge_stream(events)
    if METRICS in events[-1] and not body.get("usage"):  # the end alone of a stream through Bedrock
        body[METRICS] = events[-1][METRICS]
    counted = METRICS in body
    return Folded(body, ended, counted or bool(body.get("usage")), counted or final)


def _chat(events: list[JsonObject]) -> Folded:
    """OpenAI's chunks. Azure's first chunk has empty choices, model and id; Groq's usage lies in `x_groq`."""
    folded = Folded()
    body = folded.body
    for event in events:
        for key in ("id", "model", "object", "service_tier", "provider", "error"):
            if event.get(key):
                body[key] = event[key]
        if "prompt_filter_results" in event:
            body["prompt_filter_results"] = []
        usage = event.get("usage") or obj(event.get("x_groq")).get("usage")
        if isinstance(usage, dict) and usage:
            body["usage"] = usage
            folded.usage = True
        if "x_groq" in event:
            body["x_groq"] = {}
        if METRICS in event:
            body[METRICS] = event[METRICS]
        for choice in items(event.get("choices")):
            if isinstance(choice, dict) and choice.get("finish_reason"):
                folded.ended = True
    return folded


def _typed(events: list[JsonObject]) -> Folded:
    """Responses (ended by `response.completed`, `.incomplete`, `.failed`), realtime, transcripts, speech, images."""
    folded = Folded()
    for event in events:
        kind = event.get("type")
        if not isinstance(kind, str):
            continue
        inner = event.get("response")
        if isinstance(inner, dict):
            kept = folded.body.get("usage")
            folded.body.update(inner)
            if not folded.body.get("usage") and kept:
                folded.body["usage"] = kept
            error = inner.get("error")
            if not error:
                folded.body.pop("error", None)
        elif isinstance(event.get("usage"), dict):
            folded.body.update({k: v for k, v in event.items() if k not in ("type", "delta")})
        if kind in _TERMINAL or (kind.endswith((".done", ".completed")) and isinstance(event.get("usage"), dict)):
            folded.ended = True
        if kind.startswith(("transcript.", "conversation.item.input_audio")):
            folded.operation = "transcription"
        elif kind.startswith(("image_generation.", "image_edit.")):
            folded.operation = "image_generation"
        elif kind.startswith("speech."):
            folded.operation = "speech"
        elif kind == "error":
            folded.body["error"] = event.get("error") or {"message": event.get("message")}
    folded.usage = bool(obj(folded.body.get("usage")))
    return folded


_TERMINAL = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.done", "response.cancelled"}
)


def _google(events: list[JsonObject]) -> Folded:
    """Gemini's chunks, whose counts are cumulative: the last that has any. Searches are gathered over all chunks."""
    folded = Folded()
    body = folded.body
    groundings: list[Any] = []
    traffic: JsonObject = {}
    last: JsonObject = {}
    for event in events:
        usage = event.get("usageMetadata", event.get("usage_metadata"))
        if google.has_counts(usage):
            body["usageMetadata" if "usageMetadata" in event else "usage_metadata"] = usage
            folded.usage = True
        elif isinstance(usage, dict):
            traffic = usage
        for key in ("modelVersion", "model_version", "responseId", "response_id", "error", "promptFeedback"):
            if event.get(key):
                body[key] = event[key]
        for candidate in items(event.get("candidates")):
            if isinstance(candidate, dict):
                found = candidate.get("groundingMetadata") or candidate.get("grounding_metadata")
                if found:
                    groundings.append(found)
        if "candidates" in event:
            last = event
    if not folded.usage and traffic:
        body["usageMetadata"] = traffic
    key = "groundingMetadata" if "usageMetadata" in body else "grounding_metadata"
    body["candidates"] = [{key: found} for found in groundings]
    folded.ended = not google.is_unfinished(last or body)
    return folded


def _interaction(events: list[JsonObject]) -> Folded:
    folded = Folded()
    for event in events:
        inner = event.get("interaction")
        if isinstance(inner, dict):
            folded.body.update({k: v for k, v in inner.items() if v is not None})
            status = inner.get("status")
            folded.ended = folded.ended or status in (
                "completed",
                "failed",
                "cancelled",
                "incomplete",
                "requires_action",
            )
        if event.get("error"):
            folded.body["error"] = event["error"]
    folded.usage = bool(obj(folded.body.get("usage")))
    return folded


def _cohere(events: list[JsonObject]) -> Folded:
    """Version 2: `message-end` with `delta.usage`; version 1: `stream-end` with the whole response."""
    folded = Folded()
    for event in events:
        if event.get("id") or event.get("generation_id"):
            folded.body.setdefault("id", event.get("id") or event.get("generation_id"))
        usage = obj(event.get("delta")).get("usage")
        if event.get("type") == "message-end" or event.get("event_type") == "stream-end":
            folded.ended = True
            folded.body.update(obj(event.get("response")))
        if isinstance(usage, dict) and usage:
            folded.body["usage"] = usage
    folded.usage = bool(obj(folded.body.get("usage")) or obj(folded.body.get("meta")))
    return folded


def _converse(events: list[JsonObject]) -> Folded:
    """Converse's (and Nova's) events: `metadata` comes after `messageStop` and has the usage."""
    folded = Folded({"output": {}, "stopReason": None})
    for event in events:
        metadata = event.get("metadata")
        if isinstance(metadata, dict):
            folded.body.update({k: v for k, v in metadata.items() if v is not None})
            folded.ended = True
        if METRICS in event:
            folded.body[METRICS] = event[METRICS]
        if "error" in event:
            folded.body["error"] = event["error"]
    folded.usage = bool(obj(folded.body.get("usage"))) or METRICS in folded.body
    return folded


def _thread(events: list[JsonObject]) -> Folded:
    """An assistant's run: the run's own usage, which contains that of its steps; else the steps' together."""
    folded = Folded({"object": "thread.run"})
    for event in events:
        if event.get("object") == "thread.run":
            kept = folded.body.get("usage")
            folded.body = dict(event)
            folded.body["usage"] = event.get("usage") or kept
            folded.ended = event.get("status") in (
                "completed",
                "failed",
                "cancelled",
                "expired",
                "incomplete",
                "requires_action",
            )
    folded.usage = bool(obj(folded.body.get("usage")))
    return folded


def _agent(events: list[JsonObject]) -> Folded:
    """The messages of the Claude Agent SDK: the `result` line covers the run."""
    for event in reversed(events):
        if event.get("type") == "result":
            return Folded(event, ended=True, usage=True)
    return _last(events)


def _last(events: list[JsonObject]) -> Folded:
    """Streams whose every line is a body of its own: the last one that reports (Ollama's `done`, Titan, Llama)."""
    folded = Folded()
    for event in events:
        known = {k: v for k, v in event.items() if v is not None and k not in ("response", "message", "delta")}
        usage = folded.body.get("usage")
        folded.body.update(known)
        if usage and not event.get("usage"):
            folded.body["usage"] = usage
        folded.usage = folded.usage or any(event.get(key) is not None for key in _COUNTED)
        finished = event.get("done") is True or event.get("completionReason") or event.get("stop_reason")
        folded.ended = folded.ended or bool(finished) or METRICS in event or "totalOutputTextTokenCount" in event
    return folded


_COUNTED = (
    *("usage", "prompt_eval_count", "eval_count", "inputTextTokenCount", "totalOutputTextTokenCount", METRICS),
    *("prompt_token_count", "generation_token_count", "details", "tokens_evaluated", "tokenUsage", "usage_info"),
)
