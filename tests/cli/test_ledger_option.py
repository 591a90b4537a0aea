"""`--ledger`: a ledger that was named and is not there is not made by looking for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from farthing.cli.app import farthing

BUDGETS = (
    *("budgets", "budgets remove a", "budgets raise a 5", "budgets history", "budgets alerts", "budgets suggest --set"),
    *("budgets try --usd 5", "approvals", "approvals grant 1", "approvals refuse 1", "top --once", "forecast"),
)
PEOPLE = ("agents", "agents resume a", "tasks", "tasks killed", "tasks revive t")


def test_reading_a_ledger_that_is_not_there_says_so_and_makes_none(tmp_path: Path) -> None:
    """A typo in the path is no empty ledger."""
    missing = tmp_path / "typo.db"
    commands = ("report", "verify", "explain last", "", *BUDGETS, *PEOPLE)
    for command in commands:
        result = CliRunner().invoke(farthing, ["--ledger", str(missing), *command.split()])
        assert result.exit_code == 1 and f"there is no ledger at {missing}" in result.output, command
        assert not missing.exists()


def test_recording_makes_the_ledger(tmp_path: Path) -> None:
    """The first record is what makes one."""
    new = tmp_path / "new.db"
    result = CliRunner().invoke(farthing, ["--ledger", str(new), "record", "--model", "gpt-4o", "--input", "1"])
    assert result.exit_code == 0 and new.exists(), result.output


@pytest.mark.parametrize(
    "command",
    ["budgets set --usd 5", "budgets apply b.toml", "agents pause a", "agents set a --critical", "tasks kill t"],
)
def test_what_is_kept_in_a_new_ledger_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """These may be the first words about a ledger, and a typo is seen at once; the second time it is not new."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.toml").write_text("[[budgets]]\nusd = 5\n")
    new = tmp_path / "new.db"
    result = CliRunner().invoke(farthing, ["--ledger", str(new), *command.split()])
    assert result.exit_code == 0 and f"in a new ledger: {new}\n" in result.output, result.output
    result = CliRunner().invoke(farthing, ["--ledger", str(new), *command.split()])
    assert "in a new ledger" not in result.output


def test_a_plan_makes_no_ledger(tmp_path: Path) -> None:
    """A dry run is a look."""
    (tmp_path / "b.toml").write_text("[[budgets]]\nusd = 5\n")
    missing = tmp_path / "typo.db"
    result = CliRunner().invoke(
        farthing, ["--ledger", str(missing), "budgets", "apply", str(tmp_path / "b.toml"), "--dry-run"]
    )
    assert result.exit_code == 1 and "there is no ledger at" in result.output and not missing.exists()
