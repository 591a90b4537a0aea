"""A process that asks a ledger for holds: python budget_worker.py LEDGER WHAT NUMBER; prints how many it got.

WHAT: `dimes` reserves $0.10 NUMBER times and keeps them; `sub_cents` holds $0.001 and settles $0.0007, NUMBER times;
`sides` asks for $0.06 under an agent and an organisation, NUMBER times.
"""

from __future__ import annotations

import sys

from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError
from farthing.ledger import open_ledger


def dime(guard: Guard) -> bool:
    """Whether ten cents could be held."""
    try:
        guard.reserve("m", usd="0.10", agent="a")
    except BudgetExceededError:
        return False
    return True


def sub_cent(guard: Guard) -> bool:
    """Whether $0.001 could be held, and came to $0.0007."""
    try:
        with guard.reserve("m", usd="0.001", agent="a", gone=True) as hold:
            hold.settle(usd="0.0007")
    except BudgetExceededError:
        return False
    return True


def side(guard: Guard) -> bool:
    """Whether six cents could be held under two budgets."""
    try:
        guard.reserve("m", usd="0.06", agent="a")
    except BudgetExceededError:
        return False
    return True


WAYS = {"dimes": dime, "sub_cents": sub_cent, "sides": side}


def main() -> None:
    """Do it so many times."""
    path, what, number = sys.argv[1:]
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        print(sum(WAYS[what](guard) for _ in range(int(number))))


if __name__ == "__main__":
    main()
