"""What sealed events of a budget's scope add up to: the part of `sheet.spent` that is no longer in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from farthing.ledger import duck, terms
from farthing.ledger.engine import Database
from farthing.ledger.segments import look, nothing
from farthing.policy import EACH, Rule, key_fields, key_of
from farthing.windows import CALENDAR, Span

_AMOUNT = {
    "usd": "sum(e.cost_pico) FILTER (e.billing <> 'subscription')",
    "tokens": "sum((e.input_tokens + e.output_tokens) * e.billed)",
    "calls": "sum(e.calls)",
}
_STEM = "(substr(e.model, 1, ?) = ? OR substr(e.requested_model, 1, ?) = ?)"


def sealed_spent(
    database: Database, rule: Rule, span: Span, wanted: Sequence[Any] | None, *, known_only: bool
) -> dict[str, int]:
    """{key: sum}, of the key with the `wanted` values only where they are given. Inside a transaction."""
    budget = rule.budget
    if database.path == ":memory:":
        return {}
    sealed = look(database.rows, nothing(database.path))
    since, until = span if budget.window in CALENDAR else (None, None)
    segments = sealed.of(org=None if budget.org == EACH else budget.org, since_us=since, until_us=until)
    if not segments:
        return {}
    said, values = conditions(rule, span, lambda name: (_key(name).sql, ()), known_only=known_only)
    keys = [_key(name) for name in key_fields(budget)]
    for n, key in enumerate(keys):
        said.append(f"{key.sql} IS NOT NULL" if wanted is None else f"{key.sql} = ?")
        values += [] if wanted is None else [wanted[n]]
    files = ", ".join(duck.quoted(sealed.path(segment)) for segment in segments)
    listed = "".join(f"{key.sql}, " for key in keys)
    with duck.query() as query:
        found = query.rows(
            f"SELECT {listed}{_AMOUNT[budget.unit]} FROM read_parquet([{files}], union_by_name = true) e"
            f"{' WHERE ' + ' AND '.join(said) if said else ''}"
            f"{' GROUP BY ' + ', '.join(str(n + 1) for n in range(len(keys))) if keys else ''}",
            values,
        )
    sums: dict[str, int] = {}
    for *named, amount in found:
        sums[key_of(named)] = int(amount or 0)
    return sums


def _key(name: str) -> terms.Term:
    if name == "model":
        return terms.Term("coalesce(nullif(e.requested_model, ''), e.model)", ())
    return terms.field(name, corrected=False)


def conditions(
    rule: Rule, span: Span, field: Callable[[str], tuple[str, Sequence[Any]]], *, known_only: bool
) -> tuple[list[str], list[Any]]:
    """What an event `e` of a budget's scope and window satisfies, as SQL that SQLite and DuckDB both know."""
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
    for name, wanted in budget.scope.items():
        if wanted == EACH:
            continue
        if name == "model" and wanted.endswith("*"):
            stem = wanted[:-1]
            demand(_STEM, len(stem), stem, len(stem), stem)
        elif name == "model":
            demand("(e.model = ? OR e.requested_model = ?)", wanted, wanted)
        else:
            sql, bound = field(name)
            demand(f"{sql} = ?", *bound, wanted)
    return said, values
