"""Filters, pages and totals as SQL over the events table: the only place that reads for reports."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farthing.errors import InputError
from farthing.event import Event
from farthing.ledger.readers import Reads
from farthing.ledger.rows import COLUMNS, to_event
from farthing.ledger.store import STATUS_FIELDS, TEXT_FIELDS, TIME_FIELDS, Filter, Order, Question, Row
from farthing.totals import TOTALS_FIELDS, Totals

PAGE_ROWS = 1000

_LISTED = ", ".join(f'e."{name}"' for name in COLUMNS)

# Of an event and its corrections alike: the status that the newest correction gives.
_NEWEST = (
    "coalesce((SELECT c.{0} FROM events c WHERE c.corrects = coalesce(e.corrects, e.id) AND c.org = e.org"
    " ORDER BY c.seq DESC LIMIT 1), e.{0})"
)
_USAGE_STATUS, _PRICE_STATUS = _NEWEST.format("usage_status"), _NEWEST.format("price_status")
_STATUS_SQL = {
    "usage_status": _USAGE_STATUS,
    "price_status": _PRICE_STATUS,
    # as farthing.event.worse
    "status": f"(CASE WHEN {_USAGE_STATUS} = 'reported' OR {_PRICE_STATUS} = 'unpriced' THEN {_PRICE_STATUS}"
    f" WHEN 'partial' IN ({_USAGE_STATUS}, {_PRICE_STATUS}) THEN 'partial' ELSE 'estimated' END)",
}

_TIME_SQL = {
    "hour": "strftime('%Y-%m-%dT%H:00', e.at_us / 1000000, 'unixepoch')",
    "day": "strftime('%Y-%m-%d', e.at_us / 1000000, 'unixepoch')",
    "week": "strftime('%Y-%m-%d', e.at_us / 1000000, 'unixepoch', 'weekday 0', '-6 days')",
    "month": "strftime('%Y-%m', e.at_us / 1000000, 'unixepoch')",
}
_QUARTER_US = 900_000_000
"""Offsets of time zones are whole quarters of an hour."""


def _calls_that(said: str, *, price: bool = False, usage: bool = False) -> str:
    now = " OR ".join([f"e.price_status = '{said}'"] * price + [f"e.usage_status = '{said}'"] * usage)
    before = " OR ".join([f"e.prior_price_status IS '{said}'"] * price + [f"e.prior_usage_status IS '{said}'"] * usage)
    return f"sum((e.calls + e.restates) * ({now})) - sum(e.restates * ({before}))"


# As Totals.of, in its order. Money is summed in two parts: 64 bits end at 9.2 million dollars. SQLite's / and % both go
# towards zero, so negative differences split as positive amounts do.
_SUMS = ", ".join(
    (
        "sum(e.calls)",
        "sum(e.cost_pico / 1000000)",
        "sum(e.cost_pico % 1000000)",
        "sum(e.input_tokens * e.billed)",
        "sum(e.output_tokens * e.billed)",
        "sum(e.cache_read_tokens * e.billed)",
        "sum(e.cache_write_tokens * e.billed)",
        "sum(e.output_reasoning_tokens * e.billed)",
        _calls_that("unpriced", price=True),
        _calls_that("partial", price=True, usage=True),
        _calls_that("estimated", usage=True),
        "sum(e.corrects IS NULL AND NOT e.billed AND NOT e.cache_hit)",
        "sum(e.corrects IS NULL AND e.cache_hit)",
        "sum(e.corrects IS NULL AND e.error IS NOT NULL)",
        "min(e.at_us)",
        "max(e.at_us)",
    )
)
_SUMS_COUNT = len(TOTALS_FIELDS) + 3


def where(asked: Filter) -> tuple[str, list[Any]]:
    """(" WHERE ...", its values), or ("", [])."""
    terms: list[str] = []
    values: list[Any] = []
    for term, value in (("e.at_us >= ?", asked.since_us), ("e.at_us < ?", asked.until_us), ("e.org = ?", asked.org)):
        if value is not None:
            terms.append(term)
            values.append(value)
    for name, wanted in asked.equals.items():
        sql, bound = field_sql(name)
        terms.append(f"{sql} IS ?")
        values += [*bound, wanted]
    return (f" WHERE {' AND '.join(terms)}" if terms else ""), values


def field_sql(name: str) -> tuple[str, list[Any]]:
    """What gives a field's text, and the values it needs."""
    if name.startswith("metadata."):
        path = "$." + json.dumps(name.removeprefix("metadata."), ensure_ascii=False)
        return (
            "(CASE json_type(e.metadata, ?) WHEN 'text' THEN e.metadata ->> ? WHEN 'null' THEN NULL"
            " ELSE e.metadata -> ? END)",
            [path] * 3,
        )
    if name in STATUS_FIELDS:
        return _STATUS_SQL[name], []
    if name in TEXT_FIELDS:
        return f'e."{name}"', []
    known = (*TEXT_FIELDS, *STATUS_FIELDS, *TIME_FIELDS)
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"events have no field {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else f": name one of {', '.join(known)} or metadata.<key>")
    )


def events(reads: Reads, asked: Filter, order: Order, limit: int | None) -> Iterator[Event]:
    """The events recorded before this was first asked, a page at a time.

    Rows only ever come on top, so `seq <= last` is one state of the ledger, without a transaction that would keep the
    write-ahead log from shrinking.
    """
    if order not in ("time", "-time", "recorded"):
        raise InputError(f"events come in the order 'time', '-time' or 'recorded', not {order!r}")
    condition, values = where(asked)
    last = reads.rows("SELECT max(seq) FROM events")[0][0] or 0
    condition += " AND" if condition else " WHERE"
    column, sign, way = ("e.at_us", "<", "DESC") if order == "-time" else ("e.at_us", ">", "ASC")
    if order == "recorded":
        column = "e.seq"
    place: tuple[int, int] | None = None
    left = limit
    while left is None or left > 0:
        page = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        after, at = (f" AND ({column}, e.seq) {sign} (?, ?)", place) if place else ("", ())
        found = reads.rows(
            f"SELECT {column}, e.seq, {_LISTED} FROM events e{condition} e.seq <= ?{after}"
            f" ORDER BY {column} {way}, e.seq {way} LIMIT ?",
            (*values, last, *at, page),
        )
        for row in found:
            yield to_event(row[2:])
        if len(found) < page:
            return
        place = found[-1][:2]
        left = None if left is None else left - len(found)


def totals(reads: Reads, question: Question) -> list[Row]:
    """Exact sums, one row for each distinct value of what is asked for."""
    zone = _zone(question.tz)
    local = zone is not None and any(name in TIME_FIELDS for name in question.by)
    keys: list[str] = []
    values: list[Any] = []
    for name in question.by:
        if name in TIME_FIELDS:
            keys.append(f"e.at_us / {_QUARTER_US}" if local else _TIME_SQL[name])
        else:
            sql, bound = field_sql(name)
            keys.append(sql)
            values += bound
    condition, bound = where(question.where)
    listed = "".join(f"{key}, " for key in keys)
    grouped = f" GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    found = reads.rows(f"SELECT {listed}{_SUMS} FROM events e{condition}{grouped}", [*values, *bound])
    rows = [_row(answer, len(keys)) for answer in found]
    if local and zone is not None:
        rows = _in_zone(rows, question.by, zone)
    if question.by and question.by[0] in TIME_FIELDS:
        rows.sort(key=lambda row: _sortable(row.key))
    else:
        rows.sort(key=lambda row: (-row.totals.cost_pico, -row.totals.calls, _sortable(row.key)))
    return rows if question.limit is None else rows[: question.limit]


def _sortable(key: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in key)


def _row(answer: tuple[Any, ...], keys: int) -> Row:
    sums = answer[keys:]
    assert len(sums) == _SUMS_COUNT
    calls, millions, rest, *others, first_us, last_us = sums
    cost = (millions or 0) * 1_000_000 + (rest or 0)
    counted = dict(zip(TOTALS_FIELDS, (calls, cost, *others), strict=True))
    totals = Totals(**{name: value or 0 for name, value in counted.items()})
    return Row(tuple(answer[:keys]), totals, first_us, last_us)


def _zone(name: str) -> ZoneInfo | None:
    """The zone; None for UTC."""
    if name == "UTC":
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"unknown time zone {name!r}: name one of the IANA database, such as Europe/Berlin") from error


def _in_zone(rows: list[Row], by: tuple[str, ...], zone: ZoneInfo) -> list[Row]:
    """Rows by quarter of an hour, added up by the hours, days, ... of a time zone."""
    added: dict[tuple[str | None, ...], Row] = {}
    for row in rows:
        key = tuple(
            _label(name, value, zone) if name in TIME_FIELDS else value for name, value in zip(by, row.key, strict=True)
        )
        same = added.get(key)
        if same is None:
            added[key] = Row(key, row.totals, row.first_us, row.last_us)
        else:
            first = min(t for t in (same.first_us, row.first_us) if t is not None)
            last = max(t for t in (same.last_us, row.last_us) if t is not None)
            added[key] = Row(key, same.totals + row.totals, first, last)
    return list(added.values())


def _label(part: str, quarter: Any, zone: ZoneInfo) -> str:
    moment = datetime.fromtimestamp(int(quarter) * _QUARTER_US // 1_000_000, UTC).astimezone(zone)
    if part == "hour":
        return moment.strftime("%Y-%m-%dT%H:00")
    if part == "week":
        moment -= timedelta(days=moment.weekday())
    return moment.strftime("%Y-%m" if part == "month" else "%Y-%m-%d")
