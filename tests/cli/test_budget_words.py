"""What the commands of budgets understand, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def _record(run: Run, agent: str, tokens: int, *more: object) -> None:
    run("record", "--model", "gpt-4o", "--input", tokens, "--agent", agent, *more)


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["0,50", "1,00", "$1,0000", ",5", "1,000,00"])
def test_a_comma_is_no_decimal_point(run: Run, read: Run, amount: str) -> None:
    """`0,50` means fifty cents in half of the world: it is refused, never taken for fifty dollars."""
    run("budgets", "set", "agent=a", "--usd", "9", "--name", "a")
    for command in (("set", "agent=b", "--usd"), ("try", "agent=b", "--usd"), ("raise", "a")):
        said = run("budgets", *command, amount, ok=False)
        assert said.exit_code == 1 and f"{amount!r}: a comma may only group thousands" in said.output
    assert [one["limit_usd"] for one in read("budgets")] == [9]


def test_thousands_may_be_grouped(run: Run, read: Run) -> None:
    """Dollars, tokens and calls alike, when they are set and when they are raised."""
    run("budgets", "set", "agent=a", "--usd", "$1,234,567.50", "--name", "money")
    run("budgets", "set", "agent=a", "--tokens", "3,000,000", "--name", "tokens")
    run("budgets", "set", "agent=a", "--calls", "1000", "--name", "calls")
    run("budgets", "raise", "calls", "2,000")
    limits = {one["name"]: one["limit"] for one in read("budgets")}
    assert limits == {"money": 12_345_675 * 10**11, "tokens": 3_000_000, "calls": 2_000}


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("2M", "2,000,000 or 2000000"),
        ("50k", "50,000 or 50000"),
        ("3,00", "a whole number"),
        ("1.5", "a whole number"),
        ("-5", "0 or more"),
        ("1,000.0", "a whole number"),
    ],
)
def test_what_is_no_count_is_said_with_a_remedy(run: Run, given: str, remedy: str) -> None:
    """What can be typed instead, not the name of a type."""
    run("budgets", "set", "agent=a", "--tokens", "9", "--name", "a")
    for command in (("set", "agent=b", "--tokens"), ("set", "agent=b", "--calls"), ("raise", "a", "--")):
        said = run("budgets", *command, given, ok=False).output
        assert f"{given!r}: give a whole number" in said and remedy in said
