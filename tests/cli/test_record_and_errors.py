"""Recording by hand; and errors: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Read = Callable[..., Any]


def test_a_call_by_hand(run: Run, read: Read) -> None:
    """Counts and attribution arrive, and the answer names the cost and how to have it explained."""
    words = run(
        "record", "--model", "gpt-4o", "--input", 1200, "--output", 450, "--agent", "style_analysis", "--user", "u1",
        "--set", "cost_center=42", "--set", "metadata.region=eu", "--at", "2026-11-01T10:00Z",
        "--usage", "web_searches=1",
    ).stdout  # fmt: skip
    assert "$" in words and "farthing explain" in words
    event = read("explain", "last")["event"]
    assert (event["agent"], event["user"], event["cost_center"]) == ("style_analysis", "u1", "42")
    assert event["metadata"] == {"region": "eu"}
    assert event["usage"] == {"input_tokens": 1200, "output_tokens": 450, "web_searches": 1}
    assert event["at"].startswith("2026-11-01T10:00:00")


def test_a_providers_response_from_a_pipe(run: Run, read: Read) -> None:
    """The counts, the model and the id come out of the response; twice the same counts once."""
    body = json.dumps(
        {"id": "msg_7", "type": "message", "role": "assistant", "model": "claude-sonnet-4-20250514", "content": [],
         "usage": {"input_tokens": 1500, "output_tokens": 1000}}
    )  # fmt: skip
    first = read("record", "--response", "-", "--agent", "writer", stdin=body)
    assert read("record", "--response", "-", "--agent", "writer", stdin=body)["id"] == first["id"]
    assert "known already" in run("record", "--response", "-", stdin=body).stdout
    total = read("report")["total"]
    assert (total["calls"], total["cost_pico"]) == (1, 19_500_000_000)


def test_a_failed_attempt_costs_nothing(run: Run, read: Read) -> None:
    """It is counted apart."""
    run("record", "--model", "gpt-4o", "--error", "429 rate limit", "--attempt", 1, "--input", 0)
    run("record", "--model", "gpt-4o", "--cache-hit", "--input", 500, "--output", 5)
    total = read("report")["total"]
    assert total["calls"] <= 1 and total["cache_hits"] == 1 and total["errors"] == 1
    assert total["cost_pico"] == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("nonsense",), 2, "No such command"),
        (("report", "--by", "colour"), 2, "unknown key 'colour'"),
        (("report", "--where", "agent"), 2, "not KEY=VALUE"),
        (("report", "--where", "colour=red"), 2, "unknown key 'colour'"),
        (("report", "--since", "soon"), 2, "'soon' is no moment"),
        (("report", "--limit", "0"), 2, "--limit"),
        (("explain", "last"), 1, "the ledger is empty"),
        (("explain", "abc"), 1, "no event 'abc'"),
        (("record", "--input", "5"), 2, "--model"),
        (("record", "--response", __file__), 2, "neither JSON nor a stream we know"),
        (("record", "--model", "m", "--set", "colour=red"), 2, "unknown field 'colour'"),
        (("record", "--model", "m", "--usage", "tokens=1"), 2, "unknown unit 'tokens'"),
        (("record", "--model", "m", "--usage", "input_tokens=x"), 2, "must be a finite number"),
        (("price", "m", "--usage", "audio_seconds=1e99999999"), 2, "audio_seconds = '1e99999999'"),
        (("price", "m", "--input", "7", "--usage", "input_tokens=5"), 2, "input_tokens=5: --input gives 7"),
        (("import",), 2, "Missing argument"),
        (("prices", "update", "--rollback", "--force"), 2, "--rollback"),
        (("prices", "update", "nowhere.json"), 1, "nowhere.json"),
        (("prices", "update", "http://example.org/p.json"), 1, "https only"),
        (("prices", "add", "m"), 1, "no rate was given"),
        (("prices", "add", "m", "--input", "cheap"), 1, "cheap"),
        (("--ledger", "/dev/null/x.db", "report"), 1, "/dev/null"),
        (("export", "--out", "nowhere/x.jsonl"), 1, "nowhere"),
    ],
)
def test_an_error_is_one_clear_line(run: Run, args: tuple[str, ...], code: int, words: str) -> None:
    """On standard error, with 2 for wrong use and 1 for what failed."""
    result = run(*args, ok=False)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_bad_lines_are_told_and_the_exit_code_says_so(run: Run, tmp_path: Path) -> None:
    """File, line and reason; the good lines are kept."""
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"at": "2026-11-01", "model": "gpt-4o", "input_tokens": 5}\nnonsense\n')
    result = run("import", path, ok=False)
    assert result.exit_code == 1
    assert "1 event added" in result.stdout and "mixed.jsonl:2: is no JSON" in result.stdout
    found = json.loads(run("import", path, "--json", ok=False).stdout)
    assert (found["duplicate"], found["problems"][0]["line"]) == (1, 2)


def test_csv_with_a_mapping(run: Run, read: Read, tmp_path: Path) -> None:
    """Columns are mapped on the command line, and the rows are for whom --attributes says."""
    path = tmp_path / "usage.csv"
    path.write_text("when,prompt,answer\n2026-11-01,1000,10\n2026-11-01,1000,10\n")
    run("import", path, "--map", "when=at", "--map", "prompt=input_tokens", "--map", "answer=output_tokens",
        "--model", "gpt-4o", "--attributes", "team=search")  # fmt: skip
    (row,) = read("report", "--by", "team")["rows"]
    assert (row["team"], row["calls"], row["cost_pico"]) == ("search", 2, 2 * (1000 * 2_500_000 + 10 * 10_000_000))


def test_hashed_users(run: Run, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where users are hashed, importing hashes them too, the same user to the same id."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    path = tmp_path / "a.jsonl"
    line = {"at": "2026-11-01", "model": "gpt-4o", "input_tokens": 5, "user": "ann@example.org"}
    path.write_text(json.dumps(line) + "\n" + json.dumps({**line, "input_tokens": 6}) + "\n")
    run("import", path)
    (row,) = read("report", "--by", "user")["rows"]
    assert row["calls"] == 2 and "ann" not in row["user"]
