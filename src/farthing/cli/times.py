"""Moments as people type them: `30d`, `12h`, `2026-11-01`, `today`, `2026-11-01T09:30Z`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from farthing.errors import InputError

_AGO = re.compile(r"(\d{1,6})\s*(min|m|h|d|w|months?|mo|y)", re.IGNORECASE)
_HOURS = {"h": 1.0, "d": 24.0, "w": 168.0, "min": 1 / 60, "m": 1 / 60, "y": 8766.0, "mo": 730.5}
FORMS = "30d, 12h, 45m, 2w, 3mo, 1y, today, yesterday, 2026-11-01 or 2026-11-01T09:30Z"


def moment(text: str, now: datetime, *, end_of_day: bool = False) -> datetime:
    """The moment meant, aware UTC. A time without a zone is UTC; a date is its first moment, or with `end_of_day` the
    first moment of the day after it, so that `--until 2026-11-30` includes the 30th. Else: InputError."""
    words = text.strip().lower()
    if found := _AGO.fullmatch(words):
        unit = found[2].rstrip("s") if found[2].startswith("month") else found[2]
        unit = "mo" if unit == "month" else unit
        try:
            return now.astimezone(UTC) - timedelta(hours=int(found[1]) * _HOURS[unit])
        except OverflowError:
            raise InputError(f"{text!r} lies before the calendar begins") from None
    day = {"today": now.astimezone(UTC).date(), "yesterday": (now.astimezone(UTC) - timedelta(days=1)).date()}.get(
        words
    )
    try:
        if day is None and len(words) == 10:
            day = date.fromisoformat(words)
        if day is not None:
            first = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return first + timedelta(days=1) if end_of_day else first
        if words == "now":
            return now.astimezone(UTC)
        read = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is no moment: write {FORMS}") from None
    return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
