"""Spans of time as people say them: `october`, `2026-10`, `last week`, `2026-W42`, `2026-10-01..2026-10-15`, `30d`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from farthing.errors import InputError
from farthing.event import from_us, to_us
from farthing.ledger.store import Filter
from farthing.windows import zone

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
FORMS = "october, 2026-10, 2026-W42, 2026-Q3, last week, today, 30d, 2026-10-05 or 2026-10-01..2026-10-15"

_RANGE = re.compile(r"(?P<first>\S+)\s*\.\.\s*(?P<last>\S*)")
_AGO = re.compile(r"(\d{1,4})\s*(d|days?|w|weeks?)")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_WEEK = re.compile(r"(\d{4})-?w(\d{1,2})")
_QUARTER = re.compile(r"(?:(\d{4})-?)?q([1-4])(?:\s+(\d{4}))?")
_NAMED = re.compile(r"([a-z]{3,9})(?:\s+(\d{4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole days [first, end) in a time zone. unit: day, week, month, quarter, year, or `days` for any other number."""

    name: str
    first: date
    end: date
    unit: str = "days"
    tz: str = "UTC"

    @property
    def since_us(self) -> int:
        """Its first moment, microseconds since 1970 UTC."""
        return _midnight(self.first, self.tz)

    @property
    def until_us(self) -> int:
        """The first moment after it."""
        return _midnight(self.end, self.tz)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.first).days

    @property
    def last(self) -> date:
        """Its last day."""
        return self.end - timedelta(days=1)

    def filter(self, where: Filter | None = None) -> Filter:
        """The same filter within this period only."""
        where = where or Filter()
        since = self.since_us if where.since_us is None else max(self.since_us, where.since_us)
        until = self.until_us if where.until_us is None else min(self.until_us, where.until_us)
        return Filter(since_us=since, until_us=until, org=where.org, equals=where.equals)

    def before(self) -> Period:
        """The period before it: the same unit of the calendar, else as many days."""
        if self.unit in _WHOLE:
            return _WHOLE[self.unit](self.first - timedelta(days=1), self.tz)
        first = self.first - timedelta(days=self.days)
        return Period(name=_days_name(first, self.first), first=first, end=self.first, unit=self.unit, tz=self.tz)

    def to_json(self) -> dict[str, Any]:
        """Name, first and last day."""
        return {"name": self.name, "first": self.first.isoformat(), "last": self.last.isoformat(), "tz": self.tz}


def month(day: date, tz: str = "UTC") -> Period:
    """The month of a day."""
    first = day.replace(day=1)
    return Period(name=f"{first:%B %Y}", first=first, end=_plus_months(first, 1), unit="month", tz=tz)


def quarter(day: date, tz: str = "UTC") -> Period:
    """The quarter of a day."""
    first = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    name = f"Q{(first.month + 2) // 3} {first.year}"
    return Period(name=name, first=first, end=_plus_months(first, 3), unit="quarter", tz=tz)


def year(day: date, tz: str = "UTC") -> Period:
    """The year of a day."""
    return Period(name=str(day.year), first=date(day.year, 1, 1), end=date(day.year + 1, 1, 1), unit="year", tz=tz)


def week(day: date, tz: str = "UTC") -> Period:
    """The week of a day, Monday to Sunday."""
    first = day - timedelta(days=day.weekday())
    number = first.isocalendar()
    return Period(
        name=f"week {number.week} of {number.year}", first=first, end=first + timedelta(days=7), unit="week", tz=tz
    )


def one_day(day: date, tz: str = "UTC") -> Period:
    """A day."""
    return Period(name=day.isoformat(), first=day, end=day + timedelta(days=1), unit="day", tz=tz)


_WHOLE = {"day": one_day, "week": week, "month": month, "quarter": quarter, "year": year}
"""The unit of the calendar around a day, in a time zone."""


def period(text: str, now: datetime, tz: str = "UTC") -> Period:
    """The period meant. A month's name alone is the latest such month that has begun. Else: InputError."""
    words = " ".join(text.strip().lower().replace("_", " ").split())
    today = now.astimezone(zone(tz)).date()
    try:
        found = _relative(words, today, tz) or _calendar(words, today, tz)
        if found is None and (parts := _RANGE.fullmatch(words)):
            first = date.fromisoformat(parts["first"])
            end = (date.fromisoformat(parts["last"]) if parts["last"] else today) + timedelta(days=1)
            if end <= first:
                raise InputError(f"{text!r}: its end lies before its beginning")
            found = Period(name=_days_name(first, end), first=first, end=end, tz=tz)
        if found is None:
            found = one_day(date.fromisoformat(words), tz)
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is no period: write {FORMS}") from None
    return found


def of_filter(where: Filter, now: datetime, tz: str = "UTC") -> Period | None:
    """The whole days that a filter covers, as the month or week they are; None where its beginning is open."""
    if where.since_us is None:
        return None
    first = from_us(where.since_us).astimezone(zone(tz)).date()
    until = from_us(where.until_us - 1) if where.until_us is not None else now
    end = until.astimezone(zone(tz)).date() + timedelta(days=1)
    for whole in _WHOLE.values():
        if (found := whole(first, tz)).first == first and found.end == end:
            return found
    return Period(name=_days_name(first, end), first=first, end=end, tz=tz)


def _relative(words: str, today: date, tz: str) -> Period | None:
    if words in ("today", "yesterday"):
        return one_day(today - timedelta(days=words == "yesterday"), tz)
    which, _, unit = words.partition(" ")
    if which in ("this", "last") and unit in ("week", "month", "quarter", "year"):
        current = _WHOLE[unit](today, tz)
        return current if which == "this" else current.before()
    if parts := _AGO.fullmatch(words):
        days = int(parts[1]) * (7 if parts[2].startswith("w") else 1)
        if not days:
            raise ValueError
        end = today + timedelta(days=1)
        return Period(name=f"last {days} days", first=end - timedelta(days=days), end=end, tz=tz)
    return None


def _calendar(words: str, today: date, tz: str) -> Period | None:
    if parts := _MONTH.fullmatch(words):
        return month(date(int(parts[1]), int(parts[2]), 1), tz)
    if parts := _WEEK.fullmatch(words):
        return week(date.fromisocalendar(int(parts[1]), int(parts[2]), 1), tz)
    if parts := _QUARTER.fullmatch(words):
        in_year = int(parts[1] or parts[3] or today.year)
        return quarter(date(in_year, int(parts[2]) * 3, 1), tz)
    if len(words) == 4 and words.isdigit():
        return year(date(int(words), 1, 1), tz)
    if parts := _NAMED.fullmatch(words):
        number = next((n for n, name in enumerate(MONTHS, 1) if name.startswith(parts[1])), None)
        if number is None:
            return None
        if parts[2]:
            return month(date(int(parts[2]), number, 1), tz)
        first = date(today.year, number, 1)
        return month(first if first <= today else first.replace(year=today.year - 1), tz)
    return None


def _plus_months(first: date, months: int) -> date:
    at = first.year * 12 + first.month - 1 + months
    return date(at // 12, at % 12 + 1, 1)


def _days_name(first: date, end: date) -> str:
    last = end - timedelta(days=1)
    return f"{first}" if first == last else f"{first} – {last}"


def _midnight(day: date, tz: str) -> int:
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone(tz)))
