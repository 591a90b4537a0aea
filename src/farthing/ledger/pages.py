"""Events of a filter, a page at a time, from segments and hot rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from farthing.errors import InputError
from farthing.event import Event
from farthing.ledger.ask import Relation, again, relation, union
from farthing.ledger.hot import EVERY, Hot
from farthing.ledger.rows import COLUMNS, to_event
from farthing.ledger.segments import Segment
from farthing.ledger.store import Filter, Order

PAGE_ROWS = 5_000
LISTED = ", ".join(
    "coalesce(e.dedupe_key, e.id) AS dedupe_key" if name == "dedupe_key" else f'e."{name}"' for name in COLUMNS
)


def events(hot: Hot, asked: Filter, order: Order, limit: int | None) -> Iterator[Event]:
    """The events recorded before this was first asked, a page at a time.

    Rows only ever come on top, so `seq <= last` is one set of events, wherever they move while it is read.
    """
    if order not in ("time", "-time", "recorded"):
        raise InputError(f"events come in the order 'time', '-time' or 'recorded', not {order!r}")
    last: int | None = None
    place: tuple[int, int] | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        last, found = again(lambda last=last, place=place, size=size: _page(hot, asked, order, last, place, size))  # type: ignore[misc]
        for row in found:
            yield to_event(row[2:])
        if len(found) < size:
            return
        place = (found[-1][0], found[-1][1])
        left = None if left is None else left - len(found)


def _page(
    hot: Hot, asked: Filter, order: Order, last: int | None, place: tuple[int, int] | None, size: int
) -> tuple[int, list[tuple[Any, ...]]]:
    """(the greatest number that belongs to the answer, the rows after `place`, each with its place before it)."""
    with relation(hot, asked, (), EVERY) as rows:
        if last is None:
            last = max([rows.moment.last_seq, *(s.last_seq for s in rows.moment.sealed.segments)])
        found: list[tuple[Any, ...]] = []
        for segments, bound in _steps(rows.segments, order, place, rows.moment.rows is not None):
            found = _read(rows, segments, bound, order=order, last=last, place=place, size=size)
            if len(found) >= size:
                break
        return last, found


def _column(order: Order) -> str:
    return "seq" if order == "recorded" else "at_us"


def _steps(
    segments: Sequence[Segment], order: Order, place: tuple[int, int] | None, hot: bool
) -> Iterator[tuple[list[Segment], int | None]]:
    """Ever more segments, and how far their rows are all that there are: the first that give a full page will do."""
    first, last = (f"{way}_{'seq' if order == 'recorded' else 'us'}" for way in ("first", "last"))
    back = order == "-time"
    ahead = [
        s
        for s in segments
        if place is None or (getattr(s, first) <= place[0] if back else getattr(s, last) >= place[0])
    ]
    ahead.sort(key=lambda s: -getattr(s, last) if back else getattr(s, first))
    taken, rows = 0, 1
    while taken < len(ahead):
        count = 0
        while taken < len(ahead) and count < rows * PAGE_ROWS:
            count += ahead[taken].rows
            taken += 1
        if taken < len(ahead):
            following = ahead[taken]
            yield ahead[:taken], getattr(following, last if back else first)
            rows *= 8
    yield ahead, None


def _read(
    rows: Relation,
    segments: Sequence[Segment],
    bound: int | None,
    *,
    order: Order,
    last: int,
    place: tuple[int, int] | None,
    size: int,
) -> list[tuple[Any, ...]]:
    column = _column(order)
    back = order == "-time"
    terms, values = ["e.seq <= ?"], [*rows.values, last]
    if place is not None:
        terms.append(f"(e.{column} {'<' if back else '>'} ? OR (e.{column} = ? AND e.seq {'<' if back else '>'} ?))")
        values += [place[0], place[0], place[1]]
    if bound is not None:
        terms.append(f"e.{column} {'>' if back else '<'} {bound}")
    source = union(rows.query, rows.moment, segments, EVERY, rows.asked)
    way = "DESC" if back else "ASC"
    where = f"{rows.where} AND" if rows.where else " WHERE"
    return rows.query.rows(
        f"SELECT e.{column}, e.seq, {LISTED} FROM {source} e {rows.joined}{where} {' AND '.join(terms)}"
        f" ORDER BY e.{column} {way}, e.seq {way} LIMIT {size}",
        values,
    )
