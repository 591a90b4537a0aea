"""The queue of `queued` ledgers: bounded, in order, nothing dropped in silence. And the one commit of many callers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.errors import LedgerError, LedgerFull
from farthing.event import Event
from farthing.ledger import open_ledger, queue
from farthing.ledger.queue import Group, Queue
from farthing.ledger.rows import Prepared, prepare
from farthing.ledger.store import Outcome

Entries = Callable[[int], list[Prepared]]


class Disk:
    """Something to write to that can be made to wait or fail."""

    def __init__(self) -> None:
        self.written: list[Prepared] = []
        self.lots: list[int] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.failure: LedgerError | None = None
        self.poison: Prepared | None = None

    def write(self, lot: list[Prepared]) -> list[Outcome]:
        self.entered.release()
        self.go.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison in lot:
            raise LedgerError("poison")
        self.lots.append(len(lot))
        self.written += lot
        return ["added"] * len(lot)


@pytest.fixture
def entries(make_event: Callable[..., Event]) -> Entries:
    return lambda count: [prepare(make_event(), None) for _ in range(count)]


def test_everything_is_written_in_order(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put comes out once, in order, in lots of bounded size; flush waits for all of it."""
    monkeypatch.setattr(queue, "LOT", 7)
    disk = Disk()
    disk.go.clear()
    waiting = Queue(disk.write)
    given = entries(50)
    for entry in given:
        waiting.put(entry)
    assert disk.written == [] and len(waiting) == 50
    disk.go.set()
    waiting.flush()
    assert disk.written == given and len(waiting) == 0
    assert max(disk.lots) <= 7
    waiting.close()


def test_a_full_queue_makes_callers_wait(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit `put` returns only when there is room: nothing is dropped, memory stays bounded."""
    monkeypatch.setattr(queue, "LIMIT", 5)
    disk = Disk()
    disk.go.clear()
    waiting = Queue(disk.write)
    given = entries(20)
    caller = threading.Thread(target=lambda: [waiting.put(entry) for entry in given])
    caller.start()
    disk.entered.acquire()
    assert len(waiting) <= 5 and caller.is_alive()
    disk.go.set()
    caller.join()
    waiting.close()
    assert disk.written == given


def test_a_full_disk_is_waited_for_and_told(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush raises the reason while it lasts, and so does a queue without room; then all is written, in order."""
    monkeypatch.setattr(queue, "LIMIT", 5)
    monkeypatch.setattr(queue, "RETRY_S", 0.001)
    disk = Disk()
    disk.failure = LedgerFull("no space left")
    waiting = Queue(disk.write)
    given = entries(6)
    for entry in given[:5]:
        waiting.put(entry)
    with pytest.raises(LedgerFull, match="no space left"):
        waiting.flush()
    with pytest.raises(LedgerFull, match="no space left"):
        waiting.put(given[5])
    assert waiting.lost == 0 and waiting.faults >= 1 and waiting.last_fault == "no space left"
    disk.failure = None
    waiting.flush()
    waiting.put(given[5])
    waiting.close()
    assert disk.written == given


def test_what_is_lost_at_the_end_is_counted(entries: Entries, caplog: pytest.LogCaptureFixture) -> None:
    """Closing while the disk is full raises, counts and logs."""
    disk = Disk()
    disk.failure = LedgerFull("no space left")
    waiting = Queue(disk.write)
    for entry in entries(3):
        waiting.put(entry)
    with pytest.raises(LedgerFull):
        waiting.close()
    assert waiting.lost == 3
    assert "3 events are lost: no space left" in caplog.text


def test_one_bad_entry_does_not_hold_up_the_others(entries: Entries, caplog: pytest.LogCaptureFixture) -> None:
    """An entry that can never be written is counted as lost and logged; its neighbours are written."""
    disk = Disk()
    disk.go.clear()
    waiting = Queue(disk.write)
    given = entries(5)
    disk.poison = given[2]
    for entry in given:
        waiting.put(entry)
    disk.go.set()
    waiting.close()
    assert disk.written == given[:2] + given[3:]
    assert (waiting.lost, waiting.faults) == (1, 1)
    assert "an event is lost: poison" in caplog.text


PROGRAM = """
import multiprocessing, sys
from farthing.event import Attribution, Event, new_id
from farthing.ledger import open_ledger
from farthing.usage import Usage

def record(count):
    for _ in range(count):
        one = new_id()
        store.append(Event(id=one, dedupe_key=one, at_us=1, recorded_at_us=1, attribution=Attribution(), provider=None,
                           model="m", usage=Usage(), cost_pico=0, price_status="free"))

store = open_ledger(sys.argv[1], durability="queued")
record(2500)
if sys.argv[2] == "children":
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=record, args=(700,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
if sys.argv[2] == "raise":
    raise SystemExit(3)
"""


@pytest.mark.parametrize(("how", "expected"), [("return", 2500), ("raise", 2500), ("children", 3900)])
def test_a_program_that_ends_flushes(tmp_path: Path, how: str, expected: int) -> None:
    """At the end of a program, of one that fails, and of multiprocessing's children, which end without atexit."""
    path = tmp_path / "ledger.db"
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(path), how], check=False, capture_output=True, text=True)
    assert ran.returncode == (3 if how == "raise" else 0) and not ran.stderr
    with open_ledger(path) as store:
        assert store.totals()[0].totals.calls == expected


def test_callers_share_one_commit(entries: Entries) -> None:
    """While one commit waits for the disk, the callers that come along are all written by the next one."""
    disk = Disk()
    disk.go.clear()
    group = Group(disk.write)
    given = entries(6)
    outcomes: list[Outcome] = []
    callers = [threading.Thread(target=lambda e=e: outcomes.append(group.write(e))) for e in given]
    callers[0].start()
    disk.entered.acquire()
    for caller in callers[1:]:
        caller.start()
    while len(group._waiting) < 5:
        threading.Event().wait(0)
    disk.go.set()
    for caller in callers:
        caller.join()
    assert disk.lots == [1, 5]
    assert outcomes == ["added"] * 6


def test_a_shared_commit_that_fails_fails_for_whom_it_should(entries: Entries) -> None:
    """A full disk is everyone's error; a bad entry only its own."""
    disk = Disk()
    group = Group(disk.write)
    disk.failure = LedgerFull("no space left")
    with pytest.raises(LedgerFull):
        group.write(entries(1)[0])
    disk.failure = None
    good, bad = entries(2)
    disk.poison = bad
    tickets = [queue._Ticket(good), queue._Ticket(bad)]
    group._waiting.extend(tickets)
    group._write_waiting()
    assert tickets[0].error is None and disk.written == [good]
    assert isinstance(tickets[1].error, LedgerError)
