"""The ordinary call, quickly: accounts that are open, room in all of them, no threshold passed, nothing out of order.

A plan knows the accounts of one caller and model while their windows last. Whatever is not ordinary is left to `holds`,
which does the same step by step; both come to the same, and a test holds that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from farthing.event import Event
from farthing.ledger.engine import Database
from farthing.ledger.rows import to_json
from farthing.ledger.sheet import Book
from farthing.policy import MOST_PICO, UNITS_OF_BUDGETS, Amounts, Rule, Subject, amounts_of, unfit

_KNOWN = 4096
_SELECT = (
    "SELECT id, posted, reserved, granted, held, settled, (SELECT value FROM ledger_meta WHERE key = 'budgets')"
    " FROM accounts WHERE id IN ({}) ORDER BY id"
)
_HOLD = "UPDATE accounts SET reserved = ? WHERE id = ?"
_SETTLE = "UPDATE accounts SET posted = ?, reserved = ?, held = ?, settled = ? WHERE id = ?"
ENTRY = "INSERT INTO entries (at_us, kind, reservation, event, moves) VALUES (?, ?, ?, ?, ?)"

Update = tuple[int, ...]


class Kept(NamedTuple):
    """A reservation as the ledger has it; `holds` and `call` are JSON."""

    number: int
    state: str
    at_us: int
    expires_us: int
    usd: int | None
    tokens: int
    calls: int
    holds: str
    call: str


_UNKNOWN: tuple[Any, Any] = (None, ())


class Term:
    """One account of a plan: what of a call counts in it, and what it may come to."""

    __slots__ = ("limit", "lowest", "marks", "unit")

    def __init__(self, rule: Rule) -> None:
        self.unit = UNITS_OF_BUDGETS.index(rule.budget.unit)
        self.limit = rule.budget.limit or 0
        self.marks = tuple(int(mark) for _, mark in rule.marks)
        self.lowest = min(self.marks, default=MOST_PICO)


class Plan:
    """The accounts of one caller and model, in the order of their numbers, while `since_us <= at < until_us`."""

    __slots__ = ("generation", "ids", "names_json", "select", "since_us", "subject", "terms", "until_us")

    def __init__(
        self, subject: Subject, generation: str, found: Sequence[tuple[int, Term]], span: tuple[int, int]
    ) -> None:
        self.subject = subject
        self.generation = generation
        self.ids = tuple(account for account, _ in found)
        self.terms = tuple(term for _, term in found)
        self.since_us, self.until_us = span
        self.select = _SELECT.format(",".join("?" * len(self.ids)))
        self.names_json = to_json(_names(subject))


def plan_for(book: Book, subject: Subject, at_us: int) -> Plan | None:
    """The plan of a call, or None where there is none: an account is not open yet, or a budget wants a closer look."""
    key = (id(subject.who), *subject[1:])
    known: Plan | None = book.plans.get(key)
    if known is None or not known.since_us <= at_us < known.until_us or known.generation != book.generation:
        known = _made(book, subject, at_us)
        if known is None:
            book.plans.pop(key, None)
            return None
        if len(book.plans) >= _KNOWN:
            book.plans.clear()
        book.plans[key] = known  # it keeps the attribution alive, so that its id stays its own
    return known


def _made(book: Book, subject: Subject, at_us: int) -> Plan | None:
    since, until = 0, 2**63
    found: list[tuple[int, Term]] = []
    for rule, key in book.rules.covering(subject):
        budget = rule.budget
        if budget.limit is None or budget.window == "call" or unfit(rule, subject, Amounts(0, 0, 0)) is not None:
            return None
        start, end = rule.spans(at_us)
        account = book.id_of((rule.series, key, start))
        if account is None:
            return None
        since, until = max(since, start), until if end is None else min(until, end)
        found.append((account, Term(rule)))
    return Plan(subject, book.generation, sorted(found, key=_number), (since, until)) if found else None


def _number(pair: tuple[int, Term]) -> int:
    return pair[0]


Places = tuple[tuple[int, int], ...]
"""(account, amount) of each budget that a hold counts against, in the order of their accounts."""


def hold(database: Database, plan: Plan, amounts: Amounts) -> tuple[Places, str] | None:
    """(places, moves as JSON) once the amounts are held in every account; None: nothing was done, look closer."""
    rows = database.rows(plan.select, plan.ids)
    if len(rows) != len(plan.ids) or rows[0][6] != plan.generation or amounts[0] is None:
        return None
    updates: list[Update] = []
    moves: list[str] = []
    try:
        for (account, posted, reserved, granted, _, _, _), term in zip(rows, plan.terms, strict=True):
            amount: int = amounts[term.unit]  # type: ignore[assignment]
            if not amount:
                continue
            after = reserved + amount
            if posted + after > term.limit + granted or after > MOST_PICO:
                return None
            updates.append((after, account))
            moves.append(f"[{account},0,{amount},0]")
    except TypeError:  # a sum beyond 64 bits, kept as text
        return None
    if updates:
        database.many(_HOLD, updates)
    places = tuple([(account, amounts[term.unit] or 0) for account, term in zip(plan.ids, plan.terms, strict=True)])
    return places if len(updates) == len(places) else tuple(p for p in places if p[1]), f"[{','.join(moves)}]"


def holds_text(places: Places) -> str:
    """Places as JSON."""
    return f"[{','.join([f'[{account},{amount}]' for account, amount in places])}]"


def call_text(plan: Plan | None, subject: Subject, call: Mapping[str, Any]) -> str:
    """What an event can be made of, should the call's end never be heard of."""
    if plan is None or call.get("context"):
        return to_json({**call, **_names(subject)})
    into, out = call.get("input"), call.get("output")
    tokens = f'"input":{"null" if into is None else into},"output":{"null" if out is None else out}'
    return f"{{{tokens},{plan.names_json[1:]}"


def _names(subject: Subject) -> dict[str, Any]:
    names = {"provider": subject.provider, "model": subject.model, "requested": subject.requested}
    return {**names, "who": subject.who.to_dict()}


def settle(database: Database, book: Book, event: Event, kept: Kept) -> str | None:
    """The moves as JSON once the event is posted and its hold freed; None: nothing was done, look closer."""
    at_us = event.at_us
    plan = plan_for(book, Subject(event.attribution, event.provider, event.model, event.requested_model), at_us)
    if plan is None:
        return None
    made, places = book.places.pop(kept.number, _UNKNOWN)
    if made != (kept.usd, kept.tokens, kept.calls):  # not of this process, or topped up since
        places = json.loads(kept.holds)
    rows = database.rows(plan.select, plan.ids)
    if not len(places) == len(rows) == len(plan.ids) or rows[0][6] != plan.generation:
        return None
    amounts = amounts_of(event)
    updates: list[Update] = []
    moves: list[str] = []
    try:
        for row, term, (account, held) in zip(rows, plan.terms, places, strict=True):
            own, posted, reserved, _, held_before, settled, _ = row
            amount: int = amounts[term.unit]  # type: ignore[assignment]
            after = posted + amount
            held_before += held
            settled += amount
            if own != account or amount < 0 or after > MOST_PICO or settled > MOST_PICO or held_before > MOST_PICO:
                return None
            if after >= term.lowest and any(posted < mark <= after for mark in term.marks):
                return None
            updates.append((after, reserved - held, held_before, settled, account))
            moves.append(f"[{account},{amount},{-held},0]")
    except TypeError:  # a sum beyond 64 bits, kept as text
        return None
    database.many(_SETTLE, updates)
    return f"[{','.join(moves)}]"
