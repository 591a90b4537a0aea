"""Budgets around code, in this process: blocks, decorated functions of every kind, nested ones."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import farthing
from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError, BudgetUnavailable, InputError
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


def test_a_block_counts_what_is_inside(tracker: CostTracker, guard: Guard) -> None:
    """Records by hand count; calls that are reserved must fit; outside of it nothing is limited."""
    with farthing.budget(usd=1) as block:
        tracker.record("dear", 5000, 1000)
        assert block.remaining_usd == Decimal("0.4")
        with pytest.raises(BudgetExceededError, match="this block"):
            guard.reserve("dear", input_tokens=5000, max_tokens=0)
        with guard.reserve("dear", input_tokens=3000, max_tokens=0) as hold:
            assert block.remaining_usd == Decimal("0.1")
            hold.dispatch()
            tracker.record("dear", 3500, 0, reservation=hold)
        assert block.remaining_usd == Decimal("0.05")
        tracker.record("dear", 1000, 0)
    guard.reserve("dear", input_tokens=10**6)
    with pytest.raises(BudgetExceededError), block:
        raise AssertionError("never inside")


def test_blocks_nest(tracker: CostTracker, guard: Guard) -> None:
    """A call must fit all blocks around it, and where one refuses, the others hold nothing."""
    with farthing.budget(calls=3) as outer, farthing.budget(tokens=100) as inner:
        tracker.record("cheap", 50, 0)
        with pytest.raises(BudgetExceededError) as caught:
            guard.reserve("m", usd=0, tokens=51)
        assert caught.value.unit == "tokens"
        guard.reserve("m", usd=0, tokens=50)
        assert (outer.llm_calls, inner.total_tokens) == (1, 50)
        assert "100 tokens" in repr(inner)


def test_a_block_and_a_ledgers_budget(guard: Guard) -> None:
    """What the ledger refuses is not held in the block either."""
    guard.set(None, usd="0.5", name="all")
    with farthing.budget(usd=1) as block:
        with pytest.raises(BudgetExceededError):
            guard.reserve("m", usd="0.6")
        assert block.remaining_usd == 1
        guard.reserve("m", usd="0.5")
        assert block.remaining_usd == Decimal("0.5")


def test_a_block_by_threads(guard: Guard) -> None:
    """A hundred threads ask ten cents of a dollar: ten get it."""
    with farthing.budget(usd=1), ThreadPoolExecutor(16) as pool:

        def ask() -> bool:
            try:
                guard.reserve("m", usd="0.10")
            except BudgetExceededError:
                return False
            return True

        got = [pool.submit(farthing.propagate(ask)) for _ in range(100)]
        assert sum(one.result() for one in got) == 10


@pytest.mark.parametrize("wrong", [{}, {"usd": -1}, {"tokens": 1.5}, {"usd": "NaN"}])
def test_blocks_that_cannot_be(wrong: dict[str, object]) -> None:
    """No limit, or one that is no amount."""
    with pytest.raises(InputError):
        farthing.budget(**wrong)  # type: ignore[arg-type]


def test_with_budget(tracker: CostTracker) -> None:
    """Specified behaviour: once $10 are spent the function is not called any more; before, it may pass the limit."""
    calls = []

    @farthing.with_budget(max_cost_usd=10.0)
    def expensive(prompt: str) -> str:
        """Does it."""
        calls.append(prompt)
        tracker.record("dear", 60_000)
        return prompt.upper()

    assert expensive.__doc__ == "Does it."
    assert [expensive("a"), expensive(prompt="b")] == ["A", "B"]
    with pytest.raises(BudgetExceededError, match=r"\$10\.00 in all.*\$12\.00 spent"):
        expensive("c")
    assert calls == ["a", "b"]


def test_with_budget_of_every_kind(tracker: CostTracker, guard: Guard) -> None:
    """Coroutines, generators and async generators are limited alike; what is reserved inside must fit."""

    @farthing.with_budget(max_calls=2)
    async def coroutine() -> int:
        tracker.record("cheap", 1)
        return 1

    @farthing.with_budget(max_calls=2)
    def generator() -> Iterator[int]:
        for n in range(2):
            tracker.record("cheap", 1)
            yield n

    @farthing.with_budget(max_calls=2)
    async def async_generator() -> AsyncIterator[int]:
        for n in range(2):
            tracker.record("cheap", 1)
            yield n

    @farthing.with_budget(max_cost_usd=1)
    def reserved() -> None:
        guard.reserve("m", usd=2)

    async def work() -> None:
        assert [await coroutine(), await coroutine()] == [1, 1]
        with pytest.raises(BudgetExceededError):
            await coroutine()
        assert [n async for n in async_generator()] == [0, 1]
        with pytest.raises(BudgetExceededError):
            [n async for n in async_generator()]

    asyncio.run(work())
    assert list(generator()) == [0, 1]
    with pytest.raises(BudgetExceededError):
        list(generator())
    with pytest.raises(BudgetExceededError):
        reserved()
    with pytest.raises(InputError, match="needs a limit"):
        farthing.with_budget()
    with pytest.raises(InputError, match="must be a function"):
        farthing.with_budget(1)(CostTracker)


def test_what_a_function_hands_on_counts_in_its_budget(tracker: CostTracker, guard: Guard) -> None:
    """A plain function that returns a coroutine or a generator, under another decorator or as an object, too."""

    async def spends() -> None:
        tracker.record("dear", 1000, 0)

    def yields() -> Iterator[int]:
        for n in range(9):
            tracker.record("dear", 1000, 0)
            yield n

    async def yields_later() -> AsyncIterator[int]:
        for n in yields():
            yield n

    class Caller:
        async def __call__(self) -> None:
            await spends()

    async def twice(function: Any) -> None:
        await function()
        with pytest.raises(BudgetExceededError):
            await function()

    async def all_of(made: AsyncIterator[int]) -> None:
        async for _ in made:
            guard.check("dear", usd="0.1")

    limited = farthing.with_budget(max_cost_usd="0.10")
    asyncio.run(twice(limited(lambda: spends())))
    asyncio.run(twice(limited(Caller())))
    plain = limited(lambda: yields())
    assert next(plain()) == 0
    with pytest.raises(BudgetExceededError):
        plain()
    late = limited(lambda: yields_later())
    asyncio.run(all_of(late()))
    with pytest.raises(BudgetExceededError):
        late()


def test_a_flat_plans_calls_cost_a_block_nothing(tracker: CostTracker) -> None:
    """As budgets of the ledger count them; a block of calls counts them, too."""
    with farthing.budget(usd=1, calls=2) as block:
        tracker.record("dear", 10_000, 0, billing="subscription")
        assert (block.usd, block.remaining_usd) == (1, 1)
        tracker.record("dear", 1, 0)
    with pytest.raises(BudgetExceededError, match="2 calls"), block:
        raise AssertionError("never inside")


def test_another_budget_that_is_full_keeps_no_function_from_being_run(tracker: CostTracker, guard: Guard) -> None:
    """What calls in it come to is for that budget to say: it may send them to a cheaper model."""
    guard.set(None, usd="0.10", per="day", on_exceed="downgrade:free")
    tracker.register_model_pricing("free", 0, 0)
    tracker.record("dear", 1000, 0)

    @farthing.with_budget(max_cost_usd=5, per="day", tracker=tracker, name="f")
    def works() -> str:
        return guard.reserve("dear", input_tokens=10, max_tokens=10).model

    assert works() == "free"


def test_a_block_judges_the_model_that_is_called(tracker: CostTracker, guard: Guard) -> None:
    """Where a full budget sends the call to a cheaper model, a block has to have room for that one alone."""
    guard.set("model=dear", usd="0.10", per="day", on_exceed="downgrade:cheap")
    with farthing.budget(usd="0.001") as block:
        with pytest.raises(BudgetExceededError, match="this block"):
            guard.reserve("dear", input_tokens=900, max_tokens=0)
        tracker.record("cheap", 100, 0)
    tracker.record("dear", 1000, 0)
    with block:
        assert guard.reserve("dear", input_tokens=900, max_tokens=0).model == "cheap"
        with pytest.raises(BudgetExceededError, match="this block"):
            guard.reserve("dear", input_tokens=900, max_tokens=0)
    assert guard.status()[0].reserved == 0


def test_a_script_names_its_functions_by_its_file(tmp_path: Path) -> None:
    """Two scripts with a function of the same name share no budget; a module run as a script is the module."""
    (tmp_path / "pk").mkdir()
    text = """
import farthing, sys
@farthing.with_budget(max_cost_usd=1, per="day", tracker=(t := farthing.CostTracker(sys.argv[1])))
def ask(): pass
ask()
"""
    for name in ("a.py", "b.py", "pk/__init__.py", "pk/mod.py"):
        (tmp_path / name).write_text("" if "init" in name else text)
    for run in (["a.py"], ["b.py"], ["-m", "pk.mod"]):
        subprocess.run([sys.executable, *run, "ledger.db"], cwd=tmp_path, check=True, timeout=60)
    with farthing.CostTracker(tmp_path / "ledger.db") as tracker:
        names = {budget.name.removesuffix(".ask usd per day") for budget in tracker.guard.budgets()}
    assert names == {str(tmp_path / "a.py"), str(tmp_path / "b.py"), "pk.mod"}


def test_a_spawned_worker_shares_its_scripts_budget(tmp_path: Path) -> None:
    """Its main module has another name there, and the same file."""
    (tmp_path / "a.py").write_text("""
import farthing, multiprocessing, sys
@farthing.with_budget(max_cost_usd=1, per="day", tracker=(t := farthing.CostTracker("ledger.db")))
def ask(): pass
if __name__ == "__main__":
    ask()
    worker = multiprocessing.get_context("spawn").Process(target=ask)
    worker.start(); worker.join(); sys.exit(worker.exitcode)
""")
    subprocess.run([sys.executable, "a.py"], cwd=tmp_path, check=True, timeout=60)
    with farthing.CostTracker(tmp_path / "ledger.db") as tracker:
        assert [budget.name for budget in tracker.guard.budgets()] == [f"{tmp_path / 'a.py'}.ask usd per day"]


def test_a_function_whose_budget_cannot_be_asked_is_not_run(tmp_path: Path) -> None:
    """As a call of it would not be made: a hard budget fails closed."""
    path = tmp_path / "ledger.db"

    def limited(tracker: CostTracker) -> Any:
        return farthing.with_budget(max_cost_usd=1, per="day", tracker=tracker, name="f")(lambda: "ran")

    with CostTracker(path) as tracker:
        run = limited(tracker)
        assert run() == "ran"
        tracker.close()
        with pytest.raises(BudgetUnavailable):
            run()


def test_with_budget_by_the_day(tracker: CostTracker, guard: Guard, clock: FakeClock) -> None:
    """`per` makes it a budget of the ledger: it shows in the status and begins anew the next day."""

    @farthing.with_budget(max_cost_usd=1, per="day", name="digest", tracker=tracker)
    def digest() -> None:
        tracker.record("dear", 10_000)

    digest()
    with pytest.raises(BudgetExceededError, match="digest usd per day") as caught:
        digest()
    assert caught.value.resets_at is not None
    assert guard.status()[0].budget.name == "digest usd per day"
    tracker.record("dear", 10_000)
    assert guard.status()[0].posted == 10**12
    clock.advance(days=1)
    digest()


def test_durable_functions_nest(tracker: CostTracker, guard: Guard) -> None:
    """What a function inside spends is spent of both: the inner budget does not take the outer's place."""

    @farthing.with_budget(max_cost_usd=2, per="day", name="inner", tracker=tracker)
    def inner() -> None:
        tracker.record("dear", 10_000)

    @farthing.with_budget(max_cost_usd=1, per="day", name="outer", tracker=tracker)
    def outer() -> None:
        inner()

    outer()
    assert {one.budget.name: one.posted for one in guard.status()} == {
        "inner usd per day": 10**12,
        "outer usd per day": 10**12,
    }
    with pytest.raises(BudgetExceededError, match="outer"):
        outer()


def test_a_limit_that_cannot_be_is_told_where_it_is_written() -> None:
    """Not when the function is first called; nor is `@with_budget` without its brackets taken for a limit."""
    for wrong in (
        {"max_cost_usd": -1},
        {"max_cost_usd": 1, "per": "daily"},
        {"max_tokens": 0.5},
        {"max_cost_usd": len},
    ):
        with pytest.raises(InputError):
            farthing.with_budget(**wrong)  # type: ignore[arg-type]


def test_what_is_settled_by_hand_counts_in_blocks_and_in_the_run(tracker: CostTracker, guard: Guard) -> None:
    """Once, however often it is settled; and nothing where the ledger has it already."""
    with farthing.budget(usd=1) as block:
        hold = guard.reserve("m", usd="0.4")
        hold.dispatch()
        for _ in range(3):
            hold.settle(usd="0.3")
        assert block.remaining_usd == Decimal("0.7")
        with pytest.raises(BudgetExceededError):
            guard.reserve("m", usd="0.8")
    uncovered = guard.reserve("cheap", input_tokens=5)
    for _ in range(3):
        uncovered.settle(input_tokens=10**6)
    assert tracker.total_usd == Decimal("1.3")
    assert [row.totals.calls for row in tracker.breakdown("model")] == [1, 1]


async def _cancelled(guard: Guard, **ask: object) -> None:
    """An `areserve` whose task is cancelled while the ledger is asked."""
    asked, go_on, done = asyncio.Event(), threading.Event(), threading.Event()
    loop, reserve = asyncio.get_running_loop(), guard.reserve

    def slow(*args: object, **kwargs: object) -> object:
        loop.call_soon_threadsafe(asked.set)
        go_on.wait(10)
        try:
            return reserve(*args, **kwargs)  # type: ignore[arg-type]
        finally:
            done.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "reserve", slow)
        task = asyncio.create_task(guard.areserve("m", usd="0.5", **ask))  # type: ignore[arg-type]
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        while not done.is_set():
            await asyncio.sleep(0)


@pytest.mark.parametrize("gone", [False, True])
def test_a_cancelled_reserve_holds_nothing(guard: Guard, gone: bool) -> None:
    """Neither in the ledger nor in the block around it: nobody has it in hand, and its call was never made."""
    guard.set(None, usd=1)

    async def work() -> None:
        with farthing.budget(usd=1) as block:
            await _cancelled(guard, gone=gone)
            while guard.status()[0].reserved or block.remaining_usd != 1:  # it is undone in another thread
                await asyncio.sleep(0)
            assert block.remaining_usd == 1

    asyncio.run(asyncio.wait_for(work(), 30))
    assert (guard.status()[0].posted, guard.accounts.audit().holds) == (0, 0)
