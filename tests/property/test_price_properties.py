"""What holds for every price and usage: linear within a tier, never negative, sums of lines, and a peer that agrees."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.money import fraction_to_pico
from farthing.pricing import Catalog, Cost, PriceRecord
from farthing.pricing.rate import Core
from farthing.pricing.record import Rate
from farthing.pricing.resolve import reprice
from farthing.usage import CONTAINERS, UNITS, Usage

TOKENS = [name for name, unit in UNITS.items() if unit.family == "tokens" and len(unit.dimensions) <= 4]
COUNTS = st.integers(0, 2_000_000)
AMOUNTS = st.one_of(
    st.integers(0, 200).map(Fraction),
    st.decimals(0, 100, places=4).map(Fraction),
    st.fractions(0, 50, max_denominator=97),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """A possible usage: totals with subsets that fit inside, some of them overlapping."""
    total, out = draw(COUNTS), draw(COUNTS)
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    hour = draw(st.integers(0, write))
    audio = draw(st.integers(0, total))
    least = max(0, read + audio - total)
    both = draw(st.integers(least, min(read, audio))) if least <= min(read, audio) else 0
    fits = audio - both <= total - read - write
    counts = {
        "input_tokens": total,
        "cache_read_tokens": read,
        "cache_write_tokens": write,
        "cache_write_1h_tokens": hour,
    }
    if fits:
        counts |= {"input_audio_tokens": audio, "cache_audio_read_tokens": both}
    counts |= {"output_tokens": out, "output_reasoning_tokens": draw(st.integers(0, out))}
    return Usage(**counts, web_searches=draw(st.integers(0, 5)))


@st.composite
def rate_maps(draw: st.DrawFn, tiers: bool = True) -> dict[str, Rate]:
    """Rates for some units, with cliff tiers here and there."""
    units = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"]
    units += ["input_audio_tokens", "cache_audio_read_tokens", "output_reasoning_tokens", "web_searches"]
    chosen = draw(st.sets(st.sampled_from(units), min_size=1))
    found = {}
    for unit in sorted(chosen):
        steps = draw(st.lists(st.integers(0, 1_000_000), max_size=2, unique=True)) if tiers else []
        found[unit] = Rate(draw(AMOUNTS), UNITS[unit].per, tuple((step, draw(AMOUNTS)) for step in sorted(steps)))
    return found


@given(rate_maps(), usages())
def test_the_integer_core_and_the_exact_way_agree(rates: dict[str, Rate], usage: Usage) -> None:
    """Where the core answers, it is the exact sum rounded once; its parts are never negative and sum to it."""
    core = Core(rates, {}, {})
    exact = core.exact(usage)
    assert all(part.quantity > 0 and part.amount >= 0 for part in exact.parts)
    assert exact.pico == fraction_to_pico(sum((part.amount for part in exact.parts), Fraction())) >= 0
    quick = core.evaluate(usage)
    assert quick is None or quick == exact.pico
    if usage.closed and not exact.unrated and all(unit in rates for unit, _ in usage.items()):
        assert quick is not None


@given(rate_maps(), usages())
def test_every_token_is_billed_once(rates: dict[str, Rate], usage: Usage) -> None:
    """At one flat rate for every unit of input, the cost is that rate times the total, however it is divided."""
    flat = {unit: Rate(Fraction(3), 1_000_000) for unit in {*rates, "input_tokens"} if UNITS[unit].family == "tokens"}
    inputs = {unit: rate for unit, rate in flat.items() if unit == "input_tokens" or "input_tokens" in CONTAINERS[unit]}
    assert Core(inputs, {}, {}).exact(usage).pico == usage.input_tokens * 3_000_000


@given(rate_maps(tiers=False), usages(), st.integers(1, 1000))
def test_cost_is_linear_within_a_tier(rates: dict[str, Rate], usage: Usage, times: int) -> None:
    """Twice the usage costs twice as much, exactly, before the one rounding."""
    core = Core(rates, {}, {})
    many = Usage(**{unit: count * times for unit, count in usage.items()})
    once = sum((part.amount for part in core.exact(usage).parts), Fraction())
    assert sum((part.amount for part in core.exact(many).parts), Fraction()) == once * times


@given(rate_maps(tiers=False), usages(), usages())
def test_the_cost_of_a_sum_is_the_sum_of_the_costs(rates: dict[str, Rate], a: Usage, b: Usage) -> None:
    """Adding usages adds costs, where no tier lies between and each is complete."""
    if not (a.closed and b.closed and (a + b).closed):
        return
    core = Core(rates, {}, {})
    exact = [sum((part.amount for part in core.exact(usage).parts), Fraction()) for usage in (a, b, a + b)]
    assert exact[0] + exact[1] == exact[2]


@given(st.dictionaries(st.sampled_from(TOKENS), st.integers(-10, 3000), max_size=8), rate_maps())
def test_impossible_usage_never_costs_less_than_nothing(counts: dict[str, int], rates: dict[str, Rate]) -> None:
    """Whatever a provider reports, the cost is not negative and the lines sum to it."""
    data = {unit: {"usd": str(rate.usd), "per": rate.per} for unit, rate in rates.items()}
    record = PriceRecord.make({"provider": "p", "model": "m", "rates": data})
    cost = reprice(record.text, Usage.reported(counts), 0)
    assert cost.pico is None or cost.pico >= 0
    if cost.pico is not None:
        assert fraction_to_pico(sum((line.usd for line in cost.lines), Fraction())) == cost.pico


# -- the peer ---------------------------------------------------------------------------------------------------------

MOMENTS = [datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=97 * n, hours=5 * n) for n in range(8)]
INPUTS = (0, 10, 1000, 100_001, 128_000, 128_001, 199_999, 200_000, 200_001, 272_000, 272_001, 600_000)


def peer() -> Any:
    """genai-prices itself, whose arithmetic we do not use."""
    return pytest.importorskip("genai_prices")


def shaped(keys: set[str], number: int) -> dict[str, int]:
    """A usage of the units that a price has rates for, complete."""
    total = INPUTS[number % len(INPUTS)]
    if "input_mchars" in keys:
        return {"input_characters": total}
    if "input_document_kpages" in keys:
        return {"input_document_pages": 7}
    if "audio_hours" in keys and "input_mtok" not in keys:
        seconds = (number * 37) % 400
        return {"audio_seconds": seconds, **({"input_audio_seconds": seconds} if "input_audio_hours" in keys else {})}
    counts = {"input_tokens": total}
    if "output_mtok" in keys:
        counts["output_tokens"] = number * 7919 % 5000
    if "cache_read_mtok" in keys:
        counts["cache_read_tokens"] = total * (number % 5) // 9
    if "cache_write_mtok" in keys:
        counts["cache_write_tokens"] = total * (number % 3) // 7
    if "cache_write_1h_mtok" in keys:
        counts["cache_write_1h_tokens"] = counts["cache_write_tokens"] // 2
    if "web_searches_kcount" in keys:
        counts["web_searches"] = number % 4
    return {unit: count for unit, count in counts.items() if count}


def why_ours_differs(provider: str, model: str, context: dict[str, str], cost: Cost) -> str | None:
    """The reason why ours is right where the peer says something else; None where there is none."""
    if cost.status == "unpriced":
        return "a price without any rate is not free" if "any rate" in cost.reasons[0] else None
    if any("are taken to have held before" in reason for reason in cost.reasons):
        return "a service existed before the day its rates were collected"
    if provider == "deepseek":
        return "DeepSeek's prices by date, weekday and hour"
    if model in ("o3", "o3-2025-04-16"):
        return "o3 before its price cut"
    return None


def test_the_peer_agrees_or_the_reason_is_known() -> None:
    """Every model of genai-prices, over dates, tiers and services, costs the same; each difference has its reason."""
    genai = peer()
    from genai_prices.data import providers

    catalog = Catalog.default()
    compared, differences, unexplained = 0, Counter[str](), []
    for number, (provider, model) in enumerate((p, m) for p in providers for m in p.models):
        for step, context in enumerate([{}, *(variant.when for variant in model.price_variants or ())]):
            at = MOMENTS[(number + step) % len(MOMENTS)]
            keys = {key for key, value in model.get_prices(at, context).__dict__.items() if value is not None}
            counts = shaped(keys, number + step)
            theirs = model.calc_price(
                genai.Usage(**counts), provider, genai_request_timestamp=at, price_context=context
            ).total_price.quantize(Decimal("1e-12"), ROUND_HALF_EVEN)
            cost = catalog.price(model.id, Usage(**counts), provider=provider.id, at=at, context=context)
            compared += 1
            if cost.usd == theirs:
                continue
            reason = why_ours_differs(provider.id, model.id, context, cost)
            differences[reason or ""] += 1
            if reason is None:
                unexplained.append((provider.id, model.id, str(at), counts, context, theirs, cost, cost.reasons))
    print(f"\n{compared} prices compared with genai-prices, {compared - differences.total()} equal")
    for reason, count in differences.most_common():
        print(f"{count:6d} differ: {reason}")
    assert unexplained == []
    assert compared > 2400
