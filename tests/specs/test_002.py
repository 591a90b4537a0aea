"""Specification 002, token budgets: the counter, the economics table, cost by every dimension."""

from __future__ import annotations

import asyncio
import json
import threading
from decimal import Decimal
from pathlib import Path

import pytest

import farthing
from farthing import testing
from farthing.budgets.presets import PRESETS
from farthing.classic import BudgetDashboard, TokenBudget, TokenCounter, TokenUsage
from farthing.reports.digest import digest, digest_page
from farthing.reports.plain import plain


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


# --- step 2: budgets -------------------------------------------------------------------------------------------------


@pytest.fixture
def budget(counter: TokenCounter) -> TokenBudget:
    """A budget over the counter."""
    return TokenBudget(counter)


def allowed(budget: TokenBudget, agent: str, tokens: int) -> bool:
    """The sample's coroutine, run."""
    return asyncio.run(budget.check_and_apply_budget(agent, tokens))


def test_an_agents_limit(counter: TokenCounter, budget: TokenBudget) -> None:
    """A call that would go over is not allowed; what is denied uses nothing up."""
    budget.set_agent_limit("researcher", 1000)
    assert allowed(budget, "researcher", 600)
    counter.record("researcher", "t1", 500, 100)
    assert not allowed(budget, "researcher", 500)
    assert allowed(budget, "researcher", 400)
    assert allowed(budget, "somebody-else", 10**9)


def test_a_limit_of_nothing_denies(budget: TokenBudget) -> None:
    """(The sample's code takes a limit of 0 for none.)"""
    budget.set_agent_limit("a", 0)
    assert not allowed(budget, "a", 1)


def test_calls_at_once_do_not_pass_together(budget: TokenBudget) -> None:
    """(The sample's code checks first and counts later, so that all of them pass.)"""
    budget.set_agent_limit("a", 1000)

    async def crowd() -> list[bool]:
        return await asyncio.gather(*(budget.check_and_apply_budget("a", 100) for _ in range(30)))

    assert sum(asyncio.run(crowd())) == 10


def test_a_period_limit(counter: TokenCounter, budget: TokenBudget) -> None:
    """(The sample's code counts under `daily:2024-01-15` and compares under `daily`, so that it never denies.)"""
    budget.set_period_limit("daily", 1000)
    budget.set_period_limit("monthly", 10_000)
    assert allowed(budget, "a", 900)
    assert not allowed(budget, "b", 200)
    (day, used), *_ = sorted(budget.period_usage.items())
    assert day.startswith("daily:20") and used == 900
    with pytest.raises(farthing.InputError, match="fortnightly"):
        budget.set_period_limit("fortnightly", 5)


def test_what_was_estimated_becomes_what_was_used(counter: TokenCounter, budget: TokenBudget) -> None:
    """(The sample's code never takes an estimate back.)"""
    budget.set_period_limit("daily", 1000)
    assert allowed(budget, "a", 900)
    counter.record("a", "t1", 90, 10)
    assert list(budget.period_usage.values()) == [100]
    assert allowed(budget, "a", 900)


def test_resetting_a_period_is_an_adjustment_that_stays_visible(counter: TokenCounter, budget: TokenBudget) -> None:
    """The limit is there again; what was spent is not forgotten. (The sample's code clears its dictionary.)"""
    budget.set_period_limit("daily", 1000)
    counter.record("a", "t1", 1000, 0)
    assert not allowed(budget, "a", 1)
    budget.reset_period()
    assert list(budget.period_usage.values()) == [0]
    assert allowed(budget, "a", 1000)
    guard = counter.tracker.guard
    (standing,) = guard.status()
    assert (standing.posted, standing.granted) == (1000, 1000)
    assert guard.accounts.audit().holds_true


# --- step 4: the dashboard -------------------------------------------------------------------------------------------


def test_the_status_of_all_agents(counter: TokenCounter, budget: TokenBudget) -> None:
    """The sample's keys, and JSON can hold them: a missing limit is None. (The sample's is infinite.)"""
    dashboard = BudgetDashboard(counter, budget)
    budget.set_agent_limit("researcher", 2000)
    budget.set_agent_limit("none", 0)
    counter.record("researcher", "t1", 1000, 500, model="gpt-4o")
    counter.record("free", "t2", 100, 0)
    counter.record("none", "t3", 1, 0)
    status = json.loads(json.dumps(dashboard.current_status(), allow_nan=False))
    assert status["agents"]["researcher"] == {
        "total_tokens": 1500,
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "budget_limit": 2000,
        "percent_used": 75.0,
        "estimated_cost": 0.0075,
    }
    assert status["agents"]["free"]["budget_limit"] is None and status["agents"]["free"]["percent_used"] == 0
    assert status["agents"]["none"]["percent_used"] == 100.0
    assert status["global"]["total_tokens"] == 1601
    assert status["global"]["total_cost"] == pytest.approx(0.0075 + 101 * 0.003 / 1000)
    assert status["period_usage"] == {}


def test_the_cost_is_that_of_the_model(counter: TokenCounter, budget: TokenBudget) -> None:
    """(The sample's code takes $0.003 per 1,000 tokens for every model; here only where nobody named one.)"""
    counter.record("a", "t", 0, 1_000_000, model="gpt-4o")
    assert BudgetDashboard(counter, budget).current_status()["agents"]["a"]["estimated_cost"] == 10.0


def test_alerts_in_the_samples_words(counter: TokenCounter, budget: TokenBudget) -> None:
    """Agents that have used so much of their limit, or more; those without a limit never."""
    dashboard = BudgetDashboard(counter, budget)
    for agent, tokens in (("a", 1700), ("b", 1600), ("c", 1599), ("d", 5000)):
        if agent != "d":
            budget.set_agent_limit(agent, 2000)
        counter.record(agent, "t", tokens, 0)
    assert dashboard.budget_alert() == ["a: 85% of budget used (1,700 tokens)", "b: 80% of budget used (1,600 tokens)"]
    assert dashboard.budget_alert(0.9) == []


def test_a_limit_is_everybodys(tmp_path: Path) -> None:
    """Another process of the ledger sees the limit, and what of it is used. (The sample's knows only its own calls.)"""
    first, second = (TokenCounter(farthing.CostTracker(tmp_path / "ledger.db")) for _ in range(2))
    TokenBudget(first).set_agent_limit("a", 1000)
    TokenBudget(first).set_period_limit("daily", 5000)
    first.record("a", "t", 900, 100)
    budget = TokenBudget(second)
    dashboard = BudgetDashboard(second, budget)
    assert not allowed(budget, "a", 1)
    assert (budget.agent_limits, budget.period_limits) == ({"a": 1000}, {"daily": 5000})
    status = dashboard.current_status()
    assert (status["agents"]["a"]["percent_used"], status["agents"]["a"]["total_tokens"]) == (100.0, 0)
    assert list(status["period_usage"].values()) == [1000]
    assert dashboard.budget_alert() == ["a: 100% of budget used (1,000 tokens)"]
    for counter in (first, second):
        counter.tracker.close()


def test_a_reset_amid_calls(counter: TokenCounter, budget: TokenBudget) -> None:
    """A call that was let pass and not yet recorded is of the period before. (So it is in the sample.)"""
    budget.set_period_limit("daily", 1000)
    assert allowed(budget, "a", 900)
    budget.reset_period()
    assert list(budget.period_usage.values()) == [0]
    assert allowed(budget, "a", 900)


# --- planning --------------------------------------------------------------------------------------------------------

PLANNING = [
    ("Customer Support", 500_000, 150),
    ("Research Agent", 2_000_000, 600),
    ("Code Generation", 3_000_000, 900),
    ("Data Analysis", 1_000_000, 300),
    ("Internal Tooling", 200_000, 60),
]


def test_the_planning_table() -> None:
    """The table's agent types are presets: a limit of tokens a day, and one of dollars a month."""
    assert [(one.title, one.daily_tokens, one.monthly_usd) for one in PRESETS] == PLANNING
    with testing.tracker() as tracker:
        for budget in PRESETS[1].budgets("researcher"):
            tracker.guard.set(budget)
        stands = {(one.budget.window, one.budget.unit): one.limit for one in tracker.guard.status()}
    assert stands == {("day", "tokens"): 2_000_000, ("month", "usd"): 600 * 10**12}


def test_run_budget_report() -> None:
    """ "Run budget report": the daily, weekly and monthly report with each budget, what is used of it and its end."""
    clock = testing.FakeClock("2026-11-16T12:00:00")
    with testing.tracker({"m": (1, 1)}, clock=clock) as costs:
        costs.guard.set("agent=researcher", tokens=2_000_000, per="day")
        costs.record("m", 1_500_000, 0, agent="researcher")
        for window in ("day", "week", "month"):
            found = digest(costs.ledger, window, clock.now)
            assert (found.owed, found.totals.calls) == (1_500_000_000_000, 1)
            (budget,) = found.budgets
            assert (budget.place, budget.spent, budget.limit, budget.unit) == (
                "agent=researcher",
                1_500_000,
                2_000_000,
                "tokens",
            )
            words = plain(digest_page(found))
            assert "Budget report" in words and "75 %" in words
