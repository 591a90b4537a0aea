"""Importing event lines: 30,000 a second, pricing and ledger included; a million in 200 MB.

As a user's import runs: on a machine of several cores with helping processes, all of whose memory is counted.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import unittest.mock
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._measure import claim
from farthing.capture.logs import helpers
from farthing.capture.logs.importer import Options, import_files
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Question
from farthing.pricing import Catalog
from farthing.sample import SamplePlan, sample_lines
from farthing.totals import Totals
from farthing.usage import Usage

LINES_A_SECOND = 30_000
MEMORY_MB = 200
TIMED, MANY = 50_000, 1_000_000
END = datetime(2026, 11, 20, 23, 59, 59, 999_999, UTC)


def main() -> bool:
    """Whether the claims hold. `FARTHING_BENCH_QUICK=1` measures memory with a tenth of the events."""
    many = MANY // 10 if os.environ.get("FARTHING_BENCH_QUICK") else MANY
    with tempfile.TemporaryDirectory() as folder:
        plain, path = Path(folder) / "plain.jsonl", Path(folder) / "timed.jsonl"
        _write_plain(plain, TIMED)
        _write(path, TIMED)
        lean, alone = _best(plain, Path(folder) / "plain")
        ours, work = _best(path, Path(folder) / "timed")
        parsing = min(_parse_s(path) for _ in range(3))
        held = claim(
            "event lines of 8 fields, against 30,000 a second", TIMED / lean / LINES_A_SECOND, at_least=1,
            detail=f"{TIMED / lean:,.0f} a second; one core alone {TIMED / alone:,.0f}",
        )  # fmt: skip
        print(
            f"        of 16 fields, as the sample's: {TIMED / ours:,.0f} a second; one core alone {TIMED / work:,.0f}"
        )
        held &= claim(
            "one core alone, beside json.loads", work / parsing, at_most=12,
            detail=f"{work / TIMED * 1e6:.1f} against {parsing / TIMED * 1e6:.1f} us a line",
        )  # fmt: skip
        held &= _memory(Path(folder), many)
    return held


def _write_plain(path: Path, events: int) -> None:
    """Lines that say when, what answered, how much, for whom, and which response it was."""
    with path.open("w") as file:
        for i in range(events):
            line = {
                "at": f"2026-11-{1 + i % 20:02d}T10:{i % 60:02d}:{i // 60 % 60:02d}Z",
                "provider": "openai",
                "model": ("gpt-4o", "gpt-4o-mini")[i % 2],
                "input_tokens": 1_000 + i % 700,
                "output_tokens": 100 + i % 50,
                "agent": f"agent-{i % 20}",
                "user": f"u{i % 300}",
                "response_id": f"chatcmpl-{i:024d}",
            }
            file.write(json.dumps(line) + "\n")


def _write(path: Path, events: int) -> None:
    plan = SamplePlan(end=END, days=30, events=events, agents=50, models=40, users=1_000)
    with path.open("w") as file:
        file.writelines(sample_lines(plan))


def _best(path: Path, ledgers: Path) -> tuple[float, float]:
    """Seconds of an import with all cores, and of processor time where it is alone: the best of three each."""
    shared = min(_import_s(path, ledgers.with_suffix(f".shared{i}.db"))[0] for i in range(3))
    with unittest.mock.patch.object(helpers, "useful", return_value=1):
        return shared, min(_import_s(path, ledgers.with_suffix(f".alone{i}.db"))[1] for i in range(3))


def _import_s(path: Path, ledger: Path) -> tuple[float, float]:
    """Seconds by the clock, and of this process, for an import into a new ledger; its sums are checked."""
    catalog = Catalog.default()
    catalog.price("gpt-4o", Usage(input_tokens=1))
    logging.getLogger("farthing").setLevel(logging.ERROR)
    with open_ledger(ledger) as store:
        started, worked = time.perf_counter(), time.process_time()
        tally = import_files(
            [str(path)], store, catalog, options=Options(), stdin=sys.stdin.buffer, progress=lambda source, tally: None
        )
        took = time.perf_counter() - started, time.process_time() - worked
        assert (tally.counts.added, tally.bad) == (TIMED, 0), tally
        by_model = sum((row.totals for row in store.totals(Question(by=("model",)))), Totals())
        (everything,) = store.totals(Question())
        assert by_model == everything.totals and everything.totals.cost_pico > 0
    return took


def _parse_s(path: Path) -> float:
    with path.open("rb") as lines:
        started = time.process_time()
        for line in lines:
            json.loads(line)
        return time.process_time() - started


def _memory(folder: Path, events: int) -> bool:
    """The most that the import and its helpers hold together; pages that they share count once."""
    path = folder / "many.jsonl"
    _write(path, events)
    command = [sys.executable, "-m", "farthing", "--ledger", str(folder / "many.db"), "import", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        peak = 0
        while running.poll() is None:
            peak = max(peak, sum(map(_held_kb, _forks(running.pid))))
            time.sleep(0.02)
        assert running.stdout is not None
        added = running.stdout.read().strip()
    assert added.startswith("1.00M" if events == MANY else "100k"), added
    detail = f"{peak // 1024} MB"
    return claim(f"memory for {events:,} events, of {MEMORY_MB} MB", peak / 1024 / MEMORY_MB, at_most=1, detail=detail)


def _forks(process: int) -> list[int]:
    """The process and its children that run the same command: not those that seal the ledger after it."""
    try:
        told = Path(f"/proc/{process}/cmdline").read_bytes()
        children = map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
        return [process, *(one for one in children if Path(f"/proc/{one}/cmdline").read_bytes() == told)]
    except OSError:  # ended meanwhile
        return []


def _held_kb(process: int) -> int:
    """The memory of a process, of shared pages its share."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(not main())
