"""The process-wide tracker: what is metered without naming a tracker goes there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from farthing.tracker import CostTracker


class _Process:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tracker: CostTracker | None = None
        self.told: tuple[Callable[[CostTracker], object], ...] = ()

    def after_fork(self) -> None:
        """A lock that another thread held when the process forked would never open in the child."""
        self.lock = threading.RLock()


_process = _Process()
os.register_at_fork(after_in_child=_process.after_fork)


def tracker() -> CostTracker:
    """The tracker of this process; made of the settings when first asked for."""
    found = _process.tracker
    if found is None:
        with _process.lock:
            found = _process.tracker
            if found is None:
                found = CostTracker()
                use_tracker(found)
    return found


def use_tracker(wanted: CostTracker | None) -> CostTracker | None:
    """Makes a tracker the process-wide one and returns the one before. None: a new one is made when next asked for."""
    present = _process.tracker
    if present is not None and present is not wanted and present.before_reading is not None:
        present.before_reading()  # calls that have ended are the present one's
    with _process.lock:
        before, _process.tracker = _process.tracker, wanted
        told = _process.told if wanted is not None and wanted is not before else ()
    for tell in told:
        tell(wanted)  # type: ignore[arg-type]
    return before


def with_each(tell: Callable[[CostTracker], object]) -> Callable[[], None]:
    """Tells of the process-wide tracker, where there is one and whenever there is another. Call the result to stop.

    It is told without making a tracker, so that what only listens costs nothing before there is something to hear.
    """
    with _process.lock:
        _process.told = (*_process.told, tell)
        present = _process.tracker
    if present is not None:
        tell(present)

    def stop() -> None:
        with _process.lock:
            _process.told = tuple(other for other in _process.told if other is not tell)

    return stop
