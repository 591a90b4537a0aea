"""`--ledger`: a ledger that was named and is not there is not made by looking for it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from farthing.cli.app import farthing


def test_reading_a_ledger_that_is_not_there_says_so_and_makes_none(tmp_path: Path) -> None:
    """A typo in the path is no empty ledger."""
    missing = tmp_path / "typo.db"
    for command in ("report", "verify", "explain last", ""):
        result = CliRunner().invoke(farthing, ["--ledger", str(missing), *command.split()])
        assert result.exit_code == 1 and f"there is no ledger at {missing}" in result.output, command
        assert not missing.exists()


def test_recording_makes_the_ledger(tmp_path: Path) -> None:
    """The first record is what makes one."""
    new = tmp_path / "new.db"
    result = CliRunner().invoke(farthing, ["--ledger", str(new), "record", "--model", "gpt-4o", "--input", "1"])
    assert result.exit_code == 0 and new.exists(), result.output
