"""A ledger of millions of events for the benchmarks: generated days, multiplied, and written as segments directly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from farthing.capture.logs.jsonl import read_json
from farthing.capture.logs.values import Read
from farthing.event import to_us
from farthing.ledger import duck, keys, open_ledger
from farthing.ledger.engine import Database
from farthing.ledger.keys import DAY_US
from farthing.ledger.merge import merge
from farthing.ledger.seal import key_sql, write_segment
from farthing.ledger.segments import enlist, folder_of, look, new_name, nothing, publish, retire, unlisted, upkeep
from farthing.ledger.upkeep import compact
from farthing.pricing.catalog import Catalog
from farthing.recording import Call, price_call
from farthing.sample import SamplePlan, sample_lines

DAYS = 90
SEED_EVENTS = 50_000
_HASH = "md5(e.id || '-' || k)"
_AT = "e.at_us + k * 1009"
_ID = (
    f"format('{{:012x}}', ({_AT}) // 1000)[1:8] || '-' || format('{{:012x}}', ({_AT}) // 1000)[9:12] || '-7'"
    f" || {_HASH}[1:3] || '-8' || {_HASH}[4:6] || '-' || {_HASH}[7:18]"
)
_METADATA = (
    "'{\"region\":\"' || ['eu', 'us', 'ap'][1 + (hash(e.id) % 3)::INTEGER] || '\",\"tier\":\"' ||"
    " ['gold', 'silver', 'free'][1 + (hash(e.id || 'x') % 3)::INTEGER] || '\"}'"
)


def make(path: str, events: int, end: datetime) -> int:
    """A ledger of about so many events of the 90 days before `end`: how many there are.

    200 agents, 50 models, 10,000 users. Each generated event stands for several, with ids, keys, traces and moments of
    their own and costs that differ by a few picodollars; so files are as large as those of different events.
    """
    plan = SamplePlan(end=end, days=DAYS, events=min(events, SEED_EVENTS), agents=200, models=50, users=10_000)
    catalog = Catalog.default()
    with open_ledger(path) as store:
        lines = sample_lines(plan)
        while lot := list(islice(lines, 5_000)):
            store.append_many(price_call(catalog, call) for line in lot for call in _calls_in(line))
    compact(path, keep_rows=1, grace_s=0.0)
    times = max(1, round(events / plan.events)) if plan.events else 1
    with upkeep(path):
        database = Database(path)
        try:
            _multiply(database, times)
            merge(database)
            return sum(segment.rows for segment in look(database.rows, nothing(path)).segments)
        finally:
            database.close()


def _calls_in(line: str) -> tuple[Call, ...]:
    found = read_json(line, source="bench")
    assert isinstance(found, Read), found
    return found.calls


def _multiply(database: Database, times: int) -> None:
    sealed = look(database.rows, nothing(database.path))
    folder = folder_of(database.path)
    days = sorted({day for s in sealed.segments for day in range(s.first_us // DAY_US, s.last_us // DAY_US + 1)})
    for start in range(0, len(days), 15):
        part = days[start : start + 15]
        segments = []
        for day in part:
            old = [s for s in sealed.segments if s.first_us // DAY_US <= day <= s.last_us // DAY_US]
            files = ", ".join(duck.quoted(sealed.path(s)) for s in old)
            rows = (
                f"SELECT e.* REPLACE (e.seq * {times} + k AS seq, {_AT} AS at_us, {_ID} AS id,"
                f" e.dedupe_key || '-' || k AS dedupe_key, e.response_id || '-' || k AS response_id,"
                f" e.trace || '-' || k AS trace, e.session || '-' || k AS session, e.cost_pico + k AS cost_pico,"
                f" {_METADATA} AS metadata) FROM read_parquet([{files}]) e CROSS JOIN range({times}) t(k)"
                f" WHERE e.at_us // {DAY_US} = {day}"
            )
            with duck.query() as query:
                segment = write_segment(query, folder, rows, "default")
            publish(folder, segment.file)
            segments.append(segment)
        listed = ", ".join(duck.quoted(str(folder / segment.file)) for segment in segments)
        name = new_name("keys")
        with duck.query() as query:
            source = f"(SELECT *, date - DATE '1970-01-01' AS day FROM read_parquet([{listed}]))"
            count = keys.write(unlisted(folder, name), query, key_sql(source))
        publish(folder, name)
        with database.transaction():
            enlist(database, segments, [(name, count, max(segment.last_id for segment in segments))])
    with database.transaction():
        retire(database, [segment.file for segment in sealed.segments])


def end_of_yesterday() -> datetime:
    """A moment that many runs share."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)


def since(end: datetime, days: int) -> int:
    """So many days before, microseconds."""
    return to_us(end - timedelta(days=days))


def size(path: str) -> int:
    """Bytes of all files of a ledger that are listed, and of its database."""
    database = Database(path)
    try:
        files: list[str] = [
            row[0] for row in database.rows("SELECT file FROM segments UNION ALL SELECT file FROM key_runs")
        ]
    finally:
        database.close()
    folder = folder_of(path)
    return Path(path).stat().st_size + sum((folder / file).stat().st_size for file in files)
