"""Spans of time as people say them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from farthing.errors import InputError
from farthing.event import to_us
from farthing.ledger.store import Filter
from farthing.reports.periods import of_filter, period

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "first", "last", "before"),
    [
        ("october", "2026-10-01", "2026-10-31", "2026-09-01"),
        ("Oct 2025", "2025-10-01", "2025-10-31", "2025-09-01"),
        ("december", "2025-12-01", "2025-12-31", "2025-11-01"),
        ("2026-02", "2026-02-01", "2026-02-28", "2026-01-01"),
        ("2026-W42", "2026-10-12", "2026-10-18", "2026-10-05"),
        ("q3", "2026-07-01", "2026-09-30", "2026-04-01"),
        ("2025-Q4", "2025-10-01", "2025-12-31", "2025-07-01"),
        ("2025", "2025-01-01", "2025-12-31", "2024-01-01"),
        ("this month", "2026-11-01", "2026-11-30", "2026-10-01"),
        ("last week", "2026-11-09", "2026-11-15", "2026-11-02"),
        ("yesterday", "2026-11-21", "2026-11-21", "2026-11-20"),
        ("7d", "2026-11-16", "2026-11-22", "2026-11-09"),
        ("2 weeks", "2026-11-09", "2026-11-22", "2026-10-26"),
        ("2026-10-01..2026-10-15", "2026-10-01", "2026-10-15", "2026-09-16"),
        ("2026-11-20..", "2026-11-20", "2026-11-22", "2026-11-17"),
        ("2026-10-05", "2026-10-05", "2026-10-05", "2026-10-04"),
    ],
)
def test_periods_in_words(words: str, first: str, last: str, before: str) -> None:
    """Each is whole days, and knows the one before it."""
    found = period(words, NOW)
    assert (str(found.first), str(found.last)) == (first, last)
    earlier = found.before()
    assert str(earlier.first) == before and earlier.end == found.first


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("2026-W42", "week 41 of 2026"),
        ("2026-10", "September 2026"),
        ("q1 2026", "Q4 2025"),
        ("7d", "2026-11-09 – 2026-11-15"),
    ],
)
def test_the_period_before_is_called_as_it_is(words: str, name: str) -> None:
    """A week before a week is a week, not seven days."""
    assert period(words, NOW).before().name == name


@pytest.mark.parametrize("words", ["", "nonsense", "2026-13", "2026-W99", "0d", "2026-10-15..2026-10-01", "32", "q5"])
def test_what_is_no_period_is_refused(words: str) -> None:
    """The message shows how periods are written."""
    with pytest.raises(InputError, match=r"write october|before its beginning"):
        period(words, NOW)


def test_a_zone_moves_the_ends() -> None:
    """A day in Berlin begins at 23:00 UTC in winter, and a month has an hour less or more where clocks change."""
    found = period("october", NOW, "Europe/Berlin")
    assert found.since_us == to_us(datetime(2026, 9, 30, 22, tzinfo=UTC))
    assert found.until_us == to_us(datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert period("today", datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "Europe/Berlin").first == date(2026, 11, 23)


def test_a_filter_as_a_period() -> None:
    """Its whole days, as the month they are; an open beginning is none."""
    month = period("october", NOW)
    assert of_filter(month.filter(), NOW) == month
    assert of_filter(Filter(), NOW) is None
    narrowed = month.filter(Filter(since_us=month.since_us + 1, until_us=month.until_us + 1, org="o"))
    assert (narrowed.since_us, narrowed.until_us, narrowed.org) == (month.since_us + 1, month.until_us, "o")
