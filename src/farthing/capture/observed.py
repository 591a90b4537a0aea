"""What came of a request -> the calls it comes to: pure, from values to values.

Usage is the provider's own where the answer has it. Where it has none, output is estimated from the visible text and
input from the request; what neither shows (reasoning, images, the part of a stream that never came) makes the counts
`partial`. An attempt that failed is kept as unbilled; one that was cut off after the provider began is not free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace

from farthing.capture.encoding import decoded
from farthing.capture.hosts import Target
from farthing.capture.request import Asked
from farthing.event import NO_MODEL
from farthing.pricing.extract import Extraction, extract
from farthing.pricing.extract.result import ORDINARY_TIERS
from farthing.recording import Call, calls_of
from farthing.usage import Usage

ERROR_CHARACTERS = 300

Header = Callable[[str], str | None]


def no_header(_: str) -> None:
    """The header of what has none."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back.

    status  of HTTP; None: nothing came back, `error` says why
    header  gives a header of the response by its lower-case name
    body    what was seen of it; packed: its `Content-Encoding` is still on it
    ended   the end of the body was reached; cut: its middle was dropped
    error   what broke the call off; None too where the caller just left the stream
    """

    status: int | None = None
    header: Header = no_header
    body: bytes = b""
    packed: bool = False
    ended: bool = True
    cut: bool = False
    error: BaseException | None = None


def calls(call: Call, target: Target, asked: Asked, answer: Answer, pending: Container[object] = ()) -> list[Call]:
    """The calls of a request, ready to be priced; none where it was no LLM call.

    call: what is known of it by its request; pending: ids of responses that are being made in the background.
    """
    if answer.status is None:
        return [_unanswered(call, target, asked, answer)] if target.sure or _asks(call, asked) else []
    if answer.status >= 400:
        return [_refused(call, target, answer)] if not target.results and (target.sure or _asks(call, asked)) else []
    if answer.status >= 300 or answer.status < 200:
        return []
    body, fault = _unpacked(answer)
    found = _extracted(body, target, answer.header("content-type"))
    if found.provider == "aws":
        found = _told_by_headers(found, answer.header)
    if not _is_ours(found, call, target, asked, pending):
        return []
    reported = found.usage is not None and (found.status == "reported" or bool(found.usage.get("input_tokens")))
    if not reported and not target.results and not (asked.background and found.usage is None):
        found = _estimated(found, asked, answer, fault)
    if answer.cut and found.usage is not None:
        found = replace(found, status="partial", reason=found.reason or "the stream was too long to be kept whole")
    failed = None if answer.error is None or found.complete else _words(answer.error)
    cached = any((said := answer.header(name)) is not None and said.lower() == value for name, value in _CACHED)
    if failed is not None or cached:
        call = replace(call, error=failed, cache_hit=cached)
    return list(calls_of(found, call))


def _unpacked(answer: Answer) -> tuple[bytes, str | None]:
    """The body without its encoding. Clients that cannot read an encoding hand the body on as it came."""
    if not answer.packed and answer.body[:1] in b"{[de:":
        return answer.body, None
    return decoded(answer.body, answer.header("content-encoding"))


_THIN_BYTES = 4_096
_ENDS = 6


def _extracted(body: bytes, target: Target, kind: str | None) -> Extraction:
    """The extraction of a body. Of a long stream only what tells the usage is read, where that tells it for certain."""
    if len(body) > _THIN_BYTES and body[:5] in (b"data:", b"event"):
        events = body.split(b"\n\n")
        middle = [
            event
            for event in events[_ENDS:-_ENDS]
            if b'sage":{' in event or b'sage": {' in event or b'"error' in event or b"rounding" in event
        ]
        thin = b"\n\n".join(events[:_ENDS] + middle + events[-_ENDS:])
        found = extract(thin, provider=target.provider, path=target.url, content_type=kind)
        if found.usage is not None and found.status == "reported":
            return found
    return extract(body, provider=target.provider, path=target.url, content_type=kind)


_BEDROCK = "x-amzn-bedrock-"


def _told_by_headers(found: Extraction, header: Header) -> Extraction:
    """The extraction with what Bedrock's headers tell: the counts, where a model's answer has none, and the tier."""
    sides = {f"{side}_tokens": header(f"{_BEDROCK}{side}-token-count") for side in ("input", "output")}
    counts = {unit: int(value) for unit, value in sides.items() if value is not None and value.isdecimal()}
    if counts and (found.usage is None or found.status != "reported"):
        found = replace(found, usage=Usage.reported(counts), status="reported", reason=None)
    tier = (header(f"{_BEDROCK}service-tier") or "").lower()
    if tier not in ORDINARY_TIERS and "service_tier" not in found.context:
        found = replace(found, service_tier=tier, context={**found.context, "service_tier": tier})
    return found


_CACHED = (
    ("cf-aig-cache-status", "hit"),
    ("x-portkey-cache-status", "hit"),
    ("helicone-cache", "hit"),
    ("x-litellm-cache-hit", "true"),
)
"""How gateways say that they answered from a cache of their own, which no provider bills."""


def _asks(call: Call, asked: Asked) -> bool:
    """Whether the request by itself looks like a call."""
    return asked.is_call and call.model != NO_MODEL


def _is_ours(found: Extraction, call: Call, target: Target, asked: Asked, pending: Container[object]) -> bool:
    if target.results:
        told = [one for one in (found, *found.parts) if one.usage is not None and one.status == "reported"]
        return any(one.context.get("processing") == "batch" or one.response_id in pending for one in told)
    counted = found.usage is not None and found.status == "reported"
    return target.sure or counted or _asks(call, asked)


def _refused(call: Call, target: Target, answer: Answer) -> Call:
    """An attempt that the provider answered with an error."""
    body, _ = _unpacked(answer)
    found = extract(body, provider=target.provider, path=target.url) if body else Extraction()
    said = found.error or " ".join(body[:ERROR_CHARACTERS].decode("utf-8", "replace").split())
    return replace(
        call,
        model=_model(call, found),
        provider=found.provider or target.provider,
        operation=found.operation,
        billed=False,
        error=f"{answer.status} {said}".strip()[:ERROR_CHARACTERS],
    )


_AT_HOME = ("RuntimeError", "TypeError", "ValueError", "LocalProtocolError")
"""What clients raise before they send: they are closed, or the request cannot be one."""
_NEVER_ARRIVED = ("Connect", "Pool", "NameResolution", "Resolve", "Unsupported", "InvalidU", "SSL", "Proxy", "MaxRetry")
_ARRIVED = ("ConnectionReset", "ConnectionAborted", "ConnectionBroken", "ConnectionClosed", "ConnectionError")


def _unanswered(call: Call, target: Target, asked: Asked, answer: Answer) -> Call:
    """An attempt that ended without an answer. Where it may have arrived, it may have been billed."""
    name = type(answer.error).__name__
    found = extract(b"", provider=target.provider, path=target.url)
    arrived = name.startswith(_ARRIVED) or (name not in _AT_HOME and not any(map(name.__contains__, _NEVER_ARRIVED)))
    tokens = asked.input_tokens() if arrived else 0
    return replace(
        call,
        model=_model(call, found),
        provider=target.provider and found.provider,
        operation=found.operation,
        billed=arrived,
        usage=Usage(input_tokens=tokens) if tokens else None,
        usage_status="partial" if arrived else "reported",
        usage_reason="no answer came: input estimated from the request, output unknown" if arrived else None,
        error=_words(answer.error),
    )


def _model(call: Call, found: Extraction) -> str:
    return call.model if call.model != NO_MODEL else found.model or NO_MODEL


def _words(error: BaseException | None) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:ERROR_CHARACTERS] if said else type(error).__name__


_NO_TEXT = frozenset({"image_generation", "transcription", "speech", "rerank", "ocr"})
"""Operations that are not billed by the text that goes in."""


def _estimated(found: Extraction, asked: Asked, answer: Answer, fault: str | None) -> Extraction:
    """The extraction with the counts that the answer did not report estimated, as far as they can be."""
    if found.operation == "speech" and found.usage is None and (written := asked.characters().get("user")):
        spoken = Usage(input_characters=written)
        return replace(found, usage=spoken, status="estimated", reason="no usage reported: the request's characters")
    if found.operation in _NO_TEXT or (found.error and found.usage is None):
        return replace(found, reason=fault or found.reason)
    units = found.usage.to_dict() if found.usage is not None else {}
    tokens = asked.input_tokens()
    if tokens:
        units["input_tokens"] = tokens
    if not units:
        return replace(found, reason=fault or found.reason)
    shown = int(units.get("output_tokens", 0))
    if shown:
        units["output_tokens"] = shown + _frame_tokens(answer)
    if not shown and found.complete and answer.ended and not fault and found.operation != "embeddings":
        units["output_tokens"] = 1  # an answer that ended is not nothing
    missing = list(_missing(found, asked, answer, fault, shown))
    words = f"no usage reported: input estimated from the request, output from {shown} tokens of visible text"
    return replace(
        found,
        usage=Usage.reported(units),
        status="partial" if missing else "estimated",
        reason="; ".join((words, *missing)),
    )


_CALL_IDS = ((re.compile(rb'"(toolu_\w+)"'), 30), (re.compile(rb'"(call_\w+)"'), 10))
"""What marks a tool's call, and about how many tokens its frame takes: measured on recorded streams."""
ANSWER_TOKENS = 2
"""The marks around an answer."""


def _frame_tokens(answer: Answer) -> int:
    """About how many tokens of the output nobody sees: the marks around the answer and around calls of tools."""
    body, _ = _unpacked(answer)
    return ANSWER_TOKENS + sum(len(set(ids.findall(body))) * tokens for ids, tokens in _CALL_IDS)


def _missing(found: Extraction, asked: Asked, answer: Answer, fault: str | None, shown: int) -> Iterable[str]:
    """What the estimate cannot know."""
    if fault:
        yield fault
    cut = not found.complete and (found.stream or not answer.ended)
    if cut:
        yield "the stream was cut off"
    if asked.reasons and found.operation != "embeddings":
        yield "reasoning is not shown"
    if asked.blobs:
        yield f"{asked.blobs} images or files are not counted"
    if not asked.turns and not asked.tokens:
        yield "the request could not be read"
    if not shown and found.operation != "embeddings" and not fault and not cut:
        yield "no output was seen"
