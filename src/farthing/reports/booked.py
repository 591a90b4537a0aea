"""Sums as the books have them: a closed month stays as it was, and what came for it later counts in the next open one.

An event's reported month is that of its dispatch, unless that month was closed when the event was written: then it is
the first month that was open at that moment, and the event counts at its beginning. `Booked` is a ledger whose
`totals` and `usage_by_price` answer so; everything else (events, budgets, verification) goes by the moment of dispatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing.event import from_us
from farthing.ledger.closing import Closing
from farthing.ledger.store import TIME_FIELDS, Filter, PriceUse, Question, Row, Store
from farthing.totals import TOTALS_FIELDS, Totals
from farthing.windows import span, zone

Key = tuple[str | None, ...]
_EVERYTHING, _SUM = Filter(), Question()


@dataclass(frozen=True, slots=True)
class Late:
    """What was written for a closed month while another was the first open one.

    where  dispatched in [since_us, until_us), written in [recorded_since_us, recorded_until_us)
    lands_us  where it counts: the first moment of the month then open; `month`: the closed month
    """

    month: str
    since_us: int
    until_us: int
    recorded_since_us: int
    recorded_until_us: int | None
    lands_us: int

    def filter(self, where: Filter) -> Filter:
        """The late ones among those of a filter, whatever its time."""
        return replace(
            where,
            since_us=self.since_us,
            until_us=self.until_us,
            recorded_since_us=self.recorded_since_us,
            recorded_until_us=self.recorded_until_us,
        )


def late(closings: Sequence[Closing]) -> list[Late]:
    """Everything that can be late, by closed month and by where it lands."""
    found = []
    for closing in closings:
        moments = sorted({one.at_us for one in closings if one.at_us >= closing.at_us} | {closing.at_us})
        for n, since in enumerate(moments):
            until = moments[n + 1] if n + 1 < len(moments) else None
            found.append(
                Late(
                    closing.month,
                    closing.since_us,
                    closing.until_us,
                    since,
                    until,
                    _first_open(closing, closings, since),
                )
            )
    return found


def _first_open(closing: Closing, closings: Sequence[Closing], at_us: int) -> int:
    """The first moment after a closed month that no month closed by then covers."""
    lands = closing.until_us
    closed = {one.since_us: one.until_us for one in closings if one.at_us <= at_us}
    while lands in closed:
        lands = closed[lands]
    return lands


class Booked:
    """A ledger with closed months. What it does not answer itself, the ledger does."""

    def __init__(self, store: Store, closings: Sequence[Closing]) -> None:
        self._store = store
        self.late = late(closings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def totals(self, question: Question = _SUM) -> list[Row]:
        """Exact sums, by reported time."""
        bare = replace(question, limit=None)
        rows = {row.key: row for row in self._store.totals(bare)}
        for away, found in self._moves(question.where):
            asked = replace(bare, where=found)
            moved = self._store.totals(asked)
            for row in moved if away is None else _landed(moved, question, away):
                rows[row.key] = _plus(rows.get(row.key), row, -1 if away is None else 1)
        kept = [row for row in rows.values() if row.totals != Totals() or not question.by]
        if question.by and question.by[0] in TIME_FIELDS:
            kept.sort(key=lambda row: _sortable(row.key))
        else:
            kept.sort(key=lambda row: (-row.totals.cost_pico, -row.totals.calls, _sortable(row.key)))
        return kept if question.limit is None else kept[: question.limit]

    def usage_by_price(
        self,
        *,
        by: tuple[str, ...] = (),
        where: Filter = _EVERYTHING,
        steps: tuple[int, ...] = (),
    ) -> list[PriceUse]:
        """What was used at each price, by reported time."""
        uses = {_place(use): use for use in self._store.usage_by_price(by=by, where=where, steps=steps)}
        for away, found in self._moves(where):
            for use in self._store.usage_by_price(by=by, where=found, steps=steps):
                uses[_place(use)] = _used(uses.get(_place(use)), use, -1 if away is None else 1)
        return list(uses.values())

    def _moves(self, where: Filter) -> Iterator[tuple[int | None, Filter]]:
        """(None, events that a filter has and that count elsewhere), (moment, events that count there and it has not).

        Both ways for events that stay inside the filter: there they only move from one day to another.
        """
        for one in self.late:
            since, until = where.since_us, where.until_us
            low = one.since_us if since is None else max(since, one.since_us)
            high = one.until_us if until is None else min(until, one.until_us)
            if low < high:
                yield None, replace(one.filter(where), since_us=low, until_us=high)
            if (since is None or one.lands_us >= since) and (until is None or one.lands_us < until):
                yield one.lands_us, one.filter(where)


def booked(store: Store) -> Store:
    """The ledger by reported time; itself where no month was ever closed."""
    closings = store.closings()
    return Booked(store, closings) if closings else store


def _landed(rows: Sequence[Row], question: Question, lands_us: int) -> list[Row]:
    """Rows whose parts of time are those of the moment where they count."""
    names = {
        name: label_of(lands_us, name, question.tz) for name in question.by if name in TIME_FIELDS
    }  # fmt: skip
    if not names:
        return list(rows)
    sums: dict[Key, Row] = {}
    for row in rows:
        key = tuple(names.get(name, value) for name, value in zip(question.by, row.key, strict=True))
        sums[key] = _plus(sums.get(key), replace(row, key=key), 1)
    return list(sums.values())


def label_of(at_us: int, part: str, tz: str) -> str:
    """The hour, day, week or month of a moment, as questions name it."""
    start, _ = span(part, at_us, tz)
    local = from_us(start).astimezone(UTC if tz == "UTC" else zone(tz))
    return _named(local, part)


def _named(local: datetime, part: str) -> str:
    form = {"hour": "%Y-%m-%dT%H:00", "month": "%Y-%m"}.get(part, "%Y-%m-%d")
    return local.strftime(form)


def _plus(known: Row | None, row: Row, sign: int) -> Row:
    before = known.totals if known is not None else Totals()
    sums = {name: getattr(before, name) + sign * getattr(row.totals, name) for name in TOTALS_FIELDS}
    ends = known if known is not None else row
    plan_pico = (known.plan_pico if known is not None else 0) + sign * row.plan_pico
    return Row(row.key, Totals(**sums), ends.first_us, ends.last_us, plan_pico)


def _place(use: PriceUse) -> tuple[Any, ...]:
    return use.key, use.provider, use.model, use.price_hash, use.context, use.step


def _used(known: PriceUse | None, use: PriceUse, sign: int) -> PriceUse:
    calls, cost = (known.calls, known.cost_pico) if known is not None else (0, 0)
    units: dict[str, int | Decimal] = dict(known.units) if known is not None else {}
    for name, count in _signed(use.units, sign).items():
        units[name] = units.get(name, 0) + count
    return replace(
        use,
        calls=calls + sign * use.calls,
        cost_pico=cost + sign * use.cost_pico,
        units={name: count for name, count in units.items() if count},
    )


def _signed(units: Mapping[str, int | Decimal], sign: int) -> dict[str, int | Decimal]:
    return {name: sign * count for name, count in units.items()}


def _sortable(key: Key) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in key)
