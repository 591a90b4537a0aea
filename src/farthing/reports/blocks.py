"""What a screen consists of, as values: titles, lines, figures, tables. `render.py` and `plain.py` draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Style = str
"""plain, strong, dim, accent, good, warn, bad: a meaning, not a colour."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text that means something."""

    text: str
    style: Style = "plain"


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a whole, 0 to 1 and over, drawn as long as there is room. Plain output leaves its column out."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Spark:
    """A small chart of values over time, a character each. Plain output leaves its column out."""

    values: tuple[int, ...]


Cell = str | Span | Bar | Spark


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `rank`: where there is no room, the highest goes first; rank 0 always stays, cut with … at worst.

    enough: a column that can be cut to so many characters makes no other go; 0: it has to be whole.
    """

    name: str
    right: bool = False
    rank: int = 0
    least: int = 10  # of a column that is cut, the characters that stay
    enough: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; `foot` rows stand under a line."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, wrapped where it must be; `hang` characters deep from its second line on."""

    spans: tuple[Span, ...] = ()
    hang: int = 0


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, and a quieter word beside it."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """A few numbers side by side: (label, value, lines below it)."""

    items: Sequence[tuple[str, str, Sequence[Span]]]


@dataclass(frozen=True, slots=True)
class Beside:
    """Tables in a grid of two columns where there is room, else one under the other."""

    tables: Sequence[Table]


@dataclass(frozen=True, slots=True)
class Chart:
    """Values over time as columns; plain output has one line of them. `first`, `last`: what stands under the ends."""

    values: Sequence[int]
    first: str
    last: str
    height: int = 4


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names and what they are, one under the other; long ones are wrapped, never cut."""

    pairs: Sequence[tuple[str, Cell]]


Block = Pairs | Line | Heading | Table | Figures | Beside | Chart


@dataclass(slots=True)
class Page:
    """Blocks from top to bottom, built by adding."""

    blocks: list[Block] = field(default_factory=list)

    def add(self, block: Block) -> None:
        """One more block."""
        self.blocks.append(block)

    def line(self, *parts: str | Span, hang: int = 0) -> None:
        """One more line of text; without parts an empty one."""
        self.blocks.append(Line(tuple(Span(part) if isinstance(part, str) else part for part in parts), hang))


def text_of(cell: Cell) -> str:
    """A cell's text, fit to be shown; a bar has none."""
    return shown(cell if isinstance(cell, str) else cell.text if isinstance(cell, Span) else "")


def shown(text: str) -> str:
    """The text with a visible character in the place of each that would end a line or give a terminal an order.

    Names come from programs, and from whoever talks to them: an agent called `\x1b[2J` must not clear a screen.
    """
    return text if text.isprintable() else text.translate(_VISIBLE)


_VISIBLE = {
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""Control characters as their pictures; C1 codes, separators of lines, and what turns the direction of writing as �."""
