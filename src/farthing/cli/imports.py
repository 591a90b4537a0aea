"""`farthing import` and `farthing export`: files in, event lines out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import click

from farthing.capture.logs.files import Source
from farthing.capture.logs.importer import Options, Tally, import_files
from farthing.cli.frame import App, as_filter, filter_options, key_values, pass_app, shared_options
from farthing.config import attribution, parse_attributes
from farthing.errors import InputError
from farthing.pricing.catalog import Catalog
from farthing.recording import Call
from farthing.reports import render
from farthing.reports.blocks import Page, Span
from farthing.reports.lines import export_lines
from farthing.reports.text import count, plural
from farthing.tracker import CostTracker

SHOWN = 10
"""Bad lines that are shown one by one."""


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv", "json"]), help="Default: as the file looks.")
@click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=FIELD", help="CSV: what a column means; `-` ignores it."
)
@click.option("--model", help="CSV: the model of rows that name none.")
@click.option("--provider", help="CSV: the provider of rows that name none.")
@click.option(
    "--attributes", metavar="K=V,...", help="What calls are for where their line says nothing: team=search,..."
)
@shared_options
@pass_app
def import_(
    app: App,
    files: tuple[str, ...],
    kind: str | None,
    mapping: tuple[str, ...],
    model: str | None,
    provider: str | None,
    attributes: str | None,
) -> None:
    """Read recorded responses, event lines or CSV.

    JSON lines may be recorded responses, provider bodies, batch output or event lines (docs/event-lines.md), also as
    .gz or from standard input (`-`). What is known already is not added again, so importing a file twice adds nothing.
    Lines that cannot be read are shown with their reason and the others are kept; the exit code is then 1.
    """
    settings = app.settings
    given = attribution(parse_attributes(attributes, "--attributes")) if attributes else settings.attributes
    constants = {name: value for name, value in (("model", model), ("provider", provider)) if value}
    options = Options(
        kind=kind,
        mapping=key_values(mapping, "--map"),
        constants=constants,
        attribute=given.with_defaults(settings.attributes),
        finish=_hashing(app) if settings.hash_users else None,
    )
    prices = Catalog.default()
    sizes = [Path(name).stat().st_size for name in files if name != "-" and Path(name).is_file()]
    with app.store() as store, render.progress("importing", sum(sizes) or None, sys.stderr) as move:
        tally = import_files(files, store, prices, options=options, stdin=sys.stdin.buffer, progress=_progress(move))
    app.show(_page(tally), _as_json(tally))
    if tally.bad:
        sys.exit(1)


def _progress(move: Callable[[int, str], None]) -> Callable[[Source, Tally], None]:
    """Adds up the bytes of the files one after the other."""
    reached: dict[str, int] = {}

    def progress(source: Source, tally: Tally) -> None:
        reached[source.name] = source.done
        move(sum(reached.values()), f"{count(tally.lines)} lines")

    return progress


def _hashing(app: App) -> Callable[[Call], Call]:
    tracker = CostTracker(":memory:")

    def hashed(call: Call) -> Call:
        user = call.attribution.user
        if user is None:
            return call
        return replace(call, attribution=replace(call.attribution, user=tracker.hashed_user(user)))

    return hashed


def _page(tally: Tally) -> Page:
    page = Page()
    counts = tally.counts
    known = f" added, {count(counts.duplicate)} known already"
    corrected = f", {count(counts.corrected)} corrected" if counts.corrected else ""
    page.line(Span(plural(counts.added, "event"), "strong"), f"{known}{corrected}, from {plural(tally.lines, 'line')}")
    for reason, number in tally.skipped.most_common(SHOWN):
        page.line(Span(f"{plural(number, 'line')} without a call", "dim"), f": {reason}", hang=2)
    if len(tally.skipped) > SHOWN:
        page.line(Span(f"and {len(tally.skipped) - SHOWN} more reasons", "dim"))
    if tally.bad:
        page.line(Span(f"{plural(tally.bad, 'line')} could not be read:", "bad"))
        for problem in tally.problems[:SHOWN]:
            where = f"{problem.file}:{problem.line}" if problem.line else problem.file
            page.line("  ", Span(where, "accent"), f": {problem.reason}", hang=4)
        if tally.bad > SHOWN:
            page.line(Span(f"  and {count(tally.bad - SHOWN)} more", "dim"))
    return page


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "lines": tally.lines,
        "added": tally.counts.added,
        "duplicate": tally.counts.duplicate,
        "corrected": tally.counts.corrected,
        "skipped": dict(tally.skipped.most_common()),
        "bad": tally.bad,
        "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in tally.problems],
    }


@click.command()
@click.option(
    "--out", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="The file. Default: standard output."
)
@filter_options
@shared_options
@pass_app
def export(app: App, out: TextIO, since: datetime | None, until: datetime | None, where: tuple[str, ...]) -> None:
    """Write events as lines that can be imported.

    One JSON object a line, as docs/event-lines.md describes; corrections follow their events. Imported into another
    ledger they give the same calls; costs are worked out anew there.
    """
    chosen = as_filter(since, until, where)
    if out.name != "-" and app.url.endswith(out.name):
        raise InputError(f"--out {out.name}: is the ledger itself")
    with app.store() as store:
        for line in export_lines(store, chosen):
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
