"""`farthing import other.db`: the events of another ledger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from farthing.cli.frame import App, pass_app, shared_options
from farthing.ledger.absorb import absorb
from farthing.ledger.store import Counts
from farthing.reports.blocks import Page, Span
from farthing.reports.text import count, plural


def ledger_command() -> click.Command:
    """`farthing import` of ledgers."""

    @click.command("import", help=_HELP)
    @click.argument("ledgers", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @shared_options
    @pass_app
    def command(app: App, ledgers: tuple[Path, ...]) -> None:
        page = Page()
        said = {}
        with app.store(may_be_new=True) as store:
            for ledger in ledgers:
                counts = absorb(store, ledger)
                said[str(ledger)] = asdict(counts)
                _tell(page, counts, ledger)
        app.show(page, said)

    return command


_HELP = """Add the events of other ledgers, of this machine or another.

What is known already is not added again. Budgets stay where they are.
"""


def _tell(page: Page, counts: Counts, ledger: Path) -> None:
    corrected = f", {count(counts.corrected)} corrected" if counts.corrected else ""
    known = f" added, {count(counts.duplicate)} known already"
    page.line(Span(plural(counts.added, "event"), "strong"), f"{known}{corrected}, from {ledger}")
