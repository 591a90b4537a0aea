"""`farthing compact`, `forget`, `expire`, `backup`, `restore`: what is done to a ledger as a whole."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from farthing.cli.frame import App, Moment, pass_app, shared_options
from farthing.event import from_us, to_us
from farthing.ledger.backup import restore as restored
from farthing.ledger.open import open_ledger, place_of
from farthing.reports.blocks import Page, Span
from farthing.reports.text import count, money, plural
from farthing.tracker import CostTracker


@click.command()
@click.option("--all", "everything", is_flag=True, help="Seal all but the newest event, and merge all that is small.")
@shared_options
@pass_app
def compact(app: App, everything: bool) -> None:
    """Seal older events into Parquet files now.

    This happens by itself while events are recorded. The files stand beside the ledger, in <ledger>.segments, for any
    tool that reads Parquet.
    """
    with app.store() as store:
        done = store.compact(keep_rows=1, all_small=True) if everything else store.compact()
    page = Page()
    page.line(Span(f"{plural(done.sealed, 'event')} sealed", "strong"), f", {plural(done.replaced, 'file')} merged")
    page.line(f"{plural(done.segments, 'segment')} of {count(done.bytes)} bytes")
    app.show(page, asdict(done))


@click.command()
@click.option("--user", required=True, help="The user to forget, as recorded.")
@click.option("--org", help="In this organisation only.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
@pass_app
def forget(app: App, user: str, org: str | None, yes: bool) -> None:
    """Remove a person's name from the ledger; sums stay.

    A label without meaning takes its place: as user, as a metadata value, in accounts and holds. Where users are
    hashed, their hash goes too. It cannot be undone. Backups still hold the name.
    """
    if not yes:
        click.confirm(f"Forget the user {user!r} in {app.url} for good?", abort=True)
    hashed = CostTracker(":memory:").hashed_user(user) if app.settings.hash_users else None
    names = [user] if hashed is None else [user, hashed]
    with app.store() as store:
        done = store.forget(*names, org=org)
    page = Page()
    if done.events or done.others:
        others = plural(done.others, "other entry", "other entries")
        page.line(Span(f"{plural(done.events, 'event')} changed", "strong"), f", now of {done.label}")
        page.line(f"{plural(done.segments, 'segment')} rewritten, {others} changed")
    else:
        page.line(Span("nothing to forget", "strong"), f": this ledger has no user {user!r}")
    app.show(page, asdict(done))


@click.command()
@click.option("--before", required=True, type=Moment(), help="Events dispatched before this go: 2025-01-01, 400d, ...")
@click.option("--org", help="Of this organisation only.")
@click.option("--dry-run", is_flag=True, help="Only say what would be lost.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
@pass_app
def expire(app: App, before: datetime, org: str | None, dry_run: bool, yes: bool) -> None:
    """Remove events older than a moment, for good.

    Their costs leave every report; windows of budgets keep what they have posted. Importing the same logs again does
    not bring them back.
    """
    with app.store() as store:
        lost = store.expire(to_us(before), org=org, dry_run=True)
        if not dry_run and lost.events:
            if not yes:
                click.confirm(
                    f"Remove {plural(lost.events, 'event')} that cost {money(lost.cost_pico)} for good?", abort=True
                )
            lost = store.expire(to_us(before), org=org)
    page = Page()
    said = "would go" if dry_run else "gone"
    page.line(Span(f"{plural(lost.events, 'event')} {said}", "strong"), f", which cost {money(lost.cost_pico)}")
    if lost.first_us is not None and lost.last_us is not None:
        page.line(f"from {from_us(lost.first_us):%Y-%m-%d %H:%M} to {from_us(lost.last_us):%Y-%m-%d %H:%M} UTC")
    app.show(page, asdict(lost))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@shared_options
@pass_app
def backup(app: App, folder: Path) -> None:
    """Copy the ledger as it is now into a new folder.

    Recording goes on meanwhile. Do not copy the ledger's file by other means while it is in use.
    """
    with app.store() as store:
        done = store.backup(folder)
    page = Page()
    page.line(Span(f"{plural(done.events, 'event')} saved", "strong"), f" in {done.folder}, {count(done.bytes)} bytes")
    app.show(page, asdict(done))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@shared_options
@pass_app
def restore(app: App, folder: Path) -> None:
    """Make the ledger from a backup.

    The ledger (--ledger) must not be there yet. Each file is checked against what was saved before anything is made.
    """
    done = restored(folder, place_of(app.url))
    with open_ledger(app.url) as store:
        events = store.health().events
    page = Page()
    page.line(Span(f"{plural(events, 'event')} restored", "strong"), f" to {app.url}")
    app.show(page, asdict(done))
