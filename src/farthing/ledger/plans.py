"""The ordinary call, quickly: accounts that are open, room in all of them, no threshold passed, nothing out of order.

A plan knows the accounts of one caller and model while their windows last. Nothing is read: each account is changed
where it is as the plan says, and where one is not, the transaction is begun again and left to `holds`, which does the
same step by step; both come to the same, and a test holds that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from farthing.event import Event
from farthing.ledger import holds
from farthing.ledger.engine import Database
from farthing.ledger.holds import KEEP, Ask, Conflict, Hold, State, names_of
from farthing.ledger.rows import Prepared, to_json
from farthing.ledger.sheet import Book
from farthing.ledger.store import Outcome
from farthing.ledger.writer import Writer
from farthing.policy import MOST_PICO, UNITS_OF_BUDGETS, Amounts, Refusal, Rule, Subject, amounts_of, subject_of, unfit

_KNOWN = 4096
_MOST_AMOUNT = 10**17
"""Of one call: $100,000. Sums of up to `MOST_PICO` then stay within 64 bits."""

# A sum beyond 64 bits is kept as text, which for SQLite is greater than any number: these leave it alone.
HOLD = (
    "UPDATE accounts SET reserved = reserved + ?2"
    f" WHERE id = ?1 AND posted + reserved + ?2 <= granted + ?3 AND reserved <= {MOST_PICO}"
)
"""(account, amount, limit)"""
SETTLE = (
    "UPDATE accounts SET posted = posted + ?2, reserved = reserved - ?3, held = held + ?3, settled = settled + ?2"
    " WHERE id = ?1 AND posted >= ?4 AND posted < ?5"
    f" AND reserved <= {MOST_PICO} AND held <= {MOST_PICO} AND settled <= {MOST_PICO}"
)
"""(account, amount, what was held, posted at least, posted below)"""
END = (
    "UPDATE reservations SET state = 'settled'"
    " WHERE number = ? AND key = ? AND org = ? AND holds = ? AND state IN ('held', 'dispatched')"
)
ENTRY = "INSERT INTO entries (at_us, kind, reservation, event, moves) VALUES (?, ?, ?, ?, ?)"


_Term = tuple[int, int, int, int, int]
"""An account, the unit it counts, its limit; from where to where its next threshold is not passed."""
_SPENT, _HELD = "utc", "UTC"


class Plan:
    """The accounts of one caller and model, in the order of their numbers, while `since_us <= at < until_us`."""

    __slots__ = (
        "accounts",
        "held",
        "key",
        "limits",
        "marks",
        "names_json",
        "places",
        "settled",
        "since_us",
        "subject",
        "units",
        "until_us",
    )

    def __init__(self, subject: Subject, terms: Sequence[_Term], span: tuple[int, int]) -> None:
        self.subject = subject
        self.key = _key(subject)
        self.accounts = tuple([term[0] for term in terms])
        self.limits = tuple([term[:3] for term in terms])
        self.marks = tuple([(account, unit, low, high) for account, unit, _, low, high in terms])
        self.units = tuple({(_HELD[term[1]], term[1]) for term in terms})
        self.since_us, self.until_us = span
        self.names_json = to_json(names_of(subject))[1:]
        # JSON with a letter for the amount in each unit, a capital one for what was held.
        self.places, self.held, self.settled = (
            f"[{','.join([shape.format(term[0], _SPENT[term[1]], _HELD[term[1]]) for term in terms])}]"
            for shape in ("[{0},{2}]", "[{0},0,{2},0]", "[{0},{1},-{2},0]")
        )

    def call_text(self, call: Mapping[str, Any]) -> str:
        """What an event can be made of, should the call's end never be heard of."""
        into, out = call.get("input"), call.get("output")
        tokens = f'"input":{"null" if into is None else into},"output":{"null" if out is None else out}'
        return f"{{{tokens},{self.names_json}"


def plan_for(database: Database, book: Book, subject: Subject, at_us: int) -> Plan | None:
    """The plan of a call, or None where there is none: an account is not open yet, or a budget wants a closer look.

    The book must be current.
    """
    key = _key(subject)
    known: Plan | None = book.plans.get(key)
    if known is None or not known.since_us <= at_us < known.until_us:
        known = _made(database, book, subject, at_us)
        if known is None:
            book.plans.pop(key, None)
            return None
        if len(book.plans) >= _KNOWN:
            book.plans.clear()
        book.plans[key] = known  # it keeps the attribution alive, so that its id stays its own
    return known


def forget(book: Book, plan: Plan) -> None:
    """Make it anew when it is asked for again: it was not as it said."""
    book.plans.pop(plan.key, None)


def _is_of(event: Event, subject: Subject) -> bool:
    who, provider, model, requested = subject
    return (
        event.attribution is who
        and event.model == model
        and event.provider == provider
        and event.requested_model == requested
    )


def _key(subject: Subject) -> tuple[Any, ...]:
    who, provider, model, requested = subject
    return id(who), provider, model, requested


def _made(database: Database, book: Book, subject: Subject, at_us: int) -> Plan | None:
    since, until = 0, 2**63
    terms: list[_Term] = []
    for rule, key in book.rules.covering(subject):
        budget = rule.budget
        if budget.limit is None or budget.window == "call" or unfit(rule, subject, Amounts(0, 0, 0)) is not None:
            return None
        start, end = rule.spans(at_us)
        account = book.id_of((rule.series, key, start))
        if account is None:
            return None
        since, until = max(since, start), until if end is None else min(until, end)
        terms.append(_term(database, rule, account))
    return Plan(subject, sorted(terms), (since, until)) if terms else None


def _term(database: Database, rule: Rule, account: int) -> _Term:
    posted = int(database.rows("SELECT posted FROM accounts WHERE id = ?", (account,))[0][0])
    marks = [int(mark) for _, mark in rule.marks]
    low = max((mark for mark in marks if mark <= posted), default=-MOST_PICO)
    high = min((mark for mark in marks if mark > posted), default=MOST_PICO)
    return (account, UNITS_OF_BUDGETS.index(rule.budget.unit), rule.budget.limit or 0, low, min(high, MOST_PICO))


Made = tuple[int, int, tuple[int | None, ...], str, Plan]
"""A hold that this process has made by a plan: its reservation's number, its moment, amounts, and places as JSON."""


def reserve(database: Database, writer: Writer, ask: Ask) -> Hold | Conflict | tuple[Refusal, ...]:
    """As `holds.reserve`."""
    book = writer.book
    if book.swept(ask.at_us) and (ask.fresh or holds.find(database, ask.key, ask.subject.who.org) is None):
        book.current(database)
        plan = plan_for(database, book, ask.subject, ask.at_us)
        if plan is not None:
            hold = _hold(database, book, plan, ask)
            if hold is not None:
                return hold
            writer.restart(database)
    return holds.reserve(database, writer, ask)


def _hold(database: Database, book: Book, plan: Plan, ask: Ask) -> Hold | None:
    """The hold; None: some account has no room for it, and the transaction is to be begun again."""
    key, subject, amounts, at_us, expires_us, gone, _, call, _ = ask
    usd, tokens, calls = said = amounts
    places, moves = plan.places, plan.held
    for letter, unit in plan.units:
        amount = said[unit]
        if not amount or amount > _MOST_AMOUNT:  # a price that is not known, or nothing to hold here
            return None
        text = str(amount)
        places, moves = places.replace(letter, text), moves.replace(letter, text)
    rows = [(account, said[unit], limit) for account, unit, limit in plan.limits]
    if database.many(HOLD, rows) != len(rows):
        return None
    org = subject.who.org
    state: State = "dispatched" if gone else "held"
    kept = to_json({**call, **names_of(subject)}) if call.get("context") else plan.call_text(call)
    database.run(KEEP, (key, org, state, at_us, expires_us, usd, tokens, calls, places, kept))
    number = database.last_number()
    database.run(ENTRY, (at_us, "reserve", number, None, moves))
    book.remember((org, key), (number, at_us, said, places, plan))
    return Hold(key, org, state, amounts, at_us, expires_us)


def settle(
    database: Database, writer: Writer, key: str, org: str, entries: Sequence[Prepared], now_us: int
) -> list[Outcome]:
    """As `holds.settle`."""
    made: Made | None = writer.book.made.pop((org, key), None)
    if made is not None and len(entries) == 1:
        became = _settle(database, writer, (key, org), made, entries[0].dated(made[1]), now_us)
        if became is not None:
            return became
        writer.restart(database)
    return holds.settle(database, writer, key, org, entries, now_us)


def _settle(
    database: Database, writer: Writer, named: tuple[str, str], made: Made, entry: Prepared, now_us: int
) -> list[Outcome] | None:
    """What became of the event; None: something is out of the ordinary, and the transaction is to be begun again."""
    event, book = entry.event, writer.book
    number, _, freed, places, plan = made
    book.current(database)
    if book.plans.get(plan.key) is not plan or not _is_of(event, plan.subject):
        other = plan_for(database, book, subject_of(event), event.at_us)
        if other is None or other.accounts != plan.accounts:
            return None
        plan = other
    database.run(END, (number, *named, places))
    if not database.changes() or not writer.insert_new(database, entry):
        return None
    spent = amounts_of(event)
    moves = plan.settled
    for letter, unit in plan.units:
        amount: int = spent[unit]  # type: ignore[assignment]
        if not 0 <= amount <= _MOST_AMOUNT:
            return None
        moves = moves.replace(letter, str(freed[unit])).replace(_SPENT[unit], str(amount))
    rows = [(account, spent[unit], freed[unit], low, high - spent[unit]) for account, unit, low, high in plan.marks]  # type: ignore[operator]
    if database.many(SETTLE, rows) != len(rows):
        forget(book, plan)
        return None
    database.run(ENTRY, (now_us, "settle", number, event.id, moves))
    return ["added"]
