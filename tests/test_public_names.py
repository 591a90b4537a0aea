"""The names that others build on: which they are, and that they cost nothing until used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import farthing

NAMES = {
    *("CostTracker", "Catalog", "Cost", "Usage", "UNITS", "Event", "Attribution", "Totals", "Extraction", "Trace"),
    *("price", "extract", "calculate_cost", "register_model_pricing", "open_ledger", "load_settings", "Settings"),
    *("Filter", "Question", "Row", "Store", "Observation", "__version__"),
    *("attribute", "agent_run", "session", "task", "track", "propagate", "headers_in", "headers_out"),
    "on_response",
    *("instrument", "uninstrument"),
    *("FarthingError", "UsageError", "PriceError", "ExtractionError", "ConfigError", "InputError"),
    *("Budget", "budget", "with_budget", "TenantCostTracker", "AgentPausedError", "TaskKilledError"),
    *("BudgetError", "BudgetExceededError", "BudgetConflict", "BudgetUnavailable"),
    *("LedgerError", "LedgerUnavailable", "LedgerFull", "LedgerCorrupt", "LedgerBusy"),
}


def test_the_exported_names() -> None:
    """Adding or removing a public name is a decision, made here too."""
    assert set(farthing.__all__) == NAMES
    assert len(farthing.__all__) == len(set(farthing.__all__))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there_and_explained(name: str) -> None:
    """Each can be had from the package, and says what it is."""
    value = getattr(farthing, name)
    assert name in dir(farthing)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'prise'"):
        farthing.prise


def test_the_fixed_signatures() -> None:
    """price, extract and calculate_cost keep the parameters that others call them with."""

    def parameters(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert parameters(farthing.price) == ["model", "usage", "provider", "at", "context"]
    assert parameters(farthing.extract) == ["body", "provider", "path", "content_type"]
    assert parameters(farthing.calculate_cost)[:5] == [
        "model",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cache_discount",
    ]


def test_importing_loads_no_part_of_the_house() -> None:
    """`import farthing` runs one file; parts and vendors come when first used."""
    code = "import sys, farthing; print([m for m in sys.modules if m.startswith('farthing.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
