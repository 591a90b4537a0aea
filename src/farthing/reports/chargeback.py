"""Statements for teams: their own cost and their parts of what is shared. They add up to what is owed, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from farthing.ledger.store import Filter, Question, Store
from farthing.money import PICO_PER_USD, round_half_even
from farthing.reports.allocation import Allocation, Rule
from farthing.reports.split import rounded, split

OWN = "own"
CENT = PICO_PER_USD // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a statement: an agent's own calls, or the part of a pool. Picodollars."""

    kind: str
    name: str
    calls: int
    tokens: int
    pico: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one team pays. cents: as billed; of all statements they add up to the total, rounded once."""

    team: str
    cost_center: str | None
    lines: Sequence[Line]
    plan_pico: int
    cents: int = 0

    @property
    def own(self) -> int:
        """Its own calls."""
        return sum(line.pico for line in self.lines if line.kind == OWN)

    @property
    def shared(self) -> int:
        """Its parts of what is shared."""
        return sum(line.pico for line in self.lines if line.kind != OWN)

    @property
    def total(self) -> int:
        """Everything it pays."""
        return self.own + self.shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Chargeback:
    """All statements, dearest first. total: what is owed in the time; unpriced: calls whose cost nobody knows."""

    statements: Sequence[Statement]
    total: int
    pools: Mapping[str, int]
    unpriced: int

    @property
    def cents(self) -> int:
        """The total as billed."""
        return sum(one.cents for one in self.statements)


@dataclass(slots=True)
class _Sums:
    """What is gathered for a team."""

    lines: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    plan: int = 0
    center: str | None = None

    def add(self, kind: str, name: str, amounts: Sequence[int]) -> None:
        held = self.lines.setdefault((kind, name), [0, 0, 0])
        for i, amount in enumerate(amounts):
            held[i] += amount


def chargeback(store: Store, allocation: Allocation, where: Filter) -> Chargeback:
    """The statements of a time; `where` must bound it on both sides."""
    assert where.since_us is not None and where.until_us is not None
    teams: dict[str, _Sums] = {}
    pools: dict[str, int] = {}
    unpriced = 0
    edges = allocation.edges(where.since_us, where.until_us)
    for since, until in pairwise(edges):
        within = Filter(since_us=since, until_us=until, org=where.org, equals=where.equals)
        unpriced += _span(store, allocation, within, teams, pools)
    total = sum(pico for sums in teams.values() for _, _, pico in sums.lines.values())
    statements = _statements(teams, allocation)
    cents = in_cents([one.total for one in statements])
    billed = [
        Statement(
            team=one.team, cost_center=one.cost_center, lines=one.lines, plan_pico=one.plan_pico, cents=part
        )
        for one, part in zip(statements, cents, strict=True)
    ]  # fmt: skip
    return Chargeback(statements=billed, total=total, pools=pools, unpriced=unpriced)


def in_cents(amounts: Sequence[int]) -> list[int]:
    """10⁻¹² of a currency as its hundredths, which add up to the sum of the amounts, rounded once."""
    return rounded([Fraction(amount, CENT) for amount in amounts], round_half_even(sum(amounts), CENT))


def _span(store: Store, allocation: Allocation, within: Filter, teams: dict[str, _Sums], pools: dict[str, int]) -> int:
    """Add a span in which the rules stay the same; how many of its calls have no price."""
    by = tuple(dict.fromkeys((*allocation.fields, "team", "cost_center", "agent", "billing")))
    own: dict[str, int] = {}
    shared: dict[int, tuple[Rule, list[int]]] = {}
    unpriced = 0
    for row in store.totals(Question(by=by, where=within)):
        values = dict(zip(by, row.key, strict=True))
        totals = row.totals
        unpriced += totals.unpriced_calls
        rule = allocation.rule(values, within.since_us or 0)
        plan = values["billing"] == "subscription"
        amounts = [totals.calls, totals.total_tokens, 0 if plan else totals.cost_pico]
        if rule is not None and rule.pool is not None and not plan:
            held = shared.setdefault(id(rule), (rule, [0, 0, 0]))[1]
            for i, amount in enumerate(amounts):
                held[i] += amount
            continue
        team = (rule.team if rule is not None else values["team"]) or allocation.default
        sums = teams.setdefault(team, _Sums())
        sums.center = sums.center or allocation.centers.get(team) or values["cost_center"]
        sums.add(OWN, values["agent"] or "(none)", amounts)
        sums.plan += totals.cost_pico if plan else 0
        own[team] = own.get(team, 0) + amounts[2]
    for rule, amounts in shared.values():
        name = rule.pool or ""
        pools[name] = pools.get(name, 0) + amounts[2]
        for team, pico in _shares(rule, amounts[2], own, allocation.default):
            sums = teams.setdefault(team, _Sums())
            sums.center = sums.center or allocation.centers.get(team)
            sums.add("shared", name, [0, 0, pico])
    return unpriced


def _shares(rule: Rule, pico: int, own: Mapping[str, int], default: str) -> Iterator[tuple[str, int]]:
    """Each team's part of a pool. Where there is nobody to share it, it is the default's."""
    if isinstance(rule.split, str):
        names = list(rule.teams or own) or [default]
        weights = [max(0, own.get(name, 0)) if rule.split == "by cost" else 1 for name in names]
        yield from zip(names, split(pico, weights), strict=True)
    else:
        yield from zip(rule.split, split(pico, list(rule.split.values())), strict=True)


def _statements(teams: Mapping[str, _Sums], allocation: Allocation) -> list[Statement]:
    found = []
    for team, sums in teams.items():
        lines = [
            Line(kind=kind, name=name, calls=calls, tokens=tokens, pico=pico)
            for (kind, name), (calls, tokens, pico) in sums.lines.items()
        ]
        lines.sort(key=lambda line: (line.kind != OWN, -line.pico, line.name))
        center = sums.center or allocation.centers.get(team)
        found.append(Statement(team=team, cost_center=center, lines=lines, plan_pico=sums.plan))
    return sorted(found, key=lambda one: (-one.total, one.team))


def chargeback_json(found: Chargeback) -> dict[str, Any]:
    """The statements for programs; `_pico` are exact, `cents` as billed."""
    return {
        "total_pico": found.total,
        "cents": found.cents,
        "unpriced_calls": found.unpriced,
        "pools_pico": dict(found.pools),
        "statements": [
            {
                "team": one.team,
                "cost_center": one.cost_center,
                "total_pico": one.total,
                "own_pico": one.own,
                "shared_pico": one.shared,
                "cents": one.cents,
                "subscription_list_price_pico": one.plan_pico,
                "lines": [asdict(line) for line in one.lines],
            }
            for one in found.statements
        ],
    }
