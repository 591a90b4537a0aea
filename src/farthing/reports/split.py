"""Whole picodollars divided into parts that add up to the whole again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def split(whole: int, weights: Sequence[int | Fraction]) -> list[int]:
    """`whole` in proportion to the weights (none negative); the parts add up to it exactly.

    Each part is rounded towards zero; what is then missing goes, one by one, to the parts with the largest remainders,
    the first of equal ones first. Where all weights are 0, the parts are as equal as they can be.
    """
    if not weights:
        if whole:
            raise ValueError(f"{whole} cannot be split into no parts")
        return []
    shares = [Fraction(weight) for weight in weights]
    if min(shares) < 0:
        raise ValueError(f"a weight is never negative, like {min(shares)}")
    together = sum(shares) or Fraction(len(shares))
    if together == len(shares) and not any(shares):
        shares = [Fraction(1)] * len(shares)
    size = abs(whole)
    exact = [size * share / together for share in shares]
    parts = [int(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return parts if whole >= 0 else [-part for part in parts]


def rounded(parts: Sequence[Fraction], whole: int) -> list[int]:
    """Exact amounts, of either sign, as whole numbers that add up to `whole`; none moves by more than it must.

    What rounding leaves goes to the parts that rounding moved the furthest the other way.
    """
    found = [round(part) for part in parts]
    left = whole - sum(found)
    step = 1 if left > 0 else -1
    order = sorted(range(len(found)), key=lambda i: (step * (found[i] - parts[i]), i))
    for n in range(abs(left)):
        found[order[n % len(order)]] += step
    return found
