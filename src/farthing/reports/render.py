"""Screens in a terminal: the one file that knows rich. Colours mean the same on a light and a dark background."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from farthing.reports.blocks import (
    Bar,
    Beside,
    Block,
    Cell,
    Chart,
    Column,
    Figures,
    Heading,
    Line,
    Page,
    Pairs,
    Span,
    Spark,
    Table,
    shown,
    text_of,
)
from farthing.reports.layout import GAP, cells_of, cut, fit, pad
from farthing.reports.text import BARS, bar, sparkline

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "accent": "color(37)",
    "good": "color(35)",
    "warn": "color(172)",
    "bad": "bold color(167)",
}
"""Each has enough contrast on white and on black; the text itself keeps the terminal's own colour."""

MARGIN = " "
_BESIDE_LEAST, _BESIDE_GAP = 37, 4


def terminal(file: IO[str] | None = None, width: int | None = None) -> Console:
    """A console on `file` (standard output without one), as wide as the terminal or as told."""
    from rich.console import Console

    return Console(file=file, width=width, highlight=False, soft_wrap=True)


def draw(page: Page, console: Console) -> None:
    """Print the page, at most as wide as the console; wider than 140 columns are not used."""
    width = min(console.width, 140) - 2 * len(MARGIN)
    for block in page.blocks:
        for line in _lines(block, width):
            line.rstrip()
            console.print(MARGIN, line, sep="", no_wrap=True, crop=False, overflow="ignore")


@contextmanager
def live(file: IO[str]) -> Iterator[Callable[[Page], None]]:
    """A function that shows a page on the whole screen in the place of the last; the screen is given back after."""
    from rich.console import Group
    from rich.live import Live

    console = terminal(file)
    with Live(console=console, screen=True, auto_refresh=False) as shown:

        def show(page: Page) -> None:
            width = min(console.width, 140) - 2 * len(MARGIN)
            lines = [_text(Span(MARGIN)) + line for block in page.blocks for line in _lines(block, width)]
            shown.update(Group(*lines[: console.height - 1]), refresh=True)

        yield show


def _text(*spans: Span) -> Text:
    from rich.text import Text

    return Text.assemble(*((shown(span.text), STYLES[span.style]) for span in spans))


def _lines(block: Block, width: int) -> Iterator[Text]:
    match block:
        case Line(spans, hang):
            yield from _wrapped(_text(*spans), width, hang)
        case Heading(text, note):
            room = max(0, width - cells_of(text) - 2)
            yield _text(
                Span(cut(text, width), "strong"), Span(f"  {cut(note, room)}" if note and room > 4 else "", "dim")
            )
        case Figures(items):
            yield from _figures(items, width)
        case Beside(tables):
            yield from _beside(tables, width)
        case Chart():
            yield from _chart(block, width)
        case Pairs(pairs):
            names = max((cells_of(name) for name, _ in pairs), default=0)
            for name, value in pairs:
                span = value if isinstance(value, Span) else Span(text_of(value))
                yield from _wrapped(_text(Span(pad(name, names + GAP, right=False), "dim"), span), width, names + GAP)
        case Table():
            yield from _table(block, width)


def _chart(chart: Chart, width: int) -> Iterator[Text]:
    """Columns of eighths, `chart.height` characters high, the greatest value all the way up."""
    if not chart.values:
        return
    thick = max(1, min(4, width // len(chart.values)))
    values, top = chart.values[-width:], max(*chart.values, 1)
    eighths = [max(1, round(8 * chart.height * max(value, 0) / top)) for value in values]
    for level in range(chart.height - 1, -1, -1):
        marks = [BARS[max(0, min(8, eighth - 8 * level))] * max(1, thick - 1) for eighth in eighths]
        yield _text(Span((" " if thick > 1 else "").join(marks), "accent"))
    room = thick * len(values) - (thick > 1)
    between = room - len(chart.first) - len(chart.last)
    yield _text(Span(chart.first + " " * max(1, between) + chart.last, "dim"))


def _wrapped(text: Text, width: int, hang: int) -> Iterator[Text]:
    """The text in lines of at most `width` characters, broken at spaces where there are some."""
    indent = 0
    while text.cell_len > width - indent:
        at = text.plain.rfind(" ", hang - indent + 1, width - indent + 1)
        head, text = text.divide([at if at > 0 else width - indent])
        yield _text(Span(" " * indent)) + head
        indent = hang
        text = text.divide([len(text.plain) - len(text.plain.lstrip(" "))])[-1]
    yield _text(Span(" " * indent)) + text


def _figures(items: Sequence[tuple[str, str, Sequence[Span]]], width: int) -> Iterator[Text]:
    """The figures side by side; what is said below one is broken into lines as wide as it has room."""
    column = width // max(1, len(items))
    room = max(1, column - GAP)

    def row(cells: list[Span]) -> Text:
        return _text(*(Span(pad(cut(span.text, room), column, right=False), span.style) for span in cells))

    yield row([Span(label, "dim") for label, _, _ in items])
    yield row([Span(value, "strong") for _, value, _ in items])
    below = [
        [Span(line, note.style) for note in notes for line in textwrap.wrap(note.text, room) or [""]]
        for _, _, notes in items
    ]
    for depth in range(max(map(len, below), default=0)):
        yield row([lines[depth] if depth < len(lines) else Span("") for lines in below])


def _beside(tables: Sequence[Table], width: int) -> Iterator[Text]:
    half = (width - _BESIDE_GAP) // 2
    if half < _BESIDE_LEAST:
        for table in tables:
            yield from _table(table, width)
            yield _text()
        return
    # What does not fit in one of them is left out of all: side by side they should be alike.
    shared = set.intersection(*(set(fit(table, half).places) for table in tables))
    tables = [_only(table, sorted(shared)) for table in tables]
    for i in range(0, len(tables), 2):
        if i:
            yield _text()
        left = list(_table(tables[i], half))
        right = list(_table(tables[i + 1], half)) if i + 1 < len(tables) else []
        for depth in range(max(len(left), len(right))):
            line = left[depth] if depth < len(left) else _text()
            if depth < len(right):
                line = line + _text(Span(" " * (half - line.cell_len + _BESIDE_GAP))) + right[depth]
            yield line


def _only(table: Table, places: Sequence[int]) -> Table:
    rows = [[row[i] for i in places] for row in table.rows]
    return Table(tuple(table.columns[i] for i in places), rows, (), table.title)


def _table(table: Table, width: int) -> Iterator[Text]:
    chosen = fit(table, width)
    columns = [table.columns[i] for i in chosen.places]
    gap = Span(" " * GAP)

    def row(cells: list[Cell], drawn: Callable[[Cell, Column, int], list[Span]]) -> Text:
        spans: list[Span] = []
        for cell, column, room in zip(cells, columns, chosen.widths, strict=True):
            spans += ([gap] if spans else []) + drawn(cell, column, room)
        return _text(*spans)

    if table.title:
        yield _text(Span(cut(table.title, width), "strong"))
    if any(column.name for column in columns):
        yield row([Span(column.name, "dim") for column in columns], _cell)
    for cells in table.rows:
        yield row([cells[i] for i in chosen.places], _cell)
    if table.foot:
        yield _text(Span("─" * min(width, sum(chosen.widths) + GAP * (len(columns) - 1)), "dim"))
    for cells in table.foot:
        yield row([cells[i] for i in chosen.places], _strong)


def _cell(cell: Cell, column: Column, width: int) -> list[Span]:
    if isinstance(cell, Bar):
        return [Span(pad(bar(cell.fraction, width), width, right=False), "bad" if cell.fraction > 1 else "accent")]
    if isinstance(cell, Spark):
        return [Span(pad(sparkline(cell.values), width, right=False), "accent")]
    style = cell.style if isinstance(cell, Span) else "plain"
    return [Span(pad(text_of(cell), width, right=column.right), style)]


def _strong(cell: Cell, column: Column, width: int) -> list[Span]:
    return [Span(span.text, "strong" if span.style == "plain" else span.style) for span in _cell(cell, column, width)]


@contextmanager
def progress(label: str, total: int | None, file: IO[str]) -> Iterator[Callable[[int, str], None]]:
    """A function that moves a bar to (done, words beside it). Where `file` is no terminal, nothing is shown."""
    if not file.isatty():
        yield lambda done, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(" {task.description}"),
        BarColumn(bar_width=None, complete_style="color(37)", finished_style="color(37)"),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=file), transient=True) as shown:
        task = shown.add_task(label, total=total, words="")

        def move(done: int, words: str) -> None:
            shown.update(task, completed=done, words=words)

        yield move
