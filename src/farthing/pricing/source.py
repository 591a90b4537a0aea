"""Price data of genai-prices, read into one form: the bundled data, or a newer file of the same format.

The file is a JSON array of providers. Only the data is used, never that library's arithmetic; what is read here is
checked, so that a broken file is refused with the provider, model, key and value that is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from farthing.errors import PriceError, shown
from farthing.money import is_amount

Clause = tuple[str, Any]
"""(kind, text) with kind equals, starts_with, ends_with, contains or regex; (kind, clauses) with kind or, and."""

_LEAVES = ("equals", "starts_with", "ends_with", "contains", "regex")


@dataclass(frozen=True, slots=True)
class ModelData:
    """One model as the data has it.

    `prices` are {"constraint", "prices"}, `variants` {"when", "constraint", "prices"}, in the order of the data.
    """

    id: str
    match: Clause
    prices: tuple[Mapping[str, Any], ...]
    variants: tuple[Mapping[str, Any], ...] = ()
    comments: str = ""


@dataclass(slots=True)
class ProviderData:
    """One provider; its models are read when first asked for."""

    id: str
    name: str
    api_pattern: str
    model_match: Clause | None
    provider_match: Clause | None
    fallbacks: tuple[str, ...]
    raw_models: Sequence[Any] = field(repr=False)
    _models: list[ModelData] | None = field(default=None, repr=False)

    def models(self) -> list[ModelData]:
        """Every model, in the order of the data."""
        if self._models is None:
            self._models = [_model(self.id, raw) for raw in self.raw_models]
        return self._models


@dataclass(frozen=True, slots=True)
class Source:
    """A set of price data: where it is from, and its providers by id."""

    label: str
    providers: Mapping[str, ProviderData]
    published: str | None = None

    def check(self) -> int:
        """The number of models, every one read; the first that is broken raises PriceError."""
        return sum(len(provider.models()) for provider in self.providers.values())

    def newest(self, today: date) -> date | None:
        """The latest day up to this one on which a price changed: the data is of that day or later. None: not told."""
        prices = (price for one in self.providers.values() for model in one.models() for price in model.prices)
        days = (date.fromisoformat(price["constraint"]["from"]) for price in prices if "from" in price["constraint"])
        return max((day for day in days if day <= today), default=None)


def bundled() -> Source:
    """The data of the installed genai-prices."""
    from genai_prices.data import providers  # slow (0.3 s): loaded when a price is first asked for

    return Source(f"genai-prices {metadata.version('genai-prices')}", _by_id(providers))


def read_file(path: Path) -> Source:
    """The data of a price file, every model checked. Unreadable or broken: PriceError, naming what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError(f"price file {path}: cannot be read: {error}") from error
    return read_text(text, f"price file {path.name}")


def read_text(text: str, label: str) -> Source:
    """The data of the text of a price file, every model checked. Amounts keep their decimal digits."""
    try:
        raw = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise PriceError(f"{label}: not JSON: {error}") from error
    if not isinstance(raw, list) or not raw:
        what = "an empty one" if raw == [] else type(raw).__name__
        raise PriceError(f"{label}: must be a JSON array of providers, not {what}")
    try:
        source = Source(label, _by_id(raw))
        source.check()
    except PriceError as error:
        raise PriceError(f"{label}: {error}") from error
    return source


def _by_id(raw: Sequence[Any]) -> dict[str, ProviderData]:
    found: dict[str, ProviderData] = {}
    for item in raw:
        get = _getter(item)
        if not isinstance(get("id"), str) or not isinstance(get("models"), list):
            raise PriceError(f"a provider must have a text 'id' and a list 'models', not {str(item)[:80]!r}")
        found[get("id")] = ProviderData(
            get("id"),
            get("name") or get("id"),
            get("api_pattern") or "",
            _clause(get("model_match"), get("id")),
            _clause(get("provider_match"), get("id")),
            tuple(get("fallback_model_providers") or ()),
            get("models"),
        )
    return found


def _getter(item: Any) -> Any:
    """Reads a key of a mapping or an attribute of a dataclass alike; None where there is none."""
    if isinstance(item, Mapping):
        return item.get
    return lambda key: getattr(item, key, None)


def _clause(raw: Any, where: str) -> Clause | None:
    if raw is None:
        return None
    items = raw if isinstance(raw, Mapping) else vars(raw)
    if len(items) == 1:
        (key, value) = next(iter(items.items()))
        kind = key.rstrip("_")
        if kind in ("or", "and") and isinstance(value, list):
            return kind, tuple(part for sub in value if (part := _clause(sub, where)))
        if kind == "regex" and isinstance(value, str):
            return kind, _pattern(value, where)
        if kind in _LEAVES and isinstance(value, str):
            return kind, value.lower()
    raise PriceError(f"{where}: match = {str(raw)[:80]!r}: must be one of {', '.join((*_LEAVES, 'or', 'and'))}")


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise PriceError(f"{where}: match: regex {text!r}: {error}") from error


def _model(provider: str, raw: Any) -> ModelData:
    get = _getter(raw)
    where = f"{provider} {get('id')}"
    clause = _clause(get("match"), where)
    if not isinstance(get("id"), str) or clause is None:
        raise PriceError(f"{where}: a model must have a text 'id' and a 'match'")
    prices = get("prices")
    listed = prices if isinstance(prices, list) else [{"prices": prices}]
    return ModelData(
        get("id"),
        clause,
        tuple(_conditional(item, where) for item in listed),
        tuple({"when": dict(_getter(v)("when")), **_conditional(v, where)} for v in get("price_variants") or ()),
        get("price_comments") or "",
    )


def _conditional(raw: Any, where: str) -> dict[str, Any]:
    get = _getter(raw)
    prices = get("prices")
    if prices is None:
        raise PriceError(f"{where}: prices: missing")
    items = prices if isinstance(prices, Mapping) else vars(prices)
    found = {key: _price(f"{where}: {key}", value) for key, value in items.items() if value is not None}
    return {"prices": found, "constraint": _constraint(get("constraint"), where)}


def _price(where: str, value: Any) -> dict[str, Any]:
    """{"usd", "tiers"} of an amount or of tiered prices, amounts as text."""
    if isinstance(value, Decimal | int | float) and not isinstance(value, bool):
        return {"usd": _amount(where, value)}
    get = _getter(value)
    tiers = get("tiers")
    if not isinstance(tiers, list):
        raise PriceError(f"{where} = {value!r}: must be an amount, or tiers with a base")
    read = [(_getter(tier)("start"), _amount(where, _getter(tier)("price"))) for tier in tiers]
    if any(type(start) is not int or start < 0 for start, _ in read):
        raise PriceError(f"{where}: start of a tier must be a whole number, in {read!r}")
    return {"usd": _amount(where, get("base")), "tiers": [{"above": start, "usd": usd} for start, usd in sorted(read)]}


def _amount(where: str, value: Any) -> str:
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, Decimal | int)
        or not is_amount(Decimal(number))
        or number < 0
    ):
        raise PriceError(f"{where} = {shown(value)}: must be a number that is not negative")
    return format(Decimal(number).normalize(), "f")


def _constraint(raw: Any, where: str) -> dict[str, str]:
    """{} or {"from": date} or {"start": "HH:MM", "end": "HH:MM"}, the times in UTC."""
    if raw is None:
        return {}
    get = _getter(raw)
    try:
        if (start := get("start_date")) is not None:
            return {"from": start.isoformat() if isinstance(start, date) else date.fromisoformat(start).isoformat()}
        return {"start": _utc(get("start_time")), "end": _utc(get("end_time"))}
    except (TypeError, ValueError, AttributeError) as error:
        raise PriceError(f"{where}: constraint = {raw!r}: {error}") from error


def _utc(raw: Any) -> str:
    clock = raw if isinstance(raw, time) else time.fromisoformat(raw)
    offset = clock.utcoffset()
    minutes = clock.hour * 60 + clock.minute - (int(offset.total_seconds()) // 60 if offset else 0)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def clause_texts(clause: Clause) -> Iterator[tuple[str, str]]:
    """(kind, text) of every leaf of a clause."""
    kind, value = clause
    if kind in ("or", "and"):
        for part in value:
            yield from clause_texts(part)
    else:
        yield kind, value.pattern if kind == "regex" else value
