"""Cost and usage in the columns of FOCUS 1.0, the FinOps Foundation's specification: a row a day, model, kind of token.

The Foundation's validator names some columns otherwise than the specification's text (Provider, Publisher,
InvoiceIssuer, ResourceID, ChargeType); both names stand in the file with the same values. Columns of our own begin
with `x_`. Amounts are exact decimals: `BilledCost` adds up to what is owed, `ListCost` to that and the list price
inside flat plans.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from farthing.ledger.store import Filter, Question, Store
from farthing.money import PICO_PER_USD, pico_to_usd
from farthing.reports.lots import Lot, Prices, lots, token_rates
from farthing.reports.split import rounded

COLUMNS = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "InvoiceIssuer",
    "Provider",
    "Publisher",
    "ResourceID",
    "ChargeType",
    "x_Calls",
    "x_PriceStatus",
    "x_Billing",
)
TAGS = ("org", "team", "cost_center", "environment", "agent")
"""What tells rows of one day and model apart; each but `org` becomes a tag."""

Row = dict[str, str | int | None]


@dataclass(frozen=True, slots=True)
class _Part:
    """One kind of token of a lot."""

    name: str
    quantity: int
    unit_pico: Fraction | None
    pico: Fraction


def focus_rows(store: Store, where: Filter) -> Iterator[Row]:
    """The rows, oldest day first. Days and months are UTC."""
    prices = Prices(store)
    for row in store.totals(Question(by=("day",), where=where, sums=())):
        if row.key[0] is None:
            continue
        day = datetime.fromisoformat(row.key[0]).replace(tzinfo=UTC)
        since, until = _us(day), _us(day + timedelta(days=1))
        within = Filter(
            since_us=since if where.since_us is None else max(since, where.since_us),
            until_us=until if where.until_us is None else min(until, where.until_us),
            org=where.org,
            equals=where.equals,
        )
        for lot in sorted(lots(store, within, TAGS), key=_order):
            yield from _rows(lot, day, prices)


def _order(lot: Lot) -> tuple[str, ...]:
    return (lot.provider or "", lot.model, *(value or "" for value in lot.key), lot.price_hash or "")


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _rows(lot: Lot, day: datetime, prices: Prices) -> Iterator[Row]:
    parts = _parts(lot, prices)
    amounts = rounded([part.pico for part in parts], lot.cost_pico)
    calls = lot.calls
    for part, pico in zip(parts, amounts, strict=True):
        if pico or part.quantity or calls:
            yield _row(lot, day, part, pico) | {"x_Calls": calls}
            calls = 0


def _parts(lot: Lot, prices: Prices) -> list[_Part]:
    """What a lot's cost is made of; the exact amounts add up to it, but for the rounding of each call."""
    read, write, output = (int(lot.unit(name)) for name in ("cache_read_tokens", "cache_write_tokens", "output_tokens"))
    plain = max(0, int(lot.unit("input_tokens")) - read - write)
    at = token_rates(lot, prices)
    parts = [
        _Part("input tokens", plain, at.plain, at.plain * plain),
        _Part("cached input tokens", read, at.read, at.read * read),
        _Part("cache write tokens", write, None, at.written),
        _Part("output tokens", output, at.output, at.output * output),
    ]
    rest = lot.cost_pico - sum((part.pico for part in parts), Fraction())
    if not lot.price_hash or not any(part.pico for part in parts):
        tokens = int(lot.unit("input_tokens")) + output
        return [_Part("tokens" if tokens else "use", tokens, None, Fraction(lot.cost_pico))]
    kept = [part for part in parts if part.quantity]
    if abs(rest) > max(lot.calls, 1):
        kept.append(_Part("other use", 0, None, rest))
    return kept


def _row(lot: Lot, day: datetime, part: _Part, pico: int) -> Row:
    names = dict(zip(TAGS, lot.key, strict=True))
    provider = lot.provider or "unknown"
    month = day.replace(day=1)
    plan = lot.billing == "subscription"
    billed = "0.0" if plan else _usd(pico)
    price = None if part.unit_pico is None else _decimal(part.unit_pico / PICO_PER_USD)
    sku = f"{provider}/{lot.model}/{part.name.replace(' ', '_')}"
    quantity = f"{part.quantity}.0" if part.quantity else None
    row: Row = dict.fromkeys(COLUMNS)
    row |= {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ContractedCost": _usd(pico),
        "ListCost": _usd(pico),
        "BillingAccountId": names["org"] or "default",
        "BillingAccountName": names["org"] or "default",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _iso(month),
        "BillingPeriodEnd": _iso((month + timedelta(days=32)).replace(day=1)),
        "ChargePeriodStart": _iso(day),
        "ChargePeriodEnd": _iso(day + timedelta(days=1)),
        "ChargeCategory": "Usage",
        "ChargeType": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{lot.model}: {part.name}",
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "Tokens" if quantity else None,
        "PricingQuantity": quantity,
        "PricingUnit": "Tokens" if quantity else None,
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingCategory": "Committed" if plan else "Standard",
        "ResourceName": lot.model,
        "ResourceType": "Model",
        "RegionId": lot.context.get("region"),
        "RegionName": lot.context.get("region"),
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": provider,
        "SkuId": sku,
        "SkuPriceId": f"{sku}@{lot.price_hash[:12]}" if lot.price_hash else sku,
        "SubAccountId": names["team"],
        "SubAccountName": names["team"],
        "Tags": _tags(names, lot.context),
        "x_PriceStatus": "priced" if lot.price_hash else "reported" if lot.cost_pico else "unpriced or free",
        "x_Billing": lot.billing,
    }
    for name in ("Provider", "Publisher", "InvoiceIssuer"):
        row[name] = row[f"{name}Name"] = provider
    row["ResourceId"] = row["ResourceID"] = f"{provider}/{lot.model}"
    return row


def _tags(names: Mapping[str, str | None], context: Mapping[str, str]) -> str:
    given = {name: value for name, value in names.items() if value is not None and name != "org"}
    given |= {name: str(value) for name, value in context.items() if name in ("processing", "service_tier")}
    return json.dumps(given, ensure_ascii=False, sort_keys=True)


def _usd(pico: int) -> str:
    """With a decimal point always: readers that guess types must not take a column for whole numbers."""
    text = f"{pico_to_usd(pico):f}"
    return text if "." in text else f"{text}.0"


def _decimal(value: Fraction) -> str:
    found = Decimal(value.numerator) / Decimal(value.denominator)
    return f"{found.normalize():f}"


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
