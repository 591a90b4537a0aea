"""The run's totals: exact, and the same as `Totals.of` says event by event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farthing.event import Attribution, Event, new_id
from farthing.running import REMEMBERED, RunningTotals, TokenUsage, grouped, total
from farthing.totals import Totals
from farthing.usage import Usage


def event(number: int = 0, **fields: object) -> Event:
    values: dict[str, object] = {
        "id": f"e{number}",
        "at_us": 0,
        "recorded_at_us": 0,
        "attribution": Attribution(),
        "provider": None,
        "model": "m",
        "usage": Usage(),
        "cost_pico": 1,
        "price_status": "priced",
        "dedupe_key": f"e{number}",
        **fields,
    }
    return Event(**values)  # type: ignore[arg-type]


EVENTS = st.builds(
    lambda tokens, cached, cost, price, usage, error, billed, agent, model: event(
        usage=Usage(input_tokens=tokens + cached, cache_read_tokens=cached, output_tokens=tokens),
        cost_pico=None if price == "unpriced" else cost,
        price_status=price,
        usage_status=usage,
        error=error,
        billed=billed,
        calls=int(billed),
        attribution=Attribution(agent=agent),
        model=model,
    ),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**15),
    st.sampled_from(["priced", "free", "reported", "partial", "unpriced"]),
    st.sampled_from(["reported", "estimated", "partial"]),
    st.sampled_from([None, "429"]),
    st.booleans(),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from(["m", "n"]),
)


@given(st.lists(EVENTS, max_size=20))
def test_the_sums_are_those_of_the_events(events: list[Event]) -> None:
    """Any events, in any order, grouped any way: the sum of `Totals.of`, field by field."""
    running = RunningTotals()
    for one in events:
        running.add(one)
    parts = running.snapshot()
    assert total(parts.values()) == total(map(Totals.of, events))
    for position in range(3):
        assert total(grouped(parts, lambda group, i=position: group[i]).values()) == total(parts.values())
    for agent in (None, "a", "b"):
        mine = total(totals for group, totals in parts.items() if group[0] == agent)
        assert mine == total(Totals.of(one) for one in events if one.attribution.agent == agent)


def test_memory_is_bounded() -> None:
    """However many responses a run sees, it remembers the newest only; its sums have all."""
    running = RunningTotals()
    for number in range(REMEMBERED + 10):
        running.add(event(number, dedupe_key=f"k{number}"), may_be_known=True)
    assert len(running._seen) == REMEMBERED
    assert total(running.snapshot().values()).calls == REMEMBERED + 10


def test_a_record_amid_a_record_of_the_same_thread_does_not_wait_for_itself() -> None:
    """A signal handler or finalizer may record while its own thread holds the locks: both calls count."""
    running = RunningTotals()
    with running._lock, new_id._lock:
        running.add(event(1))
        assert new_id() != new_id()
    running.add(event(2))
    assert total(running.snapshot().values()).calls == 2


def test_token_usage_of_totals() -> None:
    """Prompt, completion and their sum."""
    assert TokenUsage.of(Totals(input_tokens=3, output_tokens=4)) == TokenUsage(3, 4, 7)
