"""001: the three queries of the monitoring dashboard, word for word, and their figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.event import Attribution, Event, new_id, to_us
from farthing.ledger import Store, open_ledger
from farthing.ledger.upkeep import compact
from farthing.usage import Usage

DEAREST = """
SELECT
    name,
    user_id,
    calculated_total_cost,
    input_tokens,
    output_tokens
FROM traces
WHERE timestamp > NOW() - INTERVAL '7 days'
ORDER BY calculated_total_cost DESC
LIMIT 10;
"""
BY_AGENT_TYPE = """
SELECT
    metadata->>'agent_type' as agent,
    COUNT(*) as traces,
    AVG(calculated_total_cost) as avg_cost,
    SUM(calculated_total_cost) as total_cost
FROM traces
WHERE metadata->>'agent_type' IS NOT NULL
GROUP BY agent
ORDER BY total_cost DESC;
"""
DAILY = """
SELECT
    DATE(timestamp) as date,
    SUM(calculated_total_cost) as daily_cost,
    COUNT(*) as trace_count
FROM traces
WHERE timestamp > NOW() - INTERVAL '30 days'
GROUP BY DATE(timestamp)
ORDER BY date;
"""
NOW = datetime.now(UTC)


def call(trace: int, step: int, usd: str, **who: Any) -> Event:
    """A call of a trace that began so many days ago as its number says."""
    own = new_id()
    return Event(
        id=own,
        dedupe_key=own,
        at_us=to_us(NOW - timedelta(days=trace, minutes=5) + timedelta(seconds=step)),
        recorded_at_us=to_us(NOW),
        attribution=Attribution(trace=f"t{trace}", name=f"name {trace}" if step == 0 else "a step of it", **who),
        provider="openai",
        model="gpt-5",
        usage=Usage(input_tokens=100 * trace, output_tokens=10),
        cost_pico=int(Decimal(usd) * 10**12),
        price_status="priced",
    )


@pytest.fixture(params=["hot", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Forty traces of three calls each, one a day; a metadata value that JSON cannot say; another organisation."""
    path = str(tmp_path / "ledger.db")
    with open_ledger(path) as opened:
        for trace in range(40):
            metadata = {"agent_type": "security" if trace % 2 else "quality"} if trace % 4 else {"k": float("nan")}
            for step in range(3):
                who = {"user": f"u{trace}", "metadata": metadata if step == 0 else {"agent_type": "a step"}}
                opened.append(call(trace, step, f"0.{trace + 1:03}", **who))
        opened.append(call(0, 0, "1000", org="other", user="nobody"))
        if request.param == "sealed":
            compact(path, keep_rows=5)
        yield opened


def test_they_are_the_specifications_own(shared: Path) -> None:
    """Each stands in 001 as it stands here."""
    (path,) = (shared / "specs").glob("001_*")
    for query in (DEAREST, BY_AGENT_TYPE, DAILY):
        assert query.strip() in path.read_text()


def test_dearest_traces(store: Store) -> None:
    """Name and user are those of the trace's first call; cost and tokens are those of all of its calls."""
    answer = store.sql(DEAREST)
    assert answer.columns == ("name", "user_id", "calculated_total_cost", "input_tokens", "output_tokens")
    assert answer.rows == [(f"name {n}", f"u{n}", Decimal(f"0.{n + 1:03}") * 3, 300 * n, 30) for n in range(6, -1, -1)]


def test_average_cost_by_agent_type(store: Store) -> None:
    """The metadata is the root's; traces without an agent_type are left out."""
    answer = store.sql(BY_AGENT_TYPE)
    assert answer.columns == ("agent", "traces", "avg_cost", "total_cost")
    expected = {}
    for kind, traces in (("security", range(1, 40, 2)), ("quality", range(2, 40, 4))):
        total = sum((Decimal(n + 1) * 3 / 1000 for n in traces), Decimal())
        expected[kind] = (len(traces), total)
    assert [(row[0], row[1], row[3]) for row in answer.rows] == [
        (kind, *expected[kind]) for kind in sorted(expected, key=lambda k: -expected[k][1])
    ]
    for kind, traces, average, total in answer.rows:
        assert average == pytest.approx(float(total) / traces), kind


def test_daily_trend(store: Store) -> None:
    """A row a day of the last thirty, oldest first, exact."""
    answer = store.sql(DAILY)
    assert answer.columns == ("date", "daily_cost", "trace_count")
    days = [(NOW - timedelta(days=n, minutes=5)).date() for n in range(29, -1, -1)]
    assert [row[0] for row in answer.rows] == days
    assert [row[1] for row in answer.rows] == [Decimal(n + 1) * 3 / 1000 for n in range(29, -1, -1)]
    assert {row[2] for row in answer.rows} == {1}


def test_a_trace_has_no_column_named_agent(store: Store) -> None:
    """Else `GROUP BY agent` would mean the column, not the alias."""
    assert not any(re.fullmatch("agent", name, re.IGNORECASE) for name in store.sql("SELECT * FROM traces").columns)
