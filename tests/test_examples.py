"""Every example runs as it stands and prints the figures that its text promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

PROMISED = {
    "attribution.py": ("ranker: 3 calls, 1 unbilled attempt",),
    "own_prices.py": ("my-custom-model: $0.004", "house-llama-70b-q4: $0.0032", "$0.0000002 per 1"),
    "quickstart.py": ("this run: $0.02883", '"total_calls": 3'),
    "raw_responses.py": ("$0.00575 (priced)", "$0.0195 (priced)", "adds nothing: 2 calls, $0.02525"),
    "traces.py": ("$0.0045 + $0.015 = $0.0195", "content_analysis of user_123: 1 observation, $0.0195"),
}


def run(name: str, home: Path) -> str:
    env = {**os.environ, "HOME": str(home), "FARTHING_DATA_DIR": str(home / "data")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)], cwd=home, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """Without a warning, in an empty directory, with the promised figures."""
    printed = run(name, tmp_path)
    for promise in PROMISED[name]:
        assert promise in printed


def test_every_promise_has_an_example() -> None:
    """No example stands here that is not in the folder."""
    assert set(PROMISED) <= {path.name for path in EXAMPLES.glob("*.py")}


def test_the_quickstart_prints_the_same_run_twice(tmp_path: Path) -> None:
    """The second run shows the same totals of its own, and twice the calls of the ledger."""
    first, second = run("quickstart.py", tmp_path), run("quickstart.py", tmp_path)
    assert first.splitlines()[:-1] == second.splitlines()[:-1]
    assert first.splitlines()[-1] == "all runs: 3 calls, $0.02883"
    assert second.splitlines()[-1] == "all runs: 6 calls, $0.05766"
