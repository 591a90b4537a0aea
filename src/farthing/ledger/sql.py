"""Users' SQL over a ledger: read-only, of one organisation, in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from farthing.errors import InputError, LedgerError
from farthing.ledger import duck
from farthing.ledger.ask import hot_select, kind_of
from farthing.ledger.hot import EVERY, Hot, Moment
from farthing.ledger.sql_values import Answer, Limits


def run(hot: Hot, sql: str, org: str, limits: Limits) -> Answer:
    """The answer to one SELECT over `events` and `traces` of an organisation.

    InputError where it is anything else, or cannot be run; LedgerError where it takes more time or memory than it may.
    """
    with tempfile.TemporaryDirectory(prefix="farthing-sql-") as folder:
        moment = hot.moment()
        newest = str(Path(folder) / "newest.parquet")
        _write_newest(moment, org, newest)
        files = [newest, *(moment.sealed.path(segment) for segment in moment.sealed.of(org=org))]
        order = {
            "sql": sql,
            "files": files,
            "memory_mb": limits.memory_mb,
            "cpu_s": int(limits.timeout_s * (os.cpu_count() or 1)) + 5,
            "most_rows": limits.most_rows,
        }
        return _answer(_child(order, limits.timeout_s, folder))


def _write_newest(moment: Moment, org: str, path: str) -> None:
    """The hot rows of an organisation as a file that the child may read, beside the segments; it may hold no row."""
    columns = ", ".join(f'NULL::{kind_of(name)} AS "{name}"' for name in EVERY if name != "day")
    rows = f"SELECT {columns}, NULL::DATE AS date WHERE FALSE"
    with duck.query() as query:
        if moment.rows is not None:
            query.show("hot_rows", moment.rows)
            rows = f"SELECT * FROM ({hot_select(moment.rows)}) WHERE org = {duck.quoted(org)}"
        query.execute(f"COPY ({rows}) TO {duck.quoted(path)} (FORMAT parquet)")


def _child(order: dict[str, Any], timeout_s: float, folder: str) -> dict[str, Any]:
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "PYTHONPATH")
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "farthing.ledger.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**environment, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        said, failed = process.communicate(json.dumps(order).encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise LedgerError(f"the SQL was stopped after {timeout_s:g} s: ask about less, or allow it more time") from None
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    if process.returncode != 0 or not said:
        last = failed.decode(errors="replace").strip().splitlines()
        raise LedgerError(
            "the SQL was stopped: it took more memory or processor time than it may"
            + (f" ({last[-1][:200]})" if last else "")
        )
    answer: dict[str, Any] = json.loads(said)
    return answer


def _answer(said: dict[str, Any]) -> Answer:
    if "error" in said:
        raise (InputError if said.get("kind") == "InputError" else LedgerError)(said["error"])
    readers = [_reader(kind) for kind in said["types"]]
    rows = [tuple(None if v is None else read(v) for read, v in zip(readers, row, strict=True)) for row in said["rows"]]
    return Answer(tuple(said["columns"]), tuple(said["types"]), rows, said["more"])


def _as_it_is(value: Any) -> Any:
    return value


def _reader(kind: str) -> Callable[[Any], Any]:
    """From what JSON has to the value."""
    if kind.startswith("DECIMAL"):
        return Decimal
    if kind == "DATE":
        return _or_text(date.fromisoformat)
    if kind.startswith("TIMESTAMP"):
        return _or_text(datetime.fromisoformat)
    return _as_it_is


def _or_text(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            return text  # a moment beyond what Python's calendar has

    return value
