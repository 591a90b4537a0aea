"""Blocks say who calls are for, and know their totals while they run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from farthing import scopes, testing
from farthing.capture import context, process, threads
from farthing.capture.context import agent_run, attribute, propagate, session, task
from farthing.errors import InputError
from farthing.ledger.store import Filter
from farthing.tracker import CostTracker

PRICES = {"m": (1, 2)}
"""US dollars per million tokens: a call of 1,000,000 in and 500,000 out costs 2."""


@pytest.fixture
def tracker() -> Iterator[CostTracker]:
    with testing.tracker(PRICES) as made:
        yield made


def call(tracker: CostTracker, **more: object) -> None:
    tracker.record("m", 1_000_000, 500_000, **more)  # type: ignore[arg-type]


def test_a_call_inside_is_for_whom_the_block_says(tracker: CostTracker) -> None:
    """The innermost word wins, keywords over all, and metadata is merged key by key."""
    with attribute(agent="outer", team="search", metadata={"a": 1, "b": 1}), attribute("inner", metadata={"b": 2}):
        inside = tracker.record("m", 1, 1, metadata={"c": 3})
        said = tracker.record("m", 1, 1, agent="said")
    outside = tracker.record("m", 1, 1)
    assert (inside.attribution.agent, inside.attribution.team) == ("inner", "search")
    assert dict(inside.attribution.metadata) == {"a": 1, "b": 2, "c": 3}
    assert (said.attribution.agent, said.attribution.team) == ("said", "search")
    assert outside.attribution.agent is None


def test_defaults_of_the_tracker_fill_what_the_block_leaves_open() -> None:
    """Settings say what a program is for; a block says more."""
    with testing.tracker(PRICES, attributes={"team": "default", "environment": "test"}) as tracker, attribute(team="t"):
        event = tracker.record("m", 1, 1)
    assert (event.attribution.team, event.attribution.environment) == ("t", "test")


def test_a_users_id_of_a_block_is_hashed_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is no way around the hashing of users."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    monkeypatch.setenv("FARTHING_HASH_KEY", "k")
    with testing.tracker(PRICES) as tracker, attribute(user="anna"):
        event = tracker.record("m", 1, 1)
    assert event.attribution.user == tracker.hashed_user("anna") != "anna"


def test_totals_are_live_and_count_for_every_block_around(tracker: CostTracker) -> None:
    """A run's calls are its session's too, and are known at once."""
    with session("s", user="u") as outer:
        with agent_run("researcher") as run:
            call(tracker)
            assert (run.cost, run.usd, run.llm_calls, run.total_tokens) == (2.0, Decimal(2), 1, 1_500_000)
            with agent_run("helper") as helper:
                call(tracker)
            assert (helper.llm_calls, run.llm_calls, run.agent_runs) == (1, 2, 1)
        call(tracker)
    assert (outer.llm_calls, outer.total_cost, outer.total_tokens, outer.agent_runs) == (3, 6.0, 4_500_000, 2)
    assert (outer.input_tokens, outer.output_tokens, outer.unpriced_calls) == (3_000_000, 1_500_000, 0)
    rows = tracker.breakdown("run", session="s", user="u")
    assert {row.key[0]: row.totals.calls for row in rows} == {run.id: 1, helper.id: 1, None: 1}


def test_an_unpriced_call_is_counted_and_said(tracker: CostTracker) -> None:
    """The sum of a block does not pretend to know what nobody knows."""
    with attribute("a") as scope:
        tracker.record("no-such-model-at-all", 10, 10)
    assert (scope.unpriced_calls, scope.usd, scope.llm_calls) == (1, Decimal(0), 1)


def test_one_response_seen_twice_counts_once_for_the_block(tracker: CostTracker) -> None:
    """A second observation adds nothing, and a fuller one adds the difference to the block of the first."""
    with attribute("first") as first:
        tracker.record("m", 1_000_000, 0, response_id="r" * 20, usage_status="partial")
    with attribute("second") as second:
        tracker.record("m", 1_000_000, 500_000, response_id="r" * 20)
        tracker.record("m", 1_000_000, 500_000, response_id="r" * 20)
    assert (first.usd, first.llm_calls, first.totals.partial_calls) == (Decimal(2), 1, 0)
    assert (second.usd, second.llm_calls) == (Decimal(0), 0)


def test_a_block_entered_again_goes_on_counting(tracker: CostTracker) -> None:
    """A chat server keeps the session's object and enters it for each message."""
    chat = session("chat")
    for _ in range(2):
        with chat:
            call(tracker)
    with chat, chat:
        call(tracker)
    assert chat.llm_calls == 3
    assert scopes.current() is None


def test_wrong_names_are_told_at_once() -> None:
    """A misspelt field is an error where it is written, with the nearest known name."""
    with pytest.raises(InputError, match="agent"):
        attribute(agnt="x")  # type: ignore[call-arg]
    with pytest.raises(InputError, match="must be text"):
        attribute(agent=object())  # type: ignore[arg-type]


def test_gathered_tasks_keep_apart(tracker: CostTracker) -> None:
    """Two agents that run at once in one loop each get their own calls."""

    async def agent(name: str, calls: int) -> float:
        async with agent_run(name) as run:
            for _ in range(calls):
                await asyncio.sleep(0)
                call(tracker)
        return run.cost

    async def both() -> list[float]:
        with session("s") as outer:
            costs = await asyncio.gather(agent("a", 2), agent("b", 3))
        assert (outer.llm_calls, outer.agent_runs) == (5, 2)
        return costs

    assert asyncio.run(both()) == [4.0, 6.0]
    assert tracker.by_agent() == {"b": 6.0, "a": 4.0}


def test_a_thread_belongs_to_a_block_by_propagate(tracker: CostTracker) -> None:
    """The helper carries the block over, to many calls at once; without it a thread is nobody's."""
    with ThreadPoolExecutor(4) as pool:
        with attribute("a") as scope:
            list(pool.map(propagate(lambda _: call(tracker)), range(20)))
        pool.submit(call, tracker).result()
    assert scope.llm_calls == 20
    assert tracker.by_agent() == {"a": 40.0, "unattributed": 2.0}


@pytest.fixture
def following() -> Iterator[None]:
    threads.follow_threads()
    yield
    threads.leave_threads()


@pytest.mark.usefixtures("following")
def test_threads_and_executors_inherit_while_they_are_followed(tracker: CostTracker) -> None:
    """A thread is in the block that started it, an executor's work in the block that handed it over."""
    with ThreadPoolExecutor(1) as pool:
        with attribute("first"):
            pool.submit(call, tracker).result()  # starts the pool's thread
            thread = threading.Thread(target=call, args=(tracker,))
            thread.start()
            thread.join()
        with attribute("second"):
            pool.submit(call, tracker).result()
        pool.submit(call, tracker).result()
    assert tracker.by_agent() == {"first": 4.0, "second": 2.0, "unattributed": 2.0}
    assert "run" not in vars(thread)


@pytest.mark.usefixtures("following")
def test_a_thread_class_of_ones_own_inherits_too(tracker: CostTracker) -> None:
    """What a subclass does in `run` is in the block that started it."""

    class Worker(threading.Thread):
        def run(self) -> None:
            call(tracker)

    with attribute("a") as scope:
        worker = Worker()
        worker.start()
        worker.join()
    assert scope.llm_calls == 1


def test_leaving_threads_restores_them() -> None:
    """Nothing of ours stays behind, and following twice is following once."""
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    threads.follow_threads()
    threads.follow_threads()
    assert threads.following()
    threads.leave_threads()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)
    assert not threads.following()


def test_a_finished_task_is_in_the_ledger(tracker: CostTracker) -> None:
    """What it was, how it ended and what it was worth, attributed like its calls, and no call itself."""
    with task("T-1", "review", tracker=tracker, team="t") as job:
        call(tracker)
        with attribute("inner"):
            event = job.finish("done", value_usd="40.50")
    assert (event.operation, event.calls, event.cost_pico, event.price_status) == ("task", 0, 0, "free")
    assert (event.attribution.task, event.attribution.task_type) == ("T-1", "review")
    assert (event.attribution.team, event.attribution.agent) == ("t", None)
    assert dict(event.attribution.metadata) == {"outcome": "done", "value_usd": "40.5"}
    kept = list(tracker.ledger.events(Filter(equals={"operation": "task"})))
    assert [e.id for e in kept] == [event.id]
    assert (job.llm_calls, job.id, job.type, job.outcome) == (1, "T-1", "review", "done")


def test_a_block_ends_its_task(tracker: CostTracker) -> None:
    """Left in peace it is done, left by an error it failed, left by cancelling it was cancelled."""
    with task("done", tracker=tracker):
        pass
    with pytest.raises(ZeroDivisionError), task("failed", tracker=tracker):
        _ = 1 / 0
    with pytest.raises(asyncio.CancelledError), task("cancelled", tracker=tracker):
        raise asyncio.CancelledError
    with task("goes on", tracker=tracker, ends_with_block=False) as later:
        pass
    assert later.outcome is None
    ends = tracker.ledger.events(Filter(equals={"operation": "task"}))
    assert {e.attribution.task: e.attribution.metadata["outcome"] for e in ends} == {
        name: name for name in ("done", "failed", "cancelled")
    }


def test_impossible_outcomes_are_refused(tracker: CostTracker) -> None:
    """A value that is no amount is told to whoever says it."""
    job = task(tracker=tracker)
    with pytest.raises(InputError, match="finite amount"):
        job.finish(value_usd=float("nan"))
    with pytest.raises(InputError, match="must be text"):
        job.finish("")
    assert job.finish().attribution.task == job.id


def test_a_task_without_a_tracker_is_written_by_the_process_wide_one(tracker: CostTracker) -> None:
    """What is metered without naming a tracker goes to one place."""
    before = process.use_tracker(tracker)
    try:
        with task("T", "t"):
            pass
        assert process.tracker() is tracker
    finally:
        process.use_tracker(before)
    assert [row.key for row in tracker.breakdown("task_type")] == [("t",)]


def test_a_block_that_a_generator_left_open_ends_with_the_one_around_it(tracker: CostTracker) -> None:
    """An untracked generator's own block leaks to its consumer, but not further than the block around."""

    def leaking() -> Iterator[int]:
        with attribute("leaked"):
            yield 1

    generator = leaking()
    with attribute("outer"):
        next(generator)
    assert scopes.current() is None
    generator.close()
    assert scopes.current() is None
    assert context.current().agent is None


def test_listeners_hear_of_new_events_only(tracker: CostTracker) -> None:
    """Each newly counted event once, with the block it belongs to; a listener that raises is a fault, not an error."""
    heard: list[tuple[str, object]] = []
    stop = tracker.on_event(lambda event, frame: heard.append((event.id, frame and frame.scope)))
    tracker.on_event(lambda event, frame: 1 / 0)
    with attribute("a") as scope:
        first = tracker.record("m", 1, 1, response_id="r" * 20)
    tracker.record("m", 1, 1, response_id="r" * 20)
    stop()
    call(tracker)
    assert heard == [(first.id, scope)]
    assert tracker.faults == 2
    assert tracker.lost == 0
