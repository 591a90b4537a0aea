"""Processes killed amid spending: nothing acknowledged is lost, and what they held is held exactly until it expires."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from farthing.budgets.guard import Guard
from farthing.event import now_us
from farthing.ledger import Filter, Store, open_ledger
from farthing.ledger.late import estimate_key

SPENDER = Path(__file__).with_name("spender.py")


def start(path: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(SPENDER), str(path), name], stdout=subprocess.PIPE)


def killed(process: subprocess.Popen[bytes], after: int) -> list[tuple[str, str, int]]:
    """What a process had acknowledged when it was killed."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    assert process.wait() == -9
    return [
        (what, key, int(pico)) for what, key, pico in (line.decode().split() for line in lines if line[-1:] == b"\n")
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_amid_spending(tmp_path: Path, seed: int) -> None:
    """Four processes killed in turn, three rounds on one file; then everything that was held frees itself."""
    chance = random.Random(seed)
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set(None, usd=5000, per="month", name="all")
        guard.set("agent=*", usd=2000, per="day", name="each")
        guard.set("agent=a1", calls=10_000_000, name="one")
        said: dict[str, dict[str, int]] = {"held": {}, "settled": {}, "released": {}}
        for turn in range(3):
            running = [start(path, f"{seed}-{turn}-{n}") for n in range(4)]
            for process in running:
                for what, key, pico in killed(process, chance.randrange(1, 300)):
                    said[what][key] = pico
            check(store, said)
        assert len(said["settled"]) > 300
        store.accounts.expire(now_us() + 2 * 3600 * 10**6)
        assert all(one.reserved == 0 for one in guard.status())
        found = store.accounts.audit()
        assert found.holds_true and found.holds == 0, [str(m) for m in found.mismatches]


def check(store: Store, said: dict[str, dict[str, int]]) -> None:
    """All that was acknowledged is so; accounts, entries, holds and events agree."""
    with_store = Guard(lambda: store)
    found = with_store.accounts.audit()
    assert found.holds_true, [str(m) for m in found.mismatches]
    costs = {event.dedupe_key: event.cost_pico for event in with_store.store.events(Filter(), order="recorded")}
    lost = {key: pico for key, pico in said["settled"].items() if costs.get(estimate_key(key)) != pico}
    assert not lost
    for key in said["held"]:
        hold = with_store.accounts.hold(key)
        assert hold is not None
        if key in said["released"]:
            assert hold.state == "released"
        elif key in said["settled"]:
            assert hold.state == "settled"
    orphans = [h for key in said["held"] if (h := with_store.accounts.hold(key)) and h.state in ("held", "dispatched")]
    assert sum(h.amounts.usd or 0 for h in orphans) <= sum(
        one.reserved for one in with_store.status() if one.budget.name == "all"
    )
