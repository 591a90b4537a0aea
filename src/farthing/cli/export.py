"""`farthing export`: events as lines, tables or Parquet, and cost in FOCUS columns."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click

from farthing.cli.frame import App, as_filter, filter_options, pass_app, shared_options
from farthing.cli.output import safe_cell
from farthing.errors import InputError
from farthing.ledger.store import Filter, Store
from farthing.reports.booked import booked
from farthing.reports.focus import COLUMNS, focus_rows
from farthing.reports.lines import CSV_COLUMNS, csv_row, export_lines
from farthing.reports.text import plural

FORMATS = ("jsonl", "csv", "parquet", "focus")


@click.command()
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), help="Default: jsonl, or as the name of --out ends; focus is CSV."
)
@click.option("--out", default="-", metavar="FILE", help="The file. Default: standard output.")
@filter_options
@shared_options
@pass_app
def export(
    app: App,
    kind: str | None,
    out: str,
    since: datetime | None,
    until: datetime | None,
    where: tuple[str, ...],
) -> None:
    """Write events as lines that can be imported.

    One JSON object a line, as docs/event-lines.md describes; corrections follow their events. Imported into another
    ledger they give the same calls; costs are worked out anew there. As csv or parquet: a row an event, whose sums are
    right, corrections included. As focus: cost a day, model and kind of token in the columns of FOCUS 1.0.
    """
    chosen = as_filter(since, until, where)
    ends = Path(out).suffix.lstrip(".").lower()
    kind = kind or (ends if ends in FORMATS else "jsonl")
    if out != "-" and Path(out).exists() and app.url.removeprefix("sqlite:///") in (out, str(Path(out).resolve())):
        raise InputError(f"--out {out}: is the ledger itself")
    with app.store() as store:
        if kind == "parquet":
            if out == "-":
                raise click.UsageError("--format parquet needs --out FILE")
            rows = store.write_parquet(Path(out), chosen)
            click.echo(f"{plural(rows, 'event')} in {out}", err=True)
            return
        with _opened(out) as file:
            _WRITERS[kind](store, chosen, file)


@contextmanager
def _opened(out: str) -> Iterator[TextIO]:
    if out == "-":
        yield sys.stdout
        return
    with Path(out).open("w", encoding="utf-8", newline="") as file:
        yield file


def _jsonl(store: Store, where: Filter, file: TextIO) -> None:
    for line in export_lines(store, where):
        file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def _csv(store: Store, where: Filter, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for event in store.events(where):
        writer.writerow([safe_cell(cell) for cell in csv_row(event)])


def _focus(store: Store, where: Filter, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in focus_rows(booked(store), where):
        writer.writerow([safe_cell(row[name]) for name in COLUMNS])


_WRITERS = {"jsonl": _jsonl, "csv": _csv, "focus": _focus}
