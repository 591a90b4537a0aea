"""The proof of what the ledger says: every cost recomputed from the price record that was kept with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from farthing.event import Event, now_us
from farthing.ledger.store import Filter, Question, Store
from farthing.pricing.record import PriceRecord
from farthing.pricing.resolve import Resolved, Unpriced, context_pairs, resolve
from farthing.totals import TOTALS_FIELDS, Totals

GROUPINGS = ((), ("agent",), ("model",), ("provider",), ("day",), ("price_status",))
"""Whose sums must equal the sum of the events."""

MISMATCHES_KEPT = 100


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An event whose cost is not what its evidence says. Amounts are picodollars."""

    event_id: str
    kept: int | None
    recomputed: int | None
    reason: str


@dataclass(slots=True)
class Verdict:
    """What `verify` found. `by_status` counts events; `wrong` all mismatches, `mismatches` keeps the first ones.

    sums: (grouping, what differs) where a grouping does not add up to the events
    """

    events: int = 0
    corrections: int = 0
    total: Totals = field(default_factory=Totals)
    by_status: Counter[str] = field(default_factory=Counter)
    records: int = 0
    wrong: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    sums: list[tuple[str, str]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.wrong and not self.sums


def verify(store: Store, where: Filter, progress: Callable[[int], None] = lambda done: None) -> Verdict:
    """Recompute the cost of every event of the filter, and compare the ledger's sums with the events' own.

    Others may go on writing: where the sums differ, they are compared once more over what had been written before.
    """
    began = now_us()
    verdict = _compared(store, where, progress)
    if verdict.sums:
        until = began if where.recorded_until_us is None else min(began, where.recorded_until_us)
        verdict = _compared(store, replace(where, recorded_until_us=until), progress)
    return verdict


def _compared(store: Store, where: Filter, progress: Callable[[int], None]) -> Verdict:
    """One reading of the events, and one of each sum after it."""
    verdict = Verdict()
    bench = _Bench(store)
    sums = [0] * len(TOTALS_FIELDS)
    for event in store.events(where):
        verdict.events += 1
        verdict.corrections += event.corrects is not None
        verdict.by_status[event.price_status] += 1
        found = bench.check(event)
        if found is not None:
            verdict.wrong += 1
            if len(verdict.mismatches) < MISMATCHES_KEPT:
                verdict.mismatches.append(found)
        _add(sums, Totals.of(event))
        if not verdict.events % 2000:
            progress(verdict.events)
    verdict.total = Totals(**dict(zip(TOTALS_FIELDS, sums, strict=True)))
    verdict.records = bench.records
    for by in GROUPINGS:
        grouped = [0] * len(TOTALS_FIELDS)
        for row in store.totals(Question(by=by, where=where)):
            _add(grouped, row.totals)
        for name, ours, theirs in zip(TOTALS_FIELDS, sums, grouped, strict=True):
            if ours != theirs:
                verdict.sums.append((", ".join(by) or "everything", f"{name}: the events {ours:,}, the sum {theirs:,}"))
    return verdict


def _add(sums: list[int], totals: Totals) -> None:
    for i, name in enumerate(TOTALS_FIELDS):
        sums[i] += getattr(totals, name)


class _Bench:
    """Recomputes costs; price records are read once, prices compiled once for each context and span of time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, PriceRecord | None] = {}
        self._prices: dict[tuple[str, tuple[tuple[str, str], ...]], list[Resolved | Unpriced]] = {}

    @property
    def records(self) -> int:
        """How many price records were needed."""
        return len(self._records)

    def check(self, event: Event) -> Mismatch | None:
        """What is wrong with an event's cost, None where nothing is."""
        kept = event.cost_pico
        if event.corrects is not None:
            kept = self._corrected(event)
        if not event.billed or event.price_status == "free":
            return None if not kept else Mismatch(event.id, kept, 0, "is free, but has a cost")
        if event.price_status == "reported":
            if kept == event.reported_pico:
                return None
            return Mismatch(event.id, kept, event.reported_pico, "differs from the provider's own figure")
        if event.corrects is not None and event.price_status == "partial" and event.cost_pico == 0:
            return None  # a fuller count without a price: what was known of the cost stays, and says that it is not all
        if event.price_hash is None:
            return None if not kept else Mismatch(event.id, kept, None, "has a cost, but no price record")
        price = self._price(event, event.price_hash)
        if price is None:
            return Mismatch(event.id, kept, None, f"its price record {event.price_hash[:12]} is not in the ledger")
        recomputed = price.evaluate(event.usage)
        if recomputed == kept or (recomputed is None and not kept):
            return None
        return Mismatch(event.id, kept, recomputed, "differs from what its price record gives")

    def _corrected(self, correction: Event) -> int | None:
        """What the call costs as of this correction: its event's cost and all differences up to this one."""
        known: int | None = None
        for event in self._store.history(correction.corrects or "", correction.attribution.org):
            if event.cost_pico is not None:
                known = (known or 0) + event.cost_pico
            if event.id == correction.id:
                break
        return known

    def _price(self, event: Event, price_hash: str) -> Resolved | Unpriced | None:
        pairs = context_pairs(event.context)
        for price in self._prices.get((price_hash, pairs), ()):
            if price.since_us <= event.at_us < price.until_us:
                return price
        if price_hash not in self._records:
            text = self._store.price_record(price_hash)
            record = PriceRecord.from_text(text) if text is not None else None
            self._records[price_hash] = record if record is None or record.hash == price_hash else None
        record = self._records[price_hash]
        if record is None:
            return None
        price = resolve(record, event.at_us, pairs, event.model, "the record kept in the ledger")
        self._prices.setdefault((price_hash, pairs), []).append(price)
        return price
