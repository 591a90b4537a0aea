"""Events: ids in order, the worse of two statuses, attribution that fills up from defaults."""

from __future__ import annotations

import os
import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from farthing.event import Attribution, from_us, new_id, to_us, worse


def test_ids_are_uuid7_and_rise() -> None:
    """Each id is a version 7 UUID, greater than the one before."""
    ids = [new_id() for _ in range(10_000)]
    assert {uuid.UUID(i).version for i in ids[:100]} == {7}
    assert {uuid.UUID(i).variant for i in ids[:100]} == {uuid.RFC_4122}
    assert ids == sorted(set(ids))


def test_ids_of_threads_are_unique() -> None:
    """Eight threads never get the same id."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend([new_id() for _ in range(2_000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 16_000


def test_a_forked_child_makes_other_ids() -> None:
    """Parent and child share the clock and counter at the fork, but not their ids."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, " ".join(new_id() for _ in range(100)).encode())
        os._exit(0)
    mine = {new_id() for _ in range(100)}
    os.waitpid(child, 0)
    theirs = set(os.read(read, 1 << 16).decode().split())
    os.close(read)
    os.close(write)
    assert len(theirs) == 100
    assert not mine & theirs


@given(st.integers(-(10**15), 4 * 10**15))
def test_microseconds_survive_the_way_to_datetime_and_back(us: int) -> None:
    """The ledger's clock is exact."""
    assert to_us(from_us(us)) == us


def test_naive_times_are_utc_and_zones_are_honoured() -> None:
    """A datetime without a zone counts as UTC."""
    assert to_us(datetime(2026, 1, 1)) == to_us(datetime(2026, 1, 1, tzinfo=UTC))  # noqa: DTZ001
    assert to_us(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == to_us(
        datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_the_status_is_the_worse_of_the_two() -> None:
    """Reported usage says nothing against a price; an estimate or an unknown price wins."""
    assert worse("reported", "priced") == "priced"
    assert worse("reported", "free") == "free"
    assert worse("estimated", "priced") == "estimated"
    assert worse("partial", "priced") == "partial"
    assert worse("estimated", "unpriced") == "unpriced"
    assert worse("reported", "unpriced") == "unpriced"


def test_attribution_takes_what_it_lacks_from_defaults() -> None:
    """What is said wins; metadata is merged key by key."""
    defaults = Attribution(org="acme", team="search", agent="a", metadata={"x": 1, "y": 1})
    filled = Attribution(agent="b", metadata={"y": 2}).with_defaults(defaults)
    assert filled.to_dict() == {"org": "acme", "team": "search", "agent": "b", "metadata": {"x": 1, "y": 2}}
