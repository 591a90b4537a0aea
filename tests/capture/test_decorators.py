"""`@track` attributes what a function calls, whatever kind of function it is, and leaks to nobody."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from farthing import scopes, testing
from farthing.capture.context import attribute, current, session
from farthing.capture.decorators import track
from farthing.capture.faults import FAULTS
from farthing.errors import InputError
from farthing.tracker import CostTracker


@pytest.fixture
def tracker() -> Iterator[CostTracker]:
    with testing.tracker({"m": (1, 2)}) as made:
        yield made


def who() -> str | None:
    return current().agent


def test_a_function_runs_as_its_agent(tracker: CostTracker) -> None:
    """Inside it is the agent, outside not, and each call is a run of its own inside the session around it."""

    @track(agent="researcher", feature="search")
    def work(x: int, *, y: int = 2) -> tuple[int, Any]:
        """Works."""
        return x + y, tracker.record("m", 1, 1).attribution

    with session("s") as around:
        first, second = work(1), work(1, y=3)
    assert (first[0], second[0]) == (3, 4)
    assert (first[1].agent, first[1].feature, first[1].session) == ("researcher", "search", "s")
    assert first[1].run != second[1].run
    assert around.agent_runs == 2
    assert who() is None
    assert (work.__name__, work.__doc__, str(inspect.signature(work))) == (
        "work",
        "Works.",
        "(x: 'int', *, y: 'int' = 2) -> 'tuple[int, Any]'",
    )


def test_bare_it_takes_the_functions_name() -> None:
    """The shortest way: `@track`."""

    @track
    def summariser() -> str | None:
        return who()

    assert summariser() == "summariser"


def test_without_an_agent_it_only_attributes(tracker: CostTracker) -> None:
    """No agent, no agent run."""

    @track(feature="search")
    def work() -> Any:
        return tracker.record("m", 1, 1).attribution

    with attribute("outer") as scope:
        found = work()
    assert (found.agent, found.feature, found.run, scope.agent_runs) == ("outer", "search", None, 0)


def test_methods_of_every_kind() -> None:
    """Methods, class methods and static methods, decorated above or below."""

    class Agent:
        @track("m")
        def method(self) -> tuple[str | None, bool]:
            return who(), isinstance(self, Agent)

        @track("c1")
        @classmethod
        def above(cls) -> tuple[str | None, bool]:
            return who(), cls is Agent

        @classmethod
        @track("c2")
        def below(cls) -> tuple[str | None, bool]:
            return who(), cls is Agent

        @track("s")
        @staticmethod
        def static(x: int) -> tuple[str | None, int]:
            return who(), x

        @track
        @staticmethod
        def bare() -> str | None:
            return who()

    agent = Agent()
    assert agent.method() == ("m", True)
    assert (agent.above(), Agent.below()) == (("c1", True), ("c2", True))
    assert (agent.static(3), agent.bare()) == (("s", 3), "bare")
    with pytest.raises(InputError, match="track its methods"):
        track("x")(Agent)


def test_an_error_passes_through_and_the_scope_ends() -> None:
    """The host's errors are the host's."""

    @track("a")
    def fails() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fails()
    assert scopes.current() is None


def test_a_generator_is_in_its_scope_only_while_it_runs() -> None:
    """Between two steps its consumer is who it was, also where the body has a block of its own open."""

    @track("gen")
    def steps() -> Iterator[Any]:
        got = yield who()
        with attribute(step="inner"):
            yield (who(), current().step, got)
        return "result"

    assert inspect.isgeneratorfunction(steps)
    with attribute("consumer"):
        generator = steps()
        assert (next(generator), who()) == ("gen", "consumer")
        assert generator.send(7) == ("gen", "inner", 7)  # type: ignore[attr-defined]
        assert (who(), current().step) == ("consumer", None)
        with pytest.raises(StopIteration) as end:
            next(generator)
        assert end.value.value == "result"
        assert who() == "consumer"


def test_a_generator_gets_what_is_thrown_and_is_closed() -> None:
    """Errors thrown in and closing reach the body, in its scope."""
    seen: list[Any] = []

    @track("gen")
    def steps() -> Iterator[int]:
        try:
            yield 1
        except ValueError:
            seen.append(("thrown", who()))
            yield 2
        try:
            yield 3
        finally:
            seen.append(("closed", who()))

    generator = steps()
    next(generator)
    assert generator.throw(ValueError()) == 2  # type: ignore[attr-defined]
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    assert seen == [("thrown", "gen"), ("closed", "gen")]
    assert who() is None


def test_a_generators_calls_count_where_it_started(tracker: CostTracker) -> None:
    """A generator consumed after the block that started it still belongs to that block."""

    @track("gen")
    def steps() -> Iterator[int]:
        for i in range(3):
            tracker.record("m", 1_000_000, 0)
            yield i

    with session("s") as around:
        generator = steps()
        next(generator)
    assert list(generator) == [1, 2]
    assert (around.cost, around.agent_runs) == (3.0, 1)


def test_coroutines_and_async_generators() -> None:
    """Awaiting and iterating keep the scope inside, and the kind of the function stays."""
    seen: list[Any] = []

    @track("co")
    async def work(x: int) -> tuple[int, str | None]:
        await asyncio.sleep(0)
        return x, who()

    @track("agen")
    async def stream() -> AsyncIterator[Any]:
        try:
            got = yield who()
            await asyncio.sleep(0)
            with attribute(step="inner"):
                yield (who(), got)
            try:
                yield "before"
            except ValueError:
                yield ("caught", who())
            yield "never reached"
        finally:
            await asyncio.sleep(0)
            seen.append(("closed", who()))

    assert inspect.iscoroutinefunction(work)
    assert inspect.isasyncgenfunction(stream)

    async def main() -> None:
        assert await work(3) == (3, "co")
        generator: Any = stream()
        assert await generator.__anext__() == "agen"
        assert who() is None
        assert await generator.asend(5) == ("agen", 5)
        assert current().step is None
        assert await generator.__anext__() == "before"
        assert await generator.athrow(ValueError()) == ("caught", "agen")
        await generator.aclose()
        assert seen == [("closed", "agen")]
        items = [item async for item in stream()]
        assert (items[0], who()) == ("agen", None)

    asyncio.run(main())


def test_an_async_generators_error_reaches_its_consumer() -> None:
    """What the body raises is raised where it is consumed."""

    @track("agen")
    async def stream() -> AsyncIterator[int]:
        yield 1
        raise KeyError("mine")

    async def main() -> list[int]:
        return [i async for i in stream()]

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


def test_values_may_depend_on_the_arguments(caplog: pytest.LogCaptureFixture) -> None:
    """A function of the call's arguments; where it fails that field is left out, told once, and the call goes on."""

    @track("writer", user=lambda args: args["user_id"], task=lambda args: args["missing"])
    def write(user_id: int, *rest: int) -> Any:
        return current()

    before = FAULTS.total
    found = write(7, 8)
    assert (found.user, found.task, found.agent) == ("7", None, "writer")
    assert write(9).user == "9"
    assert FAULTS.total == before + 2
    assert len([r for r in caplog.records if "working out the task" in r.message]) <= 1
    with pytest.raises(TypeError, match="user_id"):
        write()


def test_wrong_fields_are_told_where_they_are_written() -> None:
    """Not when the function is first called in production."""
    with pytest.raises(InputError, match="did you mean 'feature'"):
        track(featur="x")
    with pytest.raises(InputError, match="must be text"):
        track(agent="a", team=["x"])


def test_what_is_handed_on_stays_what_it_is() -> None:
    """A generator that others have, too, does not end with one reader; one that may be awaited may be."""
    shared = iter(range(3))
    generator = (n for n in shared)

    @track(agent="a")
    def batch() -> Any:
        return generator

    assert [next(batch()), next(batch())] == [0, 1]

    @types.coroutine
    def pause() -> Any:
        yield
        return who()

    @track(agent="a")
    def waits() -> Any:
        return pause()

    async def main() -> None:
        await waits()

    asyncio.run(main())
