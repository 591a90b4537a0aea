"""What is asked before it leaves, and by which words, where the host or the request does not tell everything."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

import farthing
from farthing import AgentPausedError, BudgetExceededError, TaskKilledError
from farthing.capture import transport
from farthing.errors import BudgetUnavailable, LedgerUnavailable

httpx = pytest.importorskip("httpx", reason="SDK MISSING: httpx")

MESSAGES = [{"role": "user", "content": "Tell me a joke about rain."}]
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": MESSAGES}
NAMELESS: dict[str, Any] = {"max_tokens": 50, "messages": MESSAGES}


def chat(number: int = 1, model: str = "gpt-4o-mini") -> dict[str, Any]:
    """An answer of a chat with its usage, as the server is to give it."""
    usage = {"prompt_tokens": 15, "completion_tokens": 20, "total_tokens": 35}
    said = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
    said["choices"] = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}]
    return {"body": json.dumps(said).encode()}


def posted(meter: Any) -> tuple[int, int]:
    """(posted, reserved) of the one budget, everything written."""
    transport.flush()
    (found,) = meter.tracker.guard.status()
    return found.posted, found.reserved


# --- hosts that nobody has named -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/serving-endpoints/e/invocations"])
def test_a_request_that_names_no_model_is_asked(path: str, replay: Any, metered: Any) -> None:
    """Its answer's usage makes it a call, so pauses, budgets of calls and blocks stop it like any other."""
    replay.serve(chat(1, "llama"), chat(2, "llama"), chat(3, "llama"))
    meter = metered()
    guard = meter.tracker.guard
    guard.set("agent=writer", calls=1)
    with farthing.attribute(agent="writer"):
        httpx.post(replay.url + path, json=NAMELESS)
        with pytest.raises(BudgetExceededError):
            httpx.post(replay.url + path, json=NAMELESS)
        guard.people.pause("writer", "it loops", by="ann")
        with pytest.raises(AgentPausedError):
            httpx.post(replay.url + path, json=NAMELESS)
    with farthing.budget(calls=1):
        httpx.post(replay.url + path, json=NAMELESS)
        with pytest.raises(BudgetExceededError):
            httpx.post(replay.url + path, json=NAMELESS)
    assert len(replay.seen) == 2 and posted(meter) == (1, 0)


def test_a_hard_dollar_budget_refuses_what_names_no_model(replay: Any, metered: Any) -> None:
    """It might cost anything, here as where it is reserved by hand."""
    replay.serve(chat())
    metered().tracker.guard.set(usd=1)
    with pytest.raises(BudgetExceededError, match="names no model"):
        httpx.post(f"{replay.url}/v1/chat/completions", json=NAMELESS)
    assert replay.seen == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"to": "+31612345678", "channel": "sms", "text": "Your parcel has come"}),
        ("/api/chat", {"room": "lobby", "text": "Hello"}),
        ("/endpoints/churn/invocations", {"instances": [[1, 2], [3, 4]]}),
        ("/apis/apps/v1/namespaces/p/deployments/web/scale", {"spec": {"replicas": 3}}),
        ("/api/chat", {"message": "hello, colleague"}),
        ("/v1/messages", {"to": "+31612345678", "message": "your code is 1234"}),
        ("/v1/responses", {"survey": 7, "answers": [1, 2]}),
        ("/v1/completions", {"course": 4}),
    ],
)
def test_a_programs_other_requests_are_not_stopped(path: str, body: dict[str, Any], replay: Any, metered: Any) -> None:
    """Servers of short messages, chats with people and classifiers have such paths too: no budget is about them."""
    replay.serve({"body": b'{"done": true}'})
    meter = metered()
    meter.tracker.guard.set(usd=0)
    meter.tracker.guard.people.pause_noncritical("all stop")
    assert httpx.post(replay.url + path, json=body).json() == {"done": True}
    assert meter.events == []


@pytest.mark.parametrize(
    ("path", "model", "provider"),
    [
        ("/v1/chat/completions", "gpt-4o-mini", "openai"),
        ("/openai/deployments/gpt-4o-mini/chat/completions", "gpt-4o-mini", "azure"),
    ],
)
def test_a_providers_budget_holds_on_a_host_that_nobody_named(
    path: str, model: str, provider: str, replay: Any, metered: Any
) -> None:
    """The calls that are posted to it are those that it is asked for: by the path, else by the model's price."""
    replay.serve(chat(1), chat(2), chat(3))
    meter = metered()
    meter.tracker.guard.set(f"provider={provider}", calls=2)
    for _ in range(2):
        httpx.post(replay.url + path, json={**ASK, "model": model})
    with pytest.raises(BudgetExceededError):
        httpx.post(replay.url + path, json={**ASK, "model": model})
    assert len(replay.seen) == 2 and posted(meter) == (2, 0)
    assert {event.provider for event in meter.events} == {provider}


# --- a cheaper model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01", {**ASK, "model": "gpt-4o"}),
        ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01", NAMELESS),
        ("/serving-endpoints/mine/invocations", {**ASK, "model": "gpt-4o"}),
        ("/v1/chat/completions", NAMELESS),
    ],
)
def test_a_call_whose_model_cannot_be_changed_is_refused(
    path: str, body: dict[str, Any], replay: Any, metered: Any
) -> None:
    """A deployment's name is the user's own: the dear one is never sent under the hold of the cheaper one."""
    replay.serve(chat())
    meter = metered()
    for model in ("gpt-4o*", "unspecified"):
        meter.tracker.guard.set(f"model={model}", calls=0, on_exceed="downgrade:gpt-4.1-nano")
    with pytest.raises(BudgetExceededError, match="cannot be changed: its model stands in no place that we know"):
        httpx.post(replay.url + path, json=body)
    assert replay.seen == []
    assert all(standing.reserved == 0 for standing in meter.tracker.guard.status())


# --- answers that do not say what they cost --------------------------------------------------------------------------

IMAGE = {"body": b'{"created": 1, "data": [{"b64_json": "aGk="}]}'}


def test_an_answer_that_tells_no_usage_is_posted_as_it_was_held(replay: Any, metered: Any) -> None:
    """Images without usage do not give their hold back as if they had cost nothing: the next one has less room."""
    replay.serve(IMAGE)
    meter = metered("openai")
    meter.tracker.guard.set("agent=writer", usd="0.2")
    with farthing.attribute(agent="writer"):
        httpx.post(f"{replay.url}/v1/images/generations", json={"model": "gpt-image-1", "prompt": "rain"})
        with pytest.raises(BudgetExceededError):
            httpx.post(f"{replay.url}/v1/images/generations", json={"model": "gpt-image-1", "prompt": "rain"})
    event = meter.event
    assert (event.usage_status, event.price_status, event.calls) == ("estimated", "reported", 1)
    assert event.cost_pico == event.reported_pico > 100_000_000_000
    assert event.usage.output_tokens > 0 and event.usage.get("output_images") == 1
    assert "what was held" in str(event.price_reason)
    assert posted(meter) == (event.cost_pico, 0) and meter.tracker.guard.accounts.audit().holds_true


@pytest.mark.parametrize(
    ("path", "model", "answer"),
    [
        ("/v1/chat/completions", "nobodys-model", chat(1, "nobodys-model")),
        ("/v1/audio/transcriptions", "whisper-1", {"body": b'{"text": "Hello"}'}),
    ],
)
def test_an_unknown_price_stays_unknown(
    path: str, model: str, answer: dict[str, Any], replay: Any, metered: Any
) -> None:
    """Where usage is told but nobody knows the price, or almost nothing was held, no price is made up."""
    replay.serve(answer)
    meter = metered("openai")
    meter.tracker.guard.set(calls=5)
    httpx.post(replay.url + path, json={**ASK, "model": model})
    assert posted(meter) == (1, 0)
    assert (meter.event.cost_pico, meter.event.price_status) == (None, "unpriced")


def test_without_a_budget_an_answer_without_usage_is_unpriced(replay: Any, metered: Any) -> None:
    """Nothing was held, so nothing is known."""
    replay.serve(IMAGE)
    meter = metered("openai")
    httpx.post(f"{replay.url}/v1/images/generations", json={"model": "gpt-image-1", "prompt": "rain"})
    transport.flush()
    assert (meter.event.cost_pico, meter.event.price_status) == (None, "unpriced")


# --- a body that only the client can write ---------------------------------------------------------------------------


def test_a_session_of_aiohttp_writes_its_json_itself(replay: Any, metered: Any) -> None:
    """What only its own serializer can write is asked, metered and sent to a cheaper model, and is written once."""
    aiohttp = pytest.importorskip("aiohttp", reason="SDK MISSING: aiohttp")
    replay.serve(chat(1), chat(2))
    meter = metered("openai")
    written: list[Any] = []
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def serialize(value: Any) -> str:
        written.append(value)
        return json.dumps(value, default=str)

    async def ask() -> Any:
        body = {**ASK, "metadata": {"at": at}}
        async with (
            aiohttp.ClientSession(json_serialize=serialize) as session,
            session.post(f"{replay.url}/v1/chat/completions", json=body) as response,
        ):
            return await response.json()

    assert asyncio.run(ask())["id"] == "chatcmpl-1"
    transport.flush()
    meter.tracker.guard.set("model=gpt-4o-mini", calls=1, on_exceed="downgrade:gpt-4.1-nano")
    assert asyncio.run(ask())["id"] == "chatcmpl-2"
    meter.tracker.guard.set(calls=2)
    with pytest.raises(BudgetExceededError):
        asyncio.run(ask())
    transport.flush()
    assert len(meter.events) == 2 and len(written) == 3
    assert [one.json["model"] for one in replay.seen] == ["gpt-4o-mini", "gpt-4.1-nano"]
    assert all(one.json["metadata"] == {"at": str(at)} for one in replay.seen)
    assert {one.headers["content-type"] for one in replay.seen} == {"application/json"}


# --- batches ---------------------------------------------------------------------------------------------------------

BATCH = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.mark.parametrize(
    ("provider", "path", "body"),
    [
        ("openai", "/v1/batches", BATCH),
        (None, "/v1/batches", BATCH),
        ("anthropic", "/v1/messages/batches", {"requests": [{"custom_id": "1", "params": ASK}]}),
        ("google", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", {"batch": {}}),
        ("aws", "/model-invocation-job", {"modelId": "amazon.nova-lite-v1:0", "jobName": "j"}),
    ],
)
def test_a_batch_is_not_made_where_no_call_may_be(
    provider: str | None, path: str, body: dict[str, Any], replay: Any, metered: Any
) -> None:
    """A pause, a kill, a hard budget or a block with nothing left stop it; else it passes, and is itself no call."""
    replay.serve({"body": b'{"id": "batch_1", "object": "batch", "status": "validating"}'})
    meter = metered(provider)
    guard = meter.tracker.guard
    guard.set("agent=writer", usd=1, name="writer's")
    with farthing.attribute(agent="writer"):
        assert httpx.post(replay.url + path, json=body).json()["id"] == "batch_1"
        guard.people.pause("writer", "it loops", by="ann")
        with pytest.raises(AgentPausedError):
            httpx.post(replay.url + path, json=body)
        guard.people.resume("writer")
        guard.people.kill("t-1", "it loops", by="ann")
        with farthing.task("t-1"), pytest.raises(TaskKilledError):
            httpx.post(replay.url + path, json=body)
        with farthing.budget(calls=1):
            meter.tracker.record("gpt-4o-mini", 1, 1)
            with pytest.raises(BudgetExceededError):
                httpx.post(replay.url + path, json=body)
        guard.set("agent=writer", usd=0, name="writer's")
        with pytest.raises(BudgetExceededError):
            httpx.post(replay.url + path, json=body)
    httpx.post(replay.url + path, json=body)  # somebody else's
    assert len(replay.seen) == 2
    transport.flush()
    assert {event.source for event in meter.events} == {"record"} and posted(meter)[1] == 0


def test_a_batch_is_not_made_where_a_hard_budget_cannot_be_asked(
    replay: Any, metered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As no call is."""
    guard = metered("openai").tracker.guard
    guard.set(usd=100)

    def gone(ask: Any) -> Any:
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(guard.accounts, "refusals", gone)
    with pytest.raises(BudgetUnavailable):
        httpx.post(f"{replay.url}/v1/batches", json=BATCH)
    assert replay.seen == []


def test_other_batches_pass(replay: Any, metered: Any) -> None:
    """On a host that nobody named, a request of that path which names no calls is none of ours."""
    replay.serve({"body": b"{}"})
    guard = metered().tracker.guard
    guard.set("agent=writer", usd=0)
    guard.people.pause("writer", "it loops", by="ann")
    with farthing.attribute(agent="writer"):
        httpx.post(f"{replay.url}/v1/batches", json={"invoices": [1, 2]})
    assert len(replay.seen) == 1


# --- responses made in the background --------------------------------------------------------------------------------


def response(number: int, status: str) -> dict[str, Any]:
    """A response of OpenAI's, with its usage once it is completed."""
    usage = {"input_tokens": 15, "output_tokens": 20, "total_tokens": 35} if status == "completed" else None
    said = {"id": f"resp_{number}", "object": "response", "model": "gpt-4o-mini", "status": status, "output": []}
    return {"body": json.dumps({**said, "usage": usage}).encode()}


@pytest.mark.parametrize("limit", [{"usd": "0.00005"}, {"tokens": 100}])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "nobodys-model"])
def test_a_response_in_the_background_takes_its_room_until_it_is_fetched(
    limit: dict[str, Any], model: str, replay: Any, metered: Any
) -> None:
    """It is posted as it was held when it is queued, and put right once by its id, fetched however often."""
    replay.serve(*(response(1, status) for status in ("queued", "in_progress", "completed", "completed")))
    meter = metered("openai")
    guard = meter.tracker.guard
    guard.set("agent=writer", **limit, on_unpriced="allow")
    ask = {"model": model, "input": "Hi", "max_output_tokens": 60, "background": True}
    with farthing.attribute(agent="writer"), farthing.budget(calls=5) as block:
        httpx.post(f"{replay.url}/v1/responses", json=ask)
        waiting, held = posted(meter)
        assert held == 0 and (waiting > 0 or (model, *limit) == ("nobodys-model", "usd"))
        if waiting:
            with pytest.raises(BudgetExceededError):
                httpx.post(f"{replay.url}/v1/responses", json=ask)
        httpx.get(f"{replay.url}/v1/responses/resp_1")
        assert posted(meter) == (waiting, 0)
    for _ in range(2):  # outside: whose it is was said when it was asked for
        httpx.get(f"{replay.url}/v1/responses/resp_1")
        assert posted(meter) == (35 if "tokens" in limit else 14_250_000, 0)
    totals = meter.tracker.totals()
    assert (totals.calls, totals.total_tokens, totals.cost_pico) == (1, 35, 14_250_000)
    assert (block.totals.calls, block.totals.cost_pico) == (1, 14_250_000)
    assert guard.accounts.audit().holds_true


def test_a_response_that_nobody_fetches_stays_as_it_was_held(replay: Any, metered: Any) -> None:
    """It may have been made and billed: the event says by what it is known."""
    replay.serve(response(1, "queued"))
    meter = metered("openai")
    meter.tracker.guard.set(usd=1)
    httpx.post(f"{replay.url}/v1/responses", json={"model": "gpt-4o-mini", "input": "Hi", "background": True})
    assert posted(meter) == (meter.event.cost_pico, 0)
    assert meter.event.cost_pico > 0 and "not fetched yet" in str(meter.event.price_reason)
