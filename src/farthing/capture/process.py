"""The process-wide tracker: what is metered without naming a tracker goes there."""

from __future__ import annotations

import threading

from farthing.tracker import CostTracker


class _Process:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tracker: CostTracker | None = None


_process = _Process()


def tracker() -> CostTracker:
    """The tracker of this process; made of the settings when first asked for."""
    if _process.tracker is None:
        with _process.lock:
            if _process.tracker is None:
                _process.tracker = CostTracker()
    return _process.tracker


def use_tracker(wanted: CostTracker | None) -> CostTracker | None:
    """Makes a tracker the process-wide one and returns the one before. None: a new one is made when next asked for."""
    with _process.lock:
        before, _process.tracker = _process.tracker, wanted
    return before
