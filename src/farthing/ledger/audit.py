"""Proof that accounts, entries, holds and events say the same: what `farthing verify` asks of the budgets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from farthing.ledger.engine import Database
from farthing.ledger.sheet import Book, spent
from farthing.policy import Rule
from farthing.windows import CALENDAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """An account whose amounts are not what they should be. what: posted, reserved, entries or missing."""

    what: str
    budget: str
    place: str
    kept: int
    expected: int

    def __str__(self) -> str:
        return f"{self.budget} ({self.place}): {self.what} is {self.kept}, expected {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """How many accounts, entries and open holds were compared, and what did not agree."""

    accounts: int
    entries: int
    holds: int
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def holds_true(self) -> bool:
        """Whether everything agrees."""
        return not self.mismatches


def audit(database: Database) -> Audit:
    """Compares, in one transaction, be it one that reads: accounts with entries, with open holds, and with events."""
    rules = {rule.series: rule for rule in Book().current(database).all}
    rows = database.rows("SELECT id, series, key, start_us, end_us, posted, reserved, granted FROM accounts")
    wrong: list[Mismatch] = []
    by_window: dict[tuple[int, int, int | None], dict[str, int]] = {}

    def differs(what: str, series: int, key: str, kept: int, expected: int) -> None:
        if kept != expected:
            rule = rules.get(series)
            name, place = (rule.budget.name, rule.place(key)) if rule is not None else (f"series {series}", key)
            wrong.append(Mismatch(what=what, budget=name, place=place, kept=kept, expected=expected))

    posted, reserved, granted, entries = _replayed(database)
    held, holds = _held(database)
    for account, series, key, start, end, *amounts in rows:
        has_posted, has_reserved, has_granted = map(int, amounts)
        differs("posted by its entries", series, key, posted[account], has_posted)
        differs("reserved by its entries", series, key, reserved[account], has_reserved)
        differs("granted by its entries", series, key, granted[account], has_granted)
        differs("reserved", series, key, has_reserved, held[account])
        by_window.setdefault((series, start, end), {})[key] = has_posted
    for (series, start, end), accounts in by_window.items():
        if (rule := rules.get(series)) is not None:
            for key, expected in _expected(database, rule, (start, end), accounts):
                differs("posted", series, key, accounts.get(key, 0), expected)
    return Audit(accounts=len(rows), entries=entries, holds=holds, mismatches=tuple(wrong))


def _replayed(database: Database) -> tuple[Counter[int], Counter[int], Counter[int], int]:
    """What the entries add up to: (posted, reserved, granted by account, how many entries)."""
    posted: Counter[int] = Counter()
    reserved: Counter[int] = Counter()
    granted: Counter[int] = Counter()
    last = count = 0
    while page := database.rows("SELECT seq, moves FROM entries WHERE seq > ? ORDER BY seq LIMIT 5000", (last,)):
        last = page[-1][0]
        count += len(page)
        for _, moves in page:
            for account, p, r, g in json.loads(moves):
                posted[account] += p
                reserved[account] += r
                granted[account] += g
    return posted, reserved, granted, count


def _held(database: Database) -> tuple[Counter[int], int]:
    """What the open holds add up to by account, and how many they are."""
    held: Counter[int] = Counter()
    rows = database.rows("SELECT moves FROM holds")
    for (moves,) in rows:
        for account, _, amount, _ in json.loads(moves):
            held[account] += amount
    return held, len(rows)


def _expected(
    database: Database, rule: Rule, span: tuple[int, int | None], accounts: dict[str, int]
) -> list[tuple[str, int]]:
    """What the events say of each account of a window; of one that is not there, where there should be one."""
    sums = spent(database, rule, span, known_only=False)
    before = spent(database, rule, span) if rule.budget.window in CALENDAR else {}
    found = [(key, sums.get(key, 0)) for key in accounts]
    # An account of a calendar window is opened by its first call: events of before the budget have none until then.
    return found + [(key, amount) for key, amount in sums.items() if key not in accounts and amount != before.get(key)]
