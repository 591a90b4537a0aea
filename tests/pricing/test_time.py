"""When a price holds: dates, hours, weekdays, zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from farthing.event import to_us
from farthing.pricing import Catalog, price
from farthing.pricing.bands import EVER, holds, span_around, window_at, words
from farthing.usage import Usage

MILLION = Usage(input_tokens=1_000_000)


def at(text: str) -> int:
    """A moment in microseconds."""
    return to_us(datetime.fromisoformat(text))


def test_a_span_takes_its_first_moment_and_not_its_last() -> None:
    """Validity is [from, to)."""
    part = {"from": "2026-01-01", "to": "2026-02-01"}
    assert [holds(part, at(t)) for t in ("2025-12-31T23:59:59", "2026-01-01", "2026-01-31T23:59:59", "2026-02-01")] == [
        False,
        True,
        True,
        False,
    ]
    assert holds({}, 0)


def test_the_span_of_an_answer_ends_where_a_part_begins_or_ends() -> None:
    """A cached answer is good up to the next edge."""
    parts = [{"from": "2026-01-01"}, {"to": "2026-03-01"}]
    assert span_around(parts, at("2026-02-01")) == (at("2026-01-01"), at("2026-03-01"))
    assert span_around([], 0) == EVER


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-20T01:00", True),  # Friday 09:00 in Beijing
        ("2026-11-20T00:59:59", False),
        ("2026-11-20T04:00", False),
        ("2026-11-21T02:00", False),  # Saturday
        ("2026-10-01T02:00", False),  # named as an exception
    ],
)
def test_a_window_of_weekdays_in_a_zone(moment: str, inside: bool) -> None:
    """Hours and weekdays are those of the window's own zone; excepted dates are outside."""
    window = {
        "days": [1, 2, 3, 4, 5],
        "start": "09:00",
        "end": "12:00",
        "tz": "Asia/Shanghai",
        "except": ["2026-10-01"],
        "rates": {},
    }
    found, (since, until) = window_at([window], at(moment))
    assert (found is window) is inside
    assert since <= at(moment) < until
    assert words(window) == "Mon-Fri 09:00-12:00 Asia/Shanghai"


def test_a_window_over_midnight() -> None:
    """16:30 to 00:30 holds before and after midnight, on the day it began."""
    window = {"start": "16:30", "end": "00:30", "rates": {}}
    assert [
        window_at([window], at(f"2026-11-20T{clock}"))[0] is window for clock in ("16:29", "16:30", "00:29", "00:30")
    ] == [
        False,
        True,
        True,
        False,
    ]


def test_a_zone_with_summer_time() -> None:
    """Nine o'clock in New York is 13:00 UTC in summer and 14:00 in winter."""
    window = {"start": "09:00", "end": "10:00", "tz": "America/New_York", "rates": {}}
    assert window_at([window], at("2026-07-01T13:30"))[0] is window
    assert window_at([window], at("2026-12-01T13:30"))[0] is None
    assert window_at([window], at("2026-12-01T14:30"))[0] is window


def test_a_cached_price_changes_with_the_hour() -> None:
    """The cache of a catalog does not carry a peak price into the off-peak hours, nor an old price over its end."""
    catalog = Catalog.default().child()
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    seen = [
        catalog.price("deepseek-flash", MILLION, at=moment + timedelta(hours=h)).usd for h in (0, 1, 3, 4, 6, 9, 10, 23)
    ]
    assert seen == [Decimal(d) for d in ("0.15", "0.3", "0.3", "0.15", "0.3", "0.3", "0.15", "0.15")]
    before, after = datetime(2026, 8, 20, 23, 59, 59, tzinfo=UTC), datetime(2026, 8, 21, tzinfo=UTC)
    assert [catalog.price("gpt-5.6-sol", MILLION, at=t).usd for t in (before, after, before)] == [10, 8, 10]


def test_the_moment_may_be_given_in_any_zone() -> None:
    """An aware moment is converted; a naive one counts as UTC; so does ISO text; microseconds are as they are."""
    local = datetime(2026, 11, 20, 9, 30, tzinfo=timezone(timedelta(hours=8)))
    naive = datetime(2026, 11, 20, 1, 30)  # noqa: DTZ001  the naive case is what is tested
    for moment in (local, naive, to_us(local), local.isoformat(), "2026-11-20T01:30:00Z", "2026-11-20T01:30"):
        assert price("deepseek-flash", MILLION, at=moment).usd == Decimal("0.3")


def test_provenance_bounds_the_price() -> None:
    """It says since when and until when the price holds, and the band in force."""
    cost = price("o3", MILLION, at=datetime(2025, 6, 9, tzinfo=UTC))
    assert cost.provenance is not None
    assert (cost.provenance.valid_from, cost.provenance.valid_to) == (None, datetime(2025, 6, 10, tzinfo=UTC))
    assert cost.provenance.source.startswith("genai-prices ") and len(cost.provenance.price_hash) == 64
    peak = price("deepseek-flash", MILLION, at=datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert peak.provenance is not None and peak.provenance.band == "Mon-Fri 09:00-12:00 Asia/Shanghai"


def test_before_the_first_known_price_it_is_used_and_said() -> None:
    """A model whose only price begins later is priced with it, and a reason says so."""
    catalog = Catalog.default().child()
    catalog.register("newcomer", 1, 2, valid_from="2026-06-01")
    cost = catalog.price("newcomer", MILLION, at=datetime(2026, 5, 1, tzinfo=UTC))
    assert cost.usd == 1 and "before 2026-06-01, the first price known" in cost.reasons[0]


@pytest.mark.parametrize(
    ("model", "at", "usd"),
    [
        ("deepseek-chat", "2025-09-05T15:59:59", "1.37"),
        ("deepseek-chat", "2025-09-05T16:00:00", "2.24"),
        ("deepseek-reasoner", "2025-09-28T23:59:59", "2.24"),
        ("deepseek-reasoner", "2025-09-29T00:00:00", "0.70"),
        ("deepseek-chat", "2026-04-23T23:59:59", "0.70"),
        ("deepseek-chat", "2026-04-24T00:00:00", "0.42"),
        ("deepseek-v4-flash", "2026-08-16T15:59:59", "0.42"),
        ("deepseek-v4-flash", "2026-08-16T16:00:00", "0.88"),
        ("deepseek-v4-pro", "2026-08-16T16:00:00", "2.64"),
    ],
)
def test_the_steps_of_deepseeks_prices(model: str, at: str, usd: str) -> None:
    """A million in and out, at the seconds around each step; the day of 2026-08-17 began in Beijing."""
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert price(model, usage, provider="deepseek", at=datetime.fromisoformat(at)).usd == Decimal(usd)


def test_a_price_that_has_ended_is_still_known_for_the_time_before() -> None:
    """Asked in any order: that nothing is known after its end is an answer for that time alone."""
    catalog = Catalog.default().child()
    catalog.register("dated", 1, 1, valid_from="2026-01-01", valid_to="2026-02-01")
    for moment, pico in (
        ("2026-02-01", None),
        ("2026-01-31T23:59:59.999999", 10**12),
        ("2025-12-31", 10**12),
        ("2026-03-01", None),
    ):
        assert catalog.price("dated", MILLION, at=datetime.fromisoformat(moment)).pico == pico, moment
