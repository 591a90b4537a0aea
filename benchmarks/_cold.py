"""`python -m benchmarks._cold LEDGER SINCE_US`: the first question of a new process, to files that are in no cache."""

from __future__ import annotations

import os
import sys
import time

from farthing.ledger import Filter, Question, open_ledger
from farthing.ledger.segments import folder_of


def main(path: str, since_us: int) -> None:
    """Print the milliseconds from opening the ledger to the dearest ten traces."""
    for file in folder_of(path).iterdir():
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    started = time.perf_counter()
    with open_ledger(path) as store:
        store.totals(Question(by=("trace",), where=Filter(since_us=since_us), limit=10, sums=()))
        print((time.perf_counter() - started) * 1000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
