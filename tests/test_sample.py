"""The made-up company: the same for the same seed and dates, and every line of it can be read."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from farthing.capture.logs.jsonl import read_json
from farthing.capture.logs.values import Read
from farthing.errors import InputError
from farthing.sample import SamplePlan, sample_lines

END = datetime(2026, 11, 20, 23, 59, 59, 999_999, UTC)


def test_it_repeats() -> None:
    """The same plan gives the same lines; another seed gives others."""
    plan = SamplePlan(end=END, days=3)
    assert list(sample_lines(plan)) == list(sample_lines(plan))
    assert list(sample_lines(SamplePlan(end=END, days=3, seed=8))) != list(sample_lines(plan))


def test_tomorrows_sample_repeats_todays_events() -> None:
    """Days stand alone, and later in a day the earlier events are the same."""
    today = list(sample_lines(SamplePlan(end=END, days=3)))
    tomorrow = list(sample_lines(SamplePlan(end=END + timedelta(days=1), days=3)))
    kept = [line for line in today if line[7:17] != "2026-11-18"]
    assert set(kept) <= set(tomorrow)
    noon = list(sample_lines(SamplePlan(end=END - timedelta(hours=12), days=3)))
    assert set(noon) < set(today)
    assert max(line[7:30] for line in noon) <= "2026-11-20T12"


def test_every_line_is_an_event_line() -> None:
    """And there is something of everything that a report has to show."""
    lines = list(sample_lines(SamplePlan(end=END, days=10)))
    calls = []
    for line in lines:
        found = read_json(line, source="t")
        assert isinstance(found, Read) and found.content is None, line
        calls += found.calls
    seen = [json.loads(line) for line in lines]
    assert {line.get("usage_status") for line in seen} == {None, "estimated", "partial"}
    assert sum(not line.get("billed", True) for line in seen) > 10
    assert any(line.get("cache_hit") for line in seen) and any("error" in line for line in seen)
    assert any(line.get("operation") == "embeddings" for line in seen)
    assert any(line.get("context") == {"processing": "batch"} for line in seen)
    assert any("agent" not in line for line in seen) and any(line["provider"] == "in-house" for line in seen)
    assert any("cache_write_tokens" in line["usage"] for line in seen)


def test_it_has_a_rhythm() -> None:
    """Weekdays above weekends, day above night."""
    lines = [json.loads(line) for line in sample_lines(SamplePlan(end=END, days=28))]
    days = Counter(datetime.fromisoformat(line["at"]).weekday() for line in lines)
    assert min(days[i] for i in range(5)) > 1.5 * max(days[5], days[6])
    hours = Counter(line["at"][11:13] for line in lines)
    assert hours["13"] > 3 * hours["23"]


def test_it_grows_as_asked() -> None:
    """So many events, agents, models and users."""
    plan = SamplePlan(end=END, days=5, events=4_000, agents=60, models=50, users=500)
    lines = [json.loads(line) for line in sample_lines(plan)]
    assert len(lines) == 4_000
    assert len({line.get("agent") for line in lines}) > 40
    assert len({line["model"] for line in lines}) > 40
    assert len({line["user"] for line in lines}) > 200


@pytest.mark.parametrize("wrong", [{"days": 0}, {"agents": 0}, {"models": 2}, {"models": 10_000}, {"users": 0}])
def test_what_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    """With the name, the value and the bounds."""
    with pytest.raises(InputError, match="must be between"):
        SamplePlan(end=END, **wrong)
