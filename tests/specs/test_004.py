"""Specification 004, CostTracker: record, total, breakdowns, summary, metrics, custom prices, its model table."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import farthing
from farthing import testing
from farthing.classic import BudgetExceededError, CostTracker, TenantCostTracker
from farthing.errors import InputError

# The summary's own figures: (agent, model, input, output, cost in US dollars)
SAMPLE = (
    ("vision_analysis", "gemini-2.5-pro", 2400, 800, "0.0412"),
    ("style_analysis", "gpt-5.1", 1600, 650, "0.0298"),
    ("style_critic", "deepseek-v3", 800, 400, "0.0124"),
)


@pytest.fixture
def tracker():
    """The three calls of the samples, at the costs that the samples show."""
    with testing.tracker() as tracker:
        for agent, model, into, out, cost in SAMPLE:
            tracker.record(model=model, input_tokens=into, output_tokens=out, agent=agent, cost_usd=cost)
        yield tracker


def test_recording_a_call() -> None:
    """The first sample as it stands, on the default ledger: 1200 in and 450 out of gpt-4o."""
    tracker = CostTracker()
    event = tracker.record(model="gpt-4o", input_tokens=1200, output_tokens=450, agent="style_analysis")
    assert event.cost == 0.0075 and event.usd == Decimal("0.0075")
    assert tracker.total_cost == 0.0075
    tracker.close()


def test_a_run_of_the_program_prints_the_same_twice() -> None:
    """Both runs write to the default ledger; each shows its own totals, and the ledger's scope shows both."""
    printed = []
    for _ in range(2):
        with CostTracker() as tracker:
            tracker.record(model="gpt-4o", input_tokens=1200, output_tokens=450, agent="style_analysis")
            printed.append((tracker.total_cost, tracker.get_summary()))
    assert printed[0] == printed[1]
    with CostTracker(scope="ledger") as everything:
        assert everything.total_cost == 0.015
        assert everything.get_summary()["total_calls"] == 2


def test_total_cost(tracker: CostTracker) -> None:
    """0.0834, a float; exactly beside it."""
    assert tracker.total_cost == 0.0834 and type(tracker.total_cost) is float
    assert tracker.total_usd == Decimal("0.0834")


def test_cost_by_agent(tracker: CostTracker) -> None:
    """As shown, the dearest first."""
    assert tracker.by_agent() == {"vision_analysis": 0.0412, "style_analysis": 0.0298, "style_critic": 0.0124}
    assert list(tracker.by_agent()) == ["vision_analysis", "style_analysis", "style_critic"]


def test_cost_by_model(tracker: CostTracker) -> None:
    """As shown."""
    assert tracker.by_model() == {"gemini-2.5-pro": 0.0412, "gpt-5.1": 0.0298, "deepseek-v3": 0.0124}


def test_the_summary(tracker: CostTracker) -> None:
    """Exactly the keys, the shape and the figures of the specification."""
    assert tracker.get_summary() == {
        "total_cost_usd": 0.0834,
        "total_calls": 3,
        "total_input_tokens": 4800,
        "total_output_tokens": 1850,
        "avg_input_tokens_per_call": 1600,
        "avg_output_tokens_per_call": 617,
        "avg_cost_per_call": 0.0278,
        "by_agent": {
            "vision_analysis": {"cost": 0.0412, "calls": 1, "input_tokens": 2400, "output_tokens": 800},
            "style_analysis": {"cost": 0.0298, "calls": 1, "input_tokens": 1600, "output_tokens": 650},
            "style_critic": {"cost": 0.0124, "calls": 1, "input_tokens": 800, "output_tokens": 400},
        },
        "by_model": {
            "gemini-2.5-pro": {"cost": 0.0412, "calls": 1},
            "gpt-5.1": {"cost": 0.0298, "calls": 1},
            "deepseek-v3": {"cost": 0.0124, "calls": 1},
        },
    }


def test_usage_metrics(tracker: CostTracker) -> None:
    """Its keys. Its efficiency 0.385 contradicts its own definition output / total = 1850 / 6650, which holds."""
    metrics = tracker.get_usage_metrics()
    assert list(metrics) == [
        "total_calls",
        "total_input_tokens",
        "total_output_tokens",
        "avg_tokens_per_call",
        "token_efficiency",
        "cost_per_1k_output_tokens",
    ]
    assert (metrics["total_calls"], metrics["total_input_tokens"], metrics["total_output_tokens"]) == (3, 4800, 1850)
    assert metrics["avg_tokens_per_call"] == 2217
    assert metrics["token_efficiency"] == 1850 / 6650
    assert round(metrics["token_efficiency"], 3) == 0.278
    assert round(metrics["cost_per_1k_output_tokens"], 3) == 0.045


def test_before_the_first_call_everything_is_zero() -> None:
    """No division by nothing: zeros, in the same shape."""
    with testing.tracker() as tracker:
        assert tracker.total_cost == 0.0 and tracker.by_agent() == {} == tracker.by_model()
        summary, metrics = tracker.get_summary(), tracker.get_usage_metrics()
    assert summary["avg_cost_per_call"] == 0.0 and summary["avg_output_tokens_per_call"] == 0
    assert metrics["token_efficiency"] == 0.0 and metrics["cost_per_1k_output_tokens"] == 0.0


def test_custom_prices() -> None:
    """The sample as it stands: $1.50 and $5.00 a million, 1000 in and 500 out = $0.004."""
    with testing.tracker() as tracker:
        tracker.register_model_pricing(
            model="my-custom-model", input_price_per_million=1.50, output_price_per_million=5.00, provider="custom"
        )
        event = tracker.record(model="my-custom-model", input_tokens=1000, output_tokens=500, agent="custom_agent")
    assert event.cost == 0.004 and event.provider == "custom"


def test_a_model_without_a_price_counts_as_zero_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The total says 0.0 as specified, one warning names the model, and the event says that its cost is not known."""
    with testing.tracker() as tracker, caplog.at_level(logging.WARNING, logger="farthing"):
        for _ in range(2):
            event = tracker.record(model="nobody-knows-this-1", input_tokens=1000, output_tokens=500, agent="a")
        assert tracker.total_cost == 0.0 and tracker.by_agent() == {"a": 0.0}
        assert tracker.get_summary()["total_calls"] == 2
        assert tracker.unpriced_calls == 2
    assert event.cost is None and event.status == "unpriced"
    assert [("nobody-knows-this-1" in r.getMessage(), r.levelname) for r in caplog.records] == [(True, "WARNING")]


# (name in the table, the provider's id, input and output per million in the table)
TABLE = [
    ("gpt-4.1", "openai", "2.00", "8.00"),
    ("gpt-4.1-mini", "openai", "0.40", "1.60"),
    ("gpt-4.1-nano", "openai", "0.10", "0.40"),
    ("claude-opus-4-20250514", "anthropic", "15.00", "75.00"),
    ("claude-sonnet-4-20250514", "anthropic", "3.00", "15.00"),
    ("claude-3-5-haiku-latest", "anthropic", "0.80", "4.00"),
    ("gemini-2.5-pro", "google", "1.25", "10.00"),
    ("gemini-2.0-flash", "google", "0.10", "0.40"),
]


@pytest.mark.parametrize(("model", "provider", "into", "out"), TABLE)
def test_the_table_of_models(model: str, provider: str, into: str, out: str) -> None:
    """Rows that agree with the providers' list price of January 2026."""
    at = testing.FakeClock("2026-01-15T12:00:00").now
    cost = farthing.price(model, farthing.Usage(input_tokens=1000, output_tokens=1000), at=at)
    assert cost.provider == provider
    assert cost.usd == (Decimal(into) + Decimal(out)) / 1000


@pytest.mark.parametrize(
    "model", ["gpt-5.1", "gemini-2.5-flash", "deepseek-v3", "deepseek-r1", "llama-4-scout", "llama-4-maverick"]
)
def test_the_other_rows_of_the_table_have_a_price(model: str) -> None:
    """Rows whose list price differs from the table, or that several hosts sell: the catalog has a price."""
    cost = farthing.price(model, farthing.Usage(input_tokens=1000, output_tokens=1000))
    assert cost.status == "priced" and cost.usd is not None and cost.usd > 0


def test_gpt_5_1_costs_its_list_price_not_the_tables() -> None:
    """The table says $2 and $8; OpenAI's list price is $1.25 and $10, and the list price wins."""
    cost = farthing.price("gpt-5.1", farthing.Usage(input_tokens=1_000, output_tokens=1_000))
    assert cost.usd == Decimal("0.01125")


def test_costs_of_an_organisation() -> None:
    """What the dashboard's endpoint shows: today, this month, by provider and by agent, of one organisation."""
    clock = testing.FakeClock("2026-01-15T12:00:00")
    with testing.tracker({"m": (1, 1)}, clock=clock) as tracker:
        tracker.record("m", 1_000_000, 0, "a", org="org_1")
        tracker.record("m", 5_000_000, 0, "b", org="org_2")
        clock.advance(days=2)
        tracker.record("m", 2_000_000, 0, "b", org="org_1")
        today = clock.now.replace(hour=0)
        assert tracker.totals(org="org_1", since=today).cost == 2.0
        assert tracker.totals(org="org_1", since=today.replace(day=1)).cost == 3.0
        by_agent = {row.key[0]: row.totals.cost for row in tracker.breakdown("agent", org="org_1")}
        assert by_agent == {"a": 1.0, "b": 2.0}
        assert [row.key for row in tracker.breakdown("provider", org="org_1")] == [("custom",)]


def test_a_tenants_budget() -> None:
    """`TenantCostTracker(org)` enforces limits of one organisation; others in the same ledger are not touched."""
    with testing.tracker({"m": (1, 2)}) as shared:
        ours = TenantCostTracker("org_123", ledger=shared.ledger, catalog=shared.catalog)
        ours.set_budget(usd=5, per="month", thresholds=[0.8, 1])
        told: list[str] = []
        ours.guard.on_alert = lambda alert: told.append(alert.rule)
        ours.record("m", 4_000_000, 0, "researcher")
        shared.record("m", 90_000_000, 0, "researcher")
        (standing,) = ours.budget_status()
        assert (standing.posted, standing.limit, standing.percent) == (4 * 10**12, 5 * 10**12, 80.0)
        assert told == ["threshold:0.8"]
        with pytest.raises(BudgetExceededError, match="month"):
            ours.guard.reserve("m", input_tokens=2_000_000, max_tokens=0)
        assert ours.totals().calls == 1


def test_the_cost_optimization_endpoint_has_its_six_keys() -> None:
    """The dashboard's figures of one organisation, over today, this month, or any range; plans are not owed."""
    clock = testing.FakeClock("2026-11-16T12:00:00")
    with testing.tracker({"m": (1, 1)}, clock=clock) as costs:
        for day in range(16, 0, -1):
            at = datetime(2026, 11, day, 11, tzinfo=UTC)
            costs.record("m", 1_000_000, 0, agent="style", org="org_1", provider="custom", at=at)
            costs.record("m", 1_000_000, 0, agent="style", org="org_2", provider="custom", at=at)
        costs.record("m", 1_000_000, 0, agent="plan", org="org_1", provider="custom", billing="subscription")
        costs.record(
            "m", 3_000_000, 0, agent="old", org="org_1", provider="custom", at=datetime(2026, 10, 5, 11, tzinfo=UTC)
        )
        costs.guard.set(usd=20, per="month", org="org_1")
        found = costs.cost_optimization("org_1")
        assert list(found) == [
            "total_cost_today", "total_cost_month", "projected_monthly", "by_provider", "by_agent", "budget",
        ]  # fmt: skip
        assert (found["total_cost_today"], found["total_cost_month"]) == (1.0, 16.0)
        assert found["projected_monthly"] == pytest.approx(30.5)
        assert found["by_provider"] == {"custom": 16.0} and found["by_agent"] == {"style": 16.0}
        assert found["budget"]["status"] == "warning"
        (budget,) = found["budget"]["budgets"]
        assert (budget["spent"], budget["limit"], budget["percent_used"]) == (16.0, 20.0, 80.0)
        ranged = costs.cost_optimization("org_1", since=datetime(2026, 10, 1, tzinfo=UTC), until=clock.now)
        assert ranged["by_agent"] == {"style": 16.0, "old": 3.0}
        assert costs.cost_optimization()["total_cost_today"] == 2.0


def test_the_summary_over_any_range() -> None:
    """`get_summary` of a time, or of what a filter lets through, is the ledger's."""
    with testing.tracker({"m": (1, 1)}) as costs:
        costs.record("m", 1_000_000, 0, agent="a", at=datetime(2026, 10, 5, 11, tzinfo=UTC))
        costs.record("m", 2_000_000, 0, agent="b", at=datetime(2026, 11, 5, 11, tzinfo=UTC))
        october = costs.get_summary(until=datetime(2026, 11, 1, tzinfo=UTC))
        assert (october["total_cost_usd"], october["total_calls"]) == (1.0, 1)
        assert costs.get_summary(agent="b")["by_model"] == {"m": {"cost": 2.0, "calls": 1}}
        assert costs.get_summary()["total_cost_usd"] == 3.0


def test_a_tenant_sees_its_own_figures_alone() -> None:
    """Its cost optimization is of its organisation; another's is refused."""
    with TenantCostTracker("org_1", ":memory:", catalog=testing.prices({"m": (1, 1)})) as costs:
        costs.record("m", 1_000_000, 0)
        assert costs.cost_optimization()["total_cost_month"] == 1.0
        with pytest.raises(InputError, match="org_2"):
            costs.cost_optimization("org_2")
