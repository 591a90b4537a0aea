"""Budgets at the HTTP clients: a call is held before it leaves, settled when it ends, refused where it does not fit."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

import farthing
from farthing import AgentPausedError, BudgetExceededError, TaskKilledError
from farthing.ledger.policies import Standing

pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "sk-test-0123456789abcdefghij"
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "Tell me a joke about rain."}]
}  # fmt: skip
CLAUDE: dict[str, Any] = {**ASK, "model": "claude-3-5-haiku-latest"}


def openai_client(url: str, **how: Any) -> Any:
    """The SDK as people use it: it tries again by itself."""
    sdk = pytest.importorskip("openai", reason="SDK MISSING: openai")
    return sdk.OpenAI(base_url=f"{url}/v1", api_key=KEY, **how)


def async_client(url: str) -> Any:
    """The same for asyncio."""
    sdk = pytest.importorskip("openai", reason="SDK MISSING: openai")
    return sdk.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)


def chunk(text: str) -> bytes:
    """One event of a chat stream."""
    said = {"id": "chatcmpl-x", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "delta": {"content": text}}]}  # fmt: skip
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def several(recording: Any, number: int) -> list[Any]:
    """The recording so many times, each a response of its own."""
    identity = str(recording.extraction.response_id).encode()
    assert recording.body.count(identity)
    return [replace(recording, body=recording.body.replace(identity, b"id-%d-of-many" % i)) for i in range(number)]


def endless(words: int) -> dict[str, Any]:
    """A stream of so many words, that never says what it used."""
    body = b"".join(chunk(f"word{i} ") for i in range(words)) + b"data: [DONE]\n\n"
    return {"body": body, "content_type": "text/event-stream", "stream": True}


def standing(meter: Any, name: str | None = None) -> Standing:
    """How the one budget stands, everything written."""
    meter.tracker.flush()
    farthing.capture.transport.flush()
    found = [one for one in meter.tracker.guard.status() if name in (None, one.budget.name)]
    assert len(found) == 1
    return found[0]


# --- what is refused -------------------------------------------------------------------------------------------------

Way = Callable[[str], Any]
WAYS: list[Any] = []


def way(library: str, provider: str) -> Callable[[Way], Way]:
    """One way to make a call, its library and whom the server plays."""

    def add(function: Way) -> Way:
        WAYS.append(pytest.param(library, provider, function, id=function.__name__))
        return function

    return add


@way("openai", "openai")
def openai_chat(url: str) -> Any:
    return openai_client(url).chat.completions.create(**ASK)


@way("openai", "openai")
def openai_stream(url: str) -> Any:
    return list(openai_client(url).chat.completions.create(**ASK, stream=True))


@way("openai", "openai")
async def openai_async(url: str) -> Any:
    async with async_client(url) as client:
        return await client.chat.completions.create(**ASK)


@way("openai", "openai")
async def openai_async_responses(url: str) -> Any:
    async with async_client(url) as client:
        return await client.responses.create(model="gpt-4o-mini", input="Hello", max_output_tokens=50)


@way("openai", "openai")
def openai_with_raw_response(url: str) -> Any:
    return openai_client(url).chat.completions.with_raw_response.create(**ASK)


@way("anthropic", "anthropic")
def anthropic_messages(url: str) -> Any:
    import anthropic

    return anthropic.Anthropic(base_url=url, api_key=KEY).messages.create(**CLAUDE)


@way("anthropic", "anthropic")
def anthropic_stream_helper(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key=KEY).messages.stream(**CLAUDE) as stream:
        return stream.get_final_message()


@way("anthropic", "anthropic")
async def anthropic_async(url: str) -> Any:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY) as client:
        return await client.messages.create(**CLAUDE)


def _google(url: str) -> Any:
    from google import genai
    from google.genai import types

    again = types.HttpRetryOptions(attempts=4, initial_delay=0.01)
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, retry_options=again))


@way("google.genai", "google")
def google_generate(url: str) -> Any:
    with _google(url) as client:
        return client.models.generate_content(model="gemini-2.0-flash", contents="A haiku about rain.")


@way("google.genai", "google")
async def google_generate_async(url: str) -> Any:
    return await _google(url).aio.models.generate_content(model="gemini-2.0-flash", contents="A haiku about rain.")


def _mistral(url: str) -> Any:
    from mistralai.client import Mistral
    from mistralai.client.utils import BackoffStrategy, RetryConfig

    again = RetryConfig("backoff", BackoffStrategy(1, 10, 1.5, 200), True)
    return Mistral(api_key=KEY, server_url=url, retry_config=again)


@way("mistralai.client", "mistral")
def mistral_complete(url: str) -> Any:
    return _mistral(url).chat.complete(**{**ASK, "model": "mistral-small-latest"})


@way("mistralai.client", "mistral")
async def mistral_complete_async(url: str) -> Any:
    return await _mistral(url).chat.complete_async(**{**ASK, "model": "mistral-small-latest"})


@way("cohere", "cohere")
def cohere_chat(url: str) -> Any:
    import cohere

    return cohere.ClientV2(api_key=KEY, base_url=url).chat(**{**ASK, "model": "command-r-plus"})


@way("cohere", "cohere")
def cohere_stream(url: str) -> Any:
    import cohere

    return list(cohere.ClientV2(api_key=KEY, base_url=url).chat_stream(**{**ASK, "model": "command-r-plus"}))


@way("boto3", "aws")
def bedrock_converse(url: str) -> Any:
    import boto3

    client = boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="us-east-1", aws_access_key_id="AKIATEST",
        aws_secret_access_key=KEY,
    )  # fmt: skip
    return client.converse(
        modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "Tell me a joke."}]}]
    )


@way("requests", "openai")
def plain_requests(url: str) -> Any:
    import requests

    return requests.post(f"{url}/v1/chat/completions", json=ASK)


@way("httpx", "openai")
def plain_httpx(url: str) -> Any:
    import httpx

    return httpx.post(f"{url}/v1/chat/completions", json=ASK)


@way("aiohttp", "openai")
async def plain_aiohttp(url: str) -> Any:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=ASK) as response:
        return await response.read()


@way("langchain_openai", "openai")
def langchain_openai(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="gpt-4o-mini", base_url=f"{url}/v1", api_key=KEY, max_tokens=50).invoke("Hello")


def made(function: Way, url: str) -> Any:
    """The call, run to its end."""
    found = function(url)
    return asyncio.run(found) if isinstance(found, Coroutine) else found


@pytest.mark.parametrize(("library", "provider", "function"), WAYS)
def test_a_refusal_reaches_the_caller_as_itself(
    library: str, provider: str, function: Way, replay: Any, metered: Any
) -> None:
    """No SDK wraps it, none tries again, nothing is sent, and what it says is what the budget says."""
    pytest.importorskip(library, reason=f"SDK MISSING: {library}")
    replay.serve({"body": b"{}"})
    meter = metered(provider)
    meter.tracker.guard.set("agent=writer", usd="0.000000001", per="day")
    with farthing.attribute(agent="writer"), pytest.raises(BudgetExceededError) as refused:
        made(function, replay.url)
    assert type(refused.value) is BudgetExceededError
    assert refused.value.scope == "agent=writer" and refused.value.why == "limit"
    assert refused.value.resets_at is not None
    assert replay.seen == [] and meter.events == []
    alert = meter.tracker.guard.alerts()[0]
    assert (alert.rule, alert.times) == ("denied:limit", 1)
    assert standing(meter).reserved == 0


def test_the_pause_of_an_agent_acts_here(replay: Any, metered: Any, pick: Any) -> None:
    """A paused agent's next call raises with the reason and who may lift it; resumed, it goes on."""
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    people = meter.tracker.guard.people
    people.pause("writer", "it loops", by="ann")
    with farthing.attribute(agent="writer"):
        with pytest.raises(AgentPausedError, match=r"it loops.*ann.*may lift") as refused:
            openai_chat(replay.url)
        assert type(refused.value) is AgentPausedError and replay.seen == []
        people.resume("writer")
        openai_chat(replay.url)
    assert meter.event.attribution.agent == "writer"


def test_the_killing_of_a_task_cancels_its_call_under_way(replay: Any, metered: Any) -> None:
    """A task's stream is cancelled while it runs; its next call raises; what it came to is recorded."""
    gate = threading.Event()
    replay.serve(endless(40) | {"gate": gate})
    meter = metered("openai")

    async def work() -> None:
        with farthing.task("t-1"):
            async with async_client(replay.url) as client:
                stream = await client.chat.completions.create(**ASK, stream=True)
                async for _ in stream:
                    started.set()

    async def main() -> None:
        running = asyncio.create_task(work())
        await started.wait()
        await asyncio.to_thread(meter.tracker.guard.people.kill, "t-1", "it loops", by="ann")
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(TaskKilledError, match="it loops"):
            await work()

    started = asyncio.Event()
    asyncio.run(main())
    gate.set()
    gc.collect()
    farthing.capture.transport.flush()
    assert [event.usage_status for event in meter.events if event.calls] == ["partial"]


# --- what is held and settled ----------------------------------------------------------------------------------------


def test_a_call_is_held_while_it_runs_and_settled_in_full(replay: Any, metered: Any, pick: Any) -> None:
    """While a stream runs something is held; at its end exactly what the event cost is spent, and nothing is held."""
    replay.serve(pick("openai", "/chat/completions", stream=True))
    meter = metered("openai")
    meter.tracker.guard.set("agent=writer", usd=1, per="day")
    with farthing.attribute(agent="writer"):
        stream = openai_client(replay.url).chat.completions.create(**ASK, stream=True)
        held = standing(meter)
        assert held.reserved > 0 and held.posted == 0
        list(stream)
    after = standing(meter)
    assert after.reserved == 0 and after.posted == meter.event.cost_pico > 0
    assert meter.tracker.guard.accounts.audit().holds_true


def test_a_stream_left_early_is_settled_with_what_it_came_to(replay: Any, metered: Any) -> None:
    """The part that was seen is spent, as a partial event; nothing stays held."""
    replay.serve(endless(30))
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    with openai_client(replay.url).chat.completions.create(**ASK, stream=True) as stream:
        next(iter(stream))
    after = standing(meter)
    assert after.reserved == 0 and after.posted == meter.event.cost_pico > 0
    assert meter.event.usage_status == "partial"


def test_what_never_left_costs_nothing(metered: Any, replay: Any) -> None:
    """Where no connection is made the hold is freed, and the attempt is recorded as unbilled."""
    import httpx

    meter = metered()
    meter.tracker.guard.set(usd=1)
    with pytest.raises(httpx.ConnectError):
        httpx.post("http://127.0.0.1:1/v1/chat/completions", json=ASK)
    after = standing(meter)
    assert (after.posted, after.reserved) == (0, 0)
    assert not meter.event.billed


def test_an_error_of_the_provider_frees_the_hold(replay: Any, metered: Any) -> None:
    """Each attempt is held and freed: what the provider refuses is not spent, however often the SDK tries."""
    replay.serve({"body": b'{"error": {"message": "overloaded"}}', "status": 500, "headers": {"retry-after-ms": "1"}})
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    client = openai_client(replay.url, max_retries=2)
    with pytest.raises(Exception, match="overloaded"):
        client.chat.completions.create(**ASK)
    after = standing(meter)
    assert (after.posted, after.reserved) == (0, 0)
    assert [event.billed for event in meter.events] == [False] * 3


def test_what_is_no_call_frees_the_hold(replay: Any, metered: Any) -> None:
    """A server of one's own answers something else: nothing is recorded and nothing stays held."""
    import httpx

    replay.serve({"body": b"", "status": 304})
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    httpx.post(f"{replay.url}/v1/chat/completions", json=ASK)
    after = standing(meter)
    assert (after.posted, after.reserved, meter.events) == (0, 0, [])


def test_an_unknown_model_is_refused_with_the_remedy(replay: Any, metered: Any) -> None:
    """Under a hard dollar budget nobody's price is not a price of nothing."""
    replay.serve({"body": b"{}"})
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    with pytest.raises(BudgetExceededError, match="register_model_pricing") as refused:
        openai_client(replay.url).chat.completions.create(**{**ASK, "model": "nobodys-model"})
    assert refused.value.why == "unpriced" and replay.seen == []


def test_a_block_holds_instrumented_calls(replay: Any, metered: Any, pick: Any) -> None:
    """`with farthing.budget(...)` counts what its calls cost, and refuses the one that would not fit."""
    replay.serve(*several(pick("openai", "/chat/completions"), 3))
    metered("openai")
    with farthing.budget(calls=2) as block:
        openai_chat(replay.url)
        asyncio.run(openai_async(replay.url))
        with pytest.raises(BudgetExceededError):
            openai_chat(replay.url)
    assert block.llm_calls == 2 and len(replay.seen) == 2


def test_without_budgets_nobody_is_asked(replay: Any, metered: Any, pick: Any, monkeypatch: Any) -> None:
    """Where there is neither budget nor pause, a call is neither estimated nor held."""
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(meter.tracker.guard, "reserve", never)
    monkeypatch.setattr(meter.tracker.guard, "check", never)
    openai_chat(replay.url)
    assert meter.event.calls == 1


def test_a_fault_of_ours_lets_the_call_pass(replay: Any, metered: Any, pick: Any, monkeypatch: Any) -> None:
    """Only a decision stops a call: a fault on the way to it is counted, and the call goes on."""
    from farthing.capture.faults import FAULTS

    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    monkeypatch.setattr(meter.tracker.guard, "reserve", lambda *_, **__: 1 / 0)
    before = FAULTS.total
    openai_chat(replay.url)
    assert FAULTS.total == before + 1 and meter.event.calls == 1
    FAULTS.counts.subtract(["asking the budgets, so the call is let pass"])


# --- streams that come to more ---------------------------------------------------------------------------------------

LONG: dict[str, Any] = {name: value for name, value in ASK.items() if name != "max_tokens"}


def _known(meter: Any, output: int) -> None:
    """The agent's last calls gave so many tokens, so that the next one is expected to."""
    for _ in range(40):
        held = meter.tracker.guard.reserve("gpt-4o-mini", agent="writer", input_characters=100, max_tokens=output)
        held.dispatch()
        meter.tracker.record("gpt-4o-mini", 30, output, "writer", reservation=held)


def test_a_stream_that_comes_to_its_hold_holds_more(replay: Any, metered: Any) -> None:
    """Expected 12 tokens, it gives hundreds: more is held as it goes on, and it ends by itself."""
    replay.serve(endless(400))
    meter = metered("openai")
    meter.tracker.guard.set("agent=writer", usd=1, per="day")
    _known(meter, 10)
    before = standing(meter).posted
    with farthing.attribute(agent="writer"):
        chunks = list(openai_client(replay.url).chat.completions.create(**LONG, stream=True))
    assert len(chunks) == 400
    event = meter.events[-1]
    assert event.usage.output_tokens > 400 and event.usage_status == "estimated"
    after = standing(meter)
    assert after.posted == before + event.cost_pico and after.reserved == 0
    assert after.held > after.settled > 0


@pytest.mark.parametrize("kind", ["sync", "async", "requests", "aiohttp"])
def test_a_stream_is_stopped_where_there_is_no_room_for_more(kind: str, replay: Any, metered: Any) -> None:
    """It raises in the midst of the stream; what had come by then, read ahead by the client or not, is spent."""
    replay.serve(endless(20_000))
    meter = metered("openai")
    meter.tracker.guard.set("agent=writer", tokens=3_000, per="day")
    _known(meter, 40)
    before = standing(meter).posted
    seen = 0
    body = {**LONG, "stream": True}
    path = f"{replay.url}/v1/chat/completions"

    def sync() -> None:
        nonlocal seen
        for _ in openai_client(replay.url).chat.completions.create(**body):
            seen += 1

    async def aio() -> None:
        nonlocal seen
        async with async_client(replay.url) as client:
            async for _ in await client.chat.completions.create(**body):
                seen += 1

    def plain() -> None:
        nonlocal seen
        import requests

        with requests.post(path, json=body, stream=True) as response:
            for _ in response.iter_content(None):
                seen += 1

    async def aiohttp_() -> None:
        nonlocal seen
        import aiohttp

        async with aiohttp.ClientSession() as session, session.post(path, json=body) as response:
            async for _ in response.content.iter_any():
                seen += 1

    pytest.importorskip({"requests": "requests", "aiohttp": "aiohttp"}.get(kind, "openai"), reason="SDK MISSING")
    call = {"sync": sync, "async": aio, "requests": plain, "aiohttp": aiohttp_}[kind]
    with farthing.attribute(agent="writer"), pytest.raises(BudgetExceededError) as refused:
        made(lambda _: call(), replay.url)
    assert type(refused.value) is BudgetExceededError and seen > 0
    gc.collect()
    after = standing(meter)
    assert after.reserved == 0 and before < after.posted < 14_000  # of some 40,000: the limit, and what was read ahead
    if kind in ("sync", "async"):  # the others hand on what the machine has buffered in one piece
        assert after.posted <= 3_000
    event = meter.events[-1]
    assert event.usage_status == "partial" and "BudgetExceededError" in (event.error or "")


# --- another model, or somebody's word -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [openai_chat, openai_async, plain_requests, plain_aiohttp, plain_httpx])
def test_a_downgraded_call_goes_to_the_cheaper_model(function: Way, replay: Any, metered: Any, pick: Any) -> None:
    """The body names the cheaper model; the event says which model answered and which one was asked for."""
    pytest.importorskip(function.__name__.removeprefix("plain_").partition("_")[0], reason="SDK MISSING")
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    meter.tracker.guard.set("model=gpt-4o-mini", usd=0, per="day", on_exceed="downgrade:gpt-4.1-nano")
    made(function, replay.url)
    farthing.capture.transport.flush()
    (seen,) = replay.seen
    assert seen.json["model"] == "gpt-4.1-nano" and seen.json["messages"] == ASK["messages"]
    assert int(seen.headers["content-length"]) == len(seen.body)
    assert meter.event.attribution.metadata["downgraded_from"] == "gpt-4o-mini"
    assert meter.event.calls == 1


def test_a_model_in_the_path_is_changed_there(replay: Any, metered: Any, pick: Any) -> None:
    """Gemini's requests name their model in the path."""
    pytest.importorskip("google.genai", reason="SDK MISSING: google.genai")
    replay.serve(*several(pick("google", ":generateContent"), 2))
    meter = metered("google")
    meter.tracker.guard.set("model=gemini-2.0-flash", usd=0, on_exceed="downgrade:gemini-2.0-flash-lite")
    google_generate(replay.url)
    asyncio.run(google_generate_async(replay.url))
    assert [one.path.partition("?")[0].rpartition("/")[2] for one in replay.seen] == [
        "gemini-2.0-flash-lite:generateContent"
    ] * 2
    farthing.capture.transport.flush()
    assert len(meter.events) == 2


def test_a_signed_request_cannot_be_changed(replay: Any, metered: Any) -> None:
    """Bedrock's requests are signed: the call is refused, and says what to do."""
    pytest.importorskip("boto3", reason="SDK MISSING: boto3")
    replay.serve({"body": b"{}"})
    meter = metered("aws")
    meter.tracker.guard.set("model=amazon.nova-lite*", usd=0, on_exceed="downgrade:amazon.nova-micro-v1:0")
    with pytest.raises(BudgetExceededError, match="signed"):
        bedrock_converse(replay.url)
    assert replay.seen == []


def test_somebody_may_allow_a_call(replay: Any, metered: Any, pick: Any) -> None:
    """`ask`: refused with the number of an approval; granted, the next one passes. A callback answers at once."""
    replay.serve(*several(pick("openai", "/chat/completions"), 3))
    meter = metered("openai")
    guard = meter.tracker.guard
    guard.set("agent=writer", calls=1, on_exceed="ask")
    with farthing.attribute(agent="writer"):
        openai_chat(replay.url)
        with pytest.raises(BudgetExceededError) as refused:
            openai_chat(replay.url)
        guard.grant(refused.value.approval, by="ann")
        openai_chat(replay.url)
        guard.on_ask = lambda error: error.scope == "agent=writer"
        openai_chat(replay.url)
    assert len(replay.seen) == 3


# --- the promise -----------------------------------------------------------------------------------------------------


def test_fifty_streams_at_once_under_a_budget_for_twelve(replay: Any, metered: Any, pick: Any) -> None:
    """A real SDK, 50 streams at once: those let pass spend no more than the budget allows, and all others are told."""
    recording = pick("openai", "/chat/completions", stream=True)
    cost = farthing.price(recording.extraction.model, recording.extraction.usage).usd
    assert cost
    replay.serve(*several(recording, 52))
    meter = metered("openai")
    guard = meter.tracker.guard
    body = {**ASK, "max_tokens": int(recording.extraction.usage.output_tokens) + 5, "stream": True}
    body["model"] = recording.extraction.model
    need = _needed(guard, replay.url, body)
    guard.set("agent=crowd", usd=need * 12, per="day", name="twelve")
    done, refused = 0, 0

    async def one(client: Any) -> None:
        nonlocal done, refused
        try:
            async for _ in await client.chat.completions.create(**body):
                pass
            done += 1
        except BudgetExceededError:
            refused += 1

    async def crowd() -> None:
        async with async_client(replay.url) as client:
            with farthing.attribute(agent="crowd"):
                await asyncio.gather(*(one(client) for _ in range(50)))

    asyncio.run(crowd())
    after = standing(meter, "twelve")
    assert done + refused == 50 and done >= 12 and refused > 0
    assert len(meter.events) - 2 == done
    assert after.reserved == 0 and after.posted <= (after.limit or 0)
    assert after.posted == sum(event.cost_pico for event in meter.events if event.attribution.agent == "crowd")
    assert guard.accounts.audit().holds_true


def _needed(guard: Any, url: str, body: dict[str, Any]) -> Decimal:
    """What one such call holds at most: a first one, or one that asks when the first has taught what it came to."""
    guard.set("agent=first", usd=1, name="first")
    held = []
    with farthing.attribute(agent="first"):
        for _ in range(2):
            stream = openai_client(url).chat.completions.create(**body)
            held.append(next(one.reserved for one in guard.status() if one.budget.name == "first"))
            list(stream)
            farthing.capture.transport.flush()
    guard.remove("first")
    return Decimal(max(held)) / 10**12


@pytest.fixture(scope="module", autouse=True)
def _clients_left_open() -> Any:
    """SDKs leave connections to the collector, which warns of them: here, where warnings are passed over."""
    yield
    gc.collect()


@pytest.mark.parametrize(
    ("path", "body", "held"),
    [
        ("/v1/images/generations", {"model": "dall-e-3", "prompt": "rain", "n": 2}, 2 * 40_000_000_000),
        ("/v1/audio/speech", {"model": "tts-1", "input": "x" * 1000}, 15_000_000_000),
        ("/v1/rerank", {"model": "rerank-v3.5", "query": "rain", "documents": ["a"]}, None),
        ("/v1/audio/transcriptions", {"model": "whisper-1"}, 1),
    ],
)
def test_calls_that_are_not_billed_by_text(path: str, body: dict[str, Any], held: int | None, metered: Any) -> None:
    """Images, characters and searches are held by their own price; what only the end tells, as almost nothing."""
    from farthing.capture.hosts import Target
    from farthing.capture.meter import Dispatch, Meter, Outgoing

    meter = metered("openai")
    meter.tracker.guard.set(usd=1, name="all")
    target, asked = Target(None, f"https://h{path}", sure=True), Outgoing(path, body=json.dumps(body).encode())
    call = Dispatch(Meter(meter.tracker), target, asked, on_loop=False)
    call.admit()
    assert call.admission is not None
    reserved = standing(meter).reserved
    assert reserved == held if held is not None else reserved > 0
    call.admission.drop()
    assert standing(meter).reserved == 0
