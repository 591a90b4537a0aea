"""Who pays: a dated file that maps calls to teams and cost centres, and splits what is shared.

default = "unallocated"

[[map]]                      # the first that fits wins; without any, the team that the call names itself
agent = "research_agent"     # any of org, team, cost_center, environment, user, agent, feature, ..., model, provider,
team = "research"            # key, metadata.<key>; a trailing * stands for any ending. What it is charged to:
cost_center = "4711"
from = 2026-01-01            # holds from this day on, and until `to`, excluded; without them always
to = 2026-07-01

[[map]]
match = { team = "labs", model = "gpt-4o*" }    # the same, where a field is itself named team or cost_center
team = "research"

[[shared]]                   # what fits is nobody's alone
name = "platform"
agent = "document_search"
split = { research = 2, engineering = 1 }       # or "by cost": as the teams' own cost; or "evenly"
teams = ["research", "engineering"]             # of the last two: among these; without it, all
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from farthing.errors import InputError
from farthing.event import ATTRIBUTION_FIELDS, to_us
from farthing.ledger.store import KEY_FIELD
from farthing.windows import zone

MATCHED = (*ATTRIBUTION_FIELDS, "provider", "model", "operation", "source", KEY_FIELD)
SPLITS = ("by cost", "evenly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Calls of these field values, in this time, and whom they are charged to: a team, or a pool that is shared.

    match  {field: text, or text*}; an empty one fits everything
    split  of a pool: weights by team, or a word of `SPLITS`; teams: among whom
    """

    match: Mapping[str, str]
    team: str | None = None
    cost_center: str | None = None
    pool: str | None = None
    split: Mapping[str, Fraction] | str = "by cost"
    teams: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None

    def holds(self, at_us: int) -> bool:
        """Whether it holds at a moment."""
        return (self.since_us is None or at_us >= self.since_us) and (self.until_us is None or at_us < self.until_us)

    def fits(self, values: Mapping[str, str | None]) -> bool:
        """Whether calls with these values are meant."""
        for name, wanted in self.match.items():
            value = values.get(name)
            if value is None:
                return False
            if not (value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted):
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """All of a file. centers: the cost centre of each team that some entry gives one."""

    rules: Sequence[Rule] = ()
    default: str = "unallocated"
    centers: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the rules look at."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.match))

    def edges(self, since_us: int, until_us: int) -> list[int]:
        """The moments inside a span at which a rule begins or ends, and the span's own ends."""
        inner = {at for rule in self.rules for at in (rule.since_us, rule.until_us) if at is not None}
        return sorted({since_us, until_us, *(at for at in inner if since_us < at < until_us)})

    def rule(self, values: Mapping[str, str | None], at_us: int) -> Rule | None:
        """The first rule that fits; None: the call's own team pays."""
        return next((rule for rule in self.rules if rule.holds(at_us) and rule.fits(values)), None)


def read_allocation(path: Path, tz: str = "UTC") -> Allocation:
    """The allocation of a file; days are those of the time zone. What cannot be used: InputError, naming the entry."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file, parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    if unknown := set(table) - {"default", "map", "shared"}:
        raise InputError(f"{path}: unknown key {min(unknown)!r}; known: default, map, shared")
    default = table.get("default", "unallocated")
    if not isinstance(default, str) or not default:
        raise InputError(f"{path}: default = {default!r}: must be the name of a team")
    rules = []
    for kind in ("shared", "map"):  # what is shared is nobody's, whoever it maps to
        rows = table.get(kind, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: {kind} = {rows!r}: must be a list of tables: [[{kind}]]")
        rules += [_Entry(path, f"{kind}[{i}]", row, tz).rule(shared=kind == "shared") for i, row in enumerate(rows)]
    centers = {rule.team: rule.cost_center for rule in rules if rule.team and rule.cost_center}
    return Allocation(rules=rules, default=default, centers=centers)


class _Entry:
    """One table of the file."""

    def __init__(self, path: Path, place: str, row: Mapping[str, Any], tz: str) -> None:
        self._path, self._place, self._row, self._tz = path, place, dict(row), tz

    def _refuse(self, what: str, value: Any, rule: str) -> InputError:
        return InputError(f"{self._path}: {self._place}.{what} = {value!r}: {rule}")

    def rule(self, *, shared: bool) -> Rule:
        """The entry as a rule."""
        row = self._row
        since, until = self._moment("from"), self._moment("to")
        if since is not None and until is not None and until <= since:
            raise self._refuse("to", until, "must be later than `from`")
        pool = self._text("name") if shared else None
        team, center = (None, None) if shared else (self._text("team"), self._text("cost_center"))
        split = row.pop("split", "by cost") if shared else "by cost"
        teams = row.pop("teams", []) if shared else []
        if shared and pool is None:
            raise InputError(f"{self._path}: {self._place}: needs a `name`")
        if not shared and team is None:
            raise InputError(f"{self._path}: {self._place}: needs a `team` that pays")
        if not isinstance(teams, list) or not all(isinstance(name, str) and name for name in teams):
            raise self._refuse("teams", teams, 'must be a list of names, e.g. ["research"]')
        match = row.pop("match", {})
        if not isinstance(match, dict):
            raise self._refuse("match", match, 'must be a table, e.g. { agent = "a" }')
        return Rule(
            match={name: self._wanted(name, value) for name, value in {**match, **self._flat(row)}.items()},
            team=team,
            cost_center=center,
            pool=pool,
            split=self._split(split),
            teams=tuple(teams),
            since_us=since,
            until_us=until,
        )

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """`metadata.region = "eu"` is a table in TOML."""
        found = {name: value for name, value in row.items() if name != "metadata"}
        metadata = row.get("metadata", {})
        if not isinstance(metadata, dict):
            raise self._refuse("metadata", metadata, 'must be written as metadata.region = "eu"')
        return {**found, **{f"metadata.{name}": value for name, value in metadata.items()}}

    def _wanted(self, name: str, value: Any) -> str:
        if name not in MATCHED and not name.startswith("metadata."):
            raise self._refuse(name, value, f"there is no such field; known: {', '.join(MATCHED)}, metadata.<key>")
        if not isinstance(value, str) or not value:
            raise self._refuse(name, value, "must be text in quotes, not empty")
        return value

    def _text(self, name: str) -> str | None:
        value = self._row.pop(name, None)
        if value is not None and (not isinstance(value, str) or not value):
            raise self._refuse(name, value, "must be text in quotes, not empty")
        return value

    def _moment(self, name: str) -> int | None:
        value = self._row.pop(name, None)
        if value is None:
            return None
        if isinstance(value, datetime):
            return to_us(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, date):
            return to_us(datetime(value.year, value.month, value.day, tzinfo=zone(self._tz)))
        raise self._refuse(name, value, "must be a day without quotes, e.g. 2026-07-01")

    def _split(self, value: Any) -> Mapping[str, Fraction] | str:
        if isinstance(value, str) and value in SPLITS:
            return value
        if not isinstance(value, dict) or not value:
            raise self._refuse("split", value, f"must be weights by team, or one of {', '.join(SPLITS)}")
        weights = {}
        for name, weight in value.items():
            number = isinstance(weight, int | Decimal) and not isinstance(weight, bool)
            if not number or not Decimal(weight).is_finite() or weight < 0:
                raise self._refuse(f"split.{name}", weight, "must be a number of 0 or more")
            weights[name] = Fraction(weight)
        if not any(weights.values()):
            raise self._refuse("split", value, "at least one weight must be above 0")
        return weights
