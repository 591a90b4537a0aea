"""What a ledger does for budgets, as whole intents: each is one transaction, and none hands out a transaction."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from farthing.amounts import Amounts
from farthing.event import now_us
from farthing.ledger import audit, controls, holds, plans, policies
from farthing.ledger.alerts import Alert, Listener
from farthing.ledger.audit import Audit
from farthing.ledger.beside import keep_beside, read_beside
from farthing.ledger.controls import Control, Controls
from farthing.ledger.duck import FileGone
from farthing.ledger.engine import Database
from farthing.ledger.holds import Ask, Conflict, DueFirst, Hold, State
from farthing.ledger.policies import Approval, Change, Standing, Version
from farthing.ledger.readers import Reads
from farthing.ledger.rows import mended, prepare
from farthing.ledger.sheet import ACTIVE, GENERATION, rule_of
from farthing.ledger.store import Entry, Outcome
from farthing.ledger.writer import Writer, no_text
from farthing.policy import Budget, Refusal, Rule, Rules, Subject

LOG = logging.getLogger("farthing.budgets")
_TRIES = 3


class Accounts:
    """Budgets, accounts and holds of one ledger. Safe to share between threads; every method may raise LedgerError."""

    def __init__(self, writer: Writer, reads: Callable[[], Reads], path: str | None = None) -> None:
        """path: of the ledger's file, if it has one."""
        self._writer = writer
        self._path = path
        self._compared = False
        self._reads = reads
        self.fresh()
        self.on_alert(_log)

    def fresh(self) -> None:
        """Know nothing of the ledger, which is another now: one in memory starts empty in a forked child."""
        self._rules: tuple[str, Rules] = ("0", Rules())
        self._controls: tuple[str, Controls] = ("0", Controls())
        self._writer.book.fresh()

    # --- budgets -----------------------------------------------------------------------------------------------------

    def put(
        self, budget: Budget, *, by: str | None = None, reason: str | None = None, at_us: int | None = None
    ) -> Change:
        """Sets a budget: `added`, `changed` or `unchanged`. One of other scope or window opens with what is spent."""
        at = now_us() if at_us is None else at_us
        return self._writer.transact(lambda db: policies.put(db, self._writer.book, budget, by, reason, at))

    def remove(
        self,
        name: str,
        org: str = "default",
        *,
        by: str | None = None,
        reason: str | None = None,
        at_us: int | None = None,
    ) -> Change:
        """Removes a budget; its history stays. InputError where there is none of this name."""
        at = now_us() if at_us is None else at_us
        return self._writer.transact(lambda db: policies.remove(db, self._writer.book, org, name, by, reason, at))

    def rules(self) -> Rules:
        """The active budgets, compiled; read again only when somebody has changed them."""
        generation = self._read(GENERATION)[0][0]
        if generation != self._rules[0]:
            rows = self._read(ACTIVE)
            self._rules = (generation, Rules(map(rule_of, rows)))
        if not self._compared:
            self._compare([rule.budget for rule in self._rules[1].all])
        return self._rules[1]

    def _compare(self, budgets: list[Budget]) -> None:
        """Puts right what is kept beside the ledger, where that is another one's: of before, or restored here."""
        self._compared = True
        if self._path is not None and read_beside(self._path) != budgets:
            self._writer.transact(keep_beside)

    def known_rules(self) -> Rules:
        """The active budgets as last read: for when the ledger is out of reach."""
        return self._rules[1] or self._writer.book.rules

    def budgets(self, org: str | None = None) -> list[Budget]:
        """The active budgets, of one organisation where it is named."""
        return [rule.budget for rule in self.rules().all if org in (None, rule.budget.org)]

    def history(self, name: str | None = None, org: str | None = None) -> list[Version]:
        """Every version of a budget, or of all, and what was granted above it, oldest first."""
        rows = self._read(
            'SELECT version, at_us, action, policy, "by", reason FROM budgets'
            " WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR org = ?2) ORDER BY version",
            (name, org),
        )
        granted = [one for one in policies.grants(self._read) if name in (None, one.budget.name)]
        granted = [one for one in granted if org in (None, one.budget.org)]
        return sorted((*policies.history(rows), *granted), key=lambda one: one.at_us)

    def standings(self, at_us: int | None = None) -> list[Standing]:
        """How every account stands in its window around a moment; holds that are due are ended first."""
        at = now_us() if at_us is None else at_us
        self.expire(at)
        return self._writer.transact(lambda db: policies.standings(db, self._writer.book.current(db), at))

    def alerts(self, org: str | None = None, since_us: int | None = None) -> list[Alert]:
        """The rules that fired, the latest first."""
        return self._writer.transact(lambda db: policies.alerts(db, org, since_us))

    def on_alert(self, listener: Listener) -> Callable[[], None]:
        """Tells the listener of each rule that fires by an event or hold of this process. Call the result to stop.

        It runs in the thread of the call, after the transaction, and must not raise.
        """
        book = self._writer.book
        book.listeners = (*book.listeners, listener)

        def stop() -> None:
            book.listeners = tuple(other for other in book.listeners if other is not listener)

        return stop

    # --- holds -------------------------------------------------------------------------------------------------------

    def reserve(self, ask: Ask) -> Hold | Conflict | tuple[Refusal, ...]:
        """The hold; or the refusals, and nothing is held; or a Conflict: the key names a hold of other amounts."""
        while True:
            try:
                return self._writer.transact(plans.reserve, ask)
            except DueFirst:
                self._end_due(ask.at_us)

    def refusals(self, ask: Ask) -> tuple[Refusal, ...]:
        """The refusals that `reserve` would meet; nothing is held."""
        while True:
            try:
                return self._writer.transact(lambda db: holds.refusals(db, self._writer, ask))
            except DueFirst:
                self._end_due(ask.at_us)

    def dispatch(self, key: str, org: str = "default") -> State | None:
        """The call has left: the state it is in now; None where no such hold is known."""
        return self._writer.transact(lambda db: holds.dispatch(db, self._writer, key, org))

    def settle(self, key: str, entries: Iterable[Entry], org: str = "default") -> list[Outcome]:
        """Keeps the events of a call, posts them and ends its hold, all or nothing; what became of each event."""
        prepared = [prepare(event, record) for event, record in entries]
        late: list[Outcome] = ["added"] * len(prepared)
        return self._writer.transact(plans.settle, (key, org, prepared, now_us()), late=late)

    def release(self, key: str, org: str = "default") -> bool:
        """Whether the hold was freed: only one whose call never left can be."""
        return self._writer.transact(lambda db: holds.release(db, self._writer, key, org, now_us()), late=True)

    def undo(self, key: str, org: str = "default") -> bool:
        """Frees the hold of a call that was not made, by who asked for it, unless somebody else has asked with its key;
        whether it was freed."""
        return self._writer.transact(lambda db: holds.undo(db, self._writer, key, org, now_us()), late=True)

    def extend(self, key: str, expires_us: int, org: str = "default") -> bool:
        """Lets a hold stand until then; whether it stands."""
        return self._writer.transact(lambda db: holds.extend(db, self._writer, key, org, expires_us))

    def top_up(
        self, key: str, more: Amounts, org: str = "default", at_us: int | None = None
    ) -> Hold | tuple[Refusal, ...] | None:
        """The hold with more in it; the refusals, and it stays as it is; None where it does not stand any more."""
        at = now_us() if at_us is None else at_us
        while True:
            try:
                return self._writer.transact(lambda db: holds.top_up(db, self._writer, key, org, more, at))
            except DueFirst:
                self._end_due(at)

    def expire(self, at_us: int | None = None) -> int:
        """Ends the holds that are due: freed where the call never left, else posted as estimated. How many."""
        at = now_us() if at_us is None else at_us
        done = 0
        while ended := self._end_due(at):
            done += ended
        return done

    def _end_due(self, at_us: int) -> int:
        """Ends a lot of the holds that are due: so many that others wait for it only a moment."""
        return self._writer.transact(lambda db: holds.expire(db, self._writer, at_us))

    def hold(self, key: str, org: str = "default") -> Hold | None:
        """The hold of this key."""
        return self._writer.transact(lambda db: holds.find(db, key, org))

    # --- people ------------------------------------------------------------------------------------------------------

    def approvals(self, *, pending_only: bool = True, at_us: int | None = None) -> list[Approval]:
        """What was asked of somebody, as of a moment, the latest first."""
        at = now_us() if at_us is None else at_us
        return self._writer.transact(lambda db: policies.approvals(db, pending_only=pending_only, now_us=at))

    def decide(
        self,
        number: int,
        *,
        grant: bool,
        amount: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        at_us: int | None = None,
    ) -> None:
        """Grants or refuses an approval; `amount` over the limit, in the budget's unit; default: what was asked for.

        InputError where none of this number waits, or its window is over.
        """
        book, at = self._writer.book, now_us() if at_us is None else at_us

        def work(database: Database) -> None:
            policies.decide(database, book, number, grant=grant, amount=amount, by=by, reason=reason, now_us=at)

        self._writer.transact(work)

    def reset(self, name: str, org: str, note: str, at_us: int | None = None, *, held: bool = False) -> int:
        """Gives the accounts of a budget their whole limit again in their present window, as entries; how many."""
        book, at = self._writer.book, now_us() if at_us is None else at_us
        return self._writer.transact(lambda db: policies.reset(db, book, name, org, note, at, held=held))

    def grant(self, account: int, amount: int, note: str) -> None:
        """Lets an account come to so much more in its window; the entry says why. What was spent stays as it is."""
        book = self._writer.book
        self._writer.transact(lambda db: policies.grant_to(db, book, account, amount, note, now_us()))

    def say(self, control: Control) -> None:
        """Keeps a word about an agent or a task: paused, resumed, killed, critical."""
        self._writer.transact(lambda db: controls.say(db, control))

    def controls(self) -> Controls:
        """The newest words about agents and tasks; read again only when there are new ones."""
        generation = self._read(controls.GENERATION)[0][0]
        if generation != self._controls[0]:
            self._controls = (generation, Controls(self._read(controls.NEWEST)))
        return self._controls[1]

    # --- samples and proof -------------------------------------------------------------------------------------------

    def sample(self, org: str, agent: str, model: str) -> str | None:
        """What was kept of the last calls of an agent to a model, as JSON."""
        org, agent, model = mended(org), mended(agent), mended(model)
        found = self._read("SELECT sample FROM samples WHERE org = ? AND agent = ? AND model = ?", (org, agent, model))
        return str(found[0][0]) if found else None

    def keep_sample(self, org: str, agent: str, model: str, sample: str) -> None:
        """Keeps what the last calls of an agent to a model were like."""
        org, agent, model = mended(org), mended(agent), mended(model)
        sql = "INSERT INTO samples VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET sample = ?4"
        self._writer.transact(lambda db: db.execute(sql, (org, agent, model, sample)))

    def audit(self) -> Audit:
        """Whether accounts = entries = events, and holds = reserved, at one moment. Others write meanwhile."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileGone):  # replaced meanwhile, by who forgets a person
                return self._reads().moment(audit.audit)
        return self._reads().moment(audit.audit)

    def covering(self, subject: Subject) -> list[tuple[Rule, str]]:
        """The budgets that a call must fit, each with its account's key."""
        rules = self.rules()
        return rules.covering(subject) if rules else []

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._reads().rows(sql, values)
        except UnicodeEncodeError as error:
            raise no_text(error) from error


def _log(alert: Alert) -> None:
    say = LOG.info if alert.mode == "shadow" else LOG.warning
    say("budget %r of %s: %s", alert.budget, alert.place, alert.text, extra={"farthing_alert": alert})
