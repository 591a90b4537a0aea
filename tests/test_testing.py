"""What we ship for users' tests: a clock that stands still, a tracker in memory, fixed prices."""

from __future__ import annotations

from datetime import UTC, datetime

from farthing import testing


def test_the_clock_moves_when_told() -> None:
    """It starts where it is set, advances by units of time, and gives aware UTC."""
    clock = testing.FakeClock("2026-03-01")
    assert clock() == datetime(2026, 3, 1, tzinfo=UTC)
    assert clock.advance(30, minutes=1) == datetime(2026, 3, 1, 0, 1, 30, tzinfo=UTC)
    clock.set("2025-12-31T23:00:00-01:00")
    assert clock() == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_tracker_in_memory() -> None:
    """Its events carry the clock's time and the fixed prices; nothing is left on disk, nothing shared with the next."""
    clock = testing.FakeClock()
    with testing.tracker({"m": ("0.10", 2)}, clock=clock) as tracker:
        event = tracker.record("m", 1_000_000, 0)
        assert (event.cost, event.at) == (0.1, clock())
        assert tracker.ledger.url == ":memory:"
    with testing.tracker() as other:
        assert other.totals().calls == 0


def test_real_prices_stay_beside_the_fixed_ones() -> None:
    """Only the named models are fixed."""
    with testing.tracker({"gpt-4o": (1, 1)}) as tracker:
        assert tracker.record("gpt-4o", 1_000_000, 0).cost == 1.0
        assert tracker.record("gpt-4o-mini", 1_000_000, 0).cost == 0.15
