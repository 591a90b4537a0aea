"""The file of a ledger: where it may lie, who may read it, what it says when it cannot be used."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from farthing.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerFull, LedgerUnavailable
from farthing.event import Event
from farthing.ledger import open_ledger, places
from farthing.ledger.engine import Database
from farthing.ledger.sqlite import SqliteStore


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_files_are_their_owners_alone(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """File, log and index are 0600 and a new folder 0700, whatever the umask; an existing folder keeps its mode."""
    path = tmp_path / "new" / "ledger.db"
    before = os.umask(0)
    try:
        with open_ledger(path) as store:
            store.append(make_event())
            assert {f.name: mode(f) for f in path.parent.iterdir()} == {
                "ledger.db": "0o600",
                "ledger.db-wal": "0o600",
                "ledger.db-shm": "0o600",
            }
        assert mode(path.parent) == "0o700"
        tmp_path.chmod(0o755)
        open_ledger(tmp_path / "b.db").close()
        assert mode(tmp_path) == "0o755"
    finally:
        os.umask(before)


def test_names_of_ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, relative and absolute URLs and memory open; the store's url opens the same again."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "a b.db"
    for url in (place, str(place), f"sqlite:///{place}", "sqlite:///a b.db", "sqlite:///a%20b.db", "a b.db"):
        with open_ledger(url) as store:
            assert store.url == f"sqlite:///{place}"
    assert [p.name for p in tmp_path.iterdir()] == ["a b.db"]
    for url in (None, ":memory:", "sqlite:///:memory:", "sqlite:///"):
        with open_ledger(url) as store:
            assert store.url == ":memory:"


@pytest.mark.parametrize(
    ("url", "said"),
    [("postgres://db/x", "'postgres://'.*sqlite:///"), ("sqlite://host/x", "three slashes"), ("", "empty")],
)
def test_unknown_names_are_explained(url: str, said: str) -> None:
    """The error repeats the name and gives those that are known."""
    with pytest.raises(LedgerUnavailable, match=said):
        open_ledger(url)
    with pytest.raises(LedgerUnavailable, match=r"'sometimes'.*commit, full, queued"):
        open_ledger(":memory:", durability="sometimes")  # type: ignore[arg-type]


MOUNTS = """22 1 8:1 / / rw,relatime - ext4 /dev/root rw
30 22 0:40 / /mnt/team rw - nfs4 server:/x rw
31 30 0:41 / /mnt/team/local rw shared:7 - xfs /dev/sdb rw
32 22 0:42 / /mnt/my\\040share rw - cifs //nas/x rw
33 22 0:43 / /home/me/remote rw - fuse.sshfs me@host: rw
34 22 0:44 / /home/me/clear rw - fuse.gocryptfs /x rw
"""


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the mount that holds the path, named in the error; local disks inside and beside them are fine."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(places, "_MOUNTS", str(mounts))
    for path, kind in (
        ("/mnt/team/a.db", "nfs4"),
        ("/mnt/my share/a.db", "cifs"),
        ("/home/me/remote/x/a.db", "fuse.sshfs"),
    ):
        with pytest.raises(LedgerUnavailable, match=rf"{path}.*\({kind}\).*FARTHING_URL"):
            open_ledger(path)
    for path in ("/mnt/team/local/a.db", "/mnt/teamwork/a.db", "/home/me/clear/a.db"):
        places.refuse_network(path)
    mounts.unlink()
    places.refuse_network("/mnt/team/a.db")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """A database without our mark is refused and not changed."""
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE users (name)")
    connection.close()
    with pytest.raises(LedgerUnavailable, match=r"app\.db is a database, but no ledger"):
        open_ledger(path)
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("users",)]
    connection.close()


def test_a_damaged_file_is_told(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """No database at all, and one with pages overwritten: LedgerCorrupt names the file and the way out."""
    noise = tmp_path / "noise.db"
    noise.write_bytes(random.Random(7).randbytes(20_000))
    with pytest.raises(LedgerCorrupt, match=r"noise\.db.*restore a backup"):
        open_ledger(noise)

    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        store.append_many((make_event(), None) for _ in range(500))
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    path.write_bytes(content)
    with open_ledger(path) as store, pytest.raises(LedgerCorrupt, match=r"ledger\.db is damaged"):
        list(store.events())


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    """A folder, and a path below a file, are refused in words."""
    with pytest.raises(LedgerUnavailable, match="no file that can be a ledger"):
        open_ledger(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="no file that can be"):
        open_ledger(tmp_path / "file" / "ledger.db")


def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file or folder that lacks permission."""
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    monkeypatch.setattr(os, "access", lambda place, _mode: place != str(tmp_path))
    with pytest.raises(LedgerUnavailable, match=rf"may not write {tmp_path}\."):
        open_ledger(path)


def test_a_full_disk_keeps_nothing_half(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """LedgerFull, nothing of that transaction kept; once there is room, writing goes on."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        store.append(make_event(), "text")
        database = store._writer.database
        ((pages,),) = database.rows("PRAGMA page_count")
        database.script(f"PRAGMA max_page_count = {pages + 5}")
        lot = [(make_event(price_hash="h"), "text of h") for _ in range(200)]
        with pytest.raises(LedgerFull, match=r"no space left.*FARTHING_URL"):
            store.append_many(lot)
        assert store.totals()[0].totals.calls == 1
        assert store.price_record("h") is None
        database.script("PRAGMA max_page_count = 100000")
        assert store.append_many(lot).added == 200
        assert store.price_record("h") == "text of h"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up(tiny_disk: Path, make_event: Callable[..., Event]) -> None:
    """On a real full disk, all that was acknowledged can be read, and no new ledger is made."""
    kept = 0
    with open_ledger(tiny_disk / "ledger.db") as store:
        with contextlib.suppress(LedgerFull):
            while kept < 10_000:
                store.append(make_event())
                kept += 1
        assert store.totals()[0].totals.calls == kept
        assert 0 < kept < 10_000
        with pytest.raises(LedgerError, match="ledger"):
            open_ledger(tiny_disk / "other" / "ledger.db").append_many((make_event(), None) for _ in range(10_000))


def test_a_lock_that_is_never_let_go(tmp_path: Path) -> None:
    """LedgerBusy at the end of patience; the message says who to look for."""
    path = tmp_path / "ledger.db"
    with SqliteStore(path) as store:
        other = Database(str(path), patience_s=0.05)
        with store._writer.database.transaction(), pytest.raises(LedgerBusy, match="another process holds"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_events_cannot_be_changed_or_deleted(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Not even by someone who opens the file; the door for sealing opens inside one transaction only."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        store.append(make_event())
        database = store._writer.database
        for sql in ("UPDATE events SET cost_pico = 0", "DELETE FROM events"):
            with pytest.raises(LedgerError, match="append-only"):
                database.execute(sql)
        with database.transaction():
            database.execute("UPDATE ledger_meta SET value = 'open' WHERE key = 'door'")
            database.execute("DELETE FROM events")
            database.execute("UPDATE ledger_meta SET value = 'shut' WHERE key = 'door'")
        assert store.totals()[0].totals.calls == 0
