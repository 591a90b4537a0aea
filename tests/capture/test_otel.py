"""In a program traced by OpenTelemetry: what calls cost is on their spans, and other tools' spans become events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="OPENTELEMETRY SDK MISSING: its spans and metrics are not tested")

from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once

from farthing import scopes, testing
from farthing.capture import foreign, otel, transport
from farthing.capture.context import agent_run, attribute, session, task
from farthing.capture.faults import FAULTS
from farthing.capture.span_processor import FarthingSpanProcessor
from farthing.ledger.store import Filter
from farthing.tracker import CostTracker

PRICES = {"m": (1, 2)}


class Traced(SimpleNamespace):
    """A traced program: `spans()` are those that ended, as {name: attributes}."""

    tracker: CostTracker
    provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self) -> dict[str, dict[str, Any]]:
        return {span.name: dict(span.attributes or {}) for span in self.exporter.get_finished_spans()}

    def finished(self, name: str) -> Any:
        return next(span for span in self.exporter.get_finished_spans() if span.name == name)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    faults = FAULTS.total
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    meters = MeterProvider([reader])
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", meters)
    with testing.tracker(PRICES) as tracker:
        yield Traced(tracker=tracker, provider=provider, exporter=exporter, reader=reader)
        assert tracker.faults == 0
    assert FAULTS.total == faults, FAULTS.counts
    meters.shutdown()


@pytest.fixture
def shown(traced: Traced) -> Iterator[Traced]:
    """And farthing shows its calls in it."""
    stop = otel.start(traced.tracker, langfuse=False)
    yield traced
    stop()


@pytest.fixture
def read(traced: Traced) -> Iterator[Traced]:
    """And farthing reads its spans."""
    processor = FarthingSpanProcessor(traced.tracker)
    traced.provider.add_span_processor(processor)
    traced.processor = processor
    yield traced
    processor.shutdown()


def tracer(name: str = "app") -> Any:
    return trace.get_tracer(name)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_current_span_carries_the_call(shown: Traced) -> None:
    """The specification's own example: a span around the call has tokens, cost and attribution."""
    with tracer().start_as_current_span("llm_call"), attribute("researcher", feature="analysis", user="u", org="o"):
        event = shown.tracker.record("m", 1500, 350, provider="mistral", response_id="r1")
    said = shown.spans()["llm_call"]
    assert said["llm.tokens.input"] == said["gen_ai.usage.input_tokens"] == 1500
    assert said["llm.tokens.output"] == said["gen_ai.usage.output_tokens"] == 350
    assert said["llm.tokens.total"] == 1850
    assert said["llm.cost_usd"] == event.cost == 0.0022
    assert (said["cost.feature"], said["cost.agent"], said["cost.org_id"]) == ("analysis", "researcher", "o")
    assert said["cost.user_id"] == shown.tracker.hashed_user("u")
    assert (said["gen_ai.provider.name"], said["gen_ai.response.id"]) == ("mistral_ai", "r1")
    assert said["gen_ai.response.model"] == said["gen_ai.request.model"] == "m"
    assert said["farthing.event_id"] == event.id
    assert event.attribution.trace == f"{shown.finished('llm_call').context.trace_id:032x}"


def test_a_second_call_gets_a_span_of_its_own(shown: Traced) -> None:
    """Two calls on one span would overwrite each other."""
    with tracer().start_as_current_span("step"):
        shown.tracker.record("m", 1, 1)
        shown.tracker.record("m", 2, 2)
    own = shown.finished("chat m")
    assert own.attributes["llm.tokens.input"] == 2
    assert own.parent.span_id == shown.finished("step").context.span_id
    assert own.kind is SpanKind.CLIENT


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.CONSUMER])
def test_a_servers_span_is_no_calls_span(shown: Traced, kind: SpanKind) -> None:
    """A request that a server answers may make many calls."""
    with tracer().start_as_current_span("POST /chat", kind=kind):
        shown.tracker.record("m", 1, 1)
    assert shown.spans()["POST /chat"] == {}
    assert shown.spans()["chat m"]["llm.tokens.total"] == 2


def test_another_instrumentations_span_keeps_its_words_and_gets_the_cost(shown: Traced) -> None:
    """What it said stays; what the call cost is added."""
    with tracer().start_as_current_span("chat x") as span:
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "alias"})
        shown.tracker.record("m", 1_000_000, 0)
    said = shown.spans()["chat x"]
    assert (said["gen_ai.request.model"], said["llm.cost_usd"]) == ("alias", 1.0)
    assert list(shown.spans()) == ["chat x"]


def test_usage_is_not_said_twice_where_the_calls_span_has_ended(shown: Traced) -> None:
    """A stream that ends after its span: the cost gets a span of its own, the usage is not added up again."""
    with tracer().start_as_current_span("chat x", attributes={"gen_ai.operation.name": "chat"}):
        frame = scopes.here()
    with scopes.within(frame):
        call = shown.tracker.record("m", 1_000_000, 0)
    said = shown.spans()["chat m"]
    assert (said["llm.cost_usd"], said["farthing.event_id"]) == (1.0, call.id)
    assert not any(name.startswith("gen_ai.usage") for name in said)


def test_without_a_span_a_call_has_its_own(shown: Traced) -> None:
    """With the time it was dispatched."""
    event = shown.tracker.record("m", 1, 1)
    span = shown.finished("chat m")
    assert (span.start_time, span.parent) == (event.at_us * 1000, None)


@pytest.mark.parametrize(
    ("error", "kind"), [("503 try later", "503"), ("ReadTimeout: no answer", "ReadTimeout"), ("overloaded", "_OTHER")]
)
def test_a_failed_call_names_its_kind_of_error(error: str, kind: str, shown: Traced) -> None:
    """By the status or the exception; no usage and no model that answered are made up."""
    shown.tracker.record("m", error=error)
    said = shown.spans()["chat m"]
    assert said["error.type"] == kind
    assert said.keys().isdisjoint({"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.model"})


def test_an_unknown_cost_is_no_zero(shown: Traced) -> None:
    """It is left out, and its state is said."""
    shown.tracker.record("no-such-model-anywhere", 1, 1)
    said = shown.spans()["chat no-such-model-anywhere"]
    assert "llm.cost_usd" not in said
    assert said["llm.cost_status"] == "unpriced"


def test_what_caches_saved(shown: Traced) -> None:
    """A prompt cache saves the difference to the full price, a cache of one's own all of it."""
    shown.tracker.record("gpt-4o", 1500, 0, cached_tokens=1200)
    shown.tracker.record("m", 1_000_000, 0, cache_hit=True)
    prompt, own = shown.spans()["chat gpt-4o"], shown.spans()["chat m"]
    assert (prompt["llm.cache.hit"], prompt["llm.cache.tokens_saved"]) == (True, 1200)
    assert prompt["llm.cache.cost_saved_usd"] == pytest.approx(1200 * 1.25e-6)
    assert (own["llm.cache.tokens_saved"], own["llm.cache.cost_saved_usd"], own["llm.cost_usd"]) == (1_000_000, 1.0, 0)


def test_signals_are_shown(traced: Traced) -> None:
    """`prompt.*` and `model.*`, from metadata and from whoever works them out."""
    stop = otel.start(traced.tracker, signals=lambda event: {"model.recommendation": "could_downgrade"})
    with attribute(metadata={"prompt.compression_ratio": 0.7, "ticket": "T"}):
        traced.tracker.record("m", 1, 1)
    stop()
    said = traced.spans()["chat m"]
    assert (said["prompt.compression_ratio"], said["model.recommendation"]) == (0.7, "could_downgrade")
    assert "ticket" not in said
    traced.tracker.record("m", 1, 1)
    assert len(traced.exporter.get_finished_spans()) == 1


def test_runs_and_sessions_show_their_totals(shown: Traced) -> None:
    """On the program's own span where there is one, else on spans that are made; calls lie under them."""
    with session("s"), agent_run("planner"), task("T", "review", tracker=shown.tracker):
        for _ in range(2):
            shown.tracker.record("m", 1_000_000, 0)
        with agent_run("helper"):
            shown.tracker.record("m", 0, 1_000_000)
    said = shown.spans()
    planner, helper = said["invoke_agent planner"], said["invoke_agent helper"]
    assert (planner["agent.total_tokens"], planner["agent.total_cost_usd"]) == (3_000_000, 4.0)
    assert (planner["agent.llm_calls"], helper["agent.llm_calls"]) == (3, 1)
    assert (said["session"]["session.total_tokens"], said["session"]["session.total_cost_usd"]) == (3_000_000, 4.0)
    assert (said["session"]["session.agent_runs"], said["session"]["session.id"]) == (2, "s")
    assert said["task"]["task.total_cost_usd"] == 4.0

    def parent_of(name: str) -> Any:
        span = shown.finished(name)
        return next(
            (s.name for s in shown.exporter.get_finished_spans() if s.context.span_id == span.parent.span_id), 0
        )

    assert parent_of("chat m") == "task"
    assert parent_of("task") == "invoke_agent planner"
    assert parent_of("invoke_agent helper") == "task"


def test_a_programs_own_span_is_the_runs(shown: Traced) -> None:
    """Its calls then lie under it, each on a span of its own; a run inside it has its own span."""
    with tracer().start_as_current_span("my agent"), session("s"), agent_run("outer"):
        shown.tracker.record("m", 1_000_000, 0)
        with agent_run("inner"):
            shown.tracker.record("m", 1_000_000, 0)
    said = shown.spans()["my agent"]
    assert (said["agent.total_cost_usd"], said["session.total_cost_usd"], said["gen_ai.agent.name"]) == (2, 2, "outer")
    assert "llm.cost_usd" not in said
    assert shown.spans()["invoke_agent inner"]["agent.total_cost_usd"] == 1.0
    calls = [span for span in shown.exporter.get_finished_spans() if span.name == "chat m"]
    mine, inner = shown.finished("my agent").context.span_id, shown.finished("invoke_agent inner").context.span_id
    assert [span.parent.span_id for span in calls] == [mine, inner]


def test_an_error_that_ends_a_run_is_on_its_span(shown: Traced) -> None:
    """And reaches the program all the same."""
    with pytest.raises(KeyError), agent_run("a"):
        raise KeyError("k")
    assert [event.name for event in shown.finished("invoke_agent a").events] == ["exception"]


def test_metrics(shown: Traced) -> None:
    """Tokens by type in the conventions' buckets, and a counter of cost."""
    with attribute("a"):
        shown.tracker.record("m", 1_000_000, 10, provider="openai")
    data = shown.reader.get_metrics_data()
    found = {
        m.name: list(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
    }
    tokens = {p.attributes["gen_ai.token.type"]: p for p in found["gen_ai.client.token.usage"]}
    assert (tokens["input"].sum, tokens["output"].sum) == (1_000_000, 10)
    assert tokens["input"].explicit_bounds[:3] == (1, 4, 16)
    assert tokens["input"].explicit_bounds[-1] == 67_108_864
    assert tokens["input"].attributes["gen_ai.provider.name"] == "openai"
    (cost,) = found["farthing.client.cost"]
    assert (cost.value, cost.attributes["cost.agent"]) == (pytest.approx(1.00002), "a")


def test_langfuse_gets_exclusive_buckets_on_spans(traced: Traced) -> None:
    """The attributes by which Langfuse takes costs as they are."""
    stop = otel.start(traced.tracker, langfuse=True)
    traced.tracker.record("gpt-4o", 1500, 350, cached_tokens=1200)
    stop()
    said = traced.spans()["chat gpt-4o"]
    usage = json.loads(said["langfuse.observation.usage_details"])
    assert usage == {"input": 300, "input_cached_tokens": 1200, "output": 350, "total": 1850}
    assert json.loads(said["langfuse.observation.cost_details"])["total"] == said["llm.cost_usd"]


# --- what is read ----------------------------------------------------------------------------------------------------


def generation(**more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 1_000_000,
        "gen_ai.usage.output_tokens": 0,
        **more,
    }


def test_a_foreign_span_becomes_an_event(read: Traced) -> None:
    """With its time, its trace, and who it is for: the span's own words over the block's."""
    with attribute(agent="block", session="block"), tracer("lib").start_as_current_span("chat m") as span:
        span.set_attributes(generation(**{"session.id": "span", "user.id": "u"}))
    (event,) = read.tracker.ledger.events()
    ended = read.finished("chat m")
    assert (event.cost, event.source, event.at_us) == (1.0, "otel:lib", ended.start_time // 1000)
    who = event.attribution
    assert (who.agent, who.session, who.user) == ("block", "span", "u")
    assert who.trace == f"{ended.context.trace_id:032x}"


def test_the_spans_around_a_call_say_whom_it_is_for(read: Traced) -> None:
    """An agent's span names the agent, and its calls' do not: what they and the blocks leave open it fills in."""
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "gen_ai.conversation.id": "c"}
    root = tracer().start_as_current_span("root", attributes={"user.id": "root"})
    with attribute(user="block"), root as outer, tracer().start_as_current_span("agent", attributes=agent):
        tracer().start_span("call", attributes=generation(**{"session.id": "own"})).end()
        with attribute(agent="inner"), tracer().start_as_current_span("call", attributes=generation()):
            outer.set_attribute("langfuse.trace.name", "nightly")
    first, second = (event.attribution for event in read.tracker.ledger.events())
    assert (first.agent, first.session, first.user, first.name) == ("planner", "own", "block", None)
    assert (second.agent, second.session, second.user, second.name) == ("inner", "c", "block", "nightly")


def test_parents_that_repeat_their_children_do_not_count(read: Traced) -> None:
    """An agent, a workflow and an outer call around two calls: two events, and the agent's session is one sum."""
    agent = generation(**{"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 2_000_000})
    with agent_run("a") as run, tracer().start_as_current_span("agent", attributes=agent):
        outer = tracer().start_as_current_span("outer call", attributes=generation())
        with outer, tracer().start_as_current_span("call 1", attributes=generation()):
            pass
        with tracer().start_as_current_span("call 2", attributes=generation()):
            pass
    assert (run.llm_calls, run.cost) == (2, 2.0)
    assert read.processor.counted == 2


def test_a_parent_alone_in_having_usage_counts(read: Traced) -> None:
    """Where nothing under an agent's span says what it used, the agent's own word stands, when its trace ends."""
    agent = generation(**{"gen_ai.operation.name": "invoke_agent"})
    with tracer().start_as_current_span("root"):
        with tracer().start_as_current_span("agent", attributes=agent), tracer().start_as_current_span("tool"):
            pass
        assert read.processor.counted == 0
    assert (read.processor.counted, read.tracker.total_cost) == (1, 1.0)


def test_a_child_that_ends_after_its_parent_still_silences_it(read: Traced) -> None:
    """A stream may outlive the span of the agent that began it."""
    agent = generation(**{"gen_ai.operation.name": "invoke_agent"})
    with tracer().start_as_current_span("root"):
        with tracer().start_as_current_span("agent", attributes=agent):
            late = tracer().start_span("late call", attributes=generation())
        late.end()
    assert (read.processor.counted, read.tracker.total_cost) == (1, 1.0)


def test_one_response_told_by_span_and_transport_counts_once(read: Traced) -> None:
    """By the response's id, whatever provider each names; in either order."""
    said = generation(**{"gen_ai.response.id": "chatcmpl-0123456789abcdef"})
    with tracer().start_as_current_span("call", attributes=said):
        pass
    read.tracker.record("m", 1_000_000, 0, provider="azure", response_id="chatcmpl-0123456789abcdef")
    assert (read.tracker.totals().calls, read.tracker.total_cost) == (1, 1.0)


def test_a_call_metered_inside_its_span_counts_once_without_an_id(read: Traced) -> None:
    """The transport knows the span it was dispatched in."""
    said = {name: value for name, value in generation().items() if "usage" not in name}
    agent = generation(**{"gen_ai.operation.name": "invoke_agent"})
    around = tracer().start_as_current_span("agent", attributes=agent)
    with around, tracer().start_as_current_span("call", attributes=said):
        read.tracker.record("m", 1_000_000, 0)
    assert (read.tracker.totals().calls, read.tracker.total_cost) == (1, 1.0)


def test_a_call_metered_beside_its_span_is_known_by_its_counts(read: Traced) -> None:
    """An instrumentation whose span is never the current one: the same counts in the same time are the same call."""
    span = tracer().start_span("call", attributes=generation())
    read.tracker.record("m", 1_000_000, 0)
    span.end()
    other = tracer().start_span("another call", attributes=generation())
    other.end()
    assert read.tracker.totals().calls == 2


def test_a_span_that_ends_before_its_call_is_metered_counts_once(read: Traced) -> None:
    """A client may close a stream after the span around it has ended: the counts and the time tell the call."""
    span = tracer().start_span("call", attributes=generation())
    before, at = scopes.switch(scopes.here()), datetime.now(UTC)
    span.end()
    assert read.processor.counted == 0
    read.tracker.record("m", 1_000_000, 0, at=at, source="transport", response_id="chatcmpl-0123456789abcdef")
    scopes.switch(before)
    read.processor.force_flush()
    assert (read.processor.counted, read.tracker.totals().calls, read.tracker.total_cost) == (0, 1, 1.0)


@pytest.mark.parametrize("telling", [True, False])
def test_a_call_that_was_dispatched_in_a_span_is_that_spans_whatever_it_counts(read: Traced, telling: bool) -> None:
    """An estimate of the transport's, told after the span and the trace have ended; the span may tell no counts."""
    said = {name: value for name, value in generation().items() if telling or "usage" not in name}
    with tracer().start_as_current_span("call", attributes=said), tracer().start_as_current_span("POST"):
        before, at = scopes.switch(scopes.here()), datetime.now(UTC)
    read.tracker.record("m", 999_000, 0, at=at, source="transport")
    scopes.switch(before)
    read.processor.force_flush()
    assert (read.processor.counted, read.tracker.totals().calls) == (0, 1)


def test_a_span_that_no_metered_call_follows_is_counted_after_a_moment(
    read: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a thread of ours, at the latest at the end; and where nothing has gone out, at once."""
    tracer().start_span("call", attributes=generation()).end()
    assert read.processor.counted == 1
    counted = threading.Event()
    monkeypatch.setattr(foreign, "PATIENCE_S", 0.0)
    read.tracker.on_event(lambda *_: counted.set())
    span = tracer().start_span("call", attributes=generation())
    scopes.here()
    span.end()
    assert counted.wait(10)
    assert read.tracker.totals().calls == 2


def test_a_call_that_failed_is_an_attempt(read: Traced) -> None:
    """It cost nothing, and is counted as an error."""
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    with pytest.raises(OSError), tracer().start_as_current_span("call", attributes=said):
        raise OSError("unreachable")
    totals = read.tracker.totals()
    assert (totals.calls, totals.unbilled_attempts, totals.errors, totals.cost) == (0, 1, 1, 0.0)


def test_a_call_whose_usage_nobody_tells_is_unpriced(read: Traced) -> None:
    """It is counted and said, never zero."""
    with tracer().start_as_current_span("call", attributes={"gen_ai.operation.name": "chat", "llm.model_name": "m"}):
        pass
    totals = read.tracker.totals()
    assert (totals.calls, totals.unpriced_calls) == (1, 1)


def test_a_streams_two_spans_of_logfire_are_one_call(read: Traced) -> None:
    """The first has the request, the second the answer, in a trace of its own; of a failed one there is no second."""
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "request_data": '{"model":"m"}'}
    with tracer("logfire.openai").start_as_current_span("Chat Completion with 'm'", attributes=asked):
        pass
    assert list(read.tracker.ledger.events()) == []
    told = {**asked, **generation(), "gen_ai.response.id": "c-1", "gen_ai.output.messages": "[]"}
    tracer("logfire.openai").start_span("streaming response from 'm'", attributes=told).end()
    with pytest.raises(OSError), tracer("logfire.openai").start_as_current_span("Chat Completion", attributes=asked):
        raise OSError("unreachable")
    made = {**asked, "response_data": '{"images":[]}'}
    tracer("logfire.openai").start_span("Image Generation with 'm'", attributes=made).end()
    tracer("logfire").start_span("begun", attributes={**told, "logfire.span_type": "pending_span"}).end()
    totals = read.tracker.totals()
    assert (totals.calls, totals.cost, totals.unbilled_attempts, totals.unpriced_calls) == (2, 1.0, 1, 1)


def test_our_price_goes_before_another_tools_estimate(read: Traced) -> None:
    """Where we have none, theirs stands, marked as reported."""
    with tracer().start_as_current_span("a", attributes=generation(**{"operation.cost": 0.5})):
        pass
    unknown = generation(**{"gen_ai.response.model": "nobody-knows-it", "gen_ai.usage.cost": 0.25})
    with tracer().start_as_current_span("b", attributes=unknown):
        pass
    found = {event.model: (event.cost, event.price_status) for event in read.tracker.ledger.events()}
    assert found == {"m": (1.0, "priced"), "nobody-knows-it": (0.25, "reported")}


def test_what_we_show_is_not_read_back(read: Traced) -> None:
    """Showing and reading at once: each call is one event and on one span."""
    stop = otel.start(read.tracker)
    with agent_run("a") as run, tracer().start_as_current_span("step"):
        read.tracker.record("m", 1_000_000, 0)
        read.tracker.record("m", 1_000_000, 0)
    with tracer("lib").start_as_current_span("foreign", attributes=generation()):
        pass
    stop()
    assert (run.llm_calls, read.tracker.totals().calls) == (2, 3)
    assert len(list(read.tracker.ledger.events(Filter(equals={"operation": "chat"})))) == 3


def test_a_fault_of_ours_stays_ours(read: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a span may fail; the program's span ends as ever."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("ours")

    before = FAULTS.total
    monkeypatch.setattr("farthing.capture.span_processor.read_span", fails)
    with tracer().start_as_current_span("call", attributes=generation()):
        pass
    assert "call" in read.spans()
    assert FAULTS.total == before + 1
    FAULTS.counts["reading a span"] -= 1


def test_waiting_spans_are_counted_at_shutdown(traced: Traced) -> None:
    """A trace that never ends loses nothing that was told."""
    processor = FarthingSpanProcessor(traced.tracker)
    traced.provider.add_span_processor(processor)
    root = tracer().start_span("root")
    with trace.use_span(root):
        agent = tracer().start_span("agent", attributes=generation(**{"gen_ai.operation.name": "invoke_agent"}))
        agent.end()
    processor.shutdown()
    assert traced.tracker.total_cost == 1.0
    root.end()
    assert traced.tracker.total_cost == 1.0


def test_many_traces_are_bounded(read: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never ends its spans does not fill memory, and what waited in them is counted."""
    monkeypatch.setattr("farthing.capture.span_processor.MAX_TRACES", 2)
    keep: list[Any] = []
    for _ in range(4):
        keep.append(root := tracer().start_span("root"))
        with trace.use_span(root):
            tracer().start_span("agent", attributes=generation(**{"gen_ai.operation.name": "invoke_agent"})).end()
    assert len(read.processor._traces) == 2
    assert read.tracker.totals().calls == 2


# --- real instrumentations -------------------------------------------------------------------------------------------

BODY = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1500,
        "completion_tokens": 350,
        "total_tokens": 1850,
        "prompt_tokens_details": {"cached_tokens": 1200},
    },
}


def _ask_openai() -> None:
    openai = pytest.importorskip("openai", reason="OPENAI SDK MISSING: real instrumentations are not tested")
    transport = _transport(openai)
    client = openai.OpenAI(api_key="k", http_client=transport)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    client.close()


def _transport(openai: Any) -> Any:
    """A client of the library that this SDK stands on, which answers without a network."""
    library = __import__(openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])
    return library.Client(transport=library.MockTransport(lambda request: library.Response(200, json=BODY)))


def _openllmetry() -> Any:
    module = pytest.importorskip(
        "opentelemetry.instrumentation.openai", reason="OPENLLMETRY MISSING: its spans are not tested"
    )
    return module.OpenAIInstrumentor()


def _openinference() -> Any:
    module = pytest.importorskip(
        "openinference.instrumentation.openai", reason="OPENINFERENCE MISSING: its spans are not tested"
    )
    return module.OpenAIInstrumentor()


@pytest.mark.parametrize("instrumentor", [_openllmetry, _openinference])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_real_instrumentations_are_read(read: Traced, instrumentor: Callable[[], Any]) -> None:
    """A call through the OpenAI SDK, told by a real instrumentation, is one event with the response's counts."""
    instrumentation = instrumentor()
    instrumentation.instrument(tracer_provider=read.provider)
    try:
        _ask_openai()
    finally:
        instrumentation.uninstrument()
    (event,) = read.tracker.ledger.events()
    assert (event.usage.input_tokens, event.usage.output_tokens) == (1500, 350)
    assert event.usage.cache_read_tokens == 1200
    assert (event.model, event.provider) == ("gpt-4o-2024-08-06", "openai")
    assert event.cost == pytest.approx(300 * 2.5e-6 + 1200 * 1.25e-6 + 350 * 1e-5)
    assert event.response_id == BODY["id"]


ANTHROPIC = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 300,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 350,
    },
}


def _ask_anthropic() -> None:
    anthropic = pytest.importorskip("anthropic", reason="ANTHROPIC SDK MISSING: its own spans are not tested")
    library = __import__(anthropic.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])
    transport = library.MockTransport(lambda request: library.Response(200, json=ANTHROPIC))
    with anthropic.Anthropic(api_key="k", http_client=library.Client(transport=transport)) as client:
        client.messages.create(
            model="claude-sonnet-4-5-20250929", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
        )


@pytest.mark.parametrize("metered", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_anthropics_own_spans_are_read_once(read: Traced, metered: bool) -> None:
    """Its SDK traces itself; with our transport on, the same response is one event all the same."""
    if metered:
        transport.instrument(read.tracker)
    try:
        with agent_run("a") as run:
            _ask_anthropic()
    finally:
        transport.uninstrument()
    if not any(span.name.startswith("anthropic") or "chat" in span.name for span in read.exporter.get_finished_spans()):
        pytest.skip("THIS ANTHROPIC SDK MAKES NO SPANS: reading them is not tested")
    (event,) = read.tracker.ledger.events()
    assert (run.llm_calls, run.cost) == (1, event.cost)
    usage = event.usage
    assert (usage.input_tokens, usage.cache_read_tokens, usage.get("cache_write_5m_tokens")) == (1500, 1000, 200)
    assert event.cost == pytest.approx((300 * 3 + 1000 * 0.3 + 200 * 3.75 + 350 * 15) / 1e6)
    assert event.source == ("transport" if metered else "otel:com.anthropic.sdk.python")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_pydantic_ais_agents_are_read_once(read: Traced) -> None:
    """Its agent's span adds up the calls inside, which are the ones that count."""
    pydantic_ai = pytest.importorskip("pydantic_ai", reason="PYDANTIC-AI MISSING: its spans are not tested")
    models = pytest.importorskip("pydantic_ai.models.test")
    instrumented = pytest.importorskip("pydantic_ai.models.instrumented")
    settings = instrumented.InstrumentationSettings(tracer_provider=read.provider)
    model = instrumented.InstrumentedModel(models.TestModel(custom_output_text="Hi."), settings)
    agent = pydantic_ai.Agent(model, name="helper")
    result = asyncio.run(agent.run("Hello, who are you?"))
    told = result.usage() if callable(result.usage) else result.usage
    totals = read.tracker.totals()
    assert totals.calls == 1
    assert (totals.input_tokens, totals.output_tokens) == (told.input_tokens, told.output_tokens)
