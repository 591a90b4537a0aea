"""The ordinary call, quickly: accounts that are open, room in all of them, no threshold passed, nothing out of order.

A plan knows the accounts of one caller and model while their windows last. Nothing is read: each account is changed
where it is as the plan says, and where one is not, the transaction is begun again and left to `holds`, which does the
same step by step; both come to the same, and a test holds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from farthing.amounts import MOST_PICO, SPENT, UNITS_OF_BUDGETS, Amounts
from farthing.event import Event
from farthing.ledger import holds
from farthing.ledger.engine import Database
from farthing.ledger.holds import KEEP, REMEMBER, Ask, Conflict, Hold, State, call_text
from farthing.ledger.rows import AT, MOST_COUNT, Prepared
from farthing.ledger.sheet import SWEEP_US, Book
from farthing.ledger.store import Outcome
from farthing.ledger.writer import Writer
from farthing.policy import Refusal, Rule, Subject, subject_of, unfit

_KNOWN = 4096
_MOST_AMOUNT = MOST_COUNT
"""Of one call: $9,000, or the tokens that an event can have. Sums of up to `MOST_PICO` then stay within 64 bits."""

# A sum beyond 64 bits is kept as text, which for SQLite is greater than any number: these leave it alone.
HOLD = (
    "UPDATE accounts SET reserved = reserved + ?2"
    f" WHERE id = ?1 AND posted + reserved + ?2 <= granted + ?3 AND reserved <= {MOST_PICO}"
)
"""(account, amount, limit)"""
SETTLE = (
    "UPDATE accounts SET posted = posted + ?2, reserved = reserved - ?3, held = held + ?3, settled = settled + ?2"
    " WHERE id = ?1 AND posted >= ?4 AND posted < ?5 - ?2"
    f" AND reserved <= {MOST_PICO} AND held <= {MOST_PICO} AND settled <= {MOST_PICO}"
)
"""(account, amount, what was held, posted at least, and with the amount below)"""
END = "DELETE FROM holds WHERE key = ? AND org = ? AND number = ? AND moves = ? AND named = ?"
ENTRY = "INSERT INTO entries (at_us, kind, reservation, event, moves) VALUES (?, ?, ?, ?, ?)"


Rows: TypeAlias = list[list[Any]]
_Term = tuple[int, int, int, int, int]
"""An account, the unit it counts, its limit; from where to where its next threshold is not passed."""
_new = tuple.__new__  # of a named tuple: half the time


class Plan:
    """The accounts of one caller and model, in the order of their numbers, while `since_us <= at < until_us`.

    All of them count in one unit: the ordinary case. home, key: the plans of the book that it is of, and its place
    there; a book with other plans has learned better. room, marks: the rows of `HOLD` and of `SETTLE`, filled in anew
    for each call: transactions come one after the other, and rows of its own would cost a call two microseconds.
    """

    __slots__ = (
        "accounts",
        "call",
        "held",
        "home",
        "key",
        "marks",
        "org",
        "room",
        "settled",
        "since_us",
        "subject",
        "unit",
        "until_us",
    )

    def __init__(self, subject: Subject, terms: Sequence[_Term], span: tuple[int, int]) -> None:
        self.subject = subject
        self.org = subject.who.org
        self.home: dict[Any, Plan] = {}
        self.key: Any = None
        self.unit = terms[0][1]
        self.accounts = [term[0] for term in terms]
        self.room: Rows = [[account, 0, limit] for account, _, limit, _, _ in terms]
        self.marks: Rows = [[account, 0, 0, low, high] for account, _, _, low, high in terms]
        self.since_us, self.until_us = span
        self.call = call_text(subject, {})
        self.held, self.settled = _cut(self.accounts, "0,"), _cut(self.accounts, "")

    def holding(self, amounts: Amounts) -> tuple[Rows, str] | None:
        """What `HOLD` takes, and the moves as JSON. None: an amount is not as those of ordinary calls."""
        amount = amounts[self.unit]
        if not amount:  # a price that is not known, or nothing to hold here
            return None
        for row in self.room:
            row[1] = amount
        return self.room, f"{amount}".join(self.held)

    def posting(self, event: Event, held: Amounts) -> tuple[Rows, str] | None:
        """What `SETTLE` takes, and the moves as JSON. None: an amount is not as those of ordinary calls."""
        unit = self.unit
        amount, freed = SPENT[unit](event), held[unit]
        if not 0 <= amount <= _MOST_AMOUNT:
            return None
        for row in self.marks:
            row[1], row[2] = amount, freed
        return self.marks, f"{amount},-{freed}".join(self.settled)


class MixedPlan(Plan):
    """A plan whose accounts count in several units."""

    __slots__ = ("units",)

    def __init__(self, subject: Subject, terms: Sequence[_Term], span: tuple[int, int]) -> None:
        super().__init__(subject, terms, span)
        self.units = [term[1] for term in terms]

    def holding(self, amounts: Amounts) -> tuple[Rows, str] | None:
        """As of a plan with one unit."""
        each = [amounts[unit] or 0 for unit in self.units]
        if 0 in each:
            return None
        texts = [f"{amount}" for amount in each]
        for row, amount in zip(self.room, each, strict=True):
            row[1] = amount
        return self.room, _join(self.held, texts)

    def posting(self, event: Event, held: Amounts) -> tuple[Rows, str] | None:
        """As of a plan with one unit."""
        each = [SPENT[unit](event) for unit in self.units]
        freed = [held[unit] for unit in self.units]
        if not 0 <= min(each) <= max(each) <= _MOST_AMOUNT:
            return None
        texts = [f"{amount},-{was}" for amount, was in zip(each, freed, strict=True)]
        for row, amount, was in zip(self.marks, each, freed, strict=True):
            row[1], row[2] = amount, was
        return self.marks, _join(self.settled, texts)


def _cut(accounts: Sequence[int], before: str) -> list[str]:
    """The parts of `[[account,<before>AMOUNT,0],...]` around the amounts."""
    return f"[{','.join([f'[{one},{before}AMOUNT,0]' for one in accounts])}]".split("AMOUNT")


def _join(parts: Sequence[str], texts: Sequence[str]) -> str:
    return "".join([part + text for part, text in zip(parts, (*texts, ""), strict=True)])


def plan_for(database: Database, book: Book, subject: Subject, at_us: int) -> Plan | None:
    """The plan of a call, or None where there is none: an account is not open yet, or a budget wants a closer look.

    The book must be current.
    """
    who, provider, model, requested = subject
    key = id(who), provider, model, requested
    known: Plan | None = book.plans.get(key)
    if known is None or not known.since_us <= at_us < known.until_us:
        known = _made(database, book, subject, at_us)
        if known is None:
            book.plans.pop(key, None)
            return None
        if len(book.plans) >= _KNOWN:
            book.plans.clear()
        known.home, known.key = book.plans, key
        book.plans[key] = known  # it keeps the attribution alive, so that its id stays its own
    return known


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
    if not terms:
        return None
    kind = Plan if len({unit for _, unit, *_ in terms}) == 1 else MixedPlan
    return kind(subject, sorted(terms), (since, until))


def _term(database: Database, rule: Rule, account: int) -> _Term:
    posted, granted = map(int, database.rows("SELECT posted, granted FROM accounts WHERE id = ?", (account,))[0])
    marks = [mark for _, mark in rule.marks(granted)]
    low = max((mark for mark in marks if mark <= posted), default=-MOST_PICO)
    high = min((mark for mark in marks if mark > posted), default=MOST_PICO)
    return (account, UNITS_OF_BUDGETS.index(rule.budget.unit), rule.budget.limit or 0, low, min(high, MOST_PICO))


Made = tuple[int, int, Amounts, str, Plan, bool]
"""A hold made here by a plan: its number, moment, amounts, moves as JSON, plan, and whether it is fresh."""


def reserve(database: Database, writer: Writer, ask: Ask) -> Hold | Conflict | tuple[Refusal, ...]:
    """As `holds.reserve`."""
    book = writer.book
    key, subject, amounts, at_us, expires_us, gone, fresh, into, context, _ = ask
    usd, tokens, calls = amounts
    if (
        book.swept_us <= at_us < book.swept_us + SWEEP_US
        and type(tokens) is type(calls) is int
        and (usd is None or type(usd) is int)
        and 0 <= (usd or 0) | tokens | calls <= _MOST_AMOUNT  # their bits together: none is negative or too great
        and (fresh or holds.is_new(database, writer, ask))
    ):
        if book.moment is not database.moment:
            book.current(database)
        plan = plan_for(database, book, subject, at_us)
        holding = None if plan is None else plan.holding(amounts)
        if plan is not None and holding is not None:
            rows, moves = holding
            run, changed = database.run, database.changed
            before = changed()
            database.run_many(HOLD, rows)
            if changed() - before == len(plan.accounts):
                org = plan.org
                state: State = "dispatched" if gone else "held"
                run(ENTRY, (at_us, "reserve", None, None, moves))
                number, call = database.last_number(), call_text(subject, context) if context else plan.call
                run(KEEP, (key, org, number, not fresh, state, at_us, expires_us, *amounts, into, moves, call))
                book.made[key, org] = number, at_us, amounts, moves, plan, fresh
                return _new(Hold, (key, org, state, amounts, at_us, expires_us))
            writer.restart(database)  # some account has no room for it
    return holds.reserve(database, writer, ask)


def settle(database: Database, writer: Writer, ended: tuple[str, str, Sequence[Prepared], int]) -> list[Outcome]:
    """As `holds.settle` of the key, its organisation, the entries and the moment."""
    key, org, entries, now_us = ended
    named = key, org
    made: Made | None = writer.book.made.pop(named, None)
    try:
        if made is not None and len(entries) == 1:
            if _settle(database, writer, named, made, entries[0], now_us):
                return ["added"]
            writer.restart(database)
        return holds.settle(database, writer, key, org, entries, now_us)
    except UnicodeEncodeError:
        return holds.settle(database, writer, key, org, writer.clean(database, entries), now_us)


def _settle(
    database: Database, writer: Writer, named: tuple[str, str], made: Made, entry: Prepared, now_us: int
) -> bool:
    """Whether the event is kept and posted; if not, the transaction is to be begun again."""
    number, at_us, held, held_moves, plan, fresh = made
    if entry.row[AT] != at_us:
        entry = entry.dated(at_us)
    event, book = entry.event, writer.book
    if book.moment is not database.moment:
        book.current(database)
    who, provider, model, requested = plan.subject
    if (
        plan.home is not book.plans
        or event.attribution is not who
        or event.model != model
        or event.provider != provider
        or event.requested_model != requested
    ):
        other = plan_for(database, book, subject_of(event), at_us)
        if other is None or other.accounts != plan.accounts:
            return False
        plan = other
    posting = plan.posting(event, held)
    if posting is None or not writer.insert_new(database, entry):
        return False
    rows, moves = posting
    run, changed = database.run, database.changed
    before = changed()
    key, org = named
    if not fresh:
        run(REMEMBER, (key, org, "settled"))
    run(END, (key, org, number, held_moves, not fresh))
    database.run_many(SETTLE, rows)
    if changed() - before != len(plan.accounts) + (1 if fresh else 2):
        plan.home.pop(plan.key, None)  # it was not as it said: made anew, once for all that is held by it
        plan.home = {}
        return False
    run(ENTRY, (now_us, "settle", number, event.id, moves))
    return True
