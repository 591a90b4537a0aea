"""What a request's body asks for, and what is kept of it: digests and counts, never its words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farthing.capture.fingerprint import api_key_of, fingerprints, tokens_by_role
from farthing.capture.request import SAMPLE_CHARACTERS, read_request

KEY = b"k" * 32
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]},
    "parts": {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
                           {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
    "responses": {"instructions": "Be brief.", "input": "Hello"},
    "items": {"instructions": "Be brief.",
              "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]},
    "anthropic": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                  "messages": [{"role": "user", "content": "Hello"}]},
    "gemini": {"systemInstruction": {"parts": [{"text": "Be brief."}]},
               "contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    "bedrock": {"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
    "cohere": {"preamble": "Be brief.", "message": "Hello"},
    "ollama": {"system": "Be brief.", "prompt": "Hello"},
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_every_shape_has_the_same_turns(body: dict[str, Any]) -> None:
    """System prompt and question are found in each provider's shape, and have the same fingerprints."""
    asked = read_request(json.dumps({"model": "m", "stream": True, **body}))
    assert (asked.model, asked.stream, asked.is_call) == ("m", True, True)
    assert asked.turns == [("system", "Be brief."), ("user", "Hello")]
    assert asked.characters() == {"system": 9, "user": 5}
    prints = fingerprints(KEY, asked, None, "/", None)
    assert prints == fingerprints(KEY, read_request(BODIES["chat"]), None, "/", None)


def test_a_conversation_with_tools() -> None:
    """Assistant and tool turns stand apart, whichever way a provider writes them; definitions are counted too."""
    openai = {"tools": TOOLS, "messages": [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "yes"},
    ]}  # fmt: skip
    anthropic = {"messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "yes"},
                                     {"type": "text", "text": "And now?"}]},
    ]}  # fmt: skip
    responses = {"input": [{"type": "function_call_output", "call_id": "c", "output": "yes"}]}
    found = read_request(openai)
    assert [role for role, _ in found.turns] == ["user", "assistant", "tool"]
    assert found.characters()["tools"] == len(json.dumps(TOOLS, separators=(",", ":")))
    assert read_request(anthropic).turns == [("user", "And now?"), ("tool", "yes")]
    assert read_request(responses).turns == [("tool", "yes")]


def test_tokens_that_are_given_as_such() -> None:
    """Embeddings of token lists count them."""
    assert read_request({"input": [1, 2, 3]}).input_tokens() == 3
    assert read_request({"input": [[1, 2], [3]]}).input_tokens() == 3


def test_images_are_no_text() -> None:
    """Base64 is neither counted as text nor put into a fingerprint's text."""
    body = {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}},
        {"type": "text", "text": "What is it?"},
    ]}]}  # fmt: skip
    asked = read_request(body)
    assert (asked.blobs, asked.characters()) == (1, {"user": 11})
    assert tokens_by_role(asked, 1_000) == {"user": 3}


@pytest.mark.parametrize("body", [None, b"", b"\xff\xfe", b"[1]", b"5", b'{"a":', "[" * 100_000, b"--boundary\r\n"])
def test_what_is_no_request(body: Any) -> None:
    """Bodies that cannot be read ask for nothing, and raise nothing."""
    asked = read_request(body)
    assert (asked.model, asked.turns, asked.is_call) == (None, [], False)


def test_a_deep_body_is_read_as_far_as_it_is_sane() -> None:
    """Nesting is bounded."""
    deep: Any = "bottom"
    for _ in range(200):
        deep = {"x": deep}
    assert read_request({"messages": [{"role": "user", "content": deep}]}).turns == []


def test_a_long_text_is_estimated_from_a_sample() -> None:
    """A megabyte costs no more than a page, and the estimate stays about right."""
    page = "The quick brown fox jumps over the lazy dog, 42 times a day. "
    short = read_request({"prompt": page * 100}).input_tokens()
    long = read_request({"prompt": page * 10_000}).input_tokens()
    assert len(page) * 10_000 > 10 * SAMPLE_CHARACTERS
    assert abs(long - 100 * short) < 0.02 * long


def test_tokens_by_role_add_up() -> None:
    """Shares of the reported input, whole numbers, nothing lost."""
    asked = read_request({"system": "s" * 10, "tools": TOOLS, "messages": [{"role": "user", "content": "u" * 7}]})
    for total in (1, 2, 3, 99, 1_000):
        shares = tokens_by_role(asked, total)
        assert sum(shares.values()) == total and set(shares) == {"system", "tools", "user"}
    assert tokens_by_role(read_request({}), 5) == {}


def test_fingerprints_are_keyed_and_tell_nothing() -> None:
    """The same request gives the same digests under one key, others under another; no word of it appears."""
    body = json.dumps({"tools": TOOLS, **BODIES["chat"]}).encode()
    asked = read_request(body)
    first = fingerprints(KEY, asked, body, "/v1", "sk-secret-0123456789")
    assert first == fingerprints(KEY, read_request(body), body, "/v1", "sk-secret-0123456789")
    other = fingerprints(b"other", asked, body, "/v1", "sk-secret-0123456789")
    assert set(first) == {"request", "system", "tools", "prefix", "key"}
    assert not {str(v) for v in first.values()} & {str(v) for v in other.values()}
    for word in ("brief", "Hello", "look_up", "secret"):
        assert word not in json.dumps(first)
    assert first["key"].startswith("…6789:")
    longer = {**BODIES["chat"], "messages": [*BODIES["chat"]["messages"], {"role": "user", "content": "More"}]}
    grown = fingerprints(KEY, read_request({"tools": TOOLS, **longer}), b"x", "/v1", None)
    assert grown["prefix"] == first["prefix"] and grown["request"] != first["request"]


@pytest.mark.parametrize(
    ("headers", "path", "key"),
    [
        ({"authorization": "Bearer sk-1"}, "/", "sk-1"),
        ({"x-api-key": "sk-ant"}, "/", "sk-ant"),
        ({"api-key": "azure"}, "/", "azure"),
        ({"x-goog-api-key": "AIza"}, "/", "AIza"),
        ({}, "/v1/models/m:generateContent?alt=sse&key=AIza2", "AIza2"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AKIAX/2026/us-east-1, Signature=f"}, "/", "AKIAX"),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, "/", None),
        ({}, "/", None),
    ],
)
def test_where_api_keys_are(headers: dict[str, str], path: str, key: str | None) -> None:
    """Each provider wants it elsewhere."""
    assert api_key_of(headers.get, path) == key


@pytest.mark.parametrize("key", ["ya29.abc", "eyJhbGciOi", "ASIAEXAMPLE"])
def test_short_lived_tokens_are_not_told_apart(key: str) -> None:
    """They change by the hour and identify nobody."""
    assert fingerprints(KEY, read_request({}), None, "/", key) == {"key": "token"}
