"""Tables of budgets at every width, and with more accounts than anybody reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from farthing import CostTracker
from farthing.budgets.guard import Guard
from farthing.ledger.open import open_ledger
from farthing.reports import render
from farthing.reports.blocks import Page
from farthing.reports.budgets import budgets_page
from farthing.reports.digest import digest, digest_page
from farthing.reports.forecast_page import forecast_page
from farthing.reports.outlook import outlook, outlooks
from farthing.reports.top import look, top_page

Run = Callable[..., Any]


def _drawn(page: Page, width: int) -> list[str]:
    out = io.StringIO()
    render.draw(page, render.terminal(out, width))
    return out.getvalue().splitlines()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twenty users, two agents, one of them with a long name; lists of models, a soft budget, and a call under way."""
    path = tmp_path / "ledger.db"
    with CostTracker(path) as tracker:
        for n in range(20):
            agent = ("writer", "a-research-agent-with-a-long-name")[n % 2]
            tracker.record("gpt-4o", 40_000 * (n + 1), user=f"u{n}", agent=agent, team="search")
        guard = tracker.guard
        guard.set("user=*", usd=50, per="day", name="each user")
        guard.set("agent=*", tokens=20_000_000, per="day", mode="soft")
        guard.set("team=search", models=["gpt-4o*", "o3-mini", "claude-haiku-4-5"], name="models of search")
        guard.set(None, usd=1000, per="month")
        held = guard.reserve("gpt-4o", usd=2, user="u19", agent="writer", team="search")
        held.dispatch()
    return path


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_what_matters_stays_at_every_width(many: Path, width: int) -> None:
    """Window, limit, spent, held and used are there, whole; a list of models or a long name pushes nothing out."""
    with open_ledger(many) as store:
        page = budgets_page(Guard(lambda: store).status(), {}, datetime.now(UTC))
        tops = _drawn(top_page(look(store, datetime.now(UTC))), width)
    lines = _drawn(page, width)
    assert max(map(len, lines)) <= width
    assert all(word in lines[0].split() for word in ("covers", "per", "limit", "spent", "held", "used"))
    assert ("resets" in lines[0]) == (width >= 100) and ("mode" in lines[0]) == (width >= 80)
    full = next(line for line in lines if "user=u19" in line).split()
    assert full[1:7] == ["day", "$50.00", "$2.00", "$2.00", "8", "%"]
    assert any("20.0M tokens" in line for line in lines)
    assert any(line.startswith(" team=search: only gpt-4o*, o3-mini") for line in lines)
    assert any("held" in line and "limit" in line for line in tops)


def test_the_fullest_of_each_budget_are_shown(many: Path, run: Run, read: Run) -> None:
    """Eight accounts of a budget, and how many more there are; --all and JSON have every one."""
    text = run("budgets").output
    assert text.count("\nuser=") == 8 and "user=u19" in text and "user=u11" not in text
    (rest,) = (line for line in text.splitlines() if "12 more of user=*" in line)
    assert rest.split()[-3:] == ["≤", "2", "%"]
    assert "all of them: farthing budgets --all" in text
    every = run("budgets", "--all").output
    assert every.count("\nuser=") == 20 and "more of" not in every
    found = read("budgets")
    assert len(found) == 24 and all(one["forecast"] is not None for one in found if one["per"] == "day")


def test_reports_show_the_fullest_six(many: Path) -> None:
    """The budget report and the live view show six, the forecast eight of each budget; whose each is stands there."""
    at = datetime.now(UTC)
    with open_ledger(many) as store:
        report = "\n".join(_drawn(digest_page(digest(store, "day", at)), 140))
        live = "\n".join(_drawn(top_page(look(store, at)), 140))
        found = outlooks(store, at, store.accounts.standings())
        ahead = "\n".join(_drawn(forecast_page(outlook(store, at), found, "UTC"), 140))
    assert 0 < report.count("each user: user=") <= 6 and f"and {len(found) - 6} more: farthing forecast" in report
    assert 0 < live.count("each user: user=") <= 6
    assert "each user: 12 more, which use less of their limit" in ahead
    assert "agent=writer tokens per day (soft)" in ahead and "each user: user=u19 " in ahead


def test_a_budget_of_two_stars_that_nobody_has_used(run: Run) -> None:
    """It has no account yet, and no past to look at."""
    run("budgets", "set", "agent=*,team=*", "--usd", "5")
    assert "agent=*,team=*" in run("budgets").output
    assert "agent=*,team=* usd per day" in run("forecast").output


def test_only_lists_of_models(run: Run) -> None:
    """No table without a limit; the first screen says how many models there are."""
    run("budgets", "set", "team=search", "--models", "gpt-4o*,o3-mini", "--mode", "soft")
    assert run("budgets").output == "team=search (soft): only gpt-4o*, o3-mini\n"
    run("record", "--model", "gpt-4o", "--input", 1000)
    assert "only 2 models" in run().output
