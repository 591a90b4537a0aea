"""Screens as Markdown, for pull requests, wikis and mails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from farthing.reports.text import sparkline

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#~"} | {"\n": " "})


def markdown(page: Page) -> str:
    """The page as Markdown; names from the ledger cannot become markup."""
    blocks = ["\n".join(_lines(block)) for block in page.blocks]
    return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Line(spans):
            yield "".join(_span(span) for span in spans)
        case Heading(text, note):
            yield f"## {_safe(text)}" + (f"\n\n{_safe(note)}" if note else "")
        case Figures(items):
            for label, value, notes in items:
                words = ", ".join(_safe(note.text) for note in notes if note.text)
                yield f"- {_safe(label)}: **{_safe(value)}**" + (f" ({words})" if words else "")
        case Beside(tables):
            yield "\n\n".join("\n".join(_table(table)) for table in tables)
        case Chart(values, first, last):
            yield f"{_safe(first)} {sparkline(values)} {_safe(last)}"
        case Pairs(pairs):
            for name, cell in pairs:
                yield f"- {_safe(name)}: {_safe(text_of(cell))}"
        case Table():
            yield from _table(block)


def _span(span: Span) -> str:
    text = _safe(span.text)
    if span.style != "strong" or not text.strip():
        return text
    return f"**{text.strip()}**"


def _table(table: Table) -> Iterator[str]:
    drawn = {
        i for i in range(len(table.columns)) if any(isinstance(row[i], Bar | Spark) for row in table.rows)
    }  # fmt: skip
    kept = [i for i in range(len(table.columns)) if i not in drawn]
    if table.title:
        yield f"**{_safe(table.title)}**\n"
    yield _row([table.columns[i].name for i in kept])
    yield _row(["---:" if table.columns[i].right else ":---" for i in kept], safe=False)
    for cells in table.rows:
        yield _row([_indented(cells[i]) for i in kept])
    for cells in table.foot:
        yield _row([f"**{_safe(text_of(cells[i]))}**" if text_of(cells[i]) else "" for i in kept], safe=False)


def _indented(cell: Cell) -> str:
    text = text_of(cell)
    return "\u2003" + text.lstrip() if text.startswith("  ") else text


def _row(texts: Sequence[str], *, safe: bool = True) -> str:
    return "| " + " | ".join(_safe(text) if safe else text for text in texts) + " |"


def _safe(text: str) -> str:
    return text.translate(_SPECIAL)
