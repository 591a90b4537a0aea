"""Processes killed at every step of sealing, merging, forgetting and shortening: each event is there once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import apsw
import pytest

from farthing.event import Attribution, Event, new_id
from farthing.ledger import Counts, Filter, Question, open_ledger
from farthing.ledger.upkeep import compact
from farthing.totals import Totals
from farthing.usage import Usage

UPKEEPER = Path(__file__).with_name("upkeeper.py")
DAY = 86_400_000_000


def events() -> list[Event]:
    """Calls of two organisations, three days and two people, some with a key of their own."""
    made = []
    for n in range(30):
        own = new_id()
        made.append(
            Event(
                id=own,
                dedupe_key=f"resp_{n}" if n % 3 else own,
                at_us=n % 3 * DAY + n,
                recorded_at_us=1,
                attribution=Attribution(
                    org="other" if n % 5 == 0 else "default",
                    user="ann" if n % 2 else "bob",
                    metadata={"who": "ann", "n": n % 2} if n % 4 == 0 else {},
                ),
                provider="p",
                model="m",
                usage=Usage(input_tokens=n, output_tokens=1),
                cost_pico=10**11 + n,
                price_status="priced",
            )
        )
    return made


def run(path: Path, work: str, step: int) -> str | None:
    """The name of the step at which it was killed; None where it came to its end."""
    done = subprocess.run([sys.executable, str(UPKEEPER), str(path), work, str(step)], capture_output=True, check=False)
    if done.returncode == 0:
        return None
    assert done.returncode == -9, done.stderr.decode()
    return done.stdout.decode()


def check(path: Path, made: list[Event], *, again: bool = True) -> None:
    """All events once, exact sums by everything, and a replay adds nothing."""
    expected = sum((Totals.of(event) for event in made), Totals())
    with open_ledger(path) as store:
        assert sorted(e.id for e in store.events()) == sorted(e.id for e in made)
        assert store.totals()[0].totals == expected
        for by in ("org", "day", "model", "user"):
            assert sum((row.totals for row in store.totals(Question(by=(by,)))), Totals()) == expected
        if again:
            assert store.append_many((event, None) for event in made) == Counts(duplicate=len(made))
        assert store.get(made[0].id, made[0].attribution.org) is not None
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_killed_at_every_step_of_sealing_and_merging(tmp_path: Path) -> None:
    """Each step in turn, of sealing on what the kill before it has left; at the end there is no stray file."""
    path = tmp_path / "ledger.db"
    made = events()
    with open_ledger(path) as store:
        store.append_many((event, None) for event in made)
    steps = set()
    for step in count(1):
        name = run(path, "seal", step)
        steps.add(name)
        check(path, made, again=step % 4 == 0)
        if name is None:
            break
    for step in count(1):
        copy = tmp_path / f"{step}.db"
        shutil.copytree(f"{path}.segments", f"{copy}.segments")
        shutil.copy(path, copy)
        name = run(copy, "merge", step)
        steps.add(name)
        check(copy, made, again=step % 4 == 0)
        if name is None:
            break
    path = copy
    assert {"page taken", "taken", "keys written", "keys named", "segment written", "segment named"} <= steps
    assert {
        "segment in transaction",
        "segment listed",
        "merged named",
        "merged in transaction",
        "merged listed",
    } <= steps
    assert {"merged keys written", "merged keys in transaction", "merged keys listed"} <= steps
    compact(str(path), keep_rows=1, grace_s=0.0, all_small=True)
    check(path, made)
    left = {file.name for file in Path(f"{path}.segments").iterdir()}
    connection = apsw.Connection(str(path))
    listed = {row[0] for row in connection.execute("SELECT file FROM segments UNION SELECT file FROM key_runs")}
    connection.close()
    assert left == {*listed, "upkeep.lock"}


@pytest.mark.parametrize("work", ["forget", "expire"])
def test_killed_at_every_step_of_forgetting_and_shortening(tmp_path: Path, work: str) -> None:
    """What a kill leaves has all counts; doing it again to the end leaves no trace of the person, or of the time."""
    path = tmp_path / "ledger.db"
    made = events()
    with open_ledger(path) as store:
        store.append_many((event, None) for event in made[:24])
    compact(str(path), keep_rows=1)
    with open_ledger(path) as store:
        store.append_many((event, None) for event in made[24:])
    stays = [event for event in made if event.at_us >= 2 * DAY or event is made[-1]]
    for step in count(1):
        name = run(path, work, step)
        with open_ledger(path) as store:
            (row,) = store.totals()
            kept = {event.id for event in store.events()}
            assert row.totals.calls == len(kept)
            if work == "forget":
                assert row.totals == sum((Totals.of(event) for event in made), Totals())
            else:
                assert {event.id for event in stays} <= kept <= {event.id for event in made}
            if name is None:
                anns = list(store.events(Filter(equals={"user": "ann"})))
                assert not anns if work == "forget" else kept == {event.id for event in stays}
                break
    assert step > 2
    if work == "forget":
        found = [file for file in tmp_path.rglob("*") if file.is_file() and b'"ann"' in file.read_bytes()]
        assert not found
    else:
        with open_ledger(path) as store:
            assert store.append_many((event, None) for event in made) == Counts(duplicate=len(made))
