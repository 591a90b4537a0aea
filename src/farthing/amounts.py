"""What calls come to in each unit that budgets count in, and such amounts in the words of people. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from farthing.errors import InputError, shown
from farthing.event import Event
from farthing.money import pico_to_usd, usd_to_pico

UNITS_OF_BUDGETS = ("usd", "tokens", "calls")
MOST_PICO = 9_000_000 * 10**12
"""The highest limit of a dollar budget: 64-bit picodollars end at $9.2 million."""
_LONGEST_S = 10 * 366 * 86_400


def amount_text(unit: str, amount: int) -> str:
    """An amount of a unit in words: `$1.25`, `12,000 tokens`, `3 calls`."""
    if unit != "usd":
        return f"{amount:,} {unit if amount != 1 else unit[:-1]}"
    usd = pico_to_usd(abs(amount))
    text = f"{usd:,.2f}" if usd == usd.quantize(Decimal("0.01")) else f"{usd:,f}"
    return f"{'-' if amount < 0 else ''}${text}"


def money(given: Any, what: str) -> int:
    """US dollars in picodollars. Negative, NaN and infinite amounts, and what is no number: InputError."""
    said = str(given) if isinstance(given, Decimal) else shown(given)
    try:
        if isinstance(given, bool):
            raise TypeError
        pico = usd_to_pico(given)
    except (ArithmeticError, TypeError, ValueError):
        raise InputError(f"{what} = {said}: must be a finite amount of US dollars") from None
    if pico < 0:
        raise InputError(f"{what} = {said}: must not be negative")
    if pico > MOST_PICO:
        raise InputError(f"{what} = {said}: the embedded ledger holds amounts up to $9,000,000; split it")
    return pico


def count_of(given: Any, what: str) -> int:
    """A whole number from 0 on. What is none: InputError."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise InputError(f"{what} = {shown(given)}: must be a whole number, 0 or more")
    if given > MOST_PICO:
        raise InputError(f"{what} = {shown(given)}: the embedded ledger counts up to {MOST_PICO}")
    return given


def microseconds(seconds: Any, what: str) -> int:
    """A span of time above 0 in microseconds. What is none: InputError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_S:
        raise InputError(f"{what} = {seconds!r}: must be a number of seconds above 0")
    return int(seconds * 1_000_000)


class Amounts(NamedTuple):
    """What one call comes to in every unit: picodollars (None: no price is known), tokens, calls."""

    usd: int | None
    tokens: int
    calls: int

    def of(self, unit: str) -> int:
        """The amount in a unit; an unknown price is 0."""
        return (self.usd or 0) if unit == "usd" else self.tokens if unit == "tokens" else self.calls


def amounts_of(event: Event) -> Amounts:
    """What an event adds to accounts; of a correction the signed difference. As `Totals.of`."""
    return Amounts(_usd_of(event), _tokens_of(event), event.calls)


def _usd_of(event: Event) -> int:
    return 0 if event.billing == "subscription" else event.cost_pico or 0  # a flat plan's call is not money owed


def _tokens_of(event: Event) -> int:
    correction = event.corrects is not None
    if not event.billed and not correction:
        return 0
    get = (event.usage_delta if correction else event.usage.counts).get
    return int(get("input_tokens", 0)) + int(get("output_tokens", 0))


SPENT: tuple[Callable[[Event], int], ...] = (_usd_of, _tokens_of, attrgetter("calls"))
"""What tells of an event the same as `amounts_of`, in each of `UNITS_OF_BUDGETS` alone."""
