"""The picture of a breakdown: cost over time, its dearest parts in colours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from farthing.ledger.store import Filter, Question, Row, Store
from farthing.reports import svg
from farthing.reports.currency import USD, Currency
from farthing.reports.html import Picture
from farthing.reports.queries import TIME_KEYS

NOBODY = "(none)"
_SHOWN = svg.COLOURS - 1


def over_time(store: Store, key: str, where: Filter, tz: str = "UTC", currency: Currency = USD) -> Picture | None:
    """Cost over time by the values of a key, as a stacked chart; None where nothing was spent."""
    if key in TIME_KEYS:
        key = "model"
    (span,) = store.totals(Question(where=where, sums=("first_us", "last_us")))
    if span.first_us is None or span.last_us is None:
        return None
    part = _part(span.first_us, span.last_us)
    rows = store.totals(Question(by=(key, part), where=where, tz=tz, sums=()))
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.key[0] or NOBODY] = sums.get(row.key[0] or NOBODY, 0) + row.totals.cost_pico
    names = sorted(sums, key=lambda name: (-sums[name], name))
    moments = _moments(sorted({row.key[1] or "" for row in rows}), part)
    kept = names if len(names) <= svg.COLOURS else names[:_SHOWN]
    series = _series(rows, kept, moments, len(names) - len(kept))
    if not any(value for one in series for value in one.values):
        return None
    title = f"Cost by {part} and {key.replace('_', ' ').removeprefix('metadata.')}"
    chart = svg.columns([_label(at, part) for at in moments], series, currency.money, title)
    return Picture(title, "", chart, [one.name for one in series])


def _part(first_us: int, last_us: int) -> str:
    days = (last_us - first_us) / 86_400_000_000
    return "hour" if days <= 2 else "day" if days <= 93 else "week" if days <= 400 else "month"


def _series(rows: Sequence[Row], names: Sequence[str], moments: Sequence[str], more: int) -> list[svg.Series]:
    places = {at: i for i, at in enumerate(moments)}
    values = {name: [0] * len(moments) for name in names}
    rest = [0] * len(moments)
    for row in rows:
        values.get(row.key[0] or NOBODY, rest)[places[row.key[1] or ""]] += row.totals.cost_pico
    found = [svg.Series(name, values[name]) for name in names]
    return [*found, svg.Series(f"{more} more", rest)] if more else found


def _moments(named: Sequence[str], part: str) -> list[str]:
    """The names of all steps between the first and the last; days without calls too."""
    if part != "day":
        return list(named)
    first, last = (date.fromisoformat(day).toordinal() for day in (named[0], named[-1]))
    return [date.fromordinal(day).isoformat() for day in range(first, last + 1)]


def _label(at: str, part: str) -> str:
    if part == "month":
        return at
    moment = datetime.fromisoformat(at)
    return f"{moment:%H:%M}" if part == "hour" else f"{moment.day} {moment:%b}"
