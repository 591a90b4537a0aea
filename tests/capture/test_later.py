"""Work on a thread of our own is done before its process ends."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path

import pytest

from farthing.capture import later as later_module
from farthing.capture.later import LATER, Later


def _slowly(path: Path) -> None:
    threading.Event().wait(0.2)
    path.write_text("done")


def _work(path: Path) -> None:
    later = Later()
    later.do(lambda: _slowly(path))


@pytest.mark.skipif(sys.platform == "win32", reason="NO FORK ON WINDOWS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_worker_finishes_what_waits(tmp_path: Path) -> None:
    """multiprocessing ends its forked workers without `atexit`."""
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(tmp_path / "it",))
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0 and (tmp_path / "it").read_text() == "done"


def test_who_reads_totals_waits_for_no_ledger() -> None:
    """While the thread is held up by a write, whoever catches up counts what is uncounted himself, in its order."""
    later, held, counted = Later(), threading.Event(), []
    later.do(lambda: held.wait(20))
    for number in range(3):
        later.count(lambda number=number: counted.append((number, threading.current_thread())), 1)
    later.catch_up()
    assert counted == [(number, threading.current_thread()) for number in range(3)]
    held.set()
    later.finish()


def test_a_flush_waits_for_what_counting_writes() -> None:
    """A call that is counted is then written: a flush returns after both."""
    later = Later()
    written: list[str] = []
    for number in range(50):
        later.count(lambda number=number: later.write(lambda _: written.append(number), []), 1)  # type: ignore[misc]
    assert later.flush(20)
    assert written == list(range(50))


def test_calls_that_wait_to_be_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many, and so many bytes: beyond that there is no room, and a fault in one does not stop the next."""
    later, held, counted = Later(), threading.Event(), []
    later.do(lambda: held.wait(20))
    large = later_module.ROOM_BYTES // 2 + 1
    assert later.has_room(large)
    later.count(lambda: 1 / 0, large)
    assert not later.has_room(large) and later.has_room(1)
    monkeypatch.setattr(later_module, "ROOM", 2)
    later.count(lambda: counted.append("it"), 1)
    assert not later.has_room(1)
    before = later_module.FAULTS.counts["counting a call"]
    later.catch_up()
    assert counted == ["it"] and later.has_room(large)
    assert later_module.FAULTS.counts["counting a call"] == before + 1
    held.set()
    later.finish()


def test_writes_that_are_tried_again_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many entries, until they are tried; and none where the program ends, for nobody would try them."""
    monkeypatch.setattr(later_module, "LIMIT", 5)
    monkeypatch.setattr(later_module, "AGAIN_S", 0.0)
    later, held, tried = Later(), threading.Event(), []
    later.do(lambda: held.wait(20))
    assert later.again(lambda: tried.append(1), 3) and later.again(lambda: tried.append(2), 2)
    assert not later.again(lambda: tried.append(3), 1)
    held.set()
    assert later.flush(20)
    assert tried == [1, 2] and later.again(lambda: tried.append(4), 5)
    later.finish()
    assert tried == [1, 2, 4] and not later.again(lambda: tried.append(5), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="NO FORK ON WINDOWS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_finds_everything_counted() -> None:
    """A child goes on with its parent's totals, in which every call is that ended before."""
    held, counted = threading.Event(), []
    LATER.do(lambda: held.wait(20))
    LATER.count(lambda: counted.append("it"), 1)
    worker = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(counted != ["it"]))
    worker.start()
    held.set()
    worker.join(20)
    assert worker.exitcode == 0
