"""`farthing import claude-code` and its like, on the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from farthing.cli import import_logs

Run = Callable[..., Result]
Read = Callable[..., Any]


@pytest.fixture
def claude(own_home: Path) -> Path:
    """A log where Claude Code keeps it: two calls of one project."""
    path = own_home / ".claude" / "projects" / "-home-ada-shop" / "s.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(answer(n) for n in (1, 2)))
    return path


def answer(number: int) -> str:
    usage = {"input_tokens": 1000, "output_tokens": 100}
    message = {"id": f"msg_{number:024d}", "model": "claude-sonnet-4-5", "stop_reason": "end_turn", "usage": usage}
    told = {"type": "assistant", "sessionId": "s", "cwd": "/home/ada/shop", "gitBranch": "SHOP-1-basket"}
    return (
        json.dumps({**told, "message": message, "requestId": f"r{number}", "timestamp": "2026-02-03T10:00:00Z"}) + "\n"
    )


def test_the_default_place_is_found_and_reports_answer(run: Run, read: Read, claude: Path) -> None:
    """No path, no option: cost per project, per branch, per ticket. Again: nothing new, nothing read."""
    first = read("import", "claude-code")
    assert (first["added"], first["read"], first["logs"], first["bad"]) == (2, 1, 1, 0)
    again = read("import", "claude-code")
    assert (again["added"], again["duplicate"], again["read"]) == (0, 0, 0)
    for key, value in (("project", "shop"), ("git_branch", "SHOP-1-basket"), ("ticket", "SHOP-1")):
        rows = read("report", "--by", f"metadata.{key}")["rows"]
        assert [(row["calls"], row["cost_pico"]) for row in rows] == [(2, 9_000_000_000)]
        assert value in json.dumps(rows)
    assert "2 events added" in run("--ledger", "other.db", "import", "claude-code", claude.parent).stdout


def test_attributes_and_who_pays_can_be_told(run: Run, read: Read, claude: Path) -> None:
    """A subscription's calls are marked; the machine is this one unless told."""
    attributes = "team=web,metadata.machine=laptop"
    found = read("import", "claude-code", "--subscription", "--attributes", attributes)
    assert found["subscription"] == 2
    assert "laptop" in json.dumps(read("report", "--by", "metadata.machine")["rows"])
    assert "web" in json.dumps(read("report", "--by", "team")["rows"])


def test_bad_lines_are_shown_and_the_exit_code_says_so(run: Run, claude: Path) -> None:
    """With file, line and reason."""
    with claude.open("a") as file:
        file.write("garbage\n")
    result = run("import", "claude-code", ok=False)
    assert result.exit_code == 1
    assert f"{claude}:3" in result.stdout.replace("\n", "") and "is no JSON" in result.stdout


@pytest.mark.parametrize("name", ["claude-code", "codex", "gemini-cli", "opencode"])
def test_without_logs_it_says_where_it_looked(run: Run, own_home: Path, name: str) -> None:
    """One clear line, exit code 1."""
    result = run("import", name, ok=False)
    assert result.exit_code == 1
    assert f"no logs of {name} in" in result.output


def test_a_file_of_an_agents_name_is_a_file(run: Run, read: Read, tmp_path: Path) -> None:
    """What is there goes before what is called so."""
    event = {"at": "2026-02-03T10:00:00Z", "model": "gpt-4o", "input_tokens": 10, "output_tokens": 1}
    (tmp_path / "codex").write_text(json.dumps(event) + "\n")
    assert read("import", "codex", "--format", "jsonl")["added"] == 1


def test_options_may_stand_before_the_name(run: Run, claude: Path, tmp_path: Path) -> None:
    """--json and --ledger are every command's."""
    result = run("import", "--json", "--ledger", tmp_path / "x.db", "claude-code", "--metered")
    assert json.loads(result.stdout)["added"] == 2


def test_watching_ends_cleanly(run: Run, claude: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written meanwhile is told line by line; Ctrl-C is no failure."""
    more = claude.read_text() + answer(3)
    waits = iter((lambda: claude.write_text(more), None))

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            step = next(waits)
            if step is None:
                raise KeyboardInterrupt
            step()
            return False

    monkeypatch.setattr(import_logs.threading, "Event", Impatient)
    result = run("import", "claude-code", "--watch")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert "2 events added" in first and "1 event added" in second
    assert "stopped" in result.stderr
