"""Forecasts of a ledger: of all spending in a window, and of each budget's account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from farthing.event import from_us, to_us
from farthing.ledger.policies import Standing
from farthing.ledger.store import Filter, Question, Row, Store
from farthing.policy import EACH, Budget, key_fields, named, values_of
from farthing.reports.forecast import Forecast, forecast
from farthing.windows import CALENDAR, span, zone

PAST_DAYS, PAST_HOURS = 190, 24 * 35
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A window and where it is heading, in its unit (picodollars, tokens or calls).

    name    of the budget, or of the window; org: the budget's, `*` for all; place: the account's scope in words
    spent   so far; end: what it will come to, `spent` and the forecast; low, high: its range where there is one
    limit   None without one; over_at: when it will be reached at the expected pace, in the window; None: not
    """

    name: str
    org: str
    place: str
    unit: str
    window: str
    start_us: int
    end_us: int
    spent: int
    limit: int | None
    forecast: Forecast
    over_at_us: int | None = None
    mode: str = ""

    @property
    def end(self) -> int:
        """What the window will come to."""
        return self.spent + self.forecast.expected

    @property
    def low(self) -> int | None:
        """The lower end of the range."""
        return None if self.forecast.low is None else self.spent + self.forecast.low

    @property
    def high(self) -> int | None:
        """The upper end of the range."""
        return None if self.forecast.high is None else self.spent + self.forecast.high


Outlooks = Mapping[tuple[str, str, str, int], Outlook]
"""Where accounts are heading, by (budget's organisation and name, account's place, start of the window)."""


def by_account(found: Sequence[Outlook]) -> Outlooks:
    """Outlooks by the account they are of."""
    return {(one.org, one.name, one.place, one.start_us): one for one in found}


def heading_of(one: Standing, outlooks: Outlooks) -> Outlook | None:
    """Where an account is heading; None: nobody has asked, or its window has no end."""
    return outlooks.get((one.budget.org, one.budget.name, one.place, one.start_us))


class Past:
    """What was spent, by hour and day; each series is asked for once."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store, self.now = store, now
        self._rows: dict[tuple[object, ...], list[Row]] = {}
        self._parts: dict[tuple[object, ...], dict[tuple[str | None, ...], list[Row]]] = {}

    def rows(self, by: tuple[str, ...], step: str, tz: str, where: Filter) -> list[Row]:
        """Sums by the fields, who pays, and step, of the time that forecasts look at."""
        place = (by, step, tz, where.org, tuple(sorted(where.equals.items())))
        if place not in self._rows:
            back = timedelta(hours=PAST_HOURS) if step == "hour" else timedelta(days=PAST_DAYS)
            since = max(where.since_us or 0, to_us(self.now - back))
            asked = Filter(since_us=since, until_us=to_us(self.now), org=where.org, equals=where.equals)
            self._rows[place] = self._store.totals(Question(by=(*by, "billing", step), where=asked, tz=tz))
        return self._rows[place]

    def part(self, values: tuple[str | None, ...], by: tuple[str, ...], step: str, tz: str, where: Filter) -> list[Row]:
        """Those of `rows` whose first fields have these values: one look for each of thousands of accounts."""
        place = (len(values), by, step, tz, where.org, tuple(sorted(where.equals.items())))
        if place not in self._parts:
            parts: dict[tuple[str | None, ...], list[Row]] = {}
            for row in self.rows(by, step, tz, where):
                parts.setdefault(row.key[: len(values)], []).append(row)
            self._parts[place] = parts
        return self._parts[place].get(values, [])


def outlook(
    store: Store, now: datetime, window: str = "month", tz: str = "UTC", where: Filter | None = None
) -> Outlook:
    """Where all spending is heading in the present window: money that is owed, plans apart."""
    past = Past(store, now)
    start, end = span(window, to_us(now), tz)
    step = "hour" if window in ("hour", "day") else "day"
    rows = past.rows((), step, tz, where or Filter())
    amounts = _amounts(rows, "usd")
    spent = _since(rows, "usd", step, start, tz)
    assert end is not None
    return Outlook(
        name=f"this {window}",
        org=EACH if where is None or where.org is None else where.org,
        place="*",
        unit="usd",
        window=window,
        start_us=start,
        end_us=end,
        spent=spent,
        limit=None,
        forecast=_ahead(amounts, step, tz, now, end),
    )


def standings_of(store: Store, now: datetime, org: str | None) -> list[Standing]:
    """How every account stands; where an organisation is named, only its own."""
    return [one for one in store.accounts.standings(to_us(now)) if org is None or one.org in (org, EACH)]


def outlooks(store: Store, now: datetime, standings: Sequence[Standing]) -> list[Outlook]:
    """Where each account of a calendar window is heading, those that will pass their limit first."""
    past = Past(store, now)
    found = []
    for standing in standings:
        budget = standing.budget
        if budget.window in CALENDAR and standing.end_us is not None and budget.limit is not None:
            found.append(_of_account(past, now, standing, standing.end_us))
    return sorted(found, key=lambda one: (-_fullness(one), one.name, one.place))


def _fullness(one: Outlook) -> Fraction:
    return Fraction(one.end, one.limit) if one.limit else Fraction(one.end)


def _of_account(past: Past, now: datetime, standing: Standing, end_us: int) -> Outlook:
    budget = standing.budget
    step = "hour" if budget.window in ("minute", "hour", "day") else "day"
    amounts = _series(past, budget, standing.key, step)
    found = _ahead(amounts, step, budget.tz, now, end_us)
    limit = standing.limit
    over_at = None
    if limit is not None:
        if standing.posted >= limit:
            over_at = to_us(now)
        elif found.expected and standing.posted + found.expected > limit:
            left = end_us - to_us(now)
            over_at = to_us(now) + left * (limit - standing.posted) // found.expected
    return Outlook(
        name=budget.name,
        org=budget.org,
        place=standing.place,
        unit=budget.unit,
        window=budget.window,
        start_us=standing.start_us,
        end_us=end_us,
        spent=standing.posted,
        limit=limit,
        forecast=found,
        over_at_us=over_at,
        mode=budget.mode,
    )


def _series(past: Past, budget: Budget, key: str, step: str) -> dict[str, int]:
    """What an account's scope used, by step."""
    fields = key_fields(budget)
    values = tuple(values_of(key, fields)) if key or len(fields) < 2 else ()
    if len(values) != len(fields):  # no call has opened an account yet
        return {}
    pattern = budget.scope.get("model")
    equals: dict[str, str | None] = {
        name: value for name, value in budget.scope.items() if value != EACH and name != "model"
    }
    org = None if budget.org == EACH else budget.org
    by = (*fields, *(("model", "requested_model") if pattern and pattern != EACH else ()))
    rows = past.part(values, by, step, budget.tz, Filter(org=org, equals=equals))
    kept = []
    for row in rows:
        if pattern and pattern != EACH:
            models = row.key[len(fields) : len(by)]
            if not any(model and named(pattern, model) for model in models):
                continue
        kept.append(row)
    return _amounts(kept, budget.unit)


def _amounts(rows: Sequence[Row], unit: str) -> dict[str, int]:
    """Step -> amount. Of money, only what is owed."""
    found: dict[str, int] = {}
    for row in rows:
        step, billing = row.key[-1] or "", row.key[-2]
        found[step] = found.get(step, 0) + _amount(row, unit, billing)
    return found


def _amount(row: Row, unit: str, billing: str | None) -> int:
    totals = row.totals
    if unit == "usd":
        return 0 if billing == "subscription" else totals.cost_pico
    return totals.total_tokens if unit == "tokens" else totals.calls


def _since(rows: Sequence[Row], unit: str, step: str, start_us: int, tz: str) -> int:
    first = _step_of(from_us(start_us).astimezone(zone(tz)), step)
    return sum(_amount(row, unit, row.key[-2]) for row in rows if (row.key[-1] or "") >= first)


def _ahead(amounts: Mapping[str, int], step: str, tz: str, now: datetime, end_us: int) -> Forecast:
    """The forecast from now to the window's end, from the whole steps before the present one."""
    local = now.astimezone(zone(tz))
    season = 24 if step == "hour" else 7
    steps = _steps_before(amounts, step, local)
    length_us = HOUR_US if step == "hour" else 24 * HOUR_US
    ahead = Fraction(end_us - to_us(now), length_us)
    return forecast([amounts.get(name, 0) for name in steps], ahead, season=season, step=step)


def _step_of(local: datetime, step: str) -> str:
    return f"{local:%Y-%m-%dT%H:00}" if step == "hour" else f"{local:%Y-%m-%d}"


def _steps_before(amounts: Mapping[str, int], step: str, local: datetime) -> list[str]:
    """The names of the whole steps from the first amount to the one before the present."""
    if not amounts:
        return []
    first, last = min(amounts), _step_of(local, step)
    if step == "day":
        low, high = (date.fromisoformat(day).toordinal() for day in (first, last))
        return [date.fromordinal(day).isoformat() for day in range(low, high)]
    start, end = (datetime.fromisoformat(hour) for hour in (first, last))
    return [_step_of(start + timedelta(hours=n), "hour") for n in range(int((end - start) / timedelta(hours=1)))]
