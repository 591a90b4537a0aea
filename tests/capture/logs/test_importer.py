"""Files into the ledger: nothing twice, nothing lost, nothing in silence."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.importer import Options, Tally, import_files
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Question, Store
from farthing.pricing import Catalog

LINE = {
    "at": "2026-11-01T00:00:00Z",
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": 1000,
    "output_tokens": 10,
}


@pytest.fixture
def store() -> Iterator[Store]:
    """A ledger in memory."""
    with open_ledger(":memory:") as opened:
        yield opened


def bring(store: Store, *paths: Path | str, stdin: bytes = b"", **options: Any) -> Tally:
    return import_files(
        [str(path) for path in paths], store, Catalog.default(), options=Options(**options), stdin=io.BytesIO(stdin),
        progress=lambda source, tally: None,
    )  # fmt: skip


def written(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def total(store: Store) -> tuple[int, int]:
    (row,) = store.totals(Question())
    return row.totals.calls, row.totals.cost_pico


def test_equal_rows_of_one_file_are_two_calls_and_stay_two(store: Store, tmp_path: Path) -> None:
    """Rows without an id are told apart by how many equal ones stand before them; a second import adds nothing."""
    path = written(tmp_path / "a.jsonl", LINE, LINE, {**LINE, "agent": "x"}, LINE)
    assert bring(store, path).counts.added == 4
    assert bring(store, path).counts.duplicate == 4
    reordered = written(tmp_path / "b.jsonl", dict(reversed(LINE.items())), LINE)
    assert bring(store, reordered).counts.duplicate == 2
    longer = written(tmp_path / "c.jsonl", LINE, LINE, LINE, LINE)
    assert bring(store, longer).counts.added == 1
    assert total(store) == (5, 5 * (1000 * 2_500_000 + 10 * 10_000_000))


def test_good_lines_are_kept_and_bad_ones_are_told(store: Store, tmp_path: Path) -> None:
    """Each bad line is a value with its place and reason; the others count."""
    path = written(
        tmp_path / "a.jsonl", LINE, "{oops", "", {**LINE, "usage": {"input_tokens": -5}}, {**LINE, "agent": "y"}
    )
    with path.open("ab") as file:
        file.write(b'{"at": "2026-11-01", "model": "\xff"}\n')
    tally = bring(store, path)
    assert tally.counts.added == 2
    assert [(p.line, p.file) for p in tally.problems] == [(2, str(path)), (4, str(path)), (6, str(path))]
    assert "must not be negative" in tally.problems[1].reason and "UTF-8" in tally.problems[2].reason


def test_counts_beyond_the_ledgers_reach_do_not_stop_the_others(store: Store, tmp_path: Path) -> None:
    """The line is told; those before and after it in the same lot are kept."""
    path = written(tmp_path / "a.jsonl", LINE, {**LINE, "input_tokens": 10**18}, {**LINE, "agent": "z"})
    tally = bring(store, path)
    assert (tally.counts.added, [problem.line for problem in tally.problems]) == (2, [2])


def test_a_file_that_cannot_be_read_does_not_stop_the_others(store: Store, tmp_path: Path) -> None:
    """A missing file and a directory are problems; the next file is read."""
    good = written(tmp_path / "good.jsonl", LINE)
    tally = bring(store, tmp_path / "missing.jsonl", tmp_path, good)
    assert tally.counts.added == 1
    assert [problem.line for problem in tally.problems] == [0, 0]


def test_gzip_and_standard_input(store: Store, tmp_path: Path) -> None:
    """The same lines, packed or from a pipe, are the same calls."""
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(LINE) + "\n").encode()))
    assert bring(store, packed).counts.added == 1
    assert bring(store, "-", stdin=packed.read_bytes()).counts.duplicate == 1
    assert bring(store, "-", stdin=(json.dumps(LINE) + "\n").encode()).counts.duplicate == 1


def test_what_a_damaged_gzip_file_still_holds_is_kept(store: Store, tmp_path: Path) -> None:
    """A download that broke off: its whole lines count, and the break is told."""
    lines = "".join(json.dumps({**LINE, "session": f"s{i:09d}-{i * 7919 % 9973}"}) + "\n" for i in range(20_000))
    path = tmp_path / "cut.jsonl.gz"
    data = gzip.compress(lines.encode())
    path.write_bytes(data[: len(data) * 2 // 3])
    tally = bring(store, path)
    assert 0 < tally.counts.added < 20_000
    assert tally.counts.added == tally.lines - (tally.bad - 1)
    assert "gzip" in tally.problems[-1].reason


def test_a_json_file_is_read_whole(store: Store, tmp_path: Path) -> None:
    """An array, or one value over many lines."""
    array = tmp_path / "array.json"
    array.write_text(json.dumps([LINE, {**LINE, "agent": "z"}], indent=1))
    single = tmp_path / "single.json"
    single.write_text(json.dumps({**LINE, "agent": "w"}, indent=1))
    assert bring(store, array, single).counts.added == 3


def test_lines_after_a_byte_order_mark_and_blank_lines(store: Store, tmp_path: Path) -> None:
    """What editors add is read over."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(LINE).encode() + b"\r\n\r\n")
    tally = bring(store, path)
    assert (tally.counts.added, tally.bad) == (1, 0)


def test_calls_are_for_whom_the_options_say_where_their_line_says_nothing(store: Store, tmp_path: Path) -> None:
    """The line wins over the option."""
    from farthing.event import Attribution

    path = written(tmp_path / "a.jsonl", LINE, {**LINE, "team": "own"})
    bring(store, path, attribute=Attribution(team="given", agent="imported"))
    teams = sorted((event.attribution.team, event.attribution.agent) for event in store.events())
    assert teams == [("given", "imported"), ("own", "imported")]


def test_a_free_attempt_and_a_cache_hit_are_no_calls(store: Store, tmp_path: Path) -> None:
    """They are events of cost zero, counted apart."""
    path = written(
        tmp_path / "a.jsonl", {**LINE, "billed": False, "error": "429"}, {**LINE, "cache_hit": True}, LINE
    )  # fmt: skip
    bring(store, path)
    (row,) = store.totals(Question())
    assert (row.totals.calls, row.totals.unbilled_attempts, row.totals.cache_hits, row.totals.errors) == (1, 1, 1, 1)
