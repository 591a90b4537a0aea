"""LangChain's callbacks: each response counts once, with its model, its chain and who it is for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("langchain_core", reason="LANGCHAIN MISSING: its callback handler is not tested")

from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from langchain_core.runnables import RunnableLambda

from farthing import testing
from farthing.capture.context import agent_run, attribute
from farthing.capture.faults import FAULTS
from farthing.capture.langchain import FarthingCallbackHandler
from farthing.errors import InputError
from farthing.event import Event
from farthing.tracker import CostTracker
from farthing.usage import Usage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

USAGE = {"input_tokens": 1_000_000, "output_tokens": 10, "total_tokens": 1_000_010}


@pytest.fixture
def tracker() -> Iterator[CostTracker]:
    faults = FAULTS.total
    with testing.tracker({"m": (1, 2)}) as made:
        yield made
    assert FAULTS.total == faults, FAULTS.counts


@pytest.fixture
def handler(tracker: CostTracker) -> Iterator[FarthingCallbackHandler]:
    made = FarthingCallbackHandler(tracker)
    yield made
    made.close()


def message(text: str = "Hi", **more: Any) -> AIMessage:
    told = {"response_metadata": {"model_name": "m"}, "usage_metadata": USAGE, **more}
    return AIMessage(text, **told)


def chat(*messages: AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(messages))


def events(tracker: CostTracker) -> list[Event]:
    return list(tracker.ledger.events())


def test_a_call_is_recorded_with_its_chain(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Model, counts, cost, the chain's run as trace, and metadata as attribution."""
    chain = RunnableLambda(lambda text: text, name="prepare") | chat(message())
    chain.invoke(
        "Hello",
        config={
            "callbacks": [handler],
            "run_name": "answering",
            "tags": ["beta"],
            "metadata": {"thread_id": "t-1", "feature": "search", "ticket": 7, "langgraph_node": "writer"},
        },
    )
    (event,) = events(tracker)
    assert (event.model, event.cost, event.source) == ("m", 1.00002, "langchain")
    who = event.attribution
    assert (who.session, who.feature, who.step, who.name) == ("t-1", "search", "writer", "answering")
    assert dict(who.metadata)["ticket"] == 7
    assert "beta" in dict(who.metadata)["tags"]
    assert who.trace


def test_calls_of_one_chain_share_a_trace(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """And two chains do not."""
    model = chat(*(message() for _ in range(4)))
    chain = RunnableLambda(lambda text: str(text)) | model | RunnableLambda(lambda m: m.content) | model
    for _ in range(2):
        chain.invoke("Hello", config={"callbacks": [handler]})
    traces = [event.attribution.trace for event in events(tracker)]
    assert len(traces) == 4
    assert (traces[0], traces[2]) == (traces[1], traces[3])
    assert traces[0] != traces[2]
    assert not handler._runs


def test_blocks_around_a_chain_count(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Sync and async, also where steps run on other threads; the handler's own fields go first."""
    own = FarthingCallbackHandler(tracker, team="t")
    with agent_run("a") as run:
        chat(message()).invoke("x", config={"callbacks": [handler]})
        asyncio.run(chat(message()).ainvoke("x", config={"callbacks": [own]}))
        model = chat(message(), message())
        RunnableLambda(lambda x: model.invoke(x)).batch(["x", "y"], config={"callbacks": [handler]})
    assert (run.llm_calls, run.cost) == (4, pytest.approx(4.00008))
    assert [event.attribution.team for event in events(tracker)].count("t") == 1


def test_streams_are_recorded_at_their_end(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """LangChain adds the chunks up."""
    for _ in chat(message("several words here", id="chatcmpl-0123456789abcdef")).stream(
        "x", config={"callbacks": [handler]}
    ):
        pass
    (event,) = events(tracker)
    assert event.attribution.trace


def test_candidates_of_one_response_count_once(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Each of n candidates repeats the whole usage; candidates of different responses do not."""

    def answered(*messages: AIMessage, **output: Any) -> None:
        result = LLMResult(generations=[[ChatGeneration(message=m) for m in messages]], llm_output=output or None)
        run = uuid4()
        handler.on_chat_model_start({}, [[]], run_id=run)
        handler.on_llm_end(result, run_id=run)

    answered(message(), message(), id="chatcmpl-0123456789abcdef")
    answered(message(), message())
    two = [message(response_metadata={"model_name": "m", "id": f"msg_{i}_0123456789"}) for i in range(2)]
    answered(*two)
    assert tracker.totals().calls == 4


def test_details_of_usage(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Caches, reasoning and tiers, as LangChain keeps them."""
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {"cache_read": 60, "cache_creation": 0, "ephemeral_1h_input_tokens": 20},
        "output_token_details": {"reasoning": 30},
    }
    told = {"model_name": "claude-sonnet-4-20250514", "model_provider": "anthropic", "usage": {"service_tier": "batch"}}
    chat(message(usage_metadata=usage, response_metadata=told)).invoke("x", config={"callbacks": [handler]})
    (event,) = events(tracker)
    assert event.usage == Usage(
        input_tokens=100,
        output_tokens=50,
        cache_read_tokens=60,
        cache_write_tokens=20,
        cache_write_1h_tokens=20,
        output_reasoning_tokens=30,
    )
    assert (event.provider, dict(event.context)) == ("anthropic", {"processing": "batch"})


def test_completion_models_tell_usage_in_their_output(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Older models have no messages."""
    result = LLMResult(
        generations=[[Generation(text="Hi")]],
        llm_output={"token_usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}, "model_name": "m"},
    )
    run = uuid4()
    handler.on_llm_start({}, ["x"], run_id=run)
    handler.on_llm_end(result, run_id=run)
    (event,) = events(tracker)
    assert (event.model, event.usage) == ("m", Usage(input_tokens=7, output_tokens=2))


def test_a_call_without_usage_is_unpriced(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Counted and said, never zero."""
    chat(message(usage_metadata=None)).invoke("x", config={"callbacks": [handler]})
    totals = tracker.totals()
    assert (totals.calls, totals.unpriced_calls) == (1, 1)


def test_a_failed_call_is_an_attempt(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """The error reaches the caller, and is counted."""
    with pytest.raises(StopIteration):  # the fake model has no message left
        chat().invoke("x", config={"callbacks": [handler]})
    totals = tracker.totals()
    assert (totals.calls, totals.errors, totals.unbilled_attempts) == (0, 1, 1)


def test_an_answer_of_langchains_cache_costs_nothing(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """It is a cache hit, not a second call."""
    model = chat(message(), message())
    model.cache = InMemoryCache()
    for _ in range(2):
        model.invoke("the same", config={"callbacks": [handler]})
    totals = tracker.totals()
    assert (totals.calls, totals.cache_hits, totals.cost) == (1, 1, 1.00002)


def test_what_the_transport_metered_counts_once(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """By the response's id, or, where LangChain does not tell it, by the same counts in the same time."""
    body = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 10, "total_tokens": 1_000_010},
    }

    def call(**more: Any) -> None:
        run = uuid4()
        handler.on_chat_model_start({}, [[]], run_id=run)
        tracker.record(response=json.dumps({**body, "id": str(uuid4())} if not more else body), source="transport")
        handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message(**more))]]), run_id=run)

    call()
    call(response_metadata={"model_name": "m", "id": body["id"]})
    assert tracker.totals().calls == 2


def test_a_fault_of_ours_stays_ours(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Whatever LangChain hands over, the chain goes on."""
    handler.on_llm_end(object(), run_id=uuid4())
    handler.on_chain_start(None, None, run_id=uuid4(), metadata={"x": object()}, tags=None)
    with pytest.raises(InputError, match="did you mean"):
        FarthingCallbackHandler(tracker, featur="x")


def test_a_parent_given_to_the_model_is_an_unknown_run(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """Where the handler was added below the outermost run, the trace is what is known above."""
    run, parent = uuid4(), uuid4()
    with attribute(session="s"):
        handler.on_chat_model_start({}, [[]], run_id=run, parent_run_id=parent)
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message())]]), run_id=run)
    (event,) = events(tracker)
    assert (event.attribution.trace, event.attribution.session) == (str(parent), "s")


def test_real_models(tracker: CostTracker, handler: FarthingCallbackHandler) -> None:
    """ChatOpenAI and ChatAnthropic over a transport that answers without a network."""
    openai = pytest.importorskip("langchain_openai", reason="LANGCHAIN-OPENAI MISSING: it is not tested")
    httpx = pytest.importorskip("httpx2", reason="HTTPX2 MISSING: langchain-openai is not tested")
    body = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"} for i in range(2)
        ],
        "usage": {
            "prompt_tokens": 1500,
            "completion_tokens": 350,
            "total_tokens": 1850,
            "prompt_tokens_details": {"cached_tokens": 1200},
        },
    }
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=body))) as client:
        model = openai.ChatOpenAI(model="gpt-4o", api_key="k", http_client=client, n=2)
        model.generate([[AIMessage("x")]], callbacks=[handler])
    (event,) = events(tracker)
    assert (event.response_id, event.model, event.requested_model) == (body["id"], "gpt-4o-2024-08-06", "gpt-4o")
    assert event.usage == Usage(input_tokens=1500, output_tokens=350, cache_read_tokens=1200)
    assert event.cost == pytest.approx(300 * 2.5e-6 + 1200 * 1.25e-6 + 350 * 1e-5)
