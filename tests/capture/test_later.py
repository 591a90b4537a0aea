"""Work on a thread of our own is done before its process ends."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from farthing.capture.later import Later


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


def test_what_work_leaves_to_be_written_is_done_with_it() -> None:
    """A call that is read on our thread is in the ledger when what was put after it is done: a flush, or the exit."""
    later, gate, done = Later(), threading.Event(), threading.Event()
    written: list[Any] = []
    later.do(lambda: gate.wait(20))
    later.do(lambda: later.write(written.extend, cast(Any, ["an entry"])))
    later.do(lambda: done.set() if written else None)
    gate.set()
    assert done.wait(20), "the write came after what waited for it"
