"""When a price holds: spans of dates, and windows of the day and week in a time zone.

Everything answers with the span of time in which the answer stays the same, so that a compiled price can be reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from farthing.errors import PriceError
from farthing.event import from_us, to_us
from farthing.pricing.record import moment_us

EVER = (-(2**62), 2**62)
"""The span of all time, in microseconds since 1970."""

_FIRST_US, _LAST_US = to_us(datetime(2, 1, 1)), to_us(datetime(9998, 12, 30))  # noqa: DTZ001 - to_us takes them as UTC
"""Moments with a day before and after them that the calendar knows."""


def holds(part: Mapping[str, Any], at_us: int) -> bool:
    """Whether `from <= at < to` of a record, variant or window; what is absent is open."""
    start, end = moment_us(part.get("from")), moment_us(part.get("to"))
    return (start is None or start <= at_us) and (end is None or at_us < end)


def span_around(parts: Sequence[Mapping[str, Any]], at_us: int) -> tuple[int, int]:
    """The longest span around a moment in which no part begins or ends."""
    edges = [edge for part in parts for key in ("from", "to") if (edge := moment_us(part.get(key))) is not None]
    return _around(edges, at_us)


def window_at(windows: Sequence[Mapping[str, Any]], at_us: int) -> tuple[Mapping[str, Any] | None, tuple[int, int]]:
    """(the first window that holds at this moment or None, the span in which that stays so)."""
    if not windows:
        return None, EVER
    at_us = min(max(at_us, _FIRST_US), _LAST_US)
    edges = [edge for window in windows for edge in _edges(window, at_us)]
    found = next((window for window in windows if _inside(window, at_us)), None)
    return found, _around(edges, at_us)


def words(window: Mapping[str, Any]) -> str:
    """The window for people: 'Mon-Fri 09:00-12:00 Asia/Shanghai'."""
    days = window.get("days")
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    if days and len(days) > 1 and list(days) == list(range(days[0], days[-1] + 1)):
        when = f"{names[days[0] - 1]}-{names[days[-1] - 1]} "
    else:
        when = ",".join(names[day - 1] for day in days) + " " if days else ""
    return f"{when}{window.get('start', '00:00')}-{window.get('end', '24:00')} {window.get('tz', 'UTC')}"


def _around(edges: Sequence[int], at_us: int) -> tuple[int, int]:
    before = max((edge for edge in edges if edge <= at_us), default=EVER[0])
    after = min((edge for edge in edges if edge > at_us), default=EVER[1])
    return before, after


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name; PriceError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise PriceError(f"{name!r} is no time zone; write it as 'Asia/Shanghai'") from error


def _clock(text: str) -> tuple[int, int]:
    hour, minute = text.split(":")[:2]
    return int(hour), int(minute)


def _instances(window: Mapping[str, Any], at_us: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the window's occurrences on the local days around a moment."""
    tz = zone(window.get("tz", "UTC"))
    today = from_us(at_us).astimezone(tz).date()
    for offset in (-1, 0, 1):
        day = today + timedelta(days=offset)
        if _excluded(window, day):
            continue
        start, end = _clock(window.get("start", "00:00")), _clock(window.get("end", "24:00"))
        last = day + timedelta(days=1) if end <= start or end[0] == 24 else day
        yield (
            to_us(datetime.combine(day, time(*start), tz)),
            to_us(datetime.combine(last, time(end[0] % 24, end[1]), tz)),
        )


def _excluded(window: Mapping[str, Any], day: date) -> bool:
    days = window.get("days")
    return bool(days and day.isoweekday() not in days) or day.isoformat() in window.get("except", ())


def _inside(window: Mapping[str, Any], at_us: int) -> bool:
    return holds(window, at_us) and any(start <= at_us < end for start, end in _instances(window, at_us))


def _edges(window: Mapping[str, Any], at_us: int) -> Iterator[int]:
    tz = zone(window.get("tz", "UTC"))
    today = from_us(at_us).astimezone(tz).date()
    for instance in _instances(window, at_us):
        yield from instance
    # Only the days around are looked at: the answer is good until the next local midnight.
    yield to_us(datetime.combine(today, time(), tz))
    yield to_us(datetime.combine(today + timedelta(days=1), time(), tz))
    for key in ("from", "to"):
        if (edge := moment_us(window.get(key))) is not None:
            yield edge
