"""Prices asked of the process-wide catalog."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from farthing.errors import UsageError, shown
from farthing.money import fraction_to_pico
from farthing.pricing.catalog import Catalog
from farthing.pricing.cost import Cost
from farthing.pricing.overlay import CustomModel
from farthing.pricing.register import Amount
from farthing.usage import Usage


def price(
    model: str,
    usage: Usage,
    *,
    provider: str | None = None,
    at: datetime | str | int | None = None,
    context: Mapping[str, Any] | None = None,
) -> Cost:
    """What this usage of a model costs: exact, with its lines, its status and where the price is from.

    `provider` may be any name of it (an id, an OpenTelemetry or SDK name, a host); None: told by the model's name.
    `at` is when the call was made (naive: UTC; or ISO text, or microseconds since 1970); None: now. `context` is the
    request as it was served: {"processing": "batch"}, {"service_tier": "flex"}, {"inference_geo": "us"}, ...
    An unknown model, tier or unit raises nothing: the status is `unpriced` or `partial`, with the reasons.
    """
    return Catalog.default().price(model, usage, provider=provider, at=at, context=context)


def register_model_pricing(
    model: str,
    input_price_per_million: Amount | None = None,
    output_price_per_million: Amount | None = None,
    provider: str = "custom",
    *,
    match_pattern: str | None = None,
    unit: str = "TOKENS",
    valid_from: str | date | datetime | None = None,
    **more: Any,
) -> CustomModel:
    """Add a price of your own to the process-wide catalog; it wins over every other for this model.

    `more` takes the other fields of CustomPrice: `input_price`, `output_price`, `total_price` (for one `unit`),
    `cached_input_price_per_million`, `cache_write_price_per_million`, `rates`, `valid_to`. PriceError: what cannot be.
    """
    return Catalog.default().register(
        model,
        input_price_per_million,
        output_price_per_million,
        provider,
        match_pattern=match_pattern,
        unit=unit,
        valid_from=valid_from,
        **more,
    )


def calculate_cost(
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    cache_discount: float | None = None,
) -> float:
    """US dollars of one call as a float; `cached_tokens` are a part of `input_tokens`.

    Cached tokens cost the catalog's rate for them, or the input rate less `cache_discount` (0.9 = 90 % off) where that
    is given. An unknown model warns and costs 0.0, here and nowhere else: `price()` says that it is unpriced.
    """
    usage = Usage(input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens)
    if cache_discount is not None:
        off = _share(cache_discount)
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    resolved = Catalog.default().resolve(model)
    cost = resolved.cost(usage)
    if cost.status in ("unpriced", "partial"):
        what = "cost 0.0, because no price is known" if cost.pico is None else "a part of the cost is not known"
        warnings.warn(f"{what}: {'; '.join(cost.reasons)}", UserWarning, stacklevel=2)
    pico = cost.pico or 0
    if cache_discount is not None and cached_tokens:
        rate = resolved.rate("input_tokens", usage) or Fraction()
        pico -= fraction_to_pico(rate * cached_tokens * off)
    return pico / 10**12


def _share(discount: object) -> Fraction:
    """A discount as an exact fraction of 1; a float counts as the decimal it prints as. Else UsageError."""
    if isinstance(discount, int | float | Decimal) and 0 <= discount <= 1:
        return Fraction(str(discount))
    raise UsageError(f"cache_discount = {shown(discount)}: must be a number between 0 and 1, 0.9 for 90 % off")
