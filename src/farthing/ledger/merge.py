"""Merging: small segments of an organisation become one, and so do small runs of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from farthing.event import from_us
from farthing.ledger import duck, keys
from farthing.ledger.engine import Database
from farthing.ledger.keys import DAY_US
from farthing.ledger.seal import Step, no_step, same, write_segment
from farthing.ledger.segments import Sealed, Segment, enlist, look, new_name, nothing, publish, retire, unlisted

LARGE_ROWS = 120_000
"""Segments of so many rows stay as they are."""
MANY = 4
"""So many small ones are worth one file."""


def merge(database: Database, *, step: Step = no_step, all_small: bool = False) -> int:
    """How many files were replaced. Under `segments.upkeep`. all_small: even two are made one."""
    sealed = look(database.rows, nothing(database.path))
    replaced = 0
    for group in groups(sealed.segments, 2 if all_small else MANY):
        _merge_segments(database, sealed, group, step)
        replaced += len(group)
    return replaced + _merge_keys(database, sealed, step, all_small)


def groups(segments: Sequence[Segment], many: int) -> Iterator[list[Segment]]:
    """Which segments to make one of: small ones of one day; or of one month, while they are small together."""
    small = sorted((s for s in segments if s.rows < LARGE_ROWS), key=lambda s: (s.org, s.first_us, s.file))
    rest: list[Segment] = []
    for _, of_day in groupby(small, key=lambda s: (s.org, s.first_us // DAY_US, s.last_us // DAY_US)):
        same_day = list(of_day)
        if len(same_day) >= many and sum(s.rows for s in same_day) >= LARGE_ROWS:
            yield same_day
        else:
            rest += same_day
    for _, of_month in groupby(rest, key=lambda s: (s.org, _month(s.first_us))):
        lot: list[Segment] = []
        for segment in of_month:
            if lot and sum(s.rows for s in lot) + segment.rows > LARGE_ROWS:
                if len(lot) >= many:
                    yield lot
                lot = []
            lot.append(segment)
        if len(lot) >= many:
            yield lot


def _month(us: int) -> tuple[int, int] | int:
    try:
        at = from_us(us)
    except (OverflowError, ValueError, OSError):
        return us // (30 * DAY_US)
    return at.year, at.month


def _merge_segments(database: Database, sealed: Sealed, group: Sequence[Segment], step: Step) -> None:
    files = ", ".join(duck.quoted(sealed.path(s)) for s in group)
    rows = f"SELECT * FROM read_parquet([{files}], union_by_name = true)"
    with duck.query() as query:
        merged = write_segment(query, sealed.folder, rows, group[0].org, step)
        same(query, sealed.folder, [merged], rows)
    publish(sealed.folder, merged.file)
    step("merged named")
    with database.transaction():
        retire(database, [s.file for s in group])
        step("merged in transaction")
        enlist(database, [merged])
    step("merged listed")


def _merge_keys(database: Database, sealed: Sealed, step: Step, every: bool) -> int:
    runs = sorted(sealed.keys.runs, key=lambda run: run.rows)
    count = len(runs) if every and len(runs) > 1 else keys.too_many([run.rows for run in runs])
    if not count:
        return 0
    name = new_name("keys")
    with duck.query() as query:
        parts = []
        for number, run in enumerate(runs[:count]):
            if run.rows:
                query.show(f"run{number}", run.table())
                parts.append(f"SELECT digest, word FROM run{number}")
        sql = f"SELECT DISTINCT digest, word FROM ({' UNION ALL '.join(parts)}) ORDER BY digest"
        rows = keys.write(unlisted(sealed.folder, name), query, sql)
    step("merged keys written")
    publish(sealed.folder, name)
    with database.transaction():
        retire(database, [run.path.name for run in runs[:count]])
        step("merged keys in transaction")
        enlist(database, (), [(name, rows, max(run.last_id for run in runs[:count]))])
    step("merged keys listed")
    return count
