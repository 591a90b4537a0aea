"""What was used at which price, and how the calls' costs and counts are spread: for savings and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from farthing.errors import InputError
from farthing.ledger import terms
from farthing.ledger.ask import again, key_of, labels, relation
from farthing.ledger.hot import Hot
from farthing.ledger.rows import TOKEN_COLUMNS
from farthing.ledger.store import TIME_FIELDS, Filter, PriceUse, Question
from farthing.ledger.terms import Term

Quantiles = dict[tuple[str | None, ...], list[int]]


def usage_by_price(hot: Hot, where: Filter, by: tuple[str, ...], steps: tuple[int, ...]) -> list[PriceUse]:
    """What was used at each price, by the fields asked for: see `PriceUse`."""
    return again(lambda: _usage_by_price(hot, where, by, steps))


def _usage_by_price(hot: Hot, where: Filter, by: tuple[str, ...], steps: tuple[int, ...]) -> list[PriceUse]:
    if timed := set(by) & set(TIME_FIELDS):
        raise InputError(
            f"usage by price is not split by {sorted(timed)[0]}: ask for one stretch of time after the other"
        )
    needed = {"provider", "model", "price_hash", "context", "calls", "cost_pico", "billed", "units", *TOKEN_COLUMNS}
    found: dict[tuple[Any, ...], tuple[int, int, dict[str, int | Decimal]]] = {}
    with relation(hot, where, by, needed) as asked:
        keys = [key_of(name, Question(by=by, where=where), asked) for name in by]
        above = " + ".join(f"(e.input_tokens > {int(step)})::INTEGER" for step in steps) or "0"
        places = [*(key.sql for key in keys), "e.provider", "e.model", "e.price_hash", "e.context", above]
        group = f" GROUP BY {', '.join(str(n + 1) for n in range(len(places)))}"
        tokens = ", ".join(f"sum({terms.billed(name)})" for name in TOKEN_COLUMNS)
        for row in asked.query.rows(
            f"SELECT {', '.join(places)}, sum(e.calls), sum(e.cost_pico), {tokens} {asked.rows}{group}", asked.values
        ):
            own, sums = _labelled(keys, row[: len(places)]), row[len(places) :]
            units: dict[str, int | Decimal] = dict(zip(TOKEN_COLUMNS, (int(n or 0) for n in sums[2:]), strict=True))
            calls, cost, same = found.get(own, (0, 0, {}))
            found[own] = (calls + int(sums[0] or 0), cost + int(sums[1] or 0), _added(same, units))
        named = [f"{place} AS p{n}" for n, place in enumerate(places)]
        unit = (
            f"SELECT {', '.join(named)}, e.units AS u, unnest(json_keys(e.units)) AS k"
            f" {asked.rows}{' AND' if asked.where else ' WHERE'} e.units IS NOT NULL AND e.billed = 1"
        )
        numbers = ", ".join(f"p{n}" for n in range(len(places)))
        value = "sum((u ->> ('/' || k))::DECIMAL(38, 15))"
        for row in asked.query.rows(f"SELECT {numbers}, k, {value} FROM ({unit}) GROUP BY ALL", asked.values):
            own, (name, amount) = _labelled(keys, row[: len(places)]), row[len(places) :]
            if name not in TOKEN_COLUMNS:  # there: what is not whole, whose whole part has been added
                whole = int(amount) if amount == int(amount) else amount
                found[own] = (*found[own][:2], _added(found[own][2], {name: whole}))
    count = len(by)
    return [
        PriceUse(
            key=own[:count], provider=own[count], model=own[count + 1], price_hash=own[count + 2],
            context=own[count + 3], step=own[count + 4], calls=calls, cost_pico=cost,
            units={name: n for name, n in units.items() if n},
        )
        for own, (calls, cost, units) in found.items()
    ]  # fmt: skip


def _labelled(keys: Sequence[Term], answer: Sequence[Any]) -> tuple[Any, ...]:
    return (*labels(keys, answer[: len(keys)]), *answer[len(keys) :])


def _added(first: dict[str, int | Decimal], second: dict[str, int | Decimal]) -> dict[str, int | Decimal]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in (*first, *(n for n in second if n not in first))}


def quantiles(hot: Hot, of: str, where: Filter, by: tuple[str, ...], shares: tuple[float, ...]) -> Quantiles:
    """{key: the values at these shares} of `cost_pico` or a count of tokens, over billed calls as they are now known.

    The value at a share is one that a call has: at least that share of the calls have no more.
    """
    return again(lambda: _quantiles(hot, of, where, by, shares))


def _quantiles(hot: Hot, of: str, where: Filter, by: tuple[str, ...], shares: tuple[float, ...]) -> Quantiles:
    if of not in ("cost_pico", *TOKEN_COLUMNS):
        raise InputError(f"there are no percentiles of {of!r}: name cost_pico or one of {', '.join(TOKEN_COLUMNS)}")
    with relation(hot, where, by, {of, "id", "corrects", "calls"}) as asked:
        keys = [key_of(name, Question(by=by, where=where), asked) for name in by]
        value = f"e.{of}"
        joined = asked.joined
        if asked.corrected:
            joined += (
                f" LEFT JOIN (SELECT org, corrects, sum({of}) AS more FROM {asked.source} WHERE corrects IS NOT NULL"
                " GROUP BY ALL) d ON d.org = e.org AND d.corrects = e.id"
            )
            value = f"(e.{of} + coalesce(d.more, 0))"
        listed = "".join(f"{key.sql}, " for key in keys)
        grouped = f" GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
        found = asked.query.rows(
            f"SELECT {listed}quantile_disc({value}, [{', '.join(str(float(s)) for s in shares)}])"
            f" FROM {asked.source} e {joined}{asked.where}{' AND' if asked.where else ' WHERE'} e.calls = 1{grouped}",
            asked.values,
        )
    return {labels(keys, row): [int(n) for n in row[-1]] for row in found if row[-1] is not None}
