"""Forgetting a person who has budgets: the name is gone everywhere, and accounts stay what their events say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farthing import CostTracker
from farthing.errors import BudgetExceededError
from farthing.event import now_us
from farthing.ledger.beside import place_beside
from farthing.ledger.forget import forget
from farthing.ledger.open import open_ledger
from farthing.policy import make_budget


@pytest.mark.parametrize("name", ["ann-7", "Ünal, O'Neil", 'a"b\\c'])
def test_no_word_of_a_person_with_budgets_is_left(tmp_path: Path, name: str) -> None:
    """Accounts of one field and of several, alerts at thresholds, and a budget for this person alone."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        for scope in (
            {"user": "*"},
            {"user": "*", "agent": "*"},
            {"user": name},
            {"metadata.who": "*"},
            {"agent": "*", "metadata.who": "*"},
            {"metadata.who": name},
        ):
            store.accounts.put(make_budget(scope, usd="0.30", per="month"))
        tracker = CostTracker(ledger=store)
        for user in (name, name, f"{name}x"):
            tracker.record("gpt-4o", 100_000, 0, user=user, agent="a", metadata={"who": user})
        for user, key in ((name, None), (f"{name}x", "open"), (f"{name}x", "back"), (name, "over")):
            hold = tracker.guard.reserve("gpt-4o", usd=0, user=user, key=key)
            if key in ("back", "over"):
                assert hold.release()
        assert len(store.accounts.alerts()) == 16 and not store.accounts.audit().mismatches
        label = forget(str(path), [name]).label
        # A process that knew the accounts before goes on with what they are called now.
        tracker.record("gpt-4o", 100_000, 0, user=label, agent="a")
        assert not store.accounts.audit().mismatches
        places = {standing.place: standing.posted for standing in store.accounts.standings()}
        assert places[f"user={label}"] == places[f"agent=a,user={label}"] == 750_000_000_000
        assert places[f"user={name}x"] == places[f"agent=a,user={name}x"] == 250_000_000_000
    kept = path.read_bytes().decode("utf-8", "replace") + place_beside(str(path)).read_text()
    for spelled in {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}:
        kept = kept.replace(f"{spelled}x", "")
        assert spelled not in kept


def test_who_has_the_name_of_a_person_keeps_it(tmp_path: Path) -> None:
    """An agent of this name, its budgets, holds and accounts; and a person of this name elsewhere."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        for scope in ({"agent": "sam"}, {"agent": "*"}, {"agent": "*", "user": "*"}, {"user": "sam"}, {"user": "*"}):
            for org in ("here", "there"):
                store.accounts.put(make_budget(scope, usd=1, per="month", org=org, name=f"{scope}"))
        store.accounts.put(make_budget({"agent": "sam"}, usd=1, per="month", org="here", name="sam"))
        store.accounts.put(make_budget({"user": "*"}, usd=1, per="month", org="*", name="all"))
        tracker = CostTracker(ledger=store)
        for org in ("here", "there"):
            tracker.record("gpt-4o", 100_000, 0, user="sam", agent="sam", org=org)
            tracker.guard.reserve("gpt-4o", usd="0.01", user="sam", agent="sam", org=org)
        label = forget(str(path), ["sam"], "here").label
        assert not store.accounts.audit().mismatches
        assert {b.scope["agent"] for b in store.accounts.budgets("here") if "agent" in b.scope} == {"sam", "*"}
        named = [(b.org, b.scope["user"]) for b in store.accounts.budgets() if b.scope.get("user", "*") != "*"]
        assert sorted(named) == [("here", label), ("there", "sam")]
        standings = [one for one in store.accounts.standings() if one.posted and "user=" in one.place]
        assert {(one.posted, one.reserved) for one in standings} == {(250_000_000_000, 10**10)}
        assert {(one.budget.org, one.place) for one in standings} == {
            ("here", f"agent=sam,user={label}"),
            ("here", f"user={label}"),
            ("there", "agent=sam,user=sam"),
            ("there", "user=sam"),
            ("*", f"org=here,user={label}"),
            ("*", "org=there,user=sam"),
        }
        store.accounts.expire(now_us() + 10**12)
        assert not store.accounts.audit().mismatches


def test_two_spellings_with_accounts_of_their_own_become_one(tmp_path: Path) -> None:
    """Sums, holds, alerts and what was asked for are added up, whichever account was first; calls under way go on."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        for scope in ({"user": "*"}, {"agent": "*", "user": "*"}, {"metadata.who": "*"}):
            store.accounts.put(make_budget(scope, usd="0.30", per="month", on_exceed="ask"))
        tracker = CostTracker(ledger=store)
        holds = []
        for user in ("ann@x.org", "Ann", "bob"):
            tracker.record("gpt-4o", 100_000, 0, user=user, agent="a", metadata={"who": user})
            holds.append(tracker.guard.reserve(usd="0.01", user=user, agent="a", metadata={"who": user}, key=user[:3]))
            tracker.guard.reserve(usd="0.01", user=user, agent="a", key=f"over {user[:3]}").release()
            with pytest.raises(BudgetExceededError):
                tracker.guard.reserve(usd=1, user=user, agent="a", metadata={"who": user})
        label = store.forget("ann@x.org", "Ann").label
        assert not store.accounts.audit().mismatches
        standings = [one for one in store.accounts.standings() if label in one.place]
        assert {(one.place, one.posted, one.reserved) for one in standings} == {
            (f"user={label}", 5 * 10**11, 2 * 10**10),
            (f"agent=a,user={label}", 5 * 10**11, 2 * 10**10),
            (f"metadata.who={label}", 5 * 10**11, 2 * 10**10),
        }
        fired = [one for one in store.accounts.alerts() if label in one.place and one.rule == "denied:limit"]
        assert [one.times for one in fired] == [2, 2, 2]
        assert sum(label in one.place for one in store.accounts.approvals()) == 6
        for hold in holds:
            hold.settle(usd="0.02")
        assert not store.accounts.audit().mismatches
        assert store.forget("ann@x.org", "Ann").events == 2  # their callers knew the names
        assert not store.accounts.audit().mismatches


def test_a_call_recorded_amid_the_forgetting(tmp_path: Path) -> None:
    """It is renamed with the accounts, so that these are what the events say."""
    path = tmp_path / "ledger.db"
    with CostTracker(path) as tracker:
        tracker.guard.set("user=*", usd=10, per="month")
        tracker.record("gpt-4o", 100_000, 0, user="ann")

        def amid(name: str) -> None:
            if name == "hot rows":
                tracker.record("gpt-4o", 200_000, 0, user="ann")

        found = forget(str(path), ["ann"], step=amid)
        assert found.events == 2
        assert {event.attribution.user for event in tracker.ledger.events()} == {found.label}
        assert tracker.guard.accounts.audit().holds_true


def test_a_forgetting_that_ended_early_goes_on_with_its_label(tmp_path: Path) -> None:
    """What was renamed and what will be have one name; nothing of it is kept when all is done."""
    path = tmp_path / "ledger.db"
    with CostTracker(path) as tracker:
        tracker.guard.set("user=*", usd=10, per="month")
        tracker.record("gpt-4o", 100_000, 0, user="zoe-7")

        def killed(name: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            forget(str(path), ["zoe-7"], step=killed)
        (event,) = tracker.ledger.events()
        assert forget(str(path), ["zoe-7"]).label == event.attribution.user
        assert tracker.guard.accounts.audit().holds_true
        tracker.record("gpt-4o", 100_000, 0, user="zoe-7")
        assert forget(str(path), ["zoe-7"]).label != event.attribution.user
    assert b"zoe-7" not in path.read_bytes()


def test_a_name_inside_a_value_of_metadata_leaves_the_accounts_too(tmp_path: Path) -> None:
    """As it leaves the events."""
    path = tmp_path / "ledger.db"
    with CostTracker(path) as tracker:
        tracker.guard.set("metadata.k=*", usd=10, per="month")
        for value in (["ann", "bob"], {"ann": 1}):
            tracker.record("gpt-4o", 100_000, 0, metadata={"k": value})
        forget(str(path), ["ann"])
        assert tracker.guard.accounts.audit().holds_true
        assert not any("ann" in one.place for one in tracker.guard.status())
