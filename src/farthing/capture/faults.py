"""The fault boundary of what the host program calls without knowing it: a fault of ours is counted and told once."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from farthing.errors import BudgetError

LOG = logging.getLogger("farthing")
Given = ParamSpec("Given")
Answer = TypeVar("Answer")
_TOLD_LIMIT = 100


class Faults:
    """Faults by what was being done: `counts` is {"closing a span": 3}, `total` their number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All faults so far."""
        return sum(self.counts.values())

    def add(self, doing: str, fault: BaseException | str) -> None:
        """Counts a fault, and logs it where this kind of it was not logged before."""
        text = f"{doing}: {fault!r}" if isinstance(fault, BaseException) else f"{doing}: {fault}"
        with self._lock:
            self.counts[doing] += 1
            if text in self._told or len(self._told) >= _TOLD_LIMIT:
                return
            self._told.add(text)
        LOG.error(
            "farthing: %s; the program goes on", text, exc_info=fault if isinstance(fault, BaseException) else None
        )


FAULTS = Faults()
"""The faults of this process."""


def guarded(doing: str, function: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer | None:
    """What the function returns; None where it failed, which is counted under `doing` and never reaches the host."""
    try:
        return function(*args, **kwargs)
    except Exception as fault:  # noqa: BLE001 - the fault boundary
        FAULTS.add(doing, fault)
        return None


def allowed(doing: str, function: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer | None:
    """As `guarded`, but what says that a call may not be made (`BudgetError`) is raised: that is meant for the host."""
    try:
        return function(*args, **kwargs)
    except BudgetError:
        raise
    except Exception as fault:  # noqa: BLE001 - the fault boundary
        FAULTS.add(doing, fault)
        return None
