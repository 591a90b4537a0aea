"""Windows of budgets in time zones: days of 23 and 25 hours, skipped midnights, zones of half hours."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.event import from_us, to_us
from farthing.windows import CALENDAR, Spans, span

ZONES = (
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Europe/Berlin",
)
HOUR_US = 3_600_000_000


@given(
    st.sampled_from(CALENDAR),
    st.sampled_from(ZONES),
    st.integers(978_307_200, 2_114_380_800).map(lambda seconds: seconds * 1_000_000 + 7),
)
def test_calendar_windows_tile_time(window: str, tz: str, at: int) -> None:
    """A moment lies in its window; the next begins where it ends; both of its ends agree on it."""
    start, end = span(window, at, tz)
    assert end is not None and start <= at < end
    assert span(window, start, tz) == span(window, end - 1, tz) == (start, end)
    assert span(window, end, tz)[0] == end
    local = from_us(start).astimezone(ZoneInfo(tz))
    assert window != "week" or local.weekday() == 0
    assert window != "month" or local.day == 1


@pytest.mark.parametrize("window", CALENDAR)
@pytest.mark.parametrize("tz", ZONES)
def test_windows_at_the_ends_of_what_dates_can_say(window: str, tz: str) -> None:
    """The first and the last year are a window each, and those beside them end where these begin."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for at in (first, first.replace(year=2), last.replace(year=9998), last):
        start, end = span(window, to_us(at), tz)
        assert end is not None and start <= to_us(at) < end
        assert span(window, start, tz) == span(window, end - 1, tz) == (start, end)


@pytest.mark.parametrize(
    ("tz", "day", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Africa/Cairo", "2026-04-24", 23),  # clocks jump at midnight: the day begins at one
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ],
)
def test_days_that_are_not_of_24_hours(tz: str, day: str, hours: float) -> None:
    """They last as long as the zone makes them."""
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(tz))
    start, end = span("day", to_us(noon), tz)
    assert end is not None and end - start == hours * HOUR_US


def test_hours_of_a_half_hour_zone() -> None:
    """India's hours begin at half past UTC's; minutes are the same everywhere."""
    at = to_us(datetime(2026, 3, 1, 10, 45, 30, tzinfo=UTC))
    assert from_us(span("hour", at, "Asia/Kolkata")[0]).minute == 30
    assert from_us(span("hour", at)[0]).minute == 0
    assert span("minute", at, "Asia/Kolkata") == span("minute", at)


def test_what_has_no_dates() -> None:
    """Tasks, sessions and totals have no end; an unknown zone is told."""
    assert {span(window, 5) for window in ("task", "session", "total", "call")} == {(0, None)}
    with pytest.raises(InputError, match="Europe/Berlin"):
        span("day", 0, "Europe/Berlim")


def test_the_last_window_is_remembered() -> None:
    """And left when the clock goes on, or back."""
    spans = Spans("day", "UTC")
    day = 24 * HOUR_US
    assert [spans(at)[0] // day for at in (0, day - 1, day, 3 * day, day)] == [0, 0, 1, 3, 1]
