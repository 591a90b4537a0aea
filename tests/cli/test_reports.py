"""The commands of reporting, end to end: periods, formats, and that every form says the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Read = Callable[..., Any]
TODAY = datetime.now(UTC)


def test_every_format_has_the_same_total(filled: Run, read: Read, tmp_path: Path) -> None:
    """Text, JSON, CSV, Markdown and HTML of one report, to the terminal and to files."""
    said = read("report", "30d", "--by", "agent")
    total = Decimal(said["total"]["cost_pico"]).scaleb(-12)
    rows = list(csv.DictReader(io.StringIO(filled("report", "30d", "--by", "agent", "--format", "csv").stdout)))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == total
    assert [row["agent"] for row in rows] == [row["agent"] or "" for row in said["rows"]]
    text = filled("report", "30d", "--by", "agent").stdout
    shown = next(line for line in text.splitlines() if line.startswith("total")).split()[-3]
    for name in ("r.md", "r.html", "r.txt", "r.csv", "r.json"):
        filled("report", "30d", "--by", "agent", "--out", tmp_path / name)
    assert shown.startswith("$") and shown in (tmp_path / "r.md").read_text()
    assert shown in (tmp_path / "r.html").read_text() and (tmp_path / "r.txt").read_text() == text
    assert json.loads((tmp_path / "r.json").read_text())["total"] == said["total"]
    assert filled("report", "30d", "--by", "agent", "--format", "json").stdout == (tmp_path / "r.json").read_text()
    assert "| agent |" in filled("report", "30d", "--format", "md").stdout


def test_nesting_and_top_rows(filled: Run, read: Read) -> None:
    """--by may be repeated or joined by commas; --top and --limit are one option; a key twice is a mistake."""
    joined = filled("report", "--by", "team,agent", "--top", "2").stdout
    assert joined == filled("report", "--by", "team", "--by", "agent", "--limit", "2").stdout
    assert "team / agent" in joined and "more" in joined
    found = read("report", "--by", "team,agent", "--top", "2")
    assert len(found["rows"]) == 2
    assert sum(r["cost_pico"] for r in found["rows"]) + found["rest"]["cost_pico"] == found["total"]["cost_pico"]
    assert "named twice" in filled("report", "--by", "agent,agent", ok=False).output


def test_comparing_and_caching(filled: Run, read: Read) -> None:
    """With the days before; savings and percentiles beside; without a period there is nothing to compare with."""
    found = read("report", "3d", "--compare", "--caching", "--percentiles")
    assert found["total"]["before"]["cost_pico"] > 0
    caching = found["total"]["caching"]
    assert caching["net_pico"] == caching["saved_pico"] - caching["writes_cost_more_pico"]
    spread = found["total"]["percentiles_pico"]
    assert 0 <= spread["p50"] <= spread["p95"] <= spread["p99"] <= spread["max"]
    words = filled("report", "--since", "3d", "--compare").stdout
    assert "compared with" in words and "change" in words
    assert "--compare needs a period" in filled("report", "--compare", ok=False).output
    assert "no period" in filled("report", "sometime", ok=False).output


def test_what_is_owed_is_apart_from_plans(run: Run, read: Read) -> None:
    """A call inside a flat plan has a list price that nobody owes."""
    lines = [
        {"at": TODAY.isoformat(), "id": f"x{n}", "provider": "openai", "model": "gpt-4o", "agent": "a",
         "usage": {"input_tokens": 1_000_000}, **({"billing": "subscription"} if n else {})}
        for n in range(2)
    ]  # fmt: skip
    run("import", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
    total = read("report")["total"]
    assert (total["owed_usd"], total["subscription_usd"], total["cost_usd"]) == (2.5, 2.5, 5.0)
    words = run("report").stdout
    assert "in plans" in words and "nobody owes" in words


def test_the_budget_report(filled: Run, read: Read, tmp_path: Path) -> None:
    """Daily, weekly and monthly: what was spent, budgets, parts; in every format; --until moves it into the past."""
    filled("budgets", "set", "agent=research_agent", "--usd", "1", "--per", "month")
    for window, unit in (("daily", "day"), ("weekly", "week"), ("monthly", "month")):
        found = read("report", window)
        assert found["window"] == unit and found["through"].startswith(str(TODAY.date()))
        assert found["forecast"]["forecast"] >= found["owed_pico"]
        assert sum(row["cost_pico"] for row in found["by_agent"]) == found["total"]["cost_pico"]
        assert sum(row["cost_pico"] for row in found["over_time"]) == found["total"]["cost_pico"]
    (budget,) = read("report", "monthly")["budgets"]
    assert budget["covers"] == "agent=research_agent" and budget["limit"] == 10**12
    words = filled("report", "monthly").stdout
    for part in ("Budget report", "owed", "Budgets", "By agent", "By model", "agent=research_agent"):
        assert part in words
    for name in ("b.html", "b.md", "b.csv"):
        filled("report", "monthly", "--out", tmp_path / name)
        assert "research_agent" in (tmp_path / name).read_text().replace("\\", "")
    past = read("report", "daily", "--until", str((TODAY - timedelta(days=2)).date()))
    assert past["over"] and past["forecast"] is None


def test_a_budget_report_of_nothing(run: Run, read: Read) -> None:
    """The day has just begun: programs find every part, empty; people are not shown tables without rows."""
    found = read("report", "daily")
    assert found["total"]["calls"] == 0
    assert [found[f"by_{key}"] for key in ("agent", "model", "team", "user")] == [[], [], [], []]
    assert "By agent" not in run("report", "daily").stdout


def test_other_currencies(filled: Run, tmp_path: Path) -> None:
    """Shown at the rate of the file, which is stated; without a file it is said how to get one."""
    missing = filled("report", "--currency", "EUR", ok=False)
    assert missing.exit_code == 1 and "rates.toml" in missing.output
    (tmp_path / "r.toml").write_text('source = "ECB"\n[[rates]]\ndate = 2020-01-01\nEUR = 0.5\n')
    words = filled("report", "--currency", "eur", "--rates", tmp_path / "r.toml").stdout
    assert "€" in words and "1 USD = 0.5 EUR, rate of 2020-01-01 (ECB)" in words
    rows = list(csv.DictReader(io.StringIO(
        filled("report", "--currency", "EUR", "--rates", tmp_path / "r.toml", "--format", "csv").stdout)))  # fmt: skip
    assert all(Decimal(row["cost_eur"]) * 2 == Decimal(row["cost_usd"]) for row in rows if int(row["calls"]) > 20)


def test_csv_is_no_program(run: Run) -> None:
    """A name that a spreadsheet would run is told as text."""
    run("record", "--model", "gpt-4o", "--input", "10", "--agent", "=HYPERLINK(1)")
    assert "\n'=HYPERLINK(1)," in run("report", "--format", "csv").stdout
    assert "'=HYPERLINK(1)" in run("export", "--format", "csv").stdout


def test_why_whatif_forecast_and_top(filled: Run, read: Read) -> None:
    """Each has a screen and JSON."""
    found = read("why", "3d")
    assert sum(found["parts_pico"].values()) == found["difference_pico"]
    assert found["sentence"] in filled("why", "3d").stdout
    assert filled("why", str(TODAY.date() - timedelta(days=1)), str(TODAY.date())).stdout
    swapped = read("whatif", "30d", "--model", "gpt-4o*=gpt-5-mini", "--tokens", "1.2")
    assert {one["instead"] for one in swapped} == {"gpt-5-mini"}
    assert "What if" in filled("whatif", "--tier", "batch", "--since", "30d").stdout
    for args in ((), ("--model", "a="), ("--model", "a=b", "--tokens", "x")):
        assert filled("whatif", *args, ok=False).exit_code == 2
    ahead = read("forecast", "--window", "week")
    assert ahead["all"]["forecast"] >= ahead["all"]["posted"] and ahead["all"]["how"]
    assert "how:" in filled("forecast").stdout
    look = read("top", "--once", "--by", "model", "--sort", "cost")
    costs = [row["last_24_hours_pico"] for row in look["rows"]]
    assert costs == sorted(costs, reverse=True)
    assert "burn rate" in filled("top").stdout
    assert filled("top", "--by", "day", ok=False).exit_code == 2


def test_correct_reprice_and_close(filled: Run, read: Read, own_prices: None) -> None:
    """A price is corrected, what it changes is told, applied, and done; a closed month is listed."""
    shown = filled("prices", "correct", "gpt-4o", "--input", "5", "--output", "20").stdout
    assert "would be" in shown and "farthing reprice --since" in shown
    told = read("reprice", "--since", "1y", "--dry-run")
    assert not told["applied"] and told["difference_pico"] > 0
    before = read("report")["total"]["cost_pico"]
    done = read("reprice", "--since", "1y")
    assert done["corrections"] == told["calls"] and done["difference_pico"] == told["difference_pico"]
    assert read("report")["total"]["cost_pico"] == before + done["difference_pico"]
    assert read("reprice", "--since", "1y")["calls"] == 0
    assert filled("verify").exit_code == 0
    assert filled("reprice", ok=False).exit_code == 2
    assert "None is closed" in filled("close").stdout
    filled("close", "2020-01", "--by", "me")
    assert [one["month"] for one in read("close")] == ["2020-01"]
    assert "closed already" in filled("close", "2020-01", ok=False).output
    assert "is not over" in filled("close", f"{TODAY:%Y-%m}", ok=False).output
    assert "is no month" in filled("close", "today", ok=False).output


def test_chargeback_with_and_without_a_file(filled: Run, read: Read, tmp_path: Path) -> None:
    """The statements add up; the file may be named or lie in the data folder."""
    owed = read("report", "30d", "--where", "billing=metered")["total"]["cost_pico"]
    plain = read("chargeback", "30d")
    assert sum(one["total_pico"] for one in plain["statements"]) == plain["total_pico"] == owed
    (tmp_path / "a.toml").write_text('[[map]]\nagent = "research_agent"\nteam = "labs"\ncost_center = "7"\n')
    mapped = read("chargeback", "30d", "--allocation", tmp_path / "a.toml")
    assert mapped["total_pico"] == owed and "labs" in {one["team"] for one in mapped["statements"]}
    text = filled("chargeback", "30d", "--allocation", tmp_path / "a.toml", "--short").stdout
    assert "labs" in text and "total" in text
    rows = list(csv.DictReader(io.StringIO(filled("chargeback", "30d", "--format", "csv").stdout)))
    assert sum(Decimal(row["usd"]) for row in rows if row["kind"] != "total") == Decimal(owed).scaleb(-12)
    billed = sum(Decimal(row["billed_usd"]) for row in rows if row["kind"] == "total")
    assert abs(billed - Decimal(owed).scaleb(-12)) <= Decimal("0.005")


@pytest.mark.parametrize("kind", ["csv", "focus", "parquet", "jsonl"])
def test_exports_add_up(filled: Run, read: Read, tmp_path: Path, kind: str) -> None:
    """Each format holds every event once; the name of the file tells the format."""
    total = Decimal(read("report")["total"]["cost_pico"]).scaleb(-12)
    name = tmp_path / f"e.{'csv' if kind == 'focus' else kind}"
    filled("export", "--out", name, *(("--format", "focus") if kind == "focus" else ()))
    if kind == "parquet":
        import duckdb

        query = f"SELECT sum(cost), count(*), sum(calls) FROM '{name}'"
        cost, count, calls = duckdb.connect().execute(query).fetchone()
        assert cost == total and count > calls > 0
        assert filled("export", "--format", "parquet", ok=False).exit_code == 2
        return
    with name.open(newline="") as file:
        if kind == "jsonl":
            found = sum(Decimal(json.loads(line).get("cost_usd", 0)) for line in file)
        else:
            rows = list(csv.DictReader(file))
            column = "cost_usd" if kind == "csv" else "ListCost"
            found = sum(Decimal(row[column] or 0) for row in rows)
    assert found == total


def test_reconcile_with_and_without_a_ledger(filled: Run, read: Read, tmp_path: Path) -> None:
    """A bill made of what the ledger has is seen whole; without a ledger it is a first look; both exit with 0."""
    rows = read(
        "report", "30d", "--by", "day,provider,model", "--where", "provider=openai", "--where", "billing=metered"
    )
    bill = tmp_path / "openai.csv"
    with bill.open("w") as file:
        file.write("date,model,cost_usd,provider\n")
        file.writelines(
            f"{row['day']},{row['model']},{Decimal(row['cost_pico']).scaleb(-12):f},openai\n" for row in rows["rows"]
        )
    found = read("reconcile", bill)
    assert found["billed_pico"] == found["seen_pico"] == rows["total"]["cost_pico"]
    assert found["counts"] == {"matched": len(found["rows"]), "differs": 0, "missing": 0, "extra": 0}
    assert "We see 100 % of this bill" in filled("reconcile", bill).stdout
    first = filled("--ledger", tmp_path / "nowhere.db", "reconcile", bill)
    assert "the ledger has nothing" in first.stdout and not (tmp_path / "nowhere.db").exists()


def test_a_key_that_is_asked_for_twice_is_a_mistake(filled: Run) -> None:
    """Of two values only one could count, so neither is silently dropped."""
    said = filled("report", "--where", "agent=a", "--where", "agent=b", ok=False)
    assert said.exit_code == 2 and "'agent' is given twice" in said.output


def test_sql_shows_every_digit_of_an_amount(filled: Run) -> None:
    """Nothing and next to nothing are written out, not as powers of ten; an empty statement is told what to be."""
    said = filled("sql", "SELECT 0::DECIMAL(20, 12) AS a, 0.000000000001::DECIMAL(20, 12) AS b").stdout
    assert said.splitlines()[1].split() == ["0.000000000000", "0.000000000001"]
    assert "write a SELECT" in filled("sql", " ", ok=False).output
    assert "not a table function" in filled("sql", "SELECT * FROM glob('*')", ok=False).output


def test_a_closed_month_is_reported_as_it_was(run: Run, read: Read) -> None:
    """What is recorded for it later is in the next month, in every report; the ledger's own sums go by the call."""
    this = TODAY.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    past = (this - timedelta(days=1)).replace(day=1)
    last, usual = f"{past:%Y-%m}", ("record", "--model", "gpt-4o", "--input", 1_000_000, "--at")
    run(*usual, f"{last}-10", "--agent", "a")
    run("close", last)
    run(*usual, f"{last}-11", "--agent", "late")
    pico = 2_500_000_000_000
    assert [read("report", name)["total"]["cost_pico"] for name in (last, f"{this:%Y-%m}", f"{last}-01..")] == [
        pico,
        pico,
        2 * pico,
    ]
    assert [row["agent"] for row in read("report", last, "--caching", "--percentiles")["rows"]] == ["a"]
    assert read("report", "monthly")["owed_pico"] == read("report", "monthly")["before_pico"] == pico
    found = read("why", last, f"{this:%Y-%m}")
    assert (found["before_pico"], found["now_pico"]) == (pico, pico)
    first = read()
    assert (first["month"]["cost_pico"], first["before"]["month"]["cost_pico"]) == (pico, pico)
    assert read("sql", f"SELECT sum(cost_pico) FROM events WHERE timestamp < '{this:%Y-%m-%d}'")["rows"] == [[2 * pico]]
