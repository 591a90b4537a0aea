"""JSON lines: each line says itself what it is."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.capture.logs.jsonl import read_json, read_value
from farthing.capture.logs.values import BadLine, Read, Skipped
from farthing.event import NO_MODEL, to_us
from farthing.recording import Call
from farthing.usage import Usage

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_763_640_366,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"role": "assistant", "content": "Paris"}}],
    "usage": {"prompt_tokens": 23, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 10}},
}


def calls(line: dict[str, Any]) -> tuple[Call, ...]:
    found = read_value(line, source="test")
    assert isinstance(found, Read), found
    return found.calls


def test_an_event_line_with_everything() -> None:
    """Every field of the form arrives where it belongs; what is not known of the form is kept in metadata."""
    line = {
        "at": "2026-11-20T14:03:11.250Z", "provider": "openai", "model": "gpt-4o", "requested_model": "best",
        "operation": "chat", "usage": {"input_tokens": 1500, "cache_read_tokens": 1200, "output_tokens": 350},
        "usage_status": "estimated", "context": {"processing": "batch"}, "org": "acme", "team": "search",
        "agent": "researcher", "user": "u1", "metadata": {"region": "eu"}, "latency_ms": 812, "response_id": "r1",
        "attempt": 2, "error": "slow", "reported_cost_usd": "0.01",
        "billing": "subscription",
    }  # fmt: skip
    (call,) = calls(line)
    assert call.at_us == to_us(datetime(2026, 11, 20, 14, 3, 11, 250_000, UTC))
    assert call.usage == Usage(input_tokens=1500, cache_read_tokens=1200, output_tokens=350)
    assert (call.attribution.org, call.attribution.team, call.attribution.agent) == ("acme", "search", "researcher")
    assert dict(call.attribution.metadata) == {"region": "eu", "latency_ms": 812}
    assert (call.usage_status, dict(call.context), call.attempt) == ("estimated", {"processing": "batch"}, 2)
    assert (call.dedupe_key, call.billing) == ("response:openai:r1", "subscription")


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("claude-code", {"type": "assistant", "sessionId": "s", "message": {"id": "msg_1", "usage": {}}}),
        ("claude-code", {"type": "result", "session_id": "s", "modelUsage": {"m": {"outputTokens": 9}}, "usage": {}}),
        ("codex", {"type": "event_msg", "timestamp": "2026-11-20T14:03:11Z", "payload": {"type": "token_count"}}),
        ("gemini-cli", {"type": "gemini", "id": "1", "tokens": {"input": 4, "output": 1}}),
        ("opencode", {"role": "assistant", "modelID": "m", "providerID": "p", "tokens": {"input": 4}}),
    ],
)  # fmt: skip
def test_a_coding_agents_log_is_not_read_line_by_line(tool: str, line: dict[str, Any]) -> None:
    """Its lines say calls several times, in parts and in sums: read one by one they count twice, or as nothing."""
    with pytest.raises(BadLine, match=f"farthing import {tool} PATH"):
        read_value(line, source="test")


def test_counts_may_stand_beside_the_other_fields() -> None:
    """The short form: no `usage` object, and the names that people use."""
    (call,) = calls(
        {"model": "gpt-4o", "input_tokens": 100, "cached_tokens": 60, "output_tokens": 5, "ts": 1_763_640_366}
    )
    assert call.usage == Usage(input_tokens=100, cache_read_tokens=60, output_tokens=5)
    assert call.at_us == 1_763_640_366_000_000


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("2026-11-01T00:00:00Z", 1_793_491_200_000_000),
        ("2026-11-01", 1_793_491_200_000_000),
        ("2026-11-01T01:00:00+01:00", 1_793_491_200_000_000),
        ("2026-11-01 00:00:00.0000009", 1_793_491_200_000_000),
        (1_793_491_200, 1_793_491_200_000_000),
        (1_793_491_200.5, 1_793_491_200_500_000),
        (1_793_491_200_500, 1_793_491_200_500_000),
        (1_793_491_200_500_000, 1_793_491_200_500_000),
        ("1793491200", 1_793_491_200_000_000),
    ],
)
def test_moments_in_the_ways_they_are_written(written: Any, microseconds: int) -> None:
    """ISO 8601 with and without a zone, and seconds, milliseconds and microseconds since 1970 mean the same moment."""
    (call,) = calls({"at": written, "model": "m", "input_tokens": 1})
    assert call.at_us == microseconds


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            '{"at": "2026-11-01", "model": "m", "usage": {"input_tokens": -1}}',
            "input_tokens = -1: must not be negative",
        ),
        ('{"at": "2026-11-01", "model": "m", "usage": {"tokens": 1}}', "unknown unit 'tokens'"),
        ('{"at": "2026-11-01", "usage": {"input_tokens": 1, "cache_read_tokens": 2}}', "cannot exceed"),
        ('{"at": "yesterday", "input_tokens": 1}', "'yesterday': is no moment"),
        ('{"at": "2026-11-01", "usage": 5}', "must be an object"),
        ('{"at": "2026-11-01", "agent": {"a": 1}, "input_tokens": 1}', "agent = {'a': 1}: must be text"),
        ('{"at": "2026-11-01", "billed": "maybe", "input_tokens": 1}', "billed = 'maybe'"),
        ('{"at": "2026-11-01", "usage": {"total_tokens": 9}}', "total alone"),
        ('{"at": "2026-11-01", "reported_cost_usd": -1, "input_tokens": 1}', "not negative"),
        ('{"at": "2026-11-01", "usage_status": "guessed", "input_tokens": 1}', "must be one of"),
        ("{not json", "is no JSON"),
        ("[1, 2]", "no object"),
        ('{"body_b64": "!!", "path": "/v1/x"}', "no base64"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(line: str, reason: str) -> None:
    """The field, the value and the rule."""
    with pytest.raises(BadLine) as bad:
        read_json(line, source="test")
    assert reason in str(bad.value)


def test_a_recorded_response() -> None:
    """The provider's counts, model, id and time are read out of the body; attribution may stand beside it."""
    line = {
        "provider": "openai",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "status": 200,
        "content_type": "application/json",
        "request": {"model": "gpt-4o"},
        "body": json.dumps(CHAT),
        "agent": "a",
    }
    (call,) = calls(line)
    assert call.usage == Usage(input_tokens=23, cache_read_tokens=10, output_tokens=7)
    assert (call.model, call.requested_model, call.provider) == ("gpt-4o-2024-08-06", "gpt-4o", "openai")
    assert (call.dedupe_key, call.attribution.agent) == ("response:openai:chatcmpl-1", "a")
    assert call.at_us == 1_763_640_366_000_000
    packed = {**line, "body_b64": base64.b64encode(json.dumps(CHAT).encode()).decode(), "body": None}
    assert calls(packed)[0].usage == call.usage


def test_a_bare_body_and_batch_output() -> None:
    """A provider's body needs nothing around it; batch lines say that they were a batch."""
    (call,) = calls(CHAT)
    assert call.usage is not None and call.usage.input_tokens == 23
    batch = {
        "id": "b1",
        "custom_id": "1",
        "response": {"status_code": 200, "request_id": "q", "body": CHAT},
        "error": None,
    }
    (call,) = calls(batch)
    assert dict(call.context) == {"processing": "batch"}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
               "usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}}  # fmt: skip
    (call,) = calls({"custom_id": "1", "result": {"type": "succeeded", "message": message}})
    assert call.usage == Usage(input_tokens=100, cache_read_tokens=90, output_tokens=5)
    assert dict(call.context) == {"processing": "batch"}


def test_what_holds_no_call_is_skipped_with_the_reason() -> None:
    """A failed response is neither a call nor a mistake of the file."""
    failed = read_value({"path": "/v1/chat/completions", "status": 429, "body": "{}"}, source="test")
    assert isinstance(failed, Skipped) and "429" in failed.reason
    nothing = read_value({"path": "/v1/models", "status": 200, "body": '{"object": "list", "data": []}'}, source="test")
    assert isinstance(nothing, Skipped) and nothing.reason


def test_a_stream_without_counts_is_a_call_all_the_same() -> None:
    """Nobody says how much was used: the call is kept as estimated or partial, never as nothing."""
    chunks = [
        {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"delta": {"content": text}}]}
        for text in ("The capital", " of France", " is Paris.")
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    line = {"provider": "openai", "path": "/v1/chat/completions", "status": 200, "content_type": "text/event-stream",
            "body": body, "request": {"model": "gpt-4o"}}  # fmt: skip
    (call,) = calls(line)
    assert call.usage_status in ("estimated", "partial")
    assert call.usage_reason


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["at", "model", "usage", "input_tokens", "agent", "metadata", "context", "response_id", "id", "billed", "attempt",
     "body", "path", "status", "request", "usage_status", "reported_cost_usd", "choices", "error", "timestamp"]
)  # fmt: skip


@given(st.dictionaries(names | st.text(max_size=5), values, max_size=7))
def test_no_line_breaks_the_reader(line: dict[str, Any]) -> None:
    """Whatever stands in a line, it is read, skipped with a reason, or refused with one."""
    try:
        found = read_value(line, source="test")
    except BadLine:
        return
    if isinstance(found, Read):
        assert all(call.model for call in found.calls)
    else:
        assert found.reason


def test_a_line_without_model_is_a_call_without_a_price() -> None:
    """Its tokens count; its cost is not known."""
    (call,) = calls({"at": "2026-11-01", "input_tokens": 5})
    assert call.model == NO_MODEL
