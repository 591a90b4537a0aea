"""Custom prices: models of your own, given in code, in farthing.toml or on the command line, and kept in a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from farthing.errors import PriceError
from farthing.pricing.names import provider_id
from farthing.pricing.overlay import CustomModel, custom_model, plain_rate
from farthing.pricing.record import PriceRecord, amount_of, moment_text

Amount = float | int | Decimal | str

_UNITS: Mapping[str, tuple[str, str, str | None, int]] = {
    "TOKENS": ("input_tokens", "output_tokens", None, 1),
    "CHARACTERS": ("input_characters", "output_characters", None, 1),
    "IMAGES": ("input_images", "output_images", None, 1),
    "SECONDS": ("input_audio_seconds", "output_audio_seconds", "audio_seconds", 1),
    "MILLISECONDS": ("input_audio_seconds", "output_audio_seconds", "audio_seconds", 1000),
    "REQUESTS": ("requests", "requests", "requests", 1),
}
"""Unit of Langfuse -> (our unit of input, of output, of both, how many of theirs make one of ours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomPrice:
    """A price that a user gives. Amounts are US dollars; a float counts as the decimal it prints as.

    By the million tokens: `input_price_per_million`, `output_price_per_million`, `cached_input_price_per_million`,
    `cache_write_price_per_million`. Or by one `unit` (TOKENS, CHARACTERS, IMAGES, SECONDS, MILLISECONDS, REQUESTS):
    `input_price`, `output_price`, or `total_price` for both alike. Or `rates` by any unit, as price records write them.
    `match_pattern` is a regular expression searched for in model names; `valid_from` and `valid_to` bound it in time.
    """

    model: str
    provider: str = "custom"
    input_price_per_million: Amount | None = None
    output_price_per_million: Amount | None = None
    cached_input_price_per_million: Amount | None = None
    cache_write_price_per_million: Amount | None = None
    match_pattern: str | None = None
    unit: str = "TOKENS"
    input_price: Amount | None = None
    output_price: Amount | None = None
    total_price: Amount | None = None
    rates: Mapping[str, Any] | None = None
    valid_from: str | date | datetime | None = None
    valid_to: str | date | datetime | None = None
    source: str = "registered"

    def entry(self) -> dict[str, Any]:
        """The price as an overlay writes it. What cannot be raises PriceError, naming the key and the value."""
        if not isinstance(self.model, str) or not self.model:
            raise PriceError(f"model = {self.model!r}: must be the name of a model")
        found: dict[str, Any] = {"provider": provider_id(self.provider), "model": self.model, "source": self.source}
        found["patterns"] = [self.match_pattern] if self.match_pattern else []
        found["rates"] = self._rates()
        if not found["rates"]:
            raise PriceError(
                f"price of {self.model!r}: no rate was given; give input_price_per_million and output_price_per_million"
            )
        for key, value in (("from", self.valid_from), ("to", self.valid_to)):
            if value is not None:
                found[key] = moment_text(value)
        return found

    def compiled(self) -> CustomModel:
        """The price as a model of an overlay, checked."""
        model = custom_model(self.entry(), self.source)
        for record in model.records:
            PriceRecord.make(record)
        return model

    def _rates(self) -> dict[str, Any]:
        rates = {} if self.rates is None else self.rates
        if not isinstance(rates, Mapping):
            raise PriceError(f"rates = {rates!r}: must be units with their rates, {{'input_tokens': '2.5'}}")
        given = {unit: plain_rate(unit, value) for unit, value in rates.items()}
        told: dict[str, Any] = {}
        for unit, name in (
            ("input_tokens", "input_price_per_million"),
            ("output_tokens", "output_price_per_million"),
            ("cache_read_tokens", "cached_input_price_per_million"),
            ("cache_write_tokens", "cache_write_price_per_million"),
        ):
            if (price := getattr(self, name)) is not None:
                told[unit] = {"usd": self._text(price, name), "per": 1_000_000}
        for more in (told, self._by_unit()):
            if twice := given.keys() & more.keys():
                raise PriceError(f"price of {self.model!r}: {min(twice)} has two prices; give one of them")
            given |= more
        return given

    def _by_unit(self) -> dict[str, Any]:
        unit = self.unit.upper()
        if unit not in _UNITS:
            raise PriceError(f"unit = {self.unit!r}: must be one of {', '.join(_UNITS)}")
        ours_in, ours_out, both, many = _UNITS[unit]
        if both and self.output_price is None:
            ours_in = both  # seconds that nobody calls input or output, as transcriptions report them
        found: dict[str, Any] = {}
        for ours, name in ((ours_in, "input_price"), (ours_out, "output_price")):
            if (price := getattr(self, name)) is not None:
                found[ours] = self._one(price, many, name)
        if self.total_price is not None and not found:
            for ours in (both,) if both else (ours_in, ours_out):
                found[ours] = self._one(self.total_price, many, "total_price")
        return found

    def _text(self, price: Amount, name: str) -> str:
        return str(amount_of(price, f"price of {self.model!r}: {name}"))

    def _one(self, price: Amount, many: int, name: str) -> dict[str, Any]:
        return {"usd": str(Fraction(self._text(price, name)) * many), "per": 1}


def from_mapping(entry: Mapping[str, Any], source: str) -> CustomPrice:
    """The custom price of a mapping with the names of CustomPrice; unknown keys raise PriceError."""
    known = {field.name for field in fields(CustomPrice)}
    if unknown := set(entry) - known:
        raise PriceError(
            f"{source}: price of {entry.get('model')!r}: unknown key {min(unknown)!r}; "
            f"known: {', '.join(sorted(known))}"
        )
    if "model" not in entry:
        raise PriceError(f"{source}: a price lacks 'model': {dict(entry)!r}")
    return CustomPrice(**{"source": source, **entry})


def load_custom(path: Path) -> list[CustomPrice]:
    """The custom prices kept in a file, none where there is no file. Unreadable or broken: PriceError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_float=str)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise PriceError(f"{path}: cannot be read as custom prices: {error}") from error
    if not isinstance(raw, Mapping) or not isinstance(raw.get("prices"), list):
        raise PriceError(f"{path}: must be an object with a list 'prices'")
    return [from_mapping(entry, str(path)) for entry in raw["prices"]]


def save_custom(path: Path, prices: Iterable[CustomPrice]) -> None:
    """Write the file whole and atomically: a reader sees the old file or the new one, never a part."""
    for price in (kept := list(prices)):
        price.compiled()
    rows = [_row(price) for price in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"prices": rows}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _row(price: CustomPrice) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(CustomPrice):
        value = getattr(price, field.name)
        if value is None or value == field.default:
            continue
        if field.name in ("valid_from", "valid_to"):
            value = moment_text(value)
        elif field.name.endswith("_million") or field.name.endswith("_price"):
            value = price._text(value, field.name)
        row[field.name] = value
    row.pop("source", None)
    return row
