"""A price record, a moment and a request context, made into rates that evaluate usage.

Context values are lower case. A value is neutral, or a variant of the record takes it, or the price is not known: a
misspelt service tier is never billed as the standard one. Keys that no record knows change nothing, and are named.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from farthing.event import quick
from farthing.money import pico_to_usd
from farthing.pricing.bands import EVER, holds, span_around, window_at, words
from farthing.pricing.cost import Cost, CostLine, Provenance
from farthing.pricing.rate import Core, Exact
from farthing.pricing.record import PriceRecord, Rate, moment_us, rates_of
from farthing.usage import UNITS, Quantity, Usage

Pairs = tuple[tuple[str, str], ...]
"""A request context as sorted (key, value) pairs."""

_DIGITS = Context(prec=28)
_make_cost = quick(Cost)

_SAME = {
    ("service_tier", "batch"): ("processing", "batch"),
    ("service_tier", "on_demand_flex"): ("service_tier", "flex"),
    ("service_tier", "on_demand_priority"): ("service_tier", "priority"),
    ("processing", "flex"): ("service_tier", "flex"),
    ("processing", "priority"): ("service_tier", "priority"),
    ("batch", "true"): ("processing", "batch"),
    ("batch", "false"): ("processing", "standard"),
    ("service_tier", "service_tier_standard"): ("service_tier", "standard"),
    ("service_tier", "service_tier_flex"): ("service_tier", "flex"),
    ("service_tier", "service_tier_priority"): ("service_tier", "priority"),
}
"""The same request said in other words."""


def context_pairs(context: Mapping[str, Any] | None) -> Pairs:
    """A request context in its one form: lower case, sorted, without what is empty."""
    if not context:
        return ()
    pairs = {}
    for key, value in context.items():
        if value is not None and value != "":
            pair = (str(key).lower(), str(value).lower())
            name, text = _SAME.get(pair, pair)
            pairs[name] = text
    return tuple(sorted(pairs.items()))


class Resolved:
    """A price that is known: `evaluate(usage)` is whole picodollars, `cost(usage)` the explained cost.

    `since_us` and `until_us` bound the span in which it stays the same for this record and context.
    """

    __slots__ = (
        "_base",
        "_core",
        "_free",
        "band",
        "context",
        "matched",
        "model",
        "reasons",
        "record",
        "since_us",
        "until_us",
    )

    def __init__(self, record: PriceRecord, terms: Terms, model: str, matched: str) -> None:
        self.record = record
        self.model = model
        self.matched = matched
        self.context = terms.applied
        self.band = terms.band
        self.reasons = terms.notes
        self.since_us, self.until_us = terms.span
        self._core = terms.core
        self._free = record.free
        self._base = "free" if record.free else "priced"

    @property
    def provider(self) -> str:
        """The id of the provider whose price it is."""
        return self.record.provider

    @property
    def provenance(self) -> Provenance:
        """Where the price is from."""
        record = self.record
        return Provenance(
            provider=record.provider,
            model=record.model,
            matched=self.matched,
            valid_from=record.valid_from,
            valid_to=record.valid_to,
            source=record.source,
            published=record.published,
            price_hash=record.hash,
            context=dict(self.context),
            band=self.band,
        )

    def evaluate(self, usage: Usage) -> int | None:
        """Picodollars; None where nothing of the usage has a price."""
        pico = self._core.evaluate(usage)
        return pico if pico is not None else self._slow(usage).pico

    def cost(self, usage: Usage) -> Cost:
        """The cost of this usage."""
        pico = self._core.evaluate(usage)
        if pico is None or self._free:
            return self._slow(usage)
        return _make_cost(pico, self._base, self.reasons, self.model, self, usage)

    def together(self, counts: Mapping[str, Quantity | Fraction], size: int) -> Fraction | None:
        """Picodollars of many calls' counts added up, each call at the tier of `size` input tokens; None: not so."""
        return Fraction(0) if self._free else self._core.together(counts, size)

    def _slow(self, usage: Usage) -> Cost:
        if self._free:
            return Cost(0, "free", self.reasons, self.model, self, usage)
        exact = self._core.exact(usage)
        reasons = self.reasons
        status = self._base
        pico: int | None = exact.pico
        if usage.problems:
            status = "partial"
            reasons += tuple(f"impossible usage, priced as far as it can be: {problem}" for problem in usage.problems)
        if exact.unrated:
            missing = ", ".join(exact.unrated)
            reasons += (f"no rate for {missing} in the price of {self.record.provider} {self.record.model}",)
            status = "partial"
            if not exact.parts:
                status, pico = "unpriced", None
        return Cost(pico, status, reasons, self.model, self, usage)

    def lines(self, usage: Usage) -> tuple[CostLine, ...]:
        """The lines of the cost, exact."""
        return () if self._free else tuple(_lines(self._core.exact(usage)))

    def rate(self, unit: str, usage: Usage) -> Fraction | None:
        """US dollars for one of a unit, at the tier this usage reaches; None where the unit has no rate."""
        found = self._core.rates.get(unit)
        return None if found is None else found.at(usage.input_tokens) / found.per


class Unpriced:
    """A price that is not known: the same face as `Resolved`, with the reasons.

    `standard` is what would be charged without the context that has no price.
    """

    __slots__ = ("_standard", "matched", "model", "provider", "reasons", "record", "since_us", "until_us")

    def __init__(
        self, model: str, provider: str | None, reasons: Sequence[str], standard: Resolved | None = None
    ) -> None:
        self.model = model
        self.provider = provider
        self.reasons = tuple(reasons)
        self.matched = standard.matched if standard else ""
        self.record: PriceRecord | None = None
        self._standard = standard
        self.since_us, self.until_us = (standard.since_us, standard.until_us) if standard else EVER

    provenance = None

    def evaluate(self, usage: Usage) -> int | None:
        """None: not known."""
        return None

    def cost(self, usage: Usage) -> Cost:
        """A cost that is not known, with what it would be at standard rates where there are such."""
        reasons = self.reasons
        if self._standard and (pico := self._standard.evaluate(usage)) is not None:
            reasons += (f"at standard rates it would cost {pico_to_usd(pico)} USD",)
        return Cost(None, "unpriced", reasons, self.model, self, usage)

    def lines(self, usage: Usage) -> tuple[CostLine, ...]:
        """None of them is known."""
        return ()

    def rate(self, unit: str, usage: Usage) -> Fraction | None:
        """None: not known."""
        return None


class Terms:
    """What record, moment and context come to: the compiled rates, and what was applied and refused."""

    __slots__ = ("applied", "band", "core", "notes", "refused", "span")

    def __init__(self, record: PriceRecord, at_us: int, context: Pairs) -> None:
        data = record.data
        variants = [part for part in data.get("variants", ()) if holds(part, at_us)]
        windows = data.get("windows", ())
        window, span = window_at(windows, at_us)
        dated = span_around((*data.get("variants", ()), *windows), at_us)
        self.span = (max(span[0], dated[0]), min(span[1], dated[1]))
        self.band = words(window) if window else ""
        rates = rates_of(data.get("rates", {}))
        if window:
            rates.update(rates_of(window["rates"]))
        chosen, self.refused, ignored = _choose(data, variants, context)
        self.applied = tuple(sorted({pair for part in chosen for pair in _met(part, context)}))
        self.notes = (*data.get("notes", ()), *_notes(record, chosen, ignored, at_us), *_rivals(chosen))
        self.core = Core(
            _varied(rates, chosen),
            {unit: Fraction(count) for unit, count in data.get("per_call", {}).items()},
            {unit: Fraction(least) for unit, least in data.get("minimums", {}).items()},
        )


def resolve(record: PriceRecord, at_us: int, context: Pairs, model: str, matched: str) -> Resolved | Unpriced:
    """The price of a record at a moment in a context; Unpriced where the context has a value that it does not know."""
    terms = Terms(record, at_us, context)
    if not terms.refused:
        return Resolved(record, terms, model, matched)
    left = tuple(pair for pair in context if pair not in dict.fromkeys(terms.refused))
    standard = Terms(record, at_us, left)
    reasons = [_refusal(record, key, value) for key, value in terms.refused]
    return Unpriced(model, record.provider, reasons, Resolved(record, standard, model, matched))


def reprice(record_text: str, usage: Usage, at_us: int, context: Mapping[str, Any] | None = None) -> Cost:
    """The cost by a record that the ledger kept, as it was computed then. Broken text: PriceError."""
    record = PriceRecord.from_text(record_text)
    return resolve(record, at_us, context_pairs(context), record.model, "the record kept in the ledger").cost(usage)


def _met(part: Mapping[str, Any], context: Pairs) -> Iterator[tuple[str, str]]:
    return (pair for pair in context if pair[0] in part.get("when", {}))


def _choose(
    data: Mapping[str, Any], variants: Sequence[Mapping[str, Any]], context: Pairs
) -> tuple[list[Mapping[str, Any]], list[tuple[str, str]], list[str]]:
    """(the variants that hold, the pairs that no variant takes though it matters, the keys that change nothing)."""
    neutral = data.get("neutral", {})
    live = {
        key: value for key, value in context if value not in neutral.get(key, ()) and "*" not in neutral.get(key, ())
    }
    holding = [
        part
        for part in variants
        if all(key in live and want in ("*", live[key]) for key, want in part.get("when", {}).items())
    ]
    own = {key for part in holding if not part.get("fallback") for key in part.get("when", {})}
    chosen = [part for part in holding if not (part.get("fallback") and own & set(part["when"]))]
    taken = {key for part in chosen for key in part.get("when", {})}
    strict = {*neutral, *(key for part in data.get("variants", ()) for key in part.get("when", {}))}
    refused = [(key, value) for key, value in live.items() if key not in taken and key in strict]
    return chosen, refused, [key for key in live if key not in taken and key not in strict]


def _notes(
    record: PriceRecord, chosen: Sequence[Mapping[str, Any]], ignored: Sequence[str], at_us: int
) -> Iterator[str]:
    start = moment_us(record.data.get("from"))
    if start is not None and at_us < start:
        yield f"before {record.data['from']}, the first price known: priced with it"
    for part in chosen:
        if part.get("note"):
            yield part["note"]
    for key in ignored:
        yield f"context {key!r} does not change the price of {record.provider} {record.model}"


def _rivals(chosen: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Variants that all have rates of their own for one unit: nobody publishes what they cost together."""
    having: dict[str, list[Mapping[str, Any]]] = {}
    for part in chosen:
        for unit in part.get("rates", {}):
            having.setdefault(unit, []).append(part)
    seen = set()
    for first, *others in having.values():
        for other in others:
            pair = (_said(first), _said(other))
            if not set(other["when"].items()) <= set(first["when"].items()) and pair not in seen:
                seen.add(pair)
                yield f"{pair[0]} and {pair[1]} have rates each, and none together: those of {pair[0]} are used"


def _said(part: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in part["when"].items())


def _varied(rates: dict[str, Rate], chosen: Sequence[Mapping[str, Any]]) -> dict[str, Rate]:
    """The rates with the variants' own in place of theirs, then multiplied by their factors."""
    own: dict[str, Rate] = {}
    for part in chosen:
        for unit, rate in rates_of(part.get("rates", {})).items():
            own.setdefault(unit, rate)
    found = {**rates, **own}
    for part in chosen:
        if "factor" in part:
            factor = Fraction(part["factor"])
            found = {unit: rate.times(factor) if _named(unit, part) else rate for unit, rate in found.items()}
    return found


def _named(unit: str, part: Mapping[str, Any]) -> bool:
    units = part.get("units")
    return units is None or unit in units or UNITS[unit].family in units


def _refusal(record: PriceRecord, key: str, value: str) -> str:
    known = [text for text in record.data.get("neutral", {}).get(key, ()) if text != "*"]
    known += [part["when"][key] for part in record.data.get("variants", ()) if key in part.get("when", {})]
    close = difflib.get_close_matches(value, known, n=1)
    near = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(dict.fromkeys(known)) or "none"
    return f"no price of {record.provider} {record.model} for {key} = {value!r} (known: {listed}){near}"


def decimal_of(value: Fraction) -> Decimal:
    """The fraction as a decimal: exact where it ends, else rounded to 28 digits."""
    return _DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(_DIGITS)


def _lines(exact: Exact) -> Iterator[CostLine]:
    for part in exact.parts:
        quantity = part.quantity if isinstance(part.quantity, int) else decimal_of(part.quantity)
        yield CostLine(part.unit, quantity, _tidy(decimal_of(part.usd)), part.per, part.amount, part.note)


def _tidy(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value
