"""Amounts in another currency, by a dated file of rates: shown so, never kept so."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from farthing.errors import InputError
from farthing.reports import text

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "CHF": "CHF ", "CNY": "CN¥", "BRL": "R$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """How amounts are shown. rate: units of it for one US dollar; note: the rate, its day and source, in words."""

    code: str = "USD"
    rate: Fraction = Fraction(1)
    note: str = ""

    def of(self, pico_usd: int) -> int:
        """Picodollars as 10⁻¹² of this currency, rounded half to even once."""
        return pico_usd if self.rate == 1 else round(pico_usd * self.rate)

    def money(self, pico_usd: int | None, places: int | None = None) -> str:
        """Picodollars in words of this currency."""
        shown = text.money(None if pico_usd is None else self.of(pico_usd), places)
        return shown.replace("$", _SIGNS.get(self.code, f"{self.code} ")) if self.code != "USD" else shown

    def places(self, amounts: Iterable[int | None]) -> int:
        """Decimals that suit a column of picodollars."""
        return text.places_for(None if amount is None else self.of(amount) for amount in amounts)


USD = Currency()


def read_currency(code: str, path: Path, on: date) -> Currency:
    """The currency at the newest rate of the file that is not newer than `on`. What cannot be used: InputError.

    The file is TOML:

        source = "European Central Bank"
        [[rates]]
        date = 2026-11-20
        EUR = 0.8612            # for one US dollar
    """
    code = code.upper()
    if code == "USD":
        return USD
    try:
        with path.open("rb") as file:
            table = tomllib.load(file, parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    rows = table.get("rates")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: needs a list of tables [[rates]], each with a date and a rate, e.g. {code} = 0.86")
    found: list[tuple[date, Decimal]] = []
    for i, row in enumerate(rows):
        day, rate = row.get("date"), row.get(code)
        if type(day) is not date:
            raise InputError(f"{path}: rates[{i}].date = {day!r}: must be a day, e.g. 2026-11-20, without quotes")
        if rate is None:
            continue
        if isinstance(rate, bool) or not isinstance(rate, int | Decimal) or not _positive(rate):
            raise InputError(f"{path}: rates[{i}].{code} = {rate!r}: must be a number above 0")
        if day <= on:
            found.append((day, Decimal(rate)))
    if not found:
        days = sorted(row["date"] for row in rows if code in row)
        known = f"the first is of {days[0]}" if days else f"it has rates of {', '.join(_codes(rows)) or 'nothing'}"
        raise InputError(f"{path}: no rate of {code} on or before {on}: {known}")
    day, rate = max(found, key=lambda pair: pair[0])
    source = table.get("source") or path.name
    return Currency(
        code=code, rate=Fraction(rate), note=f"1 USD = {rate} {code}, rate of {day} ({source}); costs are kept in USD"
    )


def _codes(rows: Iterable[dict[str, object]]) -> list[str]:
    return sorted({name for row in rows for name in row if name != "date"})


def _positive(rate: int | Decimal) -> bool:
    return Decimal(rate).is_finite() and rate > 0
