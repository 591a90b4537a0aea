"""Which columns of a table fit, and how wide each may be."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from farthing.reports.blocks import Bar, Cell, Spark, Table, text_of

GAP = 2
"""Spaces between columns."""

BAR_LEAST, BAR_MOST = 6, 40


@dataclass(frozen=True, slots=True)
class Fit:
    """The columns that stay, by place, and their widths."""

    places: tuple[int, ...]
    widths: tuple[int, ...]


def fit(table: Table, width: int | None) -> Fit:
    """The columns of `table` in `width` characters; None: all of them, as wide as they are, but no bars.

    First bars shrink, then columns of the highest rank go, then the widest column of rank 0 is cut. A column for which
    less is enough is cut before others go.
    """
    cells = [*table.rows, *table.foot]
    natural = [max([cells_of(text_of(c.name)), *(_long(row[i]) for row in cells)]) for i, c in enumerate(table.columns)]
    bars = {i for i in range(len(table.columns)) if any(isinstance(row[i], Bar) for row in table.rows)}
    wanted = [min(n, c.enough) if c.enough else n for n, c in zip(natural, table.columns, strict=True)]
    places = list(range(len(table.columns)))
    if width is None:
        drawn = {i for i in places if any(isinstance(row[i], Bar | Spark) for row in table.rows)}
        places = [i for i in places if i not in drawn]
        return Fit(tuple(places), tuple(natural[i] for i in places))

    def needed(least_bars: int = BAR_LEAST) -> int:
        return sum(least_bars if i in bars else wanted[i] for i in places) + GAP * (len(places) - 1)

    while needed() > width:
        rank = max(table.columns[i].rank for i in places)
        if not rank:
            break
        places.remove(max(i for i in places if table.columns[i].rank == rank))
    widths = {i: BAR_LEAST if i in bars else natural[i] for i in places}
    missing = sum(widths.values()) + GAP * (len(places) - 1) - width
    while missing > 0:
        widest = max(places, key=lambda i: widths[i] - table.columns[i].least if i not in bars else -1)
        if widths[widest] <= table.columns[widest].least:
            break
        widths[widest] -= 1
        missing -= 1
    for i in places:
        if i in bars:
            widths[i] = min(BAR_MOST, BAR_LEAST + max(0, -missing))
    return Fit(tuple(places), tuple(widths[i] for i in places))


def _long(cell: Cell) -> int:
    return len(cell.values) if isinstance(cell, Spark) else cells_of(text_of(cell))


def cells_of(text: str) -> int:
    """How many characters wide a terminal draws the text: wide ones take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis."""
    if cells_of(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def pad(text: str, width: int, *, right: bool) -> str:
    """The text cut and padded to exactly `width`."""
    text = cut(text, width)
    spaces = " " * (width - cells_of(text))
    return spaces + text if right else text + spaces
