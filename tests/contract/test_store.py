"""What every store does, whatever it is made of and however durable it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import InputError, LedgerError
from farthing.event import ATTRIBUTION_FIELDS, Attribution, Event, new_id, to_us
from farthing.ledger import Counts, Filter, Question, Row, Store, open_ledger, pages
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.upkeep import compact
from farthing.totals import Totals
from farthing.usage import Usage

NOON = to_us(datetime(2026, 7, 1, 12, tzinfo=UTC))
HOUR = 3_600_000_000


def event(**given: Any) -> Event:
    """A priced call of 100 tokens in and 10 out."""
    own_id = new_id()
    fields: dict[str, Any] = {
        "id": own_id,
        "dedupe_key": own_id,
        "at_us": NOON,
        "recorded_at_us": NOON + 5,
        "attribution": Attribution(agent="writer"),
        "provider": "openai",
        "model": "gpt-5",
        "usage": Usage(input_tokens=100, output_tokens=10),
        "cost_pico": 1_000,
        "price_status": "priced",
    }
    return Event(**{**fields, **given})


@pytest.fixture(params=["commit", "full", "queued"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class SealingStore(SqliteStore):
    """A store of which all but the last row is in segments at any time, as small and as many as can be, or one."""

    def append(self, event: Event, price_record: str | None = None) -> Any:
        """As ever, then seal."""
        outcome = super().append(event, price_record)
        self._compact()
        return outcome

    def append_many(self, entries: Any) -> Counts:
        """As ever, then seal."""
        counts = super().append_many(entries)
        self._compact()
        return counts

    def _compact(self) -> None:
        self.flush()
        compact(self._path, keep_rows=1, all_small=len(list(Path(f"{self._path}.segments").glob("*.parquet"))) > 3)


@pytest.fixture(params=["file", "memory", "sealed"])
def store(request: pytest.FixtureRequest, durability: Any, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sealed":
        with SealingStore(tmp_path / "ledger.db", durability) as sealing:
            yield sealing
        return
    url = ":memory:" if request.param == "memory" else str(tmp_path / "ledger.db")
    with open_ledger(url, durability=durability) as opened:
        yield opened


@pytest.fixture
def became(durability: str) -> Callable[[str, str], bool]:
    """Whether an append came out as expected; a queued store says `added` before it knows."""
    return lambda said, expected: said == ("added" if durability == "queued" else expected)


def everything(store: Store) -> Totals:
    (row,) = store.totals()
    return row.totals


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    """Every field survives: text of any script, exact decimals, impossible counts and why, nested metadata."""
    who = {name: f"{name} é 漢 '\" \\" for name in ATTRIBUTION_FIELDS}
    full = event(
        attribution=Attribution(**who, metadata={"k": [1, {"n": None}], 'q"x': True, "f": 0.1}),
        requested_model="gpt-5-latest",
        operation="embeddings",
        usage=Usage.reported(
            {
                "input_tokens": 5,
                "cache_read_tokens": 9,
                "audio_seconds": Decimal("0.1000000000000000000000000000001"),
                "web_searches": 3,
                "output_tokens": "x",
            }
        ),
        usage_status="partial",
        context={"processing": "batch"},
        cost_pico=2**63 - 1,
        price_status="partial",
        price_hash="abc",
        price_reason="no rate for web_searches",
        reported_pico=7,
        response_id="resp_1",
        dedupe_key="openai:resp_1",
        source="import:a.jsonl",
        recorder="r1",
        calls=0,
        attempt=3,
        billed=False,
        cache_hit=True,
        error="timeout",
    )
    store.append(full)
    back = store.get(full.id)
    assert back == full
    assert back is not None and back.usage.problems == full.usage.problems and len(back.usage.problems) == 2
    assert [*store.events()] == [full]


def test_the_same_event_again_adds_nothing(store: Store, became: Callable[[str, str], bool]) -> None:
    """By id and by dedupe key, one at a time and in a lot, however often."""
    first = event(dedupe_key="openai:resp_1")
    same_call = event(dedupe_key="openai:resp_1")
    assert became(store.append(first), "added")
    assert became(store.append(first), "duplicate")
    assert became(store.append(same_call), "duplicate")
    assert store.append_many([(first, None), (same_call, None), (first, None)]) == Counts(duplicate=3)
    assert everything(store).calls == 1
    assert store.get(same_call.id) is None


def test_organisations_share_no_keys(store: Store) -> None:
    """The same id and the same dedupe key in two organisations are two events, and each sees its own."""
    here = event(dedupe_key="k")
    there = replace(here, attribution=Attribution(org="other"), cost_pico=5)
    assert store.append_many([(here, None), (there, None)]) == Counts(added=2)
    assert store.get(here.id, "other") == there
    assert store.get(here.id, "default") == here
    assert store.get(here.id, "third") is None
    assert [row.totals.cost_pico for row in store.totals(Question(where=Filter(org="other")))] == [5]


def test_a_fuller_observation_adds_the_difference(store: Store, became: Callable[[str, str], bool]) -> None:
    """Estimated, then partial, then reported: each adds what it knows more; the same or less again adds nothing."""
    first = event(
        dedupe_key="k", usage=Usage(input_tokens=90, output_tokens=50), usage_status="estimated", cost_pico=900
    )
    partly = event(
        dedupe_key="k", usage=Usage(input_tokens=100), usage_status="partial", cost_pico=1_000, at_us=NOON + 9
    )
    wholly = event(
        dedupe_key="k",
        usage=Usage(input_tokens=100, output_tokens=10, audio_seconds="1.5"),
        cost_pico=800,
        attribution=Attribution(agent="someone else"),
        model="another",
    )
    assert became(store.append(first), "added")
    for seen, outcome in ((partly, "corrected"), (partly, "duplicate"), (first, "duplicate"), (wholly, "corrected")):
        assert became(store.append(seen), outcome)
    for seen in (wholly, partly, first):
        assert became(store.append(seen), "duplicate")
    original, second, third = store.history(first.id)
    assert original == first
    assert (second.corrects, second.at_us, second.calls, second.cost_pico) == (first.id, NOON, 0, 100)
    assert dict(second.usage_delta) == {"input_tokens": 10, "output_tokens": -50}
    assert (third.usage, third.usage_status, third.cost_pico, third.model) == (wholly.usage, "reported", -200, "gpt-5")
    assert dict(third.usage_delta) == {"output_tokens": 10, "audio_seconds": Decimal("1.5")}
    assert store.history(third.id) == [original, second, third]
    assert [row.key for row in store.totals(Question(by=("agent", "model")))] == [("writer", "gpt-5")]
    assert everything(store) == Totals(calls=1, cost_pico=800, input_tokens=100, output_tokens=10)


def test_corrections_within_one_lot(store: Store) -> None:
    """An event, the same more fully, and again, in one `append_many`: the sums are those of the fullest."""
    lot = [event(dedupe_key="k", usage=Usage(input_tokens=n), cost_pico=n) for n in (10, 30, 20, 30, 40)]
    others = [event() for _ in range(5)]
    counts = store.append_many((e, None) for e in [lot[0], *others, *lot[1:], others[0]])
    assert counts == Counts(added=6, corrected=2, duplicate=3)
    assert everything(store) == Totals(calls=6, cost_pico=5_040, input_tokens=540, output_tokens=50)


def test_a_price_found_later_is_added(store: Store, became: Callable[[str, str], bool]) -> None:
    """Unpriced becomes partial becomes priced; a price is never lost again to an observation that has none."""
    counted = {"dedupe_key": "k"}
    store.append(event(**counted, cost_pico=None, price_status="unpriced"))
    assert everything(store).unpriced_calls == 1
    assert became(store.append(event(**counted, cost_pico=400, price_status="partial"), "text"), "corrected")
    assert (everything(store).unpriced_calls, everything(store).partial_calls) == (0, 1)
    assert became(store.append(event(**counted, cost_pico=1_000, price_hash="h"), "text"), "corrected")
    more = event(**counted, usage=Usage(input_tokens=200, output_tokens=10), cost_pico=None, price_status="unpriced")
    assert became(store.append(more), "corrected")
    assert became(store.append(more), "duplicate")
    assert everything(store) == Totals(calls=1, cost_pico=1_000, input_tokens=200, output_tokens=10, partial_calls=1)
    assert store.price_record("h") == "text"


def test_statuses_are_those_of_the_newest_state(store: Store) -> None:
    """Counters, groups and filters of statuses follow corrections, and stay equal to the sum of `Totals.of`."""
    store.append(event(dedupe_key="k", usage_status="estimated", cost_pico=None, price_status="unpriced"))
    store.append(event(usage_status="estimated", attribution=Attribution(agent="b")))
    store.append(event(dedupe_key="k", price_status="free", cost_pico=0))
    assert [row.key for row in store.totals(Question(by=("price_status", "usage_status", "status")))] == [
        ("priced", "estimated", "estimated"),
        ("free", "reported", "free"),
    ]
    by_agent = {row.key: row.totals for row in store.totals(Question(by=("agent",)))}
    assert (by_agent["writer",].unpriced_calls, by_agent["writer",].estimated_calls) == (0, 0)
    assert by_agent["b",].estimated_calls == 1
    free = Filter(equals={"status": "free"})
    assert [e.corrects is None for e in store.events(free)] == [True, False]
    assert not list(store.events(Filter(equals={"price_status": "unpriced"})))
    assert sum((Totals.of(e) for e in store.events()), Totals()) == everything(store)


def test_attempts_cache_hits_and_errors_are_counted_once(store: Store) -> None:
    """A correction of a failed attempt does not count its error again, and makes no call of it."""
    failed = event(
        dedupe_key="k", calls=0, billed=False, error="overloaded", usage=Usage(), cost_pico=0, price_status="free"
    )
    store.append(failed)
    store.append(replace(failed, id=new_id(), usage=Usage(input_tokens=1), price_status="unpriced", cost_pico=None))
    store.append(event(calls=0, billed=False, cache_hit=True, cost_pico=0))
    sums = everything(store)
    assert (sums.calls, sums.errors, sums.unbilled_attempts, sums.cache_hits, sums.unpriced_calls) == (0, 1, 1, 1, 0)


def test_sums_beyond_64_bits_are_exact(store: Store) -> None:
    """Nine million dollars a row add up to far more than SQLite's integers hold, negative differences included."""
    most = 2**63 - 1
    store.append_many((event(cost_pico=most - n), None) for n in range(30))
    store.append(event(dedupe_key="k", cost_pico=999_999, usage_status="estimated"))
    store.append(event(dedupe_key="k", cost_pico=-most + 1_000_000))
    assert everything(store).cost_pico == sum(most - n for n in range(30)) - most + 1_000_000


@pytest.mark.parametrize("field", ["cost_pico", "usage"])
def test_a_number_too_great_is_refused_and_nothing_kept(store: Store, field: str) -> None:
    """The error names the event and the value; the rest of its lot is not half written."""
    too_much: Any = 2**63 if field == "cost_pico" else Usage(input_tokens=10**19)
    bad = event(**{field: too_much})
    with pytest.raises(LedgerError, match=rf"{bad.id}.*\d{{19}}"):
        store.append(bad)
    with pytest.raises(LedgerError, match=bad.id):
        store.append_many([(event(), None), (bad, None)])
    assert everything(store).calls == 0


@pytest.mark.parametrize("given", [{"reported_pico": 2**70}, {"at_us": 2**70}, {"error": ["a", "list"]}])
def test_a_value_no_column_takes_is_our_error(store: Store, durability: str, given: dict[str, Any]) -> None:
    """A stray type or number is a LedgerError, or a counted loss where the queue finds it; others are not harmed."""
    store.append(event())
    found_later = durability == "queued" and "reported_pico" not in given
    with contextlib.nullcontext() if found_later else pytest.raises(LedgerError, match=r"picodollars|cannot keep"):
        store.append(event(**given))
    store.flush()
    assert store.health().lost == found_later
    with pytest.raises(LedgerError):
        store.append_many([(event(), None), (event(**given), None)])
    assert everything(store).calls == 1


def test_any_metadata_is_kept(store: Store) -> None:
    """What JSON cannot say is kept as text; no value of one event spoils the reports over all."""
    around: list[Any] = []
    around.append(around)
    for metadata in ({"k": float("nan")}, {"k": around}, {("a", "tuple"): 1, "k": "v"}, {"k": {1, 2}}, {"k": 10**30}):
        store.append(event(attribution=Attribution(metadata=metadata)))
    values = {row.key[0] for row in store.totals(Question(by=("metadata.k",)))}
    assert {"[[...]]", "'v'", "{1, 2}", "1" + "0" * 30} < values
    assert len(list(store.events())) == 5


def test_price_records_are_kept(store: Store) -> None:
    """The record of the first event that uses it stays; an event that adds nothing brings no record along."""
    first = event(price_hash="a")
    store.append(first, "record a")
    store.append(event(price_hash="a"))
    store.append_many(
        [(event(price_hash=h), f"record {h}") for h in "abc"] + [(replace(first, price_hash="d"), "record d")]
    )
    assert [store.price_record(h) for h in "abcd"] == ["record a", "record b", "record c", None]


def groups(rows: list[Row]) -> dict[Any, int]:
    return {row.key: row.totals.cost_pico for row in rows}


def test_totals_group_by_any_field(store: Store) -> None:
    """Fields, metadata and times, alone and together; what was not given is None; dearest first."""
    for n, agent in enumerate(("a", "b", None)):
        metadata = {"tier": ["gold", 7, True][n], "a.b": "x"} if agent else {}
        store.append(event(attribution=Attribution(agent=agent, user="u", metadata=metadata), cost_pico=n + 1))
    assert store.totals(Question(by=("agent",)))[0].key == (None,)
    assert groups(store.totals(Question(by=("agent", "user")))) == {("a", "u"): 1, ("b", "u"): 2, (None, "u"): 3}
    assert groups(store.totals(Question(by=("metadata.tier", "metadata.a.b")))) == {
        ("gold", "x"): 1,
        ("7", "x"): 2,
        (None, None): 3,
    }
    assert groups(store.totals(Question(by=("model", "provider", "operation")))) == {("gpt-5", "openai", "chat"): 6}
    assert len(store.totals(Question(by=("agent",), limit=2))) == 2
    assert groups(store.totals(Question(where=Filter(equals={"metadata.tier": "7", "user": "u"})))) == {(): 2}
    assert groups(store.totals(Question(where=Filter(equals={"agent": None})))) == {(): 3}


def test_totals_by_time(store: Store) -> None:
    """Hours, days, weeks from Monday and months, in UTC and in a zone with summer time; earliest first."""
    for at in (NOON - 12 * HOUR, NOON - 13 * HOUR, NOON + 24 * 5 * HOUR):  # 1 July 0:00, 30 June 23:00, 6 July 12:00
        store.append(event(at_us=at))

    def keys(part: str, tz: str = "UTC") -> list[Any]:
        return [row.key[0] for row in store.totals(Question(by=(part,), tz=tz))]

    assert keys("hour") == ["2026-06-30T23:00", "2026-07-01T00:00", "2026-07-06T12:00"]
    assert keys("day") == ["2026-06-30", "2026-07-01", "2026-07-06"]
    assert keys("week") == ["2026-06-29", "2026-07-06"]
    assert keys("month") == ["2026-06", "2026-07"]
    assert keys("hour", "Asia/Kolkata") == ["2026-07-01T04:00", "2026-07-01T05:00", "2026-07-06T17:00"]
    assert keys("month", "Europe/Berlin") == ["2026-07"]
    (row,) = store.totals(Question(where=Filter(until_us=NOON)))
    assert (row.first_us, row.last_us, row.totals.calls) == (NOON - 13 * HOUR, NOON - 12 * HOUR, 2)
    with pytest.raises(InputError, match="Mars/Olympus"):
        store.totals(Question(by=("day",), tz="Mars/Olympus"))


def test_list_price_inside_plans_is_told_apart(store: Store) -> None:
    """`plan_pico` is the cost of a flat plan's calls, corrections with it; sums that were not asked for are 0."""
    plan = {"dedupe_key": "k", "billing": "subscription"}
    store.append(event(**plan, usage=Usage(input_tokens=90), usage_status="estimated", cost_pico=900))
    store.append(event(**plan, usage=Usage(input_tokens=100), cost_pico=800))
    store.append(event(cost_pico=5))
    store.append(event(attribution=Attribution(agent="cache"), calls=0, billed=False, cache_hit=True, cost_pico=0))
    writer, cache = store.totals(Question(by=("agent",), sums=("plan_pico", "input_tokens")))
    assert (writer.totals, writer.plan_pico) == (Totals(calls=2, cost_pico=805, input_tokens=200), 800)
    assert (cache.totals, cache.plan_pico, cache.first_us) == (Totals(), 0, None)
    (whole,) = store.totals()
    assert (whole.plan_pico, whole.first_us) == (800, NOON)


def test_no_events_no_rows(store: Store) -> None:
    """Without groups there is one row of nothing; with groups there is none."""
    assert store.totals() == [Row((), Totals())]
    assert store.totals(Question(by=("agent",))) == []
    assert list(store.events()) == [] and store.find("") == []


def test_events_come_in_pages_and_in_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every order, with filters and limits, over page bounds, with many events of the same time."""
    monkeypatch.setattr(pages, "PAGE_ROWS", 3)
    made = [
        event(at_us=NOON + at, attribution=Attribution(user="ab"[n % 2]))
        for n, at in enumerate((5, 1, 1, 1, 1, 1, 9, 0, 5, 1))
    ]
    store.append_many((e, None) for e in made)
    by_time = sorted(made, key=lambda e: e.at_us)  # stable: the order of recording within one time
    assert list(store.events()) == by_time
    assert list(store.events(order="-time")) == by_time[::-1]
    assert list(store.events(order="recorded")) == made
    assert list(store.events(limit=4)) == by_time[:4]
    a = Filter(equals={"user": "a"}, since_us=NOON + 1, until_us=NOON + 9)
    assert list(store.events(a)) == [e for e in by_time if e.attribution.user == "a" and 1 <= e.at_us - NOON < 9]


def test_events_are_those_of_the_beginning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that appends for each event it reads comes to an end, and other writers never wait for it."""
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    store.append_many((event(), None) for _ in range(5))
    for seen in store.events():
        store.append(event(at_us=seen.at_us + 1))
    assert everything(store).calls == 10


def test_find_by_the_beginning_of_an_id(store: Store) -> None:
    """A prefix finds what begins with it and nothing else."""
    ids = ["0190-aaaa", "0190-aabb", "0190-b", "02"]
    store.append_many((event(id=name), None) for name in ids)
    assert [e.id for e in store.find("0190-aa")] == ids[:2]
    assert [e.id for e in store.find("0190-b")] == ["0190-b"]
    assert store.find("zz") == []


def test_half_a_character_does_not_lose_an_event(store: Store) -> None:
    """Text that no encoding takes (half of a surrogate pair) is kept with a replacement, alone and in a lot."""
    store.append(event(error="cut \ud83d"))
    store.append_many(
        [(event(), None), (event(response_id="\udc00", attribution=Attribution(metadata={"k": "\ud800"})), None)]
    )
    assert [e.error for e in store.events(order="recorded", limit=1)] == ["cut �"]
    assert everything(store).calls == 3


def test_a_ledger_can_be_read_into_another(store: Store) -> None:
    """Corrections included, in any order of time, twice: the sums are the same."""
    store.append(event(dedupe_key="k", usage_status="partial", cost_pico=None, price_status="unpriced"))
    store.append(event(dedupe_key="k", cost_pico=7))
    store.append(event())
    with open_ledger(":memory:") as other:
        for _ in range(2):
            other.append_many((e, None) for e in store.events())
        assert everything(other) == everything(store)
        assert list(other.events()) == list(store.events())


def test_a_foreign_correction_counts_once(store: Store) -> None:
    """Where another ledger corrected the same call, its correction is known here by what it says."""
    first = event(dedupe_key="k", usage_status="partial")
    with open_ledger(":memory:") as other:
        for ledger in (store, other):
            ledger.append(first)
            ledger.append(event(dedupe_key="k", usage=Usage(input_tokens=500), cost_pico=7))
        store.append_many((e, None) for e in other.events())
    assert len(list(store.events())) == 2
    assert everything(store).cost_pico == 7


def test_unknown_fields_are_named(store: Store) -> None:
    """A question about a field that is not there says which is near."""
    with pytest.raises(InputError, match="'agnet'; did you mean 'agent'"):
        store.totals(Question(by=("agnet",)))
    with pytest.raises(InputError, match="no field 'zzzz'"):
        list(store.events(Filter(equals={"zzzz": "1"})))
    with pytest.raises(InputError, match="'sideways'"):
        list(store.events(order="sideways"))  # type: ignore[arg-type]


def test_health_says_how_much_there_is(store: Store) -> None:
    """Counts, versions, and no faults."""
    store.append(event(at_us=NOON + 77))
    store.flush()
    health = store.health()
    assert (health.events, health.last_at_us, health.faults, health.queued, health.lost) == (1, NOON + 77, 0, 0, 0)
    assert health.url == store.url and health.schema_version >= 1
    assert tuple(map(int, health.sqlite_version.split("."))) >= (3, 51, 3)


def test_a_closed_store_says_so(store: Store) -> None:
    """Closing twice is fine; using it afterwards is an error that tells how to open it again."""
    store.append(event())
    store.close()
    store.close()
    for use in (lambda: store.append(event()), lambda: store.append_many([]), lambda: store.get("x"), store.totals):
        with pytest.raises(LedgerError, match="has been closed"):
            use()


def test_what_was_written_is_there_when_opened_again(tmp_path: Path, durability: Any) -> None:
    """Close and open: all is there, and what is appended is still idempotent."""
    one = event()
    with SqliteStore(tmp_path / "ledger.db", durability) as first:
        first.append(one)
    with open_ledger(first.url) as again:
        assert again.append(one) == "duplicate"
        assert list(again.events()) == [one]
