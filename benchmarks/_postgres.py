"""A private PostgreSQL for the benchmarks: a cluster of its own on a socket in a folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
    folder: Path, table: str, indexes: Sequence[str], rows: Iterator[list[tuple[object, ...]]], asked: Sequence[Any]
) -> dict[str, float] | None:
    """Milliseconds of each question; None where PostgreSQL is not installed."""
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
        return _measured(ask, table, indexes, rows, asked)
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


def _measured(
    ask: list[str], table: str, indexes: Sequence[str], rows: Iterator[list[tuple[object, ...]]], asked: Sequence[Any]
) -> dict[str, float]:
    _run([*ask, "-c", f"CREATE UNLOGGED TABLE events ({table})"])
    copy = subprocess.Popen([*ask, "-c", "COPY events FROM STDIN"], stdin=subprocess.PIPE, cwd="/")
    assert copy.stdin is not None
    for lot in rows:
        text = "".join("\t".join(_field(value) for value in row) + "\n" for row in lot)
        copy.stdin.write(text.encode())
    copy.stdin.close()
    if copy.wait():
        raise RuntimeError("PostgreSQL did not take the events")
    for index in indexes:
        _run([*ask, "-c", index])
    _run([*ask, "-c", "VACUUM ANALYZE events"])
    found = {}
    for one in asked:
        key = one.key.replace("//", "/").replace("metadata ->>", "metadata::json ->>")
        sql = f"SELECT {key}, {one.columns} FROM events WHERE at_us >= {one.since_us} {one.where} GROUP BY 1 {one.tail}"
        said = subprocess.run(
            [*ask, "-c", "\\timing on", *(["-c", sql] * 4)], check=True, capture_output=True, text=True, cwd="/"
        ).stdout
        took = [float(line.split()[1]) for line in said.splitlines() if line.startswith("Time:")]
        found[one.name] = sorted(took[1:])[len(took[1:]) // 2]
    return found


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
