"""The life of a hold, each step one transaction: reserve, dispatch, top up, extend, settle, release, expire.

A hold fits all budgets that cover its call, or none is touched. What a call came to is posted in full, even above its
hold: the money is spent. A hold that nobody ends is freed if its call never left, else it is posted as estimated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from farthing.amounts import Amounts
from farthing.errors import InputError, LedgerError
from farthing.event import EMPTY, Event, new_id
from farthing.ledger.engine import Database
from farthing.ledger.late import estimate_key, settled_late
from farthing.ledger.rows import ID, MOST_COUNT, Prepared, prepare, to_json
from farthing.ledger.sheet import SWEEP_US, Book, Line, Sheet, moves_text, record_alert, refusal_of, subject_from
from farthing.ledger.store import Outcome
from farthing.ledger.writer import Writer
from farthing.policy import Budget, Refusal, Rule, Subject, fits, unfit
from farthing.usage import Usage

State = Literal["held", "dispatched", "settled", "released", "expired"]
"""held: not yet gone; dispatched: gone, its end not known; settled, released (never went), expired: over."""

LOT = 100
KEEP_US = 7 * 86_400 * 1_000_000
"""Holds that are over are forgotten so long after they were made; those that expired never."""
_INT64 = 2**63

_ALL = "at_us, expires_us, usd, tokens, calls, input, moves, call"
_FIND_OPEN = f"SELECT number, state, {_ALL}, named FROM holds WHERE key = ? AND org = ?"
_FIND_ENDED = f"SELECT number, state, {_ALL}, 1 FROM ended_holds WHERE key = ? AND org = ?"
_OPEN = ("held", "dispatched")
KEEP = f"INSERT INTO holds (key, org, number, named, state, {_ALL}) VALUES ({', '.join('?' * 13)})"
_IS_DUE = "SELECT 1 FROM holds WHERE expires_us <= ? LIMIT 1"
_DISPATCH = "UPDATE holds SET state = 'dispatched' WHERE key = ? AND org = ?"
_DROP = "DELETE FROM holds WHERE key = ? AND org = ?"
REMEMBER = (
    f"INSERT INTO ended_holds (key, org, number, state, {_ALL})"
    f" SELECT key, org, number, ?3, {_ALL} FROM holds WHERE key = ?1 AND org = ?2"
)
"""(key, organisation, how it ended)"""


class Kept(NamedTuple):
    """A hold as the ledger has it; `moves` and `call` are JSON.

    number  the entry that reserved it
    named   how often its key was said, where it may be said again; 0: the key is ours
    """

    number: int
    state: str
    at_us: int
    expires_us: int
    usd: int | None
    tokens: int
    calls: int
    input: int | None
    moves: str
    call: str
    named: int


Places = tuple[tuple[int, int], ...]
"""(account, amount) of each budget that a hold counts against, in the order of their accounts."""


class Ask(NamedTuple):
    """A hold that is asked for.

    key      names it in its organisation; fresh: nobody can have used the key before, or will ask with it again
    amounts  what the call is expected to come to
    gone     the call leaves at once: reserve and dispatch in one
    input    how many tokens go in, where that is known; context: of the request. They are for the event that is made
             of it, should its end never be heard of
    allowed  budgets of one call that somebody lets this one go over
    """

    key: str
    subject: Subject
    amounts: Amounts
    at_us: int
    expires_us: int
    gone: bool = False
    fresh: bool = False
    input: int | None = None
    context: Mapping[str, Any] = EMPTY
    allowed: tuple[Budget, ...] = ()

    @property
    def state(self) -> State:
        """What the hold will be."""
        return "dispatched" if self.gone else "held"


class Hold(NamedTuple):
    """A hold as the ledger has it."""

    key: str
    org: str
    state: State
    amounts: Amounts
    at_us: int
    expires_us: int


class DueFirst(LedgerError):
    """A call would be refused while holds are due: to be ended first, each lot in a transaction of its own."""


class Conflict(NamedTuple):
    """The key is taken by a hold of other amounts, or in other budgets."""

    known: Hold


def must_fit(amounts: Amounts) -> None:
    """InputError where an amount is none, or more tokens than an event can have: what is held may become one."""
    usd, tokens, calls = amounts
    whole = type(tokens) is type(calls) is int and (usd is None or type(usd) is int)
    if not whole or not 0 <= (usd or 0) | tokens | calls < _INT64:  # their bits together: none is negative or too great
        raise InputError(f"a hold of {amounts!r}: amounts must be whole numbers of 0 or more that fit 64 bits")
    if tokens > MOST_COUNT:
        raise InputError(f"a hold of {tokens} tokens: the ledger keeps counts up to {MOST_COUNT}; check max_tokens")


def _places(known: Kept) -> Places:
    return tuple((account, amount) for account, _, amount, _ in json.loads(known.moves))


def _hold_of(known: Kept, key: str, org: str) -> Hold:
    state, amounts = cast(State, known.state), Amounts(known.usd, known.tokens, known.calls)
    return Hold(key, org, state, amounts, known.at_us, known.expires_us)


def _find(database: Database, key: str, org: str) -> Kept | None:
    found = database.rows(_FIND_OPEN, (key, org)) or database.rows(_FIND_ENDED, (key, org))
    return Kept(*found[0]) if found else None


def find(database: Database, key: str, org: str) -> Hold | None:
    """The hold of this key."""
    known = _find(database, key, org)
    return None if known is None else _hold_of(known, key, org)


def reserve(database: Database, writer: Writer, ask: Ask) -> Hold | Conflict | tuple[Refusal, ...]:
    """The hold; or the refusals of the budgets that it does not fit, hard ones among them: then nothing is held.

    The same key again: the hold that it named, or a Conflict where the amounts or the budgets differ.
    """
    must_fit(ask.amounts)
    book = writer.book
    if not ask.fresh and (known := _find(database, ask.key, ask.subject.who.org)) is not None:
        return _again(database, book, known, ask)
    if not ask.fresh and _settled_before(database, writer, ask):
        return Hold(ask.key, ask.subject.who.org, "settled", ask.amounts, ask.at_us, ask.expires_us)
    if not book.swept_us <= ask.at_us < book.swept_us + SWEEP_US:
        expire(database, writer, ask.at_us)
        _prune(database, book, ask.at_us)
        book.swept(ask.at_us)
    sheet, lines, refusals = _weighed(database, writer, ask, ask.at_us)
    if _tell(sheet, refusals):
        told = tuple(_with_approval(sheet, refusal) for refusal, _, _ in refusals)
        sheet.flush("open")
        return told
    return _hold(sheet, ask, lines)


def refusals(database: Database, writer: Writer, ask: Ask) -> tuple[Refusal, ...]:
    """The refusals that `reserve` would meet, as of now. Nothing is held, and nobody is told."""
    must_fit(ask.amounts)
    sheet, _, found = _weighed(database, writer, ask, ask.at_us)
    sheet.flush("open")
    return tuple(refusal for refusal, _, _ in found)


def _weighed(
    database: Database, writer: Writer, ask: Ask, now_us: int, in_all: Amounts | None = None
) -> tuple[Sheet, list[tuple[Line, int]], list[tuple[Refusal, Rule, str]]]:
    """`_weigh`. DueFirst where a hard budget has no room, and holds are due that may be in the way."""
    book = writer.book
    covering = book.current(database).covering(ask.subject)
    sheet = Sheet(database, book, now_us)
    sheet.fetch_all(covering, ask.at_us)
    lines, refusals = _weigh(sheet, covering, ask, in_all)
    full = any(refusal.why == "limit" and refusal.budget.mode == "hard" for refusal, _, _ in refusals)
    if full and database.rows(_IS_DUE, (now_us,)):
        raise DueFirst(f"holds are due and have not been ended: end them, then ask again for {ask.key}")
    return sheet, lines, refusals


def call_text(subject: Subject, context: Mapping[str, Any]) -> str:
    """Whose call it is, as a hold keeps it, with the context of its request if it has one; `subject_from` reads it."""
    names = {"provider": subject.provider, "model": subject.model, "requested": subject.requested}
    more = {"context": context} if context else {}
    return to_json({**names, "who": subject.who.to_dict(), **more})


def _again(database: Database, book: Book, known: Kept, ask: Ask) -> Hold | Conflict:
    """What asking once more comes to: the same hold, which may leave by now; in other budgets or amounts: Conflict."""
    hold = _hold_of(known, ask.key, ask.subject.who.org)
    rules = book.current(database)
    if hold.amounts != ask.amounts or rules.covering(ask.subject) != rules.covering(
        subject_from(json.loads(known.call))
    ):
        return Conflict(hold)
    database.execute("UPDATE holds SET named = max(named, 1) + 1 WHERE key = ? AND org = ?", (ask.key, hold.org))
    if ask.gone and hold.state == "held":
        database.execute(_DISPATCH, (ask.key, hold.org))
        return hold._replace(state="dispatched")
    return hold


def is_new(database: Database, writer: Writer, ask: Ask) -> bool:
    """Whether nobody has asked with this key before."""
    return ask.fresh or not (
        _find(database, ask.key, ask.subject.who.org) is not None or _settled_before(database, writer, ask)
    )


def _settled_before(database: Database, writer: Writer, ask: Ask) -> bool:
    """Whether the hold of this key was settled so long ago that only its event is remembered."""
    return writer.known_by(database, estimate_key(ask.key), ask.subject.who.org) is not None


_Weighed = tuple[list[tuple[Line, int]], list[tuple[Refusal, Rule, str]]]


def _weigh(sheet: Sheet, covering: Sequence[tuple[Rule, str]], ask: Ask, in_all: Amounts | None = None) -> _Weighed:
    """(the accounts with what is to be held in each, the refusals). Nothing is changed.

    in_all: what the call holds then, where that is more than is asked for.
    """
    lines: list[tuple[Line, int]] = []
    refusals: list[tuple[Refusal, Rule, str]] = []
    subject, amounts = ask.subject, ask.amounts
    for rule, key in covering:
        budget = rule.budget
        amount = amounts.of(budget.unit)
        counted = budget.limit is not None and budget.window != "call"
        line = sheet.account(rule, key, ask.at_us) if counted else None
        why = unfit(rule, subject, in_all or amounts)
        if why == "call":
            amount = (in_all or amounts).of(budget.unit)
            why = None if budget in ask.allowed else why
        if why is None and line is not None and not fits(line.limit, line.posted, line.reserved, amount):
            why = "limit"
        if why is not None:
            refusals.append((refusal_of(rule, key, why, line, amount, subject.asked), rule, key))
        if line is not None and amount:
            lines.append((line, amount))
    return lines, refusals


def _tell(sheet: Sheet, refusals: list[tuple[Refusal, Rule, str]]) -> bool:
    """Keeps the refusals as alerts; whether the call is refused. Then no soft budget has let it pass."""
    hard = [one for one in refusals if one[0].budget.mode == "hard"]
    for refusal, rule, key in hard or refusals:
        record_alert(sheet, rule, key, refusal.key, refusal)
    return bool(hard)


def _hold(sheet: Sheet, ask: Ask, lines: list[tuple[Line, int]]) -> Hold:
    for line, amount in lines:
        line.reserved += amount
    moves = moves_text(sorted((line.id, 0, amount, 0) for line, amount in lines))
    call = call_text(ask.subject, ask.context)
    org, number = ask.subject.who.org, sheet.flush("reserve", always=True)
    row = (ask.key, org, number, not ask.fresh, ask.state, ask.at_us, ask.expires_us, *ask.amounts, ask.input)
    sheet.database.execute(KEEP, (*row, moves, call))
    return Hold(ask.key, org, ask.state, ask.amounts, ask.at_us, ask.expires_us)


def _with_approval(sheet: Sheet, refusal: Refusal) -> Refusal:
    """The refusal; where its budget says `ask`, with the number of the approval that is now waited for."""
    short = refusal.posted + refusal.reserved + refusal.requested - refusal.limit
    asks = refusal.budget.on_exceed == "ask" and refusal.budget.mode == "hard"
    if not asks or refusal.why != "limit" or refusal.account is None:
        return refusal
    database = sheet.database
    pending = database.rows(
        "SELECT number, amount FROM approvals WHERE account = ? AND state = 'pending'", (refusal.account,)
    )
    if pending:
        number, amount = pending[0]
        if int(amount) < short:
            database.execute("UPDATE approvals SET amount = ? WHERE number = ?", (str(short), number))
        return refusal._replace(approval=number)
    facts = {"place": refusal.place, "model": refusal.model, "requested": refusal.requested, "limit": refusal.limit}
    number = database.rows(
        "INSERT INTO approvals (at_us, account, amount, state, facts) VALUES (?, ?, ?, 'pending', ?) RETURNING number",
        (sheet.at_us, refusal.account, str(short), to_json(facts)),
    )[0][0]
    return refusal._replace(approval=number)


def dispatch(database: Database, writer: Writer, key: str, org: str) -> State | None:
    """The call has left. The state it is in now: `dispatched`, or what it was if it is over; None: unknown."""
    known = _find(database, key, org)
    if known is None or known.state != "held":
        return None if known is None else cast(State, known.state)
    database.execute(_DISPATCH, (key, org))
    return "dispatched"


def extend(database: Database, writer: Writer, key: str, org: str, expires_us: int) -> bool:
    """Let the hold stand until then; whether it stands."""
    database.execute(
        "UPDATE holds SET expires_us = max(expires_us, ?) WHERE key = ? AND org = ?", (expires_us, key, org)
    )
    return database.changes() > 0


def top_up(
    database: Database, writer: Writer, key: str, org: str, more: Amounts, now_us: int
) -> Hold | tuple[Refusal, ...] | None:
    """The hold with more in it; or the refusals, and it stays as it is. None: it does not stand any more."""
    must_fit(more)
    known = _find(database, key, org)
    if known is None or known.state not in _OPEN:
        return None
    ask = Ask(key, subject_from(json.loads(known.call)), more, known.at_us, known.expires_us)
    usd = None if known.usd is None or more.usd is None else known.usd + more.usd
    raised = Amounts(usd, known.tokens + more.tokens, known.calls + more.calls)
    must_fit(raised)
    sheet, lines, refusals = _weighed(database, writer, ask, now_us, raised._replace(usd=usd or more.usd))
    if _tell(sheet, refusals):
        sheet.flush("open")
        return tuple(refusal for refusal, _, _ in refusals)
    held = dict(_places(known))
    for line, amount in lines:
        line.reserved += amount
        held[line.id] = held.get(line.id, 0) + amount
    database.execute(
        "UPDATE holds SET usd = ?, tokens = ?, calls = ?, moves = ? WHERE key = ? AND org = ?",
        (*raised, moves_text([(account, 0, amount, 0) for account, amount in held.items()]), key, org),
    )
    sheet.flush("top_up", reservation=known.number)
    return _hold_of(known, key, org)._replace(amounts=raised)


def release(database: Database, writer: Writer, key: str, org: str, now_us: int) -> bool:
    """Whether the hold was freed: only one whose call has never left can be."""
    known = _find(database, key, org)
    if known is None or known.state != "held":
        return False
    _end(database, known, key, org, "released")
    _release(database, writer, known, now_us)
    return True


def undo(database: Database, writer: Writer, key: str, org: str, now_us: int) -> bool:
    """Whether the hold was freed, its call not having been made although it may count as gone: by who asked for it,
    unless somebody else has asked with the same key. It is as if it had never been: the key may be said anew."""
    known = _find(database, key, org)
    if known is None or known.state not in _OPEN:
        return False
    if known.named > 1:
        database.execute("UPDATE holds SET named = named - 1 WHERE key = ? AND org = ?", (key, org))
        return False
    database.execute(_DROP, (key, org))
    _release(database, writer, known, now_us)
    return True


def _release(database: Database, writer: Writer, known: Kept, now_us: int) -> None:
    sheet = Sheet(database, writer.book, now_us)
    _free(sheet, _places(known))
    sheet.flush("release", reservation=known.number)


def settle(
    database: Database, writer: Writer, key: str, org: str, entries: Sequence[Prepared], now_us: int
) -> list[Outcome]:
    """What became of the events, which end the hold: kept and posted with the hold's end, or not at all.

    They are dated as the hold was. A second settlement finds its events known. Where the hold had expired after its
    call left, they correct what was posted as estimated. Without a hold they are kept and posted all the same.
    """
    book = writer.book
    known = _find(database, key, org)
    if known is not None:
        entries = [entry.dated(known.at_us) for entry in entries]
    news: list[Prepared] = []
    if known is not None and known.state in ("expired", "settled"):
        outcomes = settled_late(database, writer, entries, key, news, expired=known.state == "expired")
    else:
        outcomes = writer.insert(database, entries, news)
    sheet = Sheet(database, book, now_us)
    places: Places = ()
    if known is not None and known.state in _OPEN:
        places = _places(known)
        sheet.fetch([account for account, _ in places])
        _free(sheet, places)
    if known is not None and known.state != "settled":
        _end(database, known, key, org, "settled")
    if news and book.current(database):
        sheet.post([entry.event for entry in news])
    for account, amount in places:
        line = sheet.line(account)
        line.held += amount
        line.settled += max(0, line.posted - line.before[0])
    number = None if known is None else known.number
    sheet.flush("settle", reservation=number, event=news[0].row[ID] if news else None)
    return outcomes


def _free(sheet: Sheet, places: Places) -> None:
    for account, amount in places:
        sheet.line(account).reserved -= amount


def _end(database: Database, known: Kept, key: str, org: str, state: State) -> None:
    if known.state not in _OPEN:
        database.execute("UPDATE ended_holds SET state = ? WHERE key = ? AND org = ?", (state, key, org))
        return
    if known.named or state != "settled":
        database.execute(REMEMBER, (key, org, state))
    database.execute(_DROP, (key, org))


def expire(database: Database, writer: Writer, now_us: int, limit: int = LOT) -> int:
    """Frees the holds that are due; those whose call has left are posted as estimated. How many there were."""
    due = database.rows("SELECT key, org FROM holds WHERE expires_us <= ? ORDER BY expires_us LIMIT ?", (now_us, limit))
    for key, org in due:
        known = _find(database, key, org)
        assert known is not None
        sheet = Sheet(database, writer.book, now_us)
        _free(sheet, _places(known))
        _end(database, known, key, org, "expired")
        if known.state == "held":
            sheet.flush("expire", reservation=known.number)
            continue
        news: list[Prepared] = []
        writer.insert(database, [prepare(_estimated(known, key, now_us), None)], news)
        if news and writer.book.current(database):
            sheet.post([entry.event for entry in news])
        sheet.flush("estimate", reservation=known.number, event=news[0].row[ID] if news else None)
    return len(due)


def _estimated(known: Kept, key: str, now_us: int) -> Event:
    """The event of a call that left and was not heard of again: what was held for it."""
    call = json.loads(known.call)
    subject = subject_from(call)
    into = min(known.tokens if known.input is None else known.input, known.tokens)
    status = "unpriced" if known.usd is None else "free" if known.usd == 0 else "reported"
    return Event(
        id=new_id(),
        dedupe_key=estimate_key(key),
        at_us=known.at_us,
        recorded_at_us=now_us,
        attribution=subject.who,
        provider=subject.provider,
        model=subject.model,
        requested_model=subject.requested,
        usage=Usage(input_tokens=into, output_tokens=known.tokens - into),
        usage_status="estimated",
        context=call.get("context") or EMPTY,
        cost_pico=known.usd,
        price_status=status,
        reported_pico=known.usd if status == "reported" else None,
        price_reason="its end was never heard of: this is what was held for it",
        source="budget",
        calls=known.calls,
    )


def _prune(database: Database, book: Book, now_us: int) -> None:
    """Forget holds that are over, a few at a time. Expired ones stay: their calls may yet be heard of."""
    oldest = database.rows(
        "SELECT seq, at_us, state FROM ended_holds WHERE seq > ? ORDER BY seq LIMIT ?", (book.pruned, LOT)
    )
    if not oldest:
        book.pruned = 0  # numbers of rows that are gone are given again
    ended = []
    for seq, at_us, state in oldest:
        if at_us >= now_us - KEEP_US:
            break
        book.pruned = seq
        if state != "expired":
            ended.append((seq,))
    if ended:
        database.many("DELETE FROM ended_holds WHERE seq = ?", ended)
