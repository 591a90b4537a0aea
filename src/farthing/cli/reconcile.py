"""`farthing reconcile`: a provider's bill beside the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from farthing.cli.frame import App, pass_app, shared_options
from farthing.ledger.open import is_there
from farthing.pricing.catalog import Catalog
from farthing.reports.bills import read_bill
from farthing.reports.reconcile import reconcile as reconciled
from farthing.reports.reconcile_page import reconcile_json, reconcile_page


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE..."
)
@click.option("--provider", help="Whose CSV it is, where its columns do not tell.")
@click.option("--org", help="Only this organization of the ledger.")
@click.option("--by-day", is_flag=True, help="Show every day and model that differs.")
@shared_options
@pass_app
def reconcile(app: App, files: tuple[Path, ...], provider: str | None, org: str | None, by_day: bool) -> None:
    """Compare a provider's bill with the ledger.

    FILE is a usage or cost export: a page of OpenAI's or Anthropic's admin API as JSON, or CSV from a console. By day
    and model: what matches, what is missing here, what is extra, and the cents between. Without a ledger it is a first
    look at a bill.
    """
    lines = [line for path in files for line in read_bill(path, provider)]
    catalog = Catalog.default()
    if not is_there(app.url):
        found = reconciled(lines, None, catalog, org)
    else:
        with app.store() as store:
            found = reconciled(lines, store, catalog, org)
    days = f"{found.first} – {found.last}, UTC" if found.first else "no days named"
    page = reconcile_page(found, f"{', '.join(path.name for path in files)}: {days}", by_day=by_day)
    app.show(page, reconcile_json(found))
