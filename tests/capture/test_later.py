"""Work on a thread of our own is done before its process ends."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path

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
