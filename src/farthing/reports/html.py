"""Screens as one HTML file: no script, nothing fetched, light and dark, and made to be printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

from farthing.reports import svg
from farthing.reports.blocks import (
    Bar,
    Beside,
    Block,
    Cell,
    Chart,
    Figures,
    Heading,
    Line,
    Page,
    Pairs,
    Span,
    Spark,
    Table,
    text_of,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Picture:
    """A stacked chart over time, with its heading."""

    title: str
    note: str
    svg: str
    names: Sequence[str] = ()


def document(title: str, note: str, parts: Sequence[Page | Picture], made: str) -> str:
    """The whole file. made: when and how it was made, at its foot."""
    body = "\n".join(line for part in parts for line in _part(part))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_style()}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n'
        f'<h1>{escape(title)}</h1><p class="note dim">{escape(note)}</p>\n{body}\n'
        f"<footer>{escape(made)}</footer></main></body></html>\n"
    )


LONG_NAME = 36
"""Characters of a name from which on it may be broken into lines."""


@cache
def _style() -> str:
    return (files("farthing.reports") / "report.css").read_text(encoding="utf-8")


def _part(part: Page | Picture) -> Iterator[str]:
    if isinstance(part, Page):
        for block in part.blocks:
            yield from _block(block)
        return
    yield _heading(Heading(part.title, part.note))
    if len(part.names) > 1:
        keys = "".join(
            f'<span><svg viewBox="0 0 10 10"><rect class="c{min(n, svg.COLOURS - 1)}" width="10" height="10" rx="2"/>'
            f"</svg>{escape(name)}</span>"
            for n, name in enumerate(part.names)
        )
        yield f'<div class="legend">{keys}</div>'
    yield f'<div class="wide">{part.svg}</div>'


def _block(block: Block) -> Iterator[str]:
    match block:
        case Line(spans):
            if spans:
                yield f"<p>{''.join(_span(span) for span in spans)}</p>"
        case Heading():
            yield _heading(block)
        case Figures(items):
            cards = (
                f"<div><span>{escape(label)}</span><b>{escape(value)}</b>"
                + "".join(f'<span class="{note.style}">{escape(note.text)}</span>' for note in notes if note.text)
                + "</div>"
                for label, value, notes in items
            )
            yield f'<div class="figures">{"".join(cards)}</div>'
        case Beside(tables):
            yield f'<div class="beside">{"".join(f"<div>{_table(table)}</div>" for table in tables)}</div>'
        case Chart(values, first, last):
            labels = [first, *[""] * (len(values) - 2), last] if len(values) > 1 else [first]
            yield svg.columns(labels, [svg.Series("", values)], lambda value: f"{value:,}", f"{first} – {last}")
        case Pairs(pairs):
            rows = "".join(f"<dt>{escape(name)}</dt><dd>{_cell(cell)}</dd>" for name, cell in pairs)
            yield f"<dl>{rows}</dl>"
        case Table():
            yield f'<div class="wide">{_table(block)}</div>'


def _heading(block: Heading) -> str:
    note = f"<small>{escape(block.note)}</small>" if block.note else ""
    return f"<h2>{escape(block.text)}{note}</h2>"


def _span(span: Span) -> str:
    if span.style == "plain":
        return escape(span.text)
    return f'<span class="{span.style}">{escape(span.text)}</span>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Bar):
        return svg.bar(cell.fraction)
    if isinstance(cell, Spark):
        return svg.sparkline(cell.values)
    return _span(cell) if isinstance(cell, Span) else escape(text_of(cell))


def _kind(cell: Cell, kind: str) -> str:
    return "name long" if kind == "name" and len(text_of(cell)) > LONG_NAME else kind


def _table(table: Table) -> str:
    kinds = ["r" if column.right else "name" if i == 0 else "" for i, column in enumerate(table.columns)]

    def row(cells: Sequence[Cell]) -> str:
        pairs = zip(cells, kinds, strict=True)
        return "<tr>" + "".join(f'<td class="{_kind(cell, kind)}">{_cell(cell)}</td>' for cell, kind in pairs) + "</tr>"

    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    head = "".join(
        f'<th scope="col"{" class=r" if column.right else ""}>{escape(column.name)}</th>' for column in table.columns
    )
    foot = f"<tfoot>{''.join(row(cells) for cells in table.foot)}</tfoot>" if table.foot else ""
    body = "".join(row(cells) for cells in table.rows)
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"
