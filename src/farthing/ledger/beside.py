"""The budgets of a ledger, kept in a file beside it: whoever cannot open the ledger knows what holds all the same."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path

from farthing.errors import InputError
from farthing.ledger.engine import Database
from farthing.ledger.sheet import ACTIVE
from farthing.policy import Budget

LOG = logging.getLogger("farthing.budgets")


def place_beside(path: str) -> Path:
    """The file of the budgets of a ledger's file."""
    return Path(os.path.realpath(path) + ".budgets")


def keep_beside(database: Database) -> None:
    """Writes the active budgets beside the ledger, within the transaction that changes them, so that the last is last.

    The file is replaced whole, 0600. Where it cannot be written the ledger counts all the same.
    """
    if database.path == ":memory:":
        return
    place = place_beside(database.path)
    text = json.dumps([json.loads(row[5]) for row in database.rows(ACTIVE)], indent=1)
    try:
        handle, fresh = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}-")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(fresh, place)
    except OSError as error:
        words = "%s cannot be written (%s): a process that cannot open the ledger will not know its budgets"
        LOG.warning(words, place, error.strerror or error)


def read_beside(path: str) -> list[Budget]:
    """The budgets that were last kept beside a ledger's file; none where there is no such file, or not a whole one."""
    try:
        rows = json.loads(place_beside(path).read_text(encoding="ascii"))
        return [Budget.from_json(json.dumps(one)) for one in rows]
    except (OSError, ValueError, TypeError, AttributeError, InputError):
        return []
