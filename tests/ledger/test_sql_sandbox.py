"""A user's SQL reads the events of one organisation and does nothing else, however it tries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.errors import InputError, LedgerError
from farthing.event import Attribution, Event
from farthing.ledger import Store, duck, open_ledger
from farthing.ledger.sql_values import Limits
from farthing.ledger.statement import check
from farthing.ledger.upkeep import compact

SECRET = "the secret of others"


@pytest.fixture
def store(tmp_path: Path, make_event: Callable[..., Event]) -> Store:
    """Events of two organisations, sealed and hot."""
    path = str(tmp_path / "ledger.db")
    opened = open_ledger(path)
    for org, name in (("default", "ours"), ("other", SECRET)):
        opened.append_many((make_event(attribution=Attribution(org=org, agent=name)), None) for _ in range(5))
    compact(path, keep_rows=2)
    return opened


def digests(folder: Path) -> dict[str, str]:
    """What every segment is."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.parquet")}


def test_sealed_and_hot_events_of_one_organisation_are_seen(store: Store) -> None:
    """All of them, none of the others'; sums are exact decimals."""
    answer = store.sql("SELECT agent, count(*) AS n, sum(cost) AS usd FROM events GROUP BY agent")
    assert answer.columns == ("agent", "n", "usd")
    assert answer.rows == [("ours", 5, Decimal("0.000000005000"))]
    other = store.sql("SELECT DISTINCT agent FROM events;", org="other")
    assert other.rows == [(SECRET,)]
    assert store.sql("SELECT * FROM events", org="nobody's").rows == []
    assert store.sql("SELECT * FROM events", limits=Limits(most_rows=2)).more
    store.close()


REFUSED = [
    "COPY (SELECT 1) TO '{segment}' (FORMAT parquet)",
    "COPY events TO '{folder}/out.csv'",
    "ATTACH '{folder}/ledger.db'",
    "ATTACH '{folder}/ledger.db' (TYPE sqlite)",
    "INSTALL sqlite",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW events",
    "EXPORT DATABASE '{folder}/out'",
    "CALL pragma_version()",
    "EXPLAIN SELECT 1",
    "SELECT 1; SELECT 2",
    "",
    "SELECT * FROM '{segment}'",
    "SELECT * FROM '{other}'",
    'SELECT * FROM "{other}"',
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM parquet_metadata('{segment}')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_views",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM main.events",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('events')",
    "SELECT current_setting('allowed_paths')",
    "SELECT getenv('HOME')",
    "SELECT (SELECT count(*) FROM read_text('/etc/hostname'))",
    "SELECT * FROM events WHERE id IN (SELECT content FROM read_text('/etc/hostname'))",
    "WITH t AS (SELECT * FROM read_text('/etc/hostname')) SELECT * FROM t",
    'WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"',
    "WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings",
    "SELECT * FROM events JOIN (SELECT * FROM read_text('/etc/hostname')) t ON true",
    "SELECT * FROM events UNION ALL BY NAME SELECT * FROM read_text('/etc/hostname')",
    "SELECT 1) TO '/tmp/x' --",
    "DESCRIBE events",
    "SUMMARIZE events",
    "SELECT nope FROM events",
    "SELECT FROM WHERE",
]


def test_anything_but_a_select_over_our_views_is_refused(store: Store, tmp_path: Path) -> None:
    """Writing, attaching, settings, other files and other organisations' segments: refused, and nothing has changed."""
    moment = store._hot.moment()  # type: ignore[attr-defined]
    places = {
        "folder": str(tmp_path),
        "segment": next(moment.sealed.path(s) for s in moment.sealed.segments if s.org == "default"),
        "other": next(moment.sealed.path(s) for s in moment.sealed.segments if s.org == "other"),
    }
    before = digests(tmp_path)
    with duck.query() as query:
        for statement in REFUSED[:-2]:
            ((tree,),) = query.rows("SELECT json_serialize_sql(?::VARCHAR)", (statement.format(**places),))
            with pytest.raises(InputError):
                check(json.loads(tree))
    for statement in (*REFUSED[:1], *REFUSED[16:22], *REFUSED[-6:]):  # and to the end, through the child
        with pytest.raises((InputError, LedgerError)) as refused:
            store.sql(statement.format(**places))
        assert SECRET not in str(refused.value)
    assert digests(tmp_path) == before
    store.close()


def test_the_fence_holds_even_where_the_tree_is_not_looked_at(store: Store, tmp_path: Path) -> None:
    """The instance itself reads the given files only, writes none, and lets no setting be changed."""
    moment = store._hot.moment()  # type: ignore[attr-defined]
    mine, others = (
        next(moment.sealed.path(s) for s in moment.sealed.segments if s.org == org) for org in ("default", "other")
    )
    before = digests(tmp_path)
    query = duck.fenced([f"CREATE VIEW events AS SELECT * FROM read_parquet(['{mine}'])"], [mine], 256)
    assert query.rows("SELECT count(*) FROM events") == [(5,)]
    for statement in (
        f"SELECT * FROM read_parquet('{others}')",
        "SELECT * FROM read_text('/etc/hostname')",
        f"COPY (SELECT 1) TO '{mine}' (FORMAT parquet)",
        f"ATTACH '{tmp_path}/new.db'",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "SET allowed_paths = ['/etc/hostname']",
    ):
        with pytest.raises((InputError, LedgerError)):
            query.rows(statement)
    assert digests(tmp_path) == before
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "SELECT sum(a.cost * b.cost * c.cost) FROM"
        " (SELECT cost, unnest(range(100000)) FROM events) a, (SELECT cost, unnest(range(100000)) FROM events) b,"
        " (SELECT cost, unnest(range(100000)) FROM events) c",
    ],
)
def test_what_runs_for_ever_is_stopped(store: Store, statement: str) -> None:
    """The process is killed when its time is over; the ledger answers on."""
    with pytest.raises(LedgerError, match="stopped"):
        store.sql(statement, limits=Limits(timeout_s=2.0))
    assert store.totals()[0].totals.calls == 10
    store.close()


def test_what_needs_too_much_memory_is_stopped(store: Store) -> None:
    """The limit holds for the instance and for the process; the error says what to do."""
    greedy = "SELECT list(x) FROM (SELECT repeat('x', 1000000) || n AS x FROM (SELECT unnest(range(100000)) AS n))"
    with pytest.raises(LedgerError, match=r"memory|stopped"):
        store.sql(greedy, limits=Limits(memory_mb=128, timeout_s=20.0))
    store.close()


def test_common_table_expressions_joins_and_windows_work(store: Store) -> None:
    """What is asked of the two tables may be as long as it likes."""
    answer = store.sql(
        "WITH mine AS (SELECT * FROM events WHERE calls = 1) SELECT m.agent, count(DISTINCT t.id) AS traces,"
        " max(rank) AS most FROM (SELECT *, row_number() OVER (ORDER BY timestamp) AS rank FROM mine) m"
        " JOIN traces t ON t.id = coalesce(m.trace, m.id) GROUP BY ALL -- done"
    )
    assert answer.rows == [("ours", 5, 5)]
    store.close()
