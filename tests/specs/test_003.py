"""Specification 003, monitoring: its prices, a log line for every call, the report."""

from __future__ import annotations

import logging
import threading

import pytest

from farthing import testing
from farthing.classic import PRICING, BudgetExceededError, Langfuse, UsageTracker, with_budget


def test_its_prices() -> None:
    """US dollars a token of gpt-4; gpt-3.5-turbo's list price has fallen since, and the list price wins."""
    assert PRICING["gpt-4"] == {"input": 0.00003, "output": 0.00006}
    assert PRICING["gpt-3.5-turbo"] == {"input": 0.0000005, "output": 0.0000015}


def test_a_structured_log_line_for_every_call(caplog: pytest.LogCaptureFixture) -> None:
    """Message and fields as in the sample: model, tokens, estimated cost; and who the call was for."""
    with testing.tracker() as tracker, caplog.at_level(logging.INFO, logger="farthing.calls"):
        tracker.record("gpt-4", 400, 123, "explainer", user="u1", name="job", metadata={"ticket": "ABC-1"})
    (record,) = [r for r in caplog.records if r.name == "farthing.calls"]
    assert (record.levelname, record.getMessage()) == ("INFO", "LLM API call")
    line = vars(record)
    assert line["model"] == "gpt-4"
    assert (line["prompt_tokens"], line["completion_tokens"], line["total_tokens"]) == (400, 123, 523)
    assert line["estimated_cost"] == pytest.approx(400 * 0.03 / 1000 + 123 * 0.06 / 1000, abs=1e-12)
    assert (line["agent"], line["user"], line["call_name"]) == ("explainer", "u1", "job")
    assert line["metadata"] == {"ticket": "ABC-1"}


def test_what_only_frames_calls_is_no_call_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A trace that is opened writes no line; its generation, and an attempt that nobody bills, do."""
    with testing.tracker() as tracker, caplog.at_level(logging.INFO, logger="farthing.calls"):
        Langfuse(tracker).trace(name="job").generation(model="gpt-4", usage={"input": 400, "output": 123})
        tracker.record("gpt-4o", error="rate limited")
    assert [vars(r)["model"] for r in caplog.records if r.name == "farthing.calls"] == ["gpt-4", "gpt-4o"]


def test_log_lines_can_be_switched_off(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """FARTHING_LOG_CALLS=0: no line."""
    monkeypatch.setenv("FARTHING_LOG_CALLS", "0")
    with testing.tracker() as tracker, caplog.at_level(logging.INFO, logger="farthing.calls"):
        tracker.record("gpt-4", 400, 123)
    assert not [r for r in caplog.records if r.name == "farthing.calls"]


def test_the_usage_tracker_and_its_report() -> None:
    """The sample's output: {'total_tokens': 523, 'total_cost_usd': 0.0234, 'calls_by_model': {'gpt-4': 1}}."""
    tracker = UsageTracker(testing.tracker())
    tracker.record(model="gpt-4", tokens=523, cost=0.0234)
    assert tracker.report() == {"total_tokens": 523, "total_cost_usd": 0.0234, "calls_by_model": {"gpt-4": 1}}
    assert (tracker.total_tokens, tracker.total_cost, tracker.calls_by_model) == (523, 0.0234, {"gpt-4": 1})


def test_costs_add_up_without_float_drift() -> None:
    """A thousand times a tenth of a cent is a dollar; floats would say 0.0999...; the report rounds to four places."""
    tracker = UsageTracker(testing.tracker())
    for _ in range(1000):
        tracker.record("gpt-3.5-turbo", 10, 0.001)
    assert tracker.total_cost == 1.0
    tracker.record("gpt-3.5-turbo", 1, 0.00006)
    assert tracker.report()["total_cost_usd"] == 1.0001


def test_the_report_of_the_cost_tracker() -> None:
    """The same report of priced calls: the catalog calculates what the sample calculates by hand."""
    with testing.tracker() as tracker:
        tracker.record("gpt-4", 400, 123)
        tracker.record("gpt-4", 100, 0)
        tracker.record("gpt-4o-mini", 1_000_000, 0)
        assert tracker.report() == {
            "total_tokens": 1_000_623,
            "total_cost_usd": round(0.012 + 0.00738 + 0.003 + 0.15, 4),
            "calls_by_model": {"gpt-4o-mini": 1, "gpt-4": 2},
        }


def test_an_api_response_is_enough() -> None:
    """`response.usage` need not be read by hand: the provider's own object or body is."""
    body = {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "model": "gpt-4",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Because."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 123, "total_tokens": 523},
    }

    class Completion:
        """An SDK's response object."""

        def model_dump(self) -> dict[str, object]:
            return body

    with testing.tracker() as tracker:
        event = tracker.record("gpt-4", response=Completion(), agent="explainer", provider="openai")
        assert event.cost == pytest.approx(0.01938, abs=1e-12)
        assert tracker.report()["calls_by_model"] == {"gpt-4": 1}


def test_usage_by_user_feature_and_endpoint() -> None:
    """The rule to aggregate by user, feature or endpoint."""
    with testing.tracker({"m": (1, 1)}) as tracker:
        tracker.record("m", 1_000_000, 0, user="u1", feature="search", endpoint="/v1/ask")
        tracker.record("m", 2_000_000, 0, user="u2", feature="search", endpoint="/v1/sum")
        for by, wanted in (
            ("user", {"u1": 1.0, "u2": 2.0}),
            ("feature", {"search": 3.0}),
            ("endpoint", {"/v1/ask": 1.0, "/v1/sum": 2.0}),
        ):
            assert {row.key[0]: row.totals.cost for row in tracker.breakdown(by)} == wanted


def test_threads_share_a_tracker() -> None:
    """Eight threads, one tracker: the sums are exact."""
    tracker = UsageTracker(testing.tracker())

    def work() -> None:
        for _ in range(50):
            tracker.record("gpt-4", 7, 0.0001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.report() == {"total_tokens": 2800, "total_cost_usd": 0.04, "calls_by_model": {"gpt-4": 400}}


def test_with_budget() -> None:
    """The sample's decorator: once the limit is reached, the function is not run.

    (The sample's compares with the sum of everything in the process, looks only before the call, so that the last one
    may cost any amount, and does not wait for coroutines. Here the function's own calls count, and one that is
    instrumented or reserved must fit before it leaves.)
    """
    tracker = testing.tracker({"gpt-4": (30, 60)})
    done = []

    @with_budget(max_cost_usd=10.0)
    def expensive_operation(prompt: str) -> str:
        """Operation with budget protection."""
        tracker.record("gpt-4", 100_000, 50_000)
        done.append(prompt)
        return prompt.upper()

    tracker.record("gpt-4", 10_000_000, 0)
    assert expensive_operation("a") == "A" and expensive_operation("b") == "B"
    assert expensive_operation.__doc__ == "Operation with budget protection."
    with pytest.raises(BudgetExceededError, match=r"\$10\.00"):
        expensive_operation("c")
    assert done == ["a", "b"]


def test_a_call_that_would_go_over_is_not_made() -> None:
    """Inside the decorated function a call that asks first must fit what is left."""
    tracker = testing.tracker({"gpt-4": (30, 60)})

    @with_budget(max_cost_usd=1)
    def operation(max_tokens: int) -> None:
        with tracker.guard.reserve("gpt-4", input_tokens=1000, max_tokens=max_tokens, strict=True) as hold:
            hold.dispatch()
            tracker.record("gpt-4", 1000, 1000, reservation=hold)

    operation(10_000)
    with pytest.raises(BudgetExceededError):
        operation(100_000)
    operation(10_000)
    assert tracker.totals().calls == 2
