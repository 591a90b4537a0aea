"""Who calls are for: `attribute`, `agent_run`, `session` and `task`, as blocks around the code that makes the calls.

    with farthing.session("chat-7", user="u1") as session:
        with farthing.agent_run("researcher") as run:
            ...                                  # every call in here is the researcher's
        run.cost, run.llm_calls, session.total_tokens

Blocks nest; what an inner one leaves open is filled in from the outer ones. asyncio tasks inherit the block they were
made in. So do threads and executors while `follow_threads` is on, which instrumenting does; else use `propagate`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar, Unpack

from farthing import scopes
from farthing.budgets.people import running_now
from farthing.capture import process
from farthing.details import attribution_of
from farthing.errors import InputError
from farthing.event import Attribution, Event, Who, WhoAndAgent, new_id
from farthing.money import pico_to_usd, usd_to_pico
from farthing.scopes import Scope
from farthing.tracker import CostTracker

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class AgentRun(Scope):
    """One run of an agent. `id` is its attribution `run`; the blocks around it count it in `agent_runs`."""

    kind = "agent run"
    counts_as_run = True

    @property
    def id(self) -> str:
        """What its calls carry as `run`."""
        return str(self.attribution.run)

    @property
    def agent(self) -> str:
        """The agent's name."""
        return str(self.attribution.agent)


class Session(Scope):
    """One session. A server that enters it for each message keeps the object, and its totals go on."""

    kind = "session"

    @property
    def id(self) -> str:
        """What its calls carry as `session`."""
        return str(self.attribution.session)


class Task(Scope):
    """One task, whose end is written to the ledger, so that reports show what a completed task of its type costs.

    Leaving the block ends it as `done`, or `failed` where an error ended the block, or `cancelled`, unless `finish`
    said how it ended. With `ends_with_block=False` it ends only by `finish`: for a task done in several blocks.
    """

    kind = "task"

    def __init__(
        self, attribution: Attribution, *, tracker: CostTracker | None = None, ends_with_block: bool = True
    ) -> None:
        super().__init__(attribution)
        self._tracker = tracker
        self._ends_with_block = ends_with_block
        self._home: scopes.Frame | None = None
        self.outcome: str | None = None

    @property
    def id(self) -> str:
        """What its calls carry as `task`."""
        return str(self.attribution.task)

    @property
    def type(self) -> str | None:
        """What its calls carry as `task_type`."""
        return self.attribution.task_type

    def finish(self, outcome: str = "done", value_usd: Decimal | int | float | str | None = None) -> Event:
        """Writes how the task ended and what it was worth; the event has operation `task`, no calls and no cost.

        outcome: done, failed, cancelled, or a word of your own; value_usd: US dollars. Said again, the latest counts.
        An outcome that is no text or a value that is no finite amount: InputError.
        """
        if not isinstance(outcome, str) or not outcome:
            raise InputError(f"outcome = {outcome!r}: must be text, e.g. 'done' or 'failed'")
        result = {"outcome": outcome}
        if value_usd is not None:
            try:
                result["value_usd"] = f"{pico_to_usd(usd_to_pico(value_usd)):f}"
            except (ArithmeticError, TypeError, ValueError):
                raise InputError(f"value_usd = {value_usd!r}: must be a finite amount of US dollars") from None
        self.outcome = outcome
        frame = self._home or scopes.Frame(self, scopes.current())
        with scopes.within(frame):
            return self._told().record(operation="task", metadata=result)

    def _told(self) -> CostTracker:
        return self._tracker or process.tracker()

    def opening(self, frame: scopes.Frame) -> None:
        """Remembers where it was entered, so that its end is attributed alike; who kills the task cancels what runs."""
        self._home = frame
        if running_now() is not None:
            self._told().works_in(frame)

    def closing(self, frame: scopes.Frame, error: BaseException | None) -> None:
        """Ends the task with the block, unless it has ended or goes on."""
        if self._ends_with_block and self.outcome is None and frame is self._home:
            stopped = error is not None and not isinstance(error, Exception)
            if stopped or isinstance(error, asyncio.CancelledError):
                self.finish("cancelled")
            else:
                self.finish("done" if error is None else "failed")


def attribute(agent: str | None = None, **who: Unpack[Who]) -> Scope:
    """A block whose calls are for these: `with attribute(agent="researcher", metadata={"ticket": 7}) as scope:`.

    `scope.cost`, `.llm_calls`, `.total_tokens`, ... are live. Unknown names and values that are no text: InputError.
    """
    return Scope(_who({"agent": agent, **who}))


def agent_run(agent: str, **who: Unpack[Who]) -> AgentRun:
    """A run of an agent, with an id of its own: `with agent_run("researcher") as run:`; then `run.cost`, ..."""
    return AgentRun(_who({"run": new_id(), "agent": agent, **who}))


def session(id: str | int | None = None, **who: Unpack[WhoAndAgent]) -> Session:
    """A session: `with session("chat-7") as s:`; then `s.total_tokens`, `s.total_cost`, `s.agent_runs`, ..."""
    return Session(_who({**who, "session": id if id is not None else new_id()}))


def task(
    id: str | int | None = None,
    type: str | None = None,
    *,
    tracker: CostTracker | None = None,
    ends_with_block: bool = True,
    **who: Unpack[WhoAndAgent],
) -> Task:
    """A task of a type: `with task("T-1", type="review") as t: ...; t.finish("done", value_usd=40)`. See `Task`."""
    given = _who({"task_type": type, **who, "task": id if id is not None else new_id()})
    return Task(given, tracker=tracker, ends_with_block=ends_with_block)


def current() -> Attribution:
    """What a call made now is attributed to by the blocks around it."""
    frame = scopes.current()
    return Attribution() if frame is None else frame.attribution


def propagate(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The function, to be run by another thread as if inside the present blocks: `pool.submit(propagate(work), x)`.

    It may be run several times and by several threads at once.
    """
    frame = scopes.current()

    @functools.wraps(function)
    def inside(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        with scopes.within(frame):
            return function(*args, **kwargs)

    return inside


def _who(given: Mapping[str, Any]) -> Attribution:
    return attribution_of({name: value for name, value in given.items() if value is not None})
