"""What `farthing agents` and `farthing tasks` answer to a name, also to a mistyped one in the midst of an incident."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing import TaskKilledError
from farthing.budgets.guard import Guard
from farthing.ledger.open import open_ledger

Run = Callable[..., Any]


def _record(run: Run, *more: object) -> None:
    run("record", "--model", "gpt-4o", "--input", 1000, *more)


def test_a_mistyped_agent_is_paused_with_a_warning(run: Run, read: Run) -> None:
    """The pause holds, for the agent may yet come; but nobody believes that another was stopped."""
    _record(run, "--agent", "researcher")
    _record(run, "--agent", "writer", "--set", "org=acme")
    out = run("agents", "pause", "researchr").output
    assert out.startswith("paused: researchr\nno call of an agent 'researchr' is in the ledger; did you mean 'research")
    assert run("agents", "pause", "researcher").output == "paused: researcher\n"
    assert "there is one of acme: say --org acme" in run("agents", "pause", "writer").output
    said = run("agents", "pause", "scout", "--org", "acme").output
    assert "no call of an agent 'scout' of acme is in the ledger\n" in said
    assert read("agents", "pause", "researchr")["known"] is False
    assert read("agents", "pause", "writer", "--org", "acme")["known"] is True
    assert "known" not in read("agents", "pause", "--noncritical")


def test_resuming_what_is_not_paused_says_so(run: Run, read: Run) -> None:
    """Nothing goes on that did not stand still; the one that is meant is named."""
    run("agents", "pause", "researcher")
    run("agents", "pause", "writer", "--org", "acme")
    assert "researchr is not paused; did you mean 'researcher'?" in run("agents", "resume", "researchr").output
    assert "writer is not paused; there is one of acme: say --org acme" in run("agents", "resume", "writer").output
    assert read("agents", "resume", "writer") == {"resumed": None, "org": "default", "paused_in": ["acme"]}
    assert run("agents", "resume", "researcher").output == "goes on: researcher\n"
    assert run("agents", "resume", "researcher").output == "researcher is not paused\n"
    assert "what is not critical is not paused\n" in run("agents", "resume", "--noncritical").output
    run("agents", "pause", "--noncritical")
    assert run("agents", "resume", "pager").output == "goes on: pager\n"
    assert "goes on: all agents" in run("agents", "resume", "--noncritical").output


def test_a_task_that_nobody_knows_is_killed_with_a_warning(run: Run, read: Run) -> None:
    """A task that has not called yet may be meant, and so may one of another organisation."""
    _record(run, "--task", "t-1")
    _record(run, "--task", "t-2", "--set", "org=acme")
    assert "no call of a task" not in run("tasks", "kill", "t-1").output
    assert "no call of a task 't-9' is in the ledger\n" in run("tasks", "kill", "t-9").output
    assert "there is one of acme: say --org acme" in run("tasks", "kill", "t-2").output
    assert read("tasks", "kill", "t-2", "--org", "acme") == {"killed": "t-2", "org": "acme", "known": True}


def test_a_killing_is_listed_and_taken_back(run: Run, read: Run, tmp_path: Path) -> None:
    """Who killed what and why; revived, its calls pass again, in every process."""
    run("record", "--model", "gpt-4o", "--input", 10)
    assert run("tasks", "killed").output == "No task is killed.\n"
    said = run("tasks", "kill", "the long one", "--by", "ann", "--reason", "it loops", "--org", "acme").output
    assert "farthing tasks revive 'the long one' --org acme" in said
    run("tasks", "kill", "t-1", "--by", "bob")
    (first, second) = read("tasks", "killed")
    assert (first["task"], second["task"]) == ("t-1", "the long one")
    assert (second["org"], second["by"], second["reason"]) == ("acme", "ann", "it loops")
    assert "the long one of acme" in run("tasks", "killed").output and "it loops" in run("tasks", "killed").output
    assert [one["task"] for one in read("tasks", "killed", "--org", "acme")] == ["the long one"]
    with open_ledger(str(tmp_path / "ledger.db")) as store:
        guard = Guard(lambda: store)
        with pytest.raises(TaskKilledError):
            guard.check(task="t-1")
        assert run("tasks", "revive", "t-1", "--reason", "all is well").output == "revived: t-1\n"
        guard.people.refresh()
        guard.check(task="t-1")
    assert [one["task"] for one in read("tasks", "killed")] == ["the long one"]
    assert run("tasks", "revive", "t-1").output == "t-1 is not killed\n"
    said = run("tasks", "revive", "the long one").output
    assert said == "the long one is not killed; there is one of acme: say --org acme\n"
    assert read("tasks", "revive", "the long one") == {"revived": None, "org": "default"}
    assert read("tasks", "revive", "the long one", "--org", "acme")["revived"] == "the long one"
