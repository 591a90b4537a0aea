"""The history of prices: repricing, closed months, usage at other prices. Nothing is rewritten, sums stay sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from farthing import CostTracker
from farthing.errors import InputError
from farthing.event import to_us
from farthing.ledger.closing import Closing
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Filter, Question, Row, Store
from farthing.policy import make_budget
from farthing.pricing.catalog import Catalog
from farthing.reports.booked import booked
from farthing.reports.evidence import verify
from farthing.reports.lots import STEPS
from farthing.reports.periods import period
from farthing.reports.plain import plain
from farthing.reports.reprice import reprice
from farthing.reports.reprice_page import reprice_page
from farthing.reports.whatif import Swap, tokenizer, whatif
from farthing.reports.whatif_page import whatif_json, whatif_page

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def cost(store: Store, where: Filter = Filter()) -> int:  # noqa: B008 - frozen
    return store.totals(Question(where=where))[0].totals.cost_pico


def with_price(model: str, into: str, out: str, **more: object) -> Catalog:
    catalog = Catalog.default().child()
    catalog.register(model, Decimal(into), Decimal(out), **more)  # type: ignore[arg-type]
    return catalog


def test_a_dry_run_says_what_applying_does(store: Store, busy) -> None:
    """The same figures, first told, then added as corrections; after that there is nothing left, and all verifies."""
    before, events = cost(store), {event.id: event for event in store.events()}
    right = with_price("nobody-knows-1", "1", "2", provider="custom")
    right.register("gpt-4o", Decimal(2), Decimal(8), "openai", valid_from=datetime(2026, 10, 10, tzinfo=UTC))
    told = reprice(store, right, Filter())
    assert cost(store) == before and told.applied == 0 and told.calls > 0
    assert "gpt-4o" in plain(reprice_page(told, "", applied=False))
    done = reprice(store, right, Filter(), apply=True)
    assert (done.difference, done.calls, done.applied) == (told.difference, told.calls, told.calls)
    assert cost(store) == before + told.difference
    assert all(store.get(name) == event for name, event in events.items())
    verdict = verify(store, Filter())
    assert verdict.holds, (verdict.mismatches, verdict.sums)
    (rest,) = store.totals(Question(where=Filter(equals={"model": "nobody-knows-1"})))
    assert rest.totals.unpriced_calls == done.still_unpriced == 1  # a batch, for which no price is known
    again = reprice(store, right, Filter(), apply=True)
    assert (again.calls, again.applied) == (0, 0)
    assert "Nothing" in plain(reprice_page(again, "", applied=True))


def test_a_second_repricing_starts_from_the_first(store: Store, put) -> None:
    """Up, and down again: what remains is the last price, and three events tell the story."""
    event = put("2026-10-05", "gpt-4o", 1000, 0)
    for price in ("4", "2"):
        reprice(store, with_price("gpt-4o", price, "10", provider="openai"), Filter(), apply=True)
    assert cost(store) == 2_000_000_000
    assert [one.cost_pico for one in store.history(event.id)] == [2_500_000_000, 1_500_000_000, -2_000_000_000]
    assert verify(store, Filter()).holds


class Told:
    """A store that does something before it tells a sum."""

    def __init__(self, store: Store, first: Callable[[], object], more: int = 0) -> None:
        self.store, self.first, self.more = store, first, more

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def totals(self, question: Question) -> list[Row]:
        self.first()
        return [
            replace(row, totals=replace(row.totals, calls=row.totals.calls + self.more))
            for row in self.store.totals(question)
        ]


def test_what_is_written_while_it_is_verified_differs_in_nothing(store: Store, put) -> None:
    """A call that comes between the events and their sums is no fault of theirs; a sum that lies is found."""
    put("2026-10-05", "gpt-4o", 1000, 0)
    tracker = CostTracker(ledger=store)
    found = verify(Told(store, lambda: tracker.record("gpt-4o", 10, 10)), Filter())  # type: ignore[arg-type]
    assert found.holds and found.events == 1, found.sums
    lied = verify(Told(store, lambda: None, more=1), Filter())  # type: ignore[arg-type]
    assert ("everything", "calls: the events 13, the sum 14") in lied.sums


def test_repricing_leaves_alone_what_providers_said(store: Store, put) -> None:
    """A provider's own figure stays, and so does what costs nothing."""
    put("2026-10-05", "gpt-4o", 1000, 0, cost_usd="0.5")
    put("2026-10-05", "gpt-4o", 1000, 0, cache_hit=True)
    found = reprice(store, with_price("gpt-4o", "4", "10", provider="openai"), Filter(), apply=True)
    assert (found.calls, cost(store)) == (0, 5 * 10**11)


def test_repricing_keeps_to_its_filter(store: Store, put) -> None:
    """By time, agent and status: only those calls change."""
    put("2026-10-05", "unknown-model-x", 1000, 0, agent="a")
    put("2026-10-07", "unknown-model-x", 1000, 0, agent="b")
    right = with_price("unknown-model-x", "1", "1")
    since = Filter(since_us=to_us(datetime(2026, 10, 6, tzinfo=UTC)), equals={"price_status": "unpriced"})
    assert reprice(store, right, since, apply=True).applied == 1
    assert cost(store, Filter(equals={"agent": "a"})) == 0 and cost(store, Filter(equals={"agent": "b"})) == 10**9
    assert reprice(store, right, Filter(equals={"price_status": "priced"}), apply=True).applied == 0


def test_budgets_follow_a_repricing(store: Store) -> None:
    """The account of the window in which the call was made moves by the difference."""
    now = datetime.now(UTC)
    store.accounts.put(make_budget(usd=100, per="total"))
    CostTracker(ledger=store).record("gpt-4o", 1_000_000, 0, at=now)
    (before,) = store.accounts.standings()
    assert before.posted == 2_500_000_000_000
    reprice(store, with_price("gpt-4o", "4", "10", provider="openai"), Filter(), apply=True)
    (after,) = store.accounts.standings()
    assert after.posted == 4_000_000_000_000


def close(store: Store, name: str, at: datetime) -> None:
    chosen = period(name, NOW)
    store.close_month(
        Closing(
            month=f"{chosen.first:%Y-%m}", tz="UTC", since_us=chosen.since_us, until_us=chosen.until_us,
            at_us=to_us(at), cost_pico=cost(booked(store), chosen.filter()), calls=0,
        )
    )  # fmt: skip


def by_month(store: Store, by: tuple[str, ...] = ("month",)) -> dict[tuple[str | None, ...], int]:
    return {row.key: row.totals.cost_pico for row in store.totals(Question(by=by)) if row.totals.cost_pico}


def test_a_closed_month_stays_and_what_comes_later_lands_in_the_next(store: Store, put) -> None:
    """Late calls and repricings of October are reported on the first of November; in every grouping sums stay sums."""
    put("2026-10-05", agent="a")
    put("2026-11-05", agent="a")
    assert booked(store) is store
    close(store, "october", datetime.now(UTC))
    reported = by_month(booked(store))
    put("2026-10-20", agent="late")
    reprice(store, with_price("gpt-4o", "5", "20", provider="openai"), Filter(), apply=True)
    books = booked(store)
    found = by_month(books)
    assert found[("2026-10",)] == reported[("2026-10",)] == 7_500_000_000
    assert sum(found.values()) == cost(store) == cost(books)
    assert found[("2026-11",)] == cost(store) - 7_500_000_000
    october, november = period("october", NOW).filter(), period("november", NOW).filter()
    assert (cost(books, october), cost(books, november)) == (found[("2026-10",)], found[("2026-11",)])
    for by in (("day",), ("day", "agent"), ("agent", "month"), ("week",), ("hour", "model"), ("agent",)):
        rows = books.totals(Question(by=by))
        assert sum(row.totals.cost_pico for row in rows) == cost(store)
        assert sum(row.totals.calls for row in rows) == 3
    days = by_month(books, ("day", "agent"))
    assert days[("2026-11-01", "late")] == 15_000_000_000  # the call at its price, and what it rose by
    assert ("2026-10-20", "late") not in days
    for where in (october, november):
        uses = books.usage_by_price(where=where, steps=STEPS)
        assert sum(use.cost_pico for use in uses) == cost(books, where)


def test_what_comes_for_two_closed_months_lands_in_the_first_open_one(store: Store, put) -> None:
    """After September and October are closed, September's late calls are November's; those before, October's."""
    put("2026-09-05")
    close(store, "september", datetime.now(UTC))
    put("2026-09-06")
    close(store, "october", datetime.now(UTC))
    put("2026-09-07")
    found = by_month(booked(store))
    assert found == {("2026-09",): 7_500_000_000, ("2026-10",): 7_500_000_000, ("2026-11",): 7_500_000_000}
    assert by_month(store) == {("2026-09",): 3 * 7_500_000_000}
    with pytest.raises(InputError, match="closed already"):
        close(store, "october", datetime.now(UTC))


def test_closings_are_kept(tmp_path) -> None:
    """Another process sees them, in their order."""
    with open_ledger(tmp_path / "l.db") as first:
        close(first, "october", NOW)
        close(first, "2026-09", NOW)
    with open_ledger(tmp_path / "l.db") as again:
        assert [one.month for one in again.closings()] == ["2026-09", "2026-10"]


def test_whatif_is_what_the_other_model_would_have_cost(store: Store, busy) -> None:
    """Summed up by price and tier, the figure is that of pricing each call, but for the rounding of each."""
    swap = Swap(models={"claude-*": "gemini-2.5-pro"})
    (found,) = whatif(store, Catalog.default(), Filter(), swap)
    calls = [e for e in store.events() if e.model == "claude-sonnet-4-5" and e.billed]
    exact = sum(
        Catalog.default().price("gemini-2.5-pro", e.usage, at=e.at_us, context=e.context).pico or 0 for e in calls
    )
    assert found.then is None or abs(found.then - exact) <= len(calls)
    standard = [e for e in calls if not e.context]
    (plain_ones,) = whatif(store, Catalog.default(), period("2026-10", NOW).filter(), swap)
    assert plain_ones.calls == sum(e.at.month == 10 for e in calls) and standard


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-pro"])
def test_whatif_prices_as_each_call_is_priced(store: Store, put, model: str) -> None:
    """Long contexts at their tier, cached tokens at the other model's own rate."""
    usages = [(1000, 10, 0), (250_000, 500, 100_000), (199_000, 1, 0), (201_000, 1, 1)]
    for into, out, cached in usages:
        put("2026-10-05", "claude-sonnet-4-5", into, out, cache_read_tokens=cached)
    (found,) = whatif(store, Catalog.default(), Filter(), Swap(models={"claude-sonnet-4-5": model}))
    exact = sum(Catalog.default().price(model, e.usage, at=e.at_us).pico or 0 for e in store.events())
    assert found.then is not None and abs(found.then - exact) <= len(usages)
    assert found.now == cost(store)


def test_whatif_says_what_is_not_known(store: Store, put) -> None:
    """Tokenizers that differ, how far that may go, an unknown model, a tier, a factor."""
    put("2026-10-05", "claude-sonnet-4-5", 100_000, 1000)
    catalog = Catalog.default()
    (other,) = whatif(store, catalog, Filter(), Swap(models={"claude-sonnet-4-5": "gpt-4o"}))
    assert other.tokenizer == "other" and other.even_at == Fraction(other.now, other.then or 1)
    assert "different tokenizers" in plain(whatif_page([other], "t", ""))
    (more,) = whatif(store, catalog, Filter(), Swap(models={"claude-sonnet-4-5": "gpt-4o"}, factor=Fraction(11, 10)))
    assert other.then is not None and more.then == round(other.then * Fraction(11, 10))
    (half,) = whatif(store, catalog, Filter(), Swap(models={}, tier="batch"))
    assert half.then == half.now // 2
    (unknown,) = whatif(store, catalog, Filter(), Swap(models={"*": "no-such-model-at-all"}))
    assert unknown.then is None and "unknown model" in unknown.reason
    assert whatif_json([unknown])[0]["would_cost_pico"] is None
    assert whatif(store, catalog, Filter(), Swap(models={"x": "y"})) == []
    assert tokenizer("gpt-4o", "openai", catalog) == tokenizer("gpt-5-mini", None, catalog)
    assert tokenizer("gpt-4-turbo", "openai", catalog) != tokenizer("gpt-4o", "openai", catalog)
    assert tokenizer("claude-opus-4-5", None, catalog) == tokenizer("claude-haiku-4-5", None, catalog)
