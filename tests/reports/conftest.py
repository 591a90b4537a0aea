"""What the tests of reports share: a ledger in memory, and calls put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from farthing import CostTracker
from farthing.event import Event
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Store

Put = Callable[..., Event]
"""put("2026-10-05", "gpt-4o", 1200, 450, agent="a", ...) records a call at noon of a day, or at a whole moment."""


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty ledger in memory."""
    with open_ledger(":memory:") as opened:
        yield opened


@pytest.fixture
def put(store: Store) -> Put:
    """Records calls in the ledger."""
    tracker = CostTracker(ledger=store)

    def put_it(at: str, model: str = "gpt-4o", into: int = 1200, out: int = 450, **details: Any) -> Event:
        moment = datetime.fromisoformat(at if len(at) > 10 else f"{at}T12:00").replace(tzinfo=UTC)
        return tracker.record(model, into, out, at=moment, **details)

    return put_it


@pytest.fixture
def busy(put: Put) -> Put:
    """Some 240 calls of September to November 2026: several models and agents, caches, batches, plans, no price."""
    random = Random(5)
    models = ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-4o-mini", "nobody-knows-1")
    for n in range(240):
        month = 9 + n % 3
        model = models[random.randrange(5 if month == 11 else 3)]
        into = random.choice((800, 5_000, 40_000, 230_000))
        details: dict[str, Any] = {"cached": into // 4} if random.random() < 0.4 else {}
        if random.random() < 0.2 and model != "gemini-2.5-pro":
            details["context"] = {"processing": "batch"}
        if random.random() < 0.1:
            details["billing"] = "subscription"
        if model == "claude-sonnet-4-5" and random.random() < 0.5:
            details["cache_write"] = into // 8
        usage = {"cache_read_tokens": details.pop("cached", 0), "cache_write_tokens": details.pop("cache_write", 0)}
        put(
            f"2026-{month:02}-{1 + random.randrange(22):02}",
            model,
            into,
            random.randrange(20, 3_000),
            agent=random.choice(("writer", "critic", None)),
            user=f"u{random.randrange(5)}",
            team=random.choice(("red", "blue", None)),
            **usage,
            **details,
        )
    return put
