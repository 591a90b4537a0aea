"""Pricing: the same calls priced by us and by others, equal results checked first, then the ratio of the times."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import genai_prices

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
    held = against("genai_prices.calc_price", _genai)
    if (litellm := _litellm()) is None:
        print("   litellm is not installed: pip install 'farthing[bench]' adds it to the comparison")
        return held
    return against("litellm.cost_per_token", litellm) and held


def against(name: str, peer: Callable[[str, dict[str, int]], Decimal]) -> bool:
    """Whether the claims hold against one peer, over all calls together."""
    resolved: list[tuple[Resolved, Usage]] = []
    for model, counts in CALLS:
        ours, theirs = (
            price(model, Usage(**counts)).usd,
            peer(model, counts).quantize(Decimal("1e-12"), ROUND_HALF_EVEN),
        )
        if ours != theirs:
            print(f"   {model}: ours {ours}, {name} {theirs}: not compared")
            return False
        found = Catalog.default().resolve(model)
        assert isinstance(found, Resolved)
        resolved.append((found, Usage(**counts)))

    def by_peer() -> None:
        for model, counts in CALLS:
            peer(model, counts)

    def core() -> None:
        for found, usage in resolved:
            found.evaluate(usage)

    def cost() -> None:
        for found, usage in resolved:
            found.cost(usage)

    def by_name() -> None:
        for model, counts in CALLS:
            price(model, Usage(**counts))

    slow = per_call_us(by_peer, calls=300) / len(CALLS)
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


def _genai(model: str, counts: dict[str, int]) -> Decimal:
    return genai_prices.calc_price(genai_prices.Usage(**counts), model).total_price


def _litellm() -> Callable[[str, dict[str, int]], Decimal] | None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its own table: no fetching while we measure
    try:
        import litellm
    except ImportError:
        return None
    names = {"cache_read_tokens": "cache_read_input_tokens", "cache_write_tokens": "cache_creation_input_tokens"}
    names |= {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}

    def peer(model: str, counts: dict[str, int]) -> Decimal:
        given: dict[str, Any] = {names[unit]: count for unit, count in counts.items()}
        return Decimal(repr(round(sum(litellm.cost_per_token(model=model, **given)), 12)))

    return peer
