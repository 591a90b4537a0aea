"""Calls with their exact expected cost: those given from outside, and our own."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from farthing.money import fraction_to_pico
from farthing.pricing import Cost, price
from farthing.usage import Usage

OWN = json.loads((Path(__file__).parent / "extra.json").read_text())["cases"]


def cost_of(case: dict[str, Any]) -> Cost:
    """What the case's call costs."""
    at = datetime.fromisoformat(case["at"])
    return price(case["model"], Usage(**case["usage"]), provider=case["provider"], at=at, context=case["context"])


def check(case: dict[str, Any]) -> None:
    """The cost is exactly as expected, and its lines sum to it; no known cost means a reason."""
    cost = cost_of(case)
    if case["expected_usd"] is None:
        assert cost.usd is None and cost.status == "unpriced" and cost.reasons
        return
    assert cost.usd == Decimal(case["expected_usd"]), (case["why"], cost, cost.reasons)
    assert cost.status in ("priced", "free")
    assert fraction_to_pico(sum((line.usd for line in cost.lines), Fraction())) == cost.pico


def test_every_given_case_costs_exactly_what_is_expected(shared: Path) -> None:
    """Each call of the given file costs what it says, line by line."""
    cases = json.loads((shared / "golden" / "prices.json").read_text())["cases"]
    assert len(cases) >= 20
    for case in cases:
        check(case)
        cost = cost_of(case)
        lines = sorted((Decimal(str(line.quantity)), line.rate_usd, line.per) for line in cost.lines)
        assert lines == sorted((Decimal(row["qty"]), Decimal(row["rate_usd"]), row["per"]) for row in case["lines"]), (
            case["id"]
        )
        if case["expected_usd_fraction"]:
            assert sum((line.usd for line in cost.lines), Fraction()) == Fraction(case["expected_usd_fraction"])


@pytest.mark.parametrize("case", OWN, ids=[case["id"] for case in OWN])
def test_our_own_cases(case: dict[str, Any]) -> None:
    """Each call of extra.json costs what its published rates give by hand."""
    check(case)
