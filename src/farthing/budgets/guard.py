"""The guard: asked before every call, told after it.

    hold = guard.reserve("gpt-4o", input_tokens=1_000, max_tokens=500, agent="researcher")
    with hold:                                    # BudgetExceededError: it does not fit, and nothing is held
        hold.dispatch()                           # the call leaves
        tracker.record("gpt-4o", 1_000, 312, agent="researcher", reservation=hold)

A hold that is left without an end is freed where its call never left; else it stays until it expires, and is then
posted as estimated. Where no budget covers a call, reserving it costs one look at the ledger and holds nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Unpack

from farthing import scopes
from farthing.amounts import Amounts, amount_text, microseconds, money
from farthing.budgets.aside import aside
from farthing.budgets.asking import Expectation, expect, must_be_amounts, parted
from farthing.budgets.blocks import BudgetBlock, around
from farthing.budgets.desk import Desk
from farthing.budgets.estimate import NOTHING_KNOWN, Expected, Samples
from farthing.budgets.people import People
from farthing.budgets.reservation import Held, Reservation
from farthing.budgets.words import exceeded
from farthing.errors import BudgetConflict, BudgetExceededError, BudgetUnavailable, InputError, LedgerError
from farthing.event import EMPTY, NO_MODEL, Attribution, Event, new_id, now_us
from farthing.ledger.accounts import Accounts
from farthing.ledger.alerts import Alert
from farthing.ledger.holds import Ask, Conflict, Hold
from farthing.ledger.sheet import refusal_of
from farthing.ledger.store import Store
from farthing.money import pico_to_usd
from farthing.policy import Budget, Refusal, Rule, Rules, Subject, make_budget
from farthing.pricing.catalog import Catalog

LOG = logging.getLogger("farthing.budgets")
HOLD_S = 600.0
"""How long a hold stands unless it is extended: as long as the SDKs wait for an answer."""
OUT_OF_REACH_S = 30.0
"""How long a ledger that could not be asked is left alone by calls that it cannot refuse, but for one that tries."""
_DOWNGRADES = 3


class Guard(Desk):
    """Budgets of one ledger as callers use them. Safe to share between threads and tasks.

    store         gives the ledger; catalog: the prices; attributed: the attribution of a call from keywords and place
    allowance_usd what calls under soft budgets alone may come to while the ledger is out of reach
    known         gives budgets that are known without the ledger, so that hard ones hold when it is out of reach
    org           the one organisation that this guard speaks for; None: all
    make          makes a budget of a user's words
    counted       told of each event that `Reservation.settle` keeps, and where its call was reserved
    recorder      the name under which such events are kept
    on_alert      told of each rule that fires, in the thread of the call
    tell          how it is told: a tracker counts what it raises, as a fault
    on_ask        asked when a budget with on_exceed='ask' has no room: True, and nothing else, lets the call pass
    """

    def __init__(
        self,
        store: Callable[[], Store],
        *,
        catalog: Callable[[], Catalog] = Catalog.default,
        attributed: Callable[[dict[str, Any], scopes.Frame | None], Attribution] | None = None,
        clock_us: Callable[[], int] = now_us,
        allowance_usd: Any = 1,
        known: Callable[[], Sequence[Budget]] = tuple,
        org: str | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._attributed = attributed or _plainly
        self._clock = clock_us
        self.allowance_usd = allowance_usd
        money(allowance_usd, "allowance_usd")
        self._used_allowance = 0
        self._left_alone_until = 0.0
        self.make = make_budget
        self._known_budgets = known
        self._lock = threading.RLock()
        self._heard: Accounts | None = None
        self.org = org
        self.counted: Callable[[Event, scopes.Frame | None], object] = scopes.count
        self.recorder: str | None = None
        self.on_alert: Callable[[Alert], object] | None = None
        self.tell: Callable[[Callable[[Alert], object], Alert], object] = lambda listener, alert: listener(alert)
        self.on_ask: Callable[[BudgetExceededError], bool] | None = None
        self.ask: Callable[[Callable[..., object], BudgetExceededError], object] = lambda asked, error: asked(error)
        self.catch_up: Callable[[], object] = lambda: None
        self.samples = Samples()
        self.people = People(self._accounts, clock_us, org)

    def after_fork(self) -> None:
        """Locks that other threads held when the process forked would never open in the child."""
        self._lock = threading.RLock()
        self.samples.after_fork()
        self.people.tasks.after_fork()

    def _accounts(self) -> Accounts:
        accounts = self._store().accounts
        if accounts is not self._heard:
            with self._lock:
                if accounts is not self._heard:
                    self._heard = accounts
                    accounts.on_alert(self._alerted)
        return accounts

    @property
    def accounts(self) -> Accounts:
        """The ledger's side: holds, entries, approvals. LedgerError where the ledger cannot be opened."""
        return self._accounts()

    @property
    def store(self) -> Store:
        """The ledger. LedgerError where it cannot be opened."""
        return self._store()

    @property
    def catalog(self) -> Catalog:
        """The prices."""
        return self._catalog()

    def now_us(self) -> int:
        """The present moment, by this guard's clock."""
        return self._clock()

    def _alerted(self, alert: Alert) -> None:
        if self.on_alert is not None and self.org in (None, alert.org):
            self.tell(self.on_alert, alert)

    def has_rules(self) -> bool:
        """Whether any budget is known here, without a look at the ledger; what this process sets is known at once."""
        return self._heard is not None and bool(self._heard.known_rules())

    def is_out_of_reach(self) -> bool:
        """Whether the ledger could lately not be asked: who can do without it does not wait for it."""
        return time.monotonic() < self._left_alone_until

    # --- calls -------------------------------------------------------------------------------------------------------

    def reserve(self, model: str | None = None, **expected: Unpack[Expectation]) -> Reservation:
        """Holds what a call is expected to come to, in every budget that covers it, or in none.

        Raises BudgetExceededError (it does not fit), AgentPausedError, TaskKilledError, BudgetUnavailable (a hard
        budget cannot be asked), BudgetConflict (the key names another hold), InputError (cannot be).
        """
        asked, who = parted(expected)
        frame = scopes.here()
        attribution = asked.get("who") or self._attributed(who, frame)
        self.check_people(attribution)
        return self._reserve(_named(model, asked), asked, attribution, frame, _DOWNGRADES)

    async def areserve(self, model: str | None = None, **expected: Unpack[Expectation]) -> Reservation:
        """`reserve`, for an event loop: another thread waits for the ledger. Cancelled, it holds nothing."""
        asked, who = parted(expected)
        held = await aside(partial(self.reserve, model, **expected), Reservation.undo)
        self.people.tasks.note(asked.get("who") or self._attributed(who, scopes.here()))
        return held

    def check(self, model: str | None = None, **expected: Unpack[Expectation]) -> None:
        """Raises what `reserve` would at first, and holds nothing; nobody is asked, and no other model is tried."""
        asked, who = parted(expected)
        frame = scopes.here()
        attribution = asked.get("who") or self._attributed(who, frame)
        self.check_people(attribution)
        blocks = list(around(frame))
        name, at_us = _named(model, asked), self.now_us()
        subject = self.subject_of(attribution, asked, name, at_us)
        covering, accounts = self._covering(subject)
        if not covering and not blocks:
            must_be_amounts(asked)
            return
        comes_to = self._expect(name, asked, attribution, at_us)
        for block in blocks:
            block.hold(comes_to.amounts, name)
            block.free(comes_to.amounts)
        refusals = _unlisted(covering, asked)
        if covering and not refusals:
            refusals = self._refusals(accounts, self._ask(subject, comes_to, asked, at_us), covering)
        if any(refusal.budget.mode == "hard" for refusal in refusals):
            raise exceeded(refusals)

    def exhausted(self, among: Collection[str] | None = None, /, **who: Any) -> BudgetExceededError | None:
        """The error of the first hard budget covering these that has nothing left; None: all have some.

        among: names of budgets, where only these are meant. BudgetUnavailable: a hard one cannot be asked.
        """
        subject = Subject(self._attributed(who, scopes.here()), None, "")
        covering, accounts = self._covering(subject)
        covering = [pair for pair in covering if among is None or pair[0].budget.name in among]
        if not covering:
            return None
        at_us = self.now_us()
        ask = Ask("", subject, Amounts(1, 1, 1), at_us, at_us)
        refusals = self._refusals(accounts, ask, covering)
        spent = [r for r in refusals if r.why in ("limit", "call") and r.budget.mode == "hard"]
        spent = [r for r in spent if among is None or r.budget.name in among]
        return exceeded([spent[0]._replace(requested=0)]) if spent else None

    def check_people(self, who: Attribution) -> None:
        """Raises AgentPausedError or TaskKilledError where a call for these may not be made."""
        self.people.check(who, critical=partial(self.is_critical, who))
        self.people.tasks.note(who)

    def is_critical(self, who: Attribution) -> bool:
        """Whether a budget that covers these agents is marked as critical."""
        try:
            rules = self._accounts().rules()
        except LedgerError:
            rules = self._remembered()
        covering = rules.covering(Subject(who, None, NO_MODEL))
        return any(rule.budget.critical and "agent" in rule.budget.scope for rule, _ in covering)

    def _unpriced(self, model: str, asked: dict[str, Any], at_us: int) -> str:
        """Of the models that may answer, the first whose price nobody knows."""
        models = (model, *asked.get("models", ()))
        known = partial(self._catalog().resolve, provider=asked.get("provider"), at=at_us)
        return next((one for one in models if known(one).record is None), model)

    def subject_of(self, who: Attribution, asked: dict[str, Any], model: str, at_us: int) -> Subject:
        """Whose call it is. Where nobody says its provider, that of its price, which its event will have, too."""
        provider = asked.get("provider")
        if provider is None and model != NO_MODEL:
            provider = self._catalog().resolve(model, None, at_us, asked.get("context")).provider
        return Subject(who, provider, model)

    def _covering(self, subject: Subject) -> tuple[list[tuple[Rule, str]], Accounts | None]:
        """The budgets of a call; None beside them: the ledger is out of reach, and these are those known."""
        try:
            accounts = self._accounts()
            return accounts.covering(subject), accounts
        except LedgerError as error:
            LOG.debug("budgets cannot be read: %s", error)
            return self._remembered().covering(subject), None

    def _remembered(self) -> Rules:
        """The budgets that hold while the ledger is out of reach: as last read, else those known without it."""
        heard = self._heard.known_rules() if self._heard is not None else None
        return heard or Rules(Rule(budget, -n - 1) for n, budget in enumerate(self._known_budgets()))

    def _reserve(
        self, model: str, asked: dict[str, Any], who: Attribution, frame: scopes.Frame | None, tries: int
    ) -> Reservation:
        at_us = self.now_us()
        blocks = list(around(frame))
        subject = self.subject_of(who, asked, model, at_us)
        covering, accounts = self._covering(subject)
        if not covering and not blocks:
            must_be_amounts(asked)
            return Reservation(self, subject, at_us, Expected(amounts=Amounts(0, 0, 0)), frame=frame)
        expected = self._expect(model, asked, who, at_us)
        ask = self._ask(subject, expected, asked, at_us)
        held: list[BudgetBlock] = []
        answer: Hold | tuple[Refusal, ...] | None = None
        passed = False
        try:
            for block in blocks:
                try:
                    block.hold(expected.amounts, model)
                except BudgetExceededError:
                    answer = self._sent_elsewhere(ask, covering, accounts)
                    if answer is None:
                        raise
                    break
                held.append(block)
            if covering and answer is None:
                answer = _unlisted(covering, asked) or self._answer(
                    None if accounts is None else accounts.reserve, ask, covering
                )
            passed = answer is None or isinstance(answer, Hold)
        finally:
            if not passed:
                for block in held:
                    block.free(expected.amounts)
        if answer is not None and not isinstance(answer, Hold):
            other = self._after_refusal(answer, model, tries)
            if other is None:
                if "refused" in asked and any(refusal.why == "unpriced" for refusal in answer):
                    raise exceeded(asked["refused"], f" {model!r}, which is to be called instead, has no known price.")
                unknown = self._unpriced(model, asked, at_us)
                raise exceeded([r._replace(model=unknown) if r.why == "unpriced" else r for r in answer])
            allowed = *asked.get("allowed", ()), *(refusal.budget for refusal in answer)
            changed = {"models": (), "refused": answer} if other != model else {"allowed": allowed}
            return self._reserve(other, {**asked, **changed}, who, frame, tries - 1)
        gone = answer.state == "dispatched" if answer is not None else ask.gone
        return Reservation(self, subject, at_us, expected, Held(ask.key, tuple(held), answer is not None, gone), frame)

    def _sent_elsewhere(
        self, ask: Ask, covering: list[tuple[Rule, str]], accounts: Accounts | None
    ) -> tuple[Refusal, ...] | None:
        """The refusals of hard budgets that send the call to a cheaper model, which a full block may have room for."""
        if accounts is None or not any(rule.budget.on_exceed.startswith("downgrade:") for rule, _ in covering):
            return None
        refusals = self._refusals(accounts, ask, covering)
        hard = [refusal.budget.on_exceed for refusal in refusals if refusal.budget.mode == "hard"]
        return refusals if hard and all(way.startswith("downgrade:") for way in hard) else None

    def _ask(self, subject: Subject, expected: Expected, asked: dict[str, Any], at_us: int) -> Ask:
        key = asked.get("key")
        return Ask(
            key=key or new_id(),
            subject=subject,
            amounts=expected.amounts,
            at_us=at_us,
            expires_us=at_us + microseconds(asked.get("hold_s", HOLD_S), "hold_s"),
            gone=bool(asked.get("gone")),
            fresh=key is None,
            input=expected.input_tokens,
            context=asked.get("context") or EMPTY,
            allowed=asked.get("allowed", ()),
        )

    def _refusals(self, accounts: Accounts | None, ask: Ask, covering: list[tuple[Rule, str]]) -> tuple[Refusal, ...]:
        """What a reserve would be refused by; nothing is held."""
        answer = self._answer(None if accounts is None else accounts.refusals, ask, covering, holds=False)
        return () if answer is None or isinstance(answer, Hold) else answer

    def _answer(
        self,
        ledger: Callable[[Ask], Hold | Conflict | tuple[Refusal, ...]] | None,
        ask: Ask,
        covering: list[tuple[Rule, str]],
        *,
        holds: bool = True,
    ) -> Hold | tuple[Refusal, ...] | None:
        """What the ledger says when it is asked so; None: it is out of reach, and the call may pass all the same.

        holds: the call is made then, and counts against what soft budgets let pass meanwhile.
        """
        error: LedgerError | None = None
        amounts = ask.amounts
        may_refuse = any(rule.budget.mode == "hard" for rule, _ in covering)
        if ledger is not None and (may_refuse or not self.is_out_of_reach()):
            if self._left_alone_until:
                self._left_alone_until = time.monotonic() + OUT_OF_REACH_S  # others need not wait while this one tries
            try:
                answer = ledger(ask)
            except LedgerError as fault:
                error = fault
                self._left_alone_until = time.monotonic() + OUT_OF_REACH_S
            else:
                self._used_allowance = 0
                self._left_alone_until = 0.0
                if isinstance(answer, Conflict):
                    raise BudgetConflict(
                        f"the key {ask.key!r} names a hold of {_amounts_text(answer.known.amounts)} for another call, "
                        f"not this of {_amounts_text(ask.amounts)}: give every call a key of its own"
                    )
                if isinstance(answer, Hold) and answer.state not in ("held", "dispatched"):
                    raise BudgetConflict(
                        f"the key {ask.key!r} names a hold that is {answer.state}, so nothing is held for this call: "
                        "give every call a key of its own"
                    )
                return answer
        free = amounts.usd == 0  # such a call fits every dollar budget, however that stands
        budgets = [rule.budget for rule, _ in covering if not (free and rule.budget.unit == "usd")]
        hard = [budget.name for budget in budgets if budget.mode == "hard"]
        if hard:
            raise BudgetUnavailable(
                f"hard budget {hard[0]!r} cannot be asked, so the call is not made: "
                f"{error or 'the ledger cannot be opened; `farthing doctor` says why'}"
            ) from error
        if all(rule.budget.mode == "shadow" for rule, _ in covering):
            return None
        with self._lock:
            allowed = money(self.allowance_usd, "allowance_usd")
            if self._used_allowance + (amounts.usd or 0) > allowed:
                raise BudgetUnavailable(
                    f"the ledger is out of reach, and the {pico_to_usd(allowed)} USD that soft budgets allow "
                    "meanwhile are used up: mend the ledger, or set guard.allowance_usd higher"
                ) from error
            self._used_allowance += (amounts.usd or 0) * holds
        return None

    def _after_refusal(self, refusals: Sequence[Refusal], model: str, tries: int) -> str | None:
        """The model to try instead; None: it is refused."""
        hard = [refusal for refusal in refusals if refusal.budget.mode == "hard"]
        ways = {refusal.budget.on_exceed for refusal in hard}
        whys = {refusal.why for refusal in hard}
        if not tries or "unpriced" in whys:
            return None
        if ways == {"ask"} and "model" not in whys and self.on_ask is not None:
            if self.ask(self.on_ask, exceeded(hard)) is not True:
                return None
            for refusal in hard:
                self._grant(refusal)
            return model
        if all(way.startswith("downgrade:") for way in ways):
            cheaper = min(ways).removeprefix("downgrade:")
            return None if cheaper == model else cheaper
        return None

    def _grant(self, refusal: Refusal) -> None:
        if refusal.account is None:
            return
        short = refusal.posted + refusal.reserved + refusal.requested - refusal.limit
        if refusal.approval is None:
            self._accounts().grant(refusal.account, short, "asked at the call")
            return
        with contextlib.suppress(InputError):  # granted for another call meanwhile: what room there is now will show
            self._accounts().decide(
                refusal.approval, grant=True, amount=short, reason="asked at the call", at_us=self.now_us()
            )

    def _expect(self, model: str, asked: dict[str, Any], who: Attribution, at_us: int) -> Expected:
        sample = NOTHING_KNOWN
        if self._heard is not None and "usd" not in asked:
            sample = self.samples.get(self._heard, who.org, who.agent, model)
        return expect(self._catalog(), model, asked, sample, at_us)


def _plainly(who: dict[str, Any], frame: scopes.Frame | None) -> Attribution:
    given = Attribution(**{name: value for name, value in who.items() if value is not None})
    return given if frame is None else given.with_defaults(frame.attribution)


def _named(model: str | None, asked: dict[str, Any]) -> str:
    """The model of a call; where only several are told that may answer, the first, and the others beside it."""
    others = asked.get("models")
    if model is not None or not others or isinstance(others, str):
        return model or NO_MODEL
    model, *asked["models"] = others
    return str(model)


def _unlisted(covering: Sequence[tuple[Rule, str]], asked: dict[str, Any]) -> tuple[Refusal, ...]:
    """The refusals of hard lists that have not every further model that may answer."""
    others = asked.get("models", ())
    return tuple(
        refusal_of(rule, key, "model", None, 0, other)
        for rule, key in (covering if others else ())
        for other in others
        if rule.budget.mode == "hard" and not rule.allows(other)
    )


def _amounts_text(amounts: Amounts) -> str:
    usd = "an unknown price" if amounts.usd is None else amount_text("usd", amounts.usd)
    return f"{usd}, {amount_text('tokens', amounts.tokens)}, {amount_text('calls', amounts.calls)}"
