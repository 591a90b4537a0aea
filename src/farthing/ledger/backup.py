"""Backups: a folder with a copy of the ledger as of one moment, and back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from farthing.errors import InputError, LedgerCorrupt, LedgerUnavailable
from farthing.event import from_us, now_us
from farthing.ledger.engine import Database
from farthing.ledger.segments import folder_of, sync
from farthing.ledger.upkeep import own

LEDGER = "ledger.db"
LIST = "backup.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds."""

    folder: str
    events: int
    files: int
    bytes: int


def backup(path: str, folder: str | Path) -> Backup:
    """Copy the ledger as it is now into a new folder. Recording goes on meanwhile; sealing waits.

    The folder gets its name when all of it is on disk. LedgerUnavailable where it is there and not empty.
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise LedgerUnavailable(f"{target} is not empty: name a new folder for the backup")
    making = target.with_name(f"{target.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    copy = str(making / LEDGER)
    with own(path) as database:
        database.copy_to(copy)
        copied = Database(copy)
        try:
            files = [row[0] for row in copied.rows("SELECT file FROM segments UNION ALL SELECT file FROM key_runs")]
            events = copied.rows(
                "SELECT (SELECT count(*) FROM events) + (SELECT coalesce(sum(rows), 0) FROM segments)"
            )[0][0]
            copied.script("DELETE FROM retired_files")
            copied.checkpoint("truncate")
        finally:
            copied.close()
        folder_of(copy).mkdir(mode=0o700)
        for file in files:
            shutil.copyfile(folder_of(path) / file, folder_of(copy) / file)
    sizes = _finish(making, copy, files, events)
    if target.exists():
        target.rmdir()
    os.rename(making, target)
    sync(target.parent)
    return Backup(folder=str(target), events=events, files=len(files), bytes=sum(sizes.values()))


def _finish(making: Path, copy: str, files: list[str], events: int) -> dict[str, int]:
    """Write the list of what is there and bring everything to disk; the sizes."""
    for rest in ("-wal", "-shm"):
        Path(copy + rest).unlink(missing_ok=True)
    names = [LEDGER, *(f"{LEDGER}.segments/{file}" for file in files)]
    for name in names:
        os.chmod(making / name, 0o600)
        sync(making / name)
    listed = {name: {"bytes": (making / name).stat().st_size, "sha256": _digest(making / name)} for name in names}
    said = {"made_at": from_us(now_us()).isoformat(), "events": events, "files": listed}
    (making / LIST).write_text(json.dumps(said, indent=1), encoding="utf-8")
    sync(making / LIST)
    sync(folder_of(copy))
    sync(making)
    return {name: int(entry["bytes"]) for name, entry in listed.items()}  # type: ignore[call-overload]


def restore(folder: str | Path, path: str) -> Backup:
    """Make the ledger `path` from a backup, once each of its files has been checked. It replaces nothing."""
    source = Path(folder)
    try:
        said = json.loads((source / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{source} is no backup of a ledger: {LIST} cannot be read ({error})") from error
    target = Path(path)
    for there in (target, folder_of(path)):
        if there.exists():
            raise LedgerUnavailable(f"{there} is there already: move it aside, or name another ledger to restore to")
    for name, entry in said["files"].items():
        file = source / name
        if not file.is_file() or _digest(file) != entry["sha256"]:
            raise LedgerCorrupt(f"the backup is damaged: {file} is missing or is not what was saved")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    segments = folder_of(path)
    segments.mkdir(mode=0o700)
    for name in said["files"]:
        if name != LEDGER:
            _copy(source / name, segments / Path(name).name)
    sync(segments)
    making = target.with_name(f"{target.name}.new")
    _copy(source / LEDGER, making)
    os.rename(making, target)
    sync(target.parent)
    sizes = [int(entry["bytes"]) for entry in said["files"].values()]
    return Backup(folder=str(source), events=int(said["events"]), files=len(sizes) - 1, bytes=sum(sizes))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    sync(target)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
