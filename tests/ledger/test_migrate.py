"""Ledgers of several versions: migrated once, and shared with processes that know less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.amounts import Amounts
from farthing.errors import LedgerError, LedgerUnavailable
from farthing.event import Attribution, Event, now_us
from farthing.ledger import engine, migrate, open_ledger
from farthing.ledger.engine import Database
from farthing.ledger.holds import Ask, Hold
from farthing.ledger.rows import prepare
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.writer import INSERT
from farthing.policy import Subject, make_budget

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
            patched.setattr(migrate, "WRITER_VERSION", 3)
            migrate.bring_up_to_date(newer, [*migrate.scripts(), NEXT + migrate.FORBID.format(version=3)])
        with pytest.raises(LedgerUnavailable, match="too old to write"):
            old.append(make_event())
        assert len(list(old.events())) == 1
        with pytest.raises(
            LedgerUnavailable, match=rf"version {NEWEST + 1}\) asks for writers of version 3.*pip install -U"
        ):
            open_ledger(path)
        monkeypatch.setattr(engine, "WRITER_VERSION", 3)
        row = prepare(make_event(), None).row
        newer.execute(INSERT, row)
        assert newer.changes() == 1
        newer.close()


HELD = "key, org, number, state, at_us, expires_us, usd, tokens, calls, input, moves"
BEFORE_HOLDS = """
CREATE TABLE reservations (number INTEGER PRIMARY KEY, key TEXT NOT NULL, org TEXT NOT NULL, state TEXT NOT NULL,
  at_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, usd INTEGER, tokens INTEGER NOT NULL, calls INTEGER NOT NULL,
  holds TEXT NOT NULL, call TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX reservations_key ON reservations (key, org);
INSERT INTO reservations
SELECT number, key, org, state, at_us, expires_us, usd, tokens, calls,
  (SELECT json_group_array(json_array(value ->> 0, value ->> 2)) FROM json_each(moves)),
  json_set(call, '$.input', input)
FROM (
  SELECT number, key, org, state, at_us, expires_us, usd, tokens, calls, moves, call, input FROM holds UNION ALL
  SELECT number, key, org, state, at_us, expires_us, usd, tokens, calls, moves, call, input FROM ended_holds);
DROP TABLE holds; DROP TABLE ended_holds;
UPDATE ledger_meta SET value = '1' WHERE key = 'min_writer';
PRAGMA user_version = 3;
"""
"""Version 3 of a file of today: holds that are open and holds that are over in one table."""


def test_holds_of_before_go_on(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold under way is settled, one that expired is corrected, one that is over is known; writers of before stop."""
    path, at = tmp_path / "ledger.db", now_us()
    subject = Subject(Attribution(agent="writer"), None, "m")

    def ask(key: str, until_s: int, *, gone: bool = True) -> Ask:
        return Ask(key, subject, Amounts(10**11, 400, 1), at, at + until_s * 10**6, gone=gone, input=100)

    def spent(pico: int) -> list[tuple[Event, None]]:
        event = make_event(attribution=subject.who, model="m", at_us=at, cost_pico=pico, price_status="priced")
        return [(event, None)]

    with open_ledger(path) as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="w"))
        for one in (ask("open", 3600), ask("lost", 1), ask("over", 3600), ask("back", 3600, gone=False)):
            assert isinstance(store.accounts.reserve(one), Hold)
        store.accounts.settle("over", spent(10**10))
        assert store.accounts.release("back") and store.accounts.expire(at + 2 * 10**6) == 1
        before = store.accounts.standings()
    database = Database(str(path))
    kept = [f"SELECT {HELD} FROM {table} ORDER BY key" for table in ("holds", "ended_holds")]
    rows = [database.rows(one) for one in kept]
    assert [len(one) for one in rows] == [1, 3]
    database.script(BEFORE_HOLDS)
    database.close()
    with open_ledger(path) as store:
        assert store.health().schema_version == NEWEST
        assert [store._writer.database.rows(one) for one in kept] == rows  # type: ignore[attr-defined]
        states = {key: hold.state for key in ("open", "lost", "over", "back") if (hold := store.accounts.hold(key))}
        assert states == {"open": "dispatched", "lost": "expired", "over": "settled", "back": "released"}
        assert store.accounts.standings() == before and store.accounts.audit().holds_true
        assert store.accounts.settle("open", spent(3 * 10**10)) == ["added"]
        assert store.accounts.settle("lost", spent(2 * 10**10)) == ["corrected"]
        assert isinstance(store.accounts.reserve(ask("over", 3600)), Hold)  # the one that it named
        assert [(one.posted, one.reserved) for one in store.accounts.standings()] == [(6 * 10**10, 0)]
        found = store.accounts.audit()
        assert found.holds_true and found.holds == 0
    with monkeypatch.context() as old:
        old.setattr(migrate, "WRITER_VERSION", 1)
        with pytest.raises(LedgerUnavailable, match="asks for writers of version 2"):
            open_ledger(path)


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
