"""Sealed events that come again: found by their keys, read from their segment only where something differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from farthing.event import Event
from farthing.ledger import duck
from farthing.ledger.duck import FileGone
from farthing.ledger.engine import Database
from farthing.ledger.keys import observed_digest
from farthing.ledger.pages import LISTED
from farthing.ledger.rows import COLUMNS, ID, KEY, ORG, Prepared, to_event
from farthing.ledger.segments import Sealed, Segment, look, nothing

_TRIES = 5


class Known:
    """What the writer asks of the sealed part, inside its transaction."""

    def __init__(self, path: str) -> None:
        self._sealed = nothing(path)
        self._moment: object = None

    def look(self, database: Database) -> Sealed:
        """The sealed part as of the transaction. Sealing is done by other connections than the writer's."""
        if self._moment is not database.moment:
            self._sealed = look(database.rows, self._sealed)
            self._moment = database.moment
        return self._sealed


def days(sealed: Sealed, entry: Prepared) -> list[int] | None:
    """None where the entry's event is not sealed for sure; [] where it is, and says nothing new; else where to look."""
    named, key_of, org = entry.row[ID], entry.row[KEY], entry.row[ORG]
    found: list[tuple[int, int]] = []
    for key in (key_of, named) if key_of != named else (named,):
        if key == named and _is_newer(key, sealed):
            continue
        if hits := sealed.keys.find(org, key):
            observed = observed_digest(entry.row)
            if any(said == observed for said, _ in hits):
                return []
            found += hits
    return sorted({day for _, day in found}) if found else None


def _is_newer(event_id: str, sealed: Sealed) -> bool:
    """Whether an id of our making is greater than all that are sealed, ids and keys."""
    return len(event_id) == 36 and event_id[14] == "7" and event_id > sealed.keys.last_id


def original_of(sealed: Sealed, event: Event, where: Sequence[int]) -> Event | None:
    """The sealed event that this one is, by id or else by dedupe key."""
    org = event.attribution.org
    files = _files(sealed, org, where)
    found = read(sealed, files, "id = ? OR dedupe_key = ? OR id = ?", (event.id, event.dedupe_key, event.dedupe_key))
    same_id = (one for one in found if one.id == event.id)
    same_key = (one for one in found if one.dedupe_key == event.dedupe_key)
    return next(same_id, None) or next(same_key, None)


def by_id(sealed: Sealed, event_id: str, org: str | None) -> Event | None:
    """The sealed event with this id."""
    if _is_newer(event_id, sealed):
        return None
    for of in {segment.org for segment in sealed.segments} if org is None else (org,):
        where = [day for _, day in sealed.keys.find(of, event_id)]
        if where:
            found = read(sealed, _files(sealed, of, where), "id = ?", (event_id,))
            if found:
                return found[0]
    return None


def by_key(sealed: Sealed, key: str, org: str) -> Event | None:
    """The sealed event with this dedupe key, where that is not its id."""
    where = [day for _, day in sealed.keys.find(org, key)]
    found = read(sealed, _files(sealed, org, where), "dedupe_key = ?", (key,)) if where else []
    return found[0] if found else None


def keyed(sealed: Sealed, key: str, org: str) -> Event | None:
    """The sealed event with this dedupe key, its id or another."""
    return by_key(sealed, key, org) or by_id(sealed, key, org)


def corrections_in(sealed: Sealed, original: Event) -> list[Event]:
    """The sealed corrections of an event, in the order they were made. They are of its day."""
    at = original.at_us
    files = [s for s in sealed.of(org=original.attribution.org, since_us=at, until_us=at + 1) if s.corrections]
    return read(sealed, files, "corrects = ?", (original.id,)) if files else []


def beginning_with(sealed: Sealed, prefix: str, limit: int) -> list[Event]:
    """Sealed events whose id begins so."""
    end = prefix + "\U0010ffff"
    files = [s for s in sealed.segments if s.first_id < end and s.last_id >= prefix]
    return read(sealed, files, f"id >= ? AND id < ? ORDER BY id, org LIMIT {limit}", (prefix, end)) if files else []


def _files(sealed: Sealed, org: str, where: Sequence[int]) -> list[Segment]:
    return [s for s in sealed.segments if any(s in sealed.of_day(org, day) for day in where)]


def read(sealed: Sealed, segments: Sequence[Segment], where: str, values: Sequence[Any]) -> list[Event]:
    """Events of these segments, as `where` says, by number unless it orders them."""
    if not segments:
        return []
    files = ", ".join(duck.quoted(sealed.path(segment)) for segment in segments)
    ordered = "" if "ORDER BY" in where else " ORDER BY e.seq"
    condition = where if "ORDER BY" in where else f"({where})"
    with duck.query() as query:
        found = query.rows(
            f"SELECT {LISTED} FROM read_parquet([{files}], union_by_name = true) e WHERE {condition}{ordered}", values
        )
    return [to_event(row[: len(COLUMNS)]) for row in found]


def retried(work: Callable[[Sealed], Any], sealed: Callable[[], Sealed]) -> Any:
    """What `work` gives of the sealed part; again where a file was replaced meanwhile."""
    for _ in range(_TRIES - 1):
        try:
            return work(sealed())
        except FileGone:
            continue
    return work(sealed())
