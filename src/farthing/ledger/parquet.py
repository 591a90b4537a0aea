"""Events as a Parquet file for other tools, with the columns of `farthing sql`'s `events`."""

from __future__ import annotations

from pathlib import Path

from farthing.ledger import duck, views
from farthing.ledger.ask import again, relation
from farthing.ledger.hot import EVERY, Hot
from farthing.ledger.store import Filter

_FORM = "(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"


def write_parquet(hot: Hot, where: Filter, path: Path) -> int:
    """Write the events of a filter in order of time, whole or not at all; how many they are."""
    return again(lambda: _write(hot, where, path))


def _write(hot: Hot, where: Filter, path: Path) -> int:
    making = path.with_name(f".{path.name}.making")
    try:
        with relation(hot, where, (), EVERY) as asked:
            rows = f"(SELECT e.* {asked.rows})"
            sql = f"{views.events(rows)} ORDER BY e.at_us, e.seq"
            found = asked.query.rows(f"COPY ({sql}) TO {duck.quoted(str(making))} {_FORM}", asked.values)
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)
    return int(found[0][0])
