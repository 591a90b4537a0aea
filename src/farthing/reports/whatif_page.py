"""The screen of what calls would have cost elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from farthing.reports.blocks import Cell, Column, Heading, Page, Span, Table
from farthing.reports.text import change, count, money, places_for
from farthing.reports.whatif import Other


def whatif_page(found: Sequence[Other], title: str, note: str) -> Page:
    """The table, and what tokenizers make uncertain."""
    page = Page()
    page.add(Heading(title, note))
    page.line()
    if not found:
        page.line("No calls to such a model in this time.")
        return page
    known = [one for one in found if one.then is not None]
    places = places_for([*(one.now for one in found), *(one.then for one in known)])
    columns = (
        Column("model", least=12),
        Column("instead", least=12),
        Column("calls", right=True, rank=2),
        Column("tokens in", right=True, rank=3),
        Column("out", right=True, rank=3),
        Column("it cost", right=True),
        Column("would cost", right=True),
        Column("difference", right=True),
        Column("", right=True, rank=1),
    )
    rows = [_row(one, places) for one in found]
    now, then = sum(one.now for one in known), sum(one.then or 0 for one in known)
    foot: list[Cell] = [
        "together", "", count(sum(one.calls for one in known)), "", "", money(now, places), money(then, places),
        *_difference(then, now, places),
    ]  # fmt: skip
    page.add(Table(columns, rows, [foot] if len(known) > 1 else []))
    page.line()
    for line in _notes(found):
        page.line(*line, hang=2)
    return page


def _row(one: Other, places: int) -> list[Cell]:
    row: list[Cell] = [one.model, one.other, count(one.calls), count(one.input_tokens), count(one.output_tokens)]
    row.append(money(one.now, places))
    if one.then is None:
        return [*row, Span("not known", "warn"), "", ""]
    return [*row, money(one.then, places), *_difference(one.then, one.now, places)]


def _difference(then: int, now: int, places: int) -> list[Cell]:
    style = "good" if then < now else "warn" if then > now else "dim"
    sign = "+" if then > now else ""
    return [Span(f"{sign}{money(then - now, places)}", style), Span(change(then, now), style)]


def _notes(found: Sequence[Other]) -> Iterator[tuple[str | Span, ...]]:
    for one in found:
        if one.then is None:
            yield (Span(f"{one.other}: ", "dim"), Span(one.reason, "warn"))
        elif one.other != one.model:
            yield (Span(f"{one.model} → {one.other}: ", "dim"), tokenizer_words(one))
    yield (Span("the same calls and answers: ", "dim"), "another model may need more of them, or fewer")


def tokenizer_words(one: Other) -> str:
    """What the tokenizers mean for the figure."""
    if one.factor != 1:
        words = f"taken to count {float(one.factor):g} tokens for each one counted"
    elif one.tokenizer == "same":
        return "both count text with the same tokenizer, so the counts hold"
    else:
        words = "they count the same text with different tokenizers, and the counts are those of the first"
    if one.even_at is not None and one.then is not None and one.then < one.now:
        more = round(100 * (one.even_at - 1))
        words += f"; it stays cheaper unless it counts {more:,} % more tokens"
    return words


def whatif_json(found: Sequence[Other]) -> list[dict[str, Any]]:
    """The figures for programs; amounts are picodollars."""
    return [
        {
            "provider": one.provider,
            "model": one.model,
            "instead": one.other,
            "calls": one.calls,
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "cost_pico": one.now,
            "would_cost_pico": one.then,
            "difference_pico": one.difference,
            "tokenizer": one.tokenizer,
            "tokens_factor": _float(one.factor),
            "costs_the_same_at_tokens_factor": _float(one.even_at),
            "reason": one.reason or None,
        }
        for one in found
    ]


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
