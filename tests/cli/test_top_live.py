"""`farthing top` on a real terminal: it draws, obeys keys, and gives the screen back."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

PATIENCE_S = 60


class Terminal:
    """A program on a terminal of 100 columns, and everything that it has drawn."""

    def __init__(self, *args: str) -> None:
        self.ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        # Whoever runs the tests in the background has its children ignore the interrupt.
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from farthing.cli import main; sys.argv = ['farthing', *sys.argv[1:]]; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(theirs)
        self.drawn = ""

    def until(self, words: str) -> None:
        """Reads until these words have been drawn."""
        while words not in self.drawn:
            ready, _, _ = select.select([self.ours], [], [], PATIENCE_S)
            assert ready, f"{words!r} never came: {self.drawn[-500:]}"
            self.drawn += os.read(self.ours, 65_536).decode(errors="replace")

    def press(self, key: str) -> None:
        """Presses a key."""
        os.write(self.ours, key.encode())

    def close(self) -> int:
        """The exit code, once everything is read."""
        stop = threading.Timer(PATIENCE_S, self.process.kill)  # a view that goes on drawing would be read for ever
        stop.start()
        try:
            while select.select([self.ours], [], [], PATIENCE_S)[0] and (more := os.read(self.ours, 65_536)):
                self.drawn += more.decode(errors="replace")
        except OSError:
            pass  # the other side is gone
        finally:
            stop.cancel()
        os.close(self.ours)
        return self.process.wait(PATIENCE_S)


@pytest.mark.parametrize("leave", ["q", "interrupt"])
def test_the_live_view_obeys_keys_and_gives_the_screen_back(filled, tmp_path: Path, leave: str) -> None:
    """It draws on a screen of its own, sorts as told, refreshes, and leaves with 0 and the old screen."""
    terminal = Terminal("--ledger", str(tmp_path / "ledger.db"), "top", "--every", "0.2")
    terminal.until("$/hour ▾")
    assert "burn rate" in terminal.drawn and "\x1b[?1049h" in terminal.drawn
    terminal.press("c")
    terminal.until("24 hours ▾")
    terminal.press("a")
    terminal.until("agent ▾")
    if leave == "q":
        terminal.press("q")
    else:
        terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 0
    assert "\x1b[?1049l" in terminal.drawn and "Traceback" not in terminal.drawn
