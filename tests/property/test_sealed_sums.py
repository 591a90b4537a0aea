"""Sums are the same to the picodollar wherever events are: in the table, in segments, in both, and while they move."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.event import Attribution, Event, new_id
from farthing.ledger import Question, open_ledger
from farthing.ledger.keys import digest, observed_digest
from farthing.ledger.rows import prepare
from farthing.ledger.store import STATUS_FIELDS, TIME_FIELDS
from farthing.ledger.upkeep import compact
from farthing.totals import Totals
from farthing.usage import Usage

DAY = 86_400_000_000
names = st.sampled_from([None, "a", "b", "é\x00漢", "x'y\"z"])
values: Any = st.sampled_from([None, True, 0, 7, 10**30, 1.5, "7", "text", float("nan"), [1, {"k": "v"}]])


@st.composite
def calls(draw: Any) -> Event:
    """Any call of a few days, people and organisations; several may be the same one, seen differently."""
    own = new_id()
    cost = draw(st.none() | st.integers(0, 2**63 - 1))
    return Event(
        id=own,
        dedupe_key=draw(st.sampled_from([own, own, "one", "two", "three"])),
        at_us=draw(st.sampled_from([-DAY - 1, -1, 0, 5, DAY, 400 * DAY + 3, 2**52])),
        recorded_at_us=1,
        attribution=Attribution(
            org=draw(st.sampled_from(["default", "other's"])),
            agent=draw(names),
            user=draw(names),
            metadata=draw(st.dictionaries(st.sampled_from(["k", "a/b~c", ""]), values, max_size=2)),
        ),
        provider="p",
        model=draw(st.sampled_from(["m1", "m2"])),
        usage=Usage(
            input_tokens=draw(st.integers(0, 10**12)),
            audio_seconds=draw(st.sampled_from(["0", "0.25"])),
        ),
        usage_status=draw(st.sampled_from(["estimated", "partial", "reported"])),
        cost_pico=cost,
        price_status="unpriced" if cost is None else draw(st.sampled_from(["priced", "free", "partial"])),
        calls=draw(st.sampled_from([1, 1, 1, 0])),
        billed=draw(st.sampled_from([True, True, False])),
        cache_hit=draw(st.booleans()),
        error=draw(st.sampled_from([None, None, "overloaded"])),
    )


FIELDS = ("org", "agent", "user", "model", "metadata.k", "metadata.a/b~c", "metadata.", *STATUS_FIELDS, *TIME_FIELDS)


@settings(max_examples=40)
@given(st.data())
def test_sealed_or_not_every_question_has_the_same_answer(data: st.DataObject) -> None:
    """Two ledgers are told the same; one is sealed and merged between, however it comes: they cannot be told apart."""
    with tempfile.TemporaryDirectory() as folder, open_ledger(":memory:") as plain:
        path = str(Path(folder) / "ledger.db")
        with open_ledger(path) as store:
            for _ in range(data.draw(st.integers(1, 4))):
                lot = data.draw(st.lists(calls(), max_size=8))
                counts = store.append_many((event, None) for event in lot)
                assert counts == plain.append_many((event, None) for event in lot)
                if data.draw(st.booleans()):
                    compact(path, keep_rows=data.draw(st.integers(1, 4)), all_small=data.draw(st.booleans()))
            for _ in range(3):
                by = tuple(data.draw(st.lists(st.sampled_from(FIELDS), max_size=3, unique=True)))
                tz = data.draw(st.sampled_from(["UTC", "America/St_Johns", "Asia/Kathmandu"]))
                question = Question(by=by, tz=tz)
                rows = store.totals(question)
                assert rows == plain.totals(question)
                assert len({row.key for row in rows}) == len(rows)
                limited = store.top(replace(question, limit=2))
                assert limited.rows == rows[:2]
                assert sum((row.totals for row in limited.rows), limited.rest) == limited.total.totals
                assert limited.rest_rows == max(0, len(rows) - 2)
            everything = sum((Totals.of(event) for event in store.events()), Totals())
            assert store.totals()[0].totals == everything
            assert Counter(_seen(e) for e in store.events()) == Counter(_seen(e) for e in plain.events())


def _seen(event: Event) -> tuple[Any, ...]:
    """What two ledgers have in common of an event: corrections have ids of their own."""
    return (event.at_us, event.dedupe_key if event.corrects is None else "", event.cost_pico, event.calls, event.status)


@given(calls(), st.text(st.characters(exclude_categories=["Cs"])))
def test_digests_are_those_of_segments(event: Event, key: str) -> None:
    """Python and SQL digest keys and observations alike: else a second import would be taken for new."""
    from farthing.ledger import duck, keys
    from farthing.ledger.hot import EVERY, batch
    from farthing.ledger.rows import COLUMNS

    row = prepare(event, None).row
    said = dict(zip(COLUMNS, row, strict=True)) | {"seq": 1, "day": event.at_us // DAY, "id": key}
    with duck.query() as query:
        query.show("taken", duck.table([batch(EVERY, [[said.get(name, 0) for name in EVERY]])]))
        sql = f"SELECT {keys.DIGEST_SQL.format('id')}, ({keys.WORD_SQL})::UBIGINT FROM taken"
        ((found, word),) = query.rows(sql)
    assert found == digest(event.attribution.org, key)
    assert word == observed_digest(row) << 16 | event.at_us // DAY % 65536


LOOP = """
import sys
from farthing.errors import LedgerBusy
from farthing.ledger.upkeep import compact
for n in range(12):
    compact(sys.argv[1], keep_rows=20, all_small=n % 3 == 2, grace_s=600)
"""


def test_readers_never_see_an_event_twice_or_not_at_all(tmp_path: Path) -> None:
    """Two threads write, another process and this one seal and merge: each answer lies between what had been written.

    Each call costs the same and goes to two agents by turns, so that an answer cannot be right by chance.
    """
    path = str(tmp_path / "ledger.db")
    written = [0, 0]
    begun = [0, 0]
    failed: list[BaseException] = []

    with open_ledger(path) as store:

        def write(n: int) -> None:
            for lot in range(30):
                begun[n] += 20
                store.append_many((_call(n, lot * 20 + k), None) for k in range(20))
                written[n] += 20

        def read() -> None:
            while threads[0].is_alive() or threads[1].is_alive():
                least = sum(written)
                rows = store.totals(Question(by=("agent", "day")))
                calls = sum(row.totals.calls for row in rows)
                assert least <= calls <= sum(begun)
                assert sum(row.totals.cost_pico for row in rows) == calls * 7
                least = sum(written)
                ids = [event.id for event in store.events(order="recorded")]
                assert least <= len(ids) == len(set(ids)) <= sum(begun)

        def guarded(work: Any, *args: Any) -> None:
            try:
                work(*args)
            except BaseException as error:
                failed.append(error)
                raise

        threads = [threading.Thread(target=guarded, args=(write, n)) for n in range(2)]
        other = subprocess.Popen([sys.executable, "-c", LOOP, path])
        reader = threading.Thread(target=guarded, args=(read,))
        for thread in (*threads, reader):
            thread.start()
        for _ in range(6):
            compact(path, keep_rows=20)
        for thread in (*threads, reader):
            thread.join()
        assert other.wait() == 0
        assert not failed
        assert store.totals()[0].totals.calls == 1200
        assert store.health().sealed > 0
        replay = [(_call(n, k), None) for n in range(2) for k in range(600)]
        assert store.append_many(replay).duplicate == 1200


def _call(writer: int, number: int) -> Event:
    own = new_id()
    return Event(
        id=own,
        dedupe_key=f"{writer}:{number}",
        at_us=number % 3 * DAY,
        recorded_at_us=1,
        attribution=Attribution(agent=f"a{number % 2}"),
        provider="p",
        model="m",
        usage=Usage(input_tokens=1),
        cost_pico=7,
        price_status="priced",
    )
