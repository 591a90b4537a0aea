"""record(): from keywords to a durable, priced event, against a bare insert of the same row; then eight threads."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from pathlib import Path

from benchmarks._measure import claim, percentiles_us
from benchmarks.ledger import _bare as bare_insert
from farthing import CostTracker
from farthing.ledger.rows import prepare

TIMES = 10_000
THREADS = 8


def one_by_one(folder: Path) -> bool:
    """In turn, a call through the tracker and the same row through apsw alone, so that both see the same noise."""
    insert = bare_insert(folder / "bare.db")
    ours: list[int] = []
    bare: list[int] = []
    clock = time.perf_counter_ns
    with CostTracker(folder / "record.db") as tracker:
        for number in range(TIMES):
            agent = f"agent-{number % 7}"
            start = clock()
            event = tracker.record("gpt-4o", 1500 + number % 900, 350, agent, cached_tokens=1200, session="s")
            ours.append(clock() - start)
            row = prepare(event, None).row
            start = clock()
            insert(row)
            bare.append(clock() - start)
        totals = tracker.totals()
        kept = tracker.totals(model="gpt-4o")
        assert tracker.lost == tracker.faults == 0
        assert totals == kept and totals.calls == TIMES, "the run's totals and the ledger's differ"
    (p50, p99), (bare_p50, bare_p99) = percentiles_us(ours), percentiles_us(bare)
    detail = f"{p50:.1f} against {bare_p50:.1f} µs; p99 {p99:.0f} against {bare_p99:.0f} µs"
    return claim(
        "record(), durable, against a bare insert of the same row, p50", p50 / bare_p50, at_most=3, detail=detail
    )


def threads(folder: Path, times: int = 2_000) -> bool:
    """One tracker, eight threads: no fault, nothing lost, and run and ledger agree."""
    with CostTracker(folder / "threads.db") as tracker:

        def work() -> None:
            for number in range(times):
                tracker.record("gpt-4o", 1500 + number, 350, "agent")

        workers = [threading.Thread(target=work) for _ in range(THREADS)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - start
        right = tracker.totals() == tracker.totals(model="gpt-4o") and tracker.totals().calls == THREADS * times
        held = right and not tracker.lost and not tracker.faults
        rate = f"{THREADS * times / seconds:,.0f} calls a second; faults {tracker.faults}, lost {tracker.lost}"
        print(f"   {'ok  ' if held else 'MISS'} {THREADS} threads share a tracker: {rate}")
        return held


def main() -> bool:
    """Whether record() keeps within its limit and loses nothing."""
    logging.getLogger("farthing").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fast = one_by_one(folder)
        return threads(folder) and fast
