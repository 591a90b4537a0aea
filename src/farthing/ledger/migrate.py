"""The file's tables: made when it is new, brought up to date when it is older, used as they are when it is newer.

The version is SQLite's `user_version`. A migration adds, so an older process goes on writing to a newer file, by column
name. One that older writers would damage sets `min_writer` in `ledger_meta`, read when a ledger is opened. Processes
that have it open already are stopped by the trigger of `FORBID`; or, where only some of their work would do damage, by
the tables of that work being gone.
"""

from __future__ import annotations

import re
from pathlib import Path

from farthing.errors import LedgerUnavailable
from farthing.ledger.engine import APPLICATION_ID, WRITER_VERSION, Database

FORBID = """
UPDATE ledger_meta SET value = '{version}' WHERE key = 'min_writer';
CREATE TRIGGER events_min_writer_{version} BEFORE INSERT ON events WHEN farthing_writer() < {version}
BEGIN SELECT RAISE(ABORT, 'this farthing is too old to write it: install a newer one (pip install -U farthing)'); END;
"""
"""What a migration to `version` ends with where older writers must stop."""

_HERE = Path(__file__).parent


def scripts() -> list[str]:
    """What makes the tables, one script a version: schema.sql, then the migrations in the order of their numbers."""
    later = sorted((_HERE / "migrations").glob("[0-9]*.sql"))
    numbers = [int(re.split(r"[_.]", path.name)[0]) for path in later]
    assert numbers == list(range(2, 2 + len(later))), (
        f"migrations must be numbered from 0002 on without gaps: {numbers}"
    )
    return [path.read_text(encoding="utf-8") for path in (_HERE / "schema.sql", *later)]


def bring_up_to_date(database: Database, steps: list[str] | None = None) -> int:
    """Make or migrate the tables where needed; the version of the file. LedgerUnavailable where we may not write it."""
    steps = scripts() if steps is None else steps
    version = _version(database)
    if version < len(steps):
        with database.transaction():
            for number in range(_version(database), len(steps)):  # read again: another process may have been first
                database.script(steps[number])
                database.execute(f"PRAGMA user_version = {number + 1}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        version = _version(database)
    _refuse_newer(database, version)
    return version


def _version(database: Database) -> int:
    """The file's version; 0 for an empty one. LedgerUnavailable for somebody else's database."""
    ((application, version, tables),) = database.rows(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_schema)"
    )
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerUnavailable(
            f"{database.path} is a database, but no ledger of farthing "
            f"(application id {application:#x}): name another file"
        )
    return int(version)


def _refuse_newer(database: Database, version: int) -> None:
    found = database.rows("SELECT value FROM ledger_meta WHERE key = 'min_writer'")
    least = int(found[0][0]) if found else 1
    if least > WRITER_VERSION:
        raise LedgerUnavailable(
            f"the ledger {database.path} (version {version}) asks for writers of version {least} or newer, and this is "
            f"{WRITER_VERSION}: install a newer one (pip install -U farthing)"
        )
