"""Fields of hot rows as SQLite says them, for sums inside a writer's transaction. Reports ask `ask`."""

from __future__ import annotations

import difflib
import json
from typing import Any

from farthing.errors import InputError
from farthing.ledger.store import STATUS_FIELDS, TEXT_FIELDS, TIME_FIELDS

# Of an event and its corrections alike: the status that the newest correction gives.
_NEWEST = (
    "coalesce((SELECT c.{0} FROM events c WHERE c.corrects = coalesce(e.corrects, e.id) AND c.org = e.org"
    " ORDER BY c.seq DESC LIMIT 1), e.{0})"
)
_USAGE_STATUS, _PRICE_STATUS = _NEWEST.format("usage_status"), _NEWEST.format("price_status")
_STATUS_SQL = {
    "usage_status": _USAGE_STATUS,
    "price_status": _PRICE_STATUS,
    # as farthing.event.worse
    "status": f"(CASE WHEN {_USAGE_STATUS} = 'reported' OR {_PRICE_STATUS} = 'unpriced' THEN {_PRICE_STATUS}"
    f" WHEN 'partial' IN ({_USAGE_STATUS}, {_PRICE_STATUS}) THEN 'partial' ELSE 'estimated' END)",
}


def field_sql(name: str) -> tuple[str, list[Any]]:
    """What gives a field's text, and the values it needs."""
    if name.startswith("metadata."):
        path = "$." + json.dumps(name.removeprefix("metadata."), ensure_ascii=False)
        return (
            "(CASE json_type(e.metadata, ?) WHEN 'text' THEN e.metadata ->> ? WHEN 'null' THEN NULL"
            " ELSE e.metadata -> ? END)",
            [path] * 3,
        )
    if name in STATUS_FIELDS:
        return _STATUS_SQL[name], []
    if name in TEXT_FIELDS:
        return f'e."{name}"', []
    known = (*TEXT_FIELDS, *STATUS_FIELDS, *TIME_FIELDS)
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"events have no field {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else f": name one of {', '.join(known)} or metadata.<key>")
    )
