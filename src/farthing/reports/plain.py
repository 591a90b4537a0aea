"""Screens as plain text: what a pipe or a file gets. No colours, no boxes, nothing cut; columns line up with spaces."""

from __future__ import annotations

from collections.abc import Iterator

from farthing.reports.blocks import Beside, Block, Chart, Figures, Heading, Line, Page, Pairs, Table, shown, text_of
from farthing.reports.layout import GAP, cells_of, fit, pad
from farthing.reports.text import sparkline


def plain(page: Page) -> str:
    """The page as text with a line end after every line; no line ends in spaces."""
    return "".join(f"{line.rstrip()}\n" for block in page.blocks for line in _lines(block))


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Line(spans):
            yield shown("".join(span.text for span in spans))
        case Heading(text, note):
            yield shown(f"{text}  {note}" if note else text)
        case Figures(items):
            names = max([12, *(cells_of(label) for label, _, _ in items)])
            for label, value, notes in items:
                said = (note.text for note in notes if note.text)
                yield (" " * GAP).join(
                    [pad(label, names, right=False), pad(value, max(12, len(value)), right=True), *said]
                )
        case Beside(tables):
            for i, table in enumerate(tables):
                if i:
                    yield ""
                yield from _table(table)
        case Chart(values, first, last):
            yield f"{first}  {sparkline(values)}  {last}"
        case Pairs(pairs):
            width = max((cells_of(name) for name, _ in pairs), default=0)
            for name, cell in pairs:
                yield f"{pad(text_of(name), width, right=False)}{' ' * GAP}{text_of(cell)}"
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield table.title
    chosen = fit(table, None)
    columns = [table.columns[i] for i in chosen.places]

    def row(texts: list[str]) -> str:
        return (" " * GAP).join(
            pad(text, width, right=column.right)
            for text, column, width in zip(texts, columns, chosen.widths, strict=True)
        )

    if any(column.name for column in columns):
        yield row([text_of(column.name) for column in columns])
    for cells in table.rows:
        yield row([text_of(cells[i]) for i in chosen.places])
    for cells in table.foot:
        yield row([text_of(cells[i]) for i in chosen.places])
