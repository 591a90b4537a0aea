"""What budgets come to, exactly: by threads, by asyncio tasks and by four processes at once."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from farthing import scopes
from farthing.amounts import Amounts
from farthing.budgets.blocks import budget
from farthing.budgets.guard import Guard
from farthing.errors import BudgetConflict, BudgetExceededError, InputError
from farthing.event import Attribution, Event, new_id, now_us, to_us
from farthing.ledger import Store, open_ledger
from farthing.ledger.policies import Standing
from farthing.policy import Budget
from farthing.pricing.catalog import Catalog
from farthing.usage import Usage
from farthing.windows import span

WORKER = Path(__file__).with_name("budget_worker.py")
WAYS: dict[str, Callable[[Guard], bool]] = runpy.run_path(str(WORKER))["WAYS"]
CENT = 10**10


class Clock:
    """A moment that tests move."""

    def __init__(self, moment: str = "2026-03-10T12:00:00+00:00") -> None:
        self.set(moment)

    def __call__(self) -> int:
        return self.us

    def set(self, moment: str | datetime) -> None:
        self.us = to_us(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)

    def advance(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_ledger(tmp_path / "ledger.db" if request.param == "file" else ":memory:") as opened:
        yield opened


@pytest.fixture
def guard(store: Store, clock: Clock) -> Iterator[Guard]:
    """A guard; whatever a test did, accounts, entries and events agree at its end."""
    made = Guard(lambda: store, clock_us=clock)
    yield made
    found = store.accounts.audit()
    assert found.holds_true, [str(m) for m in found.mismatches]


def standing(guard: Guard, name: str) -> Standing:
    (found,) = [one for one in guard.status() if one.budget.name == name]
    return found


def event(at: str | int, usd: str, **given: Any) -> Event:
    identity = new_id()
    at_us = at if isinstance(at, int) else to_us(datetime.fromisoformat(at))
    fields: dict[str, Any] = {
        "id": identity,
        "dedupe_key": identity,
        "at_us": at_us,
        "recorded_at_us": at_us,
        "attribution": Attribution(agent="a"),
        "provider": "openai",
        "model": "m",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "cost_pico": int(Decimal(usd) * 10**12),
        "price_status": "priced",
    }
    return Event(**{**fields, **given})


# --- one hundred at once ---------------------------------------------------------------------------------------------


def by_threads(path: Path, what: str, number: int) -> int:
    with open_ledger(path) as store, ThreadPoolExecutor(16) as pool:
        guard = Guard(lambda: store)
        return sum(pool.map(lambda _: WAYS[what](guard), range(number)))


def by_tasks(path: Path, what: str, number: int) -> int:
    async def work(guard: Guard, turn: asyncio.Semaphore) -> bool:
        async with turn:
            return await asyncio.to_thread(WAYS[what], guard)

    async def all_of_them(store: Store) -> int:
        guard = Guard(lambda: store)
        turn = asyncio.Semaphore(16)
        return sum(await asyncio.gather(*(work(guard, turn) for _ in range(number))))

    with open_ledger(path) as store:
        return asyncio.run(all_of_them(store))


def by_processes(path: Path, what: str, number: int) -> int:
    command = [sys.executable, str(WORKER), str(path), what, str(number // 4)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    return sum(map(int, answers))


ALL_AT_ONCE = pytest.mark.parametrize("at_once", [by_threads, by_tasks, by_processes], ids=lambda f: f.__name__)
AtOnce = Callable[[Path, str, int], int]


@ALL_AT_ONCE
def test_a_dollar_holds_ten_dimes(tmp_path: Path, at_once: AtOnce) -> None:
    """Limit $1, a hundred at once ask $0.10: exactly ten get it."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=1, name="dollar")
        assert at_once(path, "dimes", 100) == 10
        found = standing(guard, "dollar")
        assert (found.posted, found.reserved) == (0, 100 * CENT)
        assert store.accounts.audit().holds_true


@ALL_AT_ONCE
def test_all_scopes_or_none(tmp_path: Path, at_once: AtOnce) -> None:
    """The organisation has $0.05 left, $0.06 is asked under agent and organisation: denied, and the agent holds 0."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=1, name="agent")
        guard.set(None, usd="0.05", name="org")
        assert at_once(path, "sides", 40) == 0
        assert [one.reserved for one in guard.status()] == [0, 0]
        assert WAYS["sides"](guard) is False
        guard.reserve("m", usd="0.05", agent="a")
        assert [one.reserved for one in guard.status()] == [5 * CENT, 5 * CENT]
        assert store.accounts.audit().holds_true


@ALL_AT_ONCE
def test_ten_thousand_holds_leave_nothing(tmp_path: Path, at_once: AtOnce) -> None:
    """Ten thousand holds of $0.001 that come to $0.0007: $7 exactly, nothing held, nothing lost."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=100, name="many")
        assert at_once(path, "sub_cents", 10_000) == 10_000
        found = standing(guard, "many")
        assert (found.posted, found.reserved) == (7 * 10**12, 0)
        assert store.totals()[0].totals.cost_pico == 7 * 10**12
        assert store.accounts.audit().holds_true


@pytest.mark.slow
def test_a_million_holds_beside_a_million_calls() -> None:
    """In memory: a million holds that come to nothing, beside a million calls of $0.0007 by another: $700 exactly."""
    block = budget(usd=1000)
    one = event("2026-03-01T00:00:00+00:00", "0.0007")
    held = Amounts(10**9, 0, 1)
    with block:
        frame = scopes.current()

        def hold_and_release() -> None:
            for _ in range(1_000_000):
                block.hold(held, "m")
                block.free(held)

        def call() -> None:
            for _ in range(1_000_000):
                scopes.count(one, frame)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(hold_and_release), pool.submit(call)]:
                done.result()
    assert block.usd == 700
    assert block.remaining_usd == 300


# --- one after the other ---------------------------------------------------------------------------------------------


def test_a_denial_consumes_nothing(guard: Guard) -> None:
    """90 of 100 used, 50 denied, then 5 is allowed; the error says everything in words and as fields."""
    guard.set("agent=a", tokens=100, per="day", name="tokens")
    guard.reserve("m", tokens=90, agent="a", usd=0)
    with pytest.raises(BudgetExceededError) as caught:
        guard.reserve("m", tokens=50, agent="a", usd=0)
    error = caught.value
    assert (error.budget, error.scope, error.unit, error.why) == ("tokens", "agent=a", "tokens", "limit")
    assert (error.limit, error.posted, error.reserved, error.requested) == (100, 0, 90, 50)
    assert error.resets_at == datetime(2026, 3, 11, tzinfo=UTC)
    assert error.status_code == 402 and error.headers == {"x-should-retry": "false"}
    assert "100 tokens per day for agent=a, 0 tokens spent, 90 tokens held" in str(error)
    guard.reserve("m", tokens=5, agent="a", usd=0)
    assert standing(guard, "tokens").reserved == 95


def test_a_call_that_was_too_dear_is_recorded(guard: Guard, store: Store) -> None:
    """With $0.90 of $1 spent a $5 call that happened all the same is posted, and the next $0.05 is denied."""
    guard.set("agent=a", usd=1, name="dollar")
    store.append(event("2026-03-10T12:00:00+00:00", "0.90"))
    store.append(event("2026-03-10T12:00:01+00:00", "5"))
    assert standing(guard, "dollar").posted == 590 * CENT
    with pytest.raises(BudgetExceededError):
        guard.reserve("m", usd="0.05", agent="a")


def killed_amid(path: Path, gone: bool) -> None:
    """A process holds $0.10 for a second, says so, and is killed."""
    code = (
        "import sys, time; from farthing.ledger import open_ledger; from farthing.budgets.guard import Guard\n"
        "store = open_ledger(sys.argv[1]); guard = Guard(lambda: store)\n"
        "guard.reserve('m', usd='0.10', agent='a', key='k', hold_s=1, gone=sys.argv[2] == '1')\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path), "1" if gone else "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "held\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()


def test_a_kill_before_the_call_left(tmp_path: Path) -> None:
    """A hold of $0.10, kill -9 before dispatch: when it expires, 0 held and 0 spent."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=1, name="dollar")
        killed_amid(path, gone=False)
        assert store.accounts.expire(now_us() + 2_000_000) == 1
        found = standing(guard, "dollar")
        assert (found.posted, found.reserved) == (0, 0)
        assert store.accounts.audit().holds_true


def test_a_kill_after_the_call_left(tmp_path: Path) -> None:
    """After dispatch: $0.10 estimated when it expires; a late settlement of $0.04 makes it $0.04."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        guard.set("agent=a", usd=1, name="dollar")
        killed_amid(path, gone=True)
        store.accounts.expire(now_us() + 2_000_000)
        found = standing(guard, "dollar")
        assert (found.posted, found.reserved) == (10 * CENT, 0)
        (estimate,) = store.events()
        assert (estimate.usage_status, estimate.cost_pico) == ("estimated", 10 * CENT)
        late = event(now_us(), "0.04", response_id="r" * 20, dedupe_key="response:" + "r" * 20)
        assert store.accounts.settle("k", [(late, None)]) == ["corrected"]
        assert store.accounts.settle("k", [(late, None)]) == ["duplicate"]
        assert standing(guard, "dollar").posted == 4 * CENT
        assert store.accounts.audit().holds_true


def test_settling_five_times_is_settling_once(guard: Guard) -> None:
    """By figures and by events alike."""
    guard.set("agent=a", usd=1, name="dollar")
    hold = guard.reserve("m", usd="0.10", agent="a", gone=True)
    outcomes = [hold.settle(usd="0.04") for _ in range(5)]
    assert outcomes == [["added"], *[["duplicate"]] * 4]
    assert (standing(guard, "dollar").posted, standing(guard, "dollar").reserved) == (4 * CENT, 0)
    other = guard.reserve("m", usd="0.10", agent="a", gone=True)
    one = event(other.at_us, "0.05")
    assert [other.settle([(one, None)]) for _ in range(5)] == [["added"], *[["duplicate"]] * 4]
    assert standing(guard, "dollar").posted == 9 * CENT


def test_settled_in_the_window_it_was_reserved_in(guard: Guard, clock: Clock, store: Store) -> None:
    """Reserved 23:59:59, settled 00:00:05: the old day's."""
    guard.set("agent=a", usd=1, per="day", name="daily")
    clock.set("2026-03-10T23:59:59+00:00")
    hold = guard.reserve("m", usd="0.10", agent="a", gone=True)
    clock.advance(6)
    hold.settle([(event(clock(), "0.08"), None)])
    assert standing(guard, "daily").posted == 0
    clock.advance(-6)
    assert (standing(guard, "daily").posted, standing(guard, "daily").reserved) == (8 * CENT, 0)


@pytest.mark.parametrize(
    ("noon", "hours"), [("2026-03-08T12:00", 23), ("2026-11-01T12:00", 25), ("2026-06-01T12:00", 24)]
)
def test_days_of_new_york(guard: Guard, clock: Clock, noon: str, hours: int) -> None:
    """The days on which its clocks change last 23 and 25 hours, and what is spent in them is that day's."""
    there = ZoneInfo("America/New_York")
    moment = datetime.fromisoformat(noon).replace(tzinfo=there)
    start, end = span("day", to_us(moment), "America/New_York")
    assert end is not None and end - start == hours * 3_600_000_000
    guard.set("agent=a", usd=1, per="day", tz="America/New_York", name="ny")
    for at_us, left in ((start, 90), (end - 1, 80), (end, 90)):
        clock.us = at_us
        guard.reserve("m", usd="0.10", agent="a", gone=True).settle(usd="0.10")
        assert standing(guard, "ny").remaining == left * CENT


def test_months_of_tokyo(guard: Guard, clock: Clock) -> None:
    """March begins in Tokyo at 15:00 UTC of February's last day."""
    guard.set("agent=a", usd=1, per="month", tz="Asia/Tokyo", name="tokyo")
    clock.set("2026-02-28T14:59:59+00:00")
    guard.reserve("m", usd=1, agent="a", gone=True).settle(usd=1)
    with pytest.raises(BudgetExceededError) as caught:
        guard.reserve("m", usd="0.01", agent="a")
    assert caught.value.resets_at == datetime(2026, 2, 28, 15, tzinfo=UTC)
    clock.set("2026-02-28T15:00:00+00:00")
    guard.reserve("m", usd="0.01", agent="a")


def test_what_is_spent_is_posted_even_above_the_hold(guard: Guard) -> None:
    """Hold $0.10, actual $0.15, limit $0.12: posted $0.15, and the next is denied."""
    guard.set("agent=a", usd="0.12", name="cents")
    guard.reserve("m", usd="0.10", agent="a", gone=True).settle(usd="0.15")
    assert standing(guard, "cents").posted == 15 * CENT
    with pytest.raises(BudgetExceededError):
        guard.reserve("m", usd="0.001", agent="a")


@pytest.mark.parametrize("wrong", [-1, float("nan"), "NaN", float("inf"), "much"])
def test_amounts_that_cannot_be(guard: Guard, wrong: Any) -> None:
    """A cost of -1 or NaN is refused, by holds, settlements and limits, and leaves nothing."""
    guard.set("agent=a", usd=1, name="dollar")
    with pytest.raises(InputError):
        guard.reserve("m", usd=wrong, agent="a")
    with pytest.raises(InputError):
        guard.set("agent=b", usd=wrong)
    hold = guard.reserve("m", usd="0.10", agent="a", gone=True)
    with pytest.raises(InputError):
        hold.settle(usd=wrong)
    assert standing(guard, "dollar").reserved == 10 * CENT
    hold.settle(usd=0)


def test_free_models_pass_an_empty_budget(store: Store, clock: Clock) -> None:
    """An explicit free model passes when nothing is left; one whose price nobody knows does not."""
    prices = Catalog.default().child()
    prices.register("own-model", 0, 0)
    guard = Guard(lambda: store, catalog=lambda: prices, clock_us=clock)
    guard.set("agent=a", usd=1, name="dollar")
    guard.reserve("m", usd=1, agent="a", gone=True).settle(usd=1)
    guard.reserve("own-model", input_tokens=1000, agent="a").release()
    with pytest.raises(BudgetExceededError, match="register_model_pricing") as caught:
        guard.reserve("no-such-model-7", input_tokens=1000, agent="a")
    assert caught.value.why == "unpriced"
    guard.set("agent=a", usd=1, name="dollar", on_unpriced="allow")
    guard.reserve("no-such-model-7", input_tokens=1000, agent="a")


def test_one_key_is_one_hold(guard: Guard) -> None:
    """The same key with the same amount is the same hold; with another amount a conflict."""
    guard.set("agent=a", usd=1, name="dollar")
    for _ in range(3):
        guard.reserve("m", usd="0.10", agent="a", key="k")
    assert standing(guard, "dollar").reserved == 10 * CENT
    with pytest.raises(BudgetConflict, match=r"\$0\.10.*\$0\.20"):
        guard.reserve("m", usd="0.20", agent="a", key="k")


def test_release_is_for_what_never_left(guard: Guard) -> None:
    """A dispatched hold is not freed by a release, one that is held is, and only once."""
    guard.set("agent=a", usd=1, name="dollar")
    held = guard.reserve("m", usd="0.10", agent="a")
    assert [held.release(), held.release()] == [True, False]
    gone = guard.reserve("m", usd="0.10", agent="a")
    gone.dispatch()
    assert gone.release() is False
    assert standing(guard, "dollar").reserved == 10 * CENT
    gone.settle(usd=0)
    assert standing(guard, "dollar").reserved == 0


def test_posted_is_what_the_events_say(guard: Guard, store: Store, clock: Clock) -> None:
    """A new budget opens with what its window has spent; imported, late and corrected events post to their windows."""
    for at, usd in (("2026-03-10T01:00:00+00:00", "0.30"), ("2026-03-09T01:00:00+00:00", "0.20")):
        store.append(event(at, usd))
    guard.set("agent=a", usd=1, per="day", name="daily")
    assert standing(guard, "daily").posted == 30 * CENT
    store.append_many([(event("2026-03-09T02:00:00+00:00", "0.05"), None), (event(clock(), "0.01"), None)])
    first = event(clock(), "0.02", usage_status="estimated")
    store.append(first)
    fuller = event(clock(), "0.07", dedupe_key=first.dedupe_key)
    assert store.append(fuller) == "corrected"
    assert standing(guard, "daily").posted == 38 * CENT
    clock.set("2026-03-09T12:00:00+00:00")
    assert standing(guard, "daily").posted == 25 * CENT


def test_removed_and_set_again(guard: Guard, store: Store, clock: Clock) -> None:
    """While a budget is away nothing posts to it; set again it opens with all. A raised limit keeps its account."""
    guard.set("agent=a", usd=1, name="dollar")
    store.append(event(clock(), "0.10"))
    assert guard.raise_limit("dollar", 2).limit == 2 * 10**12
    assert standing(guard, "dollar").posted == 10 * CENT
    guard.remove("dollar", by="ann", reason="spring")
    store.append(event(clock(), "0.20"))
    assert guard.status() == []
    guard.set("agent=a", usd=1, name="dollar")
    assert standing(guard, "dollar").posted == 30 * CENT
    assert [(v.action, v.by) for v in guard.history("dollar")] == [
        *[("set", None)] * 2,
        ("removed", "ann"),
        ("set", None),
    ]


def test_sums_beyond_64_bits(guard: Guard, store: Store, clock: Clock) -> None:
    """What is spent may pass $9.2 million and is exact; a limit above $9,000,000 is refused in words."""
    with pytest.raises(InputError, match=r"\$9,000,000"):
        guard.set("agent=a", usd=9_000_001)
    guard.set("agent=a", usd=9_000_000, name="rich", mode="soft")
    for _ in range(3):
        store.append(event(clock(), "9000000"))
    assert standing(guard, "rich").posted == 27_000_000 * 10**12
    guard.reserve("m", usd=1, agent="a", gone=True).settle(usd="0.5")
    assert standing(guard, "rich").posted == 27_000_000 * 10**12 + 50 * CENT


def test_another_process_sees_a_new_budget_at_once(tmp_path: Path) -> None:
    """Two ledgers open on one file: a budget set by one holds in the other's next call, and its records post."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as one, open_ledger(path) as two:
        mine, theirs = Guard(lambda: one), Guard(lambda: two)
        theirs.reserve("m", usd=5, agent="a")
        mine.set("agent=a", usd=1, name="dollar")
        with pytest.raises(BudgetExceededError):
            theirs.reserve("m", usd=5, agent="a")
        two.append(event(now_us(), "0.40"))
        assert standing(mine, "dollar").posted == 40 * CENT


def test_budget_values_are_checked() -> None:
    """What a budget cannot be is told where it is made, and a budget survives being kept as text."""
    for wrong in ({"window": "year"}, {"unit": "eur"}, {"mode": "hot"}, {"tz": "Mars/Base"}, {"scope": {"agnt": "a"}}):
        with pytest.raises(InputError):
            Budget(**{"name": "x", "limit": 1, **wrong})
    whole = Budget(name="x", limit=1, scope={"agent": "*", "metadata.ticket": "7"}, models=("gpt*",), owner="ann")
    assert Budget.from_json(whole.to_json()) == whole
