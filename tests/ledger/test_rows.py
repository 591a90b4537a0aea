"""Rows: what an event carries comes back as it was."""

from __future__ import annotations

from farthing.event import Attribution, Event
from farthing.ledger.open import open_ledger
from farthing.usage import Usage


def test_billing_and_fingerprints_come_back() -> None:
    """A subscription's call stays marked, and its digests stay with it; reports can ask for it."""
    event = Event(
        id="01a2029d-79e3-7b87-86f6-0bf30929a420",
        at_us=1,
        recorded_at_us=2,
        attribution=Attribution(),
        provider="openai",
        model="gpt-4o",
        usage=Usage(input_tokens=1),
        cost_pico=1,
        price_status="priced",
        dedupe_key="k",
        billing="subscription",
        fingerprints={"system": "ab12", "tokens_by_role": {"system": 7}},
    )
    with open_ledger(":memory:") as ledger:
        ledger.append(event)
        assert ledger.get(event.id) == event
