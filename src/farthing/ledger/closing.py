"""Months whose books are closed: what comes for them later is reported in the first month then open."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from farthing.errors import InputError
from farthing.ledger.engine import Database

_KEY = "closed:"
LISTED = f"SELECT value FROM ledger_meta WHERE key >= '{_KEY}' AND key < '{_KEY[:-1]};' ORDER BY key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A closed month.

    month     2026-10; it is [since_us, until_us) in the time zone `tz`
    at_us     when it was closed: what is recorded from then on is not in it
    cost_pico, calls  what it came to then; by: who closed it
    """

    month: str
    tz: str
    since_us: int
    until_us: int
    at_us: int
    cost_pico: int
    calls: int
    by: str | None = None


def closings(rows: Iterable[tuple[Any, ...]]) -> list[Closing]:
    """The closings of the rows of `LISTED`. Fields of newer versions are left out."""
    names = Closing.__dataclass_fields__
    return [Closing(**{n: v for n, v in json.loads(row[0]).items() if n in names}) for row in rows]


def close_month(database: Database, closing: Closing) -> None:
    """Keep a closing."""
    key = _KEY + closing.month
    if database.rows("SELECT 1 FROM ledger_meta WHERE key = ?", (key,)):
        raise InputError(f"{closing.month} is closed already")
    database.execute("INSERT INTO ledger_meta VALUES (?, ?)", (key, json.dumps(asdict(closing))))
