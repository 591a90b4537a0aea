"""Paused agents and killed tasks: by whom, why, until when, and in other processes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

import farthing
from farthing.budgets.guard import Guard
from farthing.errors import AgentPausedError, InputError, TaskKilledError
from farthing.ledger import open_ledger
from farthing.testing import FakeClock
from farthing.tracker import CostTracker


def test_pause_and_resume(guard: Guard) -> None:
    """A paused agent's next call raises with the reason and who may lift it; others go on."""
    guard.people.pause("researcher", "loops over the same page", by="ann")
    with pytest.raises(AgentPausedError, match=r"loops over the same page.*\(ann\) may lift that") as caught:
        guard.reserve("m", agent="researcher")
    assert (caught.value.name, caught.value.by, caught.value.until) == ("researcher", "ann", None)
    guard.reserve("m", agent="writer")
    guard.people.resume("researcher")
    guard.reserve("m", agent="researcher")


def test_a_pause_ends_by_itself(guard: Guard, clock: FakeClock) -> None:
    """With `until` it ends then."""
    guard.people.pause("a", until=datetime(2026, 3, 10, 13, tzinfo=UTC))
    with pytest.raises(AgentPausedError, match="until 2026-03-10 13:00 UTC"):
        guard.check("m", agent="a")
    clock.advance(hours=1)
    guard.check("m", agent="a")


def test_a_pause_until_a_moment_that_is_past(guard: Guard) -> None:
    """Would pause nothing: that is said."""
    for pause in (
        lambda until: guard.people.pause("a", until=until),
        lambda until: guard.people.pause_noncritical(until=until),
    ):
        with pytest.raises(InputError, match="is past already, so nothing would be paused"):
            pause(datetime(2026, 3, 10, 11, tzinfo=UTC))
    assert guard.people.all() == []


def test_critical_agents_are_spared(guard: Guard) -> None:
    """By their own mark or their budget's; an agent resumed by name goes on as well, and a pause by name stays."""
    guard.people.set_critical("pager")
    guard.set("agent=billing", usd=10, critical=True)
    guard.people.pause("writer", "broken")
    guard.people.pause_noncritical("daily limit", by="rule")
    for agent in ("pager", "billing"):
        guard.reserve("m", usd=0, agent=agent)
    for agent in ("researcher", "writer", None):
        with pytest.raises(AgentPausedError):
            guard.reserve("m", agent=agent)
    guard.people.resume("researcher")
    guard.reserve("m", agent="researcher")
    guard.people.resume_noncritical()
    guard.reserve("m")
    with pytest.raises(AgentPausedError, match="broken"):
        guard.reserve("m", agent="writer")


def test_other_processes_see_it(tmp_path: Path) -> None:
    """What one ledger's guard says, another's sees at its next look."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as one, open_ledger(path) as two:
        mine, theirs = Guard(lambda: one), Guard(lambda: two)
        theirs.reserve("m", agent="a")
        mine.people.pause("a", "stop")
        mine.people.kill("t1", "runs wild")
        theirs.people.refresh()
        with pytest.raises(AgentPausedError):
            theirs.reserve("m", agent="a")
        with pytest.raises(TaskKilledError, match="task 't1' was killed by somebody: runs wild"):
            theirs.reserve("m", task="t1")


def test_a_killed_task_is_cancelled(tmp_path: Path) -> None:
    """What runs in asyncio for it is cancelled, whichever process said so; its further calls raise; others go on."""
    path = tmp_path / "ledger.db"

    async def work(guard: Guard, name: str, ready: asyncio.Event) -> None:
        with farthing.task(name, ends_with_block=False):
            guard.reserve("m", usd=0)
            ready.set()
            await asyncio.Event().wait()

    async def main() -> None:
        with open_ledger(path) as mine, open_ledger(path) as theirs:
            guard, other = Guard(lambda: mine), Guard(lambda: theirs)
            ready = [asyncio.Event(), asyncio.Event()]
            tasks = [asyncio.create_task(work(guard, f"t{n}", ready[n])) for n in range(2)]
            for one in ready:
                await one.wait()
            other.people.kill("t0", "enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await tasks[0]
            assert not tasks[1].done()
            with pytest.raises(TaskKilledError):
                guard.reserve("m", task="t0")
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_a_killed_task_without_calls_is_cancelled_once(tmp_path: Path) -> None:
    """Entering the block is enough to be known; what it does then to end well is not cut short by cancelling again."""
    path = tmp_path / "ledger.db"
    seen: list[str] = []

    async def work(tracker: CostTracker, entered: asyncio.Event) -> None:
        with farthing.task("t0", tracker=tracker):
            try:
                entered.set()
                await asyncio.Event().wait()
            finally:
                tracker.guard.people.tasks.look()  # as the thread that looks for kills does, time and again
                await asyncio.sleep(0)
                seen.append("ended well")

    async def main() -> None:
        with CostTracker(path) as mine, open_ledger(path) as theirs:
            entered = asyncio.Event()
            running = asyncio.create_task(work(mine, entered))
            await entered.wait()
            Guard(lambda: theirs).people.kill("t0", "enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await asyncio.wait_for(running, 20)
            assert seen == ["ended well"] and running.cancelling() == 1
            assert not mine.faults

    asyncio.run(main())


def test_blocks_of_tasks_nest(tmp_path: Path) -> None:
    """Leaving an inner block leaves the outer one of the same task to be cancelled; whose organisation it is counts."""

    async def work(tracker: CostTracker, ready: asyncio.Event) -> None:
        with farthing.task("t1", tracker=tracker), farthing.task("t2", tracker=tracker):
            with farthing.task("t1", tracker=tracker):
                await asyncio.sleep(0)
            ready.set()
            await asyncio.Event().wait()

    async def main() -> None:
        with CostTracker(tmp_path / "ledger.db", attributes={"org": "acme"}) as tracker:
            ready = asyncio.Event()
            running = asyncio.create_task(work(tracker, ready))
            await ready.wait()
            tracker.guard.people.kill("t1")
            await asyncio.sleep(0)
            assert not running.cancelling()  # another organisation's
            tracker.guard.people.kill("t1", org="acme")
            with pytest.raises(asyncio.CancelledError):
                await running
            with farthing.task("t3", tracker=tracker):
                await asyncio.sleep(0)
            tracker.guard.people.kill("t3", org="acme")
            await asyncio.sleep(0)

    asyncio.run(main())


def test_two_trackers_of_a_ledger_cancel_once(tmp_path: Path) -> None:
    """Each looks for kills; what the work does to end well is cut short by neither."""
    path = tmp_path / "ledger.db"

    async def work(trackers: list[CostTracker], ready: asyncio.Event) -> None:
        with farthing.task("t0", tracker=trackers[0]), farthing.task("t0", tracker=trackers[1]):
            ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                trackers[1].guard.people.refresh()
                trackers[1].guard.people.tasks.look()
                await asyncio.sleep(0)

    async def main() -> None:
        with CostTracker(path) as one, CostTracker(path) as two:
            ready = asyncio.Event()
            running = asyncio.create_task(work([one, two], ready))
            await ready.wait()
            one.guard.people.kill("t0")
            with pytest.raises(asyncio.CancelledError):
                await running
            assert running.cancelling() == 1

    asyncio.run(main())


def test_a_worker_works_for_the_task_of_its_latest_call(guard: Guard) -> None:
    """Not for those whose calls it made before, without a block of theirs."""

    async def main() -> None:
        for name in ("t1", "t2"):
            guard.reserve("m", usd=0, task=name)
        guard.people.kill("t1")
        await asyncio.sleep(0)
        guard.people.kill("t2")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)

    asyncio.run(main())


def test_who_has_left_a_killed_tasks_block_goes_on(tmp_path: Path) -> None:
    """Only what works for the task is cancelled, not what has worked for it."""

    async def main() -> None:
        with CostTracker(tmp_path / "ledger.db") as tracker:
            with farthing.task("t0", tracker=tracker):
                await asyncio.sleep(0)
            tracker.guard.people.kill("t0")
            await asyncio.sleep(0)

    asyncio.run(main())
