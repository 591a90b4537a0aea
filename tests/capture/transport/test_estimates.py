"""Streams without usage: on recorded streams that have one, with it hidden, the estimate is held against it."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from typing import Any

import pytest

from farthing.capture.hosts import Target
from farthing.capture.observed import Answer, calls
from farthing.capture.request import Asked, read_request
from farthing.event import Attribution
from farthing.recording import Call
from farthing.usage import Usage

_USAGE = frozenset(
    {"usage", "usageMetadata", "usage_metadata", "x_groq", "billed_units", "tokens", "eval_count", "prompt_eval_count",
     "meta", "metadata", "amazon-bedrock-invocationMetrics"}
)  # fmt: skip


def hidden(value: Any) -> Any:
    """The value without anything that counts tokens."""
    if isinstance(value, dict):
        return {name: hidden(inner) for name, inner in value.items() if name not in _USAGE}
    return [hidden(inner) for inner in value] if isinstance(value, list) else value


def without_usage(body: bytes) -> bytes:
    """A stream of server-sent events or of JSON lines with its usage hidden."""
    lines = []
    for line in body.decode().splitlines():
        mark, text = ("data: ", line[5:].strip()) if line.startswith("data:") else ("", line)
        lines.append(mark + json.dumps(hidden(json.loads(text))) if text.startswith("{") else line)
    return "\n".join(lines).encode() + b"\n\n"


def observed(body: bytes, asked: Asked, provider: str | None = None, path: str = "/v1/chat/completions") -> Call:
    """The one call that a whole stream comes to."""
    call = Call(model=asked.model or "some-model", usage=None, attribution=Attribution())
    (found,) = calls(call, Target(provider, path, sure=True), asked, Answer(status=200, body=body))
    return found


def test_the_visible_output_is_estimated_within_a_third(recordings: list[Any]) -> None:
    """Median error of the visible output at most 30 % over all streams, none zero; the table is printed."""
    errors: dict[str, list[float]] = defaultdict(list)
    for one in recordings:
        found = one.extraction
        text = one.body[:1] != b"\x00" and one.stream and one.status == 200
        if not text or found.status != "reported" or not found.usage or not found.complete or found.parts:
            continue
        visible = found.usage.output_tokens - int(found.usage.output_reasoning_tokens)
        if visible < 5 or found.operation == "embeddings":
            continue
        asked = read_request(json.dumps({**one.request, "messages": [{"role": "user", "content": "Tell me."}]}))
        call = observed(without_usage(one.body), asked, found.provider, one.path)
        assert call.usage is not None and call.usage_status in ("estimated", "partial"), one
        assert call.usage.output_tokens > 0 and call.usage.input_tokens > 0, one.body
        errors[one.provider].append((call.usage.output_tokens - visible) / visible)
    everything = [error for some in errors.values() for error in some]
    print(f"\n{'provider':22} streams  median  90th percentile  bias")
    for provider, some in [*sorted(errors.items()), ("all", everything)]:
        sizes = sorted(map(abs, some))
        high = sizes[int(len(sizes) * 0.9)]
        print(
            f"{provider:22} {len(some):7}  {statistics.median(sizes):6.1%}  {high:15.1%}  {statistics.mean(some):+.1%}"
        )
    assert len(everything) > 150
    assert statistics.median(map(abs, everything)) <= 0.30


def test_recorded_streams_without_usage_are_never_zero(recordings: list[Any]) -> None:
    """The real ones that have none: estimated where they are whole, with the request's input."""
    asked = read_request(json.dumps({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Tell me."}]}))
    count = 0
    for one in recordings:
        if one.stream and one.status == 200 and one.extraction.usage and one.extraction.status == "partial":
            call = observed(one.body, asked, one.extraction.provider, one.path)
            assert call.usage is not None and call.usage.output_tokens > 0 and call.usage.input_tokens > 0
            assert call.usage_status == ("estimated" if one.extraction.complete else "partial"), call.usage_reason
            count += 1
    assert count >= 40


SAYS = b"""data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Four words are here"}}]}

data: [DONE]

"""


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"model": "gpt-4o"}, "estimated", "input estimated from the request"),
        ({"model": "o3-mini"}, "partial", "reasoning is not shown"),
        ({"model": "openai/gpt-5"}, "partial", "reasoning is not shown"),
        ({"model": "m", "reasoning_effort": "high"}, "partial", "reasoning is not shown"),
        ({"model": "m", "reasoning_effort": "none"}, "estimated", "no usage reported"),
        ({"model": "claude-x", "thinking": {"type": "enabled"}}, "partial", "reasoning is not shown"),
    ],
)
def test_what_cannot_be_estimated_is_partial(request_: dict[str, Any], status: str, words: str) -> None:
    """A request that lets the model reason has output that nobody sees."""
    asked = read_request(json.dumps({**request_, "messages": [{"role": "user", "content": "Hello there"}]}))
    call = observed(SAYS, asked)
    assert (call.usage_status, call.usage and call.usage.output_tokens) == (status, 6)
    assert words in (call.usage_reason or "")


def test_images_make_the_input_partial() -> None:
    """Nobody can tell an image's tokens from its bytes."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;b64"}},
    ]
    asked = read_request(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}))
    call = observed(SAYS, asked)
    assert call.usage_status == "partial" and "1 images or files are not counted" in (call.usage_reason or "")


@pytest.mark.parametrize("body", [b"", b"<html>a gateway's page</html>"])
def test_an_answer_that_cannot_be_read_is_partial(body: bytes) -> None:
    """It came with status 200, so it may be billed: its input is estimated, and its output is not said to be none."""
    asked = read_request(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}))
    call = observed(body, asked)
    assert call.usage_status == "partial" and "no output was seen" in (call.usage_reason or "")


def test_speech_counts_the_characters_that_are_read_out() -> None:
    """Its answer is sound. What makes it cost stands in the request."""
    asked = read_request(json.dumps({"model": "tts-1", "voice": "alloy", "input": "hello world"}))
    call = observed(bytes(500), asked, "openai", "https://api.openai.com/v1/audio/speech")
    assert call.usage == Usage(input_characters=11) and call.usage_status == "estimated"


def test_a_stream_cut_in_its_middle_is_partial() -> None:
    """Without its end mark a stream is not whole."""
    asked = read_request(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}))
    call = observed(SAYS.split(b"\n\n")[0] + b"\n\n", asked)
    assert call.usage_status == "partial" and "cut off" in (call.usage_reason or "")
