"""Claude Code's logs are imported at 100 MB/s on one core, in 200 MB of memory.

The logs are generated: sessions of answers in several lines that repeat their usage, tool results (most of the bytes),
and lines of the program's own; 256 MB, or 1 GB with FARTHING_BENCH_FULL=1.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import claim

MB = 1_000_000
SPEED_MB_S, MEMORY_MB = 100, 200
SESSION_MB = 8
_TEXT = "def f(x):\n    return {'a': \"b\", 'n': x * 2}  # what stands in files, with quotes and line ends\n" * 4000


def generate(folder: Path, size: int, seed: int = 7) -> int:
    """Writes logs of about `size` bytes and returns how many messages they hold."""
    dice = random.Random(seed)
    messages = written = session = 0
    while written < size:
        session += 1
        project = folder / "projects" / f"-home-dev-project-{session % 7}"
        project.mkdir(parents=True, exist_ok=True)
        path = project / f"{dice.getrandbits(128):032x}.jsonl"
        with path.open("w") as file:
            until = min(size, written + SESSION_MB * MB)
            while written < until:
                lines = _turn(dice, session, messages)
                messages += 1
                for line in lines:
                    written += file.write(json.dumps(line, separators=(",", ":")) + "\n")
    return messages


def _turn(dice: random.Random, session: int, number: int) -> list[dict[str, object]]:
    """One answer in one to four lines, what its tool gave, and now and then a line of the program's own."""
    base: dict[str, object] = {
        "parentUuid": f"{number:036d}",
        "isSidechain": False,
        "userType": "external",
        "cwd": f"/home/dev/project-{session % 7}",
        "sessionId": f"{session:036d}",
        "version": "2.1.40",
        "gitBranch": f"feature/ABC-{session}-work",
    }
    at = f"2026-10-{number // 3600 % 28 + 1:02d}T08:{number // 60 % 60:02d}:{number % 60:02d}.123Z"
    stamp = {"uuid": f"{number:036x}", "timestamp": at}
    written = dice.randrange(100, 6000)
    usage = {
        "input_tokens": dice.randrange(1, 12),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": dice.randrange(10_000, 150_000),
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": written},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    lines: list[dict[str, object]] = []
    blocks = dice.choice((1, 2, 2, 3, 4))
    for block in range(blocks):
        last = block == blocks - 1
        content = (
            {"type": "text", "text": _piece(dice, 700)}
            if not last
            else {
                "type": "tool_use",
                "id": f"toolu_{number:024d}",
                "name": "Edit",
                "input": {
                    "file_path": "/home/dev/x.py",
                    "old_string": _piece(dice, 600),
                    "new_string": _piece(dice, 900),
                },
            }
        )
        message = {
            "model": "claude-opus-4-5-20251101",
            "id": f"msg_{number:024d}",
            "type": "message",
            "role": "assistant",
            "content": [content],
            "stop_reason": "tool_use" if last else None,
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": dice.randrange(50, 900) if last else 1},
        }
        lines.append({**base, "message": message, "requestId": f"req_{number:024d}", "type": "assistant", **stamp})
    result = _piece(dice, 60_000 if dice.random() < 0.02 else 3_000)
    given = {"tool_use_id": f"toolu_{number:024d}", "type": "tool_result", "content": result}
    told = {"role": "user", "content": [given]}
    lines.append({**base, "type": "user", "message": told, **stamp, "toolUseResult": {"stdout": result, "stderr": ""}})
    if dice.random() < 0.5:
        hook = {"type": "hook_progress", "hookName": _piece(dice, 200)}
        lines.append({**base, "type": "progress", "data": hook, **stamp})
    return lines


def _piece(dice: random.Random, mean: int) -> str:
    start = dice.randrange(0, 100_000)
    return _TEXT[start : start + int(dice.expovariate(1 / mean)) + 20]


_IMPORT = """
import sys, time  # what getrusage tells begins with the parent's
from pathlib import Path
from farthing.capture.logs.agents import AgentImport
from farthing.capture.logs.claude_code import ClaudeCode
from farthing.capture.logs.positions import Positions
from farthing.ledger.open import open_ledger
from farthing.pricing.catalog import Catalog
folder = Path(sys.argv[1])
catalog = Catalog.default()
catalog.price("claude-opus-4-5-20251101", __import__("farthing").Usage(input_tokens=1, output_tokens=1))
for name in ("a", "b", "c", "c"):
    started, worked = time.perf_counter(), time.process_time()
    with open_ledger(folder / f"{name}.db") as store, Positions(folder / f"{name}.db.positions") as positions:
        tally = AgentImport(ClaudeCode(), store, catalog, positions).poll([folder / "projects"])
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
    print(time.perf_counter() - started, time.process_time() - worked, peak, tally.counts.added, tally.bad, flush=True)
"""


def main() -> bool:
    """Whether the claims hold and every message was counted once; the imports run in a process of their own."""
    size = (1_000 if os.environ.get("FARTHING_BENCH_FULL") == "1" else 256) * MB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        messages = generate(folder, size)
        run = subprocess.run([sys.executable, "-c", _IMPORT, name], capture_output=True, text=True, check=True)
    *rounds, again = ([float(word) for word in line.split()] for line in run.stdout.splitlines())
    seconds, worked, _, added, bad = min(rounds, key=lambda one: one[1])  # the round least disturbed by neighbours
    speed = size / MB / worked
    held = [
        claim(
            f"speed of an import of {size // MB} MB, beside {SPEED_MB_S} MB/s",
            speed / SPEED_MB_S,
            at_least=1.0,
            detail=f"{speed:.0f} MB/s of one core ({seconds:.1f} s), {added / worked:,.0f} calls/s",
        ),
        claim(
            f"memory, beside {MEMORY_MB} MB",
            again[2] / MB / MEMORY_MB,
            at_most=1.0,
            detail=f"{again[2] / MB:.0f} MB at most",
        ),
        claim(
            "a second import, beside the first", again[0] / seconds, at_most=0.05, detail=f"{again[0] * 1000:.0f} ms"
        ),
        claim("calls counted, beside the messages", added / messages, at_least=1.0, detail=f"{added:,.0f} calls"),
    ]
    return all(held) and added == messages and not bad and not again[3]


if __name__ == "__main__":
    started = time.perf_counter()
    print(main(), f"{time.perf_counter() - started:.1f} s")
