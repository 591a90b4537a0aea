"""Screens of the price list: models, one model's record, its history, what a newer file changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from farthing.event import to_us
from farthing.pricing.bands import holds
from farthing.pricing.catalog import Catalog
from farthing.pricing.record import PriceRecord, Rate, rates_of
from farthing.pricing.refresh import Diff
from farthing.reports.blocks import Cell, Column, Heading, Page, Pairs, Span, Table
from farthing.reports.text import dollars, plural, validity
from farthing.usage import UNITS

SHOWN = 40
"""Rows of a difference that are shown; JSON has all."""


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model with its input and output price, US dollars for a million tokens; None where it has no such rate."""

    provider: str
    model: str
    input: Fraction | None
    output: Fraction | None
    source: str


def listed(catalog: Catalog, text: str | None, provider: str | None, at: datetime) -> list[ListedPrice]:
    """The models of a catalog whose name contains `text`, by provider and name."""
    wanted = (text or "").lower()
    rows = []
    for one in catalog.models(provider):
        if wanted not in one.model.lower() and wanted not in f"{one.provider}/{one.model}".lower():
            continue
        record = catalog.resolve(one.model, one.provider, at).record
        rates = rates_of(record.data.get("rates", {})) if record is not None else {}
        rows.append(
            ListedPrice(
                one.provider, one.model, _million(rates, "input_tokens"), _million(rates, "output_tokens"), one.source
            )
        )
    return sorted(rows, key=lambda row: (row.provider, row.model))


def _million(rates: Mapping[str, Rate], unit: str) -> Fraction | None:
    rate = rates.get(unit)
    return None if rate is None else rate.usd * 1_000_000 / rate.per


def list_page(rows: Sequence[ListedPrice]) -> Page:
    """The models as a table."""
    page = Page()
    page.add(Heading(plural(len(rows), "model"), "US dollars for a million tokens"))
    page.line()
    columns = (
        Column("provider"),
        Column("model", least=20),
        Column("input", right=True),
        Column("output", right=True),
        Column("source", rank=1),
    )
    body: list[tuple[Cell, ...]] = [
        (row.provider, row.model, _amount(row.input), _amount(row.output), Span(row.source, "dim")) for row in rows
    ]
    page.add(Table(columns, body))
    return page


def _amount(usd: Fraction | None) -> str:
    return "" if usd is None else dollars(usd)


def show_page(record: PriceRecord, asked: str, matched: str, at: datetime) -> Page:
    """Everything about a price record that is in force at a moment."""
    page = Page()
    page.add(Heading(f"{record.provider} · {record.model}", f"for {asked!r}: {matched}" if matched else ""))
    page.line()
    if record.free:
        page.line(Span("free", "good"))
    else:
        page.add(_rates_table(record, to_us(at)))
    page.line()
    page.add(Pairs(list(_about(record))))
    return page


def _rates_table(record: PriceRecord, at_us: int) -> Table:
    """A row for each unit and tier, a column for each circumstance that has prices of its own."""
    columns: dict[str, dict[tuple[str, str, int], Fraction]] = {}
    for words, rates in _parts(record.data, at_us):
        column = columns.setdefault(words, {})
        for unit, rate in rates_of(rates).items():
            column.setdefault((unit, "", rate.per), rate.usd)
            for above, usd in rate.tiers:
                words_of_tier = f"above {above:,}" + (
                    " " + rate.by.replace("_", " ") if rate.by != "input_tokens" else ""
                )
                column.setdefault((unit, words_of_tier + (", the part above" if rate.marginal else ""), rate.per), usd)
    rows: list[tuple[Cell, ...]] = []
    for unit, tier, per in sorted({key for column in columns.values() for key in column}):
        amounts = [_amount(column.get((unit, tier, per))) for column in columns.values()]
        rows.append((unit, Span(tier, "dim"), f"{per:,}", *amounts))
    named = [Column(words, right=True, rank=place) for place, words in enumerate(columns)]
    return Table((Column("unit", least=14), Column("", least=8), Column("per", right=True, rank=9), *named), rows)


def _parts(data: Mapping[str, Any], at_us: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(when it holds in words, rates) of the record, and of the variants and windows that are in force."""
    yield "rate", data.get("rates", {})
    for part in data.get("variants", ()):
        if part.get("rates") and holds(part, at_us):
            yield ", ".join(str(value) for value in part.get("when", {}).values()), part["rates"]
    for part in data.get("windows", ()):
        yield f"{part.get('start')}-{part.get('end')} {part.get('tz', 'UTC')}", part.get("rates", {})


def _when(part: Mapping[str, Any]) -> str:
    words = ", ".join(f"{key}={value}" for key, value in part.get("when", {}).items())
    return words + (f" from {part['from']}" if part.get("from") else "")


def _about(record: PriceRecord) -> Iterator[tuple[str, Cell]]:
    yield "valid", validity(record.valid_from, record.valid_to)
    yield "source", record.source + (f", published {record.published}" if record.published else "")
    if record.data.get("via"):
        yield "list price of", str(record.data["via"])
    factors: dict[str, list[str]] = {}
    for part in record.data.get("variants", ()):
        if "factor" in part:
            on = f" on {', '.join(part['units'])}" if part.get("units") else ""
            factors.setdefault(f"times {part['factor']}{on}", []).append(_when(part))
    for words, whens in factors.items():
        yield words, ", ".join(whens)
    for unit, number in record.data.get("per_call", {}).items():
        yield "every call", f"{number} {unit}"
    for unit, number in record.data.get("minimums", {}).items():
        yield "at least", f"{number} {unit}"
    for note in record.data.get("notes", ()):
        yield "note", str(note)
    yield "hash", record.hash


def history_page(records: Sequence[PriceRecord]) -> Page:
    """All records of a model, the rates most asked for side by side."""
    page = Page()
    page.add(Heading(f"{records[0].provider} · {records[0].model}", plural(len(records), "price")))
    page.line()
    units = list(dict.fromkeys(unit for record in records for unit in record.data.get("rates", {})))[:6]
    named = [unit.replace("_tokens", "").replace("_", " ") for unit in units]
    amounts = [Column(name, right=True, rank=max(0, place - 1)) for place, name in enumerate(named)]
    columns = (Column("from"), Column("to"), *amounts, Column("source", rank=7))
    rows: list[tuple[Cell, ...]] = []
    for record in records:
        rates = rates_of(record.data.get("rates", {}))
        start = "" if record.valid_from is None else f"{record.valid_from:%Y-%m-%d}"
        end = "" if record.valid_to is None else f"{record.valid_to:%Y-%m-%d}"
        cells = [_with_tiers(rates[unit]) if unit in rates else "" for unit in units]
        rows.append((start, end, *cells, Span(record.source, "dim")))
    page.add(Table(columns, rows))
    lots = {UNITS[unit].per for unit in units}
    if len(lots) == 1:
        page.line(Span(f"US dollars for {lots.pop():,}; + has tiers, see `farthing prices show`", "dim"))
    return page


def _with_tiers(rate: Rate) -> str:
    return dollars(rate.usd) + ("+" if rate.tiers else "")


def record_json(record: PriceRecord, matched: str) -> dict[str, Any]:
    """A record for programs: its data, its hash, why a name means it."""
    return {"hash": record.hash, "matched": matched or None, **record.data}


def diff_page(found: Diff) -> Page:
    """What a newer price file changes."""
    page = Page()
    page.add(Heading(f"{found.old} → {found.new}", plural(found.models, "model")))
    page.line()
    if found.empty:
        page.line("The prices are the same.")
        return page
    changed = plural(len(found.changed), "rate")
    page.line(f"{plural(len(found.added), 'new model')}, {len(found.removed)} gone, {changed} changed")
    if found.changed:
        page.line()
        columns = (
            Column("provider", rank=1),
            Column("model", least=14),
            Column("rate", least=12),
            Column("old", right=True),
            Column("new", right=True),
            Column(""),
        )
        rows: list[tuple[Cell, ...]] = []
        for one in found.changed[:SHOWN]:
            old, new = _amount(one.old) or "none", _amount(one.new) or "none"
            rows.append((one.provider, one.model, one.rate, old, new, Span("!" if one.is_leap else "", "bad")))
        page.add(Table(columns, rows))
        if len(found.changed) > SHOWN:
            page.line(Span(f"and {len(found.changed) - SHOWN} more; --json has all", "dim"))
    for words, names in (("new", found.added), ("gone", found.removed)):
        if names:
            shown = ", ".join(f"{provider}/{model}" for provider, model in names[:SHOWN])
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            page.line()
            page.line(Span(f"{words}: ", "strong"), shown + more, hang=2)
    return page


def diff_json(found: Diff) -> dict[str, Any]:
    """The same for programs; amounts are exact decimal text or fractions."""
    return {
        "old": found.old,
        "new": found.new,
        "models": found.models,
        "added": [{"provider": provider, "model": model} for provider, model in found.added],
        "removed": [{"provider": provider, "model": model} for provider, model in found.removed],
        "changed": [
            {
                "provider": c.provider,
                "model": c.model,
                "rate": c.rate,
                "old": None if c.old is None else dollars(c.old).removeprefix("$"),
                "new": None if c.new is None else dollars(c.new).removeprefix("$"),
                "leap": c.is_leap,
            }
            for c in found.changed
        ],
        "doubts": list(found.doubts),
    }
