"""Price records: what one model costs in one span of time, as data that is enough to price with for ever.

A record is a JSON object. Its canonical text is what the ledger keeps, and its SHA-256 names it:

    provider, model      whose price of what; `via`: the provider whose list price it really is
    from, to             when it holds, ISO dates or moments in UTC, `to` excluded; absent = not known, open
    source, published    where it is from, and when that was published
    rates                unit -> {"usd": "2.5", "per": 1000000,
                                  "tiers": [{"above": 200000, "usd": "5"}],  (or "from": 200000, boundary included)
                                  "by": "input_tokens", "mode": "cliff" | "marginal"}
    per_call             unit -> count that every call has at least, e.g. {"requests": "1"}
    minimums             unit -> what is billed at least, once there is any, e.g. {"audio_seconds": "10"}
    variants             [{"when": {"processing": "batch"}, "rates": {...}, "factor": "1.1", "units": ["tokens"],
                           "from", "to", "fallback": true, "note"}]: first to last, the first to name a unit wins;
                         "*" is any value; factors multiply what they name (a unit or a family; all when absent);
                         a fallback holds where no other variant on the same values does
    windows              [{"days": [1..7], "start": "09:00", "end": "12:00", "tz": "Asia/Shanghai", "except": [dates],
                           "from", "to", "rates"}]: the first that holds replaces the rates it names
    neutral              context key -> values that change nothing; a key named here takes no unknown value
    free                 true where a price of zero is meant; notes: words for people
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

from farthing.errors import PriceError, shown
from farthing.event import to_us
from farthing.money import is_amount
from farthing.usage import UNITS

_KEYS = frozenset(
    "provider model via from to source published rates per_call minimums variants windows neutral free notes".split(" ")  # noqa: SIM905
)
_RATE_KEYS = frozenset(("usd", "per", "tiers", "by", "mode"))


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit: `usd` US dollars for `per` of it, more or less above thresholds.

    `tiers` are (above, usd) in rising order. Cliff: the tier that the count of `by` reaches prices the whole quantity.
    Marginal: each tier prices the part of the unit's own quantity that lies above its threshold.
    """

    usd: Fraction
    per: int
    tiers: tuple[tuple[int, Fraction], ...] = ()
    by: str = "input_tokens"
    marginal: bool = False

    def at(self, count: int | Fraction) -> Fraction:
        """USD per `per` where the count of `by` is this (cliff tiers)."""
        usd = self.usd
        for above, tier_usd in self.tiers:
            if count > above:
                usd = tier_usd
        return usd

    def times(self, factor: Fraction) -> Rate:
        """The same rate, multiplied, tiers included."""
        return replace(self, usd=self.usd * factor, tiers=tuple((above, usd * factor) for above, usd in self.tiers))


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """One record: `text` is canonical JSON, `hash` its SHA-256 in hex, `data` the same parsed (not to be changed)."""

    text: str
    hash: str
    data: Mapping[str, Any]

    @classmethod
    def make(cls, data: Mapping[str, Any]) -> PriceRecord:
        """The record of this data. What cannot be a price raises PriceError, naming provider, model, key and value."""
        _check(data)
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(text, hashlib.sha256(text.encode()).hexdigest(), json.loads(text))

    @classmethod
    def from_text(cls, text: str) -> PriceRecord:
        """The record of a text that `text` once gave. Broken text: PriceError."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise PriceError(f"not a price record, {error}: {text[:60]!r}") from error
        return cls.make(data)

    @property
    def provider(self) -> str:
        """The provider's id."""
        return str(self.data["provider"])

    @property
    def model(self) -> str:
        """The model's id."""
        return str(self.data["model"])

    @property
    def source(self) -> str:
        """Where the price is from."""
        return str(self.data.get("source", ""))

    @property
    def published(self) -> str | None:
        """The day its source was published, as text; None where that is not known."""
        return self.data.get("published")

    @property
    def free(self) -> bool:
        """Whether a price of zero is meant."""
        return bool(self.data.get("free"))

    @property
    def valid_from(self) -> datetime | None:
        """When it begins, aware UTC; None: not known."""
        return _moment(self.data["from"]) if self.data.get("from") else None

    @property
    def valid_to(self) -> datetime | None:
        """When it ends, excluded, aware UTC; None: open."""
        return _moment(self.data["to"]) if self.data.get("to") else None


def rates_of(data: Mapping[str, Any], where: str = "rates") -> dict[str, Rate]:
    """unit -> Rate of a `rates` object. Unknown units, amounts that are none, falling thresholds: PriceError."""
    if not isinstance(data, Mapping):
        raise PriceError(f"{where}: rates = {shown(data)}: must be units with their rates, {{'input_tokens': '2.5'}}")
    return {unit: rate_of(unit, value, where) for unit, value in data.items()}


def rate_of(unit: str, value: Any, where: str) -> Rate:
    """One rate: an object as in the module's docstring, or the amount alone for the unit's customary lot."""
    place = f"{where}: {unit} = {shown(value)}"
    if unit not in UNITS:
        raise PriceError(f"{place}: there is no such unit; units are named in farthing.usage.UNITS")
    if not isinstance(value, Mapping):
        return Rate(amount_of(value, place), UNITS[unit].per)
    if unknown := set(value) - _RATE_KEYS:
        raise PriceError(f"{place}: unknown key {min(unknown)!r}; a rate has {', '.join(sorted(_RATE_KEYS))}")
    per = value.get("per", UNITS[unit].per)
    if type(per) is not int or per <= 0:
        raise PriceError(f"{place}: per must be a positive whole number")
    if value.get("mode", "cliff") not in ("cliff", "marginal"):
        raise PriceError(f"{place}: mode must be 'cliff' or 'marginal'")
    by = value.get("by", "input_tokens")
    if by not in UNITS:
        raise PriceError(f"{place}: tiers are measured by a unit; {by!r} is none")
    tiers = tuple(_tier(tier, place) for tier in value.get("tiers", ()))
    if any(a[0] >= b[0] for a, b in pairwise(tiers)):
        raise PriceError(f"{place}: thresholds of tiers must rise")
    return Rate(amount_of(value.get("usd"), place), per, tiers, by, value.get("mode") == "marginal")


def _tier(tier: Any, place: str) -> tuple[int, Fraction]:
    if not isinstance(tier, Mapping) or ("above" in tier) == ("from" in tier):
        raise PriceError(f"{place}: a tier has 'usd' and either 'above' or 'from', not {tier!r}")
    threshold = tier["above"] if "above" in tier else tier["from"]
    if type(threshold) is not int or threshold < 0:
        raise PriceError(f"{place}: a threshold must be a whole number, not {threshold!r}")
    return threshold - ("from" in tier), amount_of(tier.get("usd"), place)


def amount_of(value: Any, place: str) -> Fraction:
    """US dollars as decimal text (or 'a/b'), exact. A float counts as the decimal it prints as."""
    try:
        if (isinstance(value, str) and "/" not in value) or isinstance(value, float | Decimal):
            number = Decimal(repr(value) if isinstance(value, float) else value)
            if not is_amount(number):
                raise ValueError(value)
            amount = Fraction(number)
        else:
            amount = Fraction(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise PriceError(f"{place}: {shown(value)} is no amount of money; write it as '2.5'") from error
    if isinstance(value, bool) or amount < 0:
        raise PriceError(f"{place}: a price must be a number that is not negative, not {value!r}")
    return amount


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def moment_us(text: str | None) -> int | None:
    """An ISO date (midnight UTC) or moment as microseconds since 1970; None stays None."""
    return None if text is None else to_us(_moment(text))


def moment_text(moment: str | date | datetime | None) -> str | None:
    """A date or moment as records write it: '2026-03-13', or with a time where it has one. PriceError if it is none."""
    if moment is None:
        return None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return moment.isoformat()
    try:
        found = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    except (TypeError, ValueError) as error:
        raise PriceError(f"{moment!r} is no date; write it as '2026-03-13'") from error
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    midnight = not (found.hour or found.minute or found.second or found.microsecond)
    return found.date().isoformat() if midnight else found.isoformat()


def _check(data: Mapping[str, Any]) -> None:
    where = f"price of {data.get('provider')!r} {data.get('model')!r}"
    if not isinstance(data.get("provider"), str) or not isinstance(data.get("model"), str):
        raise PriceError(f"{where}: provider and model must be text")
    if unknown := set(data) - _KEYS:
        raise PriceError(f"{where}: unknown key {min(unknown)!r} = {data[min(unknown)]!r}")
    rates_of(data.get("rates", {}), where)
    for key in ("per_call", "minimums"):
        for unit, value in data.get(key, {}).items():
            if unit not in UNITS:
                raise PriceError(f"{where}: {key}: there is no unit {unit!r}")
            amount_of(value, f"{where}: {key}: {unit}")
    for part in (*data.get("variants", ()), *data.get("windows", ())):
        rates_of(part.get("rates", {}), where)
        amount_of(part.get("factor", "1"), f"{where}: factor")
    for part in (data, *data.get("variants", ()), *data.get("windows", ())):
        _check_span(part, where)
    for window in data.get("windows", ()):
        _check_window(window, where)


_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")


def _check_window(window: Mapping[str, Any], where: str) -> None:
    """Its hours are hours, and its days days of the week."""
    for key in ("start", "end"):
        if key in window and not (isinstance(window[key], str) and _CLOCK.fullmatch(window[key])):
            raise PriceError(f"{where}: window: {key} = {shown(window[key])}: must be an hour, as '09:00'")
    days = window.get("days", ())
    if not isinstance(days, list | tuple) or not all(type(day) is int and 1 <= day <= 7 for day in days):
        raise PriceError(f"{where}: window: days = {shown(days)}: must be days of the week, 1 (Monday) to 7")


def _check_span(part: Mapping[str, Any], where: str) -> None:
    """`from` and `to` are dates, and in that order."""
    try:
        start, end = moment_us(part.get("from")), moment_us(part.get("to"))
    except (TypeError, ValueError) as error:
        raise PriceError(f"{where}: from = {part.get('from')!r}, to = {part.get('to')!r}: {error}") from error
    if start is not None and end is not None and start >= end:
        raise PriceError(f"{where}: from = {part['from']!r} must lie before to = {part['to']!r}")
