"""Events in, an exact account out: import, report, overview, explain, verify, export."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Run = Callable[..., Result]
Read = Callable[..., Any]


def test_importing_twice_adds_nothing(run: Run, read: Read, sample_file: Path) -> None:
    """A file that is imported again is known already, line by line."""
    lines = len(sample_file.read_text().splitlines())
    first = read("import", sample_file)
    assert (first["added"], first["duplicate"], first["bad"]) == (lines, 0, 0)
    again = read("import", sample_file)
    assert (again["added"], again["duplicate"]) == (0, lines)


def test_every_breakdown_adds_up_to_the_same_total(filled: Run, read: Read) -> None:
    """Rows of any grouping sum up to the total, to the picodollar, and the total does not depend on the grouping."""
    totals = set()
    for key in ("agent", "model", "user", "team", "provider", "day", "feature", "price_status", "metadata.none"):
        found = read("report", "--by", key)
        total = found["total"]
        totals.add((total["cost_pico"], total["calls"], total["input_tokens"], total["output_tokens"]))
        assert sum(row["cost_pico"] for row in found["rows"]) == total["cost_pico"]
        assert sum(row["calls"] for row in found["rows"]) == total["calls"]
    assert len(totals) == 1
    assert totals.pop()[0] > 0


def test_a_limited_report_tells_what_it_leaves_out(filled: Run, read: Read) -> None:
    """The rows shown and the rest together are the total."""
    found = read("report", "--by", "user", "--limit", "3")
    assert len(found["rows"]) == 3
    assert sum(r["cost_pico"] for r in found["rows"]) + found["rest"]["cost_pico"] == found["total"]["cost_pico"]
    costs = [row["cost_pico"] for row in found["rows"]]
    assert costs == sorted(costs, reverse=True)


def test_a_report_tells_what_is_not_known(filled: Run) -> None:
    """Unpriced, estimated, unattributed, unbilled, and names that say nothing stand below the total."""
    words = filled("report", "--by", "agent", "--since", "30d").stdout
    for expected in ("unpriced", "estimated", "unattributed", "unbilled attempt", "cache hit", "agent_1", "total"):
        assert expected in words
    assert "\x1b" not in words and "─" not in words


def test_a_report_over_a_filter_counts_only_what_it_lets_through(filled: Run, read: Read) -> None:
    """--where, --since and --until narrow the events; an empty value means: not given."""
    everything = read("report")
    one = read("report", "--where", "agent=research_agent")
    assert [row["agent"] for row in one["rows"]] == ["research_agent"]
    nobody = read("report", "--where", "agent=", "--by", "model")
    assert nobody["total"]["calls"] == everything["unattributed"]["calls"] > 0
    assert read("report", "--since", "2d")["total"]["calls"] < everything["total"]["calls"]
    assert read("report", "--until", "2020-01-01")["total"]["calls"] == 0


def test_the_overview_answers_the_four_questions(filled: Run, read: Read) -> None:
    """How much, where, within budget, what is trending: on one screen, with the ledger's own total."""
    words = filled().stdout
    for expected in ("How much", "Where", "Within budget?", "What is trending", "today", "7 days", "agent", "user"):
        assert expected in words
    found = read()
    assert found["all"]["cost_pico"] == read("report")["total"]["cost_pico"]
    assert sum(day["cost_pico"] for day in found["daily"]) == found["all"]["cost_pico"]


def test_an_empty_ledger_gets_first_steps(run: Run) -> None:
    """Who starts is told how, not shown zeros."""
    words = run().stdout
    assert "Nothing has been recorded yet" in words
    assert "farthing import" in words and "CostTracker" in words


def test_explain_shows_the_lines_and_their_source(run: Run, read: Read) -> None:
    """1,500 tokens in and 1,000 out of claude-sonnet-4 are $0.0195, and every step to it is shown."""
    run("record", "--model", "claude-sonnet-4-20250514", "--input", 1500, "--output", 1000, "--agent", "writer")
    words = run("explain", "last").stdout
    for expected in (
        "$0.0195",
        "input_tokens",
        "1,500",
        "$3.00",
        "$0.0045",
        "$15.00",
        "$0.015",
        "writer",
        "genai-prices",
    ):
        assert expected in words
    found = read("explain", "last")
    assert found["cost_pico"] == 19_500_000_000
    assert [line["usd"] for line in found["lines"]] == ["0.0045", "0.015"]
    assert read("explain", found["event"]["id"][:20])["event"]["id"] == found["event"]["id"]


def test_explain_shows_corrections(run: Run, read: Read, tmp_path: Path) -> None:
    """A fuller observation of a known call is shown as the difference that it makes."""
    line = {"at": "2026-11-01T00:00:00Z", "provider": "openai", "model": "gpt-4o", "response_id": "r1"}
    for number, (usage, status) in enumerate(
        (({"input_tokens": 90}, "estimated"), ({"input_tokens": 100}, "reported"))
    ):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(line | {"usage": usage, "usage_status": status}) + "\n")
        run("import", path)
    found = read("explain", "r1")
    assert found["cost_pico"] == 100 * 2_500_000
    assert len(found["corrections"]) == 1
    assert "+$0.000025" in run("explain", "r1").stdout
    assert run("verify").exit_code == 0


def test_verify_recomputes_every_cost(filled: Run, read: Read, sample_file: Path) -> None:
    """What was imported agrees with its price records, and the sums with the events."""
    found = read("verify")
    assert found["holds"] and found["mismatches"] == 0
    assert found["events"] == len(sample_file.read_text().splitlines())
    assert found["cost_pico"] == read("report")["total"]["cost_pico"]


def test_verify_finds_a_cost_that_was_changed(filled: Run, tmp_path: Path) -> None:
    """Whoever changes one amount behind our back is found out, and the exit code says so."""
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        ledger.execute("DROP TRIGGER events_never_change")
        ledger.execute(
            "UPDATE events SET cost_pico = cost_pico + 1 WHERE seq = "
            "(SELECT min(seq) FROM events WHERE price_status = 'priced')"
        )
    ledger.close()
    result = filled("verify", ok=False)
    assert result.exit_code == 1
    assert "1 event with another cost" in result.stdout


def test_what_is_exported_can_be_imported(filled: Run, read: Read, tmp_path: Path, sample_file: Path) -> None:
    """Exported lines make the same ledger elsewhere, and add nothing where they are from."""
    out = tmp_path / "out.jsonl"
    filled("export", "--out", out)
    assert len(out.read_text().splitlines()) == len(sample_file.read_text().splitlines())
    assert read("import", out)["added"] == 0
    other = tmp_path / "other.db"
    filled("--ledger", other, "import", out)
    for key in ("agent", "model", "usage_status"):
        here, there = read("report", "--by", key), read("--ledger", other, "report", "--by", key)
        assert here["rows"] == there["rows"]


def test_ledger_and_json_may_stand_before_or_after_the_command(run: Run, tmp_path: Path) -> None:
    """Both positions mean the same."""
    other = tmp_path / "other.db"
    run("record", "--model", "gpt-4o", "--input", 10, "--output", 1, "--ledger", other)
    before = json.loads(run("--ledger", other, "--json", "report").stdout)
    after = json.loads(run("report", "--json", "--ledger", other).stdout)
    assert before == after
    assert before["total"]["calls"] == 1


def test_the_installed_program_reads_a_pipe_and_writes_plain_text(tmp_path: Path) -> None:
    """As a process of its own: lines on standard input, plain columns on standard output, nothing on standard error."""
    line = (
        '{"at": "2026-11-01T00:00:00Z", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 450, "agent": "a"}\n'
    )
    program = [sys.executable, "-c", "from farthing.cli import main; main()", "--ledger", str(tmp_path / "l.db")]
    done = subprocess.run([*program, "import", "-"], input=line, capture_output=True, text=True, check=True)
    assert "1 event added" in done.stdout
    assert done.stderr == ""
    report = subprocess.run([*program, "report"], capture_output=True, text=True, check=True).stdout
    assert "$0.0075" in report
    assert "\x1b" not in report
