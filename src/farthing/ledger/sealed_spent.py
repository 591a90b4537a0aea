"""What sealed events of a budget's scope add up to: the part of `sheet.spent` that is no longer in the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from farthing.ledger import duck, terms
from farthing.ledger.engine import Database
from farthing.ledger.segments import look, nothing
from farthing.policy import EACH, Rule, key_fields
from farthing.windows import CALENDAR, Span

_AMOUNT = {
    "usd": "sum(e.cost_pico) FILTER (e.billing <> 'subscription')",
    "tokens": "sum((e.input_tokens + e.output_tokens) * e.billed)",
    "calls": "sum(e.calls)",
}
_STEM = "(starts_with(e.model, ?) OR coalesce(starts_with(e.requested_model, ?), FALSE))"


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
    said, values = _conditions(rule, since, until, known_only)
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
        name = "" if not named else named[0] if len(named) == 1 else json.dumps(named, ensure_ascii=False)
        sums[str(name)] = int(amount or 0)
    return sums


def _key(name: str) -> terms.Term:
    if name == "model":
        return terms.Term("coalesce(nullif(e.requested_model, ''), e.model)", ())
    return terms.field(name, corrected=False)


def _conditions(rule: Rule, since: int | None, until: int | None, known_only: bool) -> tuple[list[str], list[Any]]:
    budget = rule.budget
    said: list[str] = []
    values: list[Any] = []

    def demand(term: str, *bound: Any) -> None:
        said.append(term)
        values.extend(bound)

    if budget.org != EACH:
        demand("e.org = ?", budget.org)
    if since is not None:
        demand("e.at_us >= ?", since)
    if until is not None:
        demand("e.at_us < ?", until)
    if known_only:
        demand("e.seq <= ?", rule.seen)
    for name, wanted in budget.scope.items():
        if wanted == EACH:
            continue
        if name == "model" and wanted.endswith("*"):
            demand(_STEM, wanted[:-1], wanted[:-1])
        elif name == "model":
            demand("(e.model = ? OR coalesce(e.requested_model = ?, FALSE))", wanted, wanted)
        else:
            demand(f"{terms.field(name, corrected=False).sql} = ?", wanted)
    return said, values
