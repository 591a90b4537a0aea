"""Calls that do not end well: left early, forgotten, cancelled, timed out, broken off, refused, tried again."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import Any

import pytest

from farthing.capture import transport

httpx2 = pytest.importorskip("httpx2", reason="CLIENT MISSING: httpx2")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Please tell me a long story about the rain in Spain."}],
}
PATH = "/v1/chat/completions"
ERROR = {"body": b'{"error": {"message": "Rate limit reached", "type": "requests"}}', "status": 429}


def _stream_events(event: Any) -> tuple[str, bool]:
    return event.usage_status, event.usage.input_tokens > 5 and event.usage.output_tokens > 0


def test_a_stream_left_early_is_partial(replay: Any, metered: Any, pick: Any) -> None:
    """What was seen is estimated and marked partial; leaving is no error."""
    replay.serve(pick("api.openai.com", "/chat/completions", stream=True, usage=False))
    meter = metered("openai")
    with httpx2.stream("POST", replay.url + PATH, json={**ASK, "stream": True}) as response:
        for count, _ in enumerate(response.iter_lines()):
            if count == 9:
                break
    assert _stream_events(meter.event) == ("partial", True)
    assert meter.event.error is None and meter.event.billed and meter.event.cost_pico


def test_a_stream_left_early_after_its_head_keeps_the_reported_input(replay: Any, metered: Any, pick: Any) -> None:
    """Anthropic says the input first: it is kept as reported, the output is estimated from what was seen."""
    recording = pick("anthropic", "/messages", stream=True)
    replay.serve(recording)
    meter = metered("anthropic")
    with httpx2.stream("POST", replay.url + "/v1/messages", json=ASK) as response:
        for count, _ in enumerate(response.iter_lines()):
            if count == 20:
                break
    head = next(line for line in recording.body.splitlines() if line.startswith(b"data:"))
    usage = json.loads(head[5:])["message"]["usage"]
    assert meter.event.usage.input_tokens == sum(usage.get(name) or 0 for name in _INPUTS)
    assert meter.event.usage_status == "partial"


_INPUTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@pytest.mark.parametrize("collected", [False, True], ids=["by reference", "by the collector"])
def test_a_forgotten_stream_is_recorded(collected: bool, replay: Any, metered: Any, pick: Any) -> None:
    """A response that nobody closes is recorded when it is freed, also in the middle of a garbage collection."""
    replay.serve(pick("openai", "/chat/completions", stream=True))
    meter = metered("openai")
    client = httpx2.Client()
    request = client.build_request("POST", replay.url + PATH, json={**ASK, "stream": True})
    response = client.send(request, stream=True)
    lines = response.iter_lines()
    assert next(lines)
    if collected:
        response.itself = response
    del response, lines
    gc.collect()
    assert _stream_events(meter.event)[0] == "partial"
    client.close()


def test_a_response_that_is_never_read_is_recorded(replay: Any, metered: Any, pick: Any) -> None:
    """A stream of which nothing was read: its input is estimated, its output unknown."""
    replay.serve(pick("openai", "/chat/completions", stream=True))
    meter = metered("openai")
    with httpx2.stream("POST", replay.url + PATH, json={**ASK, "stream": True}):
        pass
    event = meter.event
    assert event.usage_status == "partial" and event.usage.input_tokens > 5 and event.usage.output_tokens == 0


def test_a_cancelled_call_is_recorded(replay: Any, metered: Any, pick: Any) -> None:
    """A task that is cancelled amid a stream is cancelled as it would be; the call is partial and names its error."""
    gate = threading.Event()
    replay.serve(pick("openai", "/chat/completions", stream=True), gate=gate)
    meter = metered("openai")

    async def main() -> None:
        begun = asyncio.Event()

        async def call() -> None:
            async with (
                httpx2.AsyncClient() as client,
                client.stream("POST", replay.url + PATH, json={**ASK, "stream": True}) as response,
            ):
                async for _ in response.aiter_lines():
                    begun.set()

        task = asyncio.create_task(call())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gate.set()
    assert meter.event.usage_status == "partial"
    assert "Cancel" in (meter.event.error or "")


def test_a_timeout_without_an_answer_may_have_been_billed(replay: Any, metered: Any) -> None:
    """The caller gets its timeout; the call is counted with its estimated input, partial."""
    gate = threading.Event()
    replay.serve({"body": b"x" * 1000, "stream": True, "gate": gate, "piece": 600, "content_type": "text/event-stream"})
    meter = metered("openai")
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(replay.url + PATH, json=ASK, timeout=0.05)
    gate.set()
    event = meter.event
    assert event.usage_status == "partial" and event.usage.input_tokens > 5 and event.calls == 1
    assert (event.error or "").startswith("ReadTimeout")


def test_a_call_that_never_arrived_costs_nothing(metered: Any) -> None:
    """No connection: an unbilled attempt with its error, and the error reaches the caller."""
    meter = metered()
    with pytest.raises(httpx2.ConnectError):
        httpx2.post("http://127.0.0.1:9" + PATH, json=ASK)
    event = meter.event
    assert (event.calls, event.billed, event.cost_pico) == (0, False, 0)
    assert event.model == "gpt-4o-mini" and (event.error or "").startswith("ConnectError")


def test_a_call_that_a_client_does_not_send_costs_nothing(metered: Any, replay: Any) -> None:
    """A closed client, a header that cannot be: nothing has gone out."""
    meter = metered("openai")
    client = httpx2.Client()
    client.close()
    with pytest.raises(RuntimeError):
        client.post(replay.url + PATH, json=ASK)
    with pytest.raises(httpx2.LocalProtocolError):
        httpx2.post(replay.url + PATH, json=ASK, headers={"x-bad": "a\nb"})
    assert [(event.calls, event.cost_pico) for event in meter.events] == [(0, 0), (0, 0)]


def test_a_stream_of_an_error_alone_costs_nothing(replay: Any, metered: Any) -> None:
    """Whether its reader goes on to the end, or leaves at the error as SDKs do."""
    openai = pytest.importorskip("openai")
    body = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\ndata: [DONE]\n\n'
    replay.serve({"body": body, "stream": True, "content_type": "text/event-stream"})
    meter = metered("openai")
    httpx2.post(replay.url + PATH, json={**ASK, "stream": True})
    client = openai.OpenAI(base_url=f"{replay.url}/v1", api_key="k", max_retries=0)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(**ASK, stream=True))
    assert [(event.calls, event.error) for event in meter.events] == [(0, "overloaded"), (0, "overloaded")]


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_stream_that_breaks_off(encoding: str | None, replay: Any, metered: Any, pick: Any, packers: Any) -> None:
    """The connection dies in the middle: the caller gets its error, the event what was seen and the error's name."""
    recording = pick("api.openai.com", "/chat/completions", stream=True, usage=False)
    sent = packers[encoding](recording.body) if encoding else recording.body
    replay.serve(recording, cut=len(sent) * 2 // 3, encoding=encoding)
    meter = metered("openai")
    with (
        pytest.raises(httpx2.RemoteProtocolError),
        httpx2.stream("POST", replay.url + PATH, json={**ASK, "stream": True}) as response,
    ):
        response.read()
    assert _stream_events(meter.event) == ("partial", True)
    assert (meter.event.error or "").startswith("RemoteProtocolError")


def test_each_attempt_of_an_sdk_is_seen(replay: Any, metered: Any, pick: Any) -> None:
    """429, 500, then the answer: two unbilled attempts and one call, numbered, and the SDK's result is unchanged."""
    openai = pytest.importorskip("openai", reason="SDK MISSING: openai")
    recording = pick("openai", "/chat/completions")
    again = {"retry-after-ms": "1"}
    replay.serve({**ERROR, "headers": again}, {"body": b"oops", "status": 500, "headers": again},
                 {"body": recording.body})  # fmt: skip
    meter = metered("openai")
    client = openai.OpenAI(base_url=f"{replay.url}/v1", api_key="sk-0123456789abcdefghij", max_retries=3)
    found = client.chat.completions.create(**ASK)
    assert found.usage.total_tokens == recording.extraction.usage.total_tokens
    first, second, third = meter.events
    assert [event.attempt for event in meter.events] == [1, 2, 3]
    assert (first.error, first.billed, first.calls) == ("429 Rate limit reached", False, 0)
    assert (second.error, second.billed) == ("500 oops", False)
    assert third.usage == recording.extraction.usage and third.calls == 1
    totals = meter.tracker.totals()
    assert (totals.calls, totals.unbilled_attempts) == (1, 2)
    client.close()


def test_attempts_of_botocore_are_numbered(replay: Any, metered: Any, pick: Any) -> None:
    """botocore says in a header which try it is."""
    boto3 = pytest.importorskip("boto3", reason="SDK MISSING: boto3")
    recording = pick("bedrock", "nova-lite-v1%3A0/converse")
    throttled = {"body": b'{"message":"Too many requests"}', "status": 429,
                 "headers": {"x-amzn-errortype": "ThrottlingException"}}  # fmt: skip
    replay.serve(throttled, {"body": recording.body})
    meter = metered("aws")
    client = boto3.client("bedrock-runtime", endpoint_url=replay.url, region_name="us-east-1",
                          aws_access_key_id="AKIA0123456789TEST", aws_secret_access_key="x")  # fmt: skip
    client.converse(modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    first, second = meter.events
    assert (first.attempt, first.billed, first.error) == (1, False, "429 Too many requests")
    assert (second.attempt, second.usage) == (2, recording.extraction.usage)
    assert second.fingerprints["key"].startswith("…TEST:")


def test_a_body_that_is_thrown_away_is_recorded(replay: Any, metered: Any, pick: Any) -> None:
    """urllib3 reads the rest of it, so that the connection can be used again; nobody closes the response then."""
    client = pytest.importorskip("urllib3").PoolManager()
    replay.serve(pick("openai", "/chat/completions", stream=True))
    meter = metered("openai")
    response = client.request("POST", replay.url + PATH, body=json.dumps(ASK), preload_content=False)
    response.read(10)
    response.drain_conn()
    assert (meter.event.usage_status, meter.event.calls) == ("partial", 1)
    client.clear()


def test_headers_of_bedrock_tell_what_its_answers_do_not(replay: Any, metered: Any) -> None:
    """The counts of models whose own shape has none, and the tier that served the call."""
    boto3 = pytest.importorskip("boto3")
    replay.serve(
        {
            "body": b'{"outputs": [{"text": "hello"}]}',
            "headers": {
                "X-Amzn-Bedrock-Input-Token-Count": "9",
                "X-Amzn-Bedrock-Output-Token-Count": "4",
                "X-Amzn-Bedrock-Service-Tier": "flex",
            },
        }
    )
    meter = metered("aws")
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client("bedrock-runtime", endpoint_url=replay.url, region_name="us-east-1", **keys)
    client.invoke_model(modelId="mistral.mistral-7b-instruct-v0:2", body=json.dumps({"prompt": "hi"}))["body"].read()
    event = meter.event
    assert (event.usage.to_dict(), event.usage_status) == ({"input_tokens": 9, "output_tokens": 4}, "reported")
    assert event.context == {"service_tier": "flex"}
    client.close()


def test_a_redirect_counts_once(replay: Any, metered: Any, pick: Any) -> None:
    """Two answers, one call."""
    recording = pick("openai", "/chat/completions")
    replay.serve({"body": b"", "status": 307, "headers": {"location": PATH + "?again"}}, {"body": recording.body})
    meter = metered("openai")
    httpx2.post(replay.url + PATH, json=ASK, follow_redirects=True)
    assert meter.event.usage == recording.extraction.usage


def test_one_call_seen_twice_is_one(replay: Any, metered: Any, pick: Any) -> None:
    """A client and the proxy behind it see the same response id: one call."""
    recording = pick("openai", "/chat/completions")
    replay.serve(recording)
    meter = metered("openai")
    for _ in range(2):
        httpx2.post(replay.url + PATH, json=ASK)
    assert meter.tracker.totals().calls == 1
    assert len(meter.events) == 1


def test_a_gateway_that_answers_from_its_cache_bills_nothing(replay: Any, metered: Any, pick: Any) -> None:
    """Gateways say so in a header."""
    replay.serve(pick("openai", "/chat/completions"), headers={"x-portkey-cache-status": "HIT"})
    meter = metered("openai")
    httpx2.post(replay.url + PATH, json=ASK)
    assert (meter.event.cache_hit, meter.event.calls, meter.event.cost_pico) == (True, 0, 0)


def test_include_usage_is_asked_for_and_hidden(replay: Any, metered: Any, pick: Any) -> None:
    """The provider is asked for usage; the caller's bytes are those of a stream that was not."""
    replay.serve({"body": b"", "content_type": "text/event-stream", "stream": True})
    chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18"}
    texts = [{"index": 0, "delta": {"content": text}} for text in ("It ", 'rains,"usage":null', " here")]
    usage = {"prompt_tokens": 21, "completion_tokens": 3, "total_tokens": 24}

    def line(**more: Any) -> bytes:
        return b"data: " + json.dumps({**chunk, **more}, separators=(",", ":")).encode() + b"\n\n"

    plain = b"".join(line(choices=[text], system_fingerprint="f") for text in texts) + b"data: [DONE]\n\n"
    asked = b"".join(line(choices=[text], usage=None, system_fingerprint="f") for text in texts)
    asked += line(choices=[], usage=usage, system_fingerprint="f") + b"data: [DONE]\n\n"
    meter = metered("openai", include_usage=True)
    for size in (1, 5, 10_000):
        asked_once = asked.replace(b'"c1"', b'"c%d"' % size)
        replay.serve({"body": asked_once, "content_type": "text/event-stream", "stream": True, "piece": size})
        with httpx2.stream("POST", replay.url + PATH, json={**ASK, "stream": True}) as response:
            assert response.read() == plain.replace(b'"c1"', b'"c%d"' % size)
        assert json.loads(response.request.content) == {**ASK, "stream": True}
        assert replay.seen[0].json == {**ASK, "stream": True, "stream_options": {"include_usage": True}}
        event = meter.events[-1]
        assert (event.usage.input_tokens, event.usage.output_tokens, event.usage_status) == (21, 3, "reported")


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_usage_is_hidden_however_it_comes(
    library: str, streamed: bool, encoding: str | None, replay: Any, metered: Any, packers: Any
) -> None:
    """From a caller that reads the whole stream at once, and where the server packs although it is asked not to."""
    if encoding is not None and encoding not in packers:
        pytest.skip(f"ENCODING MISSING: no library for {encoding}")
    chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18", "choices": []}
    shown = b"data: " + json.dumps({**chunk, "choices": [{"index": 0, "delta": {"content": "It rains"}}]}).encode()
    usage = b"data: " + json.dumps({**chunk, "usage": {"prompt_tokens": 21, "completion_tokens": 3}}).encode()
    body = b"\n\n".join([shown, usage, b"data: [DONE]", b""])
    replay.serve({"body": body, "content_type": "text/event-stream", "stream": True, "encoding": encoding, "piece": 9})
    meter = metered("openai", include_usage=True)
    asked = {"json": {**ASK, "stream": True}, "headers": {"Accept-Encoding": "gzip, deflate, br, zstd"}}
    client = pytest.importorskip(library)
    if streamed:
        with client.stream("POST", replay.url + PATH, **asked) as response:
            found = b"".join(response.iter_bytes())
    else:
        found = client.post(replay.url + PATH, **asked).content
    assert found == body.replace(usage + b"\n\n", b"")
    assert (meter.event.usage.input_tokens, meter.event.usage_status) == (21, "reported")


def test_who_asked_for_usage_gets_it(replay: Any, metered: Any, pick: Any) -> None:
    """A caller that asks for usage itself, or refuses it, sends and gets what it would without us."""
    recording = pick("openai", "/chat/completions", stream=True)
    replay.serve(recording)
    metered("openai", include_usage=True)
    for options in ({"include_usage": True}, {"include_usage": False}):
        replay.serve(recording)
        asked = {**ASK, "stream": True, "stream_options": options}
        assert httpx2.post(replay.url + PATH, json=asked).content == recording.body
        assert replay.seen[0].json == asked


def test_uninstrument_restores_every_method() -> None:
    """Each hooked method is again the very function it was; instrumenting twice hooks once."""
    clients = [httpx2.Client, httpx2.AsyncClient]
    before = [vars(client)["send"] for client in clients]
    transport.instrument()
    once = [vars(client)["send"] for client in clients]
    transport.instrument()
    assert [vars(client)["send"] for client in clients] == once != before
    assert "httpx2" in transport.status().libraries
    transport.uninstrument()
    assert [vars(client)["send"] for client in clients] == before
    assert not transport.status().on


def test_somebody_elses_wrapper_stays(replay: Any, metered: Any, pick: Any) -> None:
    """Who wraps our wrapper keeps theirs when we leave, and calls go through unmetered."""
    replay.serve(pick("openai", "/chat/completions"))
    original = httpx2.Client.send
    meter = metered("openai")
    ours = httpx2.Client.send
    theirs: Any = lambda *args, **kwargs: ours(*args, **kwargs)  # noqa: E731
    httpx2.Client.send = theirs
    try:
        transport.uninstrument()
        assert httpx2.Client.send is theirs
        assert httpx2.post(replay.url + PATH, json=ASK).status_code == 200
        assert meter.events == []
    finally:
        httpx2.Client.send = original
