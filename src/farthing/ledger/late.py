"""Settlements that come after their hold's end, and the event that stands for a call until then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from farthing.event import Event, new_id
from farthing.ledger.engine import Database
from farthing.ledger.rows import Prepared, prepare
from farthing.ledger.store import Outcome
from farthing.ledger.writer import Writer
from farthing.usage import Usage


def estimate_key(key: str) -> str:
    """The dedupe key of the event that stands for a call whose end was not heard of."""
    return f"hold:{key}"


def settled_late(
    database: Database, writer: Writer, entries: Sequence[Prepared], key: str, news: list[Prepared], *, expired: bool
) -> list[Outcome]:
    """What became of the events of a hold that is over.

    Where its call was posted as estimated, the first is put in the place of the estimate, be it less or an estimate
    itself, and the call is known by its key from then on. Where the call is in the ledger by that key already, the
    estimate comes to nothing. Heard of before, it is one more observation.
    """
    named = estimate_key(key)
    estimate = writer.known_by(database, named, entries[0].event.attribution.org) if entries else None
    if estimate is None:
        return writer.insert(database, entries, news)
    first, record = entries[0].event, entries[0].price_record
    fresh = first.dedupe_key in (named, first.id)
    other = None if fresh else writer.known_by(database, first.dedupe_key, first.attribution.org)
    if other is not None and other.corrects != estimate.id:
        if expired:
            writer.put_right(database, estimate, prepare(_nothing(estimate), None), news, -estimate.calls)
        return writer.insert(database, entries, news)
    if not expired:
        return writer.insert(database, [prepare(replace(first, dedupe_key=named), record), *entries[1:]], news)
    seen = replace(first, dedupe_key=first.id) if fresh else first
    writer.put_right(database, estimate, prepare(seen, record), news)
    return ["corrected", *writer.insert(database, entries[1:], news)]


def _nothing(estimate: Event) -> Event:
    """What an estimate comes to whose call is known otherwise."""
    identity = new_id()
    return replace(
        estimate,
        id=identity,
        dedupe_key=identity,
        usage=Usage(),
        usage_status="reported",
        cost_pico=0,
        price_status="free",
    )
