"""What caching at the provider saved: reads are cheaper than plain input, writes often dearer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from farthing.money import fraction_to_pico
from farthing.pricing.resolve import Resolved
from farthing.reports.lots import Lot, Prices
from farthing.usage import CACHE_LIFETIMES, Usage

_LIFETIMES = tuple(f"cache_write_{lifetime}_tokens" for lifetime in CACHE_LIFETIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Caching in figures. Money is picodollars; `a + b` adds every field.

    saved    what the read tokens would have cost more as plain input
    premium  what the written tokens cost more than plain input
    unknown_tokens  read and written tokens without a known price, in neither sum
    """

    input_tokens: int = 0
    read_tokens: int = 0
    write_tokens: int = 0
    unknown_tokens: int = 0
    saved: int = 0
    premium: int = 0

    @property
    def net(self) -> int:
        """Saved, less what the writes cost more."""
        return self.saved - self.premium

    @property
    def hit_rate(self) -> Fraction | None:
        """The part of the input tokens that was read from a cache; None without input."""
        return Fraction(self.read_tokens, self.input_tokens) if self.input_tokens else None

    def __add__(self, other: Saved) -> Saved:
        return Saved(
            input_tokens=self.input_tokens + other.input_tokens,
            read_tokens=self.read_tokens + other.read_tokens,
            write_tokens=self.write_tokens + other.write_tokens,
            unknown_tokens=self.unknown_tokens + other.unknown_tokens,
            saved=self.saved + other.saved,
            premium=self.premium + other.premium,
        )


def saved_by(lots: Iterable[Lot], prices: Prices) -> dict[tuple[str | None, ...], Saved]:
    """What caching saved, for each key of the lots."""
    found: dict[tuple[str | None, ...], Saved] = {}
    for lot in lots:
        found[lot.key] = found.get(lot.key, Saved()) + saved_of(lot, prices)
    return found


def saved_of(lot: Lot, prices: Prices) -> Saved:
    """What caching saved in one lot."""
    read, write = int(lot.unit("cache_read_tokens")), int(lot.unit("cache_write_tokens"))
    base = Saved(input_tokens=int(lot.unit("input_tokens")), read_tokens=read, write_tokens=write)
    if not read and not write:
        return base
    price = prices.of(lot)
    call = Usage(input_tokens=max(lot.size, 1))
    plain = price.rate("input_tokens", call) if price is not None else None
    if price is None or plain is None:
        return base + Saved(unknown_tokens=read + write)
    cheap = price.rate("cache_read_tokens", call)
    saved = (plain - cheap) * read if cheap is not None else Fraction(0)
    return base + Saved(saved=fraction_to_pico(saved), premium=fraction_to_pico(_premium(lot, price, plain, call)))


def _premium(lot: Lot, price: Resolved, plain: Fraction, call: Usage) -> Fraction:
    usual = price.rate("cache_write_tokens", call)
    left: Decimal | int = lot.unit("cache_write_tokens")
    more = Fraction(0)
    for unit in _LIFETIMES:
        tokens = lot.unit(unit)
        rate = price.rate(unit, call) or usual
        if tokens and rate is not None:
            more += (rate - plain) * Fraction(tokens)
            left = Fraction(left) - Fraction(tokens)  # type: ignore[assignment]
    return more + ((usual - plain) * Fraction(left) if usual is not None else 0)
