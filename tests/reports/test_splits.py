"""Whatever is split adds up again, to the picodollar."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.reports.chargeback import in_cents
from farthing.reports.split import rounded, split
from farthing.reports.why import PARTS, Use, changes

weights = st.lists(
    st.one_of(st.integers(0, 10**6), st.fractions(0, 1000, max_denominator=997)), min_size=1, max_size=20
)
counts = st.integers(0, 10**9)
rates = st.fractions(0, 10**8, max_denominator=1000)


@given(st.integers(-(10**18), 10**18), weights)
def test_parts_add_up_to_the_whole(whole: int, weights: list[int | Fraction]) -> None:
    """No part is more than one off its exact share, and nothing is left."""
    parts = split(whole, weights)
    assert sum(parts) == whole
    together = sum(Fraction(weight) for weight in weights)
    for part, weight in zip(parts, weights, strict=True):
        exact = Fraction(whole) * (Fraction(weight) / together if together else Fraction(1, len(weights)))
        assert abs(part - exact) < 1


def test_the_largest_remainders_get_what_is_left() -> None:
    """Of equal remainders the first; what cannot be split is refused."""
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(-10, [1, 1, 1]) == [-4, -3, -3]
    assert split(100, [Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]) == [50, 33, 17]
    assert split(7, [0, 0]) == [4, 3] and split(0, []) == []
    with pytest.raises(ValueError, match="no parts"):
        split(1, [])
    with pytest.raises(ValueError, match="never negative"):
        split(1, [2, -1])


@given(st.lists(st.fractions(-(10**12), 10**12, max_denominator=10**6), min_size=1, max_size=12), st.integers(-20, 20))
def test_rounded_parts_add_up(parts: list[Fraction], off: int) -> None:
    """Exact amounts of either sign become whole ones with the sum that is asked for, each as near as it can be."""
    whole = round(sum(parts)) + off
    found = rounded(parts, whole)
    assert sum(found) == whole
    assert all(abs(new - old) <= 2 + abs(off) for new, old in zip(found, parts, strict=True))


@given(st.lists(st.integers(-(10**15), 10**15), max_size=12))
def test_cents_of_statements_add_up_to_the_total_in_cents(amounts: list[int]) -> None:
    """The total is rounded once, and so is nothing else visibly."""
    cents = in_cents(amounts)
    assert abs(Fraction(sum(amounts), 10**10) - sum(cents)) <= Fraction(1, 2)


def uses() -> st.SearchStrategy[dict[tuple[str | None, str], Use]]:
    """One period: models with any counts, rates and costs."""

    def use(numbers: tuple[int, ...], rated: tuple[Fraction, ...]) -> Use:
        calls, cost, into, read, write, output = numbers
        return Use(
            calls=calls, cost=cost, input=into, read=min(read, into), write=min(write, into - min(read, into)),
            output=output, plain_rate=rated[0], read_rate=rated[1], write_rate=rated[2], output_rate=rated[3],
        )  # fmt: skip

    one = st.builds(use, st.tuples(st.integers(0, 500), *[counts] * 5), st.tuples(*[rates] * 4))
    names = st.tuples(st.none() | st.just("p"), st.sampled_from("abcdef"))
    return st.dictionaries(names, one, max_size=5)


@given(uses(), uses())
def test_the_parts_of_a_difference_add_up(before: dict, now: dict) -> None:
    """In each row and in all, to the picodollar, whatever the periods are."""
    found = changes(before, now)
    assert {one.model for one in found} == {*before, *now}
    for one in found:
        assert sum(one.parts[part] for part in PARTS) == one.now - one.before
    assert sum(one.now for one in found) == sum(use.cost for use in now.values())
    assert sum(one.before for one in found) == sum(use.cost for use in before.values())
