"""Money: whole picodollars, one rounding rule."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.money import fraction_to_pico, pico_to_usd, round_half_even, usd_to_pico


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_rounding_is_half_to_even(numerator: int, denominator: int) -> None:
    """The rule is Python's own for exact fractions."""
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**25), 10**25))
def test_picodollars_survive_the_way_to_dollars_and_back(pico: int) -> None:
    """No amount changes by being shown."""
    assert usd_to_pico(pico_to_usd(pico)) == pico


@pytest.mark.parametrize(
    ("given", "pico"),
    [
        ("0.0195", 19_500_000_000),
        (0.1, 100_000_000_000),
        (3, 3 * 10**12),
        (Decimal("1e-12"), 1),
        ("0.0000000000005", 0),
    ],
)
def test_dollars_become_picodollars(given: object, pico: int) -> None:
    """A float counts as the decimal it prints as; less than a picodollar is rounded half to even."""
    assert usd_to_pico(given) == pico  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["NaN", float("inf"), Decimal("-Infinity")])
def test_no_amount_is_not_finite(bad: object) -> None:
    """NaN and infinities are refused."""
    with pytest.raises(ValueError, match="finite"):
        usd_to_pico(bad)  # type: ignore[arg-type]


def test_dollars_print_as_people_write_them() -> None:
    """No exponents for ordinary amounts and no trailing zeros."""
    assert [str(pico_to_usd(p)) for p in (0, 10**14, 19_500_000_000, 308_333_333)] == [
        "0",
        "100",
        "0.0195",
        "0.000308333333",
    ]
    assert fraction_to_pico(Fraction(37, 120_000)) == 308_333_333


@pytest.mark.parametrize("amount", ["1e999999999", "1e-999999999", Decimal("1e70")])
def test_an_amount_whose_digits_would_fill_the_memory_is_refused(amount: str | Decimal) -> None:
    """At once, and not when the memory is full."""
    with pytest.raises(ValueError, match="finite number"):
        usd_to_pico(amount)
    assert usd_to_pico(5e-324) == 0
