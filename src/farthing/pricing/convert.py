"""Model data of genai-prices made into price records: one for each span of dates.

There, the last entry whose condition holds is in force, else the first. Here dates become spans, daily hours become
windows, and a service variant that is dated by the day somebody collected it is taken to have held before, in the same
proportion to the standard rates; the record says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from farthing.errors import PriceError
from farthing.pricing.source import ModelData
from farthing.usage import UNITS

_TOKENS = {name.removesuffix("_tokens") + "_mtok": name for name, unit in UNITS.items() if unit.family == "tokens"}
_UNIT_OF = {
    **_TOKENS,
    "requests_kcount": "requests",
    "input_gpixels": "input_pixels",
    "input_mchars": "input_characters",
    "output_mchars": "output_characters",
    "audio_hours": "audio_seconds",
    "input_audio_hours": "input_audio_seconds",
    "output_audio_hours": "output_audio_seconds",
    "input_text_messages_kcount": "input_text_messages",
    "input_document_kpages": "input_document_pages",
    "input_annotated_document_kpages": "input_annotated_document_pages",
    "web_searches_kcount": "web_searches",
    "storage_searches_kcount": "storage_searches",
    "map_searches_kcount": "map_searches",
    "social_searches_kcount": "social_searches",
    "code_executions_kcount": "code_executions",
    "rerank_searches_kcount": "rerank_searches",
}
"""Their price keys -> our units; the lots are the same."""


def unit_of(price_key: str, where: str) -> str:
    """Our unit of one of their price keys; PriceError for a key that is not known."""
    if price_key not in _UNIT_OF:
        raise PriceError(f"{where}: unknown price key {price_key!r}; a newer farthing may know it")
    return _UNIT_OF[price_key]


def spans(provider: str, model: ModelData, source: str, published: str | None) -> list[dict[str, Any]]:
    """The model's records as data, in order of time, each with its windows and variants."""
    where = f"{provider} {model.id}"
    dated: list[dict[str, Any]] = []
    windows: list[dict[str, Any]] = []
    for item in model.prices:
        rates = _rates(item["prices"], where)
        constraint = item["constraint"]
        if "start" in constraint:
            windows.insert(0, {**constraint, "tz": "UTC", "rates": rates})
        else:
            dated.append({"from": constraint.get("from"), "rates": rates})
    dated.sort(key=lambda span: span["from"] or "")
    variants = [
        {"when": item["when"], "rates": _rates(item["prices"], where), "from": item["constraint"].get("from")}
        for item in model.variants
    ]
    records = []
    for span, following in zip(dated, [*dated[1:], None], strict=True):
        record: dict[str, Any] = {"provider": provider, "model": model.id, "source": source, "rates": span["rates"]}
        record["from"], record["to"] = span["from"], following["from"] if following else None
        if published:
            record["published"] = published
        if windows:
            record["windows"] = windows
        if found := _variants(variants, span, following, dated):
            record["variants"] = found
        records.append({key: value for key, value in record.items() if value is not None})
    return records


def _rates(prices: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {unit: {**value, "per": UNITS[unit].per} for key, value in prices.items() if (unit := unit_of(key, where))}


def _variants(
    variants: Sequence[Mapping[str, Any]],
    span: Mapping[str, Any],
    following: Mapping[str, Any] | None,
    dated: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The variants of one span, first to last; the earliest of each kind reaches back to the beginning."""
    start, end = span["from"] or "", following["from"] if following else "9999"
    firsts: dict[tuple[tuple[str, str], ...], str] = {}
    for variant in variants:
        key = tuple(sorted(variant["when"].items()))
        firsts[key] = min(firsts.get(key, "9999"), variant["from"] or "")
    found = []
    for variant in variants:
        begins = variant["from"] or ""
        first = firsts[tuple(sorted(variant["when"].items()))]
        if begins < end:
            kept: dict[str, Any] = {"when": variant["when"], "rates": variant["rates"]}
            if begins > start:
                kept["from"] = begins
            found.append(kept)
        if begins == first and begins > start:
            found.append(_before(variant, span, dated, min(begins, end)))
    return found


def _before(
    variant: Mapping[str, Any], span: Mapping[str, Any], dated: Sequence[Mapping[str, Any]], until: str
) -> dict[str, Any]:
    """The earliest variant of its kind, as it is taken to have held before the day it was collected."""
    base = [item for item in dated if (item["from"] or "") <= variant["from"]][-1]
    rates = variant["rates"]
    if base is not span:
        rates = {unit: _in_proportion(unit, rate, base, span) for unit, rate in rates.items() if unit in span["rates"]}
    named = " ".join(f"{key}={value}" for key, value in variant["when"].items())
    return {
        "when": variant["when"],
        "rates": rates,
        "to": until,
        "note": f"{named} rates collected on {variant['from']} are taken to have held before, in the same proportion",
    }


def _in_proportion(
    unit: str, rate: Mapping[str, Any], base: Mapping[str, Any], span: Mapping[str, Any]
) -> dict[str, Any]:
    old, new = span["rates"][unit], base["rates"].get(unit)
    if new is None or Fraction(new["usd"]) == 0:
        return dict(old)
    factor = Fraction(rate["usd"]) / Fraction(new["usd"])
    scaled = {**old, "usd": str(Fraction(old["usd"]) * factor)}
    if "tiers" in old:
        scaled["tiers"] = [{**tier, "usd": str(Fraction(tier["usd"]) * factor)} for tier in old["tiers"]]
    return scaled
