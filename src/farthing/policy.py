"""Budgets as values: what they cover and what they allow. Pure.

A budget covers the calls of its scope: equalities over attribution, provider and model. `agent=*` gives each agent an
account of its own; `model=gpt-4o*` means every model whose name begins so. A model is meant by the name that answered
or by the name that was asked for.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from farthing.amounts import MOST_PICO, UNITS_OF_BUDGETS, Amounts, amount_text, count_of, money
from farthing.errors import InputError, shown
from farthing.event import ATTRIBUTION_FIELDS, EMPTY, Attribution, Event
from farthing.windows import KEYED, WINDOWS, Span, Spans, zone

MODES = ("hard", "soft", "shadow")
"""hard: denies; soft: allows and alerts; shadow: allows and notes what it would have denied."""

SCOPE_FIELDS = (*(name for name in ATTRIBUTION_FIELDS if name != "org"), "provider", "model")
EACH = "*"


_NO_THRESHOLD = "threshold {}: must be a fraction of the limit, above 0 and up to 10, e.g. 0.8 for 80 %"
_HIGHEST_THRESHOLD = 10


def _nothing() -> Mapping[str, str]:
    return EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit for a scope and a window, in a mode. Equal values are the same budget.

    name         unique in its organisation
    org          the organisation; `*`: each organisation by itself
    scope        {field: text}: `SCOPE_FIELDS` and `metadata.<key>`; text `*` means each value by itself
    unit, limit  usd (limit in picodollars), tokens or calls; a limit of None only lists `models`
    window, tz   a word of `WINDOWS`; calendar windows are those of the time zone
    mode         hard, soft or shadow
    thresholds   fractions of the limit at which an alert is raised, once a window
    on_exceed    deny; `downgrade:MODEL`: try a cheaper model; ask: somebody may allow it
    on_unpriced  deny or allow calls whose price nobody knows (of dollar budgets)
    models       where given, no other models may be called in the scope; a trailing `*` stands for any ending
    owner        who answers for it; critical: what it covers is spared by `pause_noncritical`
    """

    name: str
    limit: int | None
    unit: str = "usd"
    org: str = "default"
    scope: Mapping[str, str] = field(default_factory=_nothing)
    window: str = "total"
    tz: str = "UTC"
    mode: str = "hard"
    thresholds: tuple[Decimal, ...] = (Decimal("0.8"), Decimal(1))
    on_exceed: str = "deny"
    on_unpriced: str = "deny"
    models: tuple[str, ...] = ()
    owner: str | None = None
    critical: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("unit", self.unit, UNITS_OF_BUDGETS),
            ("per", self.window, WINDOWS),
            ("mode", self.mode, MODES),
            ("on_unpriced", self.on_unpriced, ("deny", "allow")),
        ):
            if value not in known:
                raise InputError(f"budget {self.name!r}: {what} = {value!r}: must be one of {', '.join(known)}")
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"a budget's name is text, not {self.name!r}")
        downgrade = str(self.on_exceed).startswith("downgrade:") and len(self.on_exceed) > len("downgrade:")
        if self.on_exceed not in ("deny", "ask") and not downgrade:
            raise InputError(
                f"budget {self.name!r}: on_exceed = {self.on_exceed!r}: must be deny, ask or downgrade:<model>"
            )
        if self.limit is None and not self.models:
            raise InputError(f"budget {self.name!r} limits nothing: give usd=, tokens=, calls= or models=")
        if self.limit is not None and (type(self.limit) is not int or self.limit < 0):
            raise InputError(f"budget {self.name!r}: limit = {self.limit!r}: must be a whole number, 0 or more")
        if self.limit is not None and self.limit > MOST_PICO:
            most = f"{MOST_PICO} picodollars ($9,000,000)" if self.unit == "usd" else f"{MOST_PICO} {self.unit}"
            raise InputError(f"budget {self.name!r}: limit = {self.limit!r}: the embedded ledger keeps up to {most}")
        for share in self.thresholds:
            if not isinstance(share, Decimal) or not share.is_finite() or share <= 0:
                raise InputError(_NO_THRESHOLD.format(share))
        for name in self.scope:
            if name not in SCOPE_FIELDS and not (name.startswith("metadata.") and name != "metadata."):
                near = difflib.get_close_matches(name, SCOPE_FIELDS, n=1)
                remedy = (
                    f"did you mean {near[0]!r}?" if near else f"name one of {', '.join(SCOPE_FIELDS)}, metadata.<key>"
                )
                raise InputError(f"budget {self.name!r}: unknown scope field {name!r}: {remedy}")
        if type(self.critical) is not bool:
            raise InputError(f"budget {self.name!r}: critical = {self.critical!r}: must be True or False")
        if self.owner is not None and not isinstance(self.owner, str):
            raise InputError(f"budget {self.name!r}: owner = {self.owner!r}: must be text")
        zone(self.tz)

    @property
    def scope_text(self) -> str:
        """The scope as it is written: `agent=researcher,model=gpt-4o`; of everything `*`."""
        return ",".join(f"{name}={value}" for name, value in sorted(self.scope.items())) or "*"

    @property
    def shape(self) -> str:
        """What of it decides which calls it counts, and how: while this stays, its accounts do."""
        counts = self.unit if self.limit is not None else None
        return json.dumps([self.org, sorted(self.scope.items()), counts, self.window, self.tz])

    def amount_text(self, amount: int) -> str:
        """An amount in words: `$1.25`, `12,000 tokens`."""
        return amount_text(self.unit, amount)

    def to_json(self) -> str:
        """The budget as JSON text, for `from_json`."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(
            {**said, "scope": dict(self.scope), "thresholds": [str(t) for t in self.thresholds]}, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, text: str) -> Budget:
        """The budget that `to_json` wrote. Fields of newer versions are left out."""
        known = {f.name for f in fields(cls)}
        said = {name: value for name, value in json.loads(text).items() if name in known}
        said["thresholds"] = tuple(Decimal(t) for t in said.get("thresholds", ()))
        said["models"] = tuple(said.get("models", ()))
        return cls(**said)


def scope_of(given: Mapping[str, Any] | str | None) -> dict[str, str]:
    """A scope from a mapping or from `agent=researcher,model=gpt-4o`; None, empty text and `*`: everything.

    A value that is missing is an InputError, not everything: it may have been meant for one.
    """
    if given is None or given in ("", "*"):
        return {}
    if isinstance(given, Mapping):
        for name, value in given.items():
            if value is None or value == "" or not isinstance(value, str | int | float):
                raise InputError(f"scope {dict(given)!r}: {name} = {value!r}: name one, or '*' for each by itself")
        return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    if not isinstance(given, str):
        raise InputError(f"scope = {given!r}: must be text such as agent=researcher,model=gpt-4o, or a mapping")
    found = {}
    for pair in given.split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"scope {given!r}: {pair!r} is not name=value; write it as agent=researcher,model=gpt-4o")
        if name.strip() in found:
            raise InputError(f"scope {given!r} names {name.strip()} twice: make one budget for each")
        found[name.strip()] = value.strip()
    return found


def make_budget(
    scope: Mapping[str, Any] | str | None = None,
    *,
    usd: Any = None,
    tokens: int | None = None,
    calls: int | None = None,
    per: str = "total",
    name: str | None = None,
    **more: Any,
) -> Budget:
    """A budget in a user's words: `make_budget("agent=researcher", usd=50, per="day", tz="Europe/Amsterdam")`.

    One of usd, tokens and calls is the limit; `more` are the other fields of `Budget`. Its name is made of the scope,
    window and unit unless given. What cannot be: InputError.
    """
    limits = {unit: value for unit, value in (("usd", usd), ("tokens", tokens), ("calls", calls)) if value is not None}
    if len(limits) > 1:
        raise InputError(f"a budget has one limit, not {' and '.join(limits)}: make one budget for each")
    unit, given = next(iter(limits.items()), ("calls", None))
    covered = scope_of(scope)
    org = covered.pop("org", None)
    if org is not None:
        more["org"] = org
    if "org" in more and not (isinstance(more["org"], str) and more["org"].strip()):
        raise InputError(f"org = {more['org']!r}: name an organisation, or '*' for each by itself")
    for plural in ("thresholds", "models"):
        if plural in more:
            more[plural] = _several(plural, more[plural])
    for word, instead in _OTHER_WORDS.items():
        if word in more:
            raise InputError(f"{word} = {more[word]!r}: say {instead}")
    if unknown := set(more) - {f.name for f in fields(Budget)}:
        raise InputError(f"a budget has no {', '.join(sorted(unknown))}: see farthing.Budget")
    _stars(covered)
    limit = None if given is None else money(given, "usd") if unit == "usd" else count_of(given, unit)
    words = ",".join(f"{key}={value}" for key, value in sorted(covered.items())) or "everything"
    return Budget(
        name=f"{words} {'models' if limit is None else unit} per {per}" if name is None else name,
        limit=limit,
        unit=unit,
        scope=covered,
        window=per,
        **more,
    )


_OTHER_WORDS = {
    "window": "per='day' (or another window)",
    "limit": "usd=, tokens= or calls=",
    "unit": "usd=, tokens= or calls=",
}
"""Fields of `Budget` that a user says otherwise."""


def _stars(scope: Mapping[str, str]) -> None:
    """InputError where a `*` means nothing: such a budget would cover no call, and nobody would see it."""
    for name, value in scope.items():
        plain = value.removesuffix(EACH) if name == "model" else value
        if value != EACH and EACH in plain:
            at_the_end = "a model may end in *; no other field" if name != "model" else "* may stand at the end alone"
            raise InputError(f"scope {name}={value}: {at_the_end}. Make a budget for each, or {name}=* for all of them")


def _several(name: str, given: Any) -> tuple[Any, ...]:
    values = (given,) if isinstance(given, str | int | float | Decimal) else given
    if not isinstance(values, Iterable):
        raise InputError(f"{name} = {given!r}: must be a list")
    if name == "models":
        names = tuple(values)
        if not all(isinstance(name, str) and name for name in names):
            raise InputError(f"models = {given!r}: each must be a model's name, or its beginning and *")
        return names
    found = []
    for value in values:
        try:
            share = Decimal(str(value))
            if share > _HIGHEST_THRESHOLD:
                raise InputError(_NO_THRESHOLD.format(value))
        except ArithmeticError:
            raise InputError(_NO_THRESHOLD.format(shown(value))) from None
        found.append(share)
    return tuple(found)


class Subject(NamedTuple):
    """Whose call it is, and to which model: what scopes are compared with."""

    who: Attribution
    provider: str | None
    model: str
    requested: str | None = None

    @property
    def asked(self) -> str:
        """The model by the name it was asked for."""
        return self.requested or self.model


def subject_of(event: Event) -> Subject:
    """Whose call an event is."""
    return Subject(event.attribution, event.provider, event.model, event.requested_model)


def named(pattern: str, model: str) -> bool:
    """Whether a model's name is meant by a pattern: the same, or the same up to a trailing `*`."""
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


class Rule:
    """A budget compiled for matching.

    series        the number of its accounts' series
    seen, latest_us  the last event, and the latest moment of one, that the ledger knew when the series was opened
    """

    __slots__ = ("_checks", "_keys", "budget", "index", "latest_us", "seen", "series", "spans")

    def __init__(self, budget: Budget, series: int = 0, seen: int = 0, latest_us: int = 0) -> None:
        self.budget = budget
        self.series = series
        self.seen = seen
        self.latest_us = latest_us
        self.spans = Spans(budget.window, budget.tz)
        self._checks = tuple((name, value) for name, value in sorted(budget.scope.items()) if value != EACH)
        self._keys = key_fields(budget)
        exact = [pair for pair in self._checks if pair[0] in ATTRIBUTION_FIELDS]
        self.index = exact[0] if exact else None

    def key(self, subject: Subject) -> str | None:
        """Which of the budget's accounts a call belongs to; None: it is not covered."""
        budget = self.budget
        if budget.org not in (EACH, subject.who.org):
            return None
        for name, wanted in self._checks:
            if name == "model":
                if not (named(wanted, subject.model) or (subject.requested and named(wanted, subject.requested))):
                    return None
            elif _text(subject, name) != wanted:
                return None
        values = [_text(subject, name) for name in self._keys]
        if any(value is None for value in values):
            return None
        return key_of(values)

    def marks(self, granted: int = 0) -> tuple[tuple[Decimal, int], ...]:
        """(threshold, the amount that passes it), the lowest first, where so much was granted above the limit."""
        limit = (self.budget.limit or 0) + granted
        return tuple((share, int(-(-Fraction(share) * limit // 1))) for share in sorted(self.budget.thresholds))

    def allows(self, model: str) -> bool:
        """Whether the list of models has this one, or there is no list. '' is whichever the call may name."""
        return not model or not self.budget.models or any(named(pattern, model) for pattern in self.budget.models)

    def place(self, key: str) -> str:
        """The account's scope in words, `*` replaced by whom it is."""
        if not self._keys:
            return self.budget.scope_text
        scope = {**self.budget.scope, **dict(zip(self._keys, values_of(key, self._keys), strict=True))}
        return ",".join(f"{name}={value}" for name, value in sorted(scope.items()))


def key_fields(budget: Budget) -> tuple[str, ...]:
    """The fields whose values tell a budget's accounts apart, in their order."""
    each = [name for name, value in budget.scope.items() if value == EACH]
    if budget.org == EACH:
        each.append("org")
    if budget.window in KEYED:
        each.append(budget.window)
    return tuple(sorted(set(each)))


def key_of(values: Sequence[Any]) -> str:
    """The key of an account by the values of its budget's `key_fields`; `values_of` reads it."""
    return "" if not values else str(values[0]) if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def values_of(key: str, fields: Sequence[str]) -> list[Any]:
    """The values of `key_fields` that a key is made of."""
    return [key] if len(fields) == 1 else json.loads(key) if fields else []


def org_of(budget: Budget, key: str) -> str:
    """Whose an account of a budget is; `*`: of one for each organisation, that no call has opened yet."""
    if budget.org != EACH or not key:
        return budget.org
    names = key_fields(budget)
    return str(values_of(key, names)[names.index("org")])


def _text(subject: Subject, name: str) -> str | None:
    if name == "model":
        return subject.asked
    if name == "provider":
        return subject.provider
    if name.startswith("metadata."):
        value = subject.who.metadata.get(name[9:])
        if value is None or isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    found: str | None = getattr(subject.who, name)
    return found


class Rules:
    """All active budgets, found quickly for a call."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.all = tuple(rules)
        self._exact: dict[str, dict[str, list[Rule]]] = {}
        self._others: list[Rule] = []
        for rule in self.all:
            if rule.index is None:
                self._others.append(rule)
            else:
                self._exact.setdefault(rule.index[0], {}).setdefault(rule.index[1], []).append(rule)

    def __bool__(self) -> bool:
        return bool(self.all)

    def covering(self, subject: Subject) -> list[tuple[Rule, str]]:
        """The budgets that a call must fit, each with the account's key, in the order of their series."""
        found = [(rule, key) for rule in self._others if (key := rule.key(subject)) is not None]
        for name, by_value in self._exact.items():
            value = getattr(subject.who, name)
            for rule in by_value.get(value, ()) if value is not None else ():
                if (key := rule.key(subject)) is not None:
                    found.append((rule, key))
        found.sort(key=lambda pair: (pair[0].series, pair[1]))
        return found


class Refusal(NamedTuple):
    """One budget that a call does not fit. Amounts are in the budget's unit; `limit` includes what was granted.

    why: limit, call (more than one call may cost), unpriced, model (not in its list)
    """

    budget: Budget
    place: str
    why: str
    limit: int
    posted: int
    reserved: int
    requested: int
    span: Span
    model: str
    account: int | None = None
    approval: int | None = None

    @property
    def key(self) -> str:
        """What tells this refusal from others in records of them: the rule of its alert."""
        if self.budget.mode != "hard":
            return f"would_deny:{self.why}"
        instead = self.budget.on_exceed.partition("downgrade:")[2]
        cheaper = instead and self.model != instead and self.why != "unpriced"
        return f"{'downgraded' if cheaper else 'denied'}:{self.why}"


def unfit(rule: Rule, subject: Subject, amounts: Amounts) -> str | None:
    """Why a call may not be made under a budget whatever has been spent, or None: `model`, `unpriced`, `call`."""
    budget = rule.budget
    if not rule.allows(subject.asked):
        return "model"
    if budget.limit is None:
        return None
    if budget.unit == "usd" and amounts.usd is None:
        return "unpriced" if budget.on_unpriced == "deny" else None
    if budget.window == "call" and amounts.of(budget.unit) > budget.limit:
        return "call"
    return None


def fits(limit: int, posted: int, reserved: int, amount: int) -> bool:
    """Whether an amount may be held. What costs nothing always may."""
    return amount == 0 or posted + reserved + amount <= limit


def raised(budget: Budget, limit: Any) -> Budget:
    """The budget with another limit, in its own unit (US dollars, not picodollars)."""
    if budget.limit is None:
        raise InputError(f"budget {budget.name!r} has no limit to raise: it lists models")
    return replace(budget, limit=money(limit, "limit") if budget.unit == "usd" else count_of(limit, "limit"))
