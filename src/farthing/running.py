"""The totals of one run, in memory: exact, thread-safe, and small however long the run is.

They do not depend on the ledger: a program that meters itself with a full disk still knows what it spent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from farthing.event import Event
from farthing.ledger.corrections import correction
from farthing.scopes import Frame, catch_up
from farthing.totals import TOTALS_FIELDS, Totals, add_to

Group = tuple[str | None, str, str | None]
"""(agent, model, provider): few values each, so that a run's totals stay small."""

REMEMBERED = 8_192
"""Calls with a key of their own that are remembered, newest first, so that a response recorded twice counts once."""


class RunningTotals:
    """Sums over the events added so far, by (agent, model, provider).

    The lock is reentrant: a finalizer or signal handler that records a call may run amid another record of its thread.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._groups: dict[Group, list[int]] = {}
        self._seen: OrderedDict[tuple[str, str], tuple[list[Event], Frame | None]] = OrderedDict()

    def after_fork(self) -> None:
        """A lock that another thread held when the process forked would never open in the child."""
        self._lock = threading.RLock()

    def add(
        self, event: Event, *, may_be_known: bool = False, frame: Frame | None = None
    ) -> tuple[Event, Frame | None] | None:
        """Counts an event; the answer is what was counted, and the frame it belongs to. None: nothing new.

        Where the call may have been seen before, a second observation adds what the ledger adds: the difference, which
        belongs to the frame of the first.
        """
        with self._lock:
            counted, home = self._news(event, frame) if may_be_known else (event, frame)
            if counted is None:
                return None
            self._sum(counted)
        return counted, home

    def _news(self, event: Event, frame: Frame | None) -> tuple[Event | None, Frame | None]:
        """The event where its call is new, the correction where more is known of it now, else None."""
        key = (event.attribution.org, event.dedupe_key)
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = ([event], frame)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return event, frame
        history, home = known
        change = correction(event, history[0], history[1:])
        if change is not None:
            history.append(change)
        return change, home

    def _sum(self, event: Event) -> None:
        group = (event.attribution.agent, event.model, event.provider)
        sums = self._groups.get(group)
        if sums is None:
            sums = self._groups[group] = [0] * len(TOTALS_FIELDS)
        add_to(sums, event)

    def snapshot(self) -> dict[Group, Totals]:
        """The totals of each group at one moment."""
        catch_up()
        with self._lock:
            copied = {group: tuple(sums) for group, sums in self._groups.items() if any(sums)}
        return {group: Totals(**dict(zip(TOTALS_FIELDS, sums, strict=True))) for group, sums in copied.items()}


def total(parts: Iterable[Totals]) -> Totals:
    """The sum of totals; of none, zero."""
    result = Totals()
    for part in parts:
        result = result + part
    return result


def grouped(parts: dict[Group, Totals], key: Callable[[Group], str | None]) -> dict[str | None, Totals]:
    """Totals by what `key` says of a group, the dearest first, then by tokens, then by name."""
    sums: dict[str | None, Totals] = {}
    for group, totals in parts.items():
        name = key(group)
        sums[name] = sums[name] + totals if name in sums else totals
    return dict(sorted(sums.items(), key=lambda kv: (-kv[1].cost_pico, -kv[1].total_tokens, kv[0] or "")))


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Prompt and completion tokens and their sum; `a + b` adds them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of(cls, totals: Totals) -> TokenUsage:
        """The tokens of totals."""
        return cls(totals.input_tokens, totals.output_tokens, totals.total_tokens)

    def __add__(self, other: object) -> TokenUsage:
        if not isinstance(other, TokenUsage):
            return NotImplemented
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
        )
