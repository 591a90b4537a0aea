"""Sealing: older rows leave the table for Parquet files of one organisation and day each.

A file is written, brought to disk and given its name; then one transaction lists it and deletes its rows. Killed before
that, the rows are where they were and the file is nobody's; after it, they are in the file alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

from farthing.errors import LedgerError
from farthing.ledger import duck, keys
from farthing.ledger.engine import Database
from farthing.ledger.hot import DERIVED, EVERY, batch, select
from farthing.ledger.keys import DAY_US
from farthing.ledger.rows import COLUMNS
from farthing.ledger.segments import Segment, door_open, enlist, folder_of, new_name, publish, unlisted

BATCH_ROWS = 100_000
"""Rows that are sealed at once: what memory is needed for."""
FILE_ROWS = 20_000
"""Rows of one file at first: what one transaction deletes, while other writers wait. Merging makes greater ones."""
KEPT_ROWS = 1_000
"""The newest rows stay: corrections come soon after their event, and the number of the last row must never go back."""
_PAGE_ROWS = 1_000
_INT64 = 2**63

Step = Callable[[str], None]


def no_step(_step: str) -> None:
    """What is called between the steps where nobody wants to know."""


_OURS = "length({0}) = 36 AND substr({0}, 15, 1) = '7'"
COPY = "(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, ROW_GROUP_SIZE 122880)"

SEGMENT_COLUMNS = ", ".join(
    [
        "seq",
        "DATE '1970-01-01' + day::INTEGER AS date",
        *("nullif(dedupe_key, id) AS dedupe_key" if c == "dedupe_key" else f'"{c}"' for c in COLUMNS),
        *(name for name in DERIVED if name != "day"),
    ]
)
LAYOUT = md5(SEGMENT_COLUMNS.encode(), usedforsecurity=False).hexdigest()[:12]
"""Which columns this code writes: files of another layout are read by the names of their columns."""


def seal(database: Database, *, keep_rows: int = KEPT_ROWS, step: Step = no_step) -> int:
    """How many rows were sealed. Under `segments.upkeep`; `database` is a connection of its own.

    keep_rows  the newest so many, by their numbers, stay (at least one)
    """
    folder = folder_of(database.path)
    sealed = 0
    while True:
        table, count = _take(database, max(keep_rows, 1), step)
        if not count:
            return sealed
        with duck.query() as query:
            query.show("taken", table)
            step("taken")
            runs = [_keep_keys(query, folder, step)]
            for org, day in query.rows("SELECT org, day FROM taken GROUP BY ALL ORDER BY min(seq)"):
                for low, high in _lots(query, org, day):
                    sealed += _seal_part(database, query, (org, day, low, high), runs, step)
                    runs = []
        if count < BATCH_ROWS:
            return sealed


def _take(database: Database, keep_rows: int, step: Step) -> tuple[Any, int]:
    """The oldest rows that may go, as an Arrow table, and how many; (None, 0) where there are none.

    They are all rows up to a number: whoever deletes them by their numbers deletes these and no others.
    """
    newest = database.rows("SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?", (keep_rows,))
    if not newest:
        return None, 0
    batches = []
    count, after = 0, -1
    while count < BATCH_ROWS:
        page = database.rows(
            select(EVERY) + f" WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT {_PAGE_ROWS}", (after, newest[0][0])
        )
        if not page:
            break
        batches.append(batch(EVERY, page))
        count, after = count + len(page), page[-1][0]
        step("page taken")
        if len(page) < _PAGE_ROWS:
            break
    return (duck.table(batches), count) if batches else (None, 0)


def _keep_keys(query: duck.Query, folder: Path, step: Step) -> tuple[str, int, str]:
    """The file of the keys of what is taken, to be listed with the first part of it that goes, and never without one.

    A key whose event is still in the table does no harm.
    """
    name = new_name("keys")
    rows = keys.write(unlisted(folder, name), query, key_sql("taken"))
    last_id = max(
        query.rows(f"SELECT coalesce(max({key}), '') FROM taken WHERE {_OURS.format(key)}")[0][0]
        for key in ("id", "dedupe_key")
    )
    step("keys written")
    publish(folder, name)
    step("keys named")
    return name, rows, last_id


def key_sql(source: str) -> str:
    """The SELECT of (digest, word) of all ids and dedupe keys in rows that have a `day`, in the order of digests."""
    return (
        f"SELECT {keys.DIGEST_SQL.format('id')} AS digest, ({keys.WORD_SQL})::UBIGINT AS word FROM {source}"
        f" UNION ALL SELECT {keys.DIGEST_SQL.format('dedupe_key')}, ({keys.WORD_SQL})::UBIGINT FROM {source}"
        " WHERE dedupe_key IS NOT NULL AND dedupe_key <> id ORDER BY 1"
    )


def _lots(query: duck.Query, org: str, day: int) -> Iterator[tuple[int, int]]:
    """First and last number of the rows of each file."""
    found = [row[0] for row in query.rows("SELECT seq FROM taken WHERE org = ? AND day = ? ORDER BY seq", (org, day))]
    for start in range(0, len(found), FILE_ROWS):
        lot = found[start : start + FILE_ROWS]
        yield lot[0], lot[-1]


def _seal_part(
    database: Database,
    query: duck.Query,
    part: tuple[str, int, int, int],
    runs: Sequence[tuple[str, int, str]],
    step: Step,
) -> int:
    org, day, low, high = part
    folder = folder_of(database.path)
    where = f"WHERE org = {duck.quoted(org)} AND day = {day} AND seq BETWEEN {low} AND {high}"
    segment = write_segment(query, folder, f"SELECT {SEGMENT_COLUMNS} FROM taken {where}", org, step)
    same(query, folder, [segment], f"SELECT * FROM taken {where}")
    publish(folder, segment.file)
    step("segment named")
    with database.transaction():
        step("segment in transaction")
        enlist(database, [segment], runs)
        with door_open(database):
            database.execute(
                "DELETE FROM events WHERE seq BETWEEN ? AND ? AND org = ? AND at_us BETWEEN ? AND ?",
                (low, high, org, max(day * DAY_US, -_INT64), min(day * DAY_US + DAY_US - 1, _INT64 - 1)),
            )
            if database.changes() != segment.rows:
                raise LedgerError(
                    f"sealing found {database.changes()} rows where {segment.rows} had been read: nothing was sealed"
                )
    step("segment listed")
    return segment.rows


def write_segment(query: duck.Query, folder: Path, sql: str, org: str, step: Step = no_step) -> Segment:
    """A new file of the rows of `sql`, not yet named or listed."""
    name = new_name("parquet")
    path = unlisted(folder, name)
    query.execute(f"COPY ({sql} ORDER BY at_us, seq) TO {duck.quoted(str(path))} {COPY}")
    os.chmod(path, 0o600)
    step("segment written")
    ((count, first_us, last_us, first_seq, last_seq, first_id, last_id, corrections, kinds),) = query.rows(
        "SELECT count(*), min(at_us), max(at_us), min(seq), max(seq), min(id), max(id), count(corrects),"
        f" count(DISTINCT metadata) FROM read_parquet({duck.quoted(str(path))})"
    )
    return Segment(
        file=name,
        org=org,
        rows=count,
        bytes=path.stat().st_size,
        first_us=first_us,
        last_us=last_us,
        first_seq=first_seq,
        last_seq=last_seq,
        first_id=first_id,
        last_id=last_id,
        corrections=corrections,
        metadata_kinds=kinds,
        columns=LAYOUT,
    )


_CHECKED = "count(*), sum(cost_pico), sum(input_tokens), sum(output_tokens), sum(calls), sum(seq), bit_xor(hash(id))"


def same(query: duck.Query, folder: Path, segments: list[Segment], sql: str) -> None:
    """LedgerError where the unlisted files do not hold exactly the rows of `sql`."""
    files = ", ".join(duck.quoted(str(unlisted(folder, segment.file))) for segment in segments)
    written = query.rows(f"SELECT {_CHECKED} FROM read_parquet([{files}])")
    given = query.rows(f"SELECT {_CHECKED} FROM ({sql})")
    if written != given:
        raise LedgerError(
            f"a segment was not written as it should be ({written} instead of {given}): nothing was changed"
        )
