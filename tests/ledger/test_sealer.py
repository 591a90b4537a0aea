"""The thread that seals: it is stopped at exit, amid what it does if need be, and what fails leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from farthing.errors import LedgerError
from farthing.event import Event, now_us
from farthing.ledger import duck, open_ledger
from farthing.ledger.seal import seal
from farthing.ledger.upkeep import own

ENDLESS = "SELECT max(sin(range)) FROM range(1000000000000)"

PROGRAM = f"""
import os, sys, threading
from farthing.event import Attribution, Event, new_id
from farthing.ledger import duck, forks, open_ledger, sealer
from farthing.usage import Usage

busy = threading.Event()

def endless(database, **more):
    with duck.query() as query:
        busy.set()
        query.rows({ENDLESS!r})

sealer.SEAL_ROWS = sealer.AT_ONCE_ROWS = 2
sealer.KEPT_ROWS = sealer._ASK_EVERY = 1
sealer.seal = endless
forks.HOLD_S = 1.0
store = open_ledger(sys.argv[1])
for number in range(3):
    own = new_id()
    store.append(
        Event(id=own, dedupe_key=own, at_us=1, recorded_at_us=1, model="m", provider="p",
              usage=Usage(), cost_pico=0, price_status="free", attribution=Attribution())
    )
busy.wait()
"""
FORK = """
child = os.fork()
if child == 0:
    assert store.totals()[0].totals.calls == 3
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.parametrize("more", ["", FORK], ids=["alone", "forked"])
def test_a_program_ends_well_while_its_ledger_is_being_sealed(tmp_path: Path, more: str) -> None:
    """A tracker that nobody closed, DuckDB in the midst of a long query: the end is code 0, in a forked child, too."""
    run = [sys.executable, "-W", "ignore", "-c", PROGRAM + more, str(tmp_path / "l.db")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_query_is_interrupted_from_another_thread() -> None:
    """It ends with an error of ours; a query of another thread is left alone."""
    said: list[str] = []
    begun = threading.Event()

    def ask() -> None:
        with duck.query() as query:
            begun.set()
            try:
                query.rows(ENDLESS)
            except LedgerError as error:
                said.append(str(error))

    with duck.query() as query:
        thread = threading.Thread(target=ask)
        thread.start()
        begun.wait()
        while thread.is_alive():
            duck.interrupt(thread.ident or 0)
            thread.join(0.01)
        assert query.rows("SELECT 2") == [(2,)]
    assert "nterrupt" in said[0]


def test_rows_of_another_clock_are_sealed(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Which rows go is told by their numbers: those that were recorded in the future go with the others."""
    path = str(tmp_path / "l.db")
    later = now_us() + 3_600_000_000
    with open_ledger(path) as store:
        store.append_many(
            (make_event(at_us=1, recorded_at_us=later if n % 3 == 0 else now_us()), None) for n in range(10)
        )
        assert store.compact(keep_rows=1).sealed == 9
        assert store.health().sealed == 9
        assert store.totals()[0].totals.calls == 10


def test_sealing_that_fails_lists_nothing(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """However often it is tried: a run of keys is listed with the first file of its rows, or not at all."""
    path = str(tmp_path / "l.db")

    def fail(step: str) -> None:
        if step == "segment in transaction":
            raise LedgerError("stopped")

    with open_ledger(path) as store:
        store.append_many((make_event(), None) for _ in range(10))
        for _ in range(3):
            with own(path) as database, pytest.raises(LedgerError, match="stopped"):
                seal(database, keep_rows=1, step=fail)
        connection = apsw.Connection(path)
        assert connection.execute("SELECT (SELECT count(*) FROM key_runs), (SELECT count(*) FROM segments)").get == (
            0,
            0,
        )
        connection.close()
        assert store.compact(keep_rows=1).sealed == 9
