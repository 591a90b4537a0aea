"""What recorded calls would cost by the prices now known: told first, then added as corrections, never written over.

A call is priced anew as of its own moment, so that only prices that were wrong or unknown change anything. What a
provider said itself, and what is free, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from farthing.event import Event
from farthing.ledger.corrections import Price, newest, repriced
from farthing.ledger.store import STATUS_FIELDS, Entry, Filter, Question, Store
from farthing.pricing.catalog import Catalog

LOT = 2_000
_FIXED = ("reported", "free")
_MOST_SPANS = 60
"""So many stretches of time with a price of their own are compared; with more, the calls themselves are."""

Model = tuple[str | None, str]


@dataclass(slots=True)
class Moved:
    """What changes for one model. Amounts are picodollars; `calls` are those whose cost changes."""

    model: Model
    calls: int = 0
    before: int = 0
    after: int = 0
    newly_priced: int = 0

    @property
    def difference(self) -> int:
        """How much more it costs."""
        return self.after - self.before


@dataclass(slots=True)
class Repriced:
    """What was found, and whether it was applied. `closed`: how much of the difference is in closed months."""

    moved: dict[Model, Moved] = field(default_factory=dict)
    looked_at: int = 0
    still_unpriced: int = 0
    applied: int = 0
    closed: int = 0

    @property
    def difference(self) -> int:
        """How much more everything costs."""
        return sum(one.difference for one in self.moved.values())

    @property
    def calls(self) -> int:
        """How many calls change."""
        return sum(one.calls for one in self.moved.values())


def reprice(
    store: Store,
    catalog: Catalog,
    where: Filter,
    *,
    apply: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Repriced:
    """Price the events of the filter anew. apply: add the corrections; budgets of windows still open follow."""
    found = Repriced()
    closed = [(one.since_us, one.until_us) for one in store.closings()]
    waiting: list[Entry] = []
    for model, first_us, last_us in _candidates(store, catalog, where):
        moved = Moved(model)
        for history in _calls(store, where, model, first_us, last_us):
            found.looked_at += 1
            if not found.looked_at % 1000:
                progress(found.looked_at)
            if (entry := _correction(catalog, history, where, moved, found)) is None:
                continue
            if any(since <= entry[0].at_us < until for since, until in closed):
                found.closed += entry[0].cost_pico or 0
            if apply:
                waiting.append(entry)
                if len(waiting) >= LOT:
                    found.applied += store.append_many(waiting).added
                    waiting = []
        if moved.calls:
            found.moved[model] = moved
    found.applied += store.append_many(waiting).added
    return found


def _candidates(store: Store, catalog: Catalog, where: Filter) -> Iterator[tuple[Model, int, int]]:
    """(model, first, last) of the models of which some call may have another price now."""
    rows = store.totals(
        Question(
            by=("provider", "model", "price_hash", "price_status"), where=where, sums=("calls", "first_us", "last_us")
        )
    )
    spans: dict[Model, tuple[int, int]] = {}
    for row in rows:
        provider, name, price_hash, status = row.key
        if status in _FIXED or name is None or row.first_us is None or row.last_us is None:
            continue
        model = (provider, name)
        if _may_change(catalog, model, price_hash, (row.first_us, row.last_us)):
            first, last = spans.get(model, (row.first_us, row.last_us))
            spans[model] = (min(first, row.first_us), max(last, row.last_us))
    return ((model, *span) for model, span in spans.items())


def _may_change(catalog: Catalog, model: Model, price_hash: str | None, ends: tuple[int, int]) -> bool:
    """False only where the price of all its moments is the one it has."""
    provider, name = model
    at_us, last_us = ends
    for _ in range(_MOST_SPANS):
        found = catalog.resolve(name, provider, at_us)
        if (None if found.record is None else found.record.hash) != price_hash:
            return True
        if found.until_us > last_us:
            return False
        at_us = found.until_us
    return True


def _calls(store: Store, where: Filter, model: Model, first_us: int, last_us: int) -> Iterator[list[Event]]:
    """Each call of a model with its corrections, oldest first: they have its moment, and come after it."""
    equals = {**where.equals, "provider": model[0], "model": model[1]}
    for name in STATUS_FIELDS:  # of the call as it is now known: told when all its corrections are at hand
        equals.pop(name, None)
    since = first_us if where.since_us is None else max(first_us, where.since_us)
    until = last_us + 1 if where.until_us is None else min(last_us + 1, where.until_us)
    histories: dict[str, list[Event]] = {}
    at_us = since
    for event in store.events(replace(where, since_us=since, until_us=until, equals=equals)):
        if event.at_us != at_us:
            yield from histories.values()
            histories, at_us = {}, event.at_us
        if event.corrects is None:
            histories[event.id] = [event]
        elif event.corrects in histories:
            histories[event.corrects].append(event)
    yield from histories.values()


def _correction(
    catalog: Catalog, history: Sequence[Event], where: Filter, moved: Moved, found: Repriced
) -> Entry | None:
    original, corrections = history[0], history[1:]
    known = newest(original, corrections)
    if not original.billed or known.price_status in _FIXED or not known.usage:
        return None
    if any(getattr(known, name) != where.equals[name] for name in STATUS_FIELDS if name in where.equals):
        return None
    price = catalog.resolve(original.model, original.provider, original.at_us, known.context)
    cost = price.cost(known.usage)
    if cost.pico is None or cost.record is None:
        found.still_unpriced += known.cost_pico is None
        return None
    if cost.pico == known.cost_pico and cost.status == known.price_status:
        return None  # the same by another record: nothing is owed differently
    reason = "; ".join(cost.reasons) or None
    event = repriced(
        original,
        corrections,
        Price(cost_pico=cost.pico, status=cost.status, reason=reason, price_hash=cost.record.hash),
    )
    if event is None:
        return None
    moved.calls += 1
    moved.before += known.cost_pico or 0
    moved.after += cost.pico
    moved.newly_priced += known.cost_pico is None
    return event, cost.record.text
