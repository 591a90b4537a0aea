"""Numbers as people read them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.reports.text import bar, change, count, dollars, exact_money, money, share, sparkline

USD = 10**12


@pytest.mark.parametrize(
    ("pico", "words"),
    [
        (None, "unpriced"),
        (0, "$0.00"),
        (1_234_567 * USD, "$1,234,567.00"),
        (19_500_000_000, "$0.0195"),
        (25_000_000, "$0.000025"),
        (1, "<$0.000001"),
        (-3 * USD, "-$3.00"),
    ],
)
def test_money(pico: int | None, words: str) -> None:
    """As many decimals as the size asks for; what rounds to nothing says so; an unknown cost is never $0."""
    assert money(pico) == words


def test_money_in_a_column_has_the_columns_decimals() -> None:
    """Two decimals where the column has dollars, and a trace of a cent is no zero."""
    assert money(12_345_000_000_000, 2) == "$12.34"  # half to even
    assert money(1_000_000, 2) == "<$0.01"


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_exact_money_loses_nothing(pico: int) -> None:
    """What is printed is the amount, to the last picodollar."""
    printed = exact_money(pico).replace("$", "").replace(",", "")
    assert Decimal(printed) * USD == pico


def test_an_amount_that_never_ends_is_cut_and_says_so() -> None:
    """A third of a dollar."""
    assert dollars(Fraction(1, 3)) == "$0.333333333333…"
    assert dollars(Fraction(-1, 4)) == "-$0.25"


@given(st.integers(min_value=0, max_value=10**16))
def test_counts_are_short_and_right(number: int) -> None:
    """At most six characters, and off by no more than rounding."""
    words = count(number)
    assert len(words) <= 6
    factor = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(words[-1], 1)
    value = Decimal(words.rstrip("kMBT").replace(",", "")) * factor
    assert abs(value - number) <= Decimal(number) / 190


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(1, 2, "50 %"), (1, 300, "0.3 %"), (1, 10**6, "<0.1 %"), (0, 5, "0 %"), (1, 0, ""), (5, 5, "100 %")],
)
def test_shares(part: int, whole: int, words: str) -> None:
    """A small share is not none; no whole, no share."""
    assert share(part, whole) == words


def test_changes() -> None:
    """More, less, the same, from nothing."""
    assert [change(112, 100), change(97, 100), change(100, 100), change(1, 0), change(0, 0)] == [
        "+12 %",
        "-3 %",
        "±0 %",
        "new",
        "",
    ]


@given(st.floats(min_value=0, max_value=1), st.integers(min_value=1, max_value=60))
def test_bars_fit(fraction: float, width: int) -> None:
    """A bar is never longer than its room, and what is not nothing shows."""
    drawn = bar(fraction, width)
    assert len(drawn) <= width
    assert bool(drawn) == (fraction > 0)


def test_sparklines() -> None:
    """The greatest is full, zero is a low line, and so is an empty stretch."""
    assert sparkline([0, 1, 4, 8]) == "▁▁▄█"
    assert sparkline([0, 0]) == "▁▁"
