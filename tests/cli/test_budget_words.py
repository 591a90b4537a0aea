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
    _record(two, "a", 400_000, "--set", "org=acme")
    stand = {one["org"]: one for one in read("budgets")}
    assert all(one["forecast"] >= one["posted"] > 0 for one in stand.values())
    assert {one["covers"] for one in stand.values()} == {"agent=a"}


def test_whose_a_budget_is_stands_beside_its_name(two: Run) -> None:
    """Wherever a budget, an account or an agent is named; the default organisation needs no name."""
    named = "agent=a usd per month of acme"
    assert two("budgets", "raise", "agent=a", "0.50", "--org", "acme").output.startswith(f"lowered: {named}")
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


# --- what is not said stays ------------------------------------------------------------------------------------------

EVERYTHING = (
    *("--usd", "5", "--tz", "Asia/Tokyo", "--mode", "soft", "--on-exceed", "ask", "--on-unpriced", "allow"),
    *("--thresholds", "50", "--models", "gpt-4o*", "--owner", "ann", "--critical"),
)


def test_what_is_not_said_of_a_budget_stays(run: Run, read: Run) -> None:
    """Another limit leaves mode, zone, owner and all the rest; only what is said changes, and '' takes away."""
    run("budgets", "set", "agent=a", *EVERYTHING)
    (before,) = read("budgets")
    run("budgets", "set", "agent=a", "--usd", "6")
    (after,) = read("budgets")
    differing = {name for name in before if before[name] != after[name]} - {"usd"}
    assert differing == {"limit", "limit_usd", "remaining", "remaining_usd"}
    run("budgets", "set", "agent=a", "--usd", "6", "--owner", "", "--models", "", "--ordinary", "--mode", "hard")
    (last,) = read("budgets")
    assert (last["owner"], last["models"], last["critical"], last["mode"]) == (None, [], False, "hard")
    assert (last["tz"], last["on_exceed"], last["thresholds"]) == ("Asia/Tokyo", "ask", [0.5])


def test_a_name_stands_for_scope_window_and_limit(run: Run, read: Run) -> None:
    """With the name of one that is set, its scope, window and limit need not be said; a new one needs a limit."""
    run("budgets", "set", "agent=a", "--tokens", "5", "--per", "month", "--name", "mine")
    run("budgets", "set", "--name", "mine", "--mode", "shadow")
    run("budgets", "set", "--name", "mine", "--calls", "7")
    run("budgets", "set", "--name", "mine", "--models", "gpt-4o")
    (one,) = read("budgets")
    assert (one["covers"], one["per"], one["unit"], one["limit"]) == ("agent=a", "month", "calls", 7)
    assert (one["mode"], one["models"]) == ("shadow", ["gpt-4o"])
    run("budgets", "set", "agent=b", "--name", "mine", "--per", "week")
    assert [(one["covers"], one["per"], one["limit"]) for one in read("budgets")] == [("agent=b", "week", 7)]
    said = run("budgets", "set", "agent=b", "--mode", "soft", ok=False).output
    assert "limits nothing: give --usd, --tokens, --calls or --models; what is set" in said and "--name 'mine'" in said
    run("budgets", "set", "agent=c", "--models", "gpt-4o")
    assert (
        "would limit nothing"
        in run("budgets", "set", "--name", "agent=c models per day", "--models", "", ok=False).output
    )


def test_a_users_own_name_is_hashed_once(run: Run, read: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that is changed by its name keeps covering the same user."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    monkeypatch.setenv("FARTHING_HASH_KEY", "of this test")
    run("budgets", "set", "user=ann", "--usd", "5", "--name", "ann's")
    scope = read("budgets")[0]["scope"]
    run("budgets", "set", "--name", "ann's", "--usd", "6")
    run("budgets", "set", "user=ann", "--name", "ann's", "--mode", "soft")
    (one,) = read("budgets")
    assert (one["scope"], one["limit_usd"], one["mode"]) == (scope, 6, "soft")


def test_the_answer_says_what_has_changed(run: Run, read: Run) -> None:
    """Field by field, as a plan does; what counts other calls from now on says so."""
    run("budgets", "set", "agent=a", "--usd", "5", "--name", "mine")
    out = run("budgets", "set", "--name", "mine", "--usd", "6", "--owner", "ann", "--per", "week").output
    assert out.splitlines() == [
        "changed: mine, $6.00 per week, hard",
        "    limit: $5.00 → $6.00",
        "    window: day → week",
        "    owner: none → ann",
        "    counts other calls from now on: its window opens with what they have spent",
    ]
    (done,) = read("budgets", "set", "--name", "mine", "--owner", "bob")
    assert (done["change"], done["differs"]) == ("changed", {"owner": {"before": "ann", "after": "bob"}})
    assert run("budgets", "set", "--name", "mine", "--owner", "bob").output == "unchanged: mine, $6.00 per week, hard\n"


def test_a_limit_that_is_spent_already_is_told(run: Run, read: Run) -> None:
    """Who sets or lowers a limit below what is spent learns that calls stop now, and until when."""
    for agent in "abcde":
        _record(run, agent, 4_000_000)
    out = run("budgets", "set", "agent=a", "--usd", "9").output.splitlines()
    assert out[1].startswith("  $10.00 is spent already: calls are refused until 20") and out[1].endswith("00:00 UTC")
    out = run("budgets", "raise", "agent=a", "8").output.splitlines()
    assert out[0] == "lowered: agent=a usd per day, $9.00 → $8.00 per day"
    assert out[1].startswith("  $10.00 is spent already: calls are refused until 20")
    assert run("budgets", "raise", "agent=a", "11").output == "raised: agent=a usd per day, $8.00 → $11.00 per day\n"
    assert read("budgets", "raise", "agent=a", "11")["change"] == "unchanged"
    out = run("budgets", "set", "--usd", "9", "--per", "total", "--mode", "soft").output
    assert "$50.00 is spent already: it is over its limit, and calls pass" in out
    out = run("budgets", "set", "--name", "everything usd per total", "--mode", "hard", "--on-exceed", "ask").output
    assert "somebody must allow each call until it is raised" in out
    out = run("budgets", "set", "agent=*", "--usd", "9", "--per", "total", "--on-exceed", "downgrade:cheap").output
    assert "agent=a: $10.00 is spent already: calls go to cheap until it is raised" in out
    assert "so have 2 more spent theirs" in out
    assert len(read("budgets", "set", "agent=*", "--usd", "9", "--per", "total")[0]["used_up"]) == 5


def test_raise_takes_the_whole_limit(run: Run, read: Run) -> None:
    """`+10` is meant as ten more: it is refused, with what the limit is now."""
    run("budgets", "set", "agent=a", "--usd", "5")
    said = run("budgets", "raise", "agent=a", "+10", ok=False).output
    assert "limit '+10': give the whole new limit, not what is to be added; it is $5.00 now" in said
    run("budgets", "set", "agent=b", "--models", "gpt-4o")
    assert "has no limit to raise" in run("budgets", "raise", "agent=b", "5", ok=False).output


def test_a_preset_refuses_what_it_has_itself(run: Run, read: Run) -> None:
    """Limits, windows, models and names are the preset's; thresholds are taken, and what is not said stays."""
    for option in (("--per", "week"), ("--models", "gpt-4o"), ("--usd", "1"), ("--calls", "0"), ("--name", "x")):
        said = run("budgets", "set", "agent=a", "--preset", "research", *option, ok=False).output
        assert "--preset has its own limits" in said and option[0] in said
    run("budgets", "set", "agent=a", "--preset", "research", "--thresholds", "50", "--owner", "ann")
    run("budgets", "set", "agent=a", "--preset", "research", "--mode", "soft")
    assert [(one["thresholds"], one["owner"], one["mode"]) for one in read("budgets")] == [([0.5], "ann", "soft")] * 2


# --- trying ----------------------------------------------------------------------------------------------------------


def test_a_set_budget_is_tried_with_another_limit(run: Run, read: Run) -> None:
    """By name, scope or `everything`: what is said overrides what is set, and nothing is changed."""
    for day in ("1d", "2d"):
        for agent in "ab":
            _record(run, agent, 4_000_000, "--at", day)
    run("budgets", "set", "agent=a", "--usd", "11", "--per", "total")
    run("budgets", "set", "--usd", "100", "--name", "all of it")

    def tried(*args: str) -> tuple[str, str, int]:
        found = read("budgets", "try", *args)
        return found["budget"]["name"], found["budget"]["usd"], found["denied_calls"]

    assert tried("agent=a") == ("agent=a usd per total", "11", 1)
    assert tried("agent=a", "--usd", "25") == ("agent=a usd per total", "25", 0)
    assert tried("agent=a usd per total", "--per", "day") == ("agent=a usd per day", "11", 0)
    assert tried("everything", "--usd", "15") == ("all of it", "15", 2)
    assert tried("--usd", "5") == tried("*", "--usd", "5") == ("all of it", "5", 4)
    assert tried("agent=a", "--usd", "5", "--per", "week")[:2] == ("agent=a usd per week", "5")
    assert read("budgets", "try", "agent=a", "--models", "o3")["denied_calls"] == 2
    assert {(one["limit_usd"], one["per"]) for one in read("budgets")} == {(11, "total"), (100, "day")}


def test_what_is_to_be_tried_must_be_said(run: Run) -> None:
    """Options of the command line, not words of Python; of several that are meant, all are named."""
    for words in ((), ("agent=nobody",), ("agent=a usd per dya",)):
        said = run("budgets", "try", *words, ok=False).output
        assert "To try another, give --usd, --tokens, --calls or --models" in said and "usd=" not in said
    run("budgets", "set", "agent=a", "--preset", "research")
    assert "several budgets are called 'agent=a'" in run("budgets", "try", "agent=a", ok=False).output
    assert "agent=a usd per month: $5.00 per month" in run("budgets", "try", "agent=a", "--usd", "5").output


def test_denials_for_want_of_a_price_are_told_apart(run: Run, read: Run) -> None:
    """A generous limit that denies unpriced calls says why, and which option lets them pass."""
    for _ in range(3):
        run("record", "--model", "nobody-knows-1", "--input", "10", "--agent", "a")
    _record(run, "a", 4_000_000)
    found = read("budgets", "try", "agent=a", "--usd", "5")
    assert (found["denied_calls"], found["denied_unpriced"]) == (4, 3)
    assert found["accounts"][0]["denied_unpriced"] == 3
    said = run("budgets", "try", "agent=a", "--usd", "5").output
    assert "3 of them have no known price: --on-unpriced allow would let them pass" in said
    said = run("budgets", "try", "agent=a", "--usd", "5", "--on-unpriced", "allow").output
    assert "no known price" not in said and "denied 1 of 4 calls" in said
