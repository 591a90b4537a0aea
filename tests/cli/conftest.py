"""What the tests of the command line share: a runner, and a ledger with some days of a made-up company."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from farthing.cli.app import farthing
from farthing.pricing import Catalog
from farthing.sample import SamplePlan, sample_lines

Run = Callable[..., Result]
"""run("report", "--by", "model") -> what it printed and its exit code; `ok=False` where it is meant to fail."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs commands in an empty working directory, on a ledger of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARTHING_URL", str(tmp_path / "ledger.db"))

    def run_it(*args: object, stdin: str | bytes | None = None, ok: bool = True) -> Result:
        result = CliRunner().invoke(farthing, [str(arg) for arg in args], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if ok:
            assert result.exit_code == 0, result.output
        return result

    return run_it


@pytest.fixture
def read(run: Run) -> Callable[..., Any]:
    """Runs a command with --json and gives what it says."""

    def read_it(*args: object, **more: Any) -> Any:
        return json.loads(run("--json", *args, **more).stdout)

    return read_it


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 1,500 event lines of ten days that end now."""
    path = tmp_path_factory.mktemp("sample") / "sample.jsonl"
    plan = SamplePlan(end=datetime.now(UTC), days=10, events=1_500, models=16)
    with path.open("w") as file:
        file.writelines(sample_lines(plan))
    return path


@pytest.fixture
def filled(run: Run, sample_file: Path) -> Run:
    """The runner, its ledger filled with the sample."""
    run("import", sample_file)
    return run


@pytest.fixture
def own_prices() -> Iterator[None]:
    """The common price list is read anew for this test, and again after it."""
    Catalog.reset_default()
    yield
    Catalog.reset_default()
