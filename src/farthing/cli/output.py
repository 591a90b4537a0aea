"""How reports leave: text, JSON, CSV, Markdown or HTML, to the terminal or a file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from farthing.cli.frame import App
from farthing.errors import InputError
from farthing.reports.blocks import Page
from farthing.reports.currency import USD, Currency, read_currency
from farthing.reports.markdown import markdown
from farthing.reports.plain import plain

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
FORMATS = ("text", "json", "csv", "md", "html")


def output_options(function: Decorated) -> Decorated:
    """--format and --out."""
    for option in (
        click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."),
        click.option(
            "--format", "kind", type=click.Choice(FORMATS), help="Default: text, or as the name of --out ends."
        ),
    ):
        function = option(function)
    return function


def currency_options(function: Decorated) -> Decorated:
    """--currency and --rates."""
    for option in (
        click.option(
            "--rates",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="The dated file of exchange rates (TOML). Default: rates.toml in the data folder.",
        ),
        click.option("--currency", metavar="CODE", help="Show amounts in this currency, e.g. EUR."),
    ):
        function = option(function)
    return function


def currency_of(app: App, code: str | None, rates: Path | None, on: Any) -> Currency:
    """The currency that the options mean, at its rate of that day."""
    if code is None or code.upper() == "USD":
        return USD
    path = rates or app.settings.data_dir / "rates.toml"
    if not path.is_file():
        raise InputError(
            f"--currency {code}: no file of exchange rates at {path}; write one, docs/reports.md shows how, "
            "or name it with --rates"
        )
    return read_currency(code, path, on)


def chosen_kind(app: App, kind: str | None, out: Path | None) -> str:
    """The format that the options mean."""
    if kind is not None:
        return kind
    if app.as_json:
        return "json"
    ends = out.suffix.lstrip(".").lower() if out is not None else ""
    return {"htm": "html", "markdown": "md"}.get(ends, ends if ends in FORMATS else "text")


def put(
    app: App,
    kind: str,
    out: Path | None,
    *,
    page: Page,
    values: Any,
    rows: Callable[[], Iterable[Sequence[Any]]],
    html: Callable[[], str],
) -> None:
    """Give the report out in a format. rows: of CSV, the first holds the names of the columns."""
    if kind == "text" and out is None:
        app.as_json = False
        app.show(page, values)
        return
    text = {
        "text": lambda: plain(page),
        "json": lambda: json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n",
        "csv": lambda: csv_text(rows()),
        "md": lambda: markdown(page),
        "html": html,
    }[kind]()
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        click.echo(f"written: {out}", err=True)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV. Texts that a spreadsheet would take for a formula get an apostrophe before them."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([safe_cell(cell) for cell in row])
    return file.getvalue()


def safe_cell(cell: Any) -> Any:
    """A cell of CSV. Text that a spreadsheet would take for a formula gets an apostrophe; a number never is one."""
    if cell is None:
        return ""
    if isinstance(cell, str) and _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
