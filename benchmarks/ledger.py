"""The ledger: a durable append against a bare insert of the same row; lots of events; threads and processes at once."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import apsw

from benchmarks._measure import claim
from farthing.event import Attribution, Event, new_id, now_us
from farthing.ledger import Question, open_ledger
from farthing.ledger.migrate import scripts
from farthing.ledger.rows import COLUMNS, prepare
from farthing.usage import Usage

RECORD = '{"provider":"anthropic","model":"claude-sonnet-4","input":"3","output":"15","per":1000000}'
START_US = 1_780_000_000_000_000


def event(number: int) -> Event:
    """An ordinary call: two totals and a subset, six attributes, a response id."""
    return Event(
        id=new_id(),
        at_us=START_US + number * 997_000,
        recorded_at_us=now_us(),
        attribution=Attribution(
            team="search",
            agent=f"agent-{number % 7}",
            user=f"u{number % 101}",
            session=f"s{number // 50}",
            trace=f"t{number // 9}",
        ),
        provider="anthropic",
        model="claude-sonnet-4",
        usage=Usage(input_tokens=1500 + number % 900, cache_read_tokens=1200, output_tokens=350),
        cost_pico=6_510_000_000,
        price_status="priced",
        price_hash="6f1c0a4be29d",
        response_id=f"msg_{number:024d}",
        dedupe_key=f"anthropic:msg_{hash(number * 7919) & 0xFFFFFFFFFF:024d}",
    )


def _bare(path: Path) -> Callable[[tuple[Any, ...]], object]:
    """A plain insert of the same row into the same table with the same settings, and nothing else."""
    connection = apsw.Connection(str(path))
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000").fetchall()
    connection.wal_autocheckpoint(0)
    cursor.execute("".join(scripts())).fetchall()
    listed = ", ".join(f'"{name}"' for name in COLUMNS)
    sql = f"INSERT INTO events ({listed}) VALUES ({', '.join('?' * len(COLUMNS))})"
    return lambda row: cursor.execute(sql, row)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def append(folder: Path, times: int = 20_000) -> bool:
    """Whether the claim holds: append() against a bare insert, in turn, so that both see the same disk and noise."""
    insert = _bare(folder / "bare.db")
    ours: list[float] = []
    bare: list[float] = []
    with open_ledger(folder / "append.db") as store:
        for number in range(times):
            one = event(number)
            row = prepare(one, None).row
            bare.append(_timed(partial(insert, row)))
            ours.append(_timed(partial(store.append, one, RECORD)))
        assert store.totals()[0].totals.calls == times
    a, b = (statistics.quantiles(values, n=100)[49] * 1e6 for values in (ours, bare))
    p99, p999 = (sorted(ours)[-len(ours) // part] * 1e6 for part in (100, 1000))
    detail = f"{a:.1f} against {b:.1f} µs; p99 {p99:.0f} µs, p99.9 {p999:.0f} µs"
    return claim("append(), durable, against a bare insert of the same row, p50", a / b, at_most=3, detail=detail)


def append_many(folder: Path, times: int = 200_000) -> None:
    """Rows a second of one process, events made beforehand; then the same again, all known."""
    made = [(event(number), RECORD) for number in range(times)]
    with open_ledger(folder / "many.db") as store:
        for name in ("append_many", "append_many of known events"):
            seconds = _timed(lambda: store.append_many(iter(made)))
            wal = store.health().wal_bytes
            print(f"   {name}: {times / seconds:,.0f} a second; WAL {wal / 2**20:.0f} MB")
        assert store.totals()[0].totals.calls == times
        for by in ((), ("agent",), ("day",), ("metadata.x",), ("price_status",)):
            seconds = _timed(partial(store.totals, Question(by=by)))
            print(f"totals by {by or 'all'}: {seconds * 1000:.0f} ms over {times:,} rows")
        seconds = _timed(lambda: sum(1 for _ in store.events()))
        print(f"events(): {times / seconds:,.0f} a second")


def _record(path: Path, first: int, times: int) -> None:
    with open_ledger(path) as store:
        for number in range(first, first + times):
            store.append(event(number), RECORD)


def threads(folder: Path, count: int = 8, times: int = 3000) -> None:
    """Threads that share one store."""
    with open_ledger(folder / "threads.db") as store:

        def work(made: list[Event]) -> None:
            for one in made:
                store.append(one, RECORD)

        lots = [[event(n * times + i) for i in range(times)] for n in range(count)]
        workers = [threading.Thread(target=work, args=(made,)) for made in lots]
        seconds = _timed(lambda: _run(workers))
        assert store.totals()[0].totals.calls == count * times
        print(f"   {count} threads: {count * times / seconds:,.0f} appends a second, nothing lost")


def processes(folder: Path, count: int = 4, times: int = 5000) -> None:
    """Processes that share one file."""
    path = folder / "processes.db"
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_record, args=(path, n * times, times)) for n in range(count)]
    seconds = _timed(lambda: _run(workers))
    with open_ledger(path) as store:
        assert store.totals()[0].totals.calls == count * times
        print(f"   {count} processes: {count * times / seconds:,.0f} appends a second, nothing lost")


def _run(workers: Sequence[BaseProcess | threading.Thread]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def folders() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> bool:
    """Whether every claim holds; the other figures are printed beside, and nothing may be lost in any."""
    held = True
    for bench in (append, append_many, threads, processes):
        for folder in folders():
            held = bench(folder) is not False and held
    return held


if __name__ == "__main__":
    sys.exit(not main())
