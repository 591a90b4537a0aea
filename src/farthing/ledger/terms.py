"""Fields, filters and parts of time as DuckDB says them, over one relation of sealed and hot rows. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farthing.errors import InputError
from farthing.event import EMPTY
from farthing.ledger.keys import DAY_US
from farthing.ledger.store import KEY_FIELD, STATUS_FIELDS, TEXT_FIELDS, TIME_FIELDS, Filter, metadata_text

HOUR_US = 3_600_000_000
ODD = "\x01"
"""Begins a metadata text whose value Python has to read: a number that is not a small whole one, a list, no JSON."""

_NEWEST = {
    "usage_status": "coalesce(n.usage_status, e.usage_status)",
    "price_status": "coalesce(n.price_status, e.price_status)",
}
_STATUS_NEWEST = (
    "(CASE WHEN {u} = 'reported' OR {p} = 'unpriced' THEN {p}"
    " WHEN 'partial' IN ({u}, {p}) THEN 'partial' ELSE 'estimated' END)"
)

Label = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Term:
    """A field as SQL.

    sql     what gives its value; grouped: what to group by for it
    needs   columns that are read for it
    label   from the value to the text that is shown; None: it is the text
    newest  whether it reads statuses of the newest correction
    """

    sql: str
    needs: tuple[str, ...]
    label: Label | None = None
    newest: bool = False


def field(name: str, *, corrected: bool) -> Term:
    """The term of a field that is no part of time. corrected: the statuses of corrections are joined as `n`."""
    if name.startswith("metadata."):
        return Term(metadata_sql(name.removeprefix("metadata.")), ("metadata",))
    if name in STATUS_FIELDS:
        u, p = (_NEWEST[f] if corrected else f"e.{f}" for f in ("usage_status", "price_status"))
        sql = {"usage_status": u, "price_status": p, "status": _STATUS_NEWEST.format(u=u, p=p)}[name]
        return Term(sql, ("usage_status", "price_status", "id", "corrects", "org", "seq"), newest=corrected)
    if name == "dedupe_key":
        return Term("coalesce(e.dedupe_key, e.id)", ("dedupe_key", "id"))
    if name == KEY_FIELD:
        return Term("(e.fingerprints ->> '/key')", ("fingerprints",))
    if name in TEXT_FIELDS:
        return Term(f'e."{name}"', (name,))
    known = (*TEXT_FIELDS, KEY_FIELD, *STATUS_FIELDS, *TIME_FIELDS)
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"events have no field {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else f": name one of {', '.join(known)} or metadata.<key>")
    )


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def metadata_sql(key: str) -> str:
    """The text of a metadata value: as `metadata_text` has it, or `ODD` and all of the metadata."""
    pointer = literal("/" + key.replace("~", "~0").replace("/", "~1"))
    kind = f"json_type(e.metadata, {pointer})"
    return (
        f"(CASE WHEN e.metadata IS NULL THEN NULL WHEN NOT json_valid(e.metadata) THEN {literal(ODD)} || e.metadata"
        f" WHEN {kind} IS NULL OR {kind} = 'NULL' THEN NULL"
        f" WHEN {kind} IN ('VARCHAR', 'BOOLEAN', 'UBIGINT', 'BIGINT')"
        f" AND NOT starts_with(e.metadata ->> {pointer}, {literal(ODD)}) THEN e.metadata ->> {pointer}"
        f" ELSE {literal(ODD)} || e.metadata END)"
    )


def hot_metadata_sql(key: str) -> str:
    """As `metadata_sql`, for a row in the table, in SQLite's words. What has an escape in it is read by Python."""
    odd = f"{literal(ODD)} || e.metadata"
    if json.dumps(key, ensure_ascii=False) != f'"{key}"':
        return f"(CASE WHEN e.metadata IS NOT NULL THEN {odd} END)"
    path = literal(f'$."{key}"')
    kind, value = f"json_type(e.metadata, {path})", f"e.metadata -> {path}"
    return (
        f"(CASE WHEN e.metadata IS NULL THEN NULL WHEN NOT json_valid(e.metadata) THEN {odd}"
        f" WHEN {kind} IS NULL OR {kind} = 'null' THEN NULL"
        f" WHEN {kind} IN ('integer', 'true', 'false') THEN {value}"
        f" WHEN {kind} = 'text' AND instr({value}, '\\') = 0 THEN e.metadata ->> {path} ELSE {odd} END)"
    )


def metadata_label(key: str) -> Label:
    """What reads odd values."""

    def label(text: str | None) -> str | None:
        return odd_value(text[1:], key) if text is not None and text.startswith(ODD) else text

    return label


def odd_value(metadata: str, key: str) -> str | None:
    """The value of a key in a metadata text, as text."""
    found: Mapping[str, Any] = json.loads(metadata)
    return metadata_text(found.get(key)) if isinstance(found, dict) else None


def zone(name: str) -> ZoneInfo | None:
    """The zone; None for UTC."""
    if name == "UTC":
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"unknown time zone {name!r}: name one of the IANA database, such as Europe/Berlin") from error


def local_us(where: ZoneInfo | None, first_us: int, last_us: int) -> str:
    """Microseconds of the clock on the wall, for moments between first and last."""
    if where is None:
        return "e.at_us"
    steps = _offsets(where, first_us, last_us)
    if len(steps) == 1:
        return f"(e.at_us + {steps[0][1]})"
    cases = " ".join(f"WHEN e.at_us < {until} THEN {offset}" for (_, offset), (until, _) in pairwise(steps))
    return f"(e.at_us + CASE {cases} ELSE {steps[-1][1]} END)"


def _offsets(where: ZoneInfo, first_us: int, last_us: int) -> list[tuple[int, int]]:
    """(from this moment on, offset) in microseconds: the zone's changes, found day by day and then to the second."""

    def offset(second: int) -> int:
        delta = datetime.fromtimestamp(second, UTC).astimezone(where).utcoffset() or timedelta()
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    low, high = (min(max(us // 1_000_000, _FIRST_S), _LAST_S) for us in (first_us, last_us))
    found = [(low * 1_000_000, offset(low))]
    at = low
    while at < high:
        following = min(at + 86_400, high)
        if offset(following) != found[-1][1]:
            before, after = at, following
            while after - before > 1:
                middle = (before + after) // 2
                if offset(middle) == found[-1][1]:
                    before = middle
                else:
                    after = middle
            found.append((after * 1_000_000, offset(after)))
            at = after
        else:
            at = following
    return found


_FIRST_S, _LAST_S = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1900, 2200))
"""Zones are taken to stay as they are outside of these."""


def billed(column: str) -> str:
    """A count of a billed event, 0 of another. `billed` is 0 or 1; a mask is cheaper than a product."""
    return f"(e.{column} & -e.billed)"


def floor(sql: str, by: int) -> str:
    """sql / by, towards minus infinity."""
    return f"(({sql} - (({sql} % {by}) + {by}) % {by}) // {by})"


def part_of_time(name: str, local: str) -> Term:
    """The term of an hour, day, week or month."""
    utc = local == "e.at_us"
    days = "(e.date - DATE '1970-01-01')" if utc else floor(local, DAY_US)
    needs = ("day", "at_us") if utc else ("at_us",)
    if name == "hour":
        return Term(floor(local, HOUR_US), ("at_us",), _hour)
    if name == "day":
        return Term("e.date" if utc else days, needs, _day)
    if name == "week":
        return Term(floor(f"({days} + 3)", 7), needs, _week)
    return Term(
        f"((DATE '1970-01-01' + ({days})::INTEGER).year() * 12 + (DATE '1970-01-01' + ({days})::INTEGER).month() - 1)",
        needs,
        _month,
    )


def _date(days: int) -> date | None:
    try:
        return date(1970, 1, 1) + timedelta(days=days)
    except OverflowError:
        return None


def _day(days: int | date | str) -> str | None:
    """Of a number of days, or of a date; one that Python's calendar does not have comes as text."""
    found = _date(days) if isinstance(days, int) else days
    return found.isoformat() if isinstance(found, date) else None


def _hour(hours: int) -> str | None:
    found = _date(hours // 24)
    return None if found is None else f"{found.isoformat()}T{hours % 24:02}:00"


def _week(weeks: int) -> str | None:
    return _day(weeks * 7 - 3)


def _month(months: int) -> str | None:
    return f"{months // 12:04}-{months % 12 + 1:02}" if 0 < months // 12 < 10_000 else None


Odd = Callable[[str], list[str]]
"""All metadata texts of which Python has to read the value of a key."""


def conditions(asked: Filter, *, corrected: bool, odd: Odd) -> tuple[list[str], list[Any], list[Term]]:
    """(terms that must all hold, their values, the fields that are compared)."""
    terms: list[str] = []
    values: list[Any] = []
    compared: list[Term] = []
    for sql, value in (
        ("e.at_us >= ?", asked.since_us),
        ("e.at_us < ?", asked.until_us),
        ("e.recorded_at_us >= ?", asked.recorded_since_us),
        ("e.recorded_at_us < ?", asked.recorded_until_us),
        ("e.org = ?", asked.org),
    ):
        if value is not None:
            terms.append(sql)
            values.append(value)
    for name, wanted in (asked.equals or EMPTY).items():
        term = field(name, corrected=corrected)
        compared.append(term)
        if name.startswith("metadata."):
            key = name.removeprefix("metadata.")
            same = [text for text in odd(key) if odd_value(text[1:], key) == wanted]
            given = f"{term.sql} IN ({', '.join('?' * len(same))})" if same else "FALSE"
            plain = f"{term.sql} IS NULL" if wanted is None else f"{term.sql} = ?"
            terms.append(f"({plain} OR {given})")
            values += [*([] if wanted is None else [wanted]), *same]
        elif wanted is None:
            terms.append(f"{term.sql} IS NULL")
        else:
            terms.append(f"{term.sql} = ?")
            values.append(wanted)
    return terms, values, compared
