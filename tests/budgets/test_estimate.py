"""What a call is expected to come to: inputs as they were, outputs by their 95th percentile, the dearest price."""

from __future__ import annotations

from decimal import Decimal

import pytest

from farthing.budgets.estimate import Sample
from farthing.budgets.guard import Guard
from farthing.errors import InputError
from farthing.tracker import CostTracker


def test_outputs_by_percentile() -> None:
    """Below 30 samples min(max_tokens, 4096), then min(max_tokens, 1.2 x P95); strict: max_tokens."""
    sample = Sample()
    assert (sample.output(None), sample.output(500), sample.output(9000)) == (4096, 500, 4096)
    sample.outputs.extend([100] * 28 + [1000, 1000])
    assert (sample.output(None), sample.output(500)) == (1200, 500)
    sample.outputs.extend([100] * 34)
    assert sample.output(None) == 120
    assert sample.output(64_000, strict=True) == 64_000
    assert Sample.from_json(sample.to_json()) == sample


def test_inputs_by_the_last_call() -> None:
    """Characters count as in the last call; without any, three of them are a token; with nothing, as the last."""
    assert (Sample().input(300), Sample().input(None)) == (100, 1024)
    assert (Sample(50, 200).input(400), Sample(50, 200).input(None)) == (100, 50)


def test_learned_at_settle(tracker: CostTracker, guard: Guard) -> None:
    """Thirty calls later the hold is 1.2 times what they came to, in another process, too."""
    guard.set("agent=a", usd=100)
    for _ in range(33):
        with guard.reserve("dear", input_tokens=1000, max_tokens=4000, agent="a", gone=True) as hold:
            tracker.record("dear", 1000, 100, agent="a", reservation=hold)
    hold = guard.reserve("dear", max_tokens=4000, agent="a")
    assert (hold.expected.input_tokens, hold.expected.output_tokens) == (1000, 120)
    fresh = Guard(lambda: tracker.ledger, catalog=lambda: tracker.catalog)
    assert fresh.accounts.sample("default", "a", "dear") is not None
    assert fresh.reserve("dear", max_tokens=4000, agent="a").expected.output_tokens == 120


def test_the_dearest_candidate(guard: Guard) -> None:
    """Where several models may answer, the dearest is held for; one without a price makes it unknown."""
    guard.set(None, usd=1, on_unpriced="allow")
    hold = guard.reserve("cheap", models=["dear"], input_tokens=500, max_tokens=500)
    assert hold.held_usd == Decimal("0.1")
    assert guard.reserve("cheap", models=["what-is-it"], input_tokens=500).held_usd is None


@pytest.mark.parametrize(
    "wrong", [{"input_tokens": -1}, {"max_tokens": 1.5}, {"tokens": -3, "usd": 0}, {"calls": -1}, {"models": "dear"}]
)
def test_counts_that_cannot_be(guard: Guard, wrong: dict[str, object]) -> None:
    """Negative counts and parts of tokens are refused, and a text in the place of a list of models."""
    guard.set(None, usd=1)
    with pytest.raises(InputError):
        guard.reserve("cheap", **wrong)  # type: ignore[arg-type]
