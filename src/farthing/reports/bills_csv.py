"""CSV exports of usage and cost, by the names of their columns: OpenAI's, Anthropic's, FOCUS, and others like them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from farthing.errors import InputError
from farthing.money import usd_to_pico

_NAMES: Mapping[str, tuple[str, ...]] = {
    "day": ("usage_date_utc", "usage_date", "start_time_iso", "start_time", "starting_at", "chargeperiodstart", "date",
            "day", "timestamp", "created_at", "at"),
    "cost": ("cost_usd", "amount_value", "billedcost", "cost", "amount", "total_cost", "usd", "amount_usd", "spend"),
    "model": ("model_version", "model", "model_name", "resourcename", "line_item", "sku", "description"),
    "key": ("api_key", "api_key_name", "api_key_id", "key"),
    "project": ("workspace", "workspace_name", "workspace_id", "project_name", "project_id", "subaccountname", "team"),
    "provider": ("provider", "providername", "vendor"),
    "requests": ("num_model_requests", "requests", "num_requests", "calls", "request_count"),
    "batch": ("batch",),
    "tier": ("service_tier", "tier"),
    "item": ("token_type", "cost_type", "chargedescription"),
    "currency": ("amount_currency", "currency", "billingcurrency"),
}  # fmt: skip

_TOKENS: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("input_tokens", "prompt_tokens", "n_context_tokens_total"),
    "uncached": ("uncached_input_tokens", "usage_input_tokens_no_cache", "input_uncached_tokens"),
    "cache_read_tokens": ("cache_read_input_tokens", "usage_input_tokens_cache_read", "input_cached_tokens",
                          "cached_tokens", "cache_read_tokens"),
    "cache_write_5m_tokens": ("cache_creation_5m_input_tokens", "usage_input_tokens_cache_write_5m"),
    "cache_write_1h_tokens": ("cache_creation_1h_input_tokens", "usage_input_tokens_cache_write_1h"),
    "cache_write_tokens": ("cache_creation_input_tokens", "cache_write_tokens"),
    "output_tokens": ("output_tokens", "usage_output_tokens", "completion_tokens", "n_generated_tokens_total"),
    "web_searches": ("web_search_count", "web_searches", "web_search_requests"),
}  # fmt: skip


def csv_lines(path: Path, text: str, provider: str | None) -> Iterator[dict[str, Any]]:
    """The values of `BillLine` for each row. What cannot be read: InputError with the row's number."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    columns = {_plain(name): name for name in reader.fieldnames or () if name}
    found = {what: columns[name] for what, names in _NAMES.items() if (name := _first(names, columns))}
    tokens = {unit: columns[name] for unit, names in _TOKENS.items() if (name := _first(names, columns))}
    if "day" not in found or not ("cost" in found or tokens):
        raise InputError(
            f"{path}: its columns ({', '.join(columns) or 'none'}) name no day, or neither a cost nor tokens; "
            f"understood are a day ({', '.join(_NAMES['day'][:6])}, ...) with a cost "
            f"({', '.join(_NAMES['cost'][:4])}, ...) or tokens"
        )
    whose = provider or _provider_of(columns, path)
    for number, row in enumerate(reader, 2):
        line = _Row(path, number, row, found)
        if line.text("day") is not None:
            yield line.values(whose, tokens, with_cost="cost" in found)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "", name.strip().lower().replace(" ", "_"))


def _first(names: tuple[str, ...], columns: Mapping[str, str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _provider_of(columns: Mapping[str, str], path: Path) -> str:
    """The provider whose export has such columns, or else that the file's name says."""
    name = path.name.lower()
    if {"usage_date_utc", "workspace"} & set(columns) or "claude" in name or "anthropic" in name:
        return "anthropic"
    if {"amount_value", "num_model_requests", "line_item", "n_context_tokens_total"} & set(columns):
        return "openai"
    return "openai" if "openai" in name else "unknown"


class _Row:
    """One row, read by what its columns mean."""

    def __init__(self, path: Path, number: int, row: Mapping[str, str | None], found: Mapping[str, str]) -> None:
        self._where, self._row, self._found = f"{path}:{number}", row, found

    def text(self, what: str) -> str | None:
        """The text of a column, None where it is empty or missing."""
        name = self._found.get(what)
        value = (self._row.get(name) or "").strip() if name else ""
        return value or None

    def values(self, provider: str, tokens: Mapping[str, str], *, with_cost: bool) -> dict[str, Any]:
        """The fields of `BillLine`."""
        currency = (self.text("currency") or "USD").upper()
        if currency != "USD":
            raise InputError(f"{self._where}: an amount in {currency}: only US dollars can be compared with the ledger")
        item = self.text("item") or ""
        model = self.text("model")
        if self._found.get("model", "").lower() in ("line_item", "line item"):
            item, model = model or item, _model_of(model)
        context = {}
        if (self.text("batch") or "").lower() in ("true", "1", "yes") or (self.text("tier") or "") == "batch":
            context["processing"] = "batch"
        elif tier := self.text("tier"):
            context["service_tier"] = tier
        requests = self.text("requests")
        return {
            "day": self._day(self.text("day") or ""),
            "provider": (self.text("provider") or provider).lower(),
            "model": model,
            "item": item,
            "key": self.text("key"),
            "project": self.text("project"),
            "pico": self._pico(self.text("cost")) if with_cost else None,
            "units": self._units(tokens),
            "requests": None if requests is None else int(self._number(requests)),
            "context": context,
        }

    def _units(self, tokens: Mapping[str, str]) -> dict[str, int]:
        counts = {unit: int(self._number(self._row.get(name) or "0")) for unit, name in tokens.items()}
        writes = counts.get("cache_write_5m_tokens", 0) + counts.get("cache_write_1h_tokens", 0)
        if writes:
            counts["cache_write_tokens"] = max(counts.get("cache_write_tokens", 0), writes)
        if "uncached" in counts and "input_tokens" not in counts:
            cached = counts.get("cache_read_tokens", 0) + counts.get("cache_write_tokens", 0)
            counts["input_tokens"] = counts["uncached"] + cached
        return {unit: count for unit, count in counts.items() if count and unit != "uncached"}

    def _number(self, text: str) -> Decimal:
        try:
            value = Decimal(text.replace(",", "").replace("$", "").strip() or "0")
        except InvalidOperation:
            raise InputError(f"{self._where}: {text!r}: is no number") from None
        if not value.is_finite():
            raise InputError(f"{self._where}: {text!r}: is no number")
        return value

    def _pico(self, text: str | None) -> int:
        return usd_to_pico(self._number(text or "0"))

    def _day(self, text: str) -> date:
        try:
            if text.replace(".", "", 1).isdigit():
                return datetime.fromtimestamp(float(text), UTC).date()
            moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" UTC", "+00:00"))
        except (ValueError, OverflowError):
            raise InputError(f"{self._where}: {text!r}: is no day; write 2026-10-01") from None
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _model_of(item: str | None) -> str | None:
    if item is None:
        return None
    return item.rsplit("|", 1)[1].strip() if "|" in item else item.split(",", 1)[0].strip()
