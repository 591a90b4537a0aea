"""A program that records without end and says what has been acknowledged, so that a test can kill it.

python recorder.py LEDGER MODE NAME [TIMES]: writes a line `<event id> <picodollars>` to its output once the event
costs so much for good. MODE is append, full, many, queued or correct.
"""

from __future__ import annotations

import os
import sys
from itertools import count, islice

from farthing.event import Attribution, Event, new_id, now_us
from farthing.ledger import Store, open_ledger
from farthing.usage import Usage

LOT = 700
"""More than one transaction's worth."""


def event(name: str, number: int, pico: int) -> Event:
    """A call of the recorder `name`."""
    return Event(
        id=new_id(),
        dedupe_key=f"{name}:{number}",
        at_us=now_us(),
        recorded_at_us=now_us(),
        attribution=Attribution(agent=name),
        provider="openai",
        model="gpt-5",
        usage=Usage(input_tokens=pico),
        cost_pico=pico,
        price_status="priced",
        price_hash=f"{name}:{number % 5}",
    )


def acknowledge(*done: Event) -> None:
    """Say so at once: what waits in a buffer is lost in a kill, though it was acknowledged."""
    os.write(1, "".join(f"{one.id} {one.cost_pico}\n" for one in done).encode())


def record(store: Store, mode: str, name: str, number: int) -> None:
    """One step: a call, or a lot of them, and its acknowledgement."""
    if mode in ("append", "full"):
        one = event(name, number, number)
        store.append(one, "text")
        acknowledge(one)
    elif mode == "correct":
        first = event(name, number, 1)
        store.append(first, "text")
        fuller = event(name, number, 1000)
        store.append(fuller, "text")
        os.write(1, f"{first.id} 1000\n".encode())
    elif mode == "many":
        lot = [event(name, number * LOT + n, n) for n in range(LOT)]
        store.append_many((one, "text") for one in lot)
        acknowledge(*lot)
    else:
        lot = [event(name, number * 50 + n, n) for n in range(50)]
        for one in lot:
            store.append(one, "text")
        store.flush()
        acknowledge(*lot)


def main() -> None:
    """Record until killed, or so many steps."""
    path, mode, name, *times = sys.argv[1:]
    durability = {"full": "full", "queued": "queued"}.get(mode, "commit")
    with open_ledger(path, durability=durability) as store:  # type: ignore[arg-type]
        for number in islice(count(), int(times[0]) if times else None):
            record(store, mode, name, number)


if __name__ == "__main__":
    main()
