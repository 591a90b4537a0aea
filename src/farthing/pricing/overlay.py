"""Overlays: our own dated additions and corrections, contract discounts and custom models, laid over the price data.

An overlay file is a JSON object with a `name`, the day it was `published`, and three lists; each entry tells its
`source`, and its `reason` where that is not plain:

    models   {"provider", "model", "aliases": [...], "patterns": [regex], "periods": [records without both]}
             a model of our own; one period may be given without the list. In rates, an amount alone is for the unit's
             customary lot: {"input_tokens": "3"}
    aliases  {"provider", "model", "aliases", "patterns"}: further names of a model that the data has
    patches  {"provider", "models": ["claude-*"], "except": [...], "from", "to", "rates", "fill", "variants", "windows",
             "per_call", "minimums", "neutral", "notes", "free"}: changes to records of the data. `rates` replace,
             `fill` gives rates where there are none (an amount, or {"of": "input_tokens", "factor": "2"})
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Any

from farthing.errors import PriceError, shown
from farthing.pricing.bands import EVER
from farthing.pricing.record import amount_of, moment_text, moment_us, rate_of
from farthing.usage import UNITS

BUILT_IN = ("corrections", "services", "regions", "models", "free")
"""The overlays that are always on, in the order they are applied."""

OPT_IN = ("tables-2024", "tables-2026-01")
"""The overlays to be asked for by name: published tables that differ from the providers' list prices."""

NEUTRAL: Mapping[str, Sequence[str]] = {
    "processing": ("standard", "online", "realtime", "sync", "default"),
    "service_tier": ("standard", "default", "auto", "on_demand", "standard_only"),
    "speed": ("standard", "normal"),
    "inference_geo": ("global", "not_available"),
    "data_residency": ("global", "none", "default"),
    "latency": ("standard",),
}
"""Context values that change no price anywhere; a key named here takes no value that is not known."""


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A model of an overlay: names it answers to, and its records as data in order of time."""

    provider: str
    model: str
    aliases: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    records: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Alias:
    """Further names of a model of the data."""

    provider: str
    model: str
    aliases: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """Changes to the records of a provider's models, in a span of dates."""

    provider: str
    models: tuple[str, ...]
    excluded: tuple[str, ...]
    start: str | None
    end: str | None
    change: Mapping[str, Any]

    def names(self, provider: str, model: str) -> bool:
        """Whether it is meant for this model; ids are compared in lower case."""
        if self.provider not in ("*", provider):
            return False
        model = model.lower()
        return any(fnmatchcase(model, p) for p in self.models) and not any(fnmatchcase(model, p) for p in self.excluded)

    def corrects(self, via: str, provider: str) -> Patch | None:
        """What it says of the list price of `via`, said of a provider that offers those models at that price."""
        change = {key: value for key, value in self.change.items() if key in (*_LIST_PRICE, "source")}
        if self.provider != via or change.keys() <= {"source"}:
            return None
        return replace(self, provider=provider, change=change)


_LIST_PRICE = ("rates", "fill", "windows", "per_call", "minimums")


@dataclass(frozen=True, slots=True)
class Overlay:
    """One overlay, read and checked."""

    name: str
    models: tuple[CustomModel, ...] = ()
    aliases: tuple[Alias, ...] = ()
    patches: tuple[Patch, ...] = ()


@lru_cache(maxsize=16)
def built_in(name: str) -> Overlay:
    """One of our own overlays by name; PriceError if there is none of this name."""
    if name not in (*BUILT_IN, *OPT_IN):
        raise PriceError(
            f"there is no price overlay {name!r}; there are {', '.join(OPT_IN)}, or give the path of a file"
        )
    return read_overlay(_folder(f"{name}.json"), f"overlay {name}.json")


@lru_cache(maxsize=4)
def _folder(name: str) -> str:
    return (files("farthing.pricing") / "overlays" / name).read_text(encoding="utf-8")


def table(name: str) -> Any:
    """A JSON table that lies beside the overlays."""
    return json.loads(_folder(name))


def read_overlay(text: str, label: str) -> Overlay:
    """The overlay of a file's text; what is wrong raises PriceError with the label, the entry and the key."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise PriceError(f"{label}: not JSON: {error}") from error
    if not isinstance(raw, Mapping):
        raise PriceError(f"{label}: must be an object with models, aliases and patches")
    published = raw.get("published")
    try:
        return Overlay(
            str(raw.get("name", label)),
            tuple(custom_model(entry, label, published) for entry in raw.get("models", ())),
            tuple(_alias(entry) for entry in raw.get("aliases", ())),
            tuple(patch(entry) for entry in raw.get("patches", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PriceError(f"{label}: an entry lacks or mistakes {error}") from error


def custom_model(entry: Mapping[str, Any], label: str, published: str | None = None) -> CustomModel:
    """The model of an overlay entry; periods that give no end last until the next begins."""
    shared = {key: entry[key] for key in ("source", "published", "notes", "free") if key in entry}
    shared.setdefault("source", label)
    if published:
        shared.setdefault("published", published)
    plain = {
        key: entry[key]
        for key in ("from", "to", "rates", "variants", "windows", "per_call", "minimums")
        if key in entry
    }
    periods = sorted(entry.get("periods") or [plain], key=lambda period: moment_us(period.get("from")) or EVER[0])
    records = []
    for period, following in zip(periods, [*periods[1:], None], strict=True):
        record = {"provider": entry["provider"], "model": entry["model"], **shared, **period}
        if following and "to" not in record:
            record["to"] = following["from"]
        record["rates"] = {unit: plain_rate(unit, value) for unit, value in record.get("rates", {}).items()}
        records.append(record)
    return CustomModel(
        entry["provider"],
        entry["model"],
        _lower(entry.get("aliases", ())),
        patterns(entry.get("patterns", ())),
        tuple(records),
    )


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def patterns(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Compiled regular expressions; PriceError names the one that is none."""
    found = []
    for text in texts:
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise PriceError(f"pattern {text!r}: {error}") from error
    return tuple(found)


def _alias(entry: Mapping[str, Any]) -> Alias:
    return Alias(
        entry["provider"], entry["model"], _lower(entry.get("aliases", ())), patterns(entry.get("patterns", ()))
    )


def patch(entry: Mapping[str, Any]) -> Patch:
    """The patch of an overlay entry."""
    kept = ("rates", "fill", "variants", "windows", "per_call", "minimums", "neutral", "notes", "free")
    return Patch(
        entry["provider"],
        _lower(entry.get("models", ("*",))),
        _lower(entry.get("except", ())),
        entry.get("from"),
        entry.get("to"),
        {**{key: entry[key] for key in kept if key in entry}, "source": entry.get("source", "")},
    )


_FAMILIES = tuple(dict.fromkeys(unit.family for unit in UNITS.values()))


def discount(entry: Mapping[str, Any]) -> Patch:
    """A contract discount as a patch: {"provider", "model" or "models", "factor" or "percent", "units", "from", "to"}.

    `percent` is what is taken off. Without `units` it applies to everything. PriceError names what cannot be.
    """
    if ("factor" in entry) == ("percent" in entry):
        raise PriceError(f"discount {dict(entry)!r}: give either 'factor' (0.9) or 'percent' (10 taken off)")
    value = entry["factor"] if "factor" in entry else entry["percent"]
    amount = amount_of(str(value), f"discount {dict(entry)!r}")
    factor = amount if "factor" in entry else 1 - amount / 100
    if factor < 0:
        raise PriceError(f"discount {dict(entry)!r}: more than everything cannot be taken off")
    variant: dict[str, Any] = {"when": {}, "factor": str(factor)}
    if entry.get("units"):
        variant["units"] = list(entry["units"])
        if none := [unit for unit in variant["units"] if unit not in UNITS and unit not in _FAMILIES]:
            raise PriceError(
                f"discount {dict(entry)!r}: {shown(none[0])} is neither a unit nor one of {', '.join(_FAMILIES)}"
            )
    variant["note"] = str(entry.get("note") or f"contract: list price times {float(factor):g}")
    for key in ("from", "to"):
        if entry.get(key):
            variant[key] = moment_text(entry[key])
    models = entry.get("models") or [entry.get("model", "*")]
    return patch({"provider": entry.get("provider", "*"), "models": models, "variants": [variant]})


def plain_rate(unit: str, value: Any) -> Any:
    """A rate in its full form, its amounts as text; an amount alone is for the unit's customary lot."""
    if isinstance(value, Mapping):
        return {key: _amounts_as_text(part) for key, part in value.items()}
    if unit not in UNITS:
        return value
    return {"usd": str(value), "per": UNITS[unit].per}


def _amounts_as_text(part: Any) -> Any:
    """What a record can hold: TOML and Python give numbers that JSON would not keep to the digit."""
    if isinstance(part, Decimal | float):
        return str(part)
    if isinstance(part, list | tuple):
        return [_amounts_as_text(one) for one in part]
    if isinstance(part, Mapping):
        return {key: _amounts_as_text(one) for key, one in part.items()}
    return part


def patched(records: Sequence[Mapping[str, Any]], patches: Iterable[Patch]) -> list[dict[str, Any]]:
    """The records with the patches meant for them, in order; a dated one cuts the records it falls into."""
    found = [dict(record) for record in records]
    for one in patches:
        found = [piece for record in found for piece in _apply(record, one)]
    for record in found:
        for key in ("variants", "windows"):
            if key in record:
                record[key] = [part for part in record[key] if _meet(record, part)]
        neutral = {key: list(values) for key, values in NEUTRAL.items()}
        for key, values in record.get("neutral", {}).items():
            neutral[key] = [*neutral.get(key, ()), *values]
        record["neutral"] = neutral
    return found


def _apply(record: dict[str, Any], one: Patch) -> list[dict[str, Any]]:
    if not one.names(record["provider"], record["model"]):
        return [record]
    if not {"rates", "fill", "per_call", "minimums", "free", "notes"} & set(one.change):
        return [_changed(record, one)]  # variants and windows carry dates of their own
    pieces = []
    rest = record
    for edge in (one.start, one.end):
        if edge and _within(rest, edge):
            pieces.append({**rest, "to": edge})
            rest = {**rest, "from": edge}
    pieces.append(rest)
    return [_changed(piece, one) if _covers(one, piece) else piece for piece in pieces]


def _edges(part: Mapping[str, Any]) -> tuple[int, int]:
    start, end = moment_us(part.get("from")), moment_us(part.get("to"))
    return (EVER[0] if start is None else start), (EVER[1] if end is None else end)


def _meet(record: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether a part of a record can ever hold in the record's own span."""
    (start, end), (since, until) = _edges(record), _edges(part)
    return since < end and start < until


def _within(record: Mapping[str, Any], edge: str) -> bool:
    start, end = _edges(record)
    return start < (moment_us(edge) or 0) < end


def _covers(one: Patch, piece: Mapping[str, Any]) -> bool:
    start, end = _edges(piece)
    mine = _edges({"from": one.start, "to": one.end})
    return mine[0] <= start and end <= mine[1]


def _changed(record: Mapping[str, Any], one: Patch) -> dict[str, Any]:
    found = dict(record)
    change = one.change
    rates = dict(record.get("rates", {}))
    rates.update({unit: plain_rate(unit, value) for unit, value in change.get("rates", {}).items()})
    for unit, value in change.get("fill", {}).items():
        if unit not in rates and (filled := _filled(unit, value, rates)):
            rates[unit] = filled
    found["rates"] = rates
    variants = [_dated(_plain(variant), one) for variant in change.get("variants", ())]
    if variants:
        found["variants"] = [*record.get("variants", ()), *variants]
    if "windows" in change:
        found["windows"] = [_dated(_plain(window), one) for window in change["windows"]]
    for key in ("per_call", "minimums"):
        if key in change:
            found[key] = {**record.get(key, {}), **change[key]}
    if "neutral" in change:
        merged = {key: list(values) for key, values in record.get("neutral", {}).items()}
        for key, values in change["neutral"].items():
            merged[key] = [*merged.get(key, ()), *values]
        found["neutral"] = merged
    if change.get("notes"):
        found["notes"] = [*record.get("notes", ()), *change["notes"]]
    if change.get("free"):
        found["free"] = True
    if change["source"] and ("rates" in change or "free" in change or "windows" in change):
        found["source"] = f"{record.get('source', '')}, corrected from {change['source']}"
    return found


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    rates = {unit: plain_rate(unit, value) for unit, value in part.get("rates", {}).items()}
    return {**part, "rates": rates} if "rates" in part else dict(part)


def _dated(part: dict[str, Any], one: Patch) -> dict[str, Any]:
    """The variant or window, with the patch's dates where it has none of its own."""
    for key, value in (("from", one.start), ("to", one.end)):
        if value and key not in part:
            part[key] = value
    return part


def _filled(unit: str, value: Any, rates: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping) or "of" not in value:
        return plain_rate(unit, value)
    base = rates.get(value["of"])
    if base is None:
        return None
    factor = amount_of(value["factor"], "fill")
    rate = rate_of(value["of"], base, "fill").times(factor)
    filled = {"usd": str(rate.usd), "per": rate.per}
    if rate.tiers:
        filled["tiers"] = [{"above": above, "usd": str(usd)} for above, usd in rate.tiers]
    return filled
