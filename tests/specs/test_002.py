"""Specification 002, token budgets: the counter, the economics table, cost by every dimension."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

import farthing
from farthing import testing
from farthing.classic import TokenCounter, TokenUsage


@pytest.fixture
def counter() -> TokenCounter:
    """A counter whose ledger is in memory."""
    return TokenCounter(testing.tracker())


def test_token_usage_adds_up() -> None:
    """TokenUsage() is nothing; `+` adds each field."""
    assert TokenUsage() == TokenUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    assert TokenUsage(10, 5, 15) + TokenUsage(1, 2, 3) == TokenUsage(11, 7, 18)


def test_a_task_accumulates(counter: TokenCounter) -> None:
    """Two records of one task add up. (The sample's code overwrites the first; its text says that it tracks usage.)"""
    counter.record("researcher", "t1", 1000, 200)
    counter.record("researcher", "t1", 500, 100)
    counter.record("researcher", "t2", 10, 1)
    assert counter.usage["researcher"]["t1"] == TokenUsage(1500, 300, 1800)
    assert counter.agent_total("researcher") == TokenUsage(1510, 301, 1811)
    assert counter.agent_total("nobody") == TokenUsage()


def test_the_cost_of_a_task_at_given_rates(counter: TokenCounter) -> None:
    """Rates are US dollars per million tokens; an unknown task costs 0.0."""
    counter.record("researcher", "t1", 1000, 500)
    assert counter.task_cost("researcher", "t1", 2.50, 10.00) == pytest.approx(0.0075, abs=1e-15)
    assert counter.task_cost("researcher", "none", 2.50, 10.00) == 0.0
    assert counter.task_cost("nobody", "t1", 2.50, 10.00) == 0.0


def test_top_agents_answers(counter: TokenCounter) -> None:
    """The greatest first, n of them. (The sample's code takes its lock twice and never returns.)"""
    for agent, tokens in (("a", 10), ("b", 30), ("c", 20)):
        counter.record(agent, "t", tokens, 0)
    assert [name for name, _ in counter.top_agents()] == ["b", "c", "a"]
    assert counter.top_agents(1) == [("b", TokenUsage(30, 0, 30))]


def test_the_counter_is_safe_under_threads(counter: TokenCounter) -> None:
    """Eight threads on one task: nothing is lost, neither in the counter nor in the ledger."""

    def work() -> None:
        for _ in range(50):
            counter.record("a", "t", 3, 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.agent_total("a") == TokenUsage(1200, 400, 1600)
    assert counter.tracker.totals(agent="a", task="t").total_tokens == 1600


def test_a_counter_without_models_says_that_it_knows_no_cost(counter: TokenCounter) -> None:
    """Tokens without a model are in the ledger, unpriced: never $0; with a model they have their cost."""
    counter.record("a", "t", 1000, 500)
    assert counter.tracker.unpriced_calls == 1
    counter.record("a", "t2", 1000, 500, model="gpt-4o")
    assert counter.tracker.task_cost("a", "t2") == 0.0075


def test_the_tracker_has_the_same_answers() -> None:
    """agent_total, task_cost and top_agents of CostTracker, priced by the catalog or at given rates."""
    with testing.tracker() as tracker:
        tracker.record("gpt-4o", 1000, 500, "a", task="t1")
        tracker.record("gpt-4o", 1000, 500, "a", task="t1")
        tracker.record("gpt-4o-mini", 5000, 500, "b", task="t1")
        assert tracker.agent_total("a") == TokenUsage(2000, 1000, 3000)
        assert tracker.task_cost("a", "t1") == 0.015
        assert tracker.task_cost("a", "t1", 3.00, 15.00) == pytest.approx(0.021, abs=1e-15)
        assert tracker.task_cost("a", "none") == 0.0
        assert [name for name, _ in tracker.top_agents(2)] == ["b", "a"]


# (model, input and output rate, the table's figure for 100,000 tasks of 4,000 tokens on average)
ECONOMICS = [
    ("gpt-4o", "2.50", "10.00", 1250),
    ("claude-3-5-sonnet", "3.00", "15.00", 1800),
    ("gpt-4o-mini", "0.15", "0.60", 75),
    ("claude-3-haiku", "0.25", "1.25", 150),
]


@pytest.mark.parametrize(("model", "into", "out", "about"), ECONOMICS)
def test_the_economics_table(model: str, into: str, out: str, about: int) -> None:
    """The table's rates are the catalog's. Its figure for 100,000 tasks lies between all of the 4,000 tokens being
    input and all being output."""
    usage = farthing.Usage(input_tokens=1_000_000)
    assert farthing.price(model, usage).usd == Decimal(into)
    assert farthing.price(model, farthing.Usage(output_tokens=1_000_000)).usd == Decimal(out)
    tasks = 100_000
    least = farthing.price(model, farthing.Usage(input_tokens=4_000)).usd
    most = farthing.price(model, farthing.Usage(output_tokens=4_000)).usd
    assert least is not None and most is not None
    assert least * tasks <= about <= most * tasks


def test_a_runaway_agent() -> None:
    """50,000 tokens a loop, 100 times: of gpt-4o's output that is the text's lower figure, $50."""
    with testing.tracker() as tracker:
        for _ in range(100):
            tracker.record("gpt-4o", 0, 50_000, "runaway")
        assert tracker.by_agent() == {"runaway": 50.0}


@pytest.mark.parametrize("dimension", ["agent", "task", "user", "model", "day", "step"])
def test_every_dimension(dimension: str) -> None:
    """Per agent, task, user, model, day and step: any grouping sums to the same total."""
    clock = testing.FakeClock()
    with testing.tracker({"m1": (1, 2), "m2": (3, 4)}, clock=clock) as tracker:
        for i in range(12):
            tracker.record(
                f"m{i % 2 + 1}", 1000 + i, i, f"agent{i % 3}", task=f"t{i % 4}", user=f"u{i % 2}", step=f"s{i % 5}"
            )
            clock.advance(hours=5)
        rows = tracker.breakdown(dimension)
        assert len(rows) > 1
        assert sum(row.totals.cost_pico for row in rows) == tracker.totals().cost_pico
        assert sum(row.totals.total_tokens for row in rows) == tracker.totals().total_tokens
