"""Ledgers of several versions: migrated once, and shared with processes that know less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.errors import LedgerError, LedgerUnavailable
from farthing.event import Event
from farthing.ledger import engine, migrate, open_ledger
from farthing.ledger.engine import Database
from farthing.ledger.sqlite import SqliteStore

SECOND = """
ALTER TABLE events ADD COLUMN region TEXT NOT NULL DEFAULT 'nowhere';
CREATE TABLE accounts (id TEXT PRIMARY KEY) STRICT;
"""


def columns(path: Path) -> set[str]:
    database = Database(str(path))
    try:
        return {row[0] for row in database.rows("SELECT name FROM pragma_table_info('events')")}
    finally:
        database.close()


def test_a_newer_version_migrates_and_older_processes_go_on(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """A process of version 1 with the file open writes on after a migration to 2, and one that opens it later does so too."""
    path = tmp_path / "ledger.db"
    with SqliteStore(path) as old:
        old.append(make_event())
        newer = Database(str(path))
        assert migrate.bring_up_to_date(newer, [*migrate.scripts(), SECOND]) == 2
        old.append(make_event())
        old.append_many([(make_event(), None), (make_event(), None)])
        assert newer.rows("SELECT count(*), min(region) FROM events") == [(4, "nowhere")]
        with open_ledger(path) as later:
            later.append(make_event())
            assert later.health().schema_version == 2
            assert len(list(later.events())) == 5
        newer.close()
    assert "region" in columns(path)


def test_older_writers_can_be_forbidden(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that says so stops those who open the file later, and those who have it open; reading goes on."""
    path = tmp_path / "ledger.db"
    with SqliteStore(path) as old:
        old.append(make_event())
        newer = Database(str(path))
        with monkeypatch.context() as patched:
            patched.setattr(migrate, "WRITER_VERSION", 2)
            migrate.bring_up_to_date(newer, [*migrate.scripts(), SECOND + migrate.FORBID.format(version=2)])
        with pytest.raises(LedgerUnavailable, match="too old to write"):
            old.append(make_event())
        assert len(list(old.events())) == 1
        with pytest.raises(LedgerUnavailable, match=r"version 2\) asks for writers of version 2.*pip install -U"):
            open_ledger(path)
        monkeypatch.setattr(engine, "WRITER_VERSION", 2)
        newer.execute("INSERT INTO events SELECT 2, at_us, calls, cost_pico, input_tokens, output_tokens, cache_read_tokens,"
                      " cache_write_tokens, output_reasoning_tokens, restates, attempt, billed, cache_hit, usage_status,"
                      " price_status, NULL, NULL, NULL, org, 'new', 'new', provider, model, NULL, operation, NULL, NULL, NULL,"
                      " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
                      " NULL, NULL, NULL, NULL, source, NULL, recorded_at_us, NULL, 'here' FROM events")  # fmt: skip
        newer.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Half of a migration is never there: tables and version move together or not at all."""
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    before = columns(path)
    database = Database(str(path))
    with pytest.raises(LedgerError, match="no such table: nothing"):
        migrate.bring_up_to_date(database, [*migrate.scripts(), SECOND + "INSERT INTO nothing VALUES (1);"])
    assert database.rows("PRAGMA user_version") == [(1,)]
    database.close()
    assert columns(path) == before


def test_many_open_a_new_file_at_once(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Eight openers of a file that is not there: one makes the tables, all can write."""
    path = tmp_path / "ledger.db"
    start = threading.Barrier(8)
    failed: list[LedgerError] = []

    def work() -> None:
        start.wait()
        try:
            with open_ledger(path) as store:
                store.append(make_event())
        except LedgerError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with open_ledger(path) as store:
        assert store.totals()[0].totals.calls == 8
