"""What requests allow their answers to come to, and how their model is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farthing.capture.allowance import allowance, with_model

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "path", "most"),
    [
        ({"max_tokens": 50}, CHAT, 50),
        ({"max_completion_tokens": 70, "max_tokens": 50}, CHAT, 50),
        ({"max_output_tokens": 9}, "/v1/responses", 9),
        ({"max_tokens": 50, "n": 3}, CHAT, 150),
        ({"n": 3}, CHAT, None),
        ({"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, "/v1beta/models/g:generateContent", 14),
        ({"inferenceConfig": {"maxTokens": 8}}, "/model/m/converse", 8),
        ({"options": {"num_predict": 5}}, "/api/chat", 5),
        ({"options": {"num_predict": -1}}, "/api/chat", None),
        ({"max_tokens": "many"}, CHAT, None),
        ({"max_tokens": True}, CHAT, None),
        ({"generationConfig": []}, CHAT, None),
        ({"input": "x"}, "/v1/embeddings", 0),
        ({}, "/v1beta/models/e:batchEmbedContents", 0),
        ({}, "/v2/rerank?x=1", 0),
    ],
)
def test_the_most_that_may_come_out(body: dict[str, Any], path: str, most: int | None) -> None:
    """Every provider's word for it, times the answers that are wanted; what says nothing is not known."""
    assert allowance(body, path).max_tokens == most


def test_what_changes_the_price() -> None:
    """A tier that is not the ordinary one, and further models that may answer."""
    found = allowance({"service_tier": "priority", "models": ["a", "b", 3]}, CHAT)
    assert found.context == {"service_tier": "priority"} and found.models == ("a", "b")
    assert allowance({"service_tier": "auto", "models": "x"}, CHAT).context == {}
    dear = {"service_tier": "auto", "speed": "fast", "inference_geo": "us"}
    assert allowance(dear, "/v1/messages").context == {"speed": "fast", "inference_geo": "us"}
    assert allowance({}, f"https://eu.api.openai.com{CHAT}?x=1").context == {"data_residency": "eu"}
    vertex = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-4-8:rawPredict"
    assert allowance({}, vertex).context == {"region": "us-east5"}


def test_a_model_is_changed_where_it_stands() -> None:
    """In the body, or in the path; further candidates go; what names no model we find cannot be changed."""
    body = json.dumps({"model": "dear", "models": ["dear", "dearer"], "messages": [{"content": "é"}]}).encode()
    found = with_model(CHAT, body, "dear", "cheap")
    assert found is not None
    assert found[0] == CHAT and json.loads(found[1]) == {"model": "cheap", "messages": [{"content": "é"}]}
    assert with_model("/v1beta/models/dear:generateContent?alt=sse", b"{}", "dear", "cheap") == (
        "/v1beta/models/cheap:generateContent?alt=sse",
        b"{}",
    )
    assert with_model("/model/a.dear-v1%3A0/converse", b"{}", "a.dear-v1:0", "a.cheap-v1:0") == (
        "/model/a.cheap-v1%3A0/converse",
        b"{}",
    )
    assert with_model("/models/chat/completions?api-version=1", body, "dear", "cheap") is not None
    assert with_model("/openai/deployments/dear/chat/completions", body, "dear", "cheap") is None
    assert with_model("/v1beta/models/dearest:generateContent", b"{}", "dear", "cheap") is None
    for unknown in (None, b"", b"[]", b'{"model": "other"}', b"not json"):
        assert with_model(CHAT, unknown, "dear", "cheap") is None
