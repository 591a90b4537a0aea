"""The catalog: every known price, found by name and time, compiled when first asked for and kept.

A catalog is a source of data, overlays on it, and models registered in it. `child()` gives one of its own models that
shares the rest. Resolving is cached by name, provider and context, together with the span of time in which the answer
stays the same.
"""

from __future__ import annotations

import difflib
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from farthing.errors import InputError, PriceError, UsageError, shown
from farthing.event import now_us, to_us
from farthing.pricing.bands import EVER, holds
from farthing.pricing.convert import spans
from farthing.pricing.cost import Cost
from farthing.pricing.defaults import default_parts
from farthing.pricing.match import Match, Matcher, Miss, registered
from farthing.pricing.names import provider_id
from farthing.pricing.overlay import BUILT_IN, CustomModel, Overlay, Patch, built_in, patched
from farthing.pricing.record import PriceRecord, moment_us
from farthing.pricing.register import Amount, CustomPrice
from farthing.pricing.resolve import Pairs, Resolved, Unpriced, context_pairs, resolve
from farthing.pricing.source import Source
from farthing.usage import Usage

_logger = logging.getLogger("farthing")
_LIMIT = 20_000
"""Cached resolutions; beyond it the cache begins anew, so that invented names cannot fill the memory."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of the catalog, for lists: its ids and where its price is from."""

    provider: str
    model: str
    source: str


class _Base:
    """What catalogs share: the data with its overlays, and the records made of it so far."""

    def __init__(self, source: Source, overlays: Sequence[Overlay], patches: Sequence[Patch]) -> None:
        self.source = source
        self.overlays = overlays
        self.discounts = tuple(replace(patch, provider=provider_id(patch.provider)) for patch in patches)
        self.patches = (*(patch for overlay in overlays for patch in overlay.patches), *self.discounts)
        self.matcher = Matcher(
            source,
            [model for overlay in overlays for model in overlay.models],
            [alias for overlay in overlays for alias in overlay.aliases],
        )
        self.version = 0
        """How many prices have been registered in catalogs of this data: what they remember is then out of date."""
        self.warned: set[tuple[str, str | None]] = set()
        self._records: dict[tuple[str, str, int], tuple[object, tuple[PriceRecord, ...]]] = {}

    def records(self, match: Match) -> tuple[PriceRecord, ...]:
        """The records of a match in order of time. Data that cannot be read: PriceError."""
        key = (match.provider, match.model_id, id(match.model))
        known = self._records.get(key)
        if known is None:
            made = tuple(PriceRecord.make(_bare(record)) for record in self._patched(match))
            # The model is kept too: once it were gone, another model could come to have its id, and then its prices.
            known = self._records[key] = (match.model, made)
        return known[1]

    def _patched(self, match: Match) -> list[dict[str, Any]]:
        if isinstance(match.model, CustomModel):
            return patched(
                match.model.records, self.patches if match.model.provider in self.source.providers else self.discounts
            )
        label = self.source.label
        found: Sequence[Mapping[str, Any]] = spans(
            match.via or match.provider, match.model, label, self.source.published
        )
        if match.via:
            # The variants are the other provider's: this one's services are patched in under its own name.
            found = [
                {**{k: v for k, v in record.items() if k != "variants"}, "provider": match.provider, "via": match.via}
                for record in found
            ]
            corrections = [fixed for one in self.patches if (fixed := one.corrects(match.via, match.provider))]
            return patched(found, [*corrections, *self.patches])
        return patched(found, self.patches)


def _bare(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value not in (None, [], {}, ()) or key == "rates"}


class Catalog:
    """Prices by model name, provider, moment and request context."""

    _default: Catalog | None = None
    default_lock = threading.RLock()
    """Held while the process-wide catalog is made."""

    def __init__(
        self,
        source: Source,
        overlays: Sequence[Overlay] | None = None,
        *,
        custom: Sequence[CustomModel] = (),
        discounts: Sequence[Patch] = (),
    ) -> None:
        """A catalog of this data; `overlays` are our own built-in ones unless given; `discounts` apply last."""
        chosen = [built_in(name) for name in BUILT_IN] if overlays is None else list(overlays)
        self._base = _Base(source, chosen, discounts)
        self._custom: list[CustomModel] = list(custom)
        self._parent: Catalog | None = None
        for idle in self._idle_discounts():
            _logger.warning("a discount takes nothing off: %s", idle)
        self._cache: dict[tuple[str, str | None, Any], Resolved | Unpriced] = {}
        self._version = self._base.version

    @classmethod
    def default(cls) -> Catalog:
        """The catalog of this process: genai-prices' data or the user's newer file, our overlays, the user's prices."""
        if cls._default is None:
            with cls.default_lock:
                if cls._default is None:
                    parts = default_parts()
                    cls._default = cls(parts.source, parts.overlays, custom=parts.custom, discounts=parts.discounts)
        return cls._default

    @classmethod
    def reset_default(cls) -> None:
        """Forget the process-wide catalog: the next use reads data and settings anew."""
        cls._default = None

    def child(self) -> Catalog:
        """A catalog that sees everything here, and whose own registrations are seen only there."""
        twin = object.__new__(Catalog)
        twin._base = self._base
        twin._custom = []
        twin._parent = self
        twin._cache = {}
        twin._version = self._base.version
        return twin

    def with_overlay(self, *overlays: Overlay | str) -> Catalog:
        """A new catalog with further overlays, by name ('tables-2026-01') or as read; their models win over data."""
        read = [built_in(overlay) if isinstance(overlay, str) else overlay for overlay in overlays]
        return Catalog(
            self._base.source, [*self._base.overlays, *read], custom=self._all_custom(), discounts=self._base.discounts
        )

    @property
    def source(self) -> Source:
        """The data below the overlays."""
        return self._base.source

    def price(
        self,
        model: str,
        usage: Usage,
        *,
        provider: str | None = None,
        at: datetime | str | int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Cost:
        """What this usage of a model costs: as in `farthing.price`. A missing price is warned of once a model."""
        if not isinstance(usage, Usage):
            raise UsageError(f"usage = {shown(usage)}: must be a farthing.Usage, e.g. Usage(input_tokens=1500)")
        cost = self.resolve(model, provider, at, context).cost(usage)
        if cost.status in ("unpriced", "partial"):
            self._warn(cost, provider)
        return cost

    def resolve(
        self,
        model: str,
        provider: str | None = None,
        at: datetime | str | int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Resolved | Unpriced:
        """The price in force: `.evaluate(usage)` for picodollars, `.cost(usage)` for the explained cost.

        `at` is a moment (naive: UTC) or its ISO text, or microseconds since 1970; now where None.
        """
        at_us = now_us() if at is None else at if isinstance(at, int) else to_us(at)
        if context and not isinstance(context, Mapping):
            raise InputError(f"context = {shown(context)}: must be a mapping, e.g. {{'processing': 'batch'}}")
        key = (model, provider, tuple(context.items()) if context else None)
        try:
            found = self._cache.get(key)
        except TypeError:  # a value that is no text
            _check_names(model, provider)
            return self.resolve(model, provider, at_us, dict(context_pairs(context)))
        if found is not None and found.since_us <= at_us < found.until_us and not self._stale():
            return found
        found = self._resolve(model, provider, at_us, context_pairs(context))
        if len(self._cache) >= _LIMIT:
            self._cache.clear()
        self._cache[key] = found
        return found

    def _stale(self) -> bool:
        """Whether this or a related catalog has learned new prices since; then the cache is dropped."""
        version = self._base.version
        if version == self._version:
            return False
        self._version = version
        self._cache.clear()
        return True

    def _resolve(self, model: str, provider: str | None, at_us: int, context: Pairs) -> Resolved | Unpriced:
        _check_names(model, provider)
        try:
            return self._found(model, provider, at_us, context)
        except PriceError as error:
            return Unpriced(model, provider, [f"the price data cannot be used: {error}"])

    def _found(self, model: str, provider: str | None, at_us: int, context: Pairs) -> Resolved | Unpriced:
        match = self._custom_at(model, provider, at_us) or self._base.matcher.find(model, provider)
        if isinstance(match, Miss):
            return Unpriced(model, match.provider, [match.reason + self._near_custom(model, match)])
        records = self._base.records(match)
        found = _in_force(records, match, at_us, context, model)
        found.since_us, found.until_us = _bounded(found, records, self._custom_edges(), at_us)
        return found

    def _custom_at(self, model: str, provider: str | None, at_us: int) -> Match | None:
        """The registered model that a name means, where it holds at this moment."""
        custom = self._all_custom()
        if not custom:
            return None
        matcher = self._base.matcher
        known = matcher.named(provider)
        holding = [one for one in custom if any(holds(record, at_us) for record in one.records)]
        found = registered(holding, matcher.readings(model, whole=True), known)
        if found is None and isinstance(matcher.find(model, provider), Miss):
            # Nothing else is known: by less of the name, or outside its dates, of several where they are nearest.
            nearest = sorted(custom, key=lambda one: -_away(one, at_us))
            for models in (holding, nearest):
                found = found or registered(models, matcher.readings(model, whole=False), known)
        return found

    def _near_custom(self, model: str, miss: Miss) -> str:
        """Registered names near one that means nothing, in words; the data's own near ones go first."""
        known = {one.model: one.provider for one in self._all_custom()}
        near = [] if miss.near else difflib.get_close_matches(model, known, n=3)
        words = (f"{name!r}" if known[name] == "custom" else f"{name!r} of {known[name]}" for name in near)
        return f"; did you mean {', '.join(words)}?" if near else ""

    def _all_custom(self) -> list[CustomModel]:
        return [*(self._parent._all_custom() if self._parent else ()), *self._custom]

    def _custom_edges(self) -> list[int]:
        return [
            edge
            for model in self._all_custom()
            for record in model.records
            for key in ("from", "to")
            if (edge := moment_us(record.get(key))) is not None
        ]

    def _warn(self, cost: Cost, provider: str | None) -> None:
        key = (cost.model, provider)
        if key not in self._base.warned:
            if len(self._base.warned) < _LIMIT:
                self._base.warned.add(key)
            what = "no price" if cost.pico is None else "a part has no price"
            _logger.warning("%s: %s", what, "; ".join(cost.reasons))

    def find(self, model: str, provider: str | None = None) -> Match | Miss:
        """The model that a name means now, with the reason; or the miss, with near matches."""
        return self._custom_at(model, provider, now_us()) or self._base.matcher.find(model, provider)

    def register(
        self,
        model: str | CustomPrice,
        input_price_per_million: Amount | None = None,
        output_price_per_million: Amount | None = None,
        provider: str = "custom",
        **more: Any,
    ) -> CustomModel:
        """Add a price of your own: a CustomPrice or its fields. It wins over others. PriceError: what cannot be."""
        price = model
        if isinstance(price, str):
            price = CustomPrice(
                model=price,
                input_price_per_million=input_price_per_million,
                output_price_per_million=output_price_per_million,
                provider=provider,
                **more,
            )
        made = price.compiled()
        self._custom.append(made)
        self._base.version += 1
        return made

    def _idle_discounts(self) -> Iterator[str]:
        """The discounts that no model can meet, with what is likely to be misspelt."""
        known = self._base.source.providers
        own = [(model.provider, model.model) for model in self._custom]
        for one in self._base.discounts:
            if any(one.names(*pair) for pair in own):
                continue
            if data := known.get(one.provider):
                offered = (model for name in (data.id, *data.fallbacks) for model in self._base.matcher.ids(name))
                if not any(one.names(data.id, model) for model in offered):
                    yield f"no model of provider {data.id!r} is named {', '.join(map(repr, one.models))}"
            elif near := difflib.get_close_matches(one.provider, known, n=1):
                yield f"there is no provider {one.provider!r}; did you mean {near[0]!r}?"

    def models(self, provider: str | None = None) -> Iterator[Listed]:
        """Every model with its source: registered ones, overlays', then the data's; of one provider where named."""
        wanted = self._base.matcher.provider(provider) or provider if provider else None
        seen = set()
        for model in reversed(self._all_custom()):
            if wanted in (None, model.provider):
                seen.add((model.provider, model.model))
                yield _listed(model)
        laid_over = {(m.provider, m.model): m for overlay in self._base.overlays for m in overlay.models}
        for name in self._base.matcher.providers():
            if wanted not in (None, name):
                continue
            for model_id in self._base.matcher.ids(name):
                if (name, model_id) not in seen:
                    seen.add((name, model_id))
                    mine = laid_over.get((name, model_id))
                    yield _listed(mine) if mine else Listed(name, model_id, self._base.source.label)

    def history(self, model: str, provider: str | None = None) -> tuple[PriceRecord, ...]:
        """Every record of a model in order of time. A name that means none: PriceError with near matches."""
        match = self.find(model, provider)
        if isinstance(match, Miss):
            raise PriceError(match.reason)
        registered_too = [
            replace(match, model=one)
            for one in self._all_custom()
            if (one.provider, one.model) == (match.provider, match.model_id)
        ]
        own = [record for one in registered_too for record in self._base.records(one)]
        listed = self._base.matcher.find(model, provider)
        if isinstance(listed, Match) and all(record.valid_from or record.valid_to for record in own):
            own = [*self._base.records(listed), *own]
        return tuple(sorted(own, key=lambda record: moment_us(record.data.get("from")) or EVER[0]))

    def records(self, provider: str | None = None) -> Iterator[PriceRecord]:
        """Every record of the data as it stands here, for comparing two catalogs."""
        for listed in self.models(provider):
            match = self._base.matcher.find(listed.model, listed.provider)
            if isinstance(match, Match):
                yield from self._base.records(match)


def _away(model: CustomModel, at_us: int) -> int:
    """Microseconds from a moment to the nearest at which the model has a price."""
    edges = (moment_us(record.get(key)) for record in model.records for key in ("from", "to"))
    return min((abs(at_us - edge) for edge in edges if edge is not None), default=0)


def _listed(model: CustomModel) -> Listed:
    return Listed(model.provider, model.model, str(model.records[-1].get("source", "")))


# A fork waits until the data is read: the child of a half-done import of genai_prices could never import it.
os.register_at_fork(
    before=lambda: Catalog.default_lock.acquire(),
    after_in_parent=lambda: Catalog.default_lock.release(),
    after_in_child=lambda: Catalog.default_lock.release(),
)


def _check_names(model: object, provider: object) -> None:
    for name, value in (("model", model), ("provider", "" if provider is None else provider)):
        if not isinstance(value, str):
            raise InputError(f"{name} = {shown(value)}: must be text")


def _in_force(
    records: Sequence[PriceRecord], match: Match, at_us: int, context: Pairs, model: str
) -> Resolved | Unpriced:
    """The price of the record that holds at a moment; before the first, of the first; after the last, none."""
    record = next((r for r in reversed(records) if holds(r.data, at_us)), None)
    if record is None:
        begun = (r for r in reversed(records) if (moment_us(r.data.get("from")) or EVER[0]) <= at_us)
        record = next(begun, records[0])
        if (end := moment_us(record.data.get("to"))) is not None and end <= at_us:
            why = f"no price of {record.provider} {record.model} is known after {record.data['to']}"
            return Unpriced(model, match.provider, [why])
    if not record.data.get("rates") and not record.free:
        why = "the price data lists it without any rate, which does not say that it is free"
        return Unpriced(model, match.provider, [f"no rate is known for {record.provider} {record.model}: {why}"])
    return resolve(record, at_us, context, model, match.why)


def _bounded(
    found: Resolved | Unpriced, records: Sequence[PriceRecord], edges: Sequence[int], at_us: int
) -> tuple[int, int]:
    """The span in which nothing of the answer changes: also no other record begins."""
    inner = [edge for r in records for key in ("from", "to") if (edge := moment_us(r.data.get(key))) is not None]
    since = max((edge for edge in (*inner, *edges) if edge <= at_us), default=EVER[0])
    until = min((edge for edge in (*inner, *edges) if edge > at_us), default=EVER[1])
    return max(since, found.since_us), min(until, found.until_us)
