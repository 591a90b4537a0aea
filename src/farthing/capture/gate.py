"""Asking budgets before an instrumented call leaves: it is held, sent to a cheaper model, or refused.

What a call is expected to come to is held in the transaction that marks it as gone; its event ends the hold in the
transaction that keeps it. Where there is neither budget nor pause a call costs one look at two flags.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from farthing.budgets.asking import Expectation
from farthing.budgets.blocks import around
from farthing.budgets.estimate import dearest
from farthing.budgets.guard import Guard
from farthing.budgets.reservation import Reservation
from farthing.budgets.words import killed
from farthing.capture.allowance import Allowance, allowance, with_model
from farthing.capture.faults import FAULTS
from farthing.capture.hosts import Target, completes, may_be_batch
from farthing.capture.later import LATER
from farthing.capture.request import Asked, Json, read_request
from farthing.errors import BudgetError, BudgetExceededError, LedgerError
from farthing.event import NO_MODEL, Attribution
from farthing.money import pico_to_usd
from farthing.policy import Subject
from farthing.pricing.extract.origin import model_in_path, resolve
from farthing.recording import Entry
from farthing.tracker import CostTracker
from farthing.usage import Usage

if TYPE_CHECKING:
    from farthing.capture.meter import Dispatch
    from farthing.capture.stream import Tap

FRESH_S = 0.05
"""How old the knowledge that other processes have set no budget may be; what this process sets is known at once."""

BLOB_TOKENS = 1_600
"""What an image or file is taken for, whose tokens nobody can tell from its bytes."""

ALMOST_NOTHING_PICO = 1
"""What is held for a call of whose price nothing is known before its end."""

HOLD_S = 600.0
PATIENCE_S = 5.0
"""How long a call waits for the ends of earlier calls to be written before its own room is looked at."""

BYTES_OF_A_TOKEN = 3
"""Of a stream, at the very least: before so many bytes have come, it cannot have come to what is held."""
PACKED = 12
"""How many times shorter a packed stream may be."""
_STEP_BYTES = 512


class Gate:
    """The budgets and pauses of a tracker's ledger, as the hooks ask them."""

    def __init__(self, tracker: Callable[[], CostTracker]) -> None:
        self._tracker = tracker
        self._looked: CostTracker | None = None
        self._until = 0.0
        self._any = False
        self._lock = threading.Lock()
        self.ending = 0

    def is_open(self, dispatch: Dispatch) -> bool:
        """Whether nothing can stand in a call's way, so that nobody need be asked."""
        if dispatch.target.results:
            return True
        tracker = self._tracker()
        now = time.monotonic()
        if now >= self._until or tracker is not self._looked:
            self._look(tracker, now + FRESH_S)
        guard = tracker.guard
        if self._any or guard.has_rules() or guard.people.known():
            return False
        frame = dispatch.frame
        if frame is None:
            return True
        if dispatch.on_loop and frame.attribution.task is not None:
            guard.people.tasks.note(self._who(dispatch))
        return not any(around(frame))

    def _look(self, tracker: CostTracker, until: float) -> None:
        try:
            self._any = bool(tracker.guard.accounts.rules())
        except LedgerError:
            self._any = True  # the guard knows what is to be done then
        self._looked, self._until = tracker, until

    def note(self, dispatch: Dispatch) -> None:
        """The asyncio task that makes the call works for the call's task: whoever kills that cancels it.

        TaskKilledError where that has been done: the call hears of it before the cancelling reaches it.
        """
        who = self._who(dispatch)
        if who.task is not None:
            people = self._tracker().guard.people
            if (word := people.known().kill_of(who.org, who.task)) is not None:
                raise killed(word)
            people.tasks.note(who)

    def _who(self, dispatch: Dispatch) -> Attribution:
        return self._tracker().attributed(dispatch.who, dispatch.frame)

    def ask(self, dispatch: Dispatch) -> Admission | None:
        """The call's admission, where a budget covers it. BudgetError: it may not be made."""
        guard = self._tracker().guard
        who = self._who(dispatch)
        target = dispatch.target
        body = _parsed(dispatch.outgoing.body)
        asked = dispatch.asked = read_request(body)
        allowed = allowance(body, target.url)
        named = dispatch.outgoing.model or asked.model or model_in_path(dispatch.outgoing.path)[0]
        model = named or next(iter(allowed.models), None)
        is_batch = target.batch and may_be_batch(target, body)
        is_call = not target.batch and (target.sure or (asked.is_call and model) or completes(target.url, body))
        if not (is_batch or is_call):
            return None
        guard.check_people(who)
        in_block = any(around(dispatch.frame))
        if not (self._any or guard.has_rules() or in_block):
            return None
        if is_batch:
            self._ask_for_batch(dispatch)
            return None
        provider = _provider(target)
        told = {"provider": provider, "context": allowed.context}
        if not in_block and not _covers(guard, guard.subject_of(who, told, model or NO_MODEL, guard.now_us())):
            return None
        self._await_endings(guard)
        expected = Expectation(
            provider=provider,
            models=allowed.models,
            input_characters=_size(asked),
            max_tokens=allowed.max_tokens,
            context=allowed.context,
            who=who,
            hold_s=HOLD_S,
            gone=True,
        )
        if not allowed.by_text and (usd := self._by_units(model, asked, allowed, provider)) is not None:
            expected["usd"] = usd
        held = guard.reserve(model, **expected)
        admission = Admission(self, held, allowed, model or NO_MODEL)
        if held.model != admission.asked:
            admission.downgrade(dispatch)
        return admission if held.covered or admission.sent is not None else None

    def _await_endings(self, guard: Guard) -> None:
        """Waits for what has ended: it frees its hold only when it is written."""
        if self.ending and not guard.is_out_of_reach():
            LATER.flush(PATIENCE_S)

    def _ask_for_batch(self, dispatch: Dispatch) -> None:
        """Nothing is held for a batch of calls. BudgetExceededError: nothing is left of a hard budget of its caller."""
        guard = self._tracker().guard
        self._await_endings(guard)
        for block in around(dispatch.frame):
            block.check()
        if (error := guard.exhausted(**dispatch.who)) is not None:
            raise error

    def _by_units(self, model: str | None, asked: Asked, allowed: Allowance, provider: str | None) -> Decimal | None:
        """US dollars of a call that is not billed by its text; what only its end tells, is held as almost nothing."""
        price = self._tracker().catalog.resolve(model or NO_MODEL, provider)
        texts = Usage(input_tokens=asked.input_tokens(), output_tokens=allowed.max_tokens or 0)
        if price.record is None or price.evaluate(texts):
            return None
        units = {
            "output_images": allowed.answers,
            "rerank_searches": 1,
            "input_characters": sum(asked.characters().values()),
        }
        known = (price.evaluate(Usage(**{unit: number})) for unit, number in units.items())
        return pico_to_usd(max(ALMOST_NOTHING_PICO, *(pico or 0 for pico in known)))

    def price(
        self, models: tuple[str, ...], usage: Usage, dispatch: Dispatch, context: Mapping[str, str]
    ) -> int | None:
        """Picodollars of a usage by the dearest of these models; None: nobody knows."""
        catalog = self._tracker().catalog
        provider = _provider(dispatch.target)
        return dearest(catalog, models, usage, provider=provider, at_us=dispatch.at_us, context=context)

    def began_to_end(self) -> None:
        """A call that holds something is over, and not yet written."""
        with self._lock:
            self.ending += 1

    def ended(self) -> None:
        """It is written, or cannot be."""
        with self._lock:
            self.ending -= 1


def _provider(target: Target) -> str | None:
    """Who serves the call, as its event will have it: a path may tell, too."""
    return target.provider or resolve(None, target.url)


def _covers(guard: Guard, subject: Subject) -> bool:
    """Whether any budget covers the call; where the ledger is out of reach, the guard knows what is to be done."""
    try:
        return bool(guard.accounts.covering(subject))
    except LedgerError:
        return True


def _parsed(body: bytes | None) -> Json:
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(asked: Asked) -> int:
    """How large the request is, as the guard compares it with the agent's last one: three for each token we estimate.

    Characters would do for one language; this holds where a character is a token, too.
    """
    return 3 * (asked.input_tokens() * 11 // 10 + asked.blobs * BLOB_TOKENS)


class Admission:
    """What is held for one call.

    asked  the model that was asked for; sent: path and body to be sent instead, to the cheaper model `held.model`
    """

    __slots__ = ("_gate", "_state", "allowed", "asked", "held", "sent")

    def __init__(self, gate: Gate, held: Reservation, allowed: Allowance, asked: str) -> None:
        self._gate = gate
        self._state = "under way"
        self.held = held
        self.allowed = allowed
        self.asked = asked
        self.sent: tuple[str, bytes] | None = None

    def downgrade(self, dispatch: Dispatch) -> None:
        """Has the call sent to the model that the budget names. BudgetExceededError where that cannot be done."""
        outgoing, model = dispatch.outgoing, self.asked
        signed = (outgoing.header("authorization") or "").startswith("AWS4")
        self.sent = None if signed else with_model(outgoing.path, outgoing.body, model, self.held.model)
        if self.sent is None:
            self.drop()
            why = "it is signed" if signed else "its model stands in no place that we know"
            raise BudgetExceededError(
                f"a budget says that calls to {model!r} shall go to {self.held.model!r}, and this request cannot be "
                f"changed: {why}. Call {self.held.model!r} instead, or let the budget say on_exceed='deny'",
                why="limit",
                on_exceed=f"downgrade:{self.held.model}",
            )

    def drop(self) -> None:
        """The call was not made: nothing is held for it any more."""
        self.held.undo()

    def over(self) -> None:
        """The call has ended, and is about to be recorded: `settle`, then `left`."""
        if self._state == "under way":
            self._state = "over"
            self._gate.began_to_end()

    def hand_on(self) -> None:
        """Another thread is going to `settle`: whoever recorded the call has nothing more to end."""
        self._state = "handed on"

    def settle(self, write: Callable[[list[Entry], Reservation], None], entries: list[Entry]) -> None:
        """Writes what the call came to, which ends its hold."""
        self._state = "over"
        try:
            write(entries, self.held)
        finally:
            self.left()

    def in_place_of(self, entries: list[Entry], *, made_later: bool = False) -> list[Entry]:
        """The entries of an answer; where it told nothing by which its price could be made, what was held for it.

        As with a call that was never heard of again: an image is not free because nobody says what it took. Where
        usage is told and its model has no price, that stays so. made_later: its usage is told when it is fetched, which
        corrects this by the answer's id.
        """
        usd, tokens, _ = self.held.amounts
        event = entries[0][0]
        is_known = any(one.cost_pico is not None for one, _ in entries)
        has_no_price = event.usage and event.usage_status != "estimated" and event.price_hash is None
        if not self.held.covered or is_known or has_no_price or not (made_later or (usd or 0) > ALMOST_NOTHING_PICO):
            return entries
        usage = event.usage
        if not usage.total_tokens:
            into = min(self.held.expected.input_tokens or 0, tokens)
            usage += Usage(input_tokens=into, output_tokens=tokens - into)
        why = "it is made in the background and not fetched yet" if made_later else "the answer does not tell its usage"
        status = "unpriced" if usd is None else "free" if usd == 0 else "reported"
        estimate = replace(
            event,
            usage=usage,
            usage_status="estimated",
            cost_pico=usd,
            price_status=status,
            price_hash=None,
            reported_pico=usd or None,
            price_reason=f"{why}: this is what was held for it",
        )
        return [(estimate, None), *entries[1:]]

    def left(self) -> None:
        """Nobody will settle it any more. Where that was not done, its hold stands until it expires."""
        if self._state == "over":
            self._state = "left"
            self.held.abandon()
            self._gate.ended()

    def price(self, dispatch: Dispatch, usage: Usage) -> int | None:
        """Picodollars of such a usage by the dearest model that may answer; None: nobody knows."""
        return self._gate.price((self.held.model, *self.allowed.models), usage, dispatch, self.allowed.context)

    def watch(self, tap: Tap, dispatch: Dispatch) -> Watch | None:
        """What looks at a stream while it runs; None where it cannot come to more than is held."""
        return Watch(self, tap, dispatch) if self.held.covered else None


class Watch:
    """Looks at a stream now and then: a long one stands longer, one that reaches what is held holds more, or stops."""

    __slots__ = ("_admission", "_dispatch", "_extend_at", "_look_at", "_tap")

    def __init__(self, admission: Admission, tap: Tap, dispatch: Dispatch) -> None:
        self._admission = admission
        self._tap = tap
        self._dispatch = dispatch
        self._extend_at = time.monotonic() + HOLD_S / 2
        out, most = admission.held.expected.output_tokens, admission.allowed.max_tokens
        self._look_at: int | None = None
        if out is not None and (most is None or out < most):
            self._look_at = self._bytes(out)

    def _bytes(self, tokens: int) -> int:
        size = max(tokens * BYTES_OF_A_TOKEN, _STEP_BYTES)
        return size // PACKED if self._dispatch.packed() else size

    def due(self) -> bool:
        """Whether it is time to `look`; asked before each piece."""
        return (self._look_at is not None and self._tap.size >= self._look_at) or time.monotonic() >= self._extend_at

    def look(self) -> None:
        """BudgetExceededError: the stream has come to what is held, and there is no room for more. Stop it."""
        held = self._admission.held
        try:
            if time.monotonic() >= self._extend_at:
                self._extend_at = time.monotonic() + HOLD_S / 2
                held.extend(HOLD_S)
            if self._look_at is not None and self._tap.size >= self._look_at:
                self._grow(held)
        except BudgetExceededError:
            raise
        except (BudgetError, LedgerError) as error:  # its hold is over, or cannot be asked: it was let go once
            FAULTS.add("holding more for a stream, which goes on", error)
            self._look_at = None

    def _grow(self, held: Reservation) -> None:
        into = held.expected.input_tokens or 0
        shown = self._dispatch.output_so_far(self._tap)
        if shown * 20 >= (held.amounts.tokens - into) * 19:
            try:
                self._hold(held, into, shown * 3 // 2)
            except BudgetExceededError:
                self._hold(held, into, shown * 9 // 8)
        self._look_at = self._tap.size + self._bytes(max(0, held.amounts.tokens - into - shown))

    def _hold(self, held: Reservation, into: int, out: int) -> None:
        """Holds what so many tokens of output come to."""
        pico = self._admission.price(self._dispatch, Usage(input_tokens=into, output_tokens=out)) or 0
        more = max(0, pico - (held.amounts.usd or 0))
        held.top_up(usd=pico_to_usd(more), tokens=max(0, into + out - held.amounts.tokens))
