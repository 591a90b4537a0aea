"""Totals: what a set of events adds up to, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal

from farthing.event import EMPTY, Event
from farthing.money import pico_to_usd
from farthing.usage import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over events. All are ints; money is picodollars; `a + b` adds every field.

    input_tokens, ...  of billed events: what a cache answered, or an attempt would have used, is in no sum
    calls              billed calls (corrections and unbilled attempts are none)
    cost_pico          what is known of the cost; `unpriced_calls` and `partial_calls` say what is not in it
    unbilled_attempts  attempts that cost nothing; cache_hits: answered by a cache of the caller
    errors             events that carry an error
    """

    calls: int = 0
    cost_pico: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unpriced_calls: int = 0
    partial_calls: int = 0
    estimated_calls: int = 0
    unbilled_attempts: int = 0
    cache_hits: int = 0
    errors: int = 0

    @classmethod
    def of(cls, event: Event) -> Totals:
        """The totals of one event; of a correction, what it changes."""
        counts: Mapping[str, Quantity] = EMPTY
        if event.corrects is not None:
            counts = event.usage_delta
        elif event.billed:
            counts = event.usage.to_dict()

        def count(unit: str) -> int:
            return int(counts.get(unit, 0))

        def calls_that(said: str, *, price: bool = False, usage: bool = False) -> int:
            """The calls of which a status says so now, less those of which it said so before this correction."""
            now = (price and event.price_status == said) or (usage and event.usage_status == said)
            before = (price and event.prior_price_status == said) or (usage and event.prior_usage_status == said)
            return (event.calls + event.restates) * now - event.restates * before

        original = event.corrects is None
        return cls(
            calls=event.calls,
            cost_pico=event.cost_pico or 0,
            input_tokens=count("input_tokens"),
            output_tokens=count("output_tokens"),
            cache_read_tokens=count("cache_read_tokens"),
            cache_write_tokens=count("cache_write_tokens"),
            reasoning_tokens=count("output_reasoning_tokens"),
            unpriced_calls=calls_that("unpriced", price=True),
            partial_calls=calls_that("partial", price=True, usage=True),
            estimated_calls=calls_that("estimated", usage=True),
            unbilled_attempts=int(original and not event.billed and not event.cache_hit),
            cache_hits=int(original and event.cache_hit),
            errors=int(original and event.error is not None),
        )

    @property
    def usd(self) -> Decimal:
        """The cost in exact US dollars."""
        return pico_to_usd(self.cost_pico)

    @property
    def cost(self) -> float:
        """The cost in US dollars as a float, rounded once here."""
        return self.cost_pico / 10**12

    @property
    def total_tokens(self) -> int:
        """input_tokens + output_tokens."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Totals) -> Totals:
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in TOTALS_FIELDS})


TOTALS_FIELDS = tuple(f.name for f in fields(Totals))
"""The names of the sums, in their order."""

_PLAIN = frozenset({"priced", "free", "reported"})
_COUNTED = tuple(
    (TOTALS_FIELDS.index(field), unit)
    for field, unit in (
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_read_tokens", "cache_read_tokens"),
        ("cache_write_tokens", "cache_write_tokens"),
        ("reasoning_tokens", "output_reasoning_tokens"),
    )
)
"""Where the sums of an ordinary call go; `Totals.of` does the rest, and a test holds that both say the same."""


def add_to(sums: list[int], event: Event) -> None:
    """Adds an event to sums in the order of `TOTALS_FIELDS`, an ordinary call without making a `Totals` of it."""
    if event.calls == 1 and event.price_status in _PLAIN and event.usage_status == "reported" and not event.error:
        count = event.usage.counts.get
        sums[0] += 1
        sums[1] += event.cost_pico or 0
        for i, unit in _COUNTED:
            if value := count(unit):
                sums[i] += int(value)
    else:
        totals = Totals.of(event)
        for i, name in enumerate(TOTALS_FIELDS):
            sums[i] += getattr(totals, name)
