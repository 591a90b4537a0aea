"""The budgets a ledger keeps: set, changed, removed, each version for ever; how they stand; who was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from farthing.amounts import Amounts
from farthing.errors import InputError
from farthing.event import from_us
from farthing.ledger.alerts import Alert, alert_of
from farthing.ledger.beside import keep_beside
from farthing.ledger.engine import Database
from farthing.ledger.sheet import ACTIVE, Book, Sheet, moves_text, spent, subject_from
from farthing.policy import Budget, Rule, Rules, key_fields, org_of

Change = Literal["added", "changed", "unchanged", "removed"]

_NEWEST = "SELECT action, series, policy FROM budgets WHERE org = ? AND name = ? ORDER BY version DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One account as it stands, in the budget's unit.

    place    its scope in words; limit: the budget's, and what was granted for this window; None: it lists models
    posted   spent; reserved: held by calls under way
    start_us, end_us  its window; an end of None never comes
    held, settled     of settled holds: what was held, and what it came to
    """

    budget: Budget
    account: int | None
    key: str
    place: str
    start_us: int
    end_us: int | None
    posted: int = 0
    reserved: int = 0
    granted: int = 0
    held: int = 0
    settled: int = 0

    @property
    def org(self) -> str:
        """Whose it is; `*` of a budget for each organisation that none has used yet."""
        return org_of(self.budget, self.key)

    @property
    def limit(self) -> int | None:
        """What the account may come to in this window."""
        return None if self.budget.limit is None else self.budget.limit + self.granted

    @property
    def remaining(self) -> int | None:
        """What may still be asked for; 0 where it is overspent."""
        return None if self.limit is None else max(0, self.limit - self.posted - self.reserved)

    @property
    def percent(self) -> float:
        """Spent and held, in hundredths of the limit."""
        if not self.limit:
            return 100.0 if self.posted + self.reserved else 0.0
        return (self.posted + self.reserved) / self.limit * 100

    @property
    def inflation(self) -> float | None:
        """How many times more was held than calls came to; None before the first settled one."""
        return self.held / self.settled if self.settled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a budget: who set or removed it, when and why; or that an account of it was `granted` more."""

    version: int
    at_us: int
    action: str
    budget: Budget
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Somebody is asked whether an account of `org` may go over its limit by `amount`.

    state: pending, granted, refused; expired, where nobody has answered before the account's window was over.
    """

    number: int
    at_us: int
    budget: Budget | None
    org: str
    place: str
    model: str | None
    amount: int
    state: str
    by: str | None = None
    reason: str | None = None


def put(database: Database, book: Book, budget: Budget, by: str | None, reason: str | None, now_us: int) -> Change:
    """Set a budget. One that counts other calls than before opens with what its window has spent and holds."""
    found = database.rows(_NEWEST, (budget.org, budget.name))
    policy = budget.to_json()
    old = found[0] if found and found[0][0] != "removed" else None
    if old is not None and old[2] == policy:
        return "unchanged"
    seen, latest = database.rows(
        "SELECT (SELECT coalesce(max(seq), 0) FROM events), max((SELECT coalesce(max(at_us), 0) FROM events),"
        " (SELECT coalesce(max(last_us), 0) FROM segments))"
    )[0]
    series = None
    if old is not None and Budget.from_json(old[2]).shape == budget.shape:
        series, seen, latest = database.rows(
            "SELECT series, seen, latest_us FROM budgets WHERE series = ? LIMIT 1", (old[1],)
        )[0]
    version = _append(database, (now_us, budget.org, budget.name, "set", series, seen, latest, policy, by, reason))
    book.change(database)
    if series is None and budget.limit is not None and budget.window != "call":
        rule = next(rule for rule in book.rules.all if rule.series == version)
        sheet = Sheet(database, book, now_us)
        span = rule.spans(now_us)
        for key, amount in sorted(spent(database, rule, span).items()):
            if amount or not key_fields(budget):
                sheet.open(rule, key, span, amount)
        _take_in_holds(sheet, rule)
        sheet.flush("open", note=f"budget {budget.name!r} of {budget.org}")
    keep_beside(database)
    return "added" if old is None else "changed"


def _take_in_holds(sheet: Sheet, rule: Rule) -> None:
    """What calls under way hold counts in a new budget, too: else it could be spent a second time."""
    for org, name, at_us, held, call, *amounts in sheet.database.rows(
        "SELECT org, key, at_us, moves, call, usd, tokens, calls FROM holds ORDER BY number"
    ):
        key = rule.key(subject_from(json.loads(call)))
        amount = Amounts(*amounts).of(rule.budget.unit)
        if key is None or not amount:
            continue
        line = sheet.account(rule, key, at_us)
        line.reserved += amount
        moves = moves_text([*json.loads(held), (line.id, 0, amount, 0)])
        sheet.database.execute("UPDATE holds SET moves = ? WHERE key = ? AND org = ?", (moves, name, org))


def _append(database: Database, row: tuple[Any, ...]) -> int:
    """A new version; where no series goes on, it opens one."""
    return int(
        database.rows(
            "INSERT INTO budgets (version, at_us, org, name, action, series, seen, latest_us, policy, by, reason)"
            " SELECT n, ?, ?, ?, ?, coalesce(?, n), ?, ?, ?, ?, ?"
            " FROM (SELECT coalesce(max(version), 0) + 1 AS n FROM budgets) RETURNING version",
            row,
        )[0][0]
    )


def remove(
    database: Database, book: Book, org: str, name: str, by: str | None, reason: str | None, now_us: int
) -> Change:
    """Remove a budget; its history stays. InputError where there is none."""
    found = database.rows(_NEWEST, (org, name))
    if not found or found[0][0] == "removed":
        raise InputError(f"no budget {name!r} in organisation {org!r}{_known(database, org)}")
    _, series, policy = found[0]
    _append(database, (now_us, org, name, "removed", series, 0, 0, policy, by, reason))
    book.change(database)
    keep_beside(database)
    return "removed"


def _known(database: Database, org: str) -> str:
    names = [row[1] for row in database.rows(ACTIVE) if row[0] == org]
    return f": known are {', '.join(sorted(names))}" if names else ": there are none"


def history(rows: Sequence[Sequence[Any]]) -> list[Version]:
    """Versions from rows of (version, at_us, action, policy, by, reason)."""
    return [
        Version(version=v, at_us=at, action=action, budget=Budget.from_json(policy), by=by, reason=reason)
        for v, at, action, policy, by, reason in rows
    ]


def grants(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[Version]:
    """What was granted above limits, by resets and approvals, oldest first; the reason says how much, whom and why."""
    if not rows("SELECT 1 FROM accounts WHERE granted <> 0 LIMIT 1"):
        return []
    found = []
    for at_us, granted, key, version, policy, note in rows(_GRANTS):
        budget, who, said = Budget.from_json(policy), None, note
        if (told := _BY.fullmatch(note)) is not None:
            who, said = told[1] if told[1] != "somebody" else None, told[2]
        more = f"{budget.amount_text(int(granted))} more for {Rule(budget).place(key)}: {said}"
        found.append(Version(version=version, at_us=at_us, action="granted", budget=budget, by=who, reason=more))
    return found


_BY = re.compile(r"(?:reset )?by (.+?): (.*)", re.DOTALL)
_GRANTS = """
SELECT e.at_us, m.value ->> 3, a.key, b.version, b.policy, e.note
FROM entries e JOIN json_each(e.moves) m JOIN accounts a ON a.id = m.value ->> 0 JOIN budgets b ON b.series = a.series
WHERE e.note IS NOT NULL AND m.value ->> 3 <> 0
  AND b.version = (SELECT max(version) FROM budgets n WHERE n.series = a.series AND n.at_us <= e.at_us)
ORDER BY e.seq
"""


def standings(database: Database, rules: Rules, now_us: int) -> list[Standing]:
    """Every account of the windows around this moment; budgets that nobody has used yet, too."""
    found: list[Standing] = []
    for rule in rules.all:
        span = rule.spans(now_us)
        rows = database.rows(
            "SELECT id, key, start_us, end_us, posted, reserved, granted, held, settled FROM accounts"
            " WHERE series = ? AND start_us = ? ORDER BY key",
            (rule.series, span[0]),
        )
        for account, key, start, end, *amounts in rows:
            posted, reserved, granted, held, settled = map(int, amounts)
            found.append(
                Standing(
                    budget=rule.budget,
                    account=account,
                    key=key,
                    place=rule.place(key),
                    start_us=start,
                    end_us=end,
                    posted=posted,
                    reserved=reserved,
                    granted=granted,
                    held=held,
                    settled=settled,
                )
            )
        if not rows:
            place = rule.budget.scope_text
            found.append(
                Standing(budget=rule.budget, account=None, key="", place=place, start_us=span[0], end_us=span[1])
            )
    return found


def alerts(database: Database, org: str | None, since_us: int | None) -> list[Alert]:
    """The rules that fired, the latest first; of one organisation and since a moment, where given."""
    rows = database.rows(
        'SELECT b.policy, a.key, a.rule, a.start_us, a.first_us, a.last_us, a."limit", a.times, a.facts FROM alerts a'
        " JOIN budgets b ON b.version = (SELECT max(version) FROM budgets n WHERE n.series = a.series)"
        " WHERE a.last_us >= ? ORDER BY a.last_us DESC, a.seq DESC",
        (since_us or 0,),
    )
    found = [alert_of(Budget.from_json(policy), rest) for policy, *rest in rows]
    return [one for one in found if org in (None, one.org)]


_APPROVALS = """
SELECT p.number, p.at_us, p.facts, p.amount,
  CASE WHEN p.state = 'pending' AND a.end_us <= ? THEN 'expired' ELSE p.state END AS state, p.by, p.reason,
  (SELECT policy FROM budgets b WHERE b.series = a.series ORDER BY version DESC LIMIT 1), a.key
FROM approvals p JOIN accounts a ON a.id = p.account
"""


def approvals(database: Database, *, pending_only: bool, now_us: int) -> list[Approval]:
    """What was asked for, the latest first."""
    found = []
    for number, at_us, facts, amount, state, by, reason, policy, key in database.rows(
        f"{_APPROVALS} ORDER BY p.number DESC", (now_us,)
    ):
        if pending_only and state != "pending":
            continue
        said, budget = json.loads(facts), None if policy is None else Budget.from_json(policy)
        found.append(
            Approval(
                number=number,
                at_us=at_us,
                budget=budget,
                org="default" if budget is None else org_of(budget, key),
                place=said["place"],
                model=said.get("model"),
                amount=int(amount),
                state=state,
                by=by,
                reason=reason,
            )
        )
    return found


def decide(
    database: Database,
    book: Book,
    number: int,
    *,
    grant: bool,
    amount: int | None,
    by: str | None,
    reason: str | None,
    now_us: int,
) -> None:
    """Grant or refuse an approval. Granted, its account may go over its limit by the amount, in this window."""
    found = database.rows(
        "SELECT p.account, p.amount, p.state, a.end_us FROM approvals p JOIN accounts a ON a.id = p.account"
        " WHERE p.number = ?",
        (number,),
    )
    if not found or found[0][2] != "pending":
        state = f"is {found[0][2]} already" if found else "does not exist"
        raise InputError(f"approval {number} {state}: see the pending ones")
    end_us = found[0][3]
    if end_us is not None and end_us <= now_us:
        end = f"{from_us(end_us):%Y-%m-%d %H:%M} UTC"
        raise InputError(f"approval {number} was for a window that ended at {end}: a new call is to ask anew")
    database.execute(
        "UPDATE approvals SET state = ?, decided_us = ?, by = ?, reason = ? WHERE number = ?",
        ("granted" if grant else "refused", now_us, by, reason, number),
    )
    if grant:
        grant_to(database, book, found[0][0], int(found[0][1]) if amount is None else amount, _note(by, reason), now_us)


def grant_to(database: Database, book: Book, account: int, amount: int, note: str, now_us: int) -> None:
    """Let an account come to so much more in its window, as an entry that says who did it and why."""
    sheet = Sheet(database, book, now_us)
    sheet.line(account).granted += amount
    sheet.flush("grant", note=note)
    book.change(database)  # its thresholds lie elsewhere now


def reset(database: Database, book: Book, name: str, org: str, note: str, now_us: int, *, held: bool) -> int:
    """Give the accounts of a budget their limit again, as if nothing were spent, nor held if so asked. How many."""
    done = 0
    for one in standings(database, book.current(database), now_us):
        used = one.posted + one.reserved * held
        if (one.budget.name, one.budget.org) == (name, org) and one.account is not None and used > one.granted:
            grant_to(database, book, one.account, used - one.granted, note, now_us)
            done += 1
    return done


def _note(by: str | None, reason: str | None) -> str:
    return f"by {by or 'somebody'}: {reason or 'approved'}"
