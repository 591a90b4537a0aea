"""How keys, filters and what is not known read, on every screen."""

from __future__ import annotations

from datetime import UTC

from farthing.event import from_us
from farthing.ledger.store import Filter
from farthing.reports.blocks import Cell, Span
from farthing.totals import Totals

NOBODY = "(none)"
"""How a missing value reads."""

_DAY_US = 86_400_000_000


def name_of(value: str | None) -> Cell:
    """A key's value as a cell: what is missing is quiet."""
    return Span(NOBODY, "dim") if value is None else value


def nothing_known(totals: Totals) -> bool:
    """Whether there are calls, and not one of them has a known price."""
    return 0 < totals.calls == totals.unpriced_calls and not totals.cost_pico


def span_words(where: Filter) -> str:
    """The filter in words: `2026-10-23 09:00 – now, agent=researcher`."""
    words = []
    if where.since_us is not None or where.until_us is not None:
        first = _minute(where.since_us) if where.since_us is not None else "the beginning"
        words.append(f"{first} – {_last(where.until_us) if where.until_us is not None else 'now'} UTC")
    else:
        words.append("all time")
    if where.org is not None:
        words.append(f"org={where.org}")
    words += [f"{key}={NOBODY if value is None else value}" for key, value in where.equals.items()]
    return ", ".join(words)


def _last(until_us: int) -> str:
    """An end that is midnight is the day before, to its end."""
    return _minute(until_us - _DAY_US if until_us % _DAY_US == 0 else until_us)


def _minute(moment_us: int) -> str:
    moment = from_us(moment_us).astimezone(UTC)
    return f"{moment:%Y-%m-%d}" if (moment.hour, moment.minute) == (0, 0) else f"{moment:%Y-%m-%d %H:%M}"
