"""Taking in another ledger: what it knows and this one does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from farthing.errors import InputError, LedgerError
from farthing.event import Event
from farthing.ledger.corrections import newest
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.store import Counts, Entry, Store

_MAGIC = b"SQLite format 3\x00"


def is_ledger(path: str | Path) -> bool:
    """Whether a file is a database, and so may be a ledger."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def absorb(store: Store, other: str | Path) -> Counts:
    """Add the events of another ledger. Doing it again adds nothing. Its budgets stay where they are.

    A correction goes along as it is where this ledger knows the same of the call; else its state is taken as one more
    observation.
    """
    if store.url == f"sqlite:///{Path(other).absolute()}":
        raise InputError(f"{other} is the ledger itself: name another one")
    with SqliteStore(other) as source:
        made: list[Event] = []
        counts = store.append_many(_originals(source, made))
        for correction in made:
            counts += _correct(store, source, correction)
    return counts


def _originals(source: Store, made: list[Event]) -> Iterator[Entry]:
    """Events with their price records, each record once; corrections are put into `made` instead."""
    told: set[str] = set()
    for event in source.events(order="recorded"):
        if event.corrects is not None:
            made.append(event)
            continue
        yield event, _record(source, event, told)


def _record(source: Store, event: Event, told: set[str]) -> str | None:
    if event.price_hash is None or event.price_hash in told:
        return None
    told.add(event.price_hash)
    return source.price_record(event.price_hash)


def _correct(store: Store, source: Store, correction: Event) -> Counts:
    record = _record(source, correction, set())
    org = correction.attribution.org
    assert correction.corrects is not None
    if store.get(correction.corrects, org) is not None:  # else the call is known here by its key, under another id
        with contextlib.suppress(LedgerError):
            return store.append_many([(correction, record)])
    original, *corrections = source.history(correction.id, org)
    upto = [one for one in corrections if one.recorded_at_us <= correction.recorded_at_us]
    seen = replace(newest(original, upto), recorded_at_us=correction.recorded_at_us)
    return store.append_many([(seen, record)])
