"""Money is whole picodollars: integers of 10⁻¹² USD, from the rate to the report.

One rounding rule, half to even, applied once per event where a rate is not a whole number of picodollars.
No float ever adds up money; floats appear only at the edges that can take nothing else (OpenTelemetry, `json`).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

PICO_PER_USD = 10**12
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
WIDEST, FINEST = 60, 400
"""Digits before and after the point of an amount: no float is finer, and `1e999999999`, a number too, would
fill the memory."""


def round_half_even(numerator: int, denominator: int) -> int:
    """The whole number nearest to numerator/denominator, ties to the even one. The denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


def fraction_to_pico(usd: Fraction) -> int:
    """US dollars as a fraction, in picodollars, by the one rounding rule."""
    return round_half_even(usd.numerator * PICO_PER_USD, usd.denominator)


def usd_to_pico(usd: Decimal | int | float | str) -> int:
    """US dollars in picodollars. A float counts as the decimal it prints as. Not a finite number: ValueError."""
    value = Decimal(repr(usd)) if isinstance(usd, float) else Decimal(usd)
    if not is_amount(value):
        raise ValueError(f"an amount of money must be a finite number, not {usd!r}")
    return fraction_to_pico(Fraction(value))


def is_amount(value: Decimal) -> bool:
    """Whether it is a finite number of a size and precision that money can have."""
    if not value.is_finite():
        return False
    return value.adjusted() < WIDEST and int(value.as_tuple().exponent) > -FINEST


def pico_to_usd(pico: int) -> Decimal:
    """Picodollars as exact US dollars, without trailing zeros: 19_500_000_000 -> Decimal('0.0195')."""
    if not pico:
        return Decimal(0)
    usd = Decimal(pico).scaleb(-12, _EXACT).normalize(_EXACT)
    return usd.quantize(Decimal(1), context=_EXACT) if usd.as_tuple().exponent > 0 else usd  # type: ignore[operator]
