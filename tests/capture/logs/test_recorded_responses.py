"""All recorded responses of all providers through the main path: every one is a call or has its reason."""

from __future__ import annotations

import io
from pathlib import Path

from farthing.capture.logs.importer import Options, import_files
from farthing.event import Event
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Filter, Question
from farthing.pricing import Catalog
from farthing.reports.breakdown import breakdown_page
from farthing.reports.evidence import verify
from farthing.reports.plain import plain
from farthing.reports.queries import breakdown
from farthing.totals import Totals


def test_the_report_over_all_recorded_responses_adds_up(shared: Path) -> None:
    """No line is refused; the total is the exact sum of the events by any grouping; a second run adds nothing."""
    files = [str(path) for path in sorted((shared / "realdata").glob("*/responses.jsonl"))]
    lines = sum(len(Path(file).read_bytes().splitlines()) for file in files)
    with open_ledger(":memory:") as store:

        def bring() -> tuple[int, int, int]:
            tally = import_files(
                files,
                store,
                Catalog.default(),
                options=Options(),
                stdin=io.BytesIO(),
                progress=lambda source, tally: None,
            )
            assert tally.problems == []
            assert tally.lines == lines
            assert all(tally.skipped)
            return tally.counts.added, tally.counts.duplicate, sum(tally.skipped.values())

        added, duplicate, skipped = bring()
        assert added + duplicate + skipped >= lines > 1_000
        before = sum((Totals.of(event) for event in store.events()), Totals())
        assert bring()[0] == 0
        events: list[Event] = list(store.events())
        total = sum((Totals.of(event) for event in events), Totals())
        assert total == before
        assert all(event.cost_pico is not None or event.price_reason for event in events)
        assert all(event.usage.total_tokens or event.usage_status != "reported" or event.usage or event.price_reason
                   for event in events)  # fmt: skip
        for by in ("provider", "model", "operation", "usage_status", "price_status", "day", "source", "agent"):
            rows = store.totals(Question(by=(by,)))
            assert sum((row.totals for row in rows), Totals()) == total, by
        assert verify(store, Filter()).holds
        print(plain(breakdown_page(breakdown(store, ("provider",), Filter()), title="Recorded responses by provider")))
