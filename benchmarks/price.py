"""Pricing: the same calls priced by us and by others, equal results checked first, then the ratio of the times."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices

from benchmarks import _litellm
from benchmarks._measure import claim, per_call_us
from farthing.pricing import Catalog, Resolved, price
from farthing.usage import Usage

CALLS: list[tuple[str, dict[str, int]]] = [
    ("gpt-4o", {"input_tokens": 1500, "cache_read_tokens": 1200, "output_tokens": 350}),
    ("claude-sonnet-4-5", {"input_tokens": 4740, "cache_write_tokens": 4735, "output_tokens": 255}),
    ("gemini-2.5-pro", {"input_tokens": 262_960, "cache_read_tokens": 257_955, "output_tokens": 1744}),
]
"""A plain call, one that writes a cache, one above a threshold: a subset of what each model can be asked."""

CORE, COST, NAME = 100, 20, 8
"""What is claimed against a peer: the integer core, a Cost with the model resolved, from model name and counts."""


def main() -> bool:
    """Whether every claim holds."""
    costs = [genai_prices.calc_price(genai_prices.Usage(**counts), model).total_price for model, counts in CALLS]
    held = against("genai_prices.calc_price", costs, per_call_us(_genai, calls=300))
    peer = _litellm.ask("price", CALLS)
    if peer is None:
        print(_litellm.MISSING)
        return held
    costs = [Decimal(repr(round(usd, 12))) for usd in peer["usd"]]
    return against("litellm.cost_per_token", costs, peer["us"]) and held


def _genai() -> None:
    for model, counts in CALLS:
        genai_prices.calc_price(genai_prices.Usage(**counts), model)


def against(name: str, costs: list[Decimal], slow_us: float) -> bool:
    """Whether the claims hold against one peer: its costs of the calls, and its microseconds for all of them."""
    resolved: list[tuple[Resolved, Usage]] = []
    for (model, counts), cost_usd in zip(CALLS, costs, strict=True):
        ours, theirs = price(model, Usage(**counts)).usd, cost_usd.quantize(Decimal("1e-12"), ROUND_HALF_EVEN)
        if ours != theirs:
            print(f"   {model}: ours {ours}, {name} {theirs}: not compared")
            return False
        found = Catalog.default().resolve(model)
        assert isinstance(found, Resolved)
        resolved.append((found, Usage(**counts)))

    def core() -> None:
        for found, usage in resolved:
            found.evaluate(usage)

    def cost() -> None:
        for found, usage in resolved:
            found.cost(usage)

    def by_name() -> None:
        for model, counts in CALLS:
            price(model, Usage(**counts))

    slow = slow_us / len(CALLS)
    held = True
    for what, work, least in (
        ("integer core", core, CORE),
        ("Cost, model resolved", cost, COST),
        ("from name and counts", by_name, NAME),
    ):
        ours_us = per_call_us(work, calls=5_000) / len(CALLS)
        held &= claim(
            f"{what} against {name}", slow / ours_us, at_least=least, detail=f"{ours_us:.2f} us against {slow:.1f} us"
        )
    return held
