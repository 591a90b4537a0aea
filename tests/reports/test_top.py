"""The live view: what a frame shows, how it is sorted, and that it fits."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest
from rich.console import Console

from farthing.event import to_us
from farthing.ledger.store import Filter, Store
from farthing.policy import make_budget
from farthing.reports.breakdown import breakdown_page
from farthing.reports.digest import digest, digest_page
from farthing.reports.plain import plain
from farthing.reports.queries import Asked, breakdown
from farthing.reports.render import draw
from farthing.reports.top import SORTS, look, sorted_lines, top_page

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
CALL = 7_500_000_000


@pytest.fixture
def spent(store: Store, put) -> Store:
    """The writer now and this morning, the critic an hour and a half ago, a plan, and the month before."""
    for at, agent in (("2026-11-20T12:10", "writer"), ("2026-11-20T08:10", "writer"), ("2026-11-20T11:00", "critic"),
                      ("2026-11-18T11:00", "critic"), ("2026-10-18T11:00", "critic")):  # fmt: skip
        put(at, agent=agent)
    put("2026-11-20T12:20", agent="planner", billing="subscription")
    store.accounts.put(make_budget(usd="0.02", per="day", name="house"), at_us=to_us(NOW))
    return store


def test_a_frame_by_hand(spent: Store) -> None:
    """The burn rate is the last 60 minutes; plans are no money; a budget stands as it stands."""
    frame = look(spent, NOW)
    assert (frame.rate, frame.today, frame.month) == (CALL, 3 * CALL, 4 * CALL)
    assert frame.before == 2 * CALL // 23
    lines = {line.name: line for line in frame.lines}
    assert (lines["writer"].rate, lines["critic"].rate, lines["planner"].rate) == (CALL, 0, 0)
    assert lines["writer"].hours[-1] == CALL and sum(lines["writer"].hours) == 2 * CALL
    assert sum(lines["planner"].hours) == 0 and lines["planner"].day.calls == 1
    (house,) = frame.standings
    assert house.posted == 3 * CALL
    words = plain(top_page(frame))
    assert "112 %" in words and "house" in words and "$0.0075" in words


@pytest.mark.parametrize("sort", SORTS)
def test_it_can_be_sorted(spent: Store, sort: str) -> None:
    """Each order has the largest first, names from a to z, and marks its column."""
    frame = look(spent, NOW)
    names = [line.name for line in sorted_lines(frame, sort)]
    assert (
        names[0] == {"rate": "writer", "cost": "writer", "calls": "writer", "tokens": "writer", "name": "critic"}[sort]
    )
    assert "▾" in plain(top_page(frame, sort))


def test_an_empty_ledger(store: Store) -> None:
    """There is nothing to see, and it says so."""
    assert "No calls in the last 24 hours." in plain(top_page(look(store, NOW)))


def lines_of(page, width: int) -> list[str]:
    file = io.StringIO()
    draw(
        page, Console(file=file, width=width, force_terminal=True, color_system="256", highlight=False, soft_wrap=True)
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_screens_fit(store: Store, busy, width: int) -> None:
    """The live view, nested and compared breakdowns and the budget report run over no edge, at any width."""
    store.accounts.put(make_budget("agent=*", usd="0.5", per="month"), at_us=to_us(NOW))
    since = to_us(datetime(2026, 11, 1, tzinfo=UTC))
    asked = Asked(trends=True, caching=True, spread=True, before=Filter(until_us=since))
    pages = [
        top_page(look(store, NOW), keys="q quit"),
        breakdown_page(breakdown(store, ("team", "agent"), Filter(since_us=since), asked=asked), title="t", limit=2),
        breakdown_page(breakdown(store, ("model",), Filter(since_us=since), asked=asked), title="t"),
        digest_page(digest(store, "month", NOW)),
    ]
    for page in pages:
        drawn = lines_of(page, width)
        assert max(map(len, drawn)) <= width
        assert any("total" in line or "burn rate" in line for line in drawn)
    wide = "\n".join(line for page in pages for line in lines_of(page, width))
    if width in (60, 140):  # between them it depends on the names
        assert ("▂" in wide or "█" in wide) == (width == 140)


def test_sparklines_and_bars_are_for_terminals(store: Store, busy) -> None:
    """A pipe gets neither."""
    found = breakdown(store, ("model",), Filter(), asked=Asked(trends=True))
    words = plain(breakdown_page(found, title="t"))
    assert found.trends and not set("▁▂▃▄▅▆▇█━") & set(words)
