"""farthing: every token accounted for.

    import farthing

    tracker = farthing.CostTracker()
    event = tracker.record("claude-sonnet-4-20250514", input_tokens=1500, output_tokens=1000, agent="researcher")
    event.cost                                  # 0.0195
    tracker.get_summary()

    farthing.price("gpt-4o", farthing.Usage(input_tokens=1500, output_tokens=350)).usd
    farthing.extract(response_body).usage

Names are loaded when first used, so that importing farthing costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farthing.budgets.blocks import budget
    from farthing.capture.budgeted import with_budget
    from farthing.capture.context import agent_run, attribute, propagate, session, task
    from farthing.capture.decorators import track
    from farthing.capture.headers import headers_in, headers_out
    from farthing.capture.responses import on_response
    from farthing.capture.transport import instrument, uninstrument
    from farthing.config import Settings, load_settings
    from farthing.errors import (
        AgentPausedError,
        BudgetConflict,
        BudgetError,
        BudgetExceededError,
        BudgetUnavailable,
        ConfigError,
        ExtractionError,
        FarthingError,
        InputError,
        LedgerBusy,
        LedgerCorrupt,
        LedgerError,
        LedgerFull,
        LedgerUnavailable,
        PriceError,
        TaskKilledError,
        UsageError,
    )
    from farthing.event import Attribution, Event
    from farthing.ledger.open import open_ledger
    from farthing.ledger.store import Filter, Question, Row, Store
    from farthing.policy import Budget
    from farthing.pricing.calls import calculate_cost, price, register_model_pricing
    from farthing.pricing.catalog import Catalog
    from farthing.pricing.cost import Cost
    from farthing.pricing.extract import Extraction, extract
    from farthing.tenants import TenantCostTracker
    from farthing.totals import Totals
    from farthing.traces import Observation, Trace
    from farthing.tracker import CostTracker
    from farthing.usage import UNITS, Usage

    __version__: str

__all__ = [
    "UNITS",
    "AgentPausedError",
    "Attribution",
    "Budget",
    "BudgetConflict",
    "BudgetError",
    "BudgetExceededError",
    "BudgetUnavailable",
    "Catalog",
    "ConfigError",
    "Cost",
    "CostTracker",
    "Event",
    "Extraction",
    "ExtractionError",
    "FarthingError",
    "Filter",
    "InputError",
    "LedgerBusy",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerFull",
    "LedgerUnavailable",
    "Observation",
    "PriceError",
    "Question",
    "Row",
    "Settings",
    "Store",
    "TaskKilledError",
    "TenantCostTracker",
    "Totals",
    "Trace",
    "Usage",
    "UsageError",
    "__version__",
    "agent_run",
    "attribute",
    "budget",
    "calculate_cost",
    "extract",
    "headers_in",
    "headers_out",
    "instrument",
    "load_settings",
    "on_response",
    "open_ledger",
    "price",
    "propagate",
    "register_model_pricing",
    "session",
    "task",
    "track",
    "uninstrument",
    "with_budget",
]

_WHERE = {
    "budgets.blocks": ("budget",),
    "capture.budgeted": ("with_budget",),
    "capture.transport": ("instrument", "uninstrument"),
    "capture.context": ("agent_run", "attribute", "propagate", "session", "task"),
    "capture.decorators": ("track",),
    "capture.headers": ("headers_in", "headers_out"),
    "capture.responses": ("on_response",),
    "config": ("Settings", "load_settings"),
    "errors": (
        "AgentPausedError",
        "BudgetConflict",
        "BudgetError",
        "BudgetExceededError",
        "BudgetUnavailable",
        "ConfigError",
        "ExtractionError",
        "FarthingError",
        "InputError",
        "LedgerBusy",
        "LedgerCorrupt",
        "LedgerError",
        "LedgerFull",
        "LedgerUnavailable",
        "PriceError",
        "TaskKilledError",
        "UsageError",
    ),
    "event": ("Attribution", "Event"),
    "ledger.open": ("open_ledger",),
    "ledger.store": ("Filter", "Question", "Row", "Store"),
    "policy": ("Budget",),
    "pricing.calls": ("calculate_cost", "price", "register_model_pricing"),
    "pricing.catalog": ("Catalog",),
    "pricing.cost": ("Cost",),
    "pricing.extract": ("Extraction", "extract"),
    "tenants": ("TenantCostTracker",),
    "totals": ("Totals",),
    "traces": ("Observation", "Trace"),
    "tracker": ("CostTracker",),
    "usage": ("UNITS", "Usage"),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
_SUBMODULES = frozenset({"classic", "config", "errors", "testing"})


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(f"farthing.{_MODULE_OF[name]}"), name)
    elif name in _SUBMODULES:
        value = import_module(f"farthing.{name}")
    elif name == "__version__":
        value = import_module("importlib.metadata").version("farthing")
    else:
        raise AttributeError(f"module 'farthing' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
