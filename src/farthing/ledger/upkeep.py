"""What is done to a ledger by hand: compact it, forget a person, keep only so much of the past."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from farthing.ledger.engine import Database
from farthing.ledger.merge import merge
from farthing.ledger.seal import KEPT_ROWS, Step, no_step, seal
from farthing.ledger.segments import GRACE_S, folder_of, look, nothing, sweep, upkeep

WAIT_S = 60.0
"""How long another process that seals is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What compacting did. Bytes are those of all segments, before and after."""

    sealed: int
    replaced: int
    removed: int
    segments: int
    bytes: int


@contextmanager
def own(path: str, *, wait_s: float = WAIT_S) -> Iterator[Database]:
    """A connection of its own and the right to change what is sealed. LedgerBusy where another keeps that right."""
    with upkeep(path, wait_s=wait_s):
        database = Database(path)
        try:
            yield database
        finally:
            database.close()


def compact(
    path: str, *, keep_rows: int = KEPT_ROWS, grace_s: float = GRACE_S, all_small: bool = False, step: Step = no_step
) -> Compacted:
    """Seal what is older than the newest `keep_rows`, merge small files, remove those that nobody reads any more."""
    with own(path) as database:
        sealed = seal(database, keep_rows=keep_rows, step=step)
        replaced = merge(database, step=step, all_small=all_small)
        removed = sweep(database, folder_of(path), grace_s=grace_s)
        now = look(database.rows, nothing(path))
    return Compacted(
        sealed=sealed,
        replaced=replaced,
        removed=removed,
        segments=len(now.segments),
        bytes=sum(segment.bytes for segment in now.segments),
    )
