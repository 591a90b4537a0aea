"""A long file is read by several processes: the ledger is as one process alone would have left it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs import files, helpers, importer
from farthing.capture.logs.files import Block
from farthing.capture.logs.importer import Options, Tally, import_files
from farthing.capture.logs.lot import Lot, packed, read_lot, unpacked
from farthing.capture.logs.values import Problem, Read, Skipped
from farthing.event import Attribution, Event
from farthing.ledger.open import open_ledger
from farthing.pricing import Catalog
from farthing.recording import Call
from farthing.usage import Usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="helpers are forks, on Linux alone")

LINES = 600


def _line(number: int) -> str:
    """All that a line may be: named, nameless and equal to others, of an unknown model, bad, skipped, a response."""
    line: dict[str, Any] = {"at": f"2026-11-01T00:{number // 60:02d}:{number % 60:02d}Z", "model": "gpt-4o"}
    counts = {"provider": "openai", "input_tokens": 1_000 + number, "output_tokens": 10, "agent": f"a{number % 3}"}
    answer = {"id": f"r-{number:020d}", "created": 1793491200, "object": "chat.completion", "model": "gpt-4o"}
    kinds: list[Callable[[], str]] = [
        lambda: json.dumps({**line, **counts, "response_id": f"chatcmpl-{number:020d}"}),
        lambda: json.dumps({**line, "at": "2026-11-02", "input_tokens": 7, "output_tokens": number % 2}),
        lambda: json.dumps({**line, "input_tokens": 5, "model": f"nobody-knows-{number % 2}", "id": f"e{number}"}),
        lambda: "{broken",
        lambda: json.dumps({**line, "input_tokens": 10**18}),
        lambda: json.dumps({"status": 500, "body": "oops"}),
        lambda: "",
        lambda: json.dumps({"body": {**answer, "usage": {"prompt_tokens": 5, "completion_tokens": number}}}),
        lambda: json.dumps({**line, **counts, "metadata": {"größe": [1, None]}, "usage_status": "estimated"}),
    ]
    return kinds[number % len(kinds)]()


def _told(event: Event) -> dict[str, Any]:
    """What of an event does not depend on when and by whom it was read."""
    made = {
        name: getattr(event, name) for name in ("model", "usage", "cost_pico", "price_hash", "price_reason", "at_us")
    }
    key = "" if event.dedupe_key == event.id else event.dedupe_key
    return {**made, "key": key, "who": event.attribution.to_dict(), "status": event.status, "source": event.source}


def _bring(folder: Path, path: Path, name: str) -> tuple[Tally, list[dict[str, Any]], list[str | None]]:
    with open_ledger(folder / f"{name}.db") as store:
        tally = import_files(
            [str(path)], store, Catalog.default().child(), options=Options(), stdin=io.BytesIO(),
            progress=lambda source, tally: None,
        )  # fmt: skip
        events = list(store.events(order="recorded"))
        return tally, [_told(event) for event in events], [store.price_record(e.price_hash or "") for e in events]


def _reasons(tally: Tally) -> list[tuple[int, str]]:
    """The lines that could not be read, and why; ids that are made anew each time are left out."""
    return [(one.line, re.sub(r"event \S+ has", "event has", one.reason)) for one in tally.problems]


@pytest.fixture
def long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of many blocks."""
    monkeypatch.setattr(files, "BLOCK", 4_000)
    path = tmp_path / "long.jsonl"
    path.write_text("".join(_line(number) + "\n" for number in range(LINES)))
    return path


def test_helpers_and_one_process_alone_leave_the_same(
    long_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events, keys of equal lines, price records, problems with their lines, skipped ones, warnings: once each."""
    said = []
    results = []
    for count in (1, 3):
        monkeypatch.setattr(helpers, "useful", lambda count=count: count)
        Catalog.reset_default()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "farthing"):
            results.append(_bring(tmp_path, long_file, f"by-{count}"))
        said.append(sorted(record.getMessage() for record in caplog.records))
    (alone, events, records), (helped, events_helped, records_helped) = results
    assert events_helped == events and len(events) > LINES // 2
    assert records_helped == records and any(records)
    assert (helped.counts, helped.lines, helped.bad, helped.skipped) == (
        alone.counts,
        alone.lines,
        alone.bad,
        alone.skipped,
    )
    assert _reasons(helped) == _reasons(alone) and len(alone.problems) == alone.bad > 0
    assert said[1] == said[0] and len(said[0]) == 2, "each unknown model is warned of once"
    again, _, _ = _bring(tmp_path, long_file, "by-3")
    assert (again.counts.added, again.counts.corrected) == (0, 0)


def test_a_helper_that_dies_leaves_its_work_to_the_others(
    long_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for want of memory, say: every line is read all the same, each once."""
    monkeypatch.setattr(helpers, "useful", lambda: 1)
    alone = _bring(tmp_path, long_file, "alone")
    monkeypatch.setattr(helpers, "useful", lambda: 2)
    helped, read = os.getpid(), importer.read_lot

    def deadly(*given: Any) -> Lot:
        lot = read(*given)
        if os.getpid() != helped and any(number > LINES // 2 for number in lot.numbers):
            os.kill(os.getpid(), signal.SIGKILL)
        return lot

    monkeypatch.setattr(importer, "read_lot", deadly)
    tally, events, _ = _bring(tmp_path, long_file, "helped")
    assert (tally.counts, tally.bad, events) == (alone[0].counts, alone[0].bad, alone[1])


def test_a_short_file_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning a process costs more than a few blocks."""
    monkeypatch.setattr(helpers, "_Helpers", None)
    path = tmp_path / "short.jsonl"
    path.write_text("".join(_line(number) + "\n" for number in range(LINES)))
    assert _bring(tmp_path, path, "short")[0].counts.added > 0


def test_helpers_end_with_whom_they_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed amid an import, no process stays behind."""
    parent, told = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - killed

        def read(block: Block) -> Lot:
            os.write(told, f"{os.getpid()}\n".encode())
            signal.pause()
            return Lot()

        monkeypatch.setattr(helpers, "useful", lambda: 2)
        monkeypatch.setattr(helpers, "ALONE", 0)
        list(helpers.read_all([Block(1, b""), Block(2, b"")], read))
        os._exit(1)
    os.close(told)
    with os.fdopen(parent) as pipe:
        pids = [int(pipe.readline()) for _ in range(2)]
        assert child not in pids
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert pipe.read() == "", "the pipe closes when the last of them has ended"


def test_a_lot_survives_its_way() -> None:
    """What a helper packs is what the other unpacks: rows, records, nameless lines, problems, sayings."""
    usage = Usage(input_tokens=2**40, web_searches=3)
    call = Call(model="gpt-4o", usage=usage, attribution=Attribution(user="ü"), at_us=1)
    outcomes = [
        (3, Read((call,), b"digest")),
        (4, Problem("f", 0, "no")),
        (5, Skipped("nothing")),
        (6, Read((call, call))),
    ]
    lot = read_lot(outcomes, "f", Catalog.default(), None)
    lot.said.append(("farthing.x", 30, "once"))
    back = unpacked(packed(lot))
    assert [entry.row for entry in back.entries] == [entry.row for entry in lot.entries]
    assert [entry.event for entry in back.entries] == [entry.event for entry in lot.entries]
    assert [entry.price_record for entry in back.entries] == [entry.price_record for entry in lot.entries]
    for name in ("lines", "numbers", "nameless", "problems", "skipped", "said"):
        assert getattr(back, name) == getattr(lot, name), name
    assert back.lines == 4 and back.problems == [Problem("f", 4, "no")]
