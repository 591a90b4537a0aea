"""Screens as plain text: what a pipe or a file gets. No colours, no boxes, nothing cut; columns line up with spaces."""

from __future__ import annotations

from collections.abc import Iterator

from farthing.reports.blocks import Beside, Block, Chart, Figures, Heading, Line, Page, Pairs, Table, text_of
from farthing.reports.layout import GAP, fit
from farthing.reports.text import sparkline


def plain(page: Page) -> str:
    """The page as text with a line end after every line; no line ends in spaces."""
    return "".join(f"{line.rstrip()}\n" for block in page.blocks for line in _lines(block))


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Line(spans):
            yield "".join(span.text for span in spans)
        case Heading(text, note):
            yield f"{text}  {note}" if note else text
        case Figures(items):
            for label, value, notes in items:
                yield (" " * GAP).join([label.ljust(12), value.rjust(12), *(note.text for note in notes if note.text)])
        case Beside(tables):
            for i, table in enumerate(tables):
                if i:
                    yield ""
                yield from _table(table)
        case Chart(values, first, last):
            yield f"{first}  {sparkline(values)}  {last}"
        case Pairs(pairs):
            width = max((len(name) for name, _ in pairs), default=0)
            for name, cell in pairs:
                yield f"{name.ljust(width)}{' ' * GAP}{text_of(cell)}"
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield table.title
    chosen = fit(table, None)
    columns = [table.columns[i] for i in chosen.places]

    def row(texts: list[str]) -> str:
        return (" " * GAP).join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, column, width in zip(texts, columns, chosen.widths, strict=True)
        )

    if any(column.name for column in columns):
        yield row([column.name for column in columns])
    for cells in table.rows:
        yield row([text_of(cells[i]) for i in chosen.places])
    for cells in table.foot:
        yield row([text_of(cells[i]) for i in chosen.places])
