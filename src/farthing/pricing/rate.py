"""Rates compiled to integers: cost in picodollars = round_half_even(sum(coefficient[unit] * count) / divisor).

Counts are inclusive totals with subsets inside, so what one rate prices is its unit's count less the counts of the
priced units inside it. That is linear, and so is its product with the rates: it is worked out once, here. Tiers by
context length only choose among several such lists of coefficients. Whatever is not linear (marginal tiers, minimums,
fees per call, measured quantities, incomplete counts) takes the exact way, in fractions, with the same result.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from farthing.errors import PriceError
from farthing.money import PICO_PER_USD, fraction_to_pico, round_half_even
from farthing.pricing.record import Rate
from farthing.usage import CONTAINERS, UNITS, Quantity, Usage

_CONTENT = frozenset(("durations", "characters", "document_pages", "images", "pixels", "rerank"))
"""Families that may be billed in place of tokens: tokens that are reported beside them then cost nothing."""

_ORDER = {
    name: (UNITS[name].family != "tokens", ("direction", "output") in UNITS[name].dimensions, number)
    for number, name in enumerate(UNITS)
}
"""The order of lines: tokens first, what went in before what came out."""

_BY_DIMENSIONS = {unit.dimensions: unit.name for unit in UNITS.values()}


@dataclass(frozen=True, slots=True)
class Part:
    """What one rate priced: `usd` for `per`, tiers applied; `note` tells of a tier, minimum or fee."""

    unit: str
    quantity: int | Fraction
    usd: Fraction
    per: int
    note: str

    @property
    def amount(self) -> Fraction:
        """Exact US dollars."""
        return self.quantity * self.usd / self.per


@dataclass(frozen=True, slots=True)
class Exact:
    """The exact result: its parts, what no rate priced, and the count of `by` that chose the tier."""

    parts: tuple[Part, ...]
    unrated: tuple[str, ...]

    @property
    def pico(self) -> int:
        """The cost in picodollars, by the one rounding."""
        return fraction_to_pico(sum((part.amount for part in self.parts), Fraction()))


class Core:
    """Rates in force, compiled. `evaluate(usage)` is picodollars, or None where the exact way must be taken."""

    __slots__ = (
        "_base",
        "_by",
        "_dear",
        "_divisor",
        "_linear",
        "_lists",
        "_threshold",
        "_thresholds",
        "minimums",
        "per_call",
        "rates",
    )

    def __init__(
        self, rates: Mapping[str, Rate], per_call: Mapping[str, Fraction], minimums: Mapping[str, Fraction]
    ) -> None:
        self.rates = _joined(rates)
        self.per_call = per_call
        self.minimums = minimums
        self._by = _measure(self.rates)
        self._thresholds = sorted(
            {above for rate in self.rates.values() if not rate.marginal for above, _ in rate.tiers}
        )
        self._linear = not (
            per_call or minimums or any(r.marginal for r in rates.values()) or any(not UNITS[u].whole for u in rates)
        )
        fractions = [self._coefficients(count) for count in self._probes()]
        self._divisor = math.lcm(*(value.denominator for band in fractions for value in band.values()))
        self._lists = [{unit: int(value * self._divisor) for unit, value in band.items()} for band in fractions]
        self._base = self._lists[0]
        self._threshold = self._thresholds[0] if self._thresholds else None
        self._dear = self._lists[1] if len(self._lists) == 2 else None

    def _probes(self) -> list[int]:
        """One count of `by` inside each band."""
        return [0, *(above + 1 for above in self._thresholds)]

    def _coefficients(self, count: int) -> dict[str, Fraction]:
        """Picodollars for one of each unit, in the band of this count; 0 for units that a rated unit contains."""
        leaves, covered = _structure(frozenset(self.rates))
        found = {unit: Fraction() for unit in covered}
        for unit, rate in self.rates.items():
            pico = rate.at(count) * PICO_PER_USD / rate.per
            for name, sign in leaves[unit]:
                found[name] = found.get(name, Fraction()) + sign * pico
        return found

    def evaluate(self, usage: Usage) -> int | None:
        """Picodollars of usage that is complete and whole, or None: take `exact`."""
        if not self._linear or not usage.closed:
            return None
        counts = usage.counts  # not through items(): the two calls saved are a fifth of the time
        coefficients = self._base
        if self._threshold is not None:
            count = counts.get(self._by, 0)
            if count > self._threshold:
                coefficients = self._dear or self._lists[bisect_left(self._thresholds, count)]
        total = 0
        try:
            for unit, count in counts.items():
                total += coefficients[unit] * count  # type: ignore[assignment]
        except KeyError:  # a unit that no rate covers
            return None
        return total if self._divisor == 1 else round_half_even(total, self._divisor)

    def together(self, counts: Mapping[str, Quantity | Fraction], count: int) -> Fraction | None:
        """Picodollars of many calls' counts added up, all of them in the band of `count`.

        None where they cannot be priced so: fees per call, minimums, marginal tiers, units that no rate covers.
        """
        if self.per_call or self.minimums or any(rate.marginal for rate in self.rates.values()):
            return None
        coefficients = self._coefficients(count)
        if any(unit not in coefficients for unit, many in counts.items() if many and unit != "requests"):
            return None
        return sum((coefficients.get(unit, 0) * Fraction(many) for unit, many in counts.items()), Fraction())

    def exact(self, usage: Usage) -> Exact:
        """The parts of the cost in fractions; impossible and incomplete counts are made possible first."""
        given = usage.to_dict() if usage.closed else usage.completed()
        counts, notes = self._billed(given)
        leaves, covered = _structure(frozenset(self.rates))
        own = {
            unit: sum((sign * counts[name] for name, sign in leaves[unit] if name in counts), Fraction())
            for unit in self.rates
        }
        by = counts.get(self._by, 0)
        parts = [
            part
            for unit, rate in self.rates.items()
            if own[unit] > 0
            for part in _priced(unit, rate, own[unit], by, notes.get(unit, ""))
        ]
        unrated = [unit for unit in given if unit not in self.rates and unit not in covered]
        return Exact(tuple(parts), self._really_unrated(unrated, counts, own))

    def _billed(self, given: Mapping[str, Quantity]) -> tuple[dict[str, Fraction], dict[str, str]]:
        counts = {unit: Fraction(count) for unit, count in given.items()}
        notes: dict[str, str] = {}
        for unit, count in self.per_call.items():
            if unit not in counts:
                counts[unit] = count
                notes[unit] = "one for each call"
        for unit, least in self.minimums.items():
            if 0 < counts.get(unit, 0) < least:
                notes[unit] = f"{_short(counts[unit])} used, {_short(least)} is the least that is billed"
                counts[unit] = least
        return counts, notes

    def _really_unrated(
        self, unrated: list[str], counts: Mapping[str, Fraction], own: Mapping[str, Fraction]
    ) -> tuple[str, ...]:
        """Of the units that no rate covers, those that something is owed for.

        Not: a request, which is counted but billed only where it has a rate; tokens beside what is billed in their
        place; a total all of whose parts have rates.
        """
        instead = any(UNITS[unit].family in _CONTENT for unit in self.rates if counts.get(unit))
        found = []
        for unit in unrated:
            family = UNITS[unit].family
            inside = sum((own[part] for part in self.rates if unit in CONTAINERS[part]), Fraction())
            if family != "requests" and not (instead and family == "tokens") and counts[unit] > inside:
                found.append(unit)
        return tuple(found)


def _priced(unit: str, rate: Rate, quantity: Fraction, by: Fraction | int, note: str) -> list[Part]:
    """The part, or the parts where marginal tiers cut the quantity."""
    if not rate.marginal:
        usd = rate.at(by)
        passed = [above for above, _ in rate.tiers if by > above]
        if passed:
            note = "; ".join(filter(None, (note, f"{rate.by} above {passed[-1]:,}")))
        return [Part(unit, _plain(quantity), usd, rate.per, note)]
    cuts = [(Fraction(), rate.usd), *((Fraction(above), usd) for above, usd in rate.tiers)]
    parts = []
    for index, (start, usd) in enumerate(cuts):
        end = cuts[index + 1][0] if index + 1 < len(cuts) else quantity
        if (inside := min(quantity, end) - start) > 0:
            words = f"the part above {_short(start)}" if start else f"the part up to {_short(end)}"
            parts.append(Part(unit, _plain(inside), usd, rate.per, words))
    return parts


def _plain(quantity: Fraction) -> int | Fraction:
    return quantity.numerator if quantity.denominator == 1 else quantity


def _short(quantity: Fraction) -> str:
    return f"{quantity.numerator:,}" if quantity.denominator == 1 else f"{float(quantity):g}"


def _measure(rates: Mapping[str, Rate]) -> str:
    measures = {rate.by for rate in rates.values() if rate.tiers and not rate.marginal}
    if len(measures) > 1:
        raise PriceError(f"the tiers of one price must be measured by one unit, not by {', '.join(sorted(measures))}")
    return measures.pop() if measures else "input_tokens"


@lru_cache(maxsize=1024)
def _structure(rated: frozenset[str]) -> tuple[dict[str, tuple[tuple[str, int], ...]], frozenset[str]]:
    """({rated unit: its own quantity as signed counts}, the units without a rate that lie inside a rated one).

    own(u) = count(u) - sum of own(v) over the rated units v inside u.
    """
    own: dict[str, dict[str, int]] = {}
    for unit in sorted(rated, key=lambda name: -len(UNITS[name].dimensions)):
        terms = {unit: 1}
        for inner, inner_terms in own.items():
            if unit in CONTAINERS[inner]:
                for name, sign in inner_terms.items():
                    terms[name] = terms.get(name, 0) - sign
        own[unit] = terms
    covered = frozenset(u for u, outer in CONTAINERS.items() if u not in rated and not rated.isdisjoint(outer))
    return {unit: tuple((n, s) for n, s in terms.items() if s) for unit, terms in own.items()}, covered


def _joined(rates: Mapping[str, Rate]) -> dict[str, Rate]:
    """The rates in the order of lines, and one for every overlap of two that has none: the dearer, never too low."""
    found = dict(rates)
    for join, a, b in _missing_joins(frozenset(rates)):
        found[join] = max(found[a], found[b], key=lambda rate: rate.usd / rate.per)
    return {unit: found[unit] for unit in sorted(found, key=_ORDER.__getitem__)}


@lru_cache(maxsize=1024)
def _missing_joins(rated: frozenset[str]) -> tuple[tuple[str, str, str], ...]:
    found: dict[str, tuple[str, str, str]] = {}
    known = set(rated)
    again = True
    while again:
        again = False
        for a, b in combinations(sorted(known), 2):
            da, db = UNITS[a].dimensions, UNITS[b].dimensions
            if da <= db or db <= da or {k for k, _ in da - db} & {k for k, _ in db - da}:
                continue
            join = _BY_DIMENSIONS.get(da | db)
            if join and join not in known:
                found[join] = (join, a, b)
                known.add(join)
                again = True
    return tuple(found.values())
