"""Specification 000, token and cost tracking: its attributes, its price table, its formula, its Langfuse sample."""

from __future__ import annotations

from decimal import Decimal

import pytest

import farthing
from farthing import classic, testing
from farthing.classic import MODEL_PRICING, Langfuse, calculate_cost

USAGE = {"input_tokens": 1500, "output_tokens": 350}


def test_tokens_and_cost_of_a_call_as_attributes() -> None:
    """1500 in and 350 out make 1850; the event carries the cost and who it was for, `user` hashed where asked."""
    with testing.tracker() as tracker:
        event = tracker.record(
            "claude-3-haiku", **USAGE, agent="researcher", feature="document_analysis", org="org_123"
        )
    assert (event.usage.input_tokens, event.usage.output_tokens, event.usage.total_tokens) == (1500, 350, 1850)
    assert event.usd == Decimal(1500) * Decimal("0.25") / 10**6 + Decimal(350) * Decimal("1.25") / 10**6
    who = event.attribution
    assert (who.feature, who.agent, who.org) == ("document_analysis", "researcher", "org_123")


def test_the_user_id_is_hashed_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cost.user_id` is shown as hashed: the id is neither on the event nor in the ledger; filters still find it."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    with testing.tracker() as tracker:
        event = tracker.record("gpt-4o", **USAGE, user="user_abc")
        assert event.attribution.user is not None and "user_abc" not in event.attribution.user
        again = tracker.record("gpt-4o", **USAGE, user="user_abc")
        assert again.attribution.user == event.attribution.user
        assert tracker.totals(user="user_abc").calls == 2
        assert tracker.totals(user="user_xyz").calls == 0
        assert all("user_abc" not in str(kept.attribution) for kept in tracker.ledger.events())


@pytest.mark.parametrize(
    ("model", "into", "out"),
    [
        ("claude-3-opus", 15.00, 75.00),
        ("claude-3-5-sonnet", 3.00, 15.00),
        ("claude-3-5-haiku", 0.80, 4.00),
        ("claude-3-haiku", 0.25, 1.25),
        ("gpt-4-turbo", 10.00, 30.00),
        ("gpt-4o", 2.50, 10.00),
        ("gpt-4o-mini", 0.15, 0.60),
        ("gpt-3.5-turbo", 0.50, 1.50),
        ("text-embedding-3-large", 0.13, 0),
        ("text-embedding-3-small", 0.02, 0),
        ("text-embedding-ada-002", 0.10, 0),
    ],
)
def test_the_price_table(model: str, into: float, out: float) -> None:
    """Every row of the table of late 2024 is what the catalog says."""
    assert MODEL_PRICING[model] == {"input": into, "output": out}
    assert model in MODEL_PRICING and MODEL_PRICING.get("no-such-model-x") is None


def test_the_formula() -> None:
    """calculate_cost: (input - cached) at the input price, cached at the discount, output at the output price."""
    plain = calculate_cost("claude-3-5-sonnet", 1500, 350)
    assert plain == pytest.approx(1500 * 3 / 1e6 + 350 * 15 / 1e6, abs=1e-12)
    cached = calculate_cost("claude-3-5-sonnet", 1500, 350, cached_tokens=1200, cache_discount=0.9)
    assert cached == round(300 * 3 / 1e6 + 1200 * 3 / 1e6 * (1 - 0.9) + 350 * 15 / 1e6, 6)


def test_without_a_discount_the_catalogs_cache_rate_counts() -> None:
    """Half price for gpt-4o's cached tokens: not 90 % off, which is another provider's rule."""
    assert calculate_cost("gpt-4o", 1500, 350, cached_tokens=1200) == 0.00575
    assert farthing.price("gpt-4o", farthing.Usage(**USAGE, cache_read_tokens=1200)).usd == Decimal("0.00575")


def test_an_unknown_model_costs_zero_there_and_only_there() -> None:
    """calculate_cost gives 0.0 with a warning, as specified; `price` says that it does not know."""
    with pytest.warns(UserWarning, match="no-such-model-y"):
        assert calculate_cost("no-such-model-y", 1500, 350) == 0.0
    assert farthing.price("no-such-model-y", farthing.Usage(**USAGE)).usd is None


def test_totals_of_an_agents_run_and_of_a_session() -> None:
    """Per call, per run of an agent, per session: five calls of one run, three runs in the session."""
    with testing.tracker({"m": (3, 15)}) as tracker:
        for run in ("r1", "r2", "r3"):
            for _ in range(5):
                tracker.record("m", 2600, 400, "researcher", run=run, session="s")
        of_run = tracker.totals(run="r1", agent="researcher")
        assert (of_run.calls, of_run.total_tokens, of_run.cost) == (5, 15000, 0.069)
        of_session = tracker.totals(session="s")
        assert (of_session.calls, of_session.total_tokens, of_session.cost) == (15, 45000, 0.207)
        assert len(tracker.breakdown("run", session="s")) == 3


def test_a_cache_hit_costs_nothing_and_is_reported_apart() -> None:
    """`llm.cache.hit`: what a cache of the caller answered is on record, and not in calls or cost."""
    with testing.tracker() as tracker:
        event = tracker.record("gpt-4o", input_tokens=1200, cache_hit=True)
        totals = tracker.totals()
    assert (event.cost, event.cache_hit, event.calls) == (0.0, True, 0)
    assert (totals.calls, totals.cache_hits, totals.cost_pico) == (0, 1, 0)


def test_the_langfuse_sample() -> None:
    """The sample as it stands; the cost is calculated without being asked for."""
    langfuse = Langfuse(testing.tracker())
    trace = langfuse.trace(name="agent_run")
    generation = trace.generation(
        name="llm_call", model="claude-3-5-sonnet", usage={"input": 1500, "output": 350, "unit": "TOKENS"}
    )
    assert generation.calculated_total_cost == pytest.approx(0.00975, abs=1e-12)
    assert langfuse.get_trace(trace.id).total_cost == 0.00975


def test_no_call_is_unattributed_silently() -> None:
    """Missing attribution is a number that reports show."""
    with testing.tracker({"m": (1, 1)}) as tracker:
        tracker.record("m", 750_000, 0, "researcher")
        tracker.record("m", 250_000, 0)
        assert tracker.unattributed_share() == 0.25
        assert tracker.by_agent() == {"researcher": 0.75, "unattributed": 0.25}


# --- budget thresholds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "cost", "alert"),
    [
        ("per_call", 1.01, True),
        ("per_call", 1.00, False),
        ("per_session", 10.01, True),
        ("user", 50.01, True),
        ("per_user_daily", 50.00, False),
        ("org", 1000.01, True),
    ],
)
def test_check_budget(level: str, cost: float, alert: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Above its threshold a cost is logged, with whose it is. (The sample's code looks for `<level>_max` only, so that
    its two daily thresholds never fire; here they do.)"""
    assert classic.check_budget(cost, level, "user_abc") is alert
    assert [("user_abc" in r.getMessage(), r.levelname) for r in caplog.records] == [(True, "WARNING")] * alert


def test_a_threshold_of_nothing_is_a_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """(The sample's code takes 0 for no threshold, an unknown level for a call that is within it, and NaN, too.)"""
    monkeypatch.setitem(classic.BUDGET_THRESHOLDS, "per_call_max", 0.0)
    assert classic.check_budget(0.01, "per_call", "x") and not classic.check_budget(0.0, "per_call", "x")
    with pytest.raises(farthing.InputError, match="level = 'per_cal'"):
        classic.check_budget(5, "per_cal", "x")
    with pytest.raises(farthing.InputError, match="finite"):
        classic.check_budget(float("nan"), "per_call", "x")


def test_the_thresholds_as_budgets_that_watch_by_themselves() -> None:
    """Per call, session, user and day, organisation and day: alerts without anybody calling check_budget."""
    with testing.tracker({"m": (1, 0)}) as tracker:
        classic.set_budget_thresholds(tracker)
        told: list[str] = []
        tracker.guard.on_alert = lambda alert: told.append(f"{alert.budget} {alert.place} {alert.rule}")
        for _ in range(3):
            tracker.record("m", 20_000_000, 0, user="user_abc", session="s1")
        assert told.count("per_call_max * over:call") == 3
        tracker.record("m", 1_000_000, 0)
        assert told.count("per_call_max * over:call") == 3
        assert "per_user_daily user=user_abc threshold:1" in told
        assert "per_session_max session=s1 threshold:1" in told
        assert not any("org_daily" in line for line in told)
