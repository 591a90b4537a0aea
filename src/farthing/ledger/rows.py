"""Events as rows of the ledger's table, and back, without loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from farthing.errors import LedgerError
from farthing.event import ATTRIBUTION_FIELDS, EMPTY, Attribution, Event, quick
from farthing.usage import UNITS, Quantity, Usage

TOKEN_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_reasoning_tokens",
)
"""The units that have a column; the others share `units`."""
_WITH_COLUMN = frozenset(TOKEN_COLUMNS)

OBSERVED_COLUMNS = (*TOKEN_COLUMNS, "units", "usage_status", "cost_pico", "price_status")
"""What tells a fuller observation of a call from one that says nothing new."""

_EVENT_COLUMNS = (
    "id",
    "at_us",
    "recorded_at_us",
    "provider",
    "model",
    "requested_model",
    "operation",
    "price_hash",
    "price_reason",
    "reported_pico",
    "response_id",
    "dedupe_key",
    "source",
    "recorder",
    "calls",
    "attempt",
    "billed",
    "cache_hit",
    "error",
    "corrects",
    "restates",
    "prior_usage_status",
    "prior_price_status",
    "billing",
)

_JSON_COLUMNS = ("metadata", "context", "usage_known", "usage_problems", "fingerprints")

COLUMNS = (*OBSERVED_COLUMNS, *_EVENT_COLUMNS, *ATTRIBUTION_FIELDS, *_JSON_COLUMNS)
"""The columns of a row, in the order of our tuples."""

OBSERVED = slice(0, len(OBSERVED_COLUMNS))

ID, AT, ORG, KEY, CORRECTS, PRICE_HASH = map(
    COLUMNS.index, ("id", "at_us", "org", "dedupe_key", "corrects", "price_hash")
)
"""Places in a row."""


def _written_out() -> Callable[..., tuple[Any, ...]]:
    """What puts a row together: written out, it takes a quarter of the time of asking for each column by its name.

    It takes the counts that have a column, the event, its attribution, then the columns that are JSON. In two halves:
    Python makes a tuple of more than 30 by way of a list.
    """
    told = [f"event.{name}" for name in ("usage_status", "cost_pico", "price_status", *_EVENT_COLUMNS)]
    whose = [f"who.{name}" for name in ATTRIBUTION_FIELDS]
    given = [*TOKEN_COLUMNS, "units"]
    columns = (*given, *told, *whose, *_JSON_COLUMNS)
    half = len(columns) // 2
    made: Callable[..., tuple[Any, ...]] = eval(
        f"lambda {', '.join((*given, 'event', 'who', *_JSON_COLUMNS))}:"
        f" ({', '.join(columns[:half])}) + ({', '.join(columns[half:])})"
    )
    return made


_row = _written_out()

_dated = quick(Event, of=Event, given=("at_us",))
_blank = object.__new__  # without the call of an __init__

MOST_COUNT = 9_000_000_000_000_000
"""The greatest count of one row: a thousand such still add up in 64 bits."""

_INT64 = 2**63 - 1
_LEAST = -_INT64

_SHORT = 256

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class Prepared:
    """An entry ready to be written: the row, and the text of the price record.

    Made ready by another process it has come without its event, which is then made of the row by whoever asks for it.
    """

    __slots__ = ("event", "price_record", "row")
    event: Event

    def __init__(self, row: tuple[Any, ...], price_record: str | None) -> None:
        self.row = row
        self.price_record = price_record

    def __getattr__(self, name: str) -> Event:
        """The event whose row it is; called where it is not set."""
        if name != "event":
            raise AttributeError(name)
        self.event = to_event(self.row)
        return self.event

    def dated(self, at_us: int) -> Prepared:
        """The entry, its event dated so."""
        row = (*self.row[:AT], at_us, *self.row[AT + 1 :])
        return _with_event(row, self.price_record, _dated(self.event, at_us=at_us))

    def keyed(self, dedupe_key: str) -> Prepared:
        """The entry under another dedupe key."""
        return Prepared((*self.row[:KEY], dedupe_key, *self.row[KEY + 1 :]), self.price_record)


def to_json(value: Any) -> str:
    """Compact JSON. What JSON cannot say (a tuple as key, a list that holds itself) is said as text."""
    if isinstance(value, Mapping) and type(value) is not dict:
        value = dict(value)
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return _encode({str(key): repr(held) for key, held in value.items()} if type(value) is dict else repr(value))


def prepare(event: Event, price_record: str | None) -> Prepared:
    """The event as a row. LedgerError where a number does not fit into the ledger's 64 bits."""
    correction = event.corrects is not None
    usage = event.usage
    counts, problems = event.usage_delta if correction else usage.counts, usage.problems
    take = counts.get
    into = take("input_tokens", 0)
    out = take("output_tokens", 0)
    read = take("cache_read_tokens", 0)
    wrote = take("cache_write_tokens", 0)
    reasoned = take("output_reasoning_tokens", 0)
    units = None
    # Ordinary counts are not negative, so that one sum tells that none is too great, and all are whole.
    whole = into + out + read + wrote + reasoned
    if correction or problems or not _WITH_COLUMN.issuperset(counts) or type(whole) is not int or whole > MOST_COUNT:
        (into, out, read, wrote, reasoned), units = _split(event.id, counts)
    cost, reported = event.cost_pico, event.reported_pico
    if (cost and not _LEAST <= cost <= _INT64) or (reported and not _LEAST <= reported <= _INT64):
        amount = max(cost or 0, reported or 0, key=abs)
        raise LedgerError(
            f"event {event.id} costs {amount} picodollars: the ledger keeps at most {_INT64} (about $9,223,372) in one "
            "event; check its counts and rates"
        )
    who = event.attribution
    row = _row(
        into,
        out,
        read,
        wrote,
        reasoned,
        units,
        event,
        who,
        _metadata(who.metadata) if who.metadata else None,
        to_json(event.context) if event.context else None,
        to_json(_texts(usage.counts)) if correction else None,
        to_json(problems) if problems else None,
        to_json(event.fingerprints) if event.fingerprints else None,
    )
    return _with_event(row, price_record, event)


def _with_event(row: tuple[Any, ...], price_record: str | None, event: Event) -> Prepared:
    made = _blank(Prepared)
    made.row, made.price_record, made.event = row, price_record, event
    return made


def _metadata(metadata: Mapping[str, Any]) -> str:
    """As JSON. Short texts are remembered: few metadata are those of many events."""
    items = tuple(metadata.items())
    for name, value in items:
        if type(name) is not str or type(value) is not str or len(value) > _SHORT:
            return to_json(metadata)
    return _texts_as_json(items)


@lru_cache(maxsize=1024)
def _texts_as_json(items: tuple[tuple[str, str], ...]) -> str:
    return to_json(dict(items))


def _split(event_id: str, counts: Mapping[str, Quantity]) -> tuple[tuple[int, ...], str | None]:
    """The counts that have a column, and the rest as JSON; what is not whole is in both, exactly in the latter."""
    rest = {}
    for name, value in counts.items():
        if not -MOST_COUNT <= value <= MOST_COUNT:
            raise LedgerError(
                f"event {event_id} has {name} = {value}: the ledger keeps counts up to {MOST_COUNT}; "
                "check where it is from"
            )
        if value and (name not in _WITH_COLUMN or type(value) is not int):
            rest[name] = value
    return tuple([int(counts.get(name, 0)) for name in TOKEN_COLUMNS]), _units(rest) if rest else None


def _units(rest: Mapping[str, Quantity]) -> str:
    """Units and their counts as JSON."""
    parts = []
    for name, value in rest.items():
        if type(value) is not int or name not in UNITS:
            return to_json(_texts(rest))
        parts.append(f'"{name}":{value}')
    return "{" + ",".join(parts) + "}"


def _texts(counts: Mapping[str, Quantity]) -> dict[str, int | str]:
    """Counts as JSON keeps them exactly: ints as numbers, Decimals as text."""
    return {name: value if type(value) is int else str(value) for name, value in counts.items()}


def _quantities(text: str) -> dict[str, Quantity]:
    return {name: Decimal(value) if isinstance(value, str) else value for name, value in json.loads(text).items()}


def to_event(row: Sequence[Any]) -> Event:
    """The event of a row in the order of `COLUMNS`."""
    fields: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    who = {name: fields.pop(name) for name in ATTRIBUTION_FIELDS}
    if metadata := fields.pop("metadata"):
        who["metadata"] = json.loads(metadata)
    counts: dict[str, Quantity] = {name: value for name in TOKEN_COLUMNS if (value := fields.pop(name))}
    if units := fields.pop("units"):
        counts.update(_quantities(units))
    problems = fields.pop("usage_problems")
    known = fields.pop("usage_known")
    if fields["corrects"] is not None:
        fields["usage_delta"] = counts or EMPTY
        counts = _quantities(known) if known else {}
    context = fields.pop("context")
    fields["context"] = json.loads(context) if context else EMPTY
    fingerprints = fields.pop("fingerprints")
    fields["fingerprints"] = json.loads(fingerprints) if fingerprints else EMPTY
    fields["billed"] = bool(fields["billed"])
    fields["cache_hit"] = bool(fields["cache_hit"])
    return Event(
        attribution=Attribution(**who),
        usage=Usage.restored(counts, tuple(json.loads(problems)) if problems else ()),  # as they were, possible or not
        **fields,
    )


def cleaned(entry: Prepared) -> Prepared:
    """The entry with half surrogates, which no database takes as text, replaced by U+FFFD; its event is of that row."""
    row = tuple([mended(value) if type(value) is str else value for value in entry.row])
    return entry if row == entry.row else Prepared(row, entry.price_record)


def mended(text: str) -> str:
    """A text with half surrogates replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
