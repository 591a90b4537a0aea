"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from farthing.event import Attribution, Event, new_id, now_us
from farthing.usage import Usage


def _event(**given: Any) -> Event:
    own_id = new_id()
    fields: dict[str, Any] = {
        "id": own_id,
        "dedupe_key": own_id,
        "at_us": now_us(),
        "recorded_at_us": now_us(),
        "attribution": Attribution(agent="writer"),
        "provider": "openai",
        "model": "gpt-5",
        "usage": Usage(input_tokens=100, output_tokens=10),
        "cost_pico": 1_000,
        "price_status": "priced",
    }
    return Event(**{**fields, **given})


@pytest.fixture
def make_event() -> Callable[..., Event]:
    """An event of one priced call, with the fields given."""
    return _event
