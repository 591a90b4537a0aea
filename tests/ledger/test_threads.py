"""Threads of one process: on one store, inside each other, and the thread that keeps the log small."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from farthing.errors import LedgerError, LedgerUnavailable
from farthing.event import Event
from farthing.ledger import checkpoint, engine, open_ledger
from farthing.ledger.engine import Database
from farthing.ledger.rows import Prepared
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.store import Outcome
from farthing.ledger.writer import Writer


def test_waits_of_threads_that_queue_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has waited for a lock of another process since it came, not since the one before it gave up."""
    now = [100.0]
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: None))
    since = [95.0]
    wait = engine._waiter(10.0, since)
    assert wait(0)
    now[0] = 104.9
    assert wait(1)
    now[0] = 105.1
    assert not wait(2)
    assert wait(0)  # the next one came as early, and has a try
    now[0] += engine.LEAST_S * 1.1
    assert not wait(1)
    since[0] = now[0]
    assert wait(0)
    now[0] += 9.9
    assert wait(1)


@pytest.mark.parametrize("durability", ["commit", "full", "queued"])
@pytest.mark.parametrize("place", ["file", "memory"])
def test_threads_share_a_store(tmp_path: Path, make_event: Callable[..., Event], durability: Any, place: str) -> None:
    """Eight threads append, correct and read at once: no error, every sum right."""
    url = ":memory:" if place == "memory" else tmp_path / "ledger.db"
    failed: list[Exception] = []
    with open_ledger(url, durability=durability) as store:

        def work(n: int) -> None:
            try:
                for i in range(40):
                    one = make_event(dedupe_key=f"{i}", usage_status="estimated", cost_pico=1)
                    store.append(one)
                    store.append(make_event(dedupe_key=f"{n}-{i}"))
                    store.append(make_event(dedupe_key=f"{i}", cost_pico=1_000))
                    assert len(store.history(one.id)) in (0, 2)
                assert sum(1 for _ in store.events()) > 40
            except (LedgerError, AssertionError) as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        (row,) = store.totals()
        assert (row.totals.calls, row.totals.cost_pico, row.totals.estimated_calls) == (360, 360_000, 0)


def test_a_call_from_within_a_call(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler or finalizer that records while its thread is writing neither hangs nor loses its event."""
    insert = Writer._insert
    inner = [make_event(), make_event()]

    def interrupted(self: Writer, database: Database, entries: Sequence[Prepared], news: list[Event]) -> list[Outcome]:
        while inner:
            assert store.append(inner.pop()) == "added"
        return insert(self, database, entries, news)

    with SqliteStore(tmp_path / "ledger.db") as store:
        monkeypatch.setattr(Writer, "_insert", interrupted)
        assert store.append(make_event()) == "added"
        assert store.totals()[0].totals.calls == 3


def test_what_came_from_within_and_fails_is_counted(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outer call keeps its promise; the inner one's loss is a fault in the health of the store."""
    insert = Writer._insert
    inner = [make_event()]

    def interrupted(self: Writer, database: Database, entries: Sequence[Prepared], news: list[Event]) -> list[Outcome]:
        if inner:
            store.append(inner.pop())
            return insert(self, database, entries, news)
        raise LedgerError("nothing goes in any more")

    with SqliteStore(tmp_path / "ledger.db") as store:
        monkeypatch.setattr(Writer, "_insert", interrupted)
        assert store.append(make_event()) == "added"
        assert store.totals()[0].totals.calls == 1
        assert (store.health().faults, store.health().last_fault) == (1, "nothing goes in any more")


def test_the_log_stays_small(tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is written, the log is moved into the file in the background and starts again."""
    monkeypatch.setattr(checkpoint, "PASSIVE_PAGES", 50)
    monkeypatch.setattr(checkpoint, "RESTART_PAGES", 100)
    monkeypatch.setattr(checkpoint, "MOST_PAGES", 400)
    with SqliteStore(tmp_path / "ledger.db") as store:
        for _ in range(40):
            store.append_many((make_event(), None) for _ in range(500))
        health = store.health()
        assert (health.events, health.faults) == (20_000, 0)
        assert health.wal_bytes < 1000 * 4096 < health.size_bytes


def test_a_short_run_starts_no_thread(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """A program that records a few calls has no thread of ours, and leaves one file behind."""
    before = threading.active_count()
    with open_ledger(tmp_path / "ledger.db") as store:
        for _ in range(20):
            store.append(make_event())
        assert threading.active_count() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.db"]


def test_a_failing_checkpoint_is_counted_and_stops_nothing(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing goes on while the log cannot be moved, and the health of the store says why."""
    monkeypatch.setattr(checkpoint, "PASSIVE_PAGES", 5)
    tried = threading.Event()

    def fail(_self: Database, _mode: str) -> tuple[int, int]:
        tried.set()
        raise LedgerError("the disk is on strike")

    monkeypatch.setattr(Database, "checkpoint", fail)
    with SqliteStore(tmp_path / "ledger.db") as store:
        store.append_many((make_event(), None) for _ in range(500))
        assert tried.wait(10)
        store.append(make_event())
        assert store._checkpointer is not None
        store._checkpointer.close()
        assert store.health().last_fault == "the disk is on strike"
        assert store.totals()[0].totals.calls == 501


def test_a_call_while_a_transaction_is_undone(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that records then is heard when the ledger is closed, if not before."""
    undo = Database.undo
    inner = [make_event(), make_event()]
    to_come = list(inner)

    def interrupted(self: Database) -> None:
        monkeypatch.undo()
        assert store.append(to_come.pop(0)) == "added"
        undo(self)

    with SqliteStore(tmp_path / "ledger.db") as store:
        monkeypatch.setattr(Database, "undo", interrupted)
        with pytest.raises(LedgerError, match="cannot keep"):
            store.append(make_event(error=object()))
        assert store.append(make_event()) == "added"
        assert store.get(inner[0].id) == inner[0]

        monkeypatch.setattr(Database, "undo", interrupted)
        with pytest.raises(LedgerError, match="cannot keep"):
            store.append(make_event(error=object()))
    with SqliteStore(tmp_path / "ledger.db") as store:
        assert store.get(inner[1].id) == inner[1]


def test_a_file_that_cannot_be_opened_again(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a forked child: each call says why, none takes itself for one amid a transaction; later ones work."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        store._writer.close()
        opened = store._writer._open

        def away() -> Database:
            raise LedgerUnavailable("the disk is away")

        store._writer._open = away
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="away"):
                store.append(make_event())
        store._writer._open = opened
        one = make_event()
        assert store.append(one) == "added"
        assert store.get(one.id) == one


def test_what_is_late_and_interrupted_leaves_the_rest(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C amid the first of three late events: the other two are kept when the ledger is closed."""
    insert = Writer._insert
    late = [make_event() for _ in range(3)]

    def stopped(*_: object) -> list[Outcome]:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def interrupted(self: Writer, database: Database, entries: Sequence[Prepared], news: list[Prepared]) -> Any:
        monkeypatch.setattr(Writer, "_insert", stopped)
        for one in late:
            store.append(one)
        return insert(self, database, entries, news)

    with SqliteStore(tmp_path / "ledger.db") as store:
        monkeypatch.setattr(Writer, "_insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(make_event())
    with SqliteStore(tmp_path / "ledger.db") as store:
        assert [store.get(one.id) for one in late] == [None, *late[1:]]
