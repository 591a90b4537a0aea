"""`farthing import`: files in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from farthing.capture.logs.files import Source
from farthing.capture.logs.importer import Options, Tally, import_files
from farthing.cli.frame import App, key_values, pass_app, shared_options
from farthing.cli.import_logs import FilesOrAgent
from farthing.cli.tallies import defaults, hashing, tell, values
from farthing.pricing.catalog import Catalog
from farthing.reports import render
from farthing.reports.blocks import Page
from farthing.reports.text import count, plural

SEAL_ROWS = 100_000
"""An import of so many events leaves the older ones sealed: reports over a great table are slow."""


@click.command("import", cls=FilesOrAgent)
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
    The logs of coding agents: `farthing import claude-code`, `codex`, `gemini-cli` or `opencode` [PATH]...
    The history of other tools: `farthing import langfuse` or `langsmith`.
    """
    constants = {name: value for name, value in (("model", model), ("provider", provider)) if value}
    options = Options(
        kind=kind,
        mapping=key_values(mapping, "--map"),
        constants=constants,
        attribute=defaults(app, attributes),
        finish=hashing(app),
    )
    prices = Catalog.default()
    sizes = [Path(name).stat().st_size for name in files if name != "-" and Path(name).is_file()]
    with app.store(may_be_new=True) as store, render.progress("importing", sum(sizes) or None, sys.stderr) as move:
        tally = import_files(files, store, prices, options=options, stdin=sys.stdin.buffer, progress=_progress(move))
    page = Page()
    tell(page, tally, f"from {plural(tally.lines, 'line')}")
    app.show(page, values(tally))
    if tally.counts.added >= SEAL_ROWS:
        _seal(app.url)
    if tally.bad:
        sys.exit(1)


def _seal(url: str) -> None:
    """Seal what was imported, in a process of its own, whose memory ends with it. Failed, it comes again."""
    seal = [sys.executable, "-m", "farthing", "--ledger", url, "compact"]
    with render.progress("sealing older events", None, sys.stderr):
        subprocess.run(seal, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _progress(move: Callable[[int, str], None]) -> Callable[[Source, Tally], None]:
    """Adds up the bytes of the files one after the other."""
    reached: dict[str, int] = {}

    def progress(source: Source, tally: Tally) -> None:
        reached[source.name] = source.done
        move(sum(reached.values()), f"{count(tally.lines)} lines")

    return progress
