"""CSV rows: a header names the columns; common names are understood, others are mapped with `--map COLUMN=field`."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from farthing.capture.logs.fields import SHORT_UNITS, TIME_NAMES, read_fields
from farthing.capture.logs.values import BadLine, Outcome, Problem
from farthing.errors import InputError
from farthing.event import ATTRIBUTION_FIELDS, Attribution

FIELDS = (
    *("at", "model", "provider", "requested_model", "operation", "usage_status", "response_id", "id", "dedupe_key"),
    *("attempt", "billed", "cache_hit", "error", "reported_cost_usd"),
    *ATTRIBUTION_FIELDS,
    *dict.fromkeys(SHORT_UNITS),
)
"""What a column may mean, besides `metadata.<key>`, `context.<key>` and `-` (ignored)."""

COMMON_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(TIME_NAMES, "at"),
        **{name: name for name in FIELDS},
        "datetime": "at",
        "contexttokens": "input_tokens",
        "generatedtokens": "output_tokens",
        "tokens_in": "input_tokens",
        "tokens_out": "output_tokens",
        "request_id": "response_id",
        "user_id": "user",
        "session_id": "session",
        "trace_id": "trace",
        "task_id": "task",
        "agent_name": "agent",
        "model_name": "model",
    }
)
"""Column names, in small letters and `_` for spaces, that need no mapping."""

FIELD_LIMIT = 1_000_000
"""Characters of one field; longer ones are a sign of an unclosed quote."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a file of rows. mapping: column -> field; constants: field -> value for rows that say nothing."""

    file: str
    source: str
    mapping: Mapping[str, str]
    constants: Mapping[str, str]
    defaults: Attribution | None = None


def read_rows(lines: Iterable[str], how: Reading) -> Iterator[tuple[int, Outcome]]:
    """(line number, what the row holds) for every row under the header. A header that counts nothing: InputError."""
    csv.field_size_limit(FIELD_LIMIT)
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise InputError(f"{how.file}: the header cannot be read: {error}") from None
    if header is None:
        return
    names = _columns([name.lstrip("\ufeff").strip() for name in header], how.mapping, how.file)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield rows.line_num, Problem(how.file, rows.line_num, f"is no CSV: {error}")
            continue
        if row is None:
            return
        if not row:
            continue
        try:
            yield rows.line_num, _row(row, names, how)
        except BadLine as bad:
            yield rows.line_num, Problem(how.file, rows.line_num, str(bad))


def _row(row: list[str], names: list[str | None], how: Reading) -> Outcome:
    if len(row) != len(names):
        raise BadLine(f"has {len(row)} fields, the header {len(names)}")
    fields: dict[str, object] = dict(how.constants)
    context: dict[str, str] = {}
    for name, value in zip(names, row, strict=True):
        value = value.strip()
        if name is None or not value:
            continue
        if name.startswith("context."):
            context[name.removeprefix("context.")] = value
        else:
            fields[name] = value
    if context:
        fields["context"] = context
    return read_fields(fields, source=how.source, defaults=how.defaults)


def _columns(header: list[str], mapping: Mapping[str, str], file: str) -> list[str | None]:
    """The field that each column means; None: ignored."""
    for column, field in mapping.items():
        if column not in header:
            raise InputError(f"{file}: there is no column {column!r} to map; columns are {', '.join(header)}")
        if field not in FIELDS and field != "-" and not field.startswith(("metadata.", "context.")):
            close = difflib.get_close_matches(field, FIELDS, n=1)
            raise InputError(
                f"--map {column}={field}: unknown field {field!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            )
    names: list[str | None] = []
    for column in header:
        plain = column.lower().replace(" ", "_")
        name = mapping.get(
            column, COMMON_NAMES.get(plain, plain if plain.startswith(("metadata.", "context.")) else None)
        )
        names.append(None if name == "-" else name)
    if not any(name in SHORT_UNITS for name in names if name):
        raise InputError(
            f"{file}: no column counts anything; columns are {', '.join(header)}. "
            "Map them, e.g. --map 'Prompt tokens=input_tokens' --map 'Answer tokens=output_tokens'"
        )
    return names
