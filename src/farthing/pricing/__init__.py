"""Prices: a model name, usage, a moment and a request context -> an exact, explained cost.

Names are loaded when first used: who only reads kept price records does not load the catalog.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farthing.pricing.calls import calculate_cost, price, register_model_pricing
    from farthing.pricing.catalog import Catalog, Listed
    from farthing.pricing.cost import Cost, CostLine, Provenance
    from farthing.pricing.match import Match, Miss
    from farthing.pricing.record import PriceRecord
    from farthing.pricing.register import CustomPrice, load_custom, save_custom
    from farthing.pricing.resolve import Resolved, Unpriced, reprice

__all__ = [
    "Catalog",
    "Cost",
    "CostLine",
    "CustomPrice",
    "Listed",
    "Match",
    "Miss",
    "PriceRecord",
    "Provenance",
    "Resolved",
    "Unpriced",
    "calculate_cost",
    "load_custom",
    "price",
    "register_model_pricing",
    "reprice",
    "save_custom",
]

_WHERE = {
    "calls": ("calculate_cost", "price", "register_model_pricing"),
    "catalog": ("Catalog", "Listed"),
    "cost": ("Cost", "CostLine", "Provenance"),
    "match": ("Match", "Miss"),
    "record": ("PriceRecord",),
    "register": ("CustomPrice", "load_custom", "save_custom"),
    "resolve": ("Resolved", "Unpriced", "reprice"),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'farthing.pricing' has no attribute {name!r}")
    value = getattr(import_module(f"farthing.pricing.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
