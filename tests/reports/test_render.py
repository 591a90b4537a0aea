"""Screens fit: nothing runs over the edge, at any width, and the plain form says the same."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from farthing.reports.blocks import Bar, Beside, Chart, Column, Figures, Heading, Page, Pairs, Span, Table
from farthing.reports.layout import cells_of, cut, fit, pad
from farthing.reports.plain import plain
from farthing.reports.render import draw, progress, terminal

COLUMNS = (
    Column("agent", least=10),
    Column("calls", right=True, rank=2),
    Column("cost", right=True),
    Column("", rank=1),
)
TABLE = Table(
    COLUMNS,
    [
        ("customer_support_in_the_whole_of_europe", "1,234", "$1,234.56", Bar(1.0)),
        (Span("b", "dim"), "2", "$0.10", Bar(0.1)),
    ],
    [("total", "1,236", "$1,234.66", "")],
    "Agents",
)


def page() -> Page:
    made = Page()
    made.add(Heading("Title", "a note that is rather long " * 6))
    made.line("words ", Span("that mean something", "warn"), " and go on " * 20, hang=4)
    made.line("a" * 200)
    made.add(Figures([("today", "$12.00", [Span("3 calls", "dim")]), ("month", "$100.00", [])]))
    made.add(TABLE)
    made.add(Beside([TABLE, TABLE, TABLE]))
    made.add(Chart([1, 5, 0, 3] * 8, "1 Nov", "30 Nov"))
    made.add(Pairs([("source", "https://example.org/" + "x" * 150), ("hash", "0" * 64)]))
    return made


def drawn(width: int) -> str:
    file = io.StringIO()
    draw(
        page(),
        Console(file=file, width=width, force_terminal=True, color_system="256", highlight=False, soft_wrap=True),
    )
    return file.getvalue()


def bare(text: str) -> list[str]:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_nothing_runs_over_the_edge(width: int) -> None:
    """Every line fits into the terminal, and beyond 140 columns nothing gets wider."""
    assert max(len(line) for line in bare(drawn(width))) <= min(width, 140)


def test_colours_are_drawn_for_terminals_only() -> None:
    """A terminal gets colours, a pipe gets none and no lines drawn either."""
    assert "\x1b[" in drawn(80)
    words = plain(page())
    assert "\x1b" not in words and "─" not in words and "━" not in words


def test_plain_text_cuts_nothing() -> None:
    """What a pipe gets is whole, its columns line up, and no line ends in spaces."""
    words = plain(page())
    assert "customer_support_in_the_whole_of_europe" in words
    assert all(line == line.rstrip() for line in words.splitlines())
    header, first, second = plain(Page([Table(COLUMNS, TABLE.rows)])).splitlines()
    assert header.index("calls") + 5 == first.index("1,234") + 5 == second.index("2") + 1


def test_columns_go_by_rank_where_there_is_no_room() -> None:
    """First the highest rank, then the bars; names and costs stay to the last."""
    assert fit(TABLE, 100).places == (0, 1, 2, 3)
    assert fit(TABLE, 60).places == (0, 2, 3)
    assert fit(TABLE, 50).places == (0, 2)
    narrow = fit(TABLE, 25)
    assert narrow.places == (0, 2) and sum(narrow.widths) + 2 <= 25


def test_tables_beside_each_other_have_the_same_columns() -> None:
    """What does not fit in one of them is left out of all."""
    short = Table(COLUMNS, [("a", "1", "$1.00", Bar(0.5))])
    file = io.StringIO()
    draw(Page([Beside([TABLE, short])]), Console(file=file, width=100, soft_wrap=True))
    assert "━" not in file.getvalue()


def test_long_values_are_wrapped_under_their_own_column() -> None:
    """Nothing of a source or hash is lost in a narrow terminal."""
    lines = bare(drawn(60))
    start = next(i for i, line in enumerate(lines) if "source" in line)
    together = "".join(line.strip() for line in lines[start:]).replace("source", "").replace("hash", "")
    assert "x" * 150 in together and "0" * 64 in together


def test_no_progress_where_nobody_looks() -> None:
    """A pipe gets no bar."""
    file = io.StringIO()
    with progress("importing", 10, file) as move:
        move(5, "5 lines")
    assert file.getvalue() == ""


def test_a_terminal_of_a_given_width() -> None:
    """The console draws as wide as it is told."""
    assert terminal(io.StringIO(), 72).width == 72


def test_names_give_no_orders_to_a_terminal() -> None:
    """Line ends, escapes and marks that turn the writing round are shown as characters, each in its own row."""
    made = Page()
    made.add(Heading("Cost by agent", "agent=\x1b[2Jx"))
    made.line("moved: ", Span("a\nb", "warn"))
    made.add(
        Table((Column("agent"), Column("cost", right=True)), [("x\ny\x1b]0;t\x07", "$1.00"), ("\u202eabc", "$2.00")])
    )
    made.add(Pairs([("na\rme", "v\u2028w")]))
    file = io.StringIO()
    draw(made, Console(file=file, width=80, force_terminal=True, color_system="256", highlight=False, soft_wrap=True))
    for text in (plain(made), "\n".join(line.rstrip() for line in bare(file.getvalue())) + "\n"):
        assert "x␊y␛]0;t␇" in text and "\ufffdabc" in text and "a␊b" in text and "␛[2Jx" in text
        assert text.count("\n") == 6 and not {"\x1b", "\x07", "\r", "\u202e", "\u2028"} & set(text)


def test_wide_characters_take_two_columns() -> None:
    """Columns line up under names in Chinese, with accents that are characters of their own, and when they are cut."""
    names = ("研究代理", "e\u0301tude", "plain")
    table = Table((Column("agent", least=6), Column("cost", right=True)), [(name, "$1.00") for name in names])
    made = Page()
    made.add(table)
    lines = plain(made).splitlines()
    assert [cells_of(line[: line.index("$")]) for line in lines[1:]] == [10, 10, 10]
    assert cut("研究代理", 5) == "研究…" and cut("研究代理", 4) == "研…" and pad("研", 4, right=True) == "  研"


def test_what_is_said_below_a_figure_is_never_cut() -> None:
    """In a narrow terminal it is broken into lines, and keeps away from its neighbour's."""
    made = Page()
    words = "-12 % on the 23 hours before"
    made.add(Figures([(name, "$1.00", [Span(words, "dim")]) for name in ("a", "b", "c", "d")]))
    file = io.StringIO()
    draw(made, Console(file=file, width=80, highlight=False, soft_wrap=True))
    lines = file.getvalue().splitlines()
    assert "…" not in file.getvalue() and max(map(len, lines)) <= 80
    assert " ".join(line[:20].strip() for line in lines[2:]) == words and not any(line[19:20].strip() for line in lines)
