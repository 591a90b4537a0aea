"""A program that spends under budgets without end and says what has been acknowledged, so that a test can kill it.

python spender.py LEDGER NAME: writes a line `<WHAT> <key> <picodollars>` once that is so for good; WHAT is held,
settled or released.
"""

from __future__ import annotations

import os
import random
import sys
from itertools import count

from farthing.budgets.guard import Guard
from farthing.errors import BudgetExceededError
from farthing.ledger import open_ledger

HOLD_S = 3600


def say(what: str, key: str, pico: int) -> None:
    """At once: what waits in a buffer is lost in a kill, though it was acknowledged."""
    os.write(1, f"{what} {key} {pico}\n".encode())


def main() -> None:
    """Spend until killed."""
    path, name = sys.argv[1:]
    chance = random.Random(name)
    with open_ledger(path) as store:
        guard = Guard(lambda: store)
        for number in count():
            key = f"{name}:{number}"
            cents = chance.randrange(1, 9)
            try:
                hold = guard.reserve("m", usd=f"0.{cents:02}", agent=f"a{number % 3}", key=key, hold_s=HOLD_S)
            except BudgetExceededError:
                continue
            say("held", key, cents * 10**10)
            if number % 5 == 0:
                hold.release()
                say("released", key, 0)
                continue
            hold.dispatch()
            spent = chance.randrange(0, 12)
            hold.settle(usd=f"0.{spent:02}")
            say("settled", key, spent * 10**10)


if __name__ == "__main__":
    main()
