"""For the tests of programs that use farthing: a clock that stands still, a tracker that leaves no trace, fixed prices.

def test_my_agent():
    with farthing.testing.tracker() as costs:
        run_my_agent(costs)
        assert costs.total_cost < 0.05
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.pricing.catalog import Catalog
from farthing.tracker import CostTracker


class FakeClock:
    """A clock that moves only when told: calling it gives the present moment, aware UTC."""

    def __init__(self, start: datetime | str = "2026-01-15T12:00:00+00:00") -> None:
        self.set(start)

    def __call__(self) -> datetime:
        return self.now

    def set(self, moment: datetime | str) -> None:
        """Moves to a moment (ISO text or datetime; naive counts as UTC), back as well as on."""
        given = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        self.now = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)

    def advance(self, seconds: float = 0, **units: float) -> datetime:
        """Moves on by seconds, or by days=, hours=, minutes=, ...; gives the new moment."""
        self.now += timedelta(seconds=seconds, **units)
        return self.now


def prices(models: Mapping[str, tuple[Any, Any]] | None = None) -> Catalog:
    """A catalog in which these models cost (input, output) US dollars per million tokens, whatever happens to be today.

    Other models keep their real prices.
    """
    catalog = Catalog.default().child()
    for model, (into, out) in (models or {}).items():
        catalog.register(model, Decimal(str(into)), Decimal(str(out)))
    return catalog


def tracker(models: Mapping[str, tuple[Any, Any]] | None = None, **options: Any) -> CostTracker:
    """A CostTracker with a ledger in memory; `models` as in `prices`, options as of `CostTracker`."""
    if models is not None:
        options["catalog"] = prices(models)
    if "ledger" not in options:
        options.setdefault("url", ":memory:")
    return CostTracker(**options)
