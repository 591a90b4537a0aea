"""After a fork, parent and child each write their own rows through connections of their own."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.event import Attribution, Event
from farthing.ledger import Filter, Question, forks, open_ledger
from farthing.ledger.controls import Control
from farthing.ledger.sqlite import SqliteStore
from farthing.policy import make_budget

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child, which then ends at once. Its exit code: 0 where nothing raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child must not go on into the rest of the tests
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def open_files(folder: Path) -> set[str]:
    """The numbers of this process's open files in the folder; nothing where the system does not say."""
    numbers = Path("/proc/self/fd")
    if not numbers.is_dir():
        return set()
    return {n for n in os.listdir(numbers) if os.path.realpath(numbers / n).startswith(f"{folder}{os.sep}")}


def by_agent(store: Any) -> dict[str | None, int]:
    return {row.key[0]: row.totals.calls for row in store.totals(Question(by=("agent",)))}


@pytest.mark.parametrize("durability", ["commit", "full", "queued"])
def test_parent_and_child_write_their_own(tmp_path: Path, make_event: Callable[..., Event], durability: Any) -> None:
    """Rows queued before the fork are written once, by the parent; both go on; nothing is lost or there twice."""
    with open_ledger(tmp_path / "ledger.db", durability=durability) as store:
        store.append(make_event(attribution=Attribution(agent="before")))

        def child() -> None:
            assert store.append(make_event(attribution=Attribution(agent="child"))) == "added"
            store.append_many((make_event(attribution=Attribution(agent="child")), None) for _ in range(10))
            store.flush()
            assert by_agent(store)["child"] == 11
            store.close()

        assert in_child(child) == 0
        store.append(make_event(attribution=Attribution(agent="after")))
        assert by_agent(store) == {"before": 1, "child": 11, "after": 1}


def test_the_child_leaves_inherited_connections_alone(tmp_path: Path) -> None:
    """A fork amid the parent's transaction: the child neither commits it nor ends it, even when its garbage goes."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        store._writer.database.execute("BEGIN IMMEDIATE")
        store._writer.database.execute("INSERT INTO price_records VALUES ('half', 'written')")
        files = open_files(tmp_path)

        def child() -> None:
            gc.collect()
            assert open_files(tmp_path) == files
            assert store.price_record("half") is None
            store.close()

        assert in_child(child) == 0
        store._writer.database.execute("COMMIT")
        assert store.price_record("half") == "written"


def test_the_child_of_a_ledger_in_memory_knows_no_budgets(make_event: Callable[..., Event]) -> None:
    """Its ledger starts empty: a budget that it sets is the one that holds, and its accounts are its own."""
    with open_ledger(":memory:") as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="n"))
        store.accounts.say(Control(org="default", kind="agent", name="a", action="pause", at_us=1))
        store.append(make_event())
        assert store.accounts.budgets() and store.accounts.controls()

        def child() -> None:
            assert not store.accounts.controls()
            store.accounts.put(make_budget("agent=writer", usd=5, name="n"))
            store.append(make_event(cost_pico=3))
            assert [one.limit for one in store.accounts.budgets()] == [5 * 10**12]
            assert [one.posted for one in store.accounts.standings()] == [3]
            assert store.accounts.audit().holds_true

        assert in_child(child) == 0
        assert [one.posted for one in store.accounts.standings()] == [1_000]


PROGRAM = """
import os, sys
from farthing.ledger.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
rows = store.events()
store.totals()
with store._writer.database.transaction():
    store._writer.database.execute("INSERT INTO price_records VALUES ('half', 'written')")
    pid = os.fork()
    if pid == 0:
        sys.exit(7)  # through the whole end of an interpreter: exit handlers, garbage, modules
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert store.price_record("half") == "written"
sys.exit(code)
"""


def test_a_child_that_ends_as_programs_do(tmp_path: Path) -> None:
    """The end of a child's interpreter does not close what it inherited: the parent's transaction stays whole."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "a.db")], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (7, "")


def test_forks_while_threads_write(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Children forked out of the middle of other threads' writing start afresh and never hang on a lock."""
    stop = threading.Event()
    written = [0] * 3
    with SqliteStore(tmp_path / "ledger.db") as store:

        def work(n: int) -> None:
            while not stop.is_set():
                store.append(make_event())
                store.totals(Question(where=Filter(since_us=2**62)))
                written[n] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()

        def child() -> None:
            for _ in range(5):
                store.append(make_event(attribution=Attribution(agent="child")))
            store.close()

        codes = [in_child(child) for _ in range(12)]
        stop.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 12
        assert by_agent(store) == {"writer": sum(written), "child": 60}


def test_memory_stays_with_the_parent(make_event: Callable[..., Event]) -> None:
    """A ledger in memory starts empty in the child; what the child adds, the parent does not see."""
    with open_ledger(":memory:") as store:
        store.append(make_event())

        def child() -> None:
            assert store.totals()[0].totals.calls == 0
            store.append_many((make_event(), None) for _ in range(3))
            assert store.totals()[0].totals.calls == 3

        assert in_child(child) == 0
        assert store.totals()[0].totals.calls == 1


def test_a_grandchild_starts_afresh_too(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Fork of a fork, the second with connections of its own open."""
    with open_ledger(tmp_path / "ledger.db") as store:

        def grandchild() -> None:
            store.append(make_event())

        def child() -> None:
            store.append(make_event())
            assert in_child(grandchild) == 0
            store.append(make_event())

        assert in_child(child) == 0
        assert store.totals()[0].totals.calls == 3


def test_what_has_gone_is_not_told_of_forks(tmp_path: Path) -> None:
    """A store that nobody holds any more is let go of, closed or not."""
    gc.collect()  # those that other tests have left
    before = len(forks._members)
    store = SqliteStore(tmp_path / "ledger.db")
    assert len(forks._members) == before + 1
    store.close()
    del store
    gc.collect()
    assert len(forks._members) <= before
