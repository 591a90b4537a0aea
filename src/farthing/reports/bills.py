"""Providers' own usage and cost exports, read into lines: a day, a model, a key, what was used, what it cost.

Read are pages (one, a list of them, or one a line) of

- OpenAI: `GET /v1/organization/usage/<kind>` (`organization.usage.*.result`), `GET /v1/organization/costs`
- Anthropic: `GET /v1/organizations/usage_report/messages`, `GET /v1/organizations/cost_report` (amounts in cents)

and CSV exports, by the names of their columns (`bills_csv`). Days are UTC, as the providers' are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from farthing.errors import InputError
from farthing.event import EMPTY
from farthing.money import usd_to_pico
from farthing.reports.bills_csv import csv_lines
from farthing.usage import Quantity

_OPENAI_UNITS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "input_cached_tokens": "cache_read_tokens",
    "characters": "input_characters",
    "seconds": "input_audio_seconds",
    "images": "output_images",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line of an export.

    day    None where the export names none; key, project: as the export names them, None where it does not
    pico   what it costs; None in exports of usage alone
    units  what was used, in our units; requests: how many calls, None where that is not told
    context  as prices take it: {"processing": "batch"}; large: calls of more than 200,000 input tokens
    """

    day: date | None
    provider: str
    model: str | None
    item: str = ""
    key: str | None = None
    project: str | None = None
    pico: int | None = None
    units: Mapping[str, Quantity] = field(default_factory=lambda: EMPTY)
    requests: int | None = None
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    large: bool = False


def read_bill(path: Path, provider: str | None = None) -> list[BillLine]:
    """The lines of an export. What is none: InputError, naming what is understood."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text: {error}") from error
    if text.lstrip()[:1] in ("{", "["):
        lines = [line for page in _pages(path, text) for line in _page_lines(path, page)]
    else:
        lines = [BillLine(**values) for values in csv_lines(path, text, provider)]
    if not lines:
        raise InputError(f"{path}: holds no usage and no costs")
    return lines


def _pages(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    try:
        parsed = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError:
        try:
            parsed = [json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: cannot be read as JSON: {error.msg}") from error
    for page in parsed if isinstance(parsed, list) else [parsed]:
        if not isinstance(page, dict):
            raise InputError(f"{path}: {str(page)[:60]!r}: is no page of an export")
        yield page


def _page_lines(path: Path, page: Mapping[str, Any]) -> Iterator[BillLine]:
    buckets = page.get("data", [page] if "results" in page else None)
    if not isinstance(buckets, list):
        raise InputError(
            f"{path}: is no usage or cost export: its pages have `data`, a list of buckets with `results`; "
            "understood are those of OpenAI's and Anthropic's admin APIs"
        )
    for bucket in buckets:
        if isinstance(bucket, dict) and isinstance(bucket.get("results"), list):
            day = _day(path, bucket)
            for result in bucket["results"]:
                if isinstance(result, dict):
                    yield _line(path, day, result)


def _day(path: Path, bucket: Mapping[str, Any]) -> date:
    start = bucket.get("start_time", bucket.get("starting_at"))
    try:
        if isinstance(start, str):
            return datetime.fromisoformat(start.replace("Z", "+00:00")).astimezone(UTC).date()
        return datetime.fromtimestamp(int(start), UTC).date()
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: a bucket begins at {start!r}, which is no moment") from error


def _line(path: Path, day: date, result: Mapping[str, Any]) -> BillLine:
    kind = str(result.get("object", ""))
    if kind == "organization.costs.result" or isinstance(result.get("amount"), dict):
        return _openai_cost(path, day, result)
    if kind.startswith("organization.usage."):
        return _openai_usage(day, result, kind.split(".")[2])
    if "uncached_input_tokens" in result:
        return _anthropic_usage(day, result)
    if "amount" in result:
        return _anthropic_cost(path, day, result)
    raise InputError(f"{path}: {day}: a result with {', '.join(sorted(result)[:6])}: is of no export that is known")


def _openai_cost(path: Path, day: date, result: Mapping[str, Any]) -> BillLine:
    amount = result.get("amount") or {}
    currency = str(amount.get("currency") or "usd").upper()
    if currency != "USD":
        raise InputError(f"{path}: {day}: an amount in {currency}: only US dollars can be compared with the ledger")
    item = str(result.get("line_item") or "")
    return BillLine(
        day=day,
        provider="openai",
        model=model_of_item(item),
        item=item,
        key=_text(result.get("api_key_id")),
        project=_text(result.get("project_name")) or _text(result.get("project_id")),
        pico=_pico(path, amount.get("value")),
    )


def model_of_item(item: str) -> str | None:
    """The model of an invoice's line item: `gpt-4o-2024-08-06, cached input` or `web search | gpt-4o`."""
    if "|" in item:
        return item.rsplit("|", 1)[1].strip() or None
    return item.split(",", 1)[0].strip() or None


def _openai_usage(day: date, result: Mapping[str, Any], kind: str) -> BillLine:
    units = {ours: count for theirs, ours in _OPENAI_UNITS.items() if (count := _count(result.get(theirs)))}
    for theirs, ours, whole in (
        ("input_audio_tokens", "input_audio_tokens", "input_tokens"),
        ("output_audio_tokens", "output_audio_tokens", "output_tokens"),
    ):
        if audio := _count(result.get(theirs)):  # told beside the text tokens, not inside them
            units[ours] = audio
            units[whole] = units.get(whole, 0) + audio
    context = {}
    if result.get("batch"):
        context["processing"] = "batch"
    if tier := _text(result.get("service_tier")):
        context["service_tier"] = tier
    return BillLine(
        day=day,
        provider="openai",
        model=_text(result.get("model")),
        item=kind,
        key=_text(result.get("api_key_id")),
        project=_text(result.get("project_id")),
        units=units,
        requests=_count(result.get("num_model_requests")),
        context=context,
    )


def _anthropic_usage(day: date, result: Mapping[str, Any]) -> BillLine:
    created = result.get("cache_creation") or {}
    written = {
        "cache_write_5m_tokens": _count(created.get("ephemeral_5m_input_tokens")),
        "cache_write_1h_tokens": _count(created.get("ephemeral_1h_input_tokens")),
    }
    read, writes = _count(result.get("cache_read_input_tokens")), sum(written.values())
    units = {
        "input_tokens": _count(result.get("uncached_input_tokens")) + read + writes,
        "cache_read_tokens": read,
        "cache_write_tokens": writes,
        **written,
        "output_tokens": _count(result.get("output_tokens")),
        "web_searches": _count((result.get("server_tool_use") or {}).get("web_search_requests")),
    }
    tier = _text(result.get("service_tier"))
    return BillLine(
        day=day,
        provider="anthropic",
        model=_text(result.get("model")),
        item="messages",
        key=_text(result.get("api_key_id")),
        project=_text(result.get("workspace_id")),
        units={unit: count for unit, count in units.items() if count},
        context={"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier == "priority" else {},
        large=str(result.get("context_window") or "").startswith("200k"),
    )


def _anthropic_cost(path: Path, day: date, result: Mapping[str, Any]) -> BillLine:
    cents = _pico(path, result.get("amount"))
    currency = str(result.get("currency") or "USD").upper()
    if currency != "USD":
        raise InputError(f"{path}: {day}: an amount in {currency}: only US dollars can be compared with the ledger")
    return BillLine(
        day=day,
        provider="anthropic",
        model=_text(result.get("model")),
        item=_text(result.get("description")) or _text(result.get("cost_type")) or "",
        project=_text(result.get("workspace_id")),
        pico=cents // 100 if cents % 100 == 0 else round(Decimal(cents) / 100),
    )


def _pico(path: Path, value: Any) -> int:
    try:
        return usd_to_pico(Decimal(str(value)))
    except (InvalidOperation, ValueError) as error:
        raise InputError(f"{path}: {value!r}: is no amount") from error


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
