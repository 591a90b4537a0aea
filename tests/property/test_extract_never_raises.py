"""Whatever arrives, reading it gives an `Extraction`: hypothesis looks for a body that breaks that."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farthing.errors import ExtractionError
from farthing.event import USAGE_STATUSES
from farthing.pricing.extract import Extraction, extract
from farthing.usage import Usage


def words(text: str) -> st.SearchStrategy[str]:
    """One of the words of a text."""
    return st.sampled_from(text.split())


KEYS = words(
    """
    usage model id type object message delta choices finish_reason service_tier error response result output data
    prompt_tokens completion_tokens total_tokens input_tokens output_tokens prompt_tokens_details cached_tokens
    completion_tokens_details reasoning_tokens audio_tokens input_tokens_details output_tokens_details image_tokens
    cache_creation cache_creation_input_tokens cache_read_input_tokens ephemeral_5m_input_tokens server_tool_use
    web_search_requests iterations speed inference_geo usageMetadata usage_metadata promptTokenCount modelVersion
    candidatesTokenCount thoughtsTokenCount toolUsePromptTokenCount promptTokensDetails modality tokenCount candidates
    groundingMetadata webSearchQueries trafficType serviceTier inputTokens outputTokens cacheDetails ttl metadata meta
    billed_units tokens search_units prompt_eval_count eval_count done x_groq cost cost_details is_byok citation_tokens
    num_search_queries search_context_size tool_usage image_gen web_search num_requests custom_id body modelOutput
    modelUsage total_cost_usd interaction total_input_tokens input_tokens_by_modality usage_info pages_processed seconds
    duration text svg_usage predictions embeddings statistics tokenUsage totalCents content session_id event_type steps
    messageStart messageStop inputTextTokenCount results prompt_token_count status amazon-bedrock-invocationMetrics
    """
)
TYPES = words(
    """
    message message_start message_delta message_stop response.done response.completed response.created result
    assistant message-start message-end content-delta thread.run chat.completion chat.completion.chunk response error
    transcript.text.done image_generation.completed web_search_call file_search_call search compaction advisor_message
    fallback_message duration tokens batch TEXT AUDIO flex gpt-4o claude-x gemini-3 sonar 1e999999999 12 7.5 NaN
    """
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**7)
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | TYPES
    | st.text(max_size=12)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=7),
    max_leaves=40,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=8)
PROVIDERS = st.none() | words("openai x-ai aws perplexity google api.openai.com:443 :: [ https://[") | st.just("")
PATHS = st.none() | words("/v1/messages /model/%ff/invoke https://[bad /models/a:generateContent % ://")
CONTENT_TYPES = st.none() | words("application/vnd.amazon.eventstream text/event-stream")


def check(found: Extraction) -> None:
    """What holds for every extraction."""
    assert found.status in USAGE_STATUSES
    assert found.usage is None or isinstance(found.usage, Usage)
    assert found.usage is not None or found.reason
    assert found.status == "reported" or found.reason
    assert not (found.usage and found.usage.problems) or found.reason
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in found.context.items())
    assert found.reported_cost is None or (found.reported_cost.is_finite() and found.reported_cost >= 0)
    for name in (found.model, found.response_id, found.service_tier, found.error):
        assert name is None or (isinstance(name, str) and name)
    for part in found.parts:
        check(part)


@given(OBJECTS, PROVIDERS, PATHS)
@example({"usage": {"prompt_tokens": "1e999999999"}}, None, None)
@example({"usage": {"input_tokens": 10**4000, "output_tokens": float("nan")}}, None, None)
def test_any_json_object_gives_an_extraction(body: dict[str, Any], provider: str | None, path: str | None) -> None:
    """Wrong types, huge and negative numbers anywhere in the names we read are survived."""
    check(extract(body, provider=provider, path=path))


@given(st.lists(OBJECTS | JSON, max_size=5))
def test_any_list_of_events_gives_an_extraction(events: list[Any]) -> None:
    """So are streams of such objects, parsed."""
    check(extract(events))


@given(st.lists(OBJECTS, max_size=5), st.data())
def test_any_stream_cut_anywhere_gives_an_extraction(events: list[dict[str, Any]], data: st.DataObject) -> None:
    """Server-sent events, JSON lines and event streams of such objects, whole and cut at any byte, are survived."""
    texts = [json.dumps(event) for event in events]
    bodies = (
        "".join(f"data: {text}\n\n" for text in texts).encode(),
        "\r\n".join(texts).encode(),
        ("[" + ",\n".join(texts) + "]").encode(),
        b"".join(frame(text.encode()) for text in texts),
        b"".join(frame(json.dumps({"bytes": base64.b64encode(text.encode()).decode()}).encode()) for text in texts),
    )
    for body in bodies:
        check(extract(body))
        check(extract(body[: data.draw(st.integers(0, len(body)))]))


@given(st.binary(max_size=200), CONTENT_TYPES)
def test_any_bytes_give_an_extraction(body: bytes, content_type: str | None) -> None:
    """Bytes that are nothing at all are survived, and so is their text."""
    check(extract(body, content_type=content_type))
    check(extract(body.decode("latin-1"), content_type=content_type))
    check(extract(b"data: " + body))
    check(extract(b'{"usage":' + body))


BOMBS = {
    "lists": "[" * 100_000,
    "objects": '{"usage":' * 100_000,
    "closed": '{"a":[' * 50_000 + "1" + "]}" * 50_000,
    "event": "data: " + "[" * 100_000,
    "lines": ('{"usage":' + "[" * 1_000 + "\n") * 500,
    "digits": '{"usage":{"prompt_tokens":' + "9" * 100_000 + "}}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_depth_and_digit_bombs_are_survived(bomb: str) -> None:
    """JSON nested a hundred thousand deep, and a number of a hundred thousand digits, give a reason."""
    check(extract(bomb))
    check(extract(bomb.encode()))


def test_a_deeply_nested_parsed_body_is_survived() -> None:
    """A parsed body may be nested deeper than Python recurses, at any place that is read."""
    for place in ("usage", "choices", "candidates", "content", "usage_metadata", "message"):
        deep: Any = {"input": {}}
        for _ in range(5_000):
            deep = {place: deep, "content": [deep], "usage_metadata": deep, "input": deep}
        check(extract({place: deep, "type": "message", "object": "x"}))


@pytest.mark.parametrize("body", [None, 1, 1.5, object(), ("a",), {1}])
def test_another_type_of_body_is_our_error(body: Any) -> None:
    """Only what is neither bytes, text nor parsed JSON raises, and it says what was expected."""
    with pytest.raises(ExtractionError, match="expected bytes, text, or parsed JSON"):
        extract(body)


def frame(payload: bytes, name: str = "chunk") -> bytes:
    """One frame of an AWS event stream, with its checksums."""
    headers = b"".join(
        bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(value)) + value
        for key, value in ((b":event-type", name.encode()), (b":message-type", b"event"))
    )
    total = 12 + len(headers) + len(payload) + 4
    prelude = struct.pack(">II", total, len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))
