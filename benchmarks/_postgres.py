"""A private PostgreSQL for the benchmarks: a cluster of its own on a socket in a folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from farthing.ledger import duck

PLACES = (
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/local/bin",
    "/usr/bin",
)
SETTINGS = (
    *("shared_buffers=1GB", "work_mem=256MB", "fsync=off", "synchronous_commit=off", "max_wal_size=8GB", "jit=off"),
    *("listen_addresses=", "max_parallel_workers_per_gather=2"),
)


def times(
    folder: Path,
    table: str,
    indexes: Sequence[str],
    selects: Sequence[str],
    asked: Sequence[Any],
    beside: Callable[[Any], float],
) -> dict[str, tuple[float, float]] | None:
    """(milliseconds of each question over the rows of `selects`, what `beside` gives right after).

    None where PostgreSQL is not installed.
    """
    initdb = next((f"{place}/initdb" for place in PLACES if Path(place, "initdb").exists()), None)
    psql = shutil.which("psql")
    if initdb is None or psql is None:
        return None
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    data = Path("/tmp") / f"farthing-pg-{os.getpid()}"
    data.mkdir(mode=0o700)
    if as_user:
        shutil.chown(data, "postgres", "postgres")
    server: subprocess.Popen[bytes] | None = None
    try:
        _run(
            [
                *as_user,
                initdb,
                "-D",
                str(data / "db"),
                "-A",
                "trust",
                "-U",
                "bench",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ]
        )
        options = [part for setting in SETTINGS for part in ("-c", setting)]
        server = subprocess.Popen(
            [*as_user, str(Path(initdb).with_name("postgres")), "-D", str(data / "db"), "-k", str(data), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        ask = [psql, "-h", str(data), "-U", "bench", "-d", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"]
        _wait(ask)
        _fill(ask, table, indexes, selects, folder / "piece.csv")
        return _measured(ask, asked, beside)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(data, ignore_errors=True)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd="/")


def _wait(ask: list[str]) -> None:
    for _ in range(200):
        if subprocess.run([*ask, "-c", "SELECT 1"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError("PostgreSQL did not start")


def _fill(ask: list[str], table: str, indexes: Sequence[str], selects: Sequence[str], piece: Path) -> None:
    _run([*ask, "-c", f"CREATE UNLOGGED TABLE events ({table})"])
    for select in selects:
        with duck.query() as query:
            query.execute(f"COPY ({select}) TO '{piece}' (FORMAT csv, HEADER false)")
        with open(piece, "rb") as text:
            subprocess.run([*ask, "-c", "COPY events FROM STDIN (FORMAT csv)"], stdin=text, check=True, cwd="/")
        piece.unlink()
    for index in indexes:
        _run([*ask, "-c", index])
    _run([*ask, "-c", "VACUUM ANALYZE events"])


def _measured(ask: list[str], asked: Sequence[Any], beside: Callable[[Any], float]) -> dict[str, tuple[float, float]]:
    found = {}
    for one in asked:
        key = one.key.replace("//", "/").replace("metadata ->>", "metadata::json ->>")
        sql = f"SELECT {key}, {one.columns} FROM events WHERE at_us >= {one.since_us} {one.where} GROUP BY 1 {one.tail}"
        said = subprocess.run(
            [*ask, "-c", "\\timing on", *(["-c", sql] * 4)], check=True, capture_output=True, text=True, cwd="/"
        ).stdout
        took = [float(line.split()[1]) for line in said.splitlines() if line.startswith("Time:")]
        found[one.name] = (min(took[1:]), beside(one))
    return found
