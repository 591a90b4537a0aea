"""Usage added up as far as one price reaches: what caching saved, and what else it could have cost, without each call.

All calls of a lot have one price record, one request context and one tier, so that every rate is the same for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from farthing.event import to_us
from farthing.ledger.store import TIME_FIELDS, Filter, PriceUse, Question, Store
from farthing.money import PICO_PER_USD
from farthing.pricing.record import PriceRecord
from farthing.pricing.resolve import Resolved, context_pairs, resolve
from farthing.usage import CACHE_LIFETIMES, Quantity, Usage
from farthing.windows import span, zone

STEPS = (32_000, 128_000, 200_000, 256_000, 272_000)
"""Input tokens above which prices change somewhere: calls below and above are never in one lot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Calls that have their price in common.

    key     the values of the fields that were asked for
    size    input tokens that stand for those of its calls; at_us: a moment at which its price held
    units   every counted unit, corrections included
    """

    key: tuple[str | None, ...]
    provider: str | None
    model: str
    price_hash: str | None
    context: Mapping[str, str]
    billing: str
    size: int
    at_us: int
    calls: int
    cost_pico: int
    units: Mapping[str, Quantity]

    def unit(self, name: str) -> Quantity:
        """The count of a unit."""
        return self.units.get(name, 0)


def lots(store: Store, where: Filter, by: Sequence[str] = (), tz: str = "UTC") -> list[Lot]:
    """The lots of the events that `where` lets through, told apart by the fields of `by` as well."""
    times = [name for name in by if name in TIME_FIELDS]
    if not times:
        return [
            _lot(use, where.until_us) for use in store.usage_by_price(by=(*by, "billing"), where=where, steps=STEPS)
        ]
    others = tuple(name for name in by if name not in TIME_FIELDS)
    found = []
    for row in store.totals(Question(by=tuple(times), where=where, tz=tz, sums=())):
        values = dict(zip(times, row.key, strict=True))
        within = _within(where, values, tz)
        for use in store.usage_by_price(by=(*others, "billing"), where=within, steps=STEPS):
            lot = _lot(use, within.until_us)
            named = {**values, **dict(zip(others, lot.key, strict=True))}
            found.append(replace(lot, key=tuple(named[name] for name in by)))
    return found


def _lot(use: PriceUse, until_us: int | None) -> Lot:
    return Lot(
        key=use.key[:-1],
        provider=use.provider,
        model=use.model,
        price_hash=use.price_hash,
        context=json.loads(use.context) if use.context else {},
        billing=use.key[-1] or "metered",
        size=STEPS[use.step] if use.step < len(STEPS) else STEPS[-1] + 1,
        at_us=until_us - 1 if until_us is not None else 0,
        calls=use.calls,
        cost_pico=use.cost_pico,
        units=use.units,
    )


def _within(where: Filter, values: Mapping[str, str | None], tz: str) -> Filter:
    """The filter within the hours, days, weeks and months that are named."""
    for part, label in values.items():
        if label is None:
            continue
        moment = datetime.fromisoformat(label if part == "hour" else f"{label}-01" if part == "month" else label)
        start, end = span(part, to_us(moment.replace(tzinfo=zone(tz))), tz)
        since = start if where.since_us is None else max(start, where.since_us)
        until = end if where.until_us is None else min(end or where.until_us, where.until_us)
        where = replace(where, since_us=since, until_us=until)
    return where


class Prices:
    """The price records that a ledger keeps, read when first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, PriceRecord | None] = {}

    def record(self, price_hash: str) -> PriceRecord | None:
        """The record of this hash; None where the ledger does not have it."""
        if price_hash not in self._records:
            text = self._store.price_record(price_hash)
            self._records[price_hash] = None if text is None else PriceRecord.from_text(text)
        return self._records[price_hash]

    def of(self, lot: Lot) -> Resolved | None:
        """The price that a lot's calls were priced with; None where there was none."""
        record = None if lot.price_hash is None else self.record(lot.price_hash)
        if record is None:
            return None
        at_us = lot.at_us or _start(record)
        found = resolve(record, at_us, context_pairs(lot.context), lot.model, "the record kept in the ledger")
        return found if isinstance(found, Resolved) else None


def _start(record: PriceRecord) -> int:
    return to_us(record.valid_from) if record.valid_from else 0


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Picodollars of one token of each kind, and of all tokens written to a cache, each at the rate of its lifetime."""

    plain: Fraction
    read: Fraction
    write: Fraction
    output: Fraction
    written: Fraction


def token_rates(lot: Lot, prices: Prices) -> TokenRates:
    """What a lot's tokens cost; all 0 where it has no price record."""
    price = prices.of(lot)
    if price is None:
        return TokenRates(Fraction(0), Fraction(0), Fraction(0), Fraction(0), Fraction(0))
    call = Usage(input_tokens=max(lot.size, 1))

    def rate(unit: str, instead: Fraction = Fraction(0)) -> Fraction:
        found = price.rate(unit, call)
        return instead if found is None else found * PICO_PER_USD

    plain = rate("input_tokens")
    usual = rate("cache_write_tokens", plain)
    left, written = Fraction(lot.unit("cache_write_tokens")), Fraction(0)
    for lifetime in CACHE_LIFETIMES:
        tokens = Fraction(lot.unit(f"cache_write_{lifetime}_tokens"))
        written += tokens * rate(f"cache_write_{lifetime}_tokens", usual)
        left -= tokens
    return TokenRates(plain, rate("cache_read_tokens", plain), usual, rate("output_tokens"), written + left * usual)
