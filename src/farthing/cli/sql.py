"""`farthing sql`: one SELECT over the ledger."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import click

from farthing.cli.frame import App, pass_app, shared_options
from farthing.ledger.sql_values import MEMORY_MB, MOST_ROWS, TIMEOUT_S, Answer, Limits
from farthing.reports.blocks import Column, Page, Span, Table
from farthing.reports.text import count, plural

_NUMBERS = ("DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER")


@click.command()
@click.argument("statement")
@click.option("--org", help="The organisation whose events are read. Default: as configured, else `default`.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=TIMEOUT_S, help="Seconds before it is stopped.")
@click.option("--memory", type=click.IntRange(64), default=MEMORY_MB, metavar="MB", help="Megabytes it may use.")
@click.option("--rows", type=click.IntRange(1), default=MOST_ROWS, metavar="N", help="At most so many rows.")
@shared_options
@pass_app
def sql(app: App, statement: str, org: str | None, timeout: float, memory: int, rows: int) -> None:
    """Ask the ledger in SQL.

    STATEMENT is one SELECT, in PostgreSQL's spelling or DuckDB's, over the tables `events` and `traces` (`-` reads it
    from standard input). It runs in a process of its own that can read the events of one organisation and nothing else.
    Costs are exact US dollars, moments are UTC, `metadata ->> 'key'` gives a metadata value.
    """
    text = sys.stdin.read() if statement == "-" else statement
    with app.store() as store:
        answer = store.sql(
            text,
            org=org or app.settings.attributes.org,
            limits=Limits(timeout_s=timeout, memory_mb=memory, most_rows=rows),
        )
    page = Page()
    right = [kind.startswith(_NUMBERS) for kind in answer.types]
    page.add(
        Table(
            columns=tuple(
                Column(name, right=r, rank=n) for n, (name, r) in enumerate(zip(answer.columns, right, strict=True))
            ),
            rows=[[_text(value) for value in row] for row in answer.rows],
        )
    )
    more = f"; there are more than {count(rows)}: --rows shows more" if answer.more else ""
    page.line(Span(f"{plural(len(answer.rows), 'row')}{more}", "dim"))
    app.show(page, values(answer))


def _text(value: Any) -> str:
    """A value as a cell: NULL is an empty one, decimals have all their digits and no exponent."""
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def values(answer: Answer) -> dict[str, Any]:
    """The same for --json: money as text, so that no digit is lost."""
    return {
        "columns": list(answer.columns),
        "types": list(answer.types),
        "rows": [list(row) for row in answer.rows],
        "more": answer.more,
    }
