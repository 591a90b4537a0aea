"""Segments: what the files are, that they grow by themselves, come back from a backup, and take in other ledgers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from farthing.errors import InputError, LedgerBusy, LedgerCorrupt, LedgerError, LedgerUnavailable
from farthing.event import Attribution, Event
from farthing.ledger import Counts, Filter, Question, duck, keys, open_ledger, sealer, segments
from farthing.ledger.absorb import absorb, is_ledger
from farthing.ledger.backup import backup, restore
from farthing.ledger.merge import groups
from farthing.ledger.segments import Segment
from farthing.ledger.store import TEXT_FIELDS
from farthing.ledger.upkeep import compact
from farthing.usage import Usage

DAY = 86_400_000_000
Make = Callable[..., Event]


def files(path: str) -> list[Path]:
    return sorted(Path(f"{path}.segments").glob("*.parquet"))


def days(make_event: Make, count: int = 12, **given: object) -> list[tuple[Event, str | None]]:
    """Events of three days and two organisations."""
    return [
        (
            make_event(
                at_us=n % 3 * DAY + n,
                attribution=Attribution(org="b" if n % 2 else "a", user=f"u{n % 4}", metadata={"n": n % 2}),
                cost_pico=n,
                **given,
            ),
            None,
        )
        for n in range(count)
    ]


def test_a_segment_is_one_organisations_day_sorted_and_open_to_all(tmp_path: Path, make_event: Make) -> None:
    """Parquet with text ids and plain integers, in order of time, readable by its owner alone."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event, 13))
        compact(path, keep_rows=1)
        assert len(files(path)) == 6
        assert store.health().sealed == 12
        assert store.health().segments == 6
        assert store.health().events == 13
    for file in files(path):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with duck.query() as query:
            found = query.rows(f"SELECT DISTINCT org, date, at_us // {DAY} FROM read_parquet('{file}')")
            assert len(found) == 1
            order = [row[0] for row in query.rows(f"SELECT at_us FROM read_parquet('{file}')")]
            assert order == sorted(order)
            kinds = {row[0]: row[1] for row in query.rows(f"DESCRIBE SELECT * FROM read_parquet('{file}')")}
            assert kinds["id"] == "VARCHAR"
            assert kinds["cost_pico"] == kinds["at_us"] == "BIGINT"
            assert kinds["date"] == "DATE"
            ((codec,),) = query.rows(f"SELECT DISTINCT compression FROM parquet_metadata('{file}')")
            assert codec == "ZSTD"
    assert stat.S_IMODE(os.stat(f"{path}.segments").st_mode) == 0o700


def test_the_same_logs_a_year_later_add_nothing(tmp_path: Path, make_event: Make) -> None:
    """By id and by key; a fuller observation of a sealed call is a correction; once more it is known."""
    path = str(tmp_path / "l.db")
    lot = [(replace(event, dedupe_key=f"resp_{n}"), record) for n, (event, record) in enumerate(days(make_event))]
    with open_ledger(path) as store:
        store.append_many(lot)
        compact(path, keep_rows=1)
    with open_ledger(path) as store:
        assert store.append_many(lot) == Counts(duplicate=12)
        again = [(replace(event, id=make_event().id), None) for event, _ in lot]
        assert store.append_many(again) == Counts(duplicate=12)
        fuller = [(replace(event, usage=Usage(input_tokens=500, output_tokens=10)), None) for event, _ in lot[:3]]
        assert store.append_many(fuller) == Counts(corrected=3)
        assert store.append_many(fuller) == Counts(duplicate=3)
        compact(path, keep_rows=1)
        assert store.append_many([*fuller, *lot]) == Counts(duplicate=15)
        assert [e.corrects for e in store.history(lot[0][0].id, "a")] == [None, lot[0][0].id]
        assert store.totals()[0].totals.input_tokens == 12 * 100 + 3 * 400
        assert store.find(lot[1][0].id[:30])[0] == lot[1][0]


def test_an_event_is_found_by_its_key_wherever_it_is(tmp_path: Path, make_event: Make) -> None:
    """Sealed or not, its key a response's or its own id; only within its organisation."""
    path = str(tmp_path / "l.db")
    lot = [
        (replace(event, dedupe_key=f"resp_{n}") if n % 3 else event, record)
        for n, (event, record) in enumerate(days(make_event))
    ]
    with open_ledger(path) as store:
        store.append_many(lot)
        for _ in range(2):
            for event, _ in lot:
                org = event.attribution.org
                assert store.get_by_key(event.dedupe_key, org) == event
                assert store.get_by_key(event.dedupe_key, "b" if org == "a" else "a") is None
            assert store.get_by_key("resp_gone", "a") is None
            compact(path, keep_rows=3)


def test_a_key_that_only_collides_is_not_known(
    tmp_path: Path, make_event: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where digests agree and observations do not, the event itself is looked up: another call is added."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event))
        compact(path, keep_rows=1)
        known = store.totals(Question(by=("id",)))[1].key[0]
        monkeypatch.setattr(keys, "digest", lambda org, key: REAL("a", str(known)))
        other = make_event(attribution=Attribution(org="a"), dedupe_key="new", usage=Usage(input_tokens=1))
        assert store.append(other) == "added"


REAL = keys.digest


def test_events_are_sealed_as_they_come(tmp_path: Path, make_event: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread seals when enough has gathered; closing waits for it; nobody notices but the health."""
    monkeypatch.setattr(sealer, "SEAL_ROWS", 50)
    monkeypatch.setattr(sealer, "AT_ONCE_ROWS", 60)
    monkeypatch.setattr(sealer, "_ASK_EVERY", 10)
    monkeypatch.setattr(sealer, "KEPT_ROWS", 5)
    monkeypatch.setattr(sealer, "seal", lambda database, step: REAL_SEAL(database, keep_rows=5, step=step))
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        for event, _ in days(make_event, 200):
            store.append(event)
    with open_ledger(path) as store:
        assert store.health().sealed > 0
        assert store.health().faults == 0
        assert store.totals()[0].totals.calls == 200


REAL_SEAL = sealer.seal


def test_files_of_an_older_layout_are_read_by_name(tmp_path: Path, make_event: Make) -> None:
    """A column that a segment of before lacks is NULL there; reports and merging go on."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event))
        compact(path, keep_rows=6)
        for file in files(path):
            with duck.query() as query:
                query.execute(
                    f"COPY (SELECT * EXCLUDE (fingerprints, prompt) FROM '{file}') TO '{file}' (FORMAT parquet)"
                )
        database = store._writer.database  # type: ignore[attr-defined]
        with database.transaction():
            database.execute("UPDATE segments SET columns = 'older'")
            database.execute("UPDATE ledger_meta SET value = value + 1 WHERE key = 'generation'")
        compact(path, keep_rows=1)
        assert store.totals(Question(by=("prompt",)))[0].totals.calls == 12
        assert len(list(store.events())) == 12
        assert compact(path, keep_rows=1, all_small=True).segments == 2
        assert len(list(store.events())) == 12


def segment(first_day: int, rows: int, org: str = "o", number: int = 0) -> Segment:
    return Segment(
        file=f"{org}{first_day}-{number}",
        org=org,
        rows=rows,
        bytes=1,
        first_us=first_day * DAY,
        last_us=first_day * DAY + 5,
        first_seq=1,
        last_seq=2,
        first_id="a",
        last_id="b",
        corrections=0,
        metadata_kinds=0,
        columns="c",
    )


def test_what_is_merged() -> None:
    """Many small ones of a month, up to the size of a large one; never two organisations, never a large one."""
    small = [segment(n, 100) for n in range(40)]
    found = list(groups(small, 4))
    assert sorted(len(group) for group in found) == [9, 31]  # January and nine days of February 1970
    assert not list(groups(small[:3], 4))
    assert not list(groups([segment(1, 200_000, number=n) for n in range(9)], 4))
    assert not list(groups([segment(1, 10, org=f"o{n}") for n in range(9)], 4))
    assert [len(group) for group in groups([segment(1, 50_000, number=n) for n in range(5)], 4)] == [5]


def test_runs_of_keys_stay_few() -> None:
    """Each is at least twice the sum of the smaller ones, so that there are never many to look through."""
    runs: list[int] = []
    for _ in range(500):
        runs.append(100)
        if count := keys.too_many(runs):
            runs.sort()
            runs = [sum(runs[:count]), *runs[count:]]
    assert sum(runs) == 50_000
    assert len(runs) < 10


def test_only_one_process_seals_at_a_time(tmp_path: Path, make_event: Make) -> None:
    """Another one is told so at once, or waits."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event))
    with segments.upkeep(path), pytest.raises(LedgerBusy, match="another process"), segments.upkeep(path):
        pass
    with segments.upkeep(path):
        pass


def test_a_file_that_vanishes_while_it_is_read_is_looked_up_again(tmp_path: Path, make_event: Make) -> None:
    """The answer is then of the files there are now; a file that is lost for good is an error that says so."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event))
        compact(path, keep_rows=1)
        stream = store.events()
        next(stream)
        compact(path, keep_rows=1, all_small=True, grace_s=0.0)
        assert len(list(store.events())) == 12
        for file in files(path):
            file.unlink()
        with pytest.raises(LedgerError, match="gone"):
            store.totals()


def test_a_backup_comes_back(tmp_path: Path, make_event: Make) -> None:
    """All of it, sealed and hot, with its keys; it replaces nothing; a damaged file is found at once."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        lot = days(make_event)
        store.append_many(lot)
        compact(path, keep_rows=4)
        expected = store.totals(Question(by=("user",)))
        done = backup(path, tmp_path / "saved")
        assert (done.events, done.files) == (12, len(files(path)) + 1)
        with pytest.raises(LedgerUnavailable, match="not empty"):
            backup(path, tmp_path / "saved")
    again = str(tmp_path / "again.db")
    restore(tmp_path / "saved", again)
    with open_ledger(again) as store:
        assert store.totals(Question(by=("user",))) == expected
        assert store.append_many(lot) == Counts(duplicate=12)
    with pytest.raises(LedgerUnavailable, match="there already"):
        restore(tmp_path / "saved", again)
    damaged = next((tmp_path / "saved").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(LedgerCorrupt, match="damaged"):
        restore(tmp_path / "saved", str(tmp_path / "third.db"))
    assert not (tmp_path / "third.db").exists()
    with pytest.raises(InputError, match="no backup"):
        restore(tmp_path, str(tmp_path / "third.db"))


def test_ledgers_of_several_machines_come_together(tmp_path: Path, make_event: Make) -> None:
    """Calls that both saw are one; corrections of either count once; doing it again adds nothing."""
    shared = make_event(dedupe_key="resp_1", usage=Usage(input_tokens=5), usage_status="partial", price_hash="h")
    seen = replace(shared, usage=Usage(input_tokens=7, output_tokens=2), usage_status="reported", cost_pico=3_000)
    other = str(tmp_path / "other.db")
    with open_ledger(other) as store:
        store.append(shared, "a record")
        store.append_many(days(make_event))
        store.append(seen)
        compact(other, keep_rows=3)
    assert is_ledger(other) and not is_ledger(tmp_path) and not is_ledger(tmp_path / "missing")
    with open_ledger(tmp_path / "l.db") as store:
        partly = replace(shared, id=make_event().id, usage=Usage(input_tokens=6), cost_pico=2_000)
        store.append(partly)
        assert absorb(store, other) == Counts(added=12, duplicate=1, corrected=1)
        sums = store.totals()
        assert sums[0].totals.calls == 13
        assert sums[0].totals.cost_pico == 3_000 + sum(range(12))
        assert absorb(store, other).total == absorb(store, other).duplicate
        assert store.totals() == sums
        with pytest.raises(InputError, match="itself"):
            absorb(store, tmp_path / "l.db")


FORK = """
import os, sys
from farthing.ledger import Question, open_ledger
from farthing.ledger.upkeep import compact
store = open_ledger(sys.argv[1])
assert store.totals()[0].totals.calls == 12
child = os.fork()
calls = store.totals(Question(by=("org",)))[0].totals.calls
compact(sys.argv[1], keep_rows=1)
assert len(list(store.events())) == 12
if child:
    assert os.waitpid(child, 0)[1] == 0
store.close()
"""


def test_a_forked_child_asks_and_seals_on_its_own(tmp_path: Path, make_event: Make) -> None:
    """DuckDB's threads do not survive a fork: parent and child each have an instance of their own afterwards."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        store.append_many(days(make_event))
    ran = subprocess.run([sys.executable, "-c", FORK, path], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_field_can_be_asked_for_sealed_and_hot(tmp_path: Path, make_event: Make) -> None:
    """Groups and filters of all text fields answer over both."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        lot = days(make_event)
        store.append_many(lot)
        compact(path, keep_rows=5)
        for name in TEXT_FIELDS:
            rows = store.totals(Question(by=(name,)))
            assert sum(row.totals.calls for row in rows) == 12
            wanted = rows[0].key[0]
            found = store.totals(Question(where=Filter(equals={name: wanted})))
            assert found[0].totals == rows[0].totals
        with pytest.raises(InputError, match="did you mean 'agent'"):
            store.totals(Question(by=("agnet",)))


def test_usage_by_price_and_percentiles(tmp_path: Path, make_event: Make) -> None:
    """All units of each price and band add up exactly; percentiles are of calls as they are now known."""
    path = str(tmp_path / "l.db")
    with open_ledger(path) as store:
        for n in range(10):
            usage = Usage(input_tokens=n * 100, cache_read_tokens=n * 10, output_tokens=1, audio_seconds="0.1")
            store.append(make_event(usage=usage, cost_pico=n, price_hash="h" if n % 2 else "g", dedupe_key=f"k{n}"))
        store.append(make_event(usage=Usage(input_tokens=2_000), cost_pico=50, price_hash="h", dedupe_key="k9"))
        compact(path, keep_rows=4)
        assert store.quantiles("cost_pico", (0.5, 1.0)) == {(): [4, 9]}
        assert store.quantiles("input_tokens", (0.0,), by=("price_hash",)) == {("g",): [0], ("h",): [100]}
        uses = {(u.price_hash, u.step): u for u in store.usage_by_price(steps=(450,))}
        assert {key: u.calls for key, u in uses.items()} == {("g", 0): 3, ("g", 1): 2, ("h", 0): 2, ("h", 1): 3}
        assert uses["h", 0].units["input_tokens"] == 400
        assert str(uses["h", 0].units["audio_seconds"]) == "0.200000000000000"
        assert sum(u.cost_pico for u in uses.values()) == store.totals()[0].totals.cost_pico
        with pytest.raises(InputError, match="percentiles"):
            store.quantiles("agent", (0.5,))
