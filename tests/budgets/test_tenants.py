"""One organisation in a ledger that many share."""

from __future__ import annotations

import pytest

import farthing
from farthing import testing
from farthing.errors import BudgetExceededError, InputError
from farthing.ledger import open_ledger


def test_a_tracker_of_one_organisation() -> None:
    """It records, reads and budgets for its own only, and refuses calls that say they are another's."""
    with open_ledger(":memory:") as ledger:
        prices = testing.prices({"m": (100, 100)})
        ann, bob = (
            farthing.TenantCostTracker(org, ledger=ledger, catalog=prices, scope="ledger") for org in ("ann", "bob")
        )
        ann.set_budget(usd=1, per="month", name="all")
        ann.record("m", 9_000, agent="a")
        bob.record("m", 50_000, agent="a")
        assert (ann.total_cost, bob.total_cost) == (0.9, 5.0)
        assert [one.posted for one in ann.budget_status()] == [9 * 10**11]
        assert bob.budget_status() == []
        with pytest.raises(BudgetExceededError):
            ann.guard.reserve("m", usd="0.2")
        bob.guard.reserve("m", usd=50)
        with farthing.attribute(org="bob"):
            assert ann.record("m", 1).attribution.org == "ann"
        with pytest.raises(InputError, match="of organisation 'ann'"):
            ann.record("m", 1, org="bob")
        with pytest.raises(InputError, match="speaks for organisation 'ann'"):
            ann.guard.set("org=bob", usd=1)
        assert ann.breakdown("org")[0].key == ("ann",)
        bob.guard.people.pause("a", "stop")
        ann.guard.reserve("m", usd=0, agent="a")


def test_each_organisation_by_itself() -> None:
    """`org=*` is one budget with an account for each organisation."""
    with farthing.CostTracker(":memory:") as tracker:
        tracker.guard.set("org=*", usd=1, per="day", name="each")
        for org in ("ann", "bob"):
            tracker.guard.reserve("m", usd="0.7", org=org)
        with pytest.raises(BudgetExceededError, match="org=bob"):
            tracker.guard.reserve("m", usd="0.7", org="bob")
        assert tracker.guard.accounts.audit().holds_true


def test_another_organisations_budgets_are_out_of_reach() -> None:
    """Nothing of another organisation is shown, granted, changed or paused, also where it is named."""
    with open_ledger(":memory:") as ledger:
        prices = testing.prices({"m": (100, 100)})
        ann, bob = (farthing.TenantCostTracker(org, ledger=ledger, catalog=prices) for org in ("ann", "bob"))
        ann.set_budget(usd=1, on_exceed="ask", name="all")
        every = farthing.CostTracker(ledger=ledger, catalog=prices)
        every.guard.set("org=*,agent=*", usd="0.5", name="each")
        told: list[str] = []
        bob.guard.on_alert = lambda alert: told.append(alert.org)
        ann.record("m", 9_000, agent="a")
        bob.record("m", 1_000, agent="a")
        ann.guard.people.pause("a", "stop")
        with pytest.raises(BudgetExceededError) as caught:
            ann.guard.reserve("m", usd="0.2")
        number = caught.value.approval
        assert number is not None
        assert [(one.org, one.place) for one in bob.budget_status()] == [("bob", "agent=a,org=bob")]
        assert bob.guard.alerts() == bob.guard.approvals() == bob.guard.people.all() == told == []
        assert [one.org for one in every.guard.alerts(org="ann")] == ["ann"] * 4
        for reach in (
            lambda: bob.guard.grant(number),
            lambda: bob.guard.refuse(number),
            lambda: bob.guard.get("all", org="ann"),
            lambda: bob.guard.remove("all", org="ann"),
            lambda: bob.guard.raise_limit("all", 9, org="ann"),
            lambda: bob.guard.reset("all", org="ann"),
            lambda: bob.guard.budgets("ann"),
            lambda: bob.guard.status("ann"),
            lambda: bob.guard.history(org="ann"),
            lambda: bob.guard.alerts(org="ann"),
            lambda: bob.guard.people.resume("a", org="ann"),
            lambda: bob.guard.people.kill("t", org="ann"),
        ):
            with pytest.raises(InputError, match="organisation 'bob'"):
                reach()
        ann.guard.grant(number)
        ann.guard.reserve("m", usd="0.2")


def test_an_organisation_needs_a_name() -> None:
    """Text, and not empty."""
    with pytest.raises(InputError):
        farthing.TenantCostTracker("")
