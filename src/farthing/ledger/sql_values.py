"""What goes into a user's SQL and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0
MEMORY_MB = 1024
MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave: names and types of the columns, rows of values.

    Money is `Decimal`, moments are naive UTC datetimes or dates, JSON is its text. more: there are rows beyond these.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a statement may take."""

    timeout_s: float = TIMEOUT_S
    memory_mb: int = MEMORY_MB
    most_rows: int = MOST_ROWS
