"""Any observations, in any order, as often as you like: the ledger's sums are those of a plain model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farthing.event import ATTRIBUTION_FIELDS, Attribution, Event, new_id
from farthing.ledger import Counts, Question, Store, open_ledger
from farthing.ledger.rows import prepare, to_event
from farthing.ledger.store import STATUS_FIELDS, TEXT_FIELDS, TIME_FIELDS
from farthing.totals import Totals
from farthing.usage import Usage

USAGE_RANK = ["estimated", "partial", "reported"]
PRICE_RANK = ["unpriced", "partial", "priced"]

words = st.text(max_size=8)
given_or_not = st.none() | words
amounts = st.integers(0, 10**15)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words
)
attributions = st.builds(
    Attribution,
    org=st.sampled_from(["default", "acme"]),
    metadata=st.dictionaries(words, scalars, max_size=3),
    **{name: given_or_not for name in ATTRIBUTION_FIELDS if name != "org"},
)
usages = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": st.integers(-5, 10**12),
        "output_tokens": st.integers(0, 10**12),
        "cache_read_tokens": st.integers(0, 10**6),
        "output_reasoning_tokens": st.integers(0, 10**6),
        "web_searches": st.integers(0, 9),
        "audio_seconds": st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=7),
    },
).map(Usage.reported)


@st.composite
def events(draw: st.DrawFn) -> Event:
    cost = draw(st.none() | amounts)
    return Event(
        id=new_id(),
        at_us=draw(st.integers(0, 2**52)),
        recorded_at_us=draw(st.integers(0, 2**52)),
        attribution=draw(attributions),
        provider=draw(given_or_not),
        model=draw(words),
        usage=draw(usages),
        usage_status=draw(st.sampled_from(USAGE_RANK)),
        context=draw(st.dictionaries(words, words, max_size=2)),
        cost_pico=cost,
        price_status="unpriced" if cost is None else draw(st.sampled_from(["priced", "free", "reported", "partial"])),
        price_reason=draw(given_or_not),
        reported_pico=draw(st.none() | amounts),
        dedupe_key=new_id(),
        source=draw(words),
        calls=draw(st.integers(0, 1)),
        attempt=draw(st.integers(1, 4)),
        billed=draw(st.booleans()),
        cache_hit=draw(st.booleans()),
        error=draw(given_or_not),
    )


@given(events())
def test_a_row_is_an_event_and_back(event: Event) -> None:
    """No field of any event changes on its way through the table."""
    back = to_event(prepare(event, None).row)
    assert back == event
    assert back.usage.problems == event.usage.problems


@given(events(), st.integers(0, 2**62), st.text(min_size=1))
def test_a_row_that_is_dated_or_keyed_anew_is_that_of_such_an_event(event: Event, at_us: int, key: str) -> None:
    """Row and event agree, and the entry that it was made of stays as it was."""
    entry = prepare(event, "record")
    for made, meant in (
        (entry.dated(at_us), replace(event, at_us=at_us)),
        (entry.keyed(key), replace(event, dedupe_key=key)),
    ):
        assert (made.row, made.event, made.price_record) == (prepare(meant, None).row, meant, "record")
    assert (entry.row, entry.event) == (prepare(event, None).row, event)


@given(st.lists(events(), max_size=12), st.data())
def test_any_grouping_sums_to_the_total(made: list[Event], data: st.DataObject) -> None:
    """By any fields, times and metadata: rows add up to the total, which is the sum of `Totals.of` over the events."""
    keys = sorted({key for event in made for key in event.attribution.metadata})
    fields = [*TEXT_FIELDS, *STATUS_FIELDS, *TIME_FIELDS, *(f"metadata.{key}" for key in keys)]
    by = tuple(data.draw(st.lists(st.sampled_from(fields), max_size=3, unique=True)))
    zone = data.draw(st.sampled_from(["UTC", "America/St_Johns", "Asia/Kathmandu"]))
    with open_ledger(":memory:") as store:
        store.append_many((event, None) for event in made)
        (total,) = store.totals()
        rows = store.totals(Question(by=by, tz=zone))
        assert len({row.key for row in rows}) == len(rows)
        assert sum((row.totals for row in rows), Totals()) == total.totals
        assert sum((Totals.of(event) for event in made), Totals()) == total.totals


@dataclass
class Known:
    """What a plain model knows of one call."""

    usage: Usage
    usage_status: str
    cost: int | None
    price_status: str

    def see(self, seen: Event) -> str:
        """Take in another observation, by the rules of `is_fuller`, written down a second time."""
        ranks = USAGE_RANK.index(seen.usage_status), USAGE_RANK.index(self.usage_status)
        counts = [(seen.usage.get(u), self.usage.get(u)) for u in {**seen.usage.to_dict(), **self.usage.to_dict()}]
        prices = PRICE_RANK.index(seen.price_status), PRICE_RANK.index(self.price_status)
        fuller = ranks[0] > ranks[1] or (
            ranks[0] == ranks[1]
            and all(new >= old for new, old in counts)
            and (any(new > old for new, old in counts) or prices[0] > prices[1])
        )
        if not fuller:
            return "duplicate"
        self.usage, self.usage_status, self.price_status = seen.usage, seen.usage_status, seen.price_status
        if seen.cost_pico is None and self.cost is not None:
            self.price_status = "partial"
        else:
            self.cost = seen.cost_pico
        return "corrected"


observations = st.lists(
    st.tuples(
        st.integers(0, 2),  # which call
        st.sampled_from(USAGE_RANK),
        st.sampled_from(PRICE_RANK),
        st.fixed_dictionaries(
            {"input_tokens": st.integers(0, 3)},
            optional={
                "output_tokens": st.integers(0, 2),
                "audio_seconds": st.sampled_from([Decimal("0.1"), Decimal("0.25")]),
            },
        ),
        st.integers(0, 9),
        st.booleans(),  # known by id instead of by key
    ),
    max_size=14,
)


def observed(what: Any, first_ids: dict[int, str]) -> Event:
    """The event of one observation."""
    call, usage_status, price_status, counts, cost, by_id = what
    own_id = new_id()
    return Event(
        id=first_ids.get(call, own_id) if by_id else own_id,
        dedupe_key=own_id if by_id and call in first_ids else f"call {call}",
        at_us=call,
        recorded_at_us=1,
        attribution=Attribution(agent=f"a{call % 2}"),
        provider="p",
        model="m",
        usage=Usage(**counts),
        usage_status=usage_status,
        cost_pico=None if price_status == "unpriced" else cost,
        price_status=price_status,
    )


def expected(model: dict[int, Known]) -> Totals:
    """The totals of what the model knows."""
    return Totals(
        calls=len(model),
        cost_pico=sum(known.cost or 0 for known in model.values()),
        input_tokens=sum(known.usage.input_tokens for known in model.values()),
        output_tokens=sum(known.usage.output_tokens for known in model.values()),
        unpriced_calls=sum(known.price_status == "unpriced" for known in model.values()),
        partial_calls=sum("partial" in (known.price_status, known.usage_status) for known in model.values()),
        estimated_calls=sum(known.usage_status == "estimated" for known in model.values()),
    )


@given(observations, st.booleans())
def test_observations_add_up_to_what_is_known(given_ones: list[Any], in_lots: bool) -> None:
    """One by one or in one lot: outcomes, sums, groups and the newest state are the model's; a replay adds nothing."""
    model: dict[int, Known] = {}
    first_ids: dict[int, str] = {}
    outcomes = []
    seen = []
    for what in given_ones:
        event = observed(what, first_ids)
        call = what[0]
        seen.append(event)
        if call in model:
            outcomes.append(model[call].see(event))
        else:
            model[call] = Known(event.usage, event.usage_status, event.cost_pico, event.price_status)
            first_ids[call] = event.id
            outcomes.append("added")
    with open_ledger(":memory:") as store:
        if in_lots:
            counts = store.append_many((event, None) for event in seen)
            assert counts == Counts(*(outcomes.count(name) for name in ("added", "duplicate", "corrected")))
        else:
            assert [store.append(event) for event in seen] == outcomes
        agrees(store, model, first_ids)
        kept = list(store.events())
        store.append_many((event, None) for event in kept)
        assert list(store.events()) == kept


def agrees(store: Store, model: dict[int, Known], first_ids: dict[int, str]) -> None:
    """The ledger says what the model says, by every way of asking."""
    assert store.totals()[0].totals == expected(model)
    assert sum((Totals.of(event) for event in store.events()), Totals()) == expected(model)
    by_status = {row.key: row.totals.calls for row in store.totals(Question(by=("usage_status", "price_status")))}
    for key, calls in by_status.items():
        assert calls == sum((known.usage_status, known.price_status) == key for known in model.values())
    for call, known in model.items():
        original, *corrections = store.history(first_ids[call])
        newest = corrections[-1] if corrections else original
        assert (newest.usage, newest.usage_status, newest.price_status) == (
            known.usage,
            known.usage_status,
            known.price_status,
        )
        deltas = original.usage.to_dict()
        for correction in corrections:
            for unit, change in correction.usage_delta.items():
                deltas[unit] = deltas.get(unit, 0) + change
        assert {unit: count for unit, count in deltas.items() if count} == known.usage.to_dict()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True).flatmap(lambda n: st.permutations(n * 2)))
def test_the_order_of_growing_observations_does_not_matter(order: list[int]) -> None:
    """Observations of one call, each fuller than the last, repeated and shuffled, end in the state of the fullest."""
    growing = {n: USAGE_RANK[n // 2] for n in range(1, 5)}
    with open_ledger(":memory:") as store:
        for n in order:
            base = observed((0, growing[n] if n < 4 else "reported", "priced", {"input_tokens": n}, n * 7, False), {})
            store.append(replace(base, at_us=0))
        fullest = max(order)
        (row,) = store.totals()
        assert (row.totals.calls, row.totals.input_tokens, row.totals.cost_pico) == (1, fullest, fullest * 7)
