"""Processes killed in the middle of writing: what was acknowledged is there, once, and exactly as acknowledged."""

from __future__ import annotations

import random
import runpy
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import apsw
import pytest

from farthing.ledger import open_ledger

RECORDER = Path(__file__).with_name("recorder.py")
MODES = ("append", "correct", "many", "queued", "full")


def start(path: Path, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(RECORDER), str(path), *args], stdout=subprocess.PIPE)


def check(path: Path, acknowledged: dict[str, int]) -> Counter[str]:
    """The ledger holds all that was acknowledged, and nothing twice; the calls of each agent."""
    costs: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    agents: Counter[str] = Counter()
    with open_ledger(path) as store:
        for event in store.events():
            costs[event.corrects or event.id] += event.cost_pico or 0
            if event.corrects is None:
                keys[event.dedupe_key] += 1
                agents[str(event.attribution.agent)] += event.calls
                assert event.price_hash is None or store.price_record(event.price_hash) == "text"
        assert store.totals()[0].totals.calls == len(keys)
    missing = {key: pico for key, pico in acknowledged.items() if costs.get(key) != pico}
    assert not missing
    assert max(keys.values()) == 1
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return agents


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_in_mid_write(tmp_path: Path, seed: int) -> None:
    """Twelve kills of processes that write to one file in all the ways there are; each round goes on from the last."""
    chance = random.Random(seed)
    path = tmp_path / "ledger.db"
    acknowledged: dict[str, int] = {}
    for turn in range(4):
        modes = [MODES[(turn * 3 + n + seed) % len(MODES)] for n in range(3)]
        running = [start(path, mode, f"{turn}-{n}-{mode}") for n, mode in enumerate(modes)]
        for process in running:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(1, 400))]
            process.kill()
            lines += process.stdout.read().splitlines(keepends=True)
            process.stdout.close()
            assert process.wait() == -9
            for line in lines:
                if line.endswith(b"\n"):
                    event_id, pico = line.decode().split()
                    acknowledged[event_id] = int(pico)
        check(path, acknowledged)
    assert len(acknowledged) > 500


def test_threads_and_processes_at_once(tmp_path: Path) -> None:
    """Four processes, and eight threads of this one, record at once: no error, nothing lost."""
    path = tmp_path / "ledger.db"
    modes = {"append": "400", "correct": "400", "queued": "12", "full": "400"}
    running = [start(path, mode, mode, times) for mode, times in modes.items()]
    event = runpy.run_path(str(RECORDER))["event"]
    done: list[int] = []
    with open_ledger(path) as store:

        def work(n: int) -> None:
            for number in range(200):
                store.append(event(f"t{n}", number, number), "text")
            done.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        acknowledged = {}
        for process in running:
            output, _ = process.communicate()
            assert process.returncode == 0
            acknowledged |= {line.split()[0]: int(line.split()[1]) for line in output.decode().splitlines()}
    assert len(done) == 8
    agents = check(path, acknowledged)
    assert {agent: agents[agent] for agent in agents if agent.startswith("t")} == {f"t{n}": 200 for n in range(8)}
    assert [agents[mode] for mode in modes] == [400, 400, 600, 400]
