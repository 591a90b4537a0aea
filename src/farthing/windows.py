"""When the window of a budget begins and ends: of the calendar in an IANA time zone, or not of the calendar at all.

A window is [start, end) in microseconds since 1970 UTC. Days are as long as the zone makes them: 23 and 25 hours where
clocks change. There is nothing to reset: a later moment simply lies in another window.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farthing.errors import InputError
from farthing.event import from_us, to_us

CALENDAR = ("minute", "hour", "day", "week", "month")
KEYED = ("task", "session")
"""Windows that are one task or one session: no time bounds them, the id names them."""
WINDOWS = ("call", *KEYED, *CALENDAR, "total")

Span = tuple[int, int | None]
"""(start, end) in microseconds; an end of None never comes."""

ALWAYS: Span = (0, None)
_FIRST = (to_us(datetime(1, 1, 1, tzinfo=UTC)), to_us(datetime(2, 1, 1, tzinfo=UTC)))
_LAST = (to_us(datetime(9999, 1, 1, tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC)) + 1)
_LENGTH_US = {"minute": 60_000_000, "hour": 3_600_000_000}


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The time zone with this IANA name. InputError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise InputError(f"unknown time zone {name!r}: name one of the IANA database, such as Europe/Berlin") from error


def span(window: str, at_us: int, tz: str = "UTC") -> Span:
    """The window of this kind around a moment. Weeks begin on Monday.

    The first and the last year that dates can say are a window each: what is there by mistake counts somewhere.
    """
    if window not in CALENDAR:
        return ALWAYS
    if not _FIRST[1] <= at_us < _LAST[0]:
        return _FIRST if at_us < _FIRST[1] else _LAST
    start, end = _even(at_us, _LENGTH_US[window], tz) if window in _LENGTH_US else _dates(window, at_us, tz)
    return max(start, _FIRST[1]), min(end, _LAST[0])


def _dates(window: str, at_us: int, tz: str) -> tuple[int, int]:
    today = from_us(at_us).astimezone(zone(tz)).date()
    if window == "day":
        first, after = today, today + timedelta(days=1)
    elif window == "week":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return _midnight(first, tz), _midnight(after, tz)


def _even(at_us: int, length: int, tz: str) -> tuple[int, int]:
    """The full hour or minute around a moment: a zone whose offset is not whole hours has its own full hours.

    Where clocks move by a part of an hour (Lord Howe: 30 minutes), the hour is cut in two at that moment.
    """
    shift = _offset(at_us, tz) % length
    start = at_us - (at_us + shift) % length
    end = start + length
    if _offset(start, tz) % length != shift:
        start = _changed(start, at_us, tz)
    if _offset(end - 1, tz) % length != shift:
        end = _changed(at_us, end - 1, tz)
    return start, end


def _offset(at_us: int, tz: str) -> int:
    return (from_us(at_us).astimezone(zone(tz)).utcoffset() or timedelta()) // timedelta(microseconds=1)


def _changed(before: int, after: int, tz: str) -> int:
    """The first moment with the offset that holds at `after`, and not at `before`."""
    wanted = _offset(after, tz)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _offset(middle, tz) == wanted else (middle, after)
    return after


def _midnight(day: date, tz: str) -> int:
    """The first moment of a local day. Where clocks skip midnight, that is the moment they jump."""
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone(tz)))


class Spans:
    """Windows of one kind in one zone; the last one found is remembered, as most calls lie in it."""

    __slots__ = ("_last", "_tz", "_window")

    def __init__(self, window: str, tz: str) -> None:
        self._window = window
        self._tz = tz
        self._last: Span = ALWAYS if window not in CALENDAR else (0, 0)

    def __call__(self, at_us: int) -> Span:
        """The window around a moment."""
        last = self._last
        if last[0] <= at_us and (last[1] is None or at_us < last[1]):
            return last
        self._last = found = span(self._window, at_us, self._tz)
        return found
