"""What the tests of budgets share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farthing import testing
from farthing.budgets.guard import Guard
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only when told."""
    return FakeClock("2026-03-10T12:00:00+00:00")


@pytest.fixture
def tracker(clock: FakeClock) -> Iterator[CostTracker]:
    """A tracker in which `cheap` costs $1 and `dear` $100 per million tokens; its accounts agree at the end."""
    with testing.tracker({"cheap": (1, 1), "dear": (100, 100)}, clock=clock) as made:
        yield made
        found = made.guard.accounts.audit()
        assert found.holds_true, [str(m) for m in found.mismatches]
        assert made.faults == made.lost == 0


@pytest.fixture
def guard(tracker: CostTracker) -> Guard:
    """The tracker's guard."""
    return tracker.guard
