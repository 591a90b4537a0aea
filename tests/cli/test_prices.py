"""Prices on the command line: explained, compared, added, updated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Read = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("own_prices")


def test_one_model_is_explained(run: Run, read: Read) -> None:
    """Its lines, its total, its price record, and what many calls cost."""
    words = run("price", "gpt-4o", "--input", 1500, "--cached", 1200, "--output", 350, "--times", 100_000).stdout
    for expected in ("$0.00575", "cache_read_tokens", "$1.25", "openai", "gpt-4o", "genai-prices", "$575.00"):
        assert expected in words
    found = read("price", "gpt-4o", "--input", 1500, "--cached", 1200, "--output", 350)
    assert found["cost_usd"] == "0.00575"
    assert found["provenance"]["matched"]


def test_request_context_changes_the_price(read: Read) -> None:
    """A batch costs half; --tier and --context say the same."""
    usual = read("price", "gpt-4o", "--input", 1000, "--output", 100)["cost_pico"]
    batch = read("price", "gpt-4o", "--input", 1000, "--output", 100, "--tier", "batch")["cost_pico"]
    spelt = read("price", "gpt-4o", "--input", 1000, "--output", 100, "--context", "processing=batch")["cost_pico"]
    assert batch == spelt == usual // 2


def test_prices_of_another_day(read: Read) -> None:
    """--at takes the price of that moment."""
    cheap = read("price", "o3", "--input", 1000, "--output", 0, "--at", "2026-01-01")["cost_pico"]
    dear = read("price", "o3", "--input", 1000, "--output", 0, "--at", "2025-05-01")["cost_pico"]
    assert (cheap, dear) == (2_000_000_000, 10_000_000_000)


def test_several_models_are_compared(run: Run, read: Read) -> None:
    """Cheapest first, each against the first one named; what has no price stands last and says why."""
    args = ("price", "gpt-4o", "gpt-4o-mini", "no-such-model", "--input", 1200, "--output", 450, "--times", 1000)
    found = read(*args)
    assert [row["model"] for row in found["models"]] == ["gpt-4o-mini", "gpt-4o", "no-such-model"]
    assert found["against"] == "gpt-4o"
    assert found["models"][0]["saves_usd"] == "7.05"
    assert found["models"][2]["cost_usd"] is None
    words = run(*args).stdout
    assert "-94 %" in words and "unpriced" in words and "unknown model 'no-such-model'" in words


def test_no_price_is_said_and_fails(run: Run) -> None:
    """Never $0: the reason, the remedy and exit code 1."""
    result = run("price", "no-such-model", ok=False)
    assert result.exit_code == 1
    assert "unpriced" in result.stdout and "farthing prices add no-such-model" in result.stdout
    assert "$0.00" not in result.stdout


def test_a_misspelt_tier_needs_no_price_of_ones_own(run: Run) -> None:
    """The near tier is named; another price of the model would be no remedy."""
    result = run("price", "gpt-5", "--tier", "flexx", ok=False)
    assert result.exit_code == 1 and "did you mean 'flex'" in result.stdout and "prices add" not in result.stdout


def test_impossible_counts_are_refused(run: Run) -> None:
    """The rule is named; exit code 2."""
    result = run("price", "gpt-4o", "--input", 10, "--cached", 11, ok=False)
    assert result.exit_code == 2
    assert "cache_read_tokens = 11" in result.stderr and "cannot exceed" in result.stderr


def test_a_price_of_ones_own_is_kept_used_and_removed(run: Run, read: Read) -> None:
    """It holds for the next command too, the same again replaces it, and remove takes it away."""
    run("prices", "add", "my-model", "--input", "1.50", "--output", "5.00")
    assert read("price", "my-model", "--input", 1000, "--output", 500)["cost_usd"] == "0.004"
    run("prices", "add", "my-model", "--input", "3", "--output", "5", "--cached", "0.3")
    assert read("price", "my-model", "--input", 1000, "--output", 0)["cost_usd"] == "0.003"
    assert len(read("prices", "history", "my-model")) == 1
    run("prices", "remove", "my-model")
    assert run("price", "my-model", ok=False).exit_code == 1
    assert run("prices", "remove", "my-model", ok=False).exit_code == 1


def test_prices_by_other_units_and_patterns(run: Run, read: Read) -> None:
    """By the second, and for every model that a pattern finds."""
    run("prices", "add", "ears", "--unit", "SECONDS", "--total-price", "0.0001", "--match", "^ears-")
    assert read("price", "ears-v2", "--usage", "audio_seconds=61.5")["cost_usd"] == "0.00615"


def test_the_list_the_record_and_the_history(run: Run, read: Read) -> None:
    """Every model can be found, looked at, and followed through time."""
    rows = read("prices", "list", "gpt-4o", "--provider", "openai")
    assert {"provider": "openai", "model": "gpt-4o"}.items() <= {**rows[0]}.items() or any(
        (row["model"], row["input"], row["output"]) == ("gpt-4o", "5/2", "10") for row in rows
    )
    assert run("prices", "list", "zzz-nothing", ok=False).exit_code == 1
    shown = run("prices", "show", "gpt-4o").stdout
    assert "input_tokens" in shown and "$2.50" in shown and "batch" in shown
    assert len(read("prices", "history", "o3")) > 1
    assert run("prices", "show", "no-such-model", ok=False).exit_code == 1


def provider(price: float, *models: str) -> list[dict[str, Any]]:
    return [
        {
            "id": "openai", "name": "OpenAI", "api_pattern": "x", "model_match": None,
            "models": [
                {"id": name, "match": {"equals": name}, "prices": {"input_mtok": price, "output_mtok": 4 * price}}
                for name in models
            ],
        }
    ]  # fmt: skip


def test_an_update_is_shown_taken_kept_and_undone(run: Run, read: Read, tmp_path: Path) -> None:
    """The difference, the new price in force, the refusal of a leap, and the way back."""
    names = [f"model-{i}" for i in range(4)]
    first, second, leap = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "leap.json"
    first.write_text(json.dumps(provider(2.0, *names)))
    second.write_text(json.dumps(provider(3.0, *names, "model-new")))
    leap.write_text(json.dumps(provider(31.0, *names, "model-new")))

    assert run("prices", "update", first, ok=False).exit_code == 1  # it loses nearly all models
    run("prices", "update", first, "--force")
    assert read("price", "model-0", "--input", 1000, "--output", 0)["cost_usd"] == "0.002"

    found = read("prices", "update", second, "--dry-run")
    assert [row["model"] for row in found["added"]] == ["model-new"]
    assert {(row["old"], row["new"]) for row in found["changed"]} == {("2.00", "3.00"), ("8.00", "12.00")}
    assert read("price", "model-0", "--input", 1000, "--output", 0)["cost_usd"] == "0.002"
    run("prices", "update", second)
    assert read("price", "model-0", "--input", 1000, "--output", 0)["cost_usd"] == "0.003"

    refused = run("prices", "update", leap, ok=False)
    assert refused.exit_code == 1 and "mistake" in refused.stderr and "--force" in refused.stderr
    assert read("price", "model-0", "--input", 1000, "--output", 0)["cost_usd"] == "0.003"

    run("prices", "update", "--rollback")
    assert read("price", "model-0", "--input", 1000, "--output", 0)["cost_usd"] == "0.002"
    run("prices", "update", "--rollback")
    assert read("price", "gpt-4o", "--input", 1000, "--output", 0)["cost_usd"] == "0.0025"
    assert run("prices", "update", "--rollback", ok=False).exit_code == 1


def test_recorded_events_keep_their_price(run: Run, read: Read, tmp_path: Path) -> None:
    """A newer price changes nothing of what was recorded, and verify still holds."""
    for price in ("2.0", "3.0"):
        path = tmp_path / f"{price}.json"
        path.write_text(json.dumps(provider(float(price), "model-0", "model-1")))
        run("prices", "update", path, "--force")
        run("record", "--model", "model-0", "--provider", "openai", "--input", 1000, "--output", 0)
    assert read("report")["total"]["cost_pico"] == 5_000_000_000
    assert read("verify")["holds"]
