"""A provider's bill beside the ledger, by day and model: what matches, what is missing here, what is extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from farthing.ledger.store import Filter, Question, Store
from farthing.money import PICO_PER_USD
from farthing.pricing.catalog import Catalog
from farthing.pricing.match import Match
from farthing.pricing.resolve import Resolved
from farthing.reports.bills import BillLine

CENT = PICO_PER_USD // 100
Cell = tuple[date | None, str]
"""A day and a model, by the name that the price list has for it."""

DAY_US, HALF_DAY_US = 86_400_000_000, 43_200_000_000
NEAR_SHARE = 200
"""Two figures match where they differ by no more than a cent, or a 200th."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One day and model: the bill's figures and the ledger's. Money is picodollars.

    billed  None: the export tells usage alone and no price is known for it
    """

    day: date | None
    model: str
    billed: int | None
    seen: int
    billed_tokens: int
    seen_tokens: int
    seen_calls: int
    on_bill: bool
    in_ledger: bool

    @property
    def verdict(self) -> str:
        """matched, differs, missing (on the bill alone) or extra (in the ledger alone)."""
        if not self.in_ledger:
            return "missing"
        if not self.on_bill:
            return "extra"
        if self.billed is None:
            return "matched" if self.billed_tokens == self.seen_tokens else "differs"
        gap = abs(self.billed - self.seen)
        return "matched" if gap <= max(CENT, abs(self.billed) // NEAR_SHARE) else "differs"

    @property
    def gap(self) -> int:
        """How much more the bill says."""
        return (self.billed or 0) - self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A key or project of the bill, and how much of what it was billed the ledger cannot account for."""

    kind: str
    name: str
    billed: int
    unseen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The answer. priced_by_us: the export tells usage alone, its cost is ours; ledger: whether there is anything."""

    pairs: Sequence[Pair]
    unseen: Sequence[Unseen]
    first: date | None
    last: date | None
    priced_by_us: bool
    ledger: bool
    providers: tuple[str, ...]
    unknown: Sequence[str] = field(default=())

    @property
    def billed(self) -> int:
        """All of the bill."""
        return sum(pair.billed or 0 for pair in self.pairs)

    @property
    def seen(self) -> int:
        """What the ledger has for the bill's days and providers."""
        return sum(pair.seen for pair in self.pairs)

    @property
    def covered(self) -> int:
        """What of the bill the ledger accounts for: of each day and model, no more than was billed."""
        return sum(max(0, min(pair.billed or 0, pair.seen)) for pair in self.pairs)

    def count(self, verdict: str) -> int:
        """How many days and models have this verdict."""
        return sum(pair.verdict == verdict for pair in self.pairs)


def reconcile(lines: Sequence[BillLine], store: Store | None, catalog: Catalog, org: str | None = None) -> Reconciled:
    """The bill beside the ledger. store: None for a first look at a bill alone."""
    names = _Names(catalog)
    costed = any(line.pico is not None for line in lines)
    money: dict[Cell, int] = {}
    tokens: dict[Cell, int] = {}
    unknown: list[str] = []
    by_key: dict[tuple[str, str], dict[Cell, int]] = {}
    for line in lines:
        cell = (line.day, names.of(line.provider, line.model or line.item or "(no model)"))
        amount = line.pico if costed else _priced(catalog, line)
        tokens[cell] = tokens.get(cell, 0) + _tokens(line.units)
        if amount is None:
            if not costed:
                unknown.append(line.model or line.item)
            continue
        money[cell] = money.get(cell, 0) + amount
        for kind, name in (("key", line.key), ("project", line.project)):
            if name is not None:
                held = by_key.setdefault((kind, name), {})
                held[cell] = held.get(cell, 0) + amount
    days = [line.day for line in lines if line.day is not None]
    providers = tuple(dict.fromkeys(line.provider for line in lines))
    ours = _ledger(store, names, providers, days, org) if store is not None and days else {}
    cells = sorted({*money, *tokens, *ours}, key=lambda cell: (cell[0] or date.min, cell[1]))
    pairs = [_pair(cell, money, tokens, ours) for cell in cells]
    return Reconciled(
        pairs=pairs,
        unseen=_unseen(by_key, pairs),
        first=min(days, default=None),
        last=max(days, default=None),
        priced_by_us=not costed,
        ledger=bool(ours),
        providers=providers,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _pair(
    cell: Cell, money: Mapping[Cell, int], tokens: Mapping[Cell, int], ours: Mapping[Cell, tuple[int, int, int]]
) -> Pair:
    seen, seen_tokens, calls = ours.get(cell, (0, 0, 0))
    return Pair(
        day=cell[0],
        model=cell[1],
        billed=money.get(cell, 0 if cell not in tokens else None),
        seen=seen,
        billed_tokens=tokens.get(cell, 0),
        seen_tokens=seen_tokens,
        seen_calls=calls,
        on_bill=cell in money or cell in tokens,
        in_ledger=cell in ours,
    )


def _tokens(units: Mapping[str, object]) -> int:
    return sum(int(units.get(name, 0)) for name in ("input_tokens", "output_tokens"))  # type: ignore[call-overload]


def _priced(catalog: Catalog, line: BillLine) -> int | None:
    """What a line's usage costs by our prices of that day."""
    if not line.model or line.day is None:
        return None
    provider = line.provider if line.provider != "unknown" else None
    price = catalog.resolve(line.model, provider, _midnight(line.day) + HALF_DAY_US, line.context)
    if not isinstance(price, Resolved):
        return None
    amount = price.together(line.units, 200_001 if line.large else 1)
    return None if amount is None else round(amount)


class _Names:
    """The price list's names for models, so that a dated name on a bill and a plain one here are the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str | None, str], str] = {}

    def of(self, provider: str | None, model: str) -> str:
        """The name of a model; one that the list does not have keeps its own."""
        key = (provider, model)
        if key not in self._known:
            found = self._catalog.find(model, provider if provider != "unknown" else None)
            self._known[key] = found.model_id if isinstance(found, Match) else model
        return self._known[key]


def _ledger(
    store: Store, names: _Names, providers: Iterable[str], days: Sequence[date], org: str | None
) -> dict[Cell, tuple[int, int, int]]:
    """(owed, tokens, calls) by day and model, of these providers and the days of the bill."""
    since, until = _midnight(min(days)), _midnight(max(days) + timedelta(days=1))
    wanted = {provider for provider in providers if provider != "unknown"}
    asked = Filter(since_us=since, until_us=until, org=org, equals={"billing": "metered"})
    found: dict[Cell, tuple[int, int, int]] = {}
    for row in store.totals(Question(by=("day", "provider", "model"), where=asked)):
        day, provider, model = row.key
        if day is None or model is None or (wanted and provider not in wanted):
            continue
        totals = row.totals
        if not totals.calls and not totals.cost_pico:
            continue
        cell = (date.fromisoformat(day), names.of(provider, model))
        cost, tokens, calls = found.get(cell, (0, 0, 0))
        found[cell] = (cost + totals.cost_pico, tokens + totals.total_tokens, calls + totals.calls)
    return found


def _midnight(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_US


def _unseen(by_key: Mapping[tuple[str, str], Mapping[Cell, int]], pairs: Sequence[Pair]) -> list[Unseen]:
    """Keys, and projects, by what the ledger cannot account for.

    What the bill says over the ledger on a day and model is laid to the keys in the order of how much of their own
    could be unseen: a key that was never metered explains it before one that mostly was.
    """
    found = []
    for wanted in ("key", "project"):
        gaps = {(pair.day, pair.model): max(0, pair.gap) for pair in pairs}
        owners = {name: cells for (kind, name), cells in by_key.items() if kind == wanted}
        billed = {name: sum(cells.values()) for name, cells in owners.items()}

        shares = {name: Fraction(_of(cells, gaps), max(1, billed[name])) for name, cells in owners.items()}
        for name in sorted(owners, key=lambda name: (-shares[name], -billed[name], name)):
            unseen = _of(owners[name], gaps)
            for cell, amount in owners[name].items():
                gaps[cell] = gaps.get(cell, 0) - max(0, min(amount, gaps.get(cell, 0)))
            found.append(Unseen(kind=wanted, name=name, billed=billed[name], unseen=unseen))
    return sorted(found, key=lambda one: (one.kind, -one.unseen, -one.billed, one.name))


def _of(cells: Mapping[Cell, int], gaps: Mapping[Cell, int]) -> int:
    """How much of an owner's amounts the gaps can hold."""
    return sum(min(amount, gaps.get(cell, 0)) for cell, amount in cells.items() if amount > 0)
