"""Accounts inside a transaction: which budgets there are, what an account holds, and what moves between them.

`posted` of an account is the sum of the events of its window in its scope, whatever their source: every event that
enters the ledger is posted here, in the transaction that keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from farthing.amounts import amounts_of
from farthing.event import Attribution, Event
from farthing.ledger.alerts import OVER_ONE, Alert, Listener, alert_of
from farthing.ledger.engine import Database
from farthing.ledger.spent import hot_spent, sealed_spent
from farthing.policy import Budget, Refusal, Rule, Rules, Subject, key_fields, subject_of, values_of
from farthing.windows import CALENDAR, Span

_INT64 = 2**63 - 1
_KNOWN_ACCOUNTS = 50_000
_KNOWN_HOLDS = 10_000
SWEEP_US = 1_000_000
"""Holds that are due are looked for at most so often, and whenever a call would be refused."""
GENERATION = "SELECT value FROM ledger_meta WHERE key = 'budgets'"
BUMP = "UPDATE ledger_meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'budgets'"
"""After it, every process reads the budgets anew."""
ACTIVE = """
SELECT org, name, series, seen, latest_us, policy, version FROM budgets b
WHERE version = (SELECT max(version) FROM budgets n WHERE n.org = b.org AND n.name = b.name) AND action <> 'removed'
ORDER BY series
"""
_ACCOUNT = "SELECT id, posted, reserved, granted, held, settled FROM accounts"

Place = tuple[int, str, int]
"""(series, key, start of the window): one account."""


class Line:
    """One account while a transaction works on it."""

    __slots__ = ("before", "granted", "held", "id", "key", "known", "posted", "reserved", "rule", "settled", "span")

    def __init__(self, row: Sequence[Any]) -> None:
        self.id: int = row[0]
        self.posted: int
        self.reserved: int
        self.granted: int
        self.held: int
        self.settled: int
        self.posted, self.reserved, self.granted, self.held, self.settled = map(int, row[1:])
        self.before = (self.posted, self.reserved, self.granted)
        self.known = self.posted  # up to here alerts have been raised
        self.rule: Rule | None = None
        self.key = ""
        self.span: Span = (0, None)

    @property
    def limit(self) -> int:
        """What the account may come to: the budget's limit and what was granted on top of it."""
        return ((self.rule and self.rule.budget.limit) or 0) + self.granted


def kept(amount: int) -> int | str:
    """An amount as the ledger keeps it: a number, or its text where 64 bits are too few."""
    return amount if -_INT64 <= amount <= _INT64 else str(amount)


def rule_of(row: Sequence[Any]) -> Rule:
    """The budget of a row of `ACTIVE`, compiled."""
    _, _, series, seen, latest, policy, _ = row
    return Rule(Budget.from_json(policy), series, seen, latest)


class Book:
    """What a process knows of the budgets: read again when another process has changed them."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.swept_us = -SWEEP_US  # when holds that are due were last looked for
        self.pruned = 0  # the last ended hold that was looked at for being forgotten
        self.listeners: tuple[Listener, ...] = ()
        self.plans: dict[Any, Any] = {}  # of plans.py
        self.made: dict[tuple[str, str], Any] = {}  # (key, org): holds made here and not ended; of plans.py
        self.generation = "0"
        self.moment: object = None  # of the database, as of which the rules are current
        self._ids: dict[Place, int] = {}
        self.alerts: list[Alert] = []

    def current(self, database: Database) -> Rules:
        """The active budgets, as of this transaction."""
        if self.moment is not database.moment:
            generation = database.rows(GENERATION)[0][0]
            if generation != self.generation:
                self.load(database.rows(ACTIVE), generation)
            self.moment = database.moment
        return self.rules

    def change(self, database: Database) -> None:
        """The budgets have been changed in this transaction: every process is to read them again, this one now."""
        database.execute(BUMP)
        self.moment = None
        self.current(database)

    def load(self, rows: Iterable[Sequence[Any]], generation: str) -> None:
        """Take over the rows of `ACTIVE`."""
        self.rules = Rules(map(rule_of, rows))
        self.generation = generation
        self._ids = {}
        self.plans = {}

    def forget(self) -> None:
        """A transaction was undone: what was learned in it is not so."""
        self.moment = None
        self.generation = "unknown"
        self.pruned = 0
        self._ids = {}
        self.plans = {}
        self.alerts = []

    def fresh(self) -> None:
        """Know nothing of the ledger, which is another now; who listens stays."""
        self.forget()
        self.rules = Rules()
        self.swept_us = -SWEEP_US
        self.made = {}

    def id_of(self, place: Place) -> int | None:
        """The number of an account, if it is known."""
        return self._ids.get(place)

    def learn(self, place: Place, account: int) -> None:
        """Remember the number of an account."""
        if len(self._ids) >= _KNOWN_ACCOUNTS:
            self._ids = {}
        self._ids[place] = account

    def swept(self, at_us: int) -> None:
        """Holds that are due have been looked for. Of those made here the oldest are read again where they end."""
        self.swept_us = at_us
        for named in list(self.made)[:-_KNOWN_HOLDS]:
            del self.made[named]

    def raise_alert(self, alert: Alert) -> None:
        """To be told when the transaction is kept."""
        self.alerts.append(alert)

    def announce(self) -> None:
        """Tell the listeners what has happened; called outside the transaction. Listeners must not raise."""
        if self.alerts:
            alerts, self.alerts = self.alerts, []
            for alert in alerts:
                for listener in self.listeners:
                    listener(alert)

    def post(self, database: Database, events: Sequence[Event], at_us: int) -> None:
        """Post events that have just been kept to the accounts they belong to."""
        if events and self.current(database):
            sheet = Sheet(database, self, at_us)
            sheet.post(events)
            sheet.flush("post", event=events[0].id if len(events) == 1 else None)


class Sheet:
    """The accounts that one transaction touches; `flush` writes what has changed, as one entry."""

    def __init__(self, database: Database, book: Book, at_us: int) -> None:
        self.database = database
        self.book = book
        self.at_us = at_us
        self._lines: dict[int, Line] = {}

    def fetch(self, accounts: Sequence[int]) -> None:
        """Read accounts that are known by number, all at once."""
        wanted = [one for one in accounts if one not in self._lines]
        if wanted:
            sql = f"{_ACCOUNT} WHERE id IN ({','.join('?' * len(wanted))})"
            for row in self.database.rows(sql, wanted):
                self._lines[row[0]] = Line(row)

    def line(self, account: int) -> Line:
        """An account by its number."""
        if account not in self._lines:
            self.fetch((account,))
        return self._lines[account]

    def fetch_all(self, covering: Iterable[tuple[Rule, str]], at_us: int) -> None:
        """Read at once what is known by number of the accounts of a call."""
        known = (self.book.id_of((rule.series, key, rule.spans(at_us)[0])) for rule, key in covering)
        self.fetch([one for one in known if one is not None])

    def account(self, rule: Rule, key: str, at_us: int) -> Line:
        """The account of a budget around a moment; opened, with what its window has spent, where it is new."""
        span = rule.spans(at_us)
        place = (rule.series, key, span[0])
        known = self.book.id_of(place)
        if known is not None:
            line = self.line(known)
        else:
            found = self.database.rows(f"{_ACCOUNT} WHERE series = ? AND key = ? AND start_us = ?", place)
            if found:
                line = self._lines.setdefault(found[0][0], Line(found[0]))
            else:
                line = self.open(rule, key, span, self._spent_before(rule, key, span))
            self.book.learn(place, line.id)
        line.rule, line.key, line.span = rule, key, span
        return line

    def _spent_before(self, rule: Rule, key: str, span: Span) -> int:
        """What events of before the budget have spent. Windows without dates were all opened with it."""
        if rule.budget.window not in CALENDAR or span[0] > rule.latest_us:
            return 0
        return spent(self.database, rule, span, key=key).get(key, 0)

    def open(self, rule: Rule, key: str, span: Span, posted: int) -> Line:
        """A new account."""
        row = (rule.series, key, *span, kept(posted))
        found = self.database.rows(
            "INSERT INTO accounts (series, key, start_us, end_us, posted) VALUES (?, ?, ?, ?, ?) RETURNING id", row
        )
        line = Line((found[0][0], posted, 0, 0, 0, 0))
        line.before = (0, 0, 0)
        line.known = 0
        line.rule, line.key, line.span = rule, key, span
        self._lines[line.id] = line
        return line

    def post(self, events: Sequence[Event]) -> None:
        """Add events to the accounts that cover them."""
        rules = self.book.rules
        added: dict[tuple[int, str, int], list[Any]] = {}
        for event in events:
            covering = rules.covering(subject_of(event))
            if not covering:
                continue
            amounts = amounts_of(event)
            if len(events) == 1:
                self.fetch_all(covering, event.at_us)
            for rule, key in covering:
                amount = amounts.of(rule.budget.unit)
                if not amount or rule.budget.limit is None:
                    continue
                if rule.budget.window == "call":
                    if event.corrects is None and amount > rule.budget.limit:
                        over = refusal_of(rule, key, "", None, amount, event.model)
                        record_alert(self, rule, key, OVER_ONE, over, always=len(events) == 1)
                else:
                    place = (rule.series, key, rule.spans(event.at_us)[0])
                    known = added.get(place)
                    if known is None:
                        added[place] = [rule, key, event.at_us, amount]
                    else:
                        known[3] += amount
        for place in sorted(added):
            rule, key, at_us, amount = added[place]
            self.account(rule, key, at_us).posted += amount

    def flush(
        self,
        kind: str,
        *,
        reservation: int | None = None,
        event: str | None = None,
        note: str | None = None,
        always: bool = False,
    ) -> int | None:
        """Write what has changed since the last flush, and the entry that says so; raise alerts. The entry's number.

        Where nothing has changed and there is no note, there is no entry, or an empty one where there must be one.
        """
        moves: list[tuple[int, ...]] = []
        rows: list[tuple[Any, ...]] = []
        for account in sorted(self._lines):
            line = self._lines[account]
            posted, reserved, granted = line.before
            if (line.posted, line.reserved, line.granted) == line.before:
                continue
            moves.append((account, line.posted - posted, line.reserved - reserved, line.granted - granted))
            rows.append(
                (
                    kept(line.posted),
                    kept(line.reserved),
                    kept(line.granted),
                    kept(line.held),
                    kept(line.settled),
                    account,
                )
            )
            line.before = (line.posted, line.reserved, line.granted)
            if line.posted > line.known:
                self._cross(line)
        if rows:
            self.database.many(
                "UPDATE accounts SET posted = ?, reserved = ?, granted = ?, held = ?, settled = ? WHERE id = ?", rows
            )
        if not moves and note is None and not always:
            return None
        self.database.execute(
            "INSERT INTO entries (at_us, kind, reservation, event, moves, note) VALUES (?, ?, ?, ?, ?, ?)",
            (self.at_us, kind, reservation, event, moves_text(moves), note),
        )
        return self.database.last_number()

    def _cross(self, line: Line) -> None:
        """Raise the alerts of the thresholds that were passed."""
        rule, before = line.rule, line.known
        line.known = line.posted
        if rule is None or not rule.budget.limit:
            return
        for share, mark in rule.marks(line.granted):
            if before < mark <= line.posted:
                refusal = refusal_of(rule, line.key, "", line, 0, "")
                record_alert(self, rule, line.key, f"threshold:{share.normalize():f}", refusal)


def moves_text(moves: Sequence[tuple[int, ...]]) -> str:
    """Moves as JSON; the numbers may be longer than 64 bits."""
    return f"[{','.join(f'[{a},{p},{r},{g}]' for a, p, r, g in moves)}]"


def refusal_of(rule: Rule, key: str, why: str, line: Line | None, requested: int, model: str) -> Refusal:
    """A refusal, with the account as it is."""
    budget = rule.budget
    return Refusal(
        budget=budget,
        place=rule.place(key),
        why=why,
        limit=line.limit if line is not None else budget.limit or 0,
        posted=line.posted if line is not None else 0,
        reserved=line.reserved if line is not None else 0,
        requested=requested,
        span=line.span if line is not None else (0, None),
        model=model,
        account=line.id if line is not None else None,
    )


def record_alert(sheet: Sheet, rule: Rule, key: str, name: str, facts: Refusal, *, always: bool = False) -> None:
    """Keep that a rule fired; the first time of its account and window, or always, it is also told."""
    said = {
        "place": facts.place,
        "posted": facts.posted,
        "reserved": facts.reserved,
        "requested": facts.requested,
        "end_us": facts.span[1],
        "model": facts.model or None,
    }
    limit = facts.limit
    times = sheet.database.rows(
        'INSERT INTO alerts (series, key, start_us, rule, "limit", first_us, last_us, facts)'
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)"
        ' ON CONFLICT (series, key, start_us, rule, "limit") DO UPDATE SET times = times + 1, last_us = ?6'
        " RETURNING times",
        (rule.series, key, facts.span[0], name, limit, sheet.at_us, json.dumps(said, ensure_ascii=False)),
    )[0][0]
    if times == 1 or always:
        row = (key, name, facts.span[0], sheet.at_us, sheet.at_us, limit, 1, json.dumps(said))
        sheet.book.raise_alert(alert_of(rule.budget, row))


def spent(
    database: Database, rule: Rule, span: Span, *, key: str | None = None, known_only: bool = True
) -> dict[str, int]:
    """{key: what the events of a window in the budget's scope add up to}; of one key only where it is named.

    known_only: only events that were there when the budget's accounts were opened.
    """
    wanted = None if key is None else values_of(key, key_fields(rule.budget))
    sums = hot_spent(database, rule, span, wanted, known_only=known_only)
    for name, amount in sealed_spent(database, rule, span, wanted, known_only=known_only).items():
        sums[name] = sums.get(name, 0) + amount
    return sums


def subject_from(call: dict[str, Any]) -> Subject:
    """Whose call a hold is for, from what it keeps."""
    return Subject(Attribution(**call["who"]), call.get("provider"), call["model"], call.get("requested"))
