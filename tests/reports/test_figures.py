"""What reports say of a ledger: caching, plans, comparison, nesting, percentiles, why; by hand where it can be."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from farthing.ledger.store import Filter, Question, Store
from farthing.reports.breakdown import breakdown_page
from farthing.reports.lots import Prices, lots
from farthing.reports.periods import period
from farthing.reports.plain import plain
from farthing.reports.queries import Asked, breakdown, thinned
from farthing.reports.saved import Saved, saved_by
from farthing.reports.why import PARTS, why
from farthing.reports.why_page import sentence, why_json, why_page

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
PICO = 10**12


def test_what_caching_saved_by_hand(store: Store, put) -> None:
    """A thousand reads of Sonnet at $0.30 instead of $3, a thousand writes at $3.75 and a thousand at $6 instead."""
    put("2026-10-05", "claude-sonnet-4-5", 10_000, 0, cache_read_tokens=1000, agent="a")
    put("2026-10-06", "claude-sonnet-4-5", 10_000, 0, agent="b",
        usage=None, cache_write_tokens=2000, cache_write_1h_tokens=1000)  # fmt: skip
    found = saved_by(lots(store, Filter(), ("agent",)), Prices(store))
    million = 1_000_000
    assert found[("a",)].saved == 1000 * 2_700_000_000_000 // million and found[("a",)].premium == 0
    assert found[("b",)].premium == (1000 * 750_000_000_000 + 1000 * 3_000_000_000_000) // million
    assert found[("a",)].hit_rate == Fraction(1, 10)
    whole = sum(found.values(), Saved())
    assert whole.net == whole.saved - whole.premium < 0


def test_caching_at_batch_prices_and_beyond_a_tier(store: Store, put) -> None:
    """Half the price, half the saving; and Gemini's long context has a read rate of its own."""
    put("2026-10-05", "claude-sonnet-4-5", 10_000, 0, cache_read_tokens=1000, context={"processing": "batch"})
    put("2026-10-05", "gemini-2.5-pro", 300_000, 0, cache_read_tokens=100_000)
    (batch,) = saved_by(lots(store, Filter(equals={"provider": "anthropic"})), Prices(store)).values()
    assert batch.saved == 1_350_000_000
    (long,) = saved_by(lots(store, Filter(equals={"provider": "google"})), Prices(store)).values()
    assert long.saved == 100_000 * 2_250_000  # $2.50 instead of $0.25 for a million


def test_lots_by_a_part_of_time(store: Store, busy) -> None:
    """Lots by day and by anything else hold everything once."""
    whole = sum(lot.cost_pico for lot in lots(store, Filter()))
    for by in (("day",), ("month", "agent"), ("model",), ("week",)):
        assert sum(lot.cost_pico for lot in lots(store, Filter(), by, "Asia/Tokyo")) == whole
    days = {lot.key for lot in lots(store, Filter(), ("day",))}
    assert days == {row.key for row in store.totals(Question(by=("day",)))}


@pytest.mark.parametrize(
    "by", [("agent",), ("model",), ("team", "agent"), ("day", "model"), ("user",), ("team", "agent", "model")]
)
def test_every_row_is_in_the_total_once(store: Store, busy, by: tuple[str, ...]) -> None:
    """Rows, rests, plans, what was before, savings and trends: each adds up to its whole."""
    october, september = period("october", NOW).filter(), period("september", NOW).filter()
    found = breakdown(store, by, october, asked=Asked(limit=2, before=september, trends=True, caching=True))
    (whole,) = store.totals(Question(where=october))
    assert found.total == whole.totals
    shown = sum(row.totals.cost_pico for row in found.rows)
    assert shown + found.rest[1].cost_pico == whole.totals.cost_pico
    (plan,) = store.totals(Question(where=period("october", NOW).filter(Filter(equals={"billing": "subscription"}))))
    assert found.plan == plan.totals.cost_pico > 0
    (before,) = store.totals(Question(where=september))
    assert found.before_total == before.totals
    if found.trends:
        assert sum(map(sum, found.trends.values())) == whole.totals.cost_pico
        assert len({len(values) for values in found.trends.values()}) == 1
    assert found.saved is not None
    assert sum(found.saved.values(), Saved()).read_tokens == sum(
        lot.unit("cache_read_tokens") for lot in lots(store, october)
    )
    words = plain(breakdown_page(found, title="t", limit=2))
    assert "in plans" in words and "caching saved" in words and "owed" in words and "total" in words


def test_owed_is_compared_with_owed(store: Store, put) -> None:
    """List price inside a plan is in neither side of a change; the row that is gone owed what it owed."""
    for month, agent, billing in ((9, "a", "metered"), (9, "b", "subscription"), (9, "c", "metered"),
                                  (10, "a", "metered"), (10, "a", "subscription"), (10, "b", "metered")):  # fmt: skip
        put(f"2026-{month:02}-05", "gpt-4o", 1000, 100, agent=agent, billing=billing)
    october, september = period("october", NOW).filter(), period("september", NOW).filter()
    found = breakdown(store, ("agent",), october, asked=Asked(before=september))
    words = plain(breakdown_page(found, title="t"))
    a, b, total = (" ".join(line.split()[-7:]) for line in words.splitlines() if line[:2] in ("a ", "b ", "to"))
    assert a == "$0.0035 $0.0035 $0.0035 ±0 % 67 %" and b.endswith(" $0.0035 new 33 %")
    assert total == "$0.0035 $0.0070 $0.0070 ±0 % 100 %"
    assert "gone: 1 row with $0.003500 before" in words


def test_percentiles_are_costs_of_real_calls(store: Store, put) -> None:
    """Of a hundred calls that cost 1 to 100 times the same."""
    for n in range(1, 101):
        put("2026-10-05", "m", 1, 1, cost_usd=Decimal(n) / 1000, agent="a" if n % 2 else "b")
    found = breakdown(store, ("agent",), Filter(), asked=Asked(spread=True))
    assert found.spread is not None
    whole = found.spread[()]
    assert [x // 10**9 for x in (whole.p50, whole.p95, whole.p99, whole.most)] == [50, 95, 99, 100]
    assert found.spread[("b",)].p50 == 50 * 10**9
    assert "median" in plain(breakdown_page(found, title="t"))


def test_trends_keep_their_sum_however_few_characters_there_are() -> None:
    """Neighbours are added up, none is left out."""
    assert thinned(range(10), 20) == tuple(range(10))
    assert sum(thinned(range(100), 7)) == sum(range(100)) and len(thinned(range(100), 7)) == 7


def test_why_by_hand(store: Store, put) -> None:
    """Twice the calls, and half of them to a model at a seventeenth of the price."""
    put("2026-10-05", "gpt-4o", 1000, 100)
    for model in ("gpt-4o", "gpt-4o-mini"):
        put("2026-11-05", model, 1000, 100)
    found = why(store, period("october", NOW), period("november", NOW), Filter(), int(NOW.timestamp() * 10**6))
    dear, cheap = 3_500_000_000, 210_000_000
    assert (found.before, found.now) == (dear, dear + cheap)
    assert found.parts == {
        "volume": dear, "model mix": cheap - dear, "tokens per call": 0, "caching": 0, "price": 0, "other": 0,
    }  # fmt: skip
    words = sentence(found)
    assert words.startswith(
        "November 2026 (22 of its 30 days) cost $0.003710, $0.000210 (6 %) more than October 2026: "
    )
    assert "more calls" in words and "cheaper models" in words
    assert "By model" in plain(why_page(found))


def test_why_tells_tokens_caching_price_and_the_rest_apart(store: Store, put) -> None:
    """Each cause alone moves its own part alone."""
    model = "claude-sonnet-4-5"
    put("2026-01-05", model, 10_000, 1000)
    put("2026-02-05", model, 20_000, 1000)
    put("2026-03-05", model, 20_000, 1000, cache_read_tokens=10_000)
    put("2026-04-05", model, 20_000, 1000, cache_read_tokens=10_000, context={"processing": "batch"})
    put("2026-05-05", model, 20_000, 1000, cache_read_tokens=10_000, usage=None, context={"processing": "batch"},
        web_searches=10)  # fmt: skip
    months = [period(f"2026-0{n}", NOW) for n in range(1, 6)]
    for (first, second), part in zip(
        itertools.pairwise(months), ("tokens per call", "caching", "price", "other"), strict=True
    ):
        found = why(store, first, second, Filter(), 0)
        moved = {name for name, amount in found.parts.items() if amount}
        assert moved == {part}, (part, found.parts)
        assert found.parts[part] == found.now - found.before


def test_why_of_real_months_adds_up(store: Store, busy) -> None:
    """Plans, unpriced calls and calls without an agent too: parts, rows and agents give the difference."""
    october, november = period("october", NOW), period("november", NOW)
    found = why(store, october, november, Filter(), 0)
    owed = [
        store.totals(Question(where=span.filter(Filter(equals={"billing": "metered"}))))[0].totals.cost_pico
        for span in (october, november)
    ]
    assert [found.before, found.now] == owed
    assert sum(found.parts.values()) == owed[1] - owed[0]
    assert sum(amount for _, amount in found.movers) == owed[1] - owed[0]
    said = why_json(found)
    assert said["difference_pico"] == sum(said["parts_pico"].values())
    for one in found.changes:
        assert sum(one.parts[part] for part in PARTS) == one.now - one.before
    nothing = why(store, period("2020-01", NOW), period("2020-02", NOW), Filter(), 0)
    assert "Neither" in sentence(nothing) and plain(why_page(nothing))
    appeared = why(store, period("2020-01", NOW), october, Filter(), 0)
    assert appeared.parts["volume"] == owed[0]
