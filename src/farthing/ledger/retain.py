"""Retention: what is older than a moment leaves the ledger for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.ledger import duck
from farthing.ledger.engine import Database
from farthing.ledger.seal import Step, no_step, same, seal, write_segment
from farthing.ledger.segments import GRACE_S, Sealed, Segment, enlist, folder_of, look, nothing, publish, retire, sweep
from farthing.ledger.upkeep import own


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What goes, or went: events, what they had cost (picodollars), and from when to when (microseconds, UTC)."""

    events: int
    cost_pico: int
    first_us: int | None
    last_us: int | None


def expire(
    path: str, before_us: int, *, org: str | None = None, dry_run: bool = False, step: Step = no_step
) -> Expired:
    """Remove events dispatched before a moment, in all organisations or one: what was lost. dry_run: what would be.

    Their keys stay known, so that importing the same logs again does not bring them back; sums of the time that is gone
    are gone, and a new budget over it starts from what is left. What windows have posted stays; those that began before
    that moment are proved by their entries alone.
    """
    with own(path) as database:
        if not dry_run:
            seal(database, keep_rows=1, step=step)
        known = look(database.rows, nothing(path))
        old = known.of(org=org, until_us=before_us)
        lost = _lost(database, known, old, before_us, org, hot=dry_run)
        if not dry_run:
            with database.transaction():
                database.execute(_SAY, (before_us,))
            for segment in old:
                _shorten(database, known, segment, before_us, step)
            sweep(database, folder_of(path), grace_s=GRACE_S)
    return lost


EXPIRED_BEFORE = "SELECT coalesce(max(CAST(value AS INTEGER)), -1 << 62) FROM ledger_meta WHERE key = 'expired'"
"""The moment before which events may have been removed, in microseconds."""
_SAY = (
    "INSERT INTO ledger_meta (key, value) VALUES ('expired', ?1)"
    " ON CONFLICT (key) DO UPDATE SET value = max(CAST(value AS INTEGER), ?1)"
)


def _lost(
    database: Database, sealed: Sealed, old: Sequence[Segment], before_us: int, org: str | None, *, hot: bool
) -> Expired:
    events, cost = 0, 0
    ends: list[int] = []
    if old:
        files = ", ".join(duck.quoted(sealed.path(segment)) for segment in old)
        with duck.query() as query:
            ((events, pico, first, last),) = query.rows(
                f"SELECT count(*), sum(cost_pico), min(at_us), max(at_us) FROM read_parquet([{files}],"
                f" union_by_name = true) WHERE at_us < {int(before_us)}"
            )
        cost = int(pico or 0)
        ends += [end for end in (first, last) if end is not None]
    if hot:
        of_org, values = (" AND org = ?", [org]) if org is not None else ("", [])
        found = database.rows(
            "SELECT count(*), sum(cost_pico / 1000000), sum(cost_pico % 1000000), min(at_us), max(at_us) FROM events"
            f" WHERE at_us < ?{of_org} AND seq < (SELECT max(seq) FROM events)",
            [before_us, *values],
        )
        count, millions, rest, first, last = found[0]
        events += count
        cost += (millions or 0) * 1_000_000 + (rest or 0)
        ends += [end for end in (first, last) if end is not None]
    return Expired(events=events, cost_pico=cost, first_us=min(ends, default=None), last_us=max(ends, default=None))


def _shorten(database: Database, sealed: Sealed, segment: Segment, before_us: int, step: Step) -> None:
    """Take a segment off the list, or replace it by what of it stays."""
    stays: list[Segment] = []
    if segment.last_us >= before_us:
        rows = f"SELECT * FROM read_parquet({duck.quoted(sealed.path(segment))}) WHERE at_us >= {int(before_us)}"
        with duck.query() as query:
            stays = [write_segment(query, sealed.folder, rows, segment.org, step)]
            same(query, sealed.folder, stays, rows)
        publish(sealed.folder, stays[0].file)
    with database.transaction():
        retire(database, [segment.file])
        step("expired in transaction")
        enlist(database, stays)
    step("expired listed")
