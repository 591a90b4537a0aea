"""One hold in the hands of its caller, from `Guard.reserve` to its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from farthing.amounts import Amounts, count_of, microseconds, money
from farthing.budgets.aside import aside
from farthing.budgets.blocks import BudgetBlock
from farthing.budgets.estimate import Expected, dearest
from farthing.budgets.words import exceeded
from farthing.errors import BudgetConflict, InputError, LedgerError
from farthing.event import Event, new_id
from farthing.ledger.holds import Hold
from farthing.ledger.late import estimate_key
from farthing.ledger.store import Entry, Outcome, Store
from farthing.money import pico_to_usd
from farthing.policy import Subject
from farthing.scopes import Frame
from farthing.usage import Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from farthing.budgets.guard import Guard

LOG = logging.getLogger("farthing.budgets")


class Held(NamedTuple):
    """Where something is held: in blocks of this process, in the ledger (`stored`); `gone`: the call has left."""

    key: str = ""
    blocks: tuple[BudgetBlock, ...] = ()
    stored: bool = False
    gone: bool = False


class Reservation:
    """What is held for one call. `with` it: left without an end, it is freed where the call never left.

    key, model   its name; the model to call, which a budget may have made a cheaper one than was asked for
    amounts      what is held: picodollars, tokens, calls; at_us: when, and the date of its events
    covered      whether any budget covers the call; if none does, nothing is held and nothing need be done
    state        held, dispatched, settled or released, as far as this object knows
    """

    def __init__(
        self,
        guard: Guard,
        subject: Subject,
        at_us: int,
        expected: Expected,
        held: Held | None = None,
        frame: Frame | None = None,
    ) -> None:
        self._guard = guard
        self._frame = frame
        self.subject = subject
        self.at_us = at_us
        self.expected = expected
        self.amounts = expected.amounts
        held = held or Held()
        self.key = held.key
        self._blocks = held.blocks
        self._stored = held.stored
        self.state: Literal["held", "dispatched", "settled", "released"] = "dispatched" if held.gone else "held"

    @property
    def model(self) -> str:
        """The model to call."""
        return self.subject.model

    @property
    def org(self) -> str:
        """Whose budgets they are."""
        return self.subject.who.org

    @property
    def covered(self) -> bool:
        """Whether any budget covers the call."""
        return self._stored or bool(self._blocks)

    @property
    def held_usd(self) -> Decimal | None:
        """US dollars that are held; None where no price is known."""
        return None if self.amounts.usd is None else pico_to_usd(self.amounts.usd)

    def dispatch(self) -> None:
        """The call leaves now: from here on it ends by `settle` alone. BudgetConflict where nothing is held now."""
        if self.state == "released" and self.covered:
            raise BudgetConflict(f"the hold {self.key} is released, so nothing is held for this call: reserve again")
        if self.state != "held":
            return
        if self._stored:
            now = self._guard.accounts.dispatch(self.key, self.org)
            if now != "dispatched":
                why = "it stood too long before its call left" if now == "expired" else "another has ended it"
                raise BudgetConflict(f"the hold {self.key} is {now or 'over'}: {why}; reserve again")
        self.state = "dispatched"

    def settle(
        self,
        entries: Sequence[Entry] | None = None,
        *,
        usd: Any = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        calls: int | None = None,
    ) -> list[Outcome]:
        """Keeps what the call came to and ends the hold, in one transaction; what became of the events.

        entries: events with the texts of their price records; without: one event is made of the figures given here,
        usd being what it really cost, calls by default as many as were held. Twice is once.
        LedgerError: nothing was kept, and the hold stands.
        """
        if entries is None:
            if usd is input_tokens is output_tokens is calls is None:
                raise InputError("settle() without a figure: say what the call came to, usd= or its tokens")
            held = self.amounts.calls if self.covered else 1
            count = held if calls is None else count_of(calls, "calls")
            entries = [self._entry(usd, input_tokens or 0, output_tokens or 0, count)]
        outcomes = self._write(entries, self._guard.store)
        for (event, _), outcome in zip(entries, outcomes, strict=True):
            if outcome != "duplicate":
                self._guard.counted(event, self._frame)
        self._over(entries)
        return outcomes

    def keep(self, entries: Sequence[Entry], store: Store | None = None) -> list[Outcome]:
        """`settle` with events that are counted elsewhere. They are kept in the ledger even where nothing is held."""
        outcomes = self._write(entries, store or self._guard.store)
        self._over(entries)
        return outcomes

    def _write(self, entries: Sequence[Entry], store: Store) -> list[Outcome]:
        if self._stored:
            return store.accounts.settle(self.key, entries, self.org)
        return [store.append(event, record) for event, record in entries]

    def _over(self, entries: Sequence[Entry]) -> None:
        """It is settled: blocks are told, and what the call was like is learned."""
        self._ended("settled")
        if self.covered and entries:
            try:
                accounts = self._guard.store.accounts
                self._guard.samples.learn(accounts, entries[0][0], self.model, self.expected.characters)
            except LedgerError as error:
                LOG.debug("what the call was like is not kept: %s", error)

    def _entry(self, usd: Any, input_tokens: int, output_tokens: int, calls: int) -> Entry:
        """An event of what the caller says the call came to, with the text of its price record."""
        who, provider, model, requested = self.subject
        tokens = Usage(
            input_tokens=count_of(input_tokens, "input_tokens"), output_tokens=count_of(output_tokens, "output_tokens")
        )
        record, status, pico = None, "reported", None if usd is None else money(usd, "usd")
        if pico is None:
            found = self._guard.catalog.price(model, tokens, provider=provider, at=self.at_us)
            pico, status, record = found.pico, found.status, found.record
        self.key = self.key or new_id()  # twice is once where nothing is held, too
        event = Event(
            id=new_id(),
            dedupe_key=estimate_key(self.key),
            at_us=self.at_us,
            recorded_at_us=self._guard.now_us(),
            attribution=who,
            provider=provider,
            model=model,
            requested_model=requested,
            usage=tokens,
            cost_pico=pico,
            price_status=status,
            price_hash=None if record is None else record.hash,
            reported_pico=None if usd is None else pico,
            source="budget",
            recorder=self._guard.recorder,
            calls=calls,
        )
        return event, None if record is None else record.text

    def release(self) -> bool:
        """Frees the hold of a call that never left; whether it was freed."""
        if self.state != "held":
            return False
        freed = self._guard.accounts.release(self.key, self.org) if self._stored else True
        if freed:
            self._ended("released")
        return freed

    def extend(self, seconds: float = 600.0) -> bool:
        """Lets the hold stand so long from now; whether it stands. For streams that take their time."""
        if not self._stored:
            return True
        return self._guard.accounts.extend(self.key, self._guard.now_us() + microseconds(seconds, "seconds"), self.org)

    def top_up(self, *, usd: Any = 0, tokens: int = 0) -> None:
        """Holds more. BudgetExceededError where that does not fit: the hold stays, and the call should be stopped."""
        more = Amounts(money(usd, "usd"), count_of(tokens, "tokens"), 0)
        done: list[BudgetBlock] = []
        try:
            for block in self._blocks:
                block.hold(more, self.model)
                done.append(block)
            if self._stored:
                answer = self._guard.accounts.top_up(self.key, more, self.org, self._guard.now_us())
                if answer is None:
                    raise BudgetConflict(f"the hold {self.key} does not stand any more")
                if not isinstance(answer, Hold):
                    raise exceeded(answer)
            done = []
        finally:
            for block in done:
                block.free(more)
        pico = None if self.amounts.usd is None or more.usd is None else self.amounts.usd + more.usd
        self.amounts = Amounts(pico, self.amounts.tokens + more.tokens, self.amounts.calls)

    def accrued(self, *, usd: Any = None, output_tokens: int | None = None) -> None:
        """Tells what a stream has come to. Once that reaches the hold, half as much again is held, or what it needs.

        BudgetExceededError where that does not fit: stop the stream, and settle what it came to.
        """
        held, into = self.amounts, self.expected.input_tokens or 0
        pico, tokens = held.usd or 0, held.tokens
        if usd is not None:
            over = -1 if held.usd is None else money(usd, "usd") - pico
            dearer, more = max(-(-pico // 2), over), -(-tokens // 2)
        else:
            out = count_of(output_tokens or 0, "output_tokens")
            over = into + out - tokens if tokens and output_tokens is not None else -1
            more = max(-(-max(0, tokens - into) // 2), over)
            dearer = 0 if over < 0 else self._price(into, tokens - into + more) - pico
        if over >= 0:
            self.top_up(usd=pico_to_usd(max(0, dearer)), tokens=more)
            self.extend()

    def _price(self, into: int, out: int) -> int:
        """Picodollars of so many tokens: by the dearest model that may answer, or in proportion to what was told."""
        held, expected = self.amounts, self.expected
        if held.usd is None or expected.models is None:
            return -(-(held.usd or 0) * (into + out) // held.tokens)
        models, usage = (self.model, *expected.models), Usage(input_tokens=into, output_tokens=out)
        pico = dearest(
            self._guard.catalog,
            models,
            usage,
            provider=self.subject.provider,
            at_us=self.at_us,
            context=expected.context,
        )
        return pico or 0

    def _ended(self, state: Literal["settled", "released"]) -> None:
        if self.state in ("settled", "released"):
            return
        self.state = state
        for block in self._blocks:
            block.free(self.amounts)

    def undo(self) -> None:
        """Nobody has the hold in hand, and its call was not made: it is freed, also where it counts as gone."""
        try:
            if self._stored and self.state in ("held", "dispatched"):
                self._guard.accounts.undo(self.key, self.org)
        except LedgerError as error:
            LOG.warning("a hold of %s stands until it expires: %s", self.held_usd, error)
        self.abandon()

    def let_go(self) -> None:
        """The end of its caller's care: freed where the call never left, else left to be settled or to expire."""
        if self.state == "held":
            try:
                self.release()
            except LedgerError as error:
                LOG.warning("a hold of %s is freed when it expires: %s", self.held_usd, error)
        if self.state == "held":
            self._ended("released")

    def abandon(self) -> None:
        """Its caller cannot settle it: blocks count it no more, and what the ledger holds stands until it expires."""
        self._ended("released")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await aside(self.let_go)

    async def asettle(self, *args: Any, **kwargs: Any) -> list[Outcome]:
        """`settle`, for an event loop: another thread waits for the ledger."""
        return await aside(partial(self.settle, *args, **kwargs))

    async def arelease(self) -> bool:
        """`release`, for an event loop."""
        return await aside(self.release)

    async def adispatch(self) -> None:
        """`dispatch`, for an event loop."""
        await aside(self.dispatch)
