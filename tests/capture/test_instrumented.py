"""Instrumenting a program is enough: blocks, threads and spans need no word more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from farthing import testing
from farthing.capture import process
from farthing.capture.context import agent_run, session, task
from farthing.capture.transport import instrument, uninstrument
from farthing.ledger.store import Filter
from farthing.tracker import CostTracker

requests = pytest.importorskip("requests", reason="REQUESTS MISSING: blocks around real calls are not tested")

BODY = {
    "id": "chatcmpl-",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1500, "completion_tokens": 350, "total_tokens": 1850},
}


@pytest.fixture
def tracker(web: Any) -> Iterator[CostTracker]:
    """A tracker of a process that is instrumented; `tracker.url` is a server that answers like OpenAI."""
    numbers = iter(range(1_000_000))

    def answer(asked: Any) -> Any:
        return web.Answer({**BODY, "id": f"chatcmpl-{next(numbers):020d}"})

    with testing.tracker() as made, web.serving(answer) as server:
        made.url = server.url  # type: ignore[attr-defined]
        instrument(made, hosts={server.url.removeprefix("http://"): "openai"})
        yield made
        uninstrument()


def ask(tracker: Any) -> None:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]})
    requests.post(
        f"{tracker.url}/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}, timeout=10
    ).json()


def test_blocks_around_metered_calls(tracker: CostTracker) -> None:
    """Also over threads, without a helper; and a task needs no tracker of its own."""
    with session("s") as whole, agent_run("a") as run, ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(ask, tracker) for _ in range(4)]:
            done.result()
        with task("T", "review") as job:
            ask(tracker)
    tracker.flush()
    assert (run.llm_calls, whole.llm_calls, job.llm_calls) == (5, 5, 1)
    assert whole.cost == pytest.approx(5 * 0.00725)
    assert [row.totals.calls for row in tracker.breakdown("agent", session="s", agent="a")] == [5]
    (end,) = tracker.ledger.events(Filter(equals={"operation": "task"}))
    assert end.attribution.metadata["outcome"] == "done"


def test_it_is_undone(tracker: CostTracker) -> None:
    """Afterwards the process-wide tracker is whichever it was before, unless somebody has chosen another."""
    assert process.tracker() is tracker
    instrument(tracker)
    uninstrument()
    assert process.use_tracker(None) is not tracker
    with testing.tracker() as chosen:
        instrument(tracker)
        process.use_tracker(chosen)
        uninstrument()
        assert process.use_tracker(None) is chosen


def test_spans_show_metered_calls(tracker: CostTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a program that traces itself, a metered call is on a span, in its trace."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="OPENTELEMETRY SDK MISSING: spans are not tested")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    trace = pytest.importorskip("opentelemetry.trace")
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with trace.get_tracer("app").start_as_current_span("step"):
        ask(tracker)
    tracker.flush()
    (span,) = memory.get_finished_spans()
    assert span.attributes["llm.cost_usd"] == pytest.approx(0.00725)
    (event,) = tracker.ledger.events()
    assert event.attribution.trace == f"{span.context.trace_id:032x}"
