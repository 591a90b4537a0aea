"""Budgets tried on what has happened."""

from __future__ import annotations

from decimal import Decimal

import pytest

from farthing.budgets.tryout import suggest, try_budget
from farthing.errors import InputError
from farthing.money import usd_to_pico
from farthing.policy import make_budget
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


def test_what_history_would_have_denied(tracker: CostTracker, clock: FakeClock) -> None:
    """Call by call, window by window; what would have been denied is not spent either."""
    for day in range(3):
        for tokens in (4_000, 9_000, 4_000, 1_000):
            tracker.record("dear", tokens, agent="a" if day < 2 else "b")
        clock.advance(days=1)
    found = try_budget(tracker.ledger, make_budget("agent=*", usd=1, per="day"))
    assert (found.calls, found.denied_calls, found.windows) == (12, 3, 3)
    assert (found.amount, found.denied_amount) == (usd_to_pico("5.4"), usd_to_pico("2.7"))
    assert [(a.place, a.calls, a.denied_calls) for a in found.accounts] == [("agent=a", 8, 2), ("agent=b", 4, 1)]
    models = try_budget(tracker.ledger, make_budget("agent=a", models=["cheap"]))
    assert models.denied_calls == 8
    assert tracker.guard.status() == []


def test_suggestions(tracker: CostTracker, clock: FakeClock) -> None:
    """1.5 times the 95th percentile of each agent's days, to two digits upwards, as shadow budgets."""
    for day in range(20):
        tracker.record("dear", 1_234 * (10 if day == 0 else 1), agent="a")
        clock.advance(days=1)
    (found,) = suggest(tracker.ledger, per="day")
    assert (found.scope, found.mode, found.window) == ({"agent": "a"}, "shadow", "day")
    assert found.limit == usd_to_pico(Decimal("0.19"))
    with pytest.raises(InputError):
        suggest(tracker.ledger, per="year")


def test_a_flat_plans_calls_suggest_no_budget(tracker: CostTracker) -> None:
    """They spend no budget in dollars either."""
    tracker.record("dear", 10_000, agent="a", billing="subscription")
    tracker.record("dear", 1_000, agent="b")
    assert [(one.scope_text, one.limit) for one in suggest(tracker.ledger)] == [("agent=b", usd_to_pico("0.15"))]
