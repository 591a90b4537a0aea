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
from farthing.ledger.rows import prepare
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.writer import INSERT

NEWEST = len(migrate.scripts())
NEXT = """
ALTER TABLE events ADD COLUMN region TEXT NOT NULL DEFAULT 'nowhere';
CREATE TABLE regions (id TEXT PRIMARY KEY) STRICT;
"""


def columns(path: Path) -> set[str]:
    database = Database(str(path))
    try:
        return {row[0] for row in database.rows("SELECT name FROM pragma_table_info('events')")}
    finally:
        database.close()


def test_a_newer_version_migrates_and_older_processes_go_on(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """A process of version 1 that has the file open writes on after a migration to 2; one that opens it later too."""
    path = tmp_path / "ledger.db"
    with SqliteStore(path) as old:
        old.append(make_event())
        newer = Database(str(path))
        assert migrate.bring_up_to_date(newer, [*migrate.scripts(), NEXT]) == NEWEST + 1
        old.append(make_event())
        old.append_many([(make_event(), None), (make_event(), None)])
        assert newer.rows("SELECT count(*), min(region) FROM events") == [(4, "nowhere")]
        with open_ledger(path) as later:
            later.append(make_event())
            assert later.health().schema_version == NEWEST + 1
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
            migrate.bring_up_to_date(newer, [*migrate.scripts(), NEXT + migrate.FORBID.format(version=2)])
        with pytest.raises(LedgerUnavailable, match="too old to write"):
            old.append(make_event())
        assert len(list(old.events())) == 1
        with pytest.raises(
            LedgerUnavailable, match=rf"version {NEWEST + 1}\) asks for writers of version 2.*pip install -U"
        ):
            open_ledger(path)
        monkeypatch.setattr(engine, "WRITER_VERSION", 2)
        row = prepare(make_event(), None).row
        newer.execute(INSERT, row)
        assert newer.changes() == 1
        newer.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Half of a migration is never there: tables and version move together or not at all."""
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    before = columns(path)
    database = Database(str(path))
    with pytest.raises(LedgerError, match="no such table: missing"):
        migrate.bring_up_to_date(database, [*migrate.scripts(), NEXT + "INSERT INTO missing VALUES (1);"])
    assert database.rows("PRAGMA user_version") == [(NEWEST,)]
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
