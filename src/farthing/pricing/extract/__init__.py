"""A provider's response, whole or streamed -> the counts and facts that its price depends on."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from farthing.errors import ExtractionError
from farthing.pricing.extract import bedrock, google, origin, others, shapes, streams
from farthing.pricing.extract.estimate import estimate_tokens, visible_text
from farthing.pricing.extract.fold import Folded, fold, is_event
from farthing.pricing.extract.result import Draft, Extraction, JsonObject, obj, text

__all__ = ["Extraction", "estimate_tokens", "extract"]


def extract(
    body: bytes | bytearray | memoryview | str | dict[str, Any] | list[Any],
    *,
    provider: str | None = None,
    path: str | None = None,
    content_type: str | None = None,
) -> Extraction:
    """The usage, model, identity and request context that a response tells.

    body: as it came (bytes or text: JSON, server-sent events, JSON lines, an AWS event stream, that also as base64), or
    parsed JSON: an object, or a list of a stream's events.
    provider: its name, any common alias of it, or the host that answered; path: the request's path or URL, which names
    the model for Bedrock, Gemini and Azure. Both may be left out where the body tells enough.

    A body that cannot be understood is no error: `usage` is None and `reason` says why. Only a `body` of another
    type raises `ExtractionError`.
    """
    draft = _draft(provider, path)
    if isinstance(body, dict):
        return _whole(draft, body)
    if isinstance(body, list):
        return _several(draft, streams.Frames("array", list(body)))
    if isinstance(body, bytearray | memoryview):
        body = bytes(body)
    if not isinstance(body, bytes | str):
        raise ExtractionError(
            f"body of type {type(body).__name__}: expected bytes, text, or parsed JSON (a dict or a list)"
        )
    frames = streams.split(body, content_type if isinstance(content_type, str) else None)
    if frames.kind == "json" and isinstance(frames.objects[0], dict):
        return _whole(draft, frames.objects[0])
    return _several(draft, frames)


def _draft(given: str | None, path: str | None) -> Draft:
    given = given if isinstance(given, str) and given else None
    path = path if isinstance(path, str) else ""
    return Draft(origin.resolve(given, path), path, operation=_operation(path), context=origin.places(given, path))


_OPERATIONS = (
    ("embed", "embeddings"),
    ("chat/completions", "chat"),
    ("/completions", "text_completion"),
    ("/api/generate", "text_completion"),
    ("transcriptions", "transcription"),
    ("translations", "transcription"),
    ("audio/speech", "speech"),
    ("/images/", "image_generation"),
    ("rerank", "rerank"),
    ("enerateContent", "generate_content"),
    ("/ocr", "ocr"),
)


@lru_cache(maxsize=1024)
def _operation(path: str) -> str:
    return next((operation for mark, operation in _OPERATIONS if mark in path), "chat")


def _whole(draft: Draft, body: JsonObject) -> Extraction:
    """The extraction of one JSON object that is no stream."""
    body = streams.opened(body) or body
    if is_event(body):
        folded = fold([body])
        if folded.operation:
            draft.operation = folded.operation
        draft.complete = folded.ended
        _read(draft, folded.body)
        if draft.units is not None and not draft.complete:
            draft.status, draft.reason = "partial", draft.reason or "one event of a stream, not its last"
        return draft.finish()
    if lines := shapes.lines_inside(body):
        return _batch(draft, lines, streams.Frames("array", lines))
    inner = shapes.unwrap(draft, body)
    _read(draft, inner, body)
    if draft.response_id is None and inner is not body and "custom_id" in body:
        # A batch line whose answer has no id of its own (embeddings) has the line's; custom_id is the caller's, who
        # numbers each batch alike.
        draft.response_id = text(body.get("id")) or text(obj(body.get("response")).get("request_id"))
    if draft.units is None and draft.reason is None and draft.error is None:
        _estimate(draft, [inner], "the response")
    return draft.finish()


def _read(draft: Draft, body: JsonObject, wrapper: JsonObject | None = None) -> None:
    """Fills the draft from one body: who answered, its counts, its error."""
    named, public = origin.model_in_path(draft.path)
    if draft.provider is None:
        model = text(body.get("model")) or text(next(iter(obj(body.get("modelUsage"))), None))
        draft.provider = origin.by_shape(body, model)
    if named and not draft.model:
        draft.model = named
    read = shapes.reader(draft, body)
    if draft.provider is None:
        draft.provider = _NATIVE.get(read)
    read(draft, body)
    if draft.provider is None and draft.model:
        draft.provider = origin.by_shape({}, draft.model)
    if draft.provider == "aws" and named and (public or (draft.model or "/").startswith("/")):
        draft.model = named
    error = shapes.error_of(body)
    if error is None and wrapper is not None and wrapper is not body:
        error = shapes.error_of(wrapper)
    draft.error = draft.error or error


_NATIVE: dict[shapes.Reader, str] = {
    bedrock.read_converse: "aws",
    bedrock.read_titan: "aws",
    bedrock.read_llama: "aws",
    bedrock.read_guardrail: "aws",
    others.read_cohere: "cohere",
    others.read_ocr: "mistral",
    google.read: "google",
    google.read_interaction: "google",
}
"""Shapes that only one provider's bodies have."""


def _several(draft: Draft, frames: streams.Frames) -> Extraction:
    """The extraction of a stream's events, or of the lines of a batch's results."""
    events = [found for event in frames.objects if isinstance(event, dict) and (found := streams.opened(event))]
    if not events:
        draft.complete = frames.whole and frames.kind in ("json", "array")
        draft.stream = frames.kind not in ("json", "none")
        draft.reason = frames.fault or "the body holds no JSON object"
        return draft.finish()
    if frames.kind in ("ndjson", "array") and shapes.is_batch_line(events[0]):
        return _batch(draft, events, frames)
    answers = {key: event for event in events if (key := shapes.whole_answer(event))}
    if len(answers) > 1:
        return _batch(draft, list(answers.values()), frames)
    draft.stream = True
    folded = fold(events)
    if folded.operation:
        draft.operation = folded.operation
    draft.complete = folded.ended or frames.done
    _read(draft, folded.body)
    if draft.units is not None and (folded.usage or not draft.units):
        _judge(draft, folded, frames)
    else:
        draft.units = None
        _estimate(draft, frames.everything(), "the stream")
    return draft.finish()


def _judge(draft: Draft, folded: Folded, frames: streams.Frames) -> None:
    """Marks counts that are not the last word: a stream that broke off, an output that was only announced."""
    if draft.complete and folded.final:
        return
    if not draft.complete:
        draft.status = "partial"
        draft.reason = "the stream was cut off: the counts are those seen until then"
    else:
        draft.status = "estimated"
        draft.reason = "the stream ended without its output count"
    if not folded.final and draft.units is not None:
        shown = estimate_tokens(visible_text(frames.everything()))
        before = draft.units.get("output_tokens", 0)
        if not isinstance(before, int) or shown > before:
            draft.units["output_tokens"] = shown
            draft.reason += "; output estimated from the visible text"


def _estimate(draft: Draft, objects: list[Any], what: str) -> None:
    """Output from the visible text where there is no usage: said so, and never zero."""
    shown = visible_text(objects)
    tokens = estimate_tokens(shown)
    ending = "" if draft.complete else f"; {what} was cut off"
    if tokens:
        draft.units = {"output_tokens": tokens}
        draft.status = "partial"
        source = f"{len(shown)} characters of visible text"
        draft.reason = f"{what} reports no usage: output estimated from {source}, input unknown{ending}"
    elif draft.error is None:
        draft.status = "partial" if draft.stream else draft.status
        draft.reason = draft.reason or f"{what} reports no usage and shows no text{ending}"


def _batch(draft: Draft, lines: list[JsonObject], frames: streams.Frames) -> Extraction:
    """A whole results file, or several answers one after the other: the first, the others as parts."""
    found = [_whole(_draft(draft.provider, draft.path), line) for line in lines]
    first = found[0]
    return Extraction(
        **{name: getattr(first, name) for name in Extraction.__slots__ if name not in ("parts", "complete")},
        parts=(*first.parts, *found[1:]),
        complete=frames.whole and first.complete,
    )
