"""Rows: what an event carries comes back as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farthing import CostTracker
from farthing.errors import BudgetUnavailable
from farthing.event import Attribution, Event
from farthing.ledger import Counts
from farthing.ledger.open import open_ledger
from farthing.policy import make_budget
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


def test_half_surrogates_are_mended_where_they_are_counted_too(make_event: Callable[..., Event]) -> None:
    """One such name in a lot, under a budget for each agent: all are kept, and the account has the name of its row."""
    with open_ledger(":memory:") as ledger:
        ledger.accounts.put(make_budget("agent=*,metadata.k=*", usd=1))
        lot = [make_event(attribution=Attribution(agent=name, metadata={"k": name})) for name in ("a", "x\ud800", "b")]
        assert ledger.append_many((event, None) for event in lot) == Counts(added=3)
        places = [one.place for one in ledger.accounts.standings()]
        assert places == ["agent=a,metadata.k=a", "agent=b,metadata.k=b", "agent=x\ufffd,metadata.k=x\ufffd"]
        assert ledger.accounts.audit().holds_true


def test_a_call_of_half_surrogates_is_refused_as_other_keys_are() -> None:
    """What is kept of its agent's last calls is found by the mended name; the hold is refused with an error of ours."""
    tracker = CostTracker(":memory:")
    tracker.guard.set("agent=*", usd=1)
    with pytest.raises(BudgetUnavailable, match="is no text"):
        tracker.guard.reserve("gpt-4o", input_tokens=10, max_tokens=5, agent="x\ud800")
