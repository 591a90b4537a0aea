"""`@track`: every call that a function makes is attributed, while its body runs and nowhere else.

A generator's body is in its scope from one `yield` to the next: whoever consumes it is not. What the body opens itself
(`with attribute(...)` around a `yield`) stays with it as well.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from farthing import scopes
from farthing.capture.context import AgentRun
from farthing.capture.faults import guarded
from farthing.details import ATTRIBUTES, attribution_of
from farthing.errors import InputError
from farthing.event import Attribution, new_id
from farthing.scopes import Scope

Function = TypeVar("Function", bound=Callable[..., Any])
Maker = Callable[[tuple[Any, ...], dict[str, Any]], Scope]
"""From the arguments of one call, the scope it runs in."""


@overload
def track(agent: Function, /) -> Function: ...
@overload
def track(agent: str | Callable[[Mapping[str, Any]], Any] | None = None, **who: Any) -> Callable[[Any], Any]: ...


def track(agent: Any = None, **who: Any) -> Any:
    """The function, its calls attributed: `@track(agent="researcher", feature="search")`, or bare, by its own name.

    For functions, methods, generators, coroutines and async generators, whose kind and signature stay. With an agent,
    each call of the function is a run of that agent. A value may be a function of the call's arguments:
    `@track(agent="writer", user=lambda args: args["user_id"])`; where it fails, that field is left out and the fault
    counted. Names that are no attribution: InputError.
    """
    if inspect.isroutine(agent) and not who and not _is_lambda(agent):
        return _wrapped(agent, {"agent": getattr(agent, "__name__", None)})
    for name in who:
        if name not in ATTRIBUTES:
            attribution_of({name: "?"})  # raises, with the nearest known name
    given = {"agent": agent, **who} if agent is not None else who
    fixed = {name: value for name, value in given.items() if not callable(value)}
    attribution_of(fixed)  # what is wrong is told where it is written, not when the function is called
    return functools.partial(_wrapped, given=given)


def _is_lambda(function: Any) -> bool:
    return getattr(function, "__name__", "") == "<lambda>"


def _wrapped(function: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(function, staticmethod | classmethod):
        return type(function)(_wrapped(function.__func__, given))
    if isinstance(function, type) or not callable(function):
        raise InputError(f"@track on {function!r}: must be a function or method; of a class, track its methods")
    return in_scope(function, _maker(function, given))


def in_scope(function: Any, make: Maker) -> Any:
    """The function, each call of it run in the scope that `make` gives for its arguments; its kind stays.

    What a plain function hands on to be awaited or iterated (a coroutine, a generator) runs in that scope, too.
    """
    kind = function.func if isinstance(function, functools.partial) else function
    if inspect.isasyncgenfunction(kind):
        return functools.wraps(function)(_tracked_async_generator(function, make))
    if inspect.isgeneratorfunction(kind):

        @functools.wraps(function)
        def tracked_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from _Body(make(args, kwargs), function(*args, **kwargs)))

        return tracked_generator
    if inspect.iscoroutinefunction(kind):

        @functools.wraps(function)
        async def tracked_coroutine(*args: Any, **kwargs: Any) -> Any:
            with make(args, kwargs):
                return await function(*args, **kwargs)

        return tracked_coroutine

    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        with make(args, kwargs) as scope:
            made = function(*args, **kwargs)
        return _going_on(made, scope)

    return tracked


def _going_on(made: Any, scope: Scope) -> Any:
    if inspect.iscoroutine(made):
        return _awaited(made, scope)
    if inspect.isgenerator(made) and not made.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        return _iterated(made, scope)
    if inspect.isasyncgen(made):
        return _tracked_async_generator(lambda: made, lambda *_: scope)()
    return made


async def _awaited(made: Coroutine[Any, Any, Any], scope: Scope) -> Any:
    try:
        with scope:
            return await made
    finally:
        made.close()  # where the scope could not be entered


def _iterated(made: Generator[Any, Any, Any], scope: Scope) -> Generator[Any, Any, Any]:
    return (yield from _Body(scope, made, owns=False))


def _tracked_async_generator(function: Any, make: Maker) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def tracked_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        body = _AsyncBody(make(args, kwargs), function(*args, **kwargs))
        thrown = _Thrown()
        sent = None
        try:
            while True:
                item = await body.step(sent, thrown.taken())
                sent = None
                with thrown:
                    sent = yield item
        except StopAsyncIteration:
            return
        finally:
            await body.close()

    return tracked_async_generator


def _maker(function: Any, given: Mapping[str, Any]) -> Maker:
    """What makes the scope of a call: the fixed fields checked once, the others worked out for each call."""
    fixed = attribution_of({name: value for name, value in given.items() if not callable(value)})
    asked = {name: value for name, value in given.items() if callable(value)}
    signature = inspect.signature(function) if asked else None

    def worked_out(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Attribution:
        who = fixed
        bound = signature.bind(*args, **kwargs)  # type: ignore[union-attr]
        bound.apply_defaults()
        for name, ask in asked.items():
            said = guarded(f"working out the {name} of a tracked call", _said, name, ask, bound.arguments)
            who = who if said is None else said.with_defaults(who)
        return who

    def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope:
        who = (guarded("reading a tracked call's arguments", worked_out, args, kwargs) or fixed) if asked else fixed
        if who.agent is None:
            return Scope(who)
        return AgentRun(who if who.run else Attribution(run=new_id()).with_defaults(who))

    return make


def _said(name: str, ask: Callable[[Mapping[str, Any]], Any], arguments: Mapping[str, Any]) -> Attribution:
    return attribution_of({name: ask(arguments)})


class _Body(Iterator[Any]):
    """A generator whose body runs in a scope. `yield from` it: what is sent and thrown reaches the generator.

    owns: it ends with this; else others may have it, too.
    """

    def __init__(self, scope: Scope, generator: Generator[Any, Any, Any], *, owns: bool = True) -> None:
        self._generator = generator
        self._owns = owns
        self._frame = self._inside = scopes.opened(scope)

    def __next__(self) -> Any:
        return self._step(self._generator.__next__)

    def send(self, value: Any) -> Any:
        """What the body yields next."""
        return self._step(self._generator.send, value)

    def throw(self, error: BaseException) -> Any:
        """What the body yields next, if anything."""
        return self._step(self._generator.throw, error)

    def close(self) -> None:
        """Ends the body."""
        if self._owns:
            self._step(self._generator.close)
        self._frame.close(None)

    def _step(self, go: Callable[..., Any], *given: Any) -> Any:
        outside = scopes.switch(self._inside)
        over = True
        try:
            item = go(*given)
            over = False
            return item
        finally:
            self._inside = scopes.switch(outside) or self._frame
            if over:
                self._frame.close(_failure())


class _AsyncBody:
    """An async generator whose body runs in a scope."""

    def __init__(self, scope: Scope, generator: AsyncGenerator[Any, Any]) -> None:
        self._generator = generator
        self._frame = self._inside = scopes.opened(scope)

    async def step(self, sent: Any, thrown: BaseException | None) -> Any:
        """What the body yields next; StopAsyncIteration at its end."""
        outside = scopes.switch(self._inside)
        over = True
        try:
            item = await (self._generator.asend(sent) if thrown is None else self._generator.athrow(thrown))
            over = False
            return item
        finally:
            self._inside = scopes.switch(outside) or self._frame
            if over:
                self._frame.close(_failure())

    async def close(self) -> None:
        """Ends the body."""
        outside = scopes.switch(self._inside)
        try:
            await self._generator.aclose()
        finally:
            scopes.switch(outside)
            self._frame.close(_failure())


class _Thrown:
    """Takes what a consumer throws into a generator at its `yield`, to hand it on to the body."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def taken(self) -> BaseException | None:
        """What was thrown since last asked."""
        error, self._error = self._error, None
        return error

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._error = None if isinstance(error, GeneratorExit) else error
        return self._error is not None


def _failure() -> BaseException | None:
    """The error on its way out, if it is one: the end of a generator is none."""
    error = sys.exc_info()[1]
    return None if isinstance(error, StopIteration | StopAsyncIteration | GeneratorExit) else error
