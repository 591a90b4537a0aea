"""Holds asked for twice, holds by the hundred, and words that cannot be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from farthing.budgets.guard import Guard
from farthing.errors import BudgetConflict, BudgetExceededError, InputError
from farthing.ledger.holds import KEEP_US, LOT
from farthing.policy import Amounts, Budget, make_budget
from farthing.testing import FakeClock


def test_the_key_of_a_call_that_is_over_holds_nothing(guard: Guard) -> None:
    """A key whose hold has ended is a conflict, not a way past the budget."""
    guard.set(None, usd="0.15")
    guard.reserve("cheap", usd="0.10", key="K", gone=True).settle(usd="0.10")
    with pytest.raises(BudgetConflict, match="is settled, so nothing is held"):
        guard.reserve("cheap", usd="0.10", key="K", gone=True)


def test_the_key_of_another_agents_call(guard: Guard) -> None:
    """One key cannot name holds in different budgets."""
    guard.set("agent=*", usd=1)
    guard.reserve("cheap", usd="0.10", key="K", agent="a")
    guard.reserve("cheap", usd="0.10", key="K", agent="a", step="again")
    with pytest.raises(BudgetConflict, match="for another call"):
        guard.reserve("cheap", usd="0.10", key="K", agent="b")


def test_asked_for_again_as_gone(guard: Guard) -> None:
    """A hold that is asked for again with its call leaving has left: it is not freed any more."""
    guard.set(None, usd=1)
    first = guard.reserve("cheap", usd="0.10", key="K")
    assert guard.reserve("cheap", usd="0.10", key="K", gone=True).state == "dispatched"
    assert not first.release()
    assert guard.reserve("cheap", usd="0.10", key="K").state == "dispatched"


def test_a_budget_set_amid_calls(guard: Guard) -> None:
    """What calls under way hold counts in a budget that is set meanwhile, or whose window is another from now on."""
    guard.set(None, usd=1, per="day", name="day")
    under_way = [guard.reserve("cheap", usd="0.40", agent=agent, gone=True) for agent in "ab"]
    guard.set(None, usd=1, per="day", tz="Asia/Tokyo", name="day")
    guard.set("agent=*", usd="0.50", name="each")
    with pytest.raises(BudgetExceededError, match="budget 'day' has no room"):
        guard.reserve("cheap", usd="0.30", agent="c")
    with pytest.raises(BudgetExceededError, match="budget 'each' has no room"):
        guard.reserve("cheap", usd="0.20", agent="a")
    for hold in under_way:
        hold.settle(usd="0.10")
    assert {one.place: (one.posted, one.reserved) for one in guard.status()} == {
        "*": (2 * 10**11, 0),
        "agent=a": (10**11, 0),
        "agent=b": (10**11, 0),
        "agent=c": (0, 0),
    }


def test_all_that_is_due_makes_room(guard: Guard, clock: FakeClock) -> None:
    """However many holds are due, a call is refused only after all of them have ended."""
    guard.set(None, calls=3 * LOT)
    for _ in range(3 * LOT):
        guard.reserve("cheap", usd=0)
    clock.advance(601)
    assert guard.reserve("cheap", usd=0, calls=3 * LOT).covered


def test_old_holds_are_forgotten_behind_expired_ones(guard: Guard, clock: FakeClock) -> None:
    """Expired holds stay, for a late settlement, and keep none of those that ended after them."""
    guard.set(None, usd=100)
    lost = [guard.reserve("cheap", usd="0.01", gone=True) for _ in range(LOT + 1)]
    clock.advance(700)
    guard.accounts.expire(guard.now_us())
    ended = guard.reserve("cheap", usd="0.01", gone=True)
    ended.settle(usd="0.01")
    for _ in range(3):
        clock.advance(KEEP_US / 1e6 + 1)
        guard.reserve("cheap", usd="0.01").release()
    assert guard.accounts.hold(ended.key) is None
    assert all(guard.accounts.hold(one.key) is not None for one in lost)


def test_a_stream_of_a_free_model_under_a_token_budget(guard: Guard) -> None:
    """What a stream accrues counts by its tokens where dollars are none; it holds what it is, however it leaps."""
    guard.set(None, tokens=300)
    held = guard.reserve("cheap", usd=0, tokens=100, input_tokens=10, gone=True)
    held.accrued(output_tokens=50)
    assert held.amounts.tokens == 100
    held.accrued(output_tokens=250)
    assert held.amounts == Amounts(0, 260, 1)
    with pytest.raises(BudgetExceededError):
        held.accrued(output_tokens=260)


def test_tokens_as_told(guard: Guard) -> None:
    """A caller who knows what comes at most is believed, also where the input is given, too."""
    guard.set(None, tokens=300)
    assert guard.reserve("cheap", tokens=150, input_tokens=100).amounts == Amounts(150 * 10**6, 150, 1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5, 0, "x", True])
def test_no_span_of_time(guard: Guard, seconds: Any) -> None:
    """A hold stands for a number of seconds above 0."""
    guard.set(None, usd=1)
    with pytest.raises(InputError, match=r"hold_s = .*: must be a number of seconds above 0"):
        guard.reserve("cheap", usd="0.1", hold_s=seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 10**30},
        {"limit": 5, "thresholds": (Decimal("NaN"),)},
        {"limit": 5, "thresholds": (0.8,)},
        {"limit": 5, "on_exceed": None},
    ],
)
def test_no_budget(wrong: dict[str, Any]) -> None:
    """What a budget cannot be is told where it is made, also without `make_budget`."""
    with pytest.raises(InputError):
        Budget(**{"name": "x", **wrong})


def test_no_words_of_a_budget() -> None:
    """A threshold that is no number, and a scope that names a field twice."""
    with pytest.raises(InputError, match="threshold 'abc'"):
        make_budget(None, usd=1, thresholds=["abc"])
    with pytest.raises(InputError, match="names agent twice"):
        make_budget("agent=a,agent=b", usd=1)


def test_a_negative_number_of_characters(guard: Guard) -> None:
    """It is refused by its own name."""
    guard.set(None, usd=1)
    with pytest.raises(InputError, match="input_characters = -5"):
        guard.reserve("cheap", input_characters=-5)
