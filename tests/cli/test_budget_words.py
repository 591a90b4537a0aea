"""What the commands of budgets understand, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def _record(run: Run, agent: str, tokens: int, *more: object) -> None:
    run("record", "--model", "gpt-4o", "--input", tokens, "--agent", agent, *more)


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["0,50", "1,00", "$1,0000", ",5", "1,000,00"])
def test_a_comma_is_no_decimal_point(run: Run, read: Run, amount: str) -> None:
    """`0,50` means fifty cents in half of the world: it is refused, never taken for fifty dollars."""
    run("budgets", "set", "agent=a", "--usd", "9", "--name", "a")
    for command in (("set", "agent=b", "--usd"), ("try", "agent=b", "--usd"), ("raise", "a")):
        said = run("budgets", *command, amount, ok=False)
        assert said.exit_code == 1 and f"{amount!r}: a comma may only group thousands" in said.output
    assert [one["limit_usd"] for one in read("budgets")] == [9]


def test_thousands_may_be_grouped(run: Run, read: Run) -> None:
    """Dollars, tokens and calls alike, when they are set and when they are raised."""
    run("budgets", "set", "agent=a", "--usd", "$1,234,567.50", "--name", "money")
    run("budgets", "set", "agent=a", "--tokens", "3,000,000", "--name", "tokens")
    run("budgets", "set", "agent=a", "--calls", "1000", "--name", "calls")
    run("budgets", "raise", "calls", "2,000")
    limits = {one["name"]: one["limit"] for one in read("budgets")}
    assert limits == {"money": 12_345_675 * 10**11, "tokens": 3_000_000, "calls": 2_000}


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("2M", "2,000,000 or 2000000"),
        ("50k", "50,000 or 50000"),
        ("3,00", "a whole number"),
        ("1.5", "a whole number"),
        ("-5", "0 or more"),
        ("1,000.0", "a whole number"),
    ],
)
def test_what_is_no_count_is_said_with_a_remedy(run: Run, given: str, remedy: str) -> None:
    """What can be typed instead, not the name of a type."""
    run("budgets", "set", "agent=a", "--tokens", "9", "--name", "a")
    for command in (("set", "agent=b", "--tokens"), ("set", "agent=b", "--calls"), ("raise", "a", "--")):
        said = run("budgets", *command, given, ok=False).output
        assert f"{given!r}: give a whole number" in said and remedy in said


# --- organisations ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two(run: Run) -> Run:
    """The same budget in two organisations, and what both have spent."""
    for org in ("default", "acme"):
        _record(run, "a", 400_000, "--set", f"org={org}")
        run("budgets", "set", "agent=a", "--usd", "5", "--per", "month", "--org", org)
    return run


def test_each_organisations_budget_has_its_own_forecast(two: Run, read: Run) -> None:
    """Budgets of one name in two organisations do not take each other's forecast."""
    _record(two, "a", 400_000, "--set", "org=acme", "--at", "2d")
    stand = {one["org"]: one for one in read("budgets")}
    assert all(one["forecast"] >= one["posted"] > 0 for one in stand.values())
    assert {one["covers"] for one in stand.values()} == {"agent=a"}


def test_whose_a_budget_is_stands_beside_its_name(two: Run) -> None:
    """Wherever a budget, an account or an agent is named; the default organisation needs no name."""
    named = "agent=a usd per month of acme"
    assert two("budgets", "raise", "agent=a", "0.50", "--org", "acme").output.startswith(named)
    table = two("budgets").output
    assert "\nagent=a of acme " in table and "agent=a of acme per month: $0.5000 over its limit" in table
    for screen in (("budgets", "history"), ("forecast",), ("report", "monthly"), ("top", "--once")):
        assert named in two(*screen).output, screen
    assert f"{named}: used up" in two("forecast").output
    two("budgets", "raise", "agent=a", "1.50", "--org", "acme")
    _record(two, "a", 400_000, "--set", "org=acme")
    assert "agent=a of acme" in two("budgets", "alerts").output
    assert (
        "agent=a usd per day of acme: $0.10 per day"
        in two("budgets", "try", "agent=a", "--usd", "0.1", "--per", "day", "--org", "acme").output
    )
    assert two("budgets", "remove", "agent=a", "--org", "acme").output == f"removed: {named}\n"
    assert "added: everything usd per day of acme" in two("budgets", "set", "--usd", "1", "--org", "acme").output
    assert two("agents", "pause", "a", "--org", "acme").output.startswith("paused: a of acme")
    assert two("agents", "resume", "a", "--org", "acme").output == "goes on: a of acme\n"
    assert "all agents of acme that are not critical" in two("agents", "pause", "--noncritical", "--org", "acme").output
    assert two("tasks", "kill", "t", "--org", "acme").output.startswith("killed: t of acme")


def test_reports_of_one_organisation_show_its_budgets(two: Run, read: Run) -> None:
    """Another's budgets are none of its business."""
    for screen in (("forecast",), ("top", "--once"), ("report", "monthly")):
        (one,) = read(*screen, "--where", "org=acme")["budgets"]
        assert one["org"] == "acme", screen


def test_a_plan_and_a_suggestion_name_the_organisation(two: Run, read: Run, tmp_path: Path) -> None:
    """What a file declares for an organisation, and what is suggested for one."""
    (tmp_path / "b.toml").write_text("[[budgets]]\nusd = 7\norg = 'acme'\n[[agents]]\nname = 'a'\norg = 'acme'\n")
    plan = two("budgets", "apply", "b.toml", "--dry-run", ok=False).output
    assert "+ everything usd per total of acme $7.00" in plan and "~ agent a of acme: ordinary" in plan
    assert "? agent=a usd per month of acme" in plan and "? agent=a usd per month  (not" in plan
    (one,) = read("budgets", "suggest", "--org", "acme", "--set")
    assert (one["org"], one["set"]) == ("acme", True)
    assert "agent=a of acme" in two("budgets", "suggest", "--org", "acme").output


def test_a_budget_of_another_organisation_is_pointed_to(run: Run, read: Run) -> None:
    """It is named with the option that means it, and never taken unasked."""
    run("budgets", "set", "--usd", "5", "--org", "org_123")
    for words in ("everything", "*", "everything usd per day"):
        said = run("budgets", "raise", words, "6", ok=False).output
        assert f"is called {words!r}, but org_123 has one: use --org org_123" in said
    run("budgets", "set", "--usd", "5", "--org", "acme")
    assert "use --org acme or --org org_123" in run("budgets", "remove", "everything", ok=False).output
    run("budgets", "raise", "everything", "6", "--org", "acme")
    run("budgets", "raise", "org=org_123", "7")
    assert {one["org"]: one["limit_usd"] for one in read("budgets")} == {"acme": 6, "org_123": 7}
    assert len(read("budgets", "history", "everything")) == 4
    assert len(read("budgets", "history", "everything", "--org", "acme")) == 2


def test_an_organisation_without_budgets_is_not_all_there_is(run: Run) -> None:
    """Nothing is held back of this one; others are named."""
    assert "No budget is set" in run("budgets", "--org", "nosuch").output
    run("budgets", "set", "--usd", "5", "--org", "acme")
    said = run("budgets", "--org", "nosuch").output
    assert "Organisation nosuch has no budget" in said and "budgets of acme" in said
    run("budgets", "set", "--usd", "5", "--org", "*")
    _record(run, "a", 1000)
    assert "spent nothing under the budgets that each organisation has" in run("budgets", "--org", "nosuch").output


@pytest.mark.parametrize("command", ["set", "try"])
def test_two_organisations_in_one_line_are_refused(run: Run, command: str) -> None:
    """SCOPE and --org may say the same, not different things; an empty name is none."""
    said = run("budgets", command, "org=acme", "--usd", "5", "--org", "beta", ok=False).output
    assert "is of organisation 'acme', and --org says 'beta'" in said
    run("budgets", command, "org=acme", "--usd", "5", "--org", "acme")
    said = run("budgets", command, "--usd", "5", "--org", "", ok=False)
    assert said.exit_code == 2 and "name an organisation" in said.output
