"""Rates compiled to integers: subsets, tiers, minimums, fees, and what has no rate."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from farthing.errors import PriceError
from farthing.money import fraction_to_pico
from farthing.pricing import Cost, PriceRecord
from farthing.pricing.rate import Core
from farthing.pricing.record import rates_of
from farthing.pricing.resolve import reprice
from farthing.usage import Usage


def cost(rates: dict[str, Any], usage: Usage, **more: Any) -> Cost:
    """The cost of usage by a record with these rates."""
    record = PriceRecord.make({"provider": "p", "model": "m", "rates": rates, **more})
    found = reprice(record.text, usage, 0)
    if found.pico is not None and found.status != "free":
        assert fraction_to_pico(sum((line.usd for line in found.lines), Fraction())) == found.pico
    return found


FIVE = {
    "input_tokens": "10",
    "cache_read_tokens": "1",
    "input_audio_tokens": "100",
    "cache_audio_read_tokens": "7",
    "output_tokens": "20",
}


def test_overlapping_subsets_are_each_billed_once() -> None:
    """Cached audio is inside cached, inside audio and inside input: it is billed at its own rate alone."""
    usage = Usage(
        input_tokens=1000, cache_read_tokens=400, input_audio_tokens=300, cache_audio_read_tokens=100, output_tokens=10
    )
    found = cost(FIVE, usage)
    assert {line.unit: line.quantity for line in found.lines} == {
        "input_tokens": 400,
        "cache_read_tokens": 300,
        "input_audio_tokens": 200,
        "cache_audio_read_tokens": 100,
        "output_tokens": 10,
    }
    assert found.usd == Decimal("0.0252")


def test_a_unit_without_a_rate_falls_to_the_nearest_that_contains_it() -> None:
    """One-hour writes at the rate of writes, reasoning at the rate of output, cached at the rate of input."""
    rates = {"input_tokens": "10", "cache_write_tokens": "12", "output_tokens": "20"}
    usage = Usage(
        input_tokens=100,
        cache_read_tokens=30,
        cache_write_tokens=50,
        cache_write_1h_tokens=20,
        output_tokens=10,
        output_reasoning_tokens=5,
    )
    found = cost(rates, usage)
    assert found.status == "priced" and found.usd == Decimal("0.0013")


def test_an_overlap_without_a_rate_takes_the_dearer_one() -> None:
    """Where cached and audio have rates but cached audio has none, it is never priced too low."""
    rates = {"input_tokens": "1", "cache_read_tokens": "0.1", "input_audio_tokens": "5"}
    usage = Usage(input_tokens=100, cache_read_tokens=100, input_audio_tokens=100, cache_audio_read_tokens=100)
    assert cost(rates, usage).usd == Decimal("0.0005")


def test_a_unit_that_nothing_contains_makes_the_cost_partial() -> None:
    """What has a rate is billed; the reason names what has none."""
    found = cost({"input_tokens": "1"}, Usage(input_tokens=1_000_000, output_tokens=5, web_searches=2))
    assert (found.usd, found.status) == (1, "partial")
    assert "output_tokens, web_searches" in found.reasons[-1]


def test_without_any_rate_the_cost_is_not_known() -> None:
    """If nothing of the usage has a rate there is no cost, not zero."""
    found = cost({"input_characters": "15"}, Usage(input_tokens=100))
    assert (found.usd, found.status) == (None, "unpriced")


def test_empty_usage_costs_nothing() -> None:
    """No usage is a cost of zero, priced."""
    found = cost({"input_tokens": "1"}, Usage())
    assert (found.usd, found.status, found.lines) == (0, "priced", ())


@pytest.mark.parametrize(("count", "usd"), [(100, "0.0001"), (101, "0.000202"), (1000, "0.002"), (1001, "0.003003")])
def test_cliff_tiers_price_the_whole_quantity(count: int, usd: str) -> None:
    """Above a threshold every token costs the tier's rate."""
    tiers = {"usd": "1", "tiers": [{"above": 100, "usd": "2"}, {"above": 1000, "usd": "3"}]}
    assert cost({"input_tokens": tiers}, Usage(input_tokens=count)).usd == Decimal(usd)


@pytest.mark.parametrize(("count", "usd"), [(99, "0.000099"), (100, "0.0002")])
def test_a_threshold_may_include_its_boundary(count: int, usd: str) -> None:
    """'from' 100 holds at 100, 'above' 100 does not."""
    tiers = {"usd": "1", "tiers": [{"from": 100, "usd": "2"}]}
    assert cost({"input_tokens": tiers}, Usage(input_tokens=count)).usd == Decimal(usd)


def test_the_input_chooses_the_tier_of_the_output() -> None:
    """Tiers are measured by input tokens unless the rate says otherwise."""
    rates = {"input_tokens": "1", "output_tokens": {"usd": "2", "tiers": [{"above": 10, "usd": "4"}]}}
    assert cost(rates, Usage(input_tokens=10, output_tokens=1_000_000)).usd == Decimal("2.00001")
    assert cost(rates, Usage(input_tokens=11, output_tokens=1_000_000)).usd == Decimal("4.000011")
    rates["output_tokens"] = {"usd": "2", "by": "output_tokens", "tiers": [{"above": 10, "usd": "4"}]}
    assert cost(rates, Usage(input_tokens=11, output_tokens=10)).usd == Decimal("0.000031")


def test_marginal_tiers_cut_the_quantity() -> None:
    """Each part of a quantity costs the rate of its tier, told apart in the lines."""
    tiers = {"usd": "4", "mode": "marginal", "tiers": [{"above": 100, "usd": "2"}, {"above": 300, "usd": "1"}]}
    found = cost({"input_tokens": tiers}, Usage(input_tokens=350))
    assert [(line.quantity, line.rate_usd, line.note) for line in found.lines] == [
        (100, 4, "the part up to 100"),
        (200, 2, "the part above 100"),
        (50, 1, "the part above 300"),
    ]
    assert found.usd == Decimal("0.00085")


def test_a_minimum_holds_once_there_is_any() -> None:
    """Ten seconds at least are billed, but nothing for nothing."""
    rates = {"audio_seconds": {"usd": "0.36", "per": 3600}}
    more = {"minimums": {"audio_seconds": "10"}}
    assert cost(rates, Usage(audio_seconds="3.3"), **more).usd == Decimal("0.001")
    assert cost(rates, Usage(audio_seconds=20), **more).usd == Decimal("0.002")
    assert cost(rates, Usage(), **more).usd == 0


def test_a_fee_for_each_call_is_billed_unless_counted() -> None:
    """One request for a call that counts none; as many as it counts otherwise."""
    rates = {"input_tokens": "1", "requests": "5"}
    more = {"per_call": {"requests": "1"}}
    assert cost(rates, Usage(input_tokens=10), **more).usd == Decimal("0.00501")
    assert cost(rates, Usage(input_tokens=10, requests=3), **more).usd == Decimal("0.01501")


def test_rates_that_are_no_whole_picodollars_are_rounded_once() -> None:
    """A third of a dollar per million, three times one token: one rounding, half to even."""
    rates = {"input_tokens": "1/3", "output_tokens": {"usd": "1", "per": 8_000_000_000_000}}
    assert cost(rates, Usage(input_tokens=3)).pico == 1_000_000
    assert cost(rates, Usage(input_tokens=1)).pico == 333_333
    assert [cost(rates, Usage(output_tokens=n)).pico for n in (4, 12, 20)] == [0, 2, 2]


def test_impossible_usage_is_priced_as_far_as_it_can_be() -> None:
    """Counts that a provider reported and cannot be are cut to what can: partial, with the reason, never negative."""
    usage = Usage.reported({"input_tokens": 100, "cache_read_tokens": 500, "output_tokens": -7})
    found = cost({"input_tokens": "10", "cache_read_tokens": "1", "output_tokens": "20"}, usage)
    assert found.status == "partial" and found.pico is not None and found.pico >= 0
    assert all("impossible usage" in reason for reason in found.reasons) and len(found.reasons) == 2


def test_incomplete_counts_are_completed() -> None:
    """Writes known by lifetime alone are billed by lifetime: their sum was implied."""
    rates = {"input_tokens": "1", "cache_write_tokens": "2", "cache_write_1h_tokens": "4"}
    usage = Usage(input_tokens=1_000_000, cache_write_1h_tokens=500_000)
    assert cost(rates, usage).usd == Decimal("2.5")


def test_a_free_model_is_free_whatever_it_used() -> None:
    """A price of zero that is meant has its own status."""
    found = cost({}, Usage(input_tokens=10, web_searches=1), free=True)
    assert (found.usd, found.status, found.lines) == (0, "free", ())


def test_tiers_measured_by_two_units_are_refused() -> None:
    """One price has one measure of its tiers."""
    rates = {
        "input_tokens": {"usd": "1", "tiers": [{"above": 1, "usd": "2"}]},
        "output_tokens": {"usd": "1", "by": "output_tokens", "tiers": [{"above": 1, "usd": "2"}]},
    }
    with pytest.raises(PriceError, match="measured by one unit"):
        Core(rates_of(rates), {}, {})
