"""HTTP clients without an SDK: every encoding, whole and in pieces, give the caller every byte and us the usage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
HEADERS = {"Authorization": "Bearer sk-0123456789abcdefghij", "Accept-Encoding": "gzip, deflate, br, zstd"}


def _httpx(module: Any, url: str, stream: bool) -> bytes:
    with module.Client(headers=HEADERS) as client:
        if not stream:
            return client.post(url, json=ASK).content
        with client.stream("POST", url, json={**ASK, "stream": True}) as response:
            return b"".join(response.iter_bytes())


async def _ahttpx(module: Any, url: str, stream: bool) -> bytes:
    async with module.AsyncClient(headers=HEADERS) as client:
        if not stream:
            return (await client.post(url, json=ASK)).content
        async with client.stream("POST", url, json={**ASK, "stream": True}) as response:
            return b"".join([chunk async for chunk in response.aiter_bytes()])


def httpx(url: str, stream: bool) -> bytes:
    return _httpx(pytest.importorskip("httpx"), url, stream)


def httpx_async(url: str, stream: bool) -> bytes:
    return asyncio.run(_ahttpx(pytest.importorskip("httpx"), url, stream))


def httpx2(url: str, stream: bool) -> bytes:
    return _httpx(pytest.importorskip("httpx2"), url, stream)


def httpx2_async(url: str, stream: bool) -> bytes:
    return asyncio.run(_ahttpx(pytest.importorskip("httpx2"), url, stream))


def requests(url: str, stream: bool) -> bytes:
    client = pytest.importorskip("requests")
    with client.post(url, json={**ASK, "stream": stream}, headers=HEADERS, stream=stream) as response:
        return b"".join(response.iter_content(100)) if stream else response.content


def requests_raw(url: str, stream: bool) -> bytes:
    client = pytest.importorskip("requests")
    with client.post(url, json={**ASK, "stream": stream}, headers=HEADERS, stream=True) as response:
        return b"".join(iter(lambda: response.raw.read(50), b""))


def urllib3(url: str, stream: bool) -> bytes:
    pool = pytest.importorskip("urllib3").PoolManager()
    response = pool.request("POST", url, body=json.dumps(ASK), headers=HEADERS, preload_content=not stream)
    found = b"".join(response.stream(64)) if stream else response.data
    pool.clear()
    return found


def urllib3_read1(url: str, stream: bool) -> bytes:
    pool = pytest.importorskip("urllib3").PoolManager()
    response = pool.request("POST", url, body=json.dumps(ASK), headers=HEADERS, preload_content=False)
    found = b"".join(iter(response.read1, b""))
    pool.clear()
    return found


async def _aiohttp(url: str, read: Callable[[Any], Any]) -> bytes:
    client = pytest.importorskip("aiohttp")
    async with client.ClientSession(headers=HEADERS) as session, session.post(url, json=ASK) as response:
        return await read(response)


async def _lines(response: Any) -> bytes:
    return b"".join([line async for line in response.content])


async def _pieces(response: Any) -> bytes:
    return b"".join([piece async for piece in response.content.iter_chunked(33)])


async def _any(response: Any) -> bytes:
    return b"".join([piece async for piece in response.content.iter_any()])


async def _chunks(response: Any) -> bytes:
    return b"".join([piece async for piece, _ in response.content.iter_chunks()])


def aiohttp(url: str, stream: bool) -> bytes:
    return asyncio.run(_aiohttp(url, _lines if stream else lambda response: response.read()))


def aiohttp_pieces(url: str, stream: bool) -> bytes:
    return asyncio.run(_aiohttp(url, _pieces))


def aiohttp_any(url: str, stream: bool) -> bytes:
    return asyncio.run(_aiohttp(url, _any if stream else _chunks))


CLIENTS = [
    httpx,
    httpx_async,
    httpx2,
    httpx2_async,
    requests,
    requests_raw,
    urllib3,
    urllib3_read1,
    aiohttp,
    aiohttp_pieces,
    aiohttp_any,
]


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_every_byte_arrives_and_the_usage_is_recorded(
    client: Callable[[str, bool], bytes],
    stream: bool,
    encoding: str | None,
    replay: Any,
    metered: Any,
    pick: Any,
    packers: Any,
) -> None:
    """With each client and encoding the caller gets what it gets without us; the event has the recording's usage."""
    if encoding is not None and encoding not in packers:
        pytest.skip(f"ENCODING MISSING: no library for {encoding}")
    if encoding == "zstd" and client.__name__.startswith("aiohttp"):
        pytest.importorskip("backports.zstd", reason="aiohttp cannot read zstd without it")
    recording = pick("openai", "/chat/completions", stream=stream)
    replay.serve(recording, encoding=encoding)
    plain = client(replay.url + PATH, stream)
    meter = metered("openai")
    assert client(replay.url + PATH, stream) == plain
    event = meter.event
    assert event.usage == recording.extraction.usage and event.usage_status == "reported"
    assert event.fingerprints["key"].startswith("…ghij:")
    assert event.fingerprints["tokens_by_role"] == {"user": event.usage.input_tokens}


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("client", [httpx2, httpx2_async, requests, aiohttp], ids=lambda client: client.__name__)
def test_pieces_of_any_size(
    client: Callable[[str, bool], bytes], size: int, replay: Any, metered: Any, pick: Any
) -> None:
    """Where the network cuts the stream makes no difference."""
    recording = pick("anthropic", "/messages", stream=True)
    replay.serve(recording, piece=size)
    meter = metered("anthropic")
    assert client(replay.url + "/v1/messages", True) == recording.body
    assert meter.event.usage == recording.extraction.usage


def test_what_is_no_call_is_not_recorded(replay: Any, metered: Any) -> None:
    """Other requests pass: other paths, token counting, moderation, and a look-alike that neither asks nor answers."""
    client = pytest.importorskip("httpx2")
    replay.serve(_reply(b'{"ok": true}'))
    meter = metered()
    for method, path, body in (
        ("GET", "/v1/models", None),
        ("POST", "/v1/files", {"a": 1}),
        ("POST", "/v1/messages/count_tokens", ASK),
        ("POST", "/v1/moderations", {"input": "x", "model": "omni-moderation-latest"}),
        ("POST", "/v1/messages", {"to": "someone", "text": "a chat, not a model"}),
        ("GET", "/v1/files/file-1/content", None),
    ):
        client.request(method, replay.url + path, json=body)
    assert meter.events == []


def test_custom_hosts_say_the_provider(replay: Any, metered: Any, pick: Any) -> None:
    """A host of the user's own is priced as the provider it was said to be."""
    client = pytest.importorskip("httpx2")
    recording = pick("openai-compat-local", "/chat/completions")
    replay.serve(recording)
    meter = metered("together")
    client.post(replay.url + "/v1/chat/completions", json=ASK)
    assert meter.event.provider == "together"


def test_results_of_a_batch_count_each_line_once(replay: Any, metered: Any) -> None:
    """Fetching a batch's results records every response in it, at the batch price, and fetching twice nothing more."""
    client = pytest.importorskip("httpx2")
    lines = [
        {
            "custom_id": f"c{i}",
            "response": {
                "status_code": 200,
                "body": {
                    "id": f"chatcmpl-{i}",
                    "object": "chat.completion",
                    "model": "gpt-4o-2024-08-06",
                    "choices": [{"message": {"role": "assistant", "content": "hi"}}],
                    "usage": {"prompt_tokens": 100 + i, "completion_tokens": 5, "total_tokens": 105 + i},
                },
            },
        }
        for i in range(3)
    ]
    replay.serve(_reply("\n".join(map(json.dumps, lines)).encode(), content_type="application/octet-stream"))
    meter = metered("openai")
    for _ in range(2):
        client.get(replay.url + "/v1/files/file-1/content")
    assert [event.usage.input_tokens for event in meter.events] == [100, 101, 102]
    assert {event.context["processing"] for event in meter.events} == {"batch"}


def test_results_of_a_batch_whose_first_line_failed(replay: Any, metered: Any) -> None:
    """One failed request does not hide the answers after it."""
    client = pytest.importorskip("httpx2")
    answer = {"id": "msg_012345678901234567", "type": "message", "model": "claude-sonnet-4-5", "content": [],
              "usage": {"input_tokens": 7, "output_tokens": 3}}  # fmt: skip
    lines = [
        {"custom_id": "a", "result": {"type": "errored", "error": {"type": "error", "error": {"message": "too long"}}}},
        {"custom_id": "b", "result": {"type": "succeeded", "message": answer}},
    ]
    replay.serve(_reply("\n".join(map(json.dumps, lines)).encode(), content_type="application/x-jsonl"))
    meter = metered("anthropic")
    client.get(replay.url + "/v1/messages/batches/b1/results")
    assert [(event.calls, event.usage.input_tokens) for event in meter.events] == [(0, 0), (1, 7)]


def _gemini_line(key: str, **answer: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": 8, "candidatesTokenCount": 3, "totalTokenCount": 11}
    told = {"candidates": [], "usageMetadata": counts, "modelVersion": "gemini-2.5-flash", **answer}
    return {"key": key, "response": told}


def test_batches_of_gemini(replay: Any, metered: Any) -> None:
    """Their results are in a file, or in the batch itself, which is asked for again and again until it is done."""
    client = pytest.importorskip("httpx2")
    lines = [_gemini_line("a", responseId="a" * 20), _gemini_line("b", responseId="b" * 20)]
    meter = metered("google")
    replay.serve(_reply("\n".join(map(json.dumps, lines)).encode(), content_type="application/octet-stream"))
    client.get(replay.url + "/v1beta/files/f1:download?alt=media")
    assert len(meter.events) == 2
    batch = {"name": "batches/b1", "metadata": {"state": "BATCH_STATE_RUNNING"}}
    replay.serve(_reply(json.dumps(batch).encode()))
    client.get(replay.url + "/v1beta/batches/b1")
    done = {**batch, "response": {"inlinedResponses": {"inlinedResponses": [_gemini_line("c"), _gemini_line("d")]}}}
    replay.serve(_reply(json.dumps(done).encode()))
    for _ in range(2):
        client.get(replay.url + "/v1beta/batches/b1")
    assert [event.response_id for event in meter.events[2:]] == ["batches/b1#0", "batches/b1#1"]
    assert {(event.model, event.context["processing"]) for event in meter.events} == {("gemini-2.5-flash", "batch")}


def test_a_background_response_is_recorded_when_it_is_fetched(replay: Any, metered: Any) -> None:
    """A response made in the background has its usage once it is fetched complete; fetched again, nothing changes."""
    client = pytest.importorskip("httpx2")
    head = {"id": "resp_1", "object": "response", "model": "gpt-4o-2024-08-06", "output": []}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 50, "output_tokens": 9, "total_tokens": 59, **details}
    done = {**head, "status": "completed", "usage": usage}
    replies = [
        {**head, "status": "queued", "usage": None},
        {**head, "status": "in_progress", "usage": None},
        done,
        done,
    ]
    replay.serve(*(_reply(json.dumps(one).encode()) for one in replies))
    meter = metered("openai")
    client.post(replay.url + "/v1/responses", json={"model": "gpt-4o", "input": "Hi", "background": True})
    for _ in range(3):
        client.get(replay.url + "/v1/responses/resp_1")
    totals = meter.tracker.breakdown()[0].totals
    assert (totals.calls, totals.input_tokens, totals.output_tokens, totals.partial_calls) == (1, 50, 9, 0)
    assert meter.tracker.totals() == totals
    replay.serve(_reply(json.dumps({**done, "id": "resp_of_another_program"}).encode()))
    client.get(replay.url + "/v1/responses/resp_of_another_program")
    assert meter.tracker.totals().calls == 1


def _reply(body: bytes, **how: Any) -> Any:
    return {"body": body, **how}
