"""Answers over all of a ledger, sealed and hot: the only place that reads for reports. DuckDB does the work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from farthing.errors import InputError
from farthing.ledger import duck, terms
from farthing.ledger.duck import FileGone
from farthing.ledger.hot import DERIVED, EVERY, INTEGERS, Hot, Moment
from farthing.ledger.rows import TOKEN_COLUMNS
from farthing.ledger.seal import LAYOUT
from farthing.ledger.segments import Segment
from farthing.ledger.store import TIME_FIELDS, Filter, Question, Row, Top
from farthing.ledger.terms import Term
from farthing.totals import TOTALS_FIELDS, Totals

Answer = TypeVar("Answer")
_TRIES = 5
_ALWAYS = ("calls", "cost_pico")
_BESIDE = ("first_us", "last_us", "plan_pico")
"""What a `Row` has beside its totals, in its order."""

_SUMS = {
    **{name: f"sum(e.{name})" for name in TOTALS_FIELDS},
    **{name: f"sum({terms.billed(name)})" for name in TOKEN_COLUMNS if name in TOTALS_FIELDS},
    "reasoning_tokens": f"sum({terms.billed('output_reasoning_tokens')})",
    "plan_pico": "sum(CASE WHEN e.billing = 'subscription' THEN e.cost_pico ELSE 0 END)",
    "first_us": "min(e.at_us)",
    "last_us": "max(e.at_us)",
}
_OUTER = {"first_us": "min", "last_us": "max"}
_NEEDS = {
    **{name: (name,) for name in TOTALS_FIELDS},
    **{name: (name, "billed") for name in TOKEN_COLUMNS},
    "reasoning_tokens": ("output_reasoning_tokens", "billed"),
    "plan_pico": ("billing", "cost_pico"),
    "first_us": ("at_us",),
    "last_us": ("at_us",),
}
_NEWEST = (
    "LEFT JOIN (SELECT org, corrects, arg_max(usage_status, seq) AS usage_status,"
    " arg_max(price_status, seq) AS price_status FROM {0} WHERE corrects IS NOT NULL GROUP BY ALL) n"
    " ON n.org = e.org AND n.corrects = coalesce(e.corrects, e.id)"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """The events of a filter at one moment, as SQL.

    source    a parenthesised SELECT of all rows that may be asked for; `e` is its name in terms
    where     " WHERE ..." or ""; values are bound to it
    joined    the statuses of the newest corrections, or ""
    segments  the files it reads
    """

    query: duck.Query
    moment: Moment
    asked: Filter
    source: str
    where: str
    values: list[Any]
    joined: str
    segments: list[Segment]
    corrected: bool

    @property
    def rows(self) -> str:
        """ "FROM ... WHERE ..." of the events as `e`."""
        return f"FROM {self.source} e {self.joined}{self.where}"


@contextmanager
def relation(hot: Hot, asked: Filter, fields: Sequence[str], columns: Collection[str]) -> Iterator[Relation]:
    """The events of `asked` now, with these columns and those that the fields need, and a connection to ask."""
    needed = set(columns) | {"at_us", "org"}
    if asked.recorded_since_us is not None or asked.recorded_until_us is not None:
        needed.add("recorded_at_us")
    for name in (*fields, *asked.equals):
        if name not in TIME_FIELDS:
            needed.update(terms.field(name, corrected=True).needs)
        else:
            needed.update(("day", "at_us"))
    moment = hot.moment(needed)
    segments = moment.sealed.of(org=asked.org, since_us=asked.since_us, until_us=asked.until_us)
    with duck.query() as query:
        source = union(query, moment, segments, needed, asked)
        corrected = moment.corrections or any(segment.corrections for segment in segments)

        def odd(key: str) -> list[str]:
            sql = terms.metadata_sql(key)
            odd_only = f"starts_with({sql}, {terms.literal(terms.ODD)})"
            found = query.rows(f"SELECT DISTINCT {sql} FROM {source} e WHERE {odd_only}")
            return [row[0] for row in found]

        rest = replace(asked, since_us=None, until_us=None)  # the source has seen to those
        said, values, compared = terms.conditions(rest, corrected=corrected, odd=odd)
        newest = any(term.newest for term in compared) or any(
            terms.field(name, corrected=corrected).newest for name in fields if name not in TIME_FIELDS
        )
        yield Relation(
            query=query,
            moment=moment,
            asked=asked,
            source=source,
            where=f" WHERE {' AND '.join(said)}" if said else "",
            values=values,
            joined=_NEWEST.format(source) if newest else "",
            segments=segments,
            corrected=corrected,
        )


def union(
    query: duck.Query, moment: Moment, segments: Sequence[Segment], columns: Collection[str], asked: Filter
) -> str:
    """A parenthesised SELECT of these columns of the rows of these segments and the hot ones, in the time asked for.

    Segments that lie wholly in it are read without looking at the time of each row.
    """
    parts = []
    names = [name for name in EVERY if name in columns]
    ends = [f"at_us >= {asked.since_us}"] * (asked.since_us is not None)
    ends += [f"at_us < {asked.until_us}"] * (asked.until_us is not None)
    timed = f" WHERE {' AND '.join(ends)}" if ends else ""
    whole = [segment for segment in segments if _lies_in(segment, asked)]
    for some, where in ((whole, ""), ([segment for segment in segments if segment not in whole], timed)):
        if not some:
            continue
        files = ", ".join(duck.quoted(moment.sealed.path(segment)) for segment in some)
        if {segment.columns for segment in segments} == {LAYOUT}:
            listed = ", ".join("date" if name == "day" else f'"{name}"' for name in names)
            parts.append(f"SELECT {listed} FROM read_parquet([{files}]){where}")
        else:
            parts.append(f"SELECT * FROM read_parquet([{files}], union_by_name = true){where}")
    if moment.rows is not None:
        narrow = moment.rows.select([name for name in names if name in moment.rows.schema.names])
        query.show("hot_rows", narrow)
        parts.append(hot_select(narrow) + timed)
    if not parts:
        kinds = ", ".join(f'NULL::{kind_of(name)} AS "{name}"' for name in EVERY if name != "day")
        return f"(SELECT {kinds}, NULL::DATE AS date WHERE FALSE)"
    return f"({' UNION ALL BY NAME '.join(parts)})"


def _lies_in(segment: Segment, asked: Filter) -> bool:
    return (asked.since_us is None or segment.first_us >= asked.since_us) and (
        asked.until_us is None or segment.last_us < asked.until_us
    )


def hot_select(table: Any) -> str:
    """The SELECT of the Arrow table of hot rows, with the columns of a segment."""
    if "day" in table.schema.names:
        return "SELECT * EXCLUDE (day), DATE '1970-01-01' + day::INTEGER AS date FROM hot_rows"
    return "SELECT * FROM hot_rows"


def kind_of(column: str) -> str:
    """The type of a column in a segment."""
    return "BIGINT" if column in INTEGERS or column in DERIVED else "VARCHAR"


def again(work: Callable[[], Answer]) -> Answer:
    """What `work` gives; where a file was removed between listing and reading, it is done again."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except FileGone:
            continue
    return work()


def totals(hot: Hot, question: Question) -> list[Row]:
    """Exact sums, one row for each distinct value of what is asked for."""
    return again(lambda: _top(hot, question, whole=False).rows)


def top(hot: Hot, question: Question) -> Top:
    """As `totals`, and what the rows beyond the limit and all together come to."""
    return again(lambda: _top(hot, question, whole=True))


def _top(hot: Hot, question: Question, *, whole: bool) -> Top:
    sums = _wanted(question.sums)
    needed = {column for name in sums for column in _NEEDS[name]}
    with relation(hot, question.where, question.by, needed) as asked:
        keys = [key_of(name, question, asked) for name in question.by]
        listed, grouped = _grouped(question, asked, keys, sums)
        in_sql = question.limit is not None and not any(name.startswith("metadata.") for name in question.by)
        timed = bool(question.by) and question.by[0] in TIME_FIELDS
        body = f"SELECT {listed} {grouped}"
        if in_sql:
            body = _first(body, question, sums, len(keys), timed, whole)
        found = asked.query.rows(body, asked.values)
    rest_rows = 0
    total: Row | None = None
    if in_sql and whole:
        *found, everything = found
        total = _row((), everything[len(keys) + 1 :], sums)
        rest_rows = everything[0] - len(found)
        found = [row[1:] for row in found]
    rows = [_row(labels(keys, answer), answer[len(keys) :], sums) for answer in found]
    if any(name.startswith("metadata.") for name in question.by):
        rows = _folded(rows)
    if timed:
        rows.sort(key=lambda row: _sortable(row.key))
    else:
        rows.sort(key=lambda row: (-row.totals.cost_pico, -row.totals.calls, _sortable(row.key)))
    if total is None:
        total = _sum(rows)
        rest_rows = 0 if question.limit is None else max(len(rows) - question.limit, 0)
    shown = rows if question.limit is None else rows[: question.limit]
    rest = _minus(total.totals, _sum(shown).totals) if rest_rows else Totals()
    return Top(shown, rest, rest_rows, total)


def _wanted(sums: tuple[str, ...] | None) -> tuple[str, ...]:
    every = (*TOTALS_FIELDS, *_BESIDE)
    if sums is None:
        return every
    if unknown := set(sums) - set(every):
        raise InputError(f"there is no sum {sorted(unknown)[0]!r}; there are: {', '.join(every)}")
    return tuple(name for name in every if name in sums or name in _ALWAYS)


def key_of(name: str, question: Question, asked: Relation) -> Term:
    """What a question groups by for a field."""
    if name in TIME_FIELDS:
        where = terms.zone(question.tz)
        ends = _ends(asked, question.where) if where is not None else (0, 0)
        return terms.part_of_time(name, terms.local_us(where, *ends))
    term = terms.field(name, corrected=asked.corrected)
    if name.startswith("metadata."):
        return replace(term, label=terms.metadata_label(name.removeprefix("metadata.")))
    return term


def _ends(asked: Relation, where: Filter) -> tuple[int, int]:
    """The earliest and latest moments that can be among the events."""
    firsts = [s.first_us for s in asked.segments]
    lasts = [s.last_us for s in asked.segments]
    if asked.moment.first_us is not None and asked.moment.last_us is not None:
        firsts.append(asked.moment.first_us)
        lasts.append(asked.moment.last_us)
    first, last = min(firsts, default=0), max(lasts, default=0)
    return (
        first if where.since_us is None else max(first, where.since_us),
        last if where.until_us is None else min(last, where.until_us),
    )


def _grouped(question: Question, asked: Relation, keys: Sequence[Term], sums: Sequence[str]) -> tuple[str, str]:
    """(what is selected, from where and grouped by what)."""
    places = [str(n + 1) for n in range(len(keys))]
    by = f" GROUP BY {', '.join(places)}" if keys else ""
    raw = {n: column for n, name in enumerate(question.by) if (column := _dear(name, question, asked))}
    if not raw:
        listed = [f"{key.sql} AS k{n}" for n, key in enumerate(keys)] + [f"{_SUMS[s]} AS {s}" for s in sums]
        return ", ".join(listed), asked.rows + by
    # JSON is read once for each text of metadata, weeks and months are found once for each date, not for each event.
    columns = [f"e.{column} AS {column}" for column in dict.fromkeys(raw.values())]
    inner = [*columns, *(f"{key.sql} AS k{n}" for n, key in enumerate(keys) if n not in raw)]
    within = f"SELECT {', '.join([*inner, *(f'{_SUMS[s]} AS {s}' for s in sums)])} {asked.rows}"
    within += f" GROUP BY {', '.join(str(n + 1) for n in range(len(inner)))}"
    outer = [f"{key.sql} AS k{n}" if n in raw else f"e.k{n} AS k{n}" for n, key in enumerate(keys)]
    outer += [f"{_OUTER.get(s, 'sum')}(e.{s}) AS {s}" for s in sums]
    return ", ".join(outer), f"FROM ({within}) e{by}"


def _dear(name: str, question: Question, asked: Relation) -> str | None:
    """The column to group by first, where a key is dear to compute and its column has few values."""
    if name in ("week", "month") and terms.zone(question.tz) is None:
        return "date"
    return "metadata" if name.startswith("metadata.") and _few_kinds(asked) else None


def _few_kinds(asked: Relation) -> bool:
    rows = sum(segment.rows for segment in asked.segments)
    kinds = sum(segment.metadata_kinds for segment in asked.segments)
    return kinds * 8 <= rows and rows > 0


def _first(body: str, question: Question, sums: Sequence[str], keys: int, timed: bool, whole: bool) -> str:
    """The first rows of `body` in the question's order; `whole`: each after a NULL, then (count, ..., sums) of all."""
    names = [f"k{n}" for n in range(keys)]
    order = [f"{name} NULLS LAST" for name in names]
    if not timed:
        order = ["coalesce(cost_pico, 0) DESC", "coalesce(calls, 0) DESC", *order]
    ordered = f" ORDER BY {', '.join(order)} LIMIT {question.limit}"
    if not whole:
        return f"SELECT * FROM ({body}){ordered}"
    all_sums = ", ".join(f"{_OUTER.get(s, 'sum')}({s})" for s in sums)
    nulls = "".join("NULL, " for _ in names)
    return (
        f"WITH g AS MATERIALIZED ({body}) (SELECT NULL::BIGINT, * FROM g{ordered})"
        f" UNION ALL (SELECT count(*), {nulls}{all_sums} FROM g)"
    )


def labels(keys: Sequence[Term], answer: Sequence[Any]) -> tuple[str | None, ...]:
    """The key of an answer as text; what follows the keys in it is left out."""
    return tuple(
        value if key.label is None or value is None else key.label(value)
        for key, value in zip(keys, answer, strict=False)
    )


def _sortable(key: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in key)


def _row(key: tuple[str | None, ...], answer: Sequence[Any], sums: Sequence[str]) -> Row:
    said = dict(zip(sums, answer, strict=True))
    first_us, last_us, plan_pico = (said.pop(name, None) for name in _BESIDE)
    totals = Totals(**{name: int(value or 0) for name, value in said.items()})
    return Row(key, totals, first_us, last_us, int(plan_pico or 0))


def _folded(rows: Sequence[Row]) -> list[Row]:
    """Rows of the same key as one."""
    added: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        added.setdefault(row.key, []).append(row)
    return [replace(_sum(same), key=key) for key, same in added.items()]


def _sum(rows: Sequence[Row]) -> Row:
    firsts = [row.first_us for row in rows if row.first_us is not None]
    lasts = [row.last_us for row in rows if row.last_us is not None]
    everything = sum((row.totals for row in rows), Totals())
    plan_pico = sum(row.plan_pico for row in rows)
    return Row((), everything, min(firsts, default=None), max(lasts, default=None), plan_pico)


def _minus(total: Totals, shown: Totals) -> Totals:
    return Totals(**{name: getattr(total, name) - getattr(shown, name) for name in TOTALS_FIELDS})
