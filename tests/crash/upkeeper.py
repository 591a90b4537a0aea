"""A program that seals, merges, forgets or shortens a ledger and kills itself at a step, so that a test can look.

python upkeeper.py LEDGER WORK STEP: WORK is seal, merge, forget or expire; at the STEP-th step (1, 2, ...) it is gone.
It ends by itself, with code 0, where there are fewer steps.
"""

from __future__ import annotations

import os
import signal
import sys

from farthing.ledger import merge, seal
from farthing.ledger.forget import forget
from farthing.ledger.retain import expire
from farthing.ledger.upkeep import own


def main() -> None:
    """Do the work until the step."""
    path, work, wanted = sys.argv[1:]
    seal.FILE_ROWS = 7
    left = int(wanted)

    def step(name: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.write(1, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    if work == "seal":
        with own(path) as database:
            seal.seal(database, keep_rows=1, step=step)
    elif work == "merge":
        with own(path) as database:
            merge.merge(database, step=step, all_small=True)
    elif work == "forget":
        forget(path, ["ann"], step=step)
    else:
        expire(path, 2 * 86_400_000_000, step=step)


if __name__ == "__main__":
    main()
