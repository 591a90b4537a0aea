"""A call is counted a moment after its caller went on; nobody who looks can tell."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import farthing
from farthing import CostTracker
from farthing.capture import otel, process, transport
from farthing.capture.later import LATER
from farthing.event import Event

httpx2 = pytest.importorskip("httpx2", reason="CLIENT MISSING: httpx2")

PATH = "/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


_number = itertools.count()


def _call(replay: Any, pick: Any) -> None:
    """Makes one call, whose answer has an id of its own."""
    recorded = pick("openai", "/chat/completions")
    body = {**json.loads(recorded.body), "id": f"chatcmpl-of-this-test-{next(_number):08d}"}
    replay.serve(replace(recorded, body=json.dumps(body).encode()))
    assert httpx2.post(replay.url + PATH, json=ASK).json() == body


@pytest.fixture
def held_up() -> Iterator[None]:
    """The thread that counts and writes stands still."""
    gate = threading.Event()
    LATER.do(lambda: gate.wait(30))
    yield
    gate.set()
    LATER.flush()


def test_totals_are_exact_whenever_they_are_read(replay: Any, metered: Any, pick: Any, held_up: None) -> None:
    """Of a run, its session, the tracker and the metering, though our thread has not come to the calls yet."""
    meter = metered("openai")
    with farthing.session("s") as session, farthing.agent_run("a") as run:
        for calls in (1, 2):
            _call(replay, pick)
            assert run.llm_calls == calls and session.llm_calls == calls
        assert run.cost > 0 and run.total_tokens == session.total_tokens > 0
    assert meter.tracker.total_cost == run.cost
    assert transport.status().calls == 2


def test_who_listens_hears_before_the_caller_goes_on(replay: Any, metered: Any, pick: Any, held_up: None) -> None:
    """A listener may look at what its own thread is doing: a context variable, a span."""
    meter = metered("openai")
    heard: list[tuple[Event, str]] = []
    stop = meter.tracker.on_event(lambda event, _: heard.append((event, threading.current_thread().name)))
    _call(replay, pick)
    assert [name for _, name in heard] == [threading.current_thread().name]
    stop()
    _call(replay, pick)
    assert len(heard) == 1 and meter.tracker.totals().calls == 2


def test_a_patient_listener_hears_a_moment_later(
    replay: Any, metered: Any, pick: Any, held_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says of which calls it must hear at once; of others it hears when they are counted."""
    monkeypatch.setattr(otel, "_is_traced", lambda _: False)
    meter = metered("openai")
    heard: list[Event] = []
    meter.tracker.on_event(lambda event, _: heard.append(event), at_once=lambda frame: frame is not None)
    _call(replay, pick)
    assert heard == []
    assert meter.tracker.totals().calls == 1 and len(heard) == 1
    with farthing.agent_run("a"):
        _call(replay, pick)
        assert len(heard) == 2


def test_calls_belong_to_the_tracker_of_their_time(replay: Any, pick: Any) -> None:
    """Another process-wide tracker is no heir of calls that ended before it was chosen."""
    first, second = CostTracker(":memory:"), CostTracker(":memory:")
    before = process.use_tracker(first)
    transport.instrument(hosts={replay.host: "openai"})
    try:
        _call(replay, pick)
        process.use_tracker(second)
        _call(replay, pick)
        assert (first.totals().calls, second.totals().calls) == (1, 1)
        assert [len(list(one.ledger.events())) for one in (first, second)] == [1, 1]
    finally:
        transport.uninstrument()
        process.use_tracker(before)
        first.close()
        second.close()
