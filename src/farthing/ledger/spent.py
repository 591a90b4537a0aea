"""What the events of a budget's scope and window add up to, in the table and in segments, by the accounts they are of.

SQLite and DuckDB are told the same conditions. What JSON's values are called is the one thing in which they differ from
each other and from `Rule.key`: they give all but plain values to Python, which reads them as `Rule.key` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from farthing.ledger import duck, terms
from farthing.ledger.engine import Database
from farthing.ledger.segments import look, nothing
from farthing.ledger.terms import ODD, Term, literal
from farthing.policy import EACH, Rule, key_fields, key_of
from farthing.windows import CALENDAR, Span

_HOT = {
    "usd": (
        "sum(e.cost_pico / 1000000 * (e.billing <> 'subscription'))",
        "sum(e.cost_pico % 1000000 * (e.billing <> 'subscription'))",
    ),
    "tokens": ("0", "sum((e.input_tokens + e.output_tokens) * e.billed)"),
    "calls": ("0", "sum(e.calls)"),
}
"""Millions, and the rest: SQLite has no sums of more than 64 bits."""
_SEALED = {
    "usd": ("0", "sum(e.cost_pico) FILTER (e.billing <> 'subscription')"),
    "tokens": ("0", "sum((e.input_tokens + e.output_tokens) * e.billed)"),
    "calls": ("0", "sum(e.calls)"),
}
_STEM = "(substr(e.model, 1, ?) = ? OR substr(e.requested_model, 1, ?) = ?)"
_ASKED = Term("coalesce(nullif(e.requested_model, ''), e.model)", ())

Of = Callable[[str], Term]


def hot_spent(
    database: Database, rule: Rule, span: Span, wanted: Sequence[Any] | None, *, known_only: bool
) -> dict[str, int]:
    """{key: sum} of the rows in the table, of the key with the `wanted` values only where they are given."""
    sql, values, listed = _question(rule, span, wanted, _hot_field, known_only=known_only)
    found = database.rows(sql.format(*_HOT[rule.budget.unit], "events"), values)
    return _by_key(found, rule, wanted, listed)


def sealed_spent(
    database: Database, rule: Rule, span: Span, wanted: Sequence[Any] | None, *, known_only: bool
) -> dict[str, int]:
    """{key: sum} of what is sealed, as `hot_spent`. Inside a transaction."""
    budget = rule.budget
    if database.path == ":memory:":
        return {}
    sealed = look(database.rows, nothing(database.path))
    since, until = span if budget.window in CALENDAR else (None, None)
    segments = sealed.of(org=None if budget.org == EACH else budget.org, since_us=since, until_us=until)
    if not segments:
        return {}
    sql, values, listed = _question(rule, span, wanted, _sealed_field, known_only=known_only)
    files = ", ".join(duck.quoted(sealed.path(segment)) for segment in segments)
    source = f"read_parquet([{files}], union_by_name = true)"
    with duck.query() as query:
        found = query.rows(sql.format(*_SEALED[budget.unit], source), values)
    return _by_key(found, rule, wanted, listed)


def _hot_field(name: str) -> Term:
    if name.startswith("metadata."):
        return _metadata(name, terms.hot_metadata_sql)
    return _ASKED if name == "model" else Term(f'e."{name}"', (name,))


def _sealed_field(name: str) -> Term:
    return _metadata(name, terms.metadata_sql) if name.startswith("metadata.") else _hot_field(name)


def _metadata(name: str, sql: Callable[[str], str]) -> Term:
    key = name.removeprefix("metadata.")
    return Term(sql(key), ("metadata",), terms.metadata_label(key))


def _question(
    rule: Rule, span: Span, wanted: Sequence[Any] | None, of: Of, *, known_only: bool
) -> tuple[str, list[Any], dict[str, Term]]:
    """(SELECT with places for both parts of the amount and for the source, its values, the fields it lists)."""
    budget = rule.budget
    said, values = _conditions(rule, span, known_only=known_only)
    keys = key_fields(budget)
    same = {name: value for name, value in budget.scope.items() if value != EACH and name != "model"}
    if wanted is not None:
        same |= dict(zip(keys, wanted, strict=True))
    listed = {name: of(name) for name in (*keys, *(name for name in same if name.startswith("metadata.")))}
    for name in keys:
        said.append(f"{listed[name].sql} IS NOT NULL")
    for name, value in same.items():
        sql = of(name).sql
        odd = f" OR substr({sql}, 1, 1) = {literal(ODD)}" if name.startswith("metadata.") else ""
        said.append(f"({sql} = ?{odd})")
        values.append(value)
    columns = "".join(f"{term.sql}, " for term in listed.values())
    where = f" WHERE {' AND '.join(said)}" if said else ""
    grouped = f" GROUP BY {', '.join(str(n + 1) for n in range(len(listed)))}" if listed else ""
    escaped = [text.replace("{", "{{").replace("}", "}}") for text in (columns, where)]
    return f"SELECT {escaped[0]}{{}}, {{}} FROM {{}} e{escaped[1]}{grouped}", values, listed


def _conditions(rule: Rule, span: Span, *, known_only: bool) -> tuple[list[str], list[Any]]:
    """What an event `e` satisfies of the budget's organisation and window, and of its models."""
    budget = rule.budget
    said: list[str] = []
    values: list[Any] = []

    def demand(term: str, *bound: Any) -> None:
        said.append(term)
        values.extend(bound)

    if budget.org != EACH:
        demand("e.org = ?", budget.org)
    if budget.window in CALENDAR:
        demand("e.at_us >= ? AND e.at_us < ?", *span)
    if known_only:
        demand("e.seq <= ?", rule.seen)
    model = budget.scope.get("model", EACH)
    if model.endswith("*") and model != EACH:
        stem = model[:-1]
        demand(_STEM, len(stem), stem, len(stem), stem)
    elif model != EACH:
        demand("(e.model = ? OR e.requested_model = ?)", model, model)
    return said, values


def _by_key(
    rows: Iterable[Sequence[Any]], rule: Rule, wanted: Sequence[Any] | None, listed: dict[str, Term]
) -> dict[str, int]:
    """{key: sum}, of the rows whose texts, as Python reads them, are those of the scope and of the wanted key."""
    keys = key_fields(rule.budget)
    same = {name: value for name, value in rule.budget.scope.items() if value != EACH and name in listed}
    if wanted is not None:
        same |= dict(zip(keys, wanted, strict=True))
    sums: dict[str, int] = {}
    for *found, millions, rest in rows:
        texts = {
            name: value if term.label is None else term.label(value)
            for (name, term), value in zip(listed.items(), found, strict=True)
        }
        values = [texts[name] for name in keys]
        if None in values or any(texts[name] != value for name, value in same.items()):
            continue
        key = key_of(values)
        sums[key] = sums.get(key, 0) + int(millions or 0) * 1_000_000 + int(rest or 0)
    return sums
