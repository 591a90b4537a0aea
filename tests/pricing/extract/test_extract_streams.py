"""Streams and faults, whatever the provider: framing, missing usage, errors, impossible counts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from farthing.pricing.extract import estimate_tokens, extract

Body = dict[str, Any]
CHUNK = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "model": "gpt-4o",
    "choices": [{"delta": {"content": "Hello there"}}],
}
LAST = {**CHUNK, "choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}


def sse(*events: Body, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + end


def test_the_last_usage_that_is_not_null_counts() -> None:
    """Nulls before and after it, and earlier counts, do not win."""
    early = {**CHUNK, "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    found = extract(sse({**CHUNK, "usage": None}, early, LAST, USAGE, {**CHUNK, "usage": None}))
    assert found.usage is not None and found.usage.to_dict() == {"input_tokens": 9, "output_tokens": 2}
    assert (found.status, found.complete, found.model, found.response_id) == ("reported", True, "gpt-4o", "c1")


@pytest.mark.parametrize(
    "text",
    [
        ": keep-alive\r\n\r\nevent: x\r\nid: 1\r\nretry: 3\r\n" + sse(LAST, USAGE).replace("\n", "\r\n"),
        sse(LAST, USAGE).replace("\n", "\r"),
        "\ufeff" + sse(LAST, USAGE),
        sse(LAST) + "data: " + json.dumps(USAGE, indent=1).replace("\n", "\ndata: ") + "\n\n",
        sse(LAST, USAGE).replace("data: ", "data:"),
        "data: " + json.dumps(LAST) + "\ndata: " + json.dumps(USAGE) + "\ndata: [DONE]",
        sse(LAST, USAGE, end=""),
        json.dumps(LAST) + "\n" + json.dumps(USAGE) + "\n",
        json.dumps(LAST) + json.dumps(USAGE),
        "[" + json.dumps(LAST) + "\n,\n" + json.dumps(USAGE) + "]",
    ],
    ids=["crlf", "cr", "bom", "lines", "tight", "no-blank", "no-done", "ndjson", "glued", "array"],
)
def test_every_framing_is_read(text: str) -> None:
    """The same events in every framing that servers send."""
    for body in (text, text.encode()):
        found = extract(body)
        assert found.usage is not None and found.usage.to_dict() == {"input_tokens": 9, "output_tokens": 2}
        assert found.stream and found.complete


def test_azures_empty_first_chunk_and_groqs_last() -> None:
    """Azure begins with empty choices, model and id; Groq puts the usage into `x_groq`."""
    first = {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": []}
    azure = extract(sse(first, CHUNK, LAST, USAGE))
    assert (azure.provider, azure.model, azure.response_id) == ("azure", "gpt-4o", "c1")
    groq = extract(sse(CHUNK, {**LAST, "x_groq": {"id": "r", "usage": USAGE["usage"]}}))
    assert groq.provider == "groq" and groq.usage == azure.usage


def test_a_stream_without_usage_is_marked_and_never_zero() -> None:
    """Its output is estimated from the text, its input unknown: `partial`, with the reason."""
    found = extract(sse(*[CHUNK] * 10, LAST), provider="openai")
    assert found.usage is not None and found.usage.to_dict() == {"output_tokens": estimate_tokens("Hello there" * 10)}
    assert found.status == "partial" and found.complete
    assert found.reason is not None and "reports no usage" in found.reason and "110 characters" in found.reason
    silent = extract(sse(LAST))
    assert silent.usage is None and silent.reason == "the stream reports no usage and shows no text"
    assert silent.status == "partial"


def test_a_stream_cut_off_is_not_complete() -> None:
    """Whether between events or within one; the text seen is counted."""
    whole = sse(*[CHUNK] * 3, LAST, USAGE)
    for size in (len(sse(CHUNK, CHUNK, end="")), len(sse(CHUNK, CHUNK, end="")) + 30):
        found = extract(whole[:size])
        assert not found.complete and found.status == "partial" and found.reason is not None
        assert "cut off" in found.reason and found.usage is not None and found.usage.output_tokens >= 3


def test_text_of_reasoning_tools_and_all_choices_is_counted() -> None:
    """What the model wrote besides its answer was billed too."""
    call = {"tool_calls": [{"function": {"name": "find", "arguments": '{"a": 1}'}}]}
    events = [
        {"choices": [{"delta": delta}]} for delta in ({"reasoning_content": "thinking hard"}, call, {"content": "yes"})
    ]
    found = extract(sse(*events, LAST))
    assert found.usage is not None
    assert found.usage.output_tokens == estimate_tokens('thinking hardfind{"a": 1}yes')


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello, world!", 4),
        ("internationalisation", 4),
        ("1234567", 3),
        ("你好世界", 4),
        ("Привет", 2),
        ("    return x\n", 4),
        ("👍", 2),
    ],
)
def test_estimates_go_by_script(text: str, tokens: int) -> None:
    """Latin by word, digits by three, other alphabets by three letters, CJK by character."""
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no such model", "code": "x"}}, "no such model"),
        ({"error": "plain words"}, "plain words"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded"),
        ({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "role"}}, "role"),
        ({"message": "The security token is expired"}, "The security token is expired"),
        ({"detail": "Not found"}, "Not found"),
        ({"detail": [{"msg": "field required"}]}, "field required"),
        ({"error": {"code": 500}}, "error 500"),
    ],
)
def test_errors_have_no_usage_and_tell_the_message(body: Body, message: str) -> None:
    """An error body is no cost: usage None, the provider's words, a reason."""
    for one in (body, json.dumps(body)):
        found = extract(one)
        assert found.usage is None and found.error == message
        assert found.reason == f"the response is an error: {message}"


def test_an_error_in_a_stream_keeps_what_was_seen() -> None:
    """The text before the error was produced; the error is told."""
    found = extract(sse(*[CHUNK] * 3, {"error": {"message": "server fell over"}}, end=""))
    assert found.error == "server fell over" and not found.complete
    assert found.usage is not None and found.status == "partial"


@pytest.mark.parametrize("usage", [None, {}, [], "x"])
def test_a_missing_usage_is_told(usage: Any) -> None:
    """Null, empty and absent usage: the text is estimated, without text the reason stands alone."""
    body = {
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [{"message": {"content": "four short words here"}}],
    }
    found = extract({**body, "usage": usage})
    assert found.status == "partial" and found.usage is not None and found.usage.to_dict() == {"output_tokens": 4}
    assert found.reason and "the response reports no usage" in found.reason
    assert extract({"object": "list", "data": [{"embedding": [0.1]}], "usage": usage}).usage is None


def test_unfinished_and_zero_responses_say_so() -> None:
    """A response still in progress has no usage yet; a reported zero is told as such."""
    running = extract({"object": "response", "status": "in_progress", "usage": None, "output": []})
    assert running.usage is None and not running.complete and running.reason and "not finished" in running.reason
    zero = extract({"object": "response", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}})
    assert zero.usage is not None and not zero.usage and zero.reason == "the provider reports a usage of zero"


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}},
            "cache_read_tokens = 6",
        ),
        ({"prompt_tokens": -5, "completion_tokens": 1}, "must not be negative"),
        ({"prompt_tokens": float("nan"), "completion_tokens": 1}, "not finite"),
        ({"prompt_tokens": "1e999999999", "completion_tokens": 1}, "finite number"),
        ({"prompt_tokens": True, "completion_tokens": 1}, "boolean"),
        ({"prompt_tokens": {}, "completion_tokens": 1.5}, "whole number"),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, "more than 18 digits"),
    ],
)
def test_impossible_counts_are_kept_and_flagged(usage: Body, words: str) -> None:
    """They do not raise: the problem names unit, value and rule, and the reason repeats it."""
    found = extract({"model": "gpt-4o", "usage": usage})
    assert found.usage is not None and any(words in problem for problem in found.usage.problems), found.usage.problems
    assert found.reason and found.reason.startswith("impossible counts: ")


def test_numbers_as_text_and_floats_are_exact() -> None:
    """Whole floats and decimal text are counts like others."""
    found = extract('{"usage": {"prompt_tokens": 7.0, "completion_tokens": "12", "cost": 0.1, "total_tokens": 19}}')
    assert found.usage is not None and found.usage.to_dict() == {"input_tokens": 7, "output_tokens": 12}
    assert not found.usage.problems and found.reported_cost == Decimal("0.1")


@pytest.mark.parametrize(
    ("given", "path", "provider"),
    [
        ("bedrock", None, "aws"),
        ("vertex", None, "google"),
        ("Azure-OpenAI", None, "azure"),
        ("gcp.gemini", None, "google"),
        ("xai", None, "x-ai"),
        ("aws.bedrock", None, "aws"),
        ("bedrock-runtime.us-east-1.amazonaws.com", None, "aws"),
        ("https://openrouter.ai/api/v1", None, "openrouter"),
        ("my-res.openai.azure.com:443", None, "azure"),
        ("us-central1-aiplatform.googleapis.com", None, "google"),
        ("localhost:11434", None, "ollama"),
        ("my-own-host", None, "my-own-host"),
        (None, "/openai/deployments/d/chat/completions?api-version=1", "azure"),
        (None, "https://api.groq.com/openai/v1/chat/completions", "groq"),
        (None, "/v1beta/models/gemini-2.5-pro:generateContent", "google"),
        (None, "/v1/chat/completions", None),
        (None, None, None),
    ],
)
def test_who_answered(given: str | None, path: str | None, provider: str | None) -> None:
    """Aliases, hosts and paths come out as the price data's ids; unknown names stay; nothing is guessed."""
    body = {"model": "some-model", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert extract(body, provider=given, path=path).provider == provider


def test_several_whole_answers_in_one_body_are_several_calls() -> None:
    """A realtime session's log, a file of recorded answers: none is lost. The same answer told twice is one."""

    def done(number: int) -> dict[str, Any]:
        usage = {"input_tokens": 10 * number, "output_tokens": number, "total_tokens": 11 * number}
        return {"type": "response.done", "response": {"id": f"resp_{number}", "status": "completed", "usage": usage}}

    def chat(number: int) -> dict[str, Any]:
        usage = {"prompt_tokens": 10 * number, "completion_tokens": number, "total_tokens": 11 * number}
        return {"id": f"c{number}", "object": "chat.completion", "model": "gpt-4o", "usage": usage}

    for one in (done, chat):
        events = [{"type": "session.created"}, one(1), one(2), one(2)]
        for body in (events, "\n".join(json.dumps(event) for event in events)):
            found = extract(body)
            counted = [answer.usage for answer in (found, *found.parts)]
            assert [usage and usage.to_dict() for usage in counted] == [
                {"input_tokens": 10, "output_tokens": 1},
                {"input_tokens": 20, "output_tokens": 2},
            ]
            assert found.complete and found.status == "reported"
