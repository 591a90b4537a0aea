"""What the tests of agents' logs share: a home with logs, a ledger in memory, and one step of an import."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.agents import AgentImport, AgentLog, AgentOptions, AgentTally
from farthing.capture.logs.positions import Positions
from farthing.event import Attribution, Event
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Question, Store
from farthing.pricing.catalog import Catalog
from farthing.totals import Totals


class Desk:
    """A ledger and what was read into it. `read(log, place)` imports what is new, in a new process's place."""

    def __init__(self, store: Store, positions: Positions) -> None:
        self.store, self.positions = store, positions

    def read(self, log: AgentLog, *places: Path, **options: Any) -> AgentTally:
        """Imports once, with nothing in mind but what the positions keep."""
        given = AgentOptions(attribute=Attribution(metadata={"machine": "desk-1"}), **options)
        return AgentImport(log, self.store, Catalog.default(), self.positions, given).poll(list(places))

    def events(self) -> list[Event]:
        """All events, in order of time."""
        return list(self.store.events())

    def totals(self) -> Totals:
        """The sum of everything."""
        (row,) = self.store.totals(Question())
        return row.totals

    def by(self, key: str) -> dict[str | None, Totals]:
        """The sums by one key."""
        return {row.key[0]: row.totals for row in self.store.totals(Question(by=(key,)))}


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A ledger in memory, and positions in memory."""
    with open_ledger(":memory:") as store, Positions() as positions:
        yield Desk(store, positions)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("a/b.jsonl", line, line, ...) -> the file, one JSON line each; text is written as it is."""

    def write_it(name: str, *lines: Any, mode: str = "w") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            for line in lines:
                file.write(line if isinstance(line, str) else json.dumps(line, separators=(",", ":")) + "\n")
        return path

    return write_it
