"""`farthing budgets`, the first screen and `verify`: how budgets stand, tables for people and JSON for programs."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import farthing
from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError
from farthing.ledger.open import open_ledger
from farthing.reports import render
from farthing.reports.budgets import budgets_page, until
from farthing.reports.plain import plain

Run = Callable[..., Any]


def _record(run: Run, agent: str, tokens: int, model: str = "gpt-4o") -> None:
    run("record", "--model", model, "--input", tokens, "--agent", agent)


def test_without_budgets_it_says_how_to_set_one(run: Run, read: Run) -> None:
    """An empty table helps nobody: the first commands stand there instead."""
    assert "farthing budgets set agent=researcher --usd 50 --per day" in run("budgets").output
    assert read("budgets") == []


def test_a_budget_is_set_and_stands(run: Run, read: Run) -> None:
    """What is spent counts, and the amounts are exact and in dollars."""
    _record(run, "researcher", 1_000_000)
    words = "--usd 50 --per day --tz Europe/Amsterdam --mode hard --owner ann --thresholds 50,80,100"
    out = run("budgets", "set", "agent=researcher", *words.split(), "--reason", "first try").output
    assert out == "added: agent=researcher usd per day, $50.00 per day (Europe/Amsterdam), hard\n"
    _record(run, "researcher", 1_000_000)
    (one,) = read("budgets")
    assert (one["limit_usd"], one["posted_usd"], one["posted"]) == (50.0, 5.0, 5 * 10**12)
    assert (one["percent"], one["owner"], one["thresholds"]) == (10.0, "ann", [0.5, 0.8, 1.0])
    assert one["covers"] == "agent=researcher" and one["resets_at"] is not None
    table = run("budgets").output.splitlines()
    assert table[0].split() == ["covers", "per", "limit", "spent", "held", "used", "resets", "in", "forecast"]
    assert table[1].split()[:5] == ["agent=researcher", "day", "$50.00", "$5.00", "10"]


def test_every_agent_by_itself_and_names_of_ones_own(run: Run) -> None:
    """`agent=*` shows an account for each agent, under the budget's own name; the fullest first."""
    run("budgets", "set", "agent=*", "--tokens", "2000", "--name", "each agent")
    for agent, tokens in (("a", 100), ("b", 1900), ("c", 2400)):
        _record(run, agent, tokens)
    rows = [line.split()[0] for line in run("budgets").output.splitlines()]
    assert rows[:4] == ["covers", "agent=c", "agent=b", "agent=a"]
    assert "agent=c per day: 400 tokens over its limit" in run("budgets").output
    assert "each agent" in run("budgets").output


def test_models_modes_and_presets(run: Run, read: Run) -> None:
    """Lists of models, soft budgets, and the limits of an agent type."""
    run("budgets", "set", "team=search", "--models", "gpt-4o*, o3-mini")
    run("budgets", "set", "--usd", "500", "--per", "month", "--mode", "soft")
    run("budgets", "set", "agent=scout", "--preset", "research")
    text = run("budgets").output
    assert "\nteam=search: only gpt-4o*, o3-mini\n" in text and "\neverything   month  soft " in text
    limits = {(one["covers"], one["unit"]): one["limit"] for one in read("budgets")}
    assert limits["agent=scout", "tokens"] == 2_000_000
    assert limits["agent=scout", "picodollars"] == 600 * 10**12
    assert read("budgets", "presets")[0] == {
        "name": "customer-support", "title": "Customer Support", "daily_tokens": 500_000, "monthly_usd": 150
    }  # fmt: skip
    assert "for one agent" in run("budgets", "set", "team=a", "--preset", "research", ok=False).output
    assert "has its own limits" in run("budgets", "set", "agent=a", "--usd", 1, "--preset", "research", ok=False).output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("agent=a",), "limits nothing"),
        (("agent=a", "--usd", "NaN"), "finite amount"),
        (("agent=a", "--usd", "-1"), "negative"),
        (("agent=a", "--usd", "1", "--tokens", "2"), "one limit"),
        (("agnet=a", "--usd", "1"), "unknown scope field 'agnet'"),
        (("agent", "--usd", "1"), "not name=value"),
        (("agent=a", "--usd", "1", "--tz", "Mars/Base"), "unknown time zone"),
        (("agent=a", "--usd", "1", "--on-exceed", "shout"), "on_exceed = 'shout'"),
        (("agent=a", "--usd", "1", "--thresholds", "many"), "is no number"),
        (("agent=a", "--usd", "1", "--thresholds", "0.8"), "must be percents of the limit, from 1 to 1000"),
        (("agent=a", "--usd", "1", "--thresholds", "-5"), "'-5': must be percents of the limit, from 1 to 1000"),
        (("agent=a", "--usd", "1", "--thresholds", "80,NaN"), "'NaN': must be percents of the limit"),
        (("agent=a", "--usd", "1", "--thresholds", "2000"), "'2000': must be percents of the limit"),
        (("agnt=a", "--usd", "1"), "unknown scope field 'agnt': did you mean 'agent'?"),
        (("agent=a", "--usd", "10000000"), "$9,000,000"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(run: Run, args: tuple[str, ...], words: str) -> None:
    """A wrong budget is an error that names the value and the rule, and sets nothing."""
    found = run("budgets", "set", *args, ok=False)
    assert found.exit_code in (1, 2) and words in found.output and "Traceback" not in found.output
    assert "No budget is set" in run("budgets").output


def test_alerts(run: Run, read: Run, tmp_path: Path) -> None:
    """What budgets have said is there for everybody: thresholds, refusals, and calls let pass, each with its times."""
    assert "No limit was reached" in run("budgets", "alerts").output
    run("budgets", "set", "agent=a", "--usd", 2, "--name", "hard one")
    run("budgets", "set", "--usd", 1, "--mode", "soft", "--name", "soft one")
    _record(run, "a", 720_000)
    with open_ledger(tmp_path / "ledger.db") as store:
        for agent in ("a", "b", "b"):
            with contextlib.suppress(BudgetExceededError):
                Guard(lambda: store).reserve("gpt-4o", usd="0.5", agent=agent)
    found = {(one["budget"], one["rule"]): one["times"] for one in read("budgets", "alerts")}
    assert found == {
        ("hard one", "threshold:0.8"): 1,
        ("hard one", "denied:limit"): 1,
        ("soft one", "threshold:0.8"): 1,
        ("soft one", "threshold:1"): 1,
        ("soft one", "would_deny:limit"): 2,
    }
    text = run("budgets", "alerts").output
    assert "a call was refused (limit): $1.80 of $2.00 spent, $0.50 asked for" in text
    assert "a call was let pass that does not fit (limit)" in text


def test_several_that_may_be_meant(run: Run) -> None:
    """A scope that two budgets have names them both, not all there are."""
    run("budgets", "set", "agent=a", "--preset", "research")
    run("budgets", "set", "agent=b", "--usd", "$1,000")
    said = run("budgets", "remove", "agent=a", ok=False).output
    assert "several budgets are called 'agent=a': there are 'agent=a tokens per day', 'agent=a usd per month'\n" in said
    assert "agent=b" not in said
    assert "no budget is called 'nope': there are" in run("budgets", "raise", "nope", "5", ok=False).output


def test_a_scope_is_not_the_beginning_of_another(run: Run, read: Run) -> None:
    """The budget of bot is meant by `agent=bot`, and none where there is none, but never that of bot2."""
    run("budgets", "set", "agent=bot2", "--usd", "5")
    for args in (("raise", "agent=bot", "7"), ("remove", "agent=bot"), ("history", "agent=bot")):
        assert run("budgets", *args, ok=False).exit_code == 1
    run("budgets", "set", "--usd", "9", "--org", "acme")
    assert "say which budget" in run("budgets", "remove", "", "--org", "acme", ok=False).output
    run("budgets", "remove", "*", "--org", "acme")
    run("budgets", "set", "agent=bot", "--usd", "1")
    run("budgets", "raise", "agent=bot", "7")
    assert {one["name"]: one["limit_usd"] for one in read("budgets")} == {
        "agent=bot2 usd per day": 5.0,
        "agent=bot usd per day": 7.0,
    }


def test_the_place_of_a_wrong_budget_in_a_file(run: Run, tmp_path: Path) -> None:
    """File, list and number, whichever check finds it."""
    file = tmp_path / "b.toml"
    for line, words in (("usd = -1", "budgets[0]: usd = -1: must not"), ("usd = 'x'", "budgets[0].usd = 'x': must be")):
        file.write_text(f"[[budgets]]\n{line}\n")
        assert f"{file}: {words}" in run("budgets", "apply", file, "--dry-run", ok=False).output


def test_raise_remove_and_history(run: Run, read: Run) -> None:
    """Every version says who and why; a budget is meant by its name or its scope; unknown ones are listed."""
    assert run("budgets", "history").output == "No budget was ever set.\n"
    assert read("budgets", "history") == []
    run("budgets", "set", "agent=a", "--usd", "5", "--by", "ann", "--reason", "to begin with")
    assert run("budgets", "raise", "agent=a", "$1,000.50", "--by", "bob").output == (
        "raised: agent=a usd per day, $5.00 → $1,000.50 per day\n"
    )
    run("budgets", "remove", "agent=a usd per day", "--reason", "not needed")
    found = read("budgets", "history")
    assert [(v["action"], v["by"], v["budget"]["usd"]) for v in found[:2]] == [
        ("set", "ann", "5"),
        ("set", "bob", "1000.5"),
    ]
    assert (found[2]["action"], found[2]["reason"]) == ("removed", "not needed")
    assert "to begin with" in run("budgets", "history").output
    assert read("budgets", "history", "agent=a") == found
    assert "was ever set" in run("budgets", "history", "agent=b", ok=False).output
    assert "there are none" in run("budgets", "remove", "agent=a", ok=False).output
    run("budgets", "set", "agent=a", "--calls", "5")
    for wrong in ("5.5", "$6"):
        assert "whole number" in run("budgets", "raise", "agent=a", wrong, ok=False).output
    run("budgets", "raise", "agent=a", "6")
    assert read("budgets")[0]["limit"] == 6


def test_users_that_are_hashed(run: Run, read: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where users are hashed, a budget of one is set, tried, raised and found by the user's own name."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    monkeypatch.setenv("FARTHING_HASH_KEY", "of this test")
    run("record", "--model", "gpt-4o", "--input", 1_000_000, "--user", "ann")
    run("budgets", "set", "user=ann", "--usd", "5")
    assert "user=ann" not in run("budgets").output
    assert read("budgets")[0]["posted_usd"] == 2.5
    run("budgets", "raise", "user=ann", "6")
    assert len(read("budgets", "history", "user=ann")) == 2
    assert read("budgets", "try", "user=ann", "--usd", "1")["denied_calls"] == 1
    (tmp_path / "b.toml").write_text("[[budgets]]\nscope = 'user=ann'\nusd = 6\nper = 'day'\n")
    assert "Nothing differs" in run("budgets", "apply", "b.toml", "--dry-run").output


def test_try_and_suggest(filled: Run, read: Run) -> None:
    """What history would have denied, and which limits would have fitted; nothing is set unless asked for."""
    found = read("budgets", "try", "agent=*", "--usd", "0.01", "--since", "30d")
    assert found["denied_calls"] > 0 and found["denied_calls"] <= found["calls"]
    assert "It would have denied" in filled("budgets", "try", "agent=*", "--usd", "0.01").output
    assert "denied nothing" in filled("budgets", "try", "agent=*", "--usd", "100000", "--on-unpriced", "allow").output
    suggested = read("budgets", "suggest", "--since", "30d")
    assert suggested and all(one["mode"] == "shadow" for one in suggested)
    assert read("budgets") == []
    filled("budgets", "suggest", "--set")
    assert {one["mode"] for one in read("budgets")} == {"shadow"}
    assert all(one["percent"] < 101 for one in read("budgets"))
    name = suggested[0]["name"]
    filled("budgets", "set", f"agent={suggested[0]['scope']['agent']}", "--usd", "50", "--mode", "hard")
    said = filled("budgets", "suggest", "--set").output
    assert f"{len(suggested) - 1} set in shadow mode\n{name}: stays as it is" in said
    assert [one["name"] for one in read("budgets", "suggest", "--set") if not one["set"]] == [name]
    assert [(one["mode"], one["limit_usd"]) for one in read("budgets") if one["name"] == name] == [("hard", 50)]


def test_the_first_screen_answers_the_third_question(filled: Run, read: Run) -> None:
    """Real budgets, the fullest first, and how many more there are."""
    assert "No budget is set" in filled().output
    for i in range(6):
        filled("budgets", "set", f"agent=agent{i}", "--usd", "1")
    filled("budgets", "set", "--usd", "0.01", "--per", "total")
    text = filled().output
    assert "Within budget?  1 budget used up" in text and "and 3 more: farthing budgets" in text
    assert len(read()["budgets"]) == 7


def test_verify_proves_the_accounts(run: Run, read: Run, tmp_path: Path) -> None:
    """Accounts, entries and events agree; a changed account is found, and the exit code is 1."""
    run("budgets", "set", "agent=a", "--usd", "5")
    _record(run, "a", 1000)
    assert "Every account of a budget is what its entries" in run("verify").output
    assert read("verify")["budgets_hold"] is True
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("UPDATE accounts SET posted = posted + 1")
    found = run("verify", ok=False)
    assert found.exit_code == 1 and "posted" in found.output
    assert read("verify", ok=False)["account_mismatches"]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_fits_its_width(width: int, run: Run, tmp_path: Path) -> None:
    """No line is wider than the terminal; limit, spent and used always stay."""
    run("budgets", "set", "agent=*", "--usd", "50", "--name", "each agent")
    run("budgets", "set", "--tokens", "5000", "--per", "month", "--mode", "soft")
    _record(run, "a-research-agent-with-a-name", 1000)
    with open_ledger(str(tmp_path / "ledger.db")) as store:
        page = budgets_page(Guard(lambda: store).status(), {}, datetime.now(UTC))
    out = io.StringIO()
    render.draw(page, render.terminal(out, width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(word in lines[0] for word in ("limit", "spent", "used"))
    assert "a-research-agent-with-a-name" in plain(page)


def test_the_time_until_a_window_ends() -> None:
    """In two units, the greater first."""
    at = datetime(2026, 11, 22, tzinfo=UTC)
    base = int(at.timestamp()) * 10**6
    assert until(base + 93_784 * 10**6, at) == "1 d 2 h"
    assert until(base + 7_260 * 10**6, at) == "2 h 1 min"
    assert until(base + 61 * 10**6, at) == "1 min 1 s"
    assert until(base - 1, at) == "0 min 0 s"


# --- files -----------------------------------------------------------------------------------------------------------

FILE = """
[[budgets]]
scope = "agent=researcher"
usd = 60
per = "day"
tz = "Europe/Amsterdam"

[[budgets]]
scope = { team = "search" }
usd = 100.5
per = "week"
owner = "bob"
critical = true

[[agents]]
name = "pager"
critical = true
owner = "ann"
"""


def test_a_file_is_applied_with_its_plan(run: Run, read: Run, tmp_path: Path) -> None:
    """The plan changes nothing; applied twice, nothing differs; drift is named, and pruned if asked."""
    (tmp_path / "b.toml").write_text(FILE)
    run("budgets", "set", "agent=researcher", "--usd", "50", "--tz", "Europe/Amsterdam")
    run("budgets", "set", "agent=other", "--calls", "5")
    plan = run("budgets", "apply", "b.toml", "--dry-run", ok=False)
    assert plan.exit_code == 1
    assert "limit: $50.00 → $60.00" in plan.output and "+ team=search usd per week $100.50 per week" in plan.output
    assert "? agent=other calls per day" in plan.output and "~ agent pager: critical, owner ann" in plan.output
    assert {one["limit"] for one in read("budgets")} == {50 * 10**12, 5}
    (tmp_path / "list.toml").write_text("[[budgets]]\nscope='team=s'\nmodels=['small']\nname='list'\n")
    assert "+ list only small, hard\n" in run("budgets", "apply", "list.toml", "--dry-run", ok=False).output
    run("budgets", "apply", "b.toml")
    again = run("budgets", "apply", "b.toml", "--dry-run")
    assert "Nothing differs from the file, 1 budget not in the file" in again.output
    assert {one["limit"] for one in read("budgets")} == {60 * 10**12, 5, 1005 * 10**11}
    run("budgets", "apply", "b.toml", "--prune")
    assert len(read("budgets")) == 2
    (pager,) = [one for one in read("agents")["agents"] if one["agent"] == "pager"]
    assert pager["critical"] is True and pager["owner"] == "ann"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[budgets]]\nscope='agent=a'", "limits nothing"),
        ("[[budgets]]\nusd='5'", "must be of type"),
        ("[[budgets]]\nusd=5\n[[budgets]]\nusd=6\n", "give one of them another name"),
        ("[[budgets]]\nusd=5\nwindow='day'", "unknown key 'budgets[0].window'"),
        ("[[agents]]\ncritical=true", "needs a `name`"),
        ("[[agents]]\nname='a'\n[[agents]]\nname='a'\ncritical=true", "b.toml: agents[1]: a second agent 'a'"),
        ("[budgets]\nusd=5", "must be a list of tables"),
    ],
)
def test_a_wrong_file_changes_nothing(run: Run, tmp_path: Path, text: str, words: str) -> None:
    """What is wrong is said with its place."""
    (tmp_path / "b.toml").write_text(text)
    found = run("budgets", "apply", "b.toml", ok=False)
    assert found.exit_code == 1 and words in found.output
    assert "No budget is set" in run("budgets").output


def test_ones_own_file_counts_and_a_directorys_does_not(
    run: Run, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without FILE the user's own settings are applied; a working directory's file must be named."""
    (tmp_path / "farthing.toml").write_text(FILE)
    said = run("budgets", "apply", ok=False).output
    assert f"{own_home / 'farthing' / 'farthing.toml'}, declare no [[budgets]], for there is no such file" in said
    assert "; that of the working directory " in said
    assert "counts only where it is named: farthing budgets apply farthing.toml" in said
    own = own_home / "own.toml"
    own.write_text('[[budgets]]\nusd = 7\nper = "day"\n')
    monkeypatch.setenv("FARTHING_CONFIG", str(own))
    assert "1 of the budgets in your farthing.toml is not set so here: farthing budgets apply" in run("budgets").output
    own.write_text("")
    said = run("budgets", "apply", ok=False).output
    assert f"your own settings, {own}, declare no [[budgets]]; that of the working directory" in said
    (tmp_path / "farthing.toml").rename(tmp_path / "aside.toml")
    said = run("budgets", "apply", ok=False).output
    assert said == f"Error: your own settings, {own}, declare no [[budgets]]: name a file that does\n"
    (tmp_path / "aside.toml").rename(tmp_path / "farthing.toml")
    own.write_text('[[budgets]]\nusd = 7\nper = "day"\n')
    run("budgets", "apply")
    assert "not set so here" not in run("budgets").output
    own.write_text('[[budgets]]\nusd = 7\nper = "fortnight"\n')
    for args in ((), ("apply",)):
        assert f"{own}: budgets[0]: budget 'everything usd per fortnight'" in run("budgets", *args, ok=False).output
    own.write_text('[[budgets]]\nusd = 7\nper = "day"\n')
    assert "$7.00" in run("budgets").output and "team=search" not in run("budgets").output
    assert run("budgets", "apply", "farthing.toml").exit_code == 0


# --- agents, tasks, approvals ----------------------------------------------------------------------------------------


def test_agents_are_paused_and_go_on(run: Run, read: Run) -> None:
    """Who paused whom, why and until when; one at a time, or all that are not critical."""
    _record(run, "writer", 1000)
    run("agents", "pause", "writer", "--reason", "it loops", "--by", "ann", "--until", "2h")
    (one,) = read("agents")["agents"]
    assert (one["agent"], one["state"], one["reason"], one["by"]) == ("writer", "paused", "it loops", "ann")
    assert one["until"] is not None and one["calls"] == 1
    assert "it loops (ann)" in run("agents").output
    run("agents", "resume", "writer")
    assert read("agents")["agents"][0]["state"] == "running"
    run("agents", "set", "pager", "--critical", "--owner", "bob")
    run("agents", "pause", "--noncritical", "--reason", "the bill", "--by", "ann")
    run("budgets", "set", "agent=guarded", "--calls", "9", "--critical")
    _record(run, "guarded", 1000)
    _record(run, "other", 1000)
    assert "All agents that are not critical are paused by ann: the bill" in run("agents").output
    stand = {one["agent"]: (one["state"], one["critical"], one["reason"]) for one in read("agents")["agents"]}
    assert stand == {
        "writer": ("paused", False, "the bill"),
        "pager": ("running", True, None),
        "guarded": ("running", True, None),
        "other": ("paused", False, "the bill"),
    }
    run("agents", "resume", "--noncritical")
    assert "All agents" not in run("agents").output
    for args in (("pause",), ("pause", "a", "--noncritical"), ("pause", "a", "--until", "2020-01-01")):
        assert run("agents", *args, ok=False).exit_code == 1


def test_agents_of_one_name_in_two_organisations(run: Run, read: Run, tmp_path: Path) -> None:
    """Each stands by itself: one is paused, the other goes on."""
    _record(run, "writer", 1000)
    tracker = farthing.TenantCostTracker("acme", tmp_path / "ledger.db")
    tracker.record("gpt-4o", 10, 10, agent="writer")
    tracker.close()
    run("agents", "pause", "writer", "--org", "acme")
    stand = {one["org"]: (one["agent"], one["state"], one["calls"]) for one in read("agents")["agents"]}
    assert stand == {"default": ("writer", "running", 1), "acme": ("writer", "paused", 1)}
    assert "writer of acme" in run("agents").output
    run("agents", "pause", "--noncritical", "--org", "acme", "--by", "ann")
    assert "All agents of acme that are not critical are paused by ann" in run("agents").output
    assert [one["state"] for one in read("agents")["agents"] if one["org"] == "default"] == ["running"]


def test_what_is_not_said_of_an_agent_stays(run: Run, read: Run) -> None:
    """Another owner leaves an agent critical, and another rank leaves it its owner; nothing said is refused."""

    def stands() -> tuple[bool, str | None]:
        (one,) = read("agents")["agents"]
        return one["critical"], one["owner"]

    run("agents", "set", "pager", "--critical", "--owner", "ann")
    run("agents", "set", "pager", "--owner", "bob")
    assert stands() == (True, "bob")
    run("agents", "set", "pager", "--ordinary")
    assert stands() == (False, "bob")
    assert "say --critical, --ordinary or --owner" in run("agents", "set", "pager", ok=False).output
    assert stands() == (False, "bob")
    run("agents", "set", "pager", "--owner", "")
    assert stands() == (False, None)


def test_a_pause_reaches_a_running_process(run: Run, tmp_path: Path) -> None:
    """What the command line says holds for a guard of another connection at its next look."""
    from farthing import AgentPausedError, TaskKilledError

    with open_ledger(str(tmp_path / "ledger.db")) as store:
        guard = Guard(lambda: store)
        guard.check(agent="writer", task="t-1")
        run("agents", "pause", "writer", "--reason", "it loops")
        guard.people.refresh()
        with pytest.raises(AgentPausedError, match="it loops"):
            guard.check(agent="writer")
        run("tasks", "kill", "t-1", "--reason", "too dear")
        guard.people.refresh()
        with pytest.raises(TaskKilledError, match="too dear"):
            guard.check(task="t-1")


def test_approvals_are_listed_and_answered(run: Run, read: Run, tmp_path: Path) -> None:
    """A refused call of a budget that asks waits for an answer; granted, there is room for it."""
    from farthing import BudgetExceededError

    assert "Nobody is asked" in run("approvals").output
    run("budgets", "set", "agent=a", "--usd", "1", "--on-exceed", "ask")
    with open_ledger(str(tmp_path / "ledger.db")) as store:
        guard = Guard(lambda: store)
        with pytest.raises(BudgetExceededError):
            guard.reserve("gpt-4o", agent="a", usd=3)
        (asked,) = read("approvals")
        assert (asked["covers"], asked["amount_text"], asked["model"]) == ("agent=a", "$2.00", "gpt-4o")
        assert "farthing approvals grant" in run("approvals").output
        assert run("approvals", "grant", asked["number"], "--by", "ann").output.startswith("granted: approval 1, $2.00")
        guard.reserve("gpt-4o", agent="a", usd=3).release()
    assert "is granted already" in run("approvals", "refuse", asked["number"], ok=False).output
    assert "Nobody is asked" in run("approvals").output
    assert json.loads(run("--json", "approvals", "--all").output)[0]["state"] == "granted"
