"""`farthing tasks`: what a completed task costs, on the screen and for programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from farthing import CostTracker, task


@pytest.fixture
def worked(run: Callable[..., Any], tmp_path: Path) -> None:
    """Two reviews, one of them done and worth 40 dollars, and a triage of another team."""
    with CostTracker(str(tmp_path / "ledger.db")) as tracker:
        with task("T-1", type="review", team="search", tracker=tracker) as one:
            tracker.record("gpt-4o", input_tokens=1_000_000, output_tokens=0)
            one.finish("done", value_usd=40)
        with task("T-2", type="review", team="search", tracker=tracker) as one:
            tracker.record("gpt-4o", input_tokens=400_000, output_tokens=0)
            one.finish("failed")
        with task("T-3", type="triage", team="support", tracker=tracker):
            tracker.record("gpt-4o", input_tokens=2_000, output_tokens=0)


@pytest.mark.usefixtures("worked")
def test_outcome_and_value_of_tasks_are_shown(run: Callable[..., Any], read: Callable[..., Any]) -> None:
    """What `task.finish` was told stands beside what the task cost."""
    shown = run("tasks").output
    assert "Cost of a completed task by type" in shown and "1 failed" in shown and "$40.00" in shown
    review, triage = read("tasks")
    assert (review["task_type"], review["tasks"], review["outcomes"]) == ("review", 2, {"done": 1, "failed": 1})
    assert (review["cost_of_a_done_task_usd"], review["all_in_cost_of_a_done_task_usd"]) == (2.5, 3.5)
    assert (review["value_usd"], triage["value_usd"]) == (40.0, None)


@pytest.mark.usefixtures("worked")
def test_tasks_are_chosen_by_time_and_attribution(run: Callable[..., Any], read: Callable[..., Any]) -> None:
    """As in reports; a command below it takes no such choice."""
    (triage,) = read("tasks", "--where", "team=support", "--since", "1h")
    assert (triage["task_type"], triage["outcomes"]) == ("triage", {"done": 1})
    assert read("tasks", "--until", f"{datetime.now(UTC).year - 1}-01-01") == []
    assert run("tasks", "--since", "1h", "kill", "T-3", ok=False).exit_code == 2


def test_without_tasks_it_says_how_to_name_them(run: Callable[..., Any]) -> None:
    """A new user sees the line that is missing in the program."""
    assert "farthing.task(" in run("tasks").output
