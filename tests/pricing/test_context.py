"""Request context: what it changes, what it does not, and what has no price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from farthing.pricing import price
from farthing.usage import Usage

MILLION = Usage(input_tokens=1_000_000)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "context",
    [
        {"service_tier": "default"},
        {"service_tier": "standard"},
        {"service_tier": "auto"},
        {"service_tier": "SERVICE_TIER_STANDARD"},
        {"service_tier": None},
        {"service_tier": ""},
        {"speed": "standard"},
        {"processing": "realtime"},
        {"batch": "false"},
        {"inference_geo": "global"},
        {"inference_geo": "not_available"},
        {"data_residency": "global"},
    ],
)
def test_neutral_values_change_nothing(context: dict[str, str | None]) -> None:
    """What means 'as usual' costs the standard rate, without a word."""
    cost = price("gpt-5", MILLION, at=NOW, context=context)
    assert (cost.usd, cost.status, cost.reasons) == (Decimal("1.25"), "priced", ())
    assert cost.provenance is not None and cost.provenance.context == {}


def test_the_same_request_in_other_words_costs_the_same() -> None:
    """Batch may be told as processing, as a tier or as a flag; flex as a tier or as processing."""
    batch = [{"processing": "batch"}, {"service_tier": "batch"}, {"batch": "true"}, {"Processing": "BATCH"}]
    assert {price("gpt-5", MILLION, at=NOW, context=context).usd for context in batch} == {Decimal("0.625")}
    assert price("gpt-5", MILLION, at=NOW, context={"processing": "flex"}).usd == Decimal("0.625")


def test_a_misspelt_tier_is_unpriced_and_says_what_was_meant() -> None:
    """It names the value, the known ones, the near one, and what it would cost at standard rates."""
    cost = price("gpt-5", MILLION, at=NOW, context={"service_tier": "flexx"})
    assert (cost.usd, cost.status) == (None, "unpriced")
    text = "; ".join(cost.reasons)
    assert "service_tier = 'flexx'" in text and "did you mean 'flex'" in text and "priority" in text
    assert "at standard rates it would cost 1.25 USD" in text
    assert cost.provider == "openai" and cost.provenance is None and cost.lines == ()


@pytest.mark.parametrize(
    ("model", "context"),
    [
        ("gpt-4o", {"service_tier": "flex"}),
        ("gpt-5", {"service_tier": "scale"}),
        ("claude-sonnet-5", {"service_tier": "priority"}),
        ("claude-sonnet-5", {"speed": "fast"}),
        ("gpt-5.6-sol", {"data_residency": "mars"}),
        ("sonar", {"search_context_size": "huge"}),
        ("gemini-2.5-pro", {"service_tier": "provisioned_throughput"}),
    ],
)
def test_a_service_without_a_price_is_never_billed_as_standard(model: str, context: dict[str, str]) -> None:
    """A tier, speed, region or size that the model has no rates for has no known cost."""
    cost = price(model, MILLION, at=NOW, context=context)
    assert cost.status == "unpriced" and cost.pico is None


def test_a_key_that_nobody_knows_is_named_and_changes_nothing() -> None:
    """Other context is kept by callers for themselves: the price stands, and a reason says so."""
    cost = price("gpt-5", MILLION, at=NOW, context={"weather": "rain"})
    assert cost.usd == Decimal("1.25") and cost.status == "priced"
    assert any("'weather' does not change the price" in reason for reason in cost.reasons)


def test_what_was_applied_is_in_the_provenance() -> None:
    """The provenance names the context that changed the price, the neutral part left out."""
    context = {"processing": "batch", "data_residency": "eu", "speed": "standard"}
    cost = price("gpt-5.6-sol", MILLION, at=NOW, context=context)
    assert cost.provenance is not None
    assert cost.provenance.context == {"processing": "batch", "data_residency": "eu"}


def test_a_rate_dated_by_its_collection_holds_before_and_says_so() -> None:
    """Batch rates collected in October 2026 price a call of March, with the assumption among the reasons."""
    cost = price("claude-opus-4-5", MILLION, at=datetime(2026, 3, 1, tzinfo=UTC), context={"processing": "batch"})
    assert cost.usd == Decimal("2.5")
    assert "collected on 2026-10-14" in cost.reasons[0]


def test_fast_mode_of_the_models_before_the_data_knew_it() -> None:
    """Opus 4.6 in fast mode costs six times its standard rate."""
    assert price("claude-opus-4-6", MILLION, at=NOW, context={"speed": "fast"}).usd == Decimal("30")
