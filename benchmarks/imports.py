"""Importing event lines: 30,000 a second on one core, pricing and ledger included; a million in 200 MB."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._measure import claim
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
        # The time of this process alone: what else the machine does is not ours. The best of three of each.
        lean = min(_import_s(plain, Path(folder) / f"plain-{i}.db") for i in range(3))
        ours = min(_import_s(path, Path(folder) / f"ledger-{i}.db") for i in range(3))
        parsing = min(_parse_s(path) for _ in range(3))
        held = claim(
            "event lines of 8 fields a second of processor time, against 30,000",
            TIMED / lean / LINES_A_SECOND,
            at_least=1,
            detail=f"{TIMED / lean:,.0f} a second, {lean / TIMED * 1e6:.1f} us a line",
        )
        print(
            f"        of 16 fields, as the sample's: {TIMED / ours:,.0f} a second, {ours / TIMED * 1e6:.1f} us a line"
        )
        held &= claim(
            "the time of json.loads alone", ours / parsing, at_most=12, detail=f"{parsing / TIMED * 1e6:.1f} us a line"
        )
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


def _import_s(path: Path, ledger: Path) -> float:
    """Seconds of processor time for an import into a new ledger; its sums are checked."""
    catalog = Catalog.default()
    catalog.price("gpt-4o", Usage(input_tokens=1))
    logging.getLogger("farthing").setLevel(logging.ERROR)
    with open_ledger(ledger) as store:
        started = time.process_time()
        tally = import_files(
            [str(path)], store, catalog, options=Options(), stdin=sys.stdin.buffer, progress=lambda source, tally: None
        )
        took = time.process_time() - started
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
    path = folder / "many.jsonl"
    _write(path, events)
    # Not ru_maxrss: a child begins with that of the process that made it, which has run the other measurements.
    code = (
        "import sys; from farthing.cli.app import farthing; farthing(sys.argv[1:], standalone_mode=False); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, "--ledger", str(folder / "many.db"), "import", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    added, peak = done.stdout.strip().splitlines()[0], int(done.stdout.split()[-1]) // 1024
    assert added.startswith("1.00M" if events == MANY else "100k"), done.stdout
    return claim(f"memory for {events:,} events, of {MEMORY_MB} MB", peak / MEMORY_MB, at_most=1, detail=f"{peak} MB")


if __name__ == "__main__":
    sys.exit(not main())
