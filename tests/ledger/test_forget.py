"""Forgetting a person who has budgets: the name is gone everywhere, and accounts stay what their events say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farthing import CostTracker
from farthing.ledger.forget import forget
from farthing.ledger.open import open_ledger
from farthing.policy import make_budget


@pytest.mark.parametrize("name", ["ann-7", "Ünal, O'Neil", 'a"b\\c'])
def test_no_word_of_a_person_with_budgets_is_left(tmp_path: Path, name: str) -> None:
    """Accounts of one field and of several, alerts at thresholds, and a budget for this person alone."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        for scope in ({"user": "*"}, {"user": "*", "agent": "*"}, {"user": name}):
            store.accounts.put(make_budget(scope, usd="0.30", per="month"))
        tracker = CostTracker(ledger=store)
        for user in (name, name, f"{name}x"):
            tracker.record("gpt-4o", 100_000, 0, user=user, agent="a", metadata={"who": user})
        assert len(store.accounts.alerts()) == 8 and not store.accounts.audit().mismatches
        label = forget(str(path), [name]).label
        # A process that knew the accounts before goes on with what they are called now.
        tracker.record("gpt-4o", 100_000, 0, user=label, agent="a")
        assert not store.accounts.audit().mismatches
        places = {standing.place: standing.posted for standing in store.accounts.standings()}
        assert places[f"user={label}"] == places[f"agent=a,user={label}"] == 750_000_000_000
        assert places[f"user={name}x"] == places[f"agent=a,user={name}x"] == 250_000_000_000
    kept = path.read_bytes().decode("utf-8", "replace")
    for spelled in {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}:
        kept = kept.replace(f"{spelled}x", "")
        assert spelled not in kept
