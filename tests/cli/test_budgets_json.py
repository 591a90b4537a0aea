"""JSON of budgets: one set of names and units in all that they are told by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError
from farthing.ledger.open import open_ledger

Run = Callable[..., Any]
BUDGET = {"name", "org", "scope", "per", "tz", "mode", "thresholds", "on_exceed", "on_unpriced", "models", "owner",
          "critical"}  # fmt: skip


@pytest.fixture
def told(run: Run, tmp_path: Path) -> Run:
    """A dollar budget that asks, one of calls, a list of models; something spent, and a call that was refused."""
    run("budgets", "set", "agent=a", "--usd", "5", "--on-exceed", "ask", "--org", "acme", "--thresholds", "50")
    run("budgets", "set", "agent=a", "--calls", "9", "--per", "month")
    run("budgets", "set", "team=x", "--models", "gpt-4o*")
    for org in ("acme", "default"):
        run("record", "--model", "gpt-4o", "--input", 1_200_000, "--agent", "a", "--set", f"org={org}")
    with open_ledger(str(tmp_path / "ledger.db")) as store, contextlib.suppress(BudgetExceededError):
        Guard(lambda: store).reserve("gpt-4o", agent="a", org="acme", usd=4)
    return run


def _all(found: Any) -> Iterator[dict[str, Any]]:
    """Every object in it."""
    if isinstance(found, dict):
        yield found
        for value in found.values():
            yield from _all(value)
    elif isinstance(found, list):
        for value in found:
            yield from _all(value)


SCREENS = (
    *(("budgets",), ("budgets", "alerts"), ("budgets", "history"), ("approvals",), ("forecast",), ("top", "--once")),
    *(("report", "monthly"), ("budgets", "try", "agent=a", "--org", "acme"), ()),
)


@pytest.mark.parametrize("screen", SCREENS, ids=" ".join)
def test_picodollars_have_dollars_beside_them(told: Run, read: Run, screen: tuple[str, ...]) -> None:
    """Each amount in `unit` picodollars has its `_usd`, and no amount of tokens or calls has."""
    amounts = ("limit", "posted", "reserved", "remaining", "granted", "forecast", "low", "high", "requested", "amount",
               "denied_amount")  # fmt: skip
    seen = 0
    for one in _all(read(*screen)):
        assert "window_start_us" not in one and "expected" not in one and one.get("unit") != "usd"
        for name in amounts if "unit" in one else ():
            if name in one and one["unit"] == "picodollars":
                seen += 1
                assert one[f"{name}_usd"] == (None if one[name] is None else one[name] / 10**12)
            else:
                assert f"{name}_usd" not in one
        assert all(isinstance(share, float) for share in one.get("thresholds", ()))
    assert seen or screen == ("budgets", "history")


def test_an_account_is_its_budget_and_how_it_stands(told: Run, read: Run) -> None:
    """The names of a budget are the same in its history and where it stands; a list of models has no limit at all."""
    stand = {(one["org"], one["covers"]): one for one in read("budgets")}
    versions = {(v["budget"]["org"], v["budget"]["name"]): v["budget"] for v in read("budgets", "history")}
    for one in stand.values():
        assert versions[one["org"], one["name"]].items() <= one.items() and set(one) >= BUDGET
    money, calls, models = (stand[key] for key in (("acme", "agent=a"), ("default", "agent=a"), ("default", "team=x")))
    assert (money["usd"], money["limit_usd"], money["posted_usd"], money["thresholds"]) == ("5", 5.0, 3.0, [0.5])
    assert money["forecast_usd"] == money["forecast"] / 10**12
    assert (calls["calls"], calls["limit"], calls["posted"], calls["unit"]) == (9, 9, 1, "calls")
    assert (models["unit"], models["limit"]) == (None, None) and not {"calls", "usd", "posted"} & set(models)


def test_forecasts_and_approvals_name_their_account(told: Run, read: Run) -> None:
    """As standings do: org, covers, per and when the window ends."""
    stand = {(one["org"], one["covers"]): one for one in read("budgets")}
    ahead = read("forecast")
    assert (ahead["all"]["org"], ahead["all"]["covers"], ahead["all"]["per"]) == ("*", "*", "month")
    assert {"posted", "forecast", "low", "high", "tests", "tests_held"} <= set(ahead["all"])
    (asked,) = read("approvals")
    assert (asked["amount"], asked["amount_usd"], asked["unit"]) == (2 * 10**12, 2.0, "picodollars")
    for one in (*ahead["budgets"], asked):
        same = stand[one["org"], one["covers"]]
        assert (one["per"], one["resets_at"]) == (same["per"], same["resets_at"])


def test_a_pause_of_all_is_told_without_any_agent(run: Run, read: Run) -> None:
    """Programs see it as people do, also where nobody has called yet; what agents cost is told in dollars, too."""
    run("agents", "pause", "--noncritical", "--by", "ann", "--reason", "the bill", "--org", "acme")
    word = {"org": "acme", "reason": "the bill", "by": "ann", "until": None}
    assert read("agents") == {"agents": [], "paused_noncritical": [word]}
    run("record", "--model", "gpt-4o", "--input", 1_000_000, "--agent", "a")
    (one,) = read("agents")["agents"]
    assert (one["cost_usd"], one["cost_pico"]) == (2.5, 25 * 10**11)
