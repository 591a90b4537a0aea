"""Which call belongs to whom while a program runs: nested scopes in a context variable, each with its live totals.

A *scope* says something about every call inside it, and knows what those calls add up to. A *frame* is one entering of
a scope: it knows the frame around it, so that one scope object may be entered again, by several tasks at once.
asyncio tasks inherit the frame they were made in; `within` carries it to wherever else it is wanted.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from farthing.event import Attribution, Event
from farthing.totals import TOTALS_FIELDS, Totals, add_to

_current: ContextVar[Frame | None] = ContextVar("farthing_scope", default=None)
_numbers = itertools.count(1)


class _Lock:
    """One lock for all live totals: held for a microsecond, and replaced in a forked child.

    It is reentrant: a finalizer or signal handler that records a call may run while its thread adds another.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def after_fork(self) -> None:
        """A lock that another thread held when the process forked would never open in the child."""
        self.lock = threading.RLock()


_sums = _Lock()
os.register_at_fork(after_in_child=_sums.after_fork)


def lock() -> threading.RLock:
    """The lock of all live totals: while it is held, none of them rises."""
    return _sums.lock


class _Behind:
    catch_up: Callable[[], object] | None = None


def count_first(catch_up: Callable[[], object] | None) -> None:
    """Sets what is called before totals are read: who counts calls a moment after they end, counts them then."""
    _Behind.catch_up = catch_up


def catch_up() -> None:
    """Returns when every call that has ended is counted. Not to be called with a lock held."""
    if _Behind.catch_up is not None:
        _Behind.catch_up()


class Scope:
    """What calls inside it are for, and what they add up to so far.

    `with scope:` makes it the present one; what it leaves open is filled in from the scopes around it. Totals count
    every call inside, those of inner scopes too, and can be read at any time from any thread. They are the object's
    own: entered again, it goes on counting.
    """

    kind = "scope"
    counts_as_run = False

    def __init__(self, attribution: Attribution) -> None:
        self.attribution = attribution
        self._totals = [0] * len(TOTALS_FIELDS)
        self._runs = 0
        self._open: list[Frame] = []
        self._entered = False

    # --- entering ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        _current.set(opened(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        inner = frame = _current.get()
        while frame is not None and frame.scope is not self:
            frame = frame.parent
        if frame is not None:
            while inner is not None and inner is not frame:
                inner.close(error)  # a generator left it open
                inner = inner.parent
            _current.set(frame.parent)
        elif self._open:  # opened by another task or thread than the one that leaves it
            frame = self._open[-1]
        if frame is not None:
            frame.close(error)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace)

    def opening(self, frame: Frame) -> None:
        """What is to be done when the scope is entered; for subclasses."""

    def closing(self, frame: Frame, error: BaseException | None) -> None:
        """What is to be done when the scope is left; for subclasses."""

    def adds(self, event: Event) -> None:
        """Adds an event to the totals, for who holds `lock()`."""
        add_to(self._totals, event)

    # --- totals ------------------------------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """The sums over all calls inside so far, at one moment."""
        catch_up()
        return self.counted()

    def counted(self) -> Totals:
        """The sums over what is counted by now, for who holds `lock()`: it is all but calls outside budgets' reach."""
        with _sums.lock:
            sums = tuple(self._totals)
        return Totals(**dict(zip(TOTALS_FIELDS, sums, strict=True)))

    @property
    def usd(self) -> Decimal:
        """What the calls inside cost so far, in exact US dollars; what has no known price is not in it."""
        return self.totals.usd

    @property
    def cost(self) -> float:
        """What the calls inside cost so far, in US dollars, rounded once to a float."""
        return self.totals.cost

    @property
    def total_cost(self) -> float:
        """`cost`, by its longer name."""
        return self.cost

    @property
    def llm_calls(self) -> int:
        """Billed calls inside so far."""
        return self.totals.calls

    @property
    def input_tokens(self) -> int:
        """Tokens that went in so far, cached ones included."""
        return self.totals.input_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens that came out so far, reasoning included."""
        return self.totals.output_tokens

    @property
    def total_tokens(self) -> int:
        """input_tokens + output_tokens."""
        return self.totals.total_tokens

    @property
    def unpriced_calls(self) -> int:
        """Calls inside whose cost is not in the sum, because nobody knows their price."""
        return self.totals.unpriced_calls

    @property
    def agent_runs(self) -> int:
        """Agent runs begun inside so far, those inside other runs too."""
        with _sums.lock:
            return self._runs

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.attribution.to_dict().items() if value)
        totals = self.totals
        return f"<farthing {self.kind} {said}: {totals.calls} calls, {totals.usd} USD>"


class Frame:
    """One entering of a scope.

    scope, parent  the scope, and the frame around this one
    attribution    what is known here: the scope's fields over those of the frames around it
    number         unique in the process; trackers key what they worked out for this frame by it
    held           what watchers keep here, by their own key
    """

    __slots__ = ("attribution", "held", "number", "parent", "scope")

    def __init__(self, scope: Scope, parent: Frame | None) -> None:
        self.scope = scope
        self.parent = parent
        self.number = next(_numbers)
        own = scope.attribution
        self.attribution: Attribution = own if parent is None else own.with_defaults(parent.attribution)
        self.held: dict[object, Any] = {}

    def around(self) -> Iterator[Frame]:
        """This frame and those around it, the innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent

    def close(self, error: BaseException | None) -> None:
        """Tells the scope and the watchers, once, that it was left. `error` is what ended it, if anything."""
        with _sums.lock:
            if self not in self.scope._open:
                return
            self.scope._open.remove(self)
        self.scope.closing(self, error)
        for watcher in tuple(_watchers):
            watcher.left(self, error)


class Watcher(Protocol):
    """Who wants to know when scopes are entered and left. Its methods must not raise."""

    def entered(self, frame: Frame) -> None:
        """A scope was entered."""

    def left(self, frame: Frame, error: BaseException | None) -> None:
        """A scope was left."""


_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> Callable[[], None]:
    """Tells the watcher of scopes from now on; call the result to stop."""
    _watchers.append(watcher)

    def stop() -> None:
        if watcher in _watchers:
            _watchers.remove(watcher)

    return stop


def opened(scope: Scope) -> Frame:
    """A new frame of the scope inside the present one, without making it the present one."""
    frame = Frame(scope, _current.get())
    if scope.counts_as_run and not scope._entered:
        _count_run(frame)
    scope._entered = True
    with _sums.lock:
        scope._open.append(frame)
    scope.opening(frame)
    for watcher in tuple(_watchers):
        watcher.entered(frame)
    return frame


def _count_run(frame: Frame) -> None:
    scopes = {id(outer.scope): outer.scope for outer in frame.around() if outer is not frame}
    with _sums.lock:
        for scope in scopes.values():
            scope._runs += 1


def current() -> Frame | None:
    """The present frame; None outside all scopes."""
    return _current.get()


class Here(Frame):
    """The place of one call: the present frame, and what the probe found there. It adds to no totals of its own."""

    __slots__ = ()

    def __init__(self, parent: Frame | None, trace: str | None, held: dict[object, Any]) -> None:
        self.scope = parent.scope if parent is not None else _NOWHERE
        self.parent = parent
        around = parent.attribution if parent is not None else Attribution()
        self.attribution = around if trace is None or around.trace else Attribution(trace=trace).with_defaults(around)
        self.number = next(_numbers)
        self.held = held


_NOWHERE = Scope(Attribution())

Probe = Callable[[], tuple[str | None, dict[object, Any]] | None]
"""Looks at where the program is: (id of the trace it is in, what to hold for watchers); None: nothing to be held."""


class _Probes:
    probe: Probe | None = None


def look_with(probe: Probe | None) -> None:
    """Sets what looks at where the program is when a call is made; None: nothing does."""
    _Probes.probe = probe


def here() -> Frame | None:
    """Where the program is now, as a call that goes out remembers it: the present frame, with what a probe found."""
    frame = _current.get()
    if _Probes.probe is None:
        return frame
    found = _Probes.probe()
    return frame if found is None else Here(frame, *found)


def switch(frame: Frame | None) -> Frame | None:
    """Makes a frame the present one and returns the one before."""
    before = _current.get()
    _current.set(frame)
    return before


class within:
    """`with within(frame):` makes a frame the present one, and restores what was before. None: no scope."""

    __slots__ = ("_before", "_frame")

    def __init__(self, frame: Frame | None) -> None:
        self._frame = frame

    def __enter__(self) -> None:
        self._before = _current.get()
        _current.set(self._frame)

    def __exit__(self, *_: object) -> None:
        _current.set(self._before)


def count(event: Event, frame: Frame | None) -> None:
    """Adds an event to the live totals of a frame's scope and of all scopes around it, once each."""
    if frame is None:
        return
    done: set[int] = set()
    with _sums.lock:
        while frame is not None:
            scope = frame.scope
            if id(scope) not in done:
                done.add(id(scope))
                scope.adds(event)
            frame = frame.parent
