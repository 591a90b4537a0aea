"""A budget by metadata counts the same calls wherever they are: as they come, in the table, and sealed."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from farthing.event import Attribution, Event, new_id
from farthing.ledger import Filter, Question
from farthing.ledger.sheet import spent
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.upkeep import compact
from farthing.policy import Budget, Rule, subject_of
from farthing.usage import Usage
from farthing.windows import ALWAYS

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["1", "true", "null", "\x01", '\x01{"k":1}', "a\x00b", 'a"b\\c', "\u2028", "0.5", '["eu"]']
)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["k", "a/b~c", "a.b", 'x"y', "é{0}?", "a'b", "$[0]"])
ODD = [
    None,
    True,
    0,
    -0.0,
    2**53 + 1,
    2**63,
    10**30,
    0.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "\x01x",
    "a\x00b",
    [],
    {},
]


def call(**given: Any) -> Event:
    own = new_id()
    return Event(
        id=own,
        dedupe_key=own,
        at_us=1,
        recorded_at_us=1,
        attribution=Attribution(**given),
        provider="p",
        model="m",
        usage=Usage(input_tokens=3),
        cost_pico=10**12,
        price_status="priced",
    )


def sums(store: SqliteStore, budget: Budget) -> dict[str, int]:
    return spent(store._writer.database, Rule(budget), ALWAYS, known_only=False)


def expected(events: list[Event], budget: Budget) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        if (key := Rule(budget).key(subject_of(event))) is not None:
            found[key] += event.cost_pico or 0
    return found


@settings(max_examples=60)
@given(st.lists(values, max_size=6), names)
@example(ODD, "k")
@example([0.5, ["eu"], "x", {"b": [1, {"é": None}]}, "0.5", '["eu"]'], 'x"y')
def test_a_budget_by_metadata_counts_the_same_calls_hot_and_sealed(told: list[Any], name: str) -> None:
    """Each value by itself, and the equality with each: keys and sums are those of `Rule.key`, and reports agree."""
    events = [call(agent="a" if n % 2 else None, metadata={name: value, "n": n % 2}) for n, value in enumerate(told)]
    field = f"metadata.{name}"
    each = Budget(name="each", limit=1, scope={field: "*"})
    with tempfile.TemporaryDirectory() as folder, SqliteStore(Path(folder) / "l.db") as store:
        store.append_many((event, None) for event in [*events, call(), call()])
        for _ in range(2):
            found = expected(events, each)
            assert sums(store, each) == found
            pairs = Budget(name="pairs", limit=1, scope={field: "*", "agent": "*", "metadata.n": "*"})
            assert sums(store, pairs) == expected(events, pairs)
            for key in found:
                one = Budget(name="one", limit=1, scope={field: key, "agent": "*"})
                assert sums(store, one) == expected(events, one)
                assert spent(store._writer.database, Rule(each), ALWAYS, key=key, known_only=False) == {key: found[key]}
                shown = store.totals(Question(where=Filter(equals={field: key})))
                assert [row.totals.cost_pico for row in shown] == [found[key]]
            compact(store.url.removeprefix("sqlite:///"), keep_rows=1)
        assert store.health().sealed == len(events) + 1
