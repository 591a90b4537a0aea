"""`farthing explain` and `farthing verify`: why an event costs what it costs, and that all of them do."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from farthing.cli.frame import App, as_filter, filter_options, pass_app, shared_options
from farthing.errors import InputError
from farthing.event import Event
from farthing.ledger.store import Store
from farthing.reports import render
from farthing.reports.budget_values import audit_json
from farthing.reports.budgets import audit_lines
from farthing.reports.evidence import verify as verified
from farthing.reports.explain import explain_page, explained, explained_json, verdict_json, verdict_page
from farthing.reports.text import count


@click.command()
@click.argument("event")
@shared_options
@pass_app
def explain(app: App, event: str) -> None:
    """Why an event costs what it costs, line by line.

    EVENT is its id, the beginning of it, the provider's response id, or `last`.
    """
    with app.store() as store:
        found = explained(store, _the_one(store, event))
    app.show(explain_page(found), explained_json(found))


def _the_one(store: Store, wanted: str) -> Event:
    """The event meant; none or several: InputError that names what there is."""
    if wanted == "last":
        last = next(iter(store.events(order="-time", limit=1)), None)
        if last is None:
            raise InputError("the ledger is empty: there is no last event")
        return last
    if (exact := store.get(wanted)) is not None:
        return exact
    found = store.find(wanted)
    if not found:
        found = list(store.events(as_filter(None, None, (f"response_id={wanted}",)), limit=2))
    if not found:
        raise InputError(f"no event {wanted!r}; `farthing export` lists them, `farthing explain last` is the newest")
    originals = {event.corrects or event.id for event in found}
    if len(originals) > 1:
        listed = ", ".join(event.id for event in found[:4])
        more = ", ..." if len(found) > 4 else ""
        raise InputError(f"{wanted!r} begins {len(originals)} ids: {listed}{more}; write more of it")
    return found[0]


@click.command()
@filter_options
@shared_options
@pass_app
def verify(app: App, since: datetime | None, until: datetime | None, where: tuple[str, ...]) -> None:
    """Recompute every cost from its kept price record.

    Also adds up the events and compares with the sums that reports show, and proves that the accounts of budgets are
    what their entries, their holds and the events say. Exit code 1 where anything differs.
    """
    chosen = as_filter(since, until, where)
    with app.store() as store, render.progress("verifying", store.health().events, sys.stderr) as move:
        found = verified(store, chosen, lambda done: move(done, f"{count(done)} events"))
        audit = store.accounts.audit()
    page = verdict_page(found)
    if audit.accounts or audit.mismatches:
        page.line()
        audit_lines(page, audit)
    app.show(page, verdict_json(found) | audit_json(audit))
    if not found.holds or not audit.holds_true:
        sys.exit(1)
