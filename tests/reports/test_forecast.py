"""Forecasts: nearer than the naive one where weekdays matter, and silent about what the past does not show."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from farthing.ledger.store import Store
from farthing.policy import make_budget
from farthing.reports.forecast import CLAIM, LEAST_TESTS, forecast
from farthing.reports.forecast_page import forecast_page
from farthing.reports.outlook import outlook, outlooks
from farthing.reports.plain import plain

WEEK = (100, 110, 120, 110, 100, 20, 10)


def past(days: int, noise: float, seed: int = 3) -> list[int]:
    random = Random(seed)
    return [int(1000 * WEEK[day % 7] * (1 + noise * (2 * random.random() - 1))) for day in range(days)]


def test_weekdays_are_seen() -> None:
    """Before a weekend, the days of the same weekday come nearer than the pace of the week."""
    found = forecast(past(89, 0.1), Fraction(2), season=7)  # 89 = 12 weeks and 5 days: Saturday and Sunday are next
    assert found.method == "season" and abs(found.expected - 30_000) < 5_000
    assert "same weekday" in found.why


def test_what_is_left_of_the_present_day_is_counted_as_that_day() -> None:
    """On a Saturday afternoon a quarter of Saturday, Sunday and Monday are still to come; Monday is a whole one."""
    found = forecast(past(89, 0), Fraction(9, 4), season=7)
    assert found.method == "season" and found.expected == 20_000 // 4 + 10_000 + 100_000


def test_a_range_covers_what_it_claims_on_new_data() -> None:
    """Of ranges given for histories that it has never seen, about as many hold as is claimed."""
    held = given = 0
    for seed in range(60):
        series = past(100, 0.5, seed)
        found = forecast(series[:90], Fraction(5), season=7)
        if found.low is not None and found.high is not None:
            given += 1
            held += found.low <= sum(series[90:95]) <= found.high
    assert given > 40 and held >= given * 7 // 10


@given(st.lists(st.integers(0, 10**15), max_size=90), st.fractions(0, 40, max_denominator=24))
def test_a_range_is_given_only_where_the_past_bears_it_out(series: list[int], ahead: Fraction) -> None:
    """Any history: a range has been tested often enough and held as often as it claims; else the reason is told."""
    found = forecast(series, ahead, season=7)
    assert found.expected >= 0 and found.why
    if found.low is None or found.high is None:
        return
    assert found.tests >= LEAST_TESTS and found.held >= CLAIM * found.tests
    assert 0 <= found.low <= found.expected <= found.high


def test_little_past_says_little() -> None:
    """Without a past there is no forecast, with a short one no range, and both say so."""
    assert "nothing" in forecast([], Fraction(5), season=7).why
    assert "over" in forecast([5], Fraction(0), season=7).why
    short = forecast([100, 50], Fraction(4), season=7)
    assert (short.expected, short.low) == (300, None) and "no range" in short.why


def test_noise_that_no_past_explains_gets_no_range() -> None:
    """One day in thirty costs a thousand times more: what the next weeks bring is anybody's guess."""
    series = [1] * 40 + [100_000] + [1] * 29 + [9_000_000] + [1] * 19
    found = forecast(series, Fraction(20), season=7)
    assert found.low is None and "no range" in found.why


def test_budgets_and_the_whole(store: Store, put) -> None:
    """Each account of a budget has its own forecast, of its own scope and unit; plans are not owed."""
    now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    for day in range(1, 16):
        put(f"2026-11-{day:02}", agent="writer")
        put(f"2026-11-{day:02}", agent="critic", billing="subscription")
    a_day = 7_500_000_000
    store.accounts.put(make_budget("agent=*", usd="0.15", per="month"), at_us=int(now.timestamp() * 10**6))
    store.accounts.put(make_budget("model=gpt-4*", tokens=10**9, per="week"), at_us=int(now.timestamp() * 10**6))
    whole = outlook(store, now)
    assert (whole.spent, whole.forecast.expected) == (15 * a_day, a_day * 29 // 2)
    found = {
        (one.name, one.place): one
        for one in outlooks(store, now, store.accounts.standings(int(now.timestamp() * 10**6)))
    }
    writer = found[("agent=* usd per month", "agent=writer")]
    assert (writer.spent, writer.end) == (15 * a_day, 15 * a_day + a_day * 29 // 2)
    assert writer.over_at_us is not None and writer.start_us < writer.over_at_us < writer.end_us
    tokens = found[("model=gpt-4* tokens per week", "model=gpt-4*")]
    assert tokens.spent == 0 and tokens.forecast.expected == 2 * 1650 * 13 // 2
    words = plain(forecast_page(whole, list(found.values()), "UTC"))
    assert "over at the expected pace" in words and "how:" in words
