"""Files as lines: every line once, with its number, wherever the blocks that are read happen to end."""

from __future__ import annotations

import gzip
import io
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.capture.logs import files
from farthing.capture.logs.files import Source
from farthing.errors import InputError

SHORT, LIMIT, BLOCK = st.integers(0, 30), 40, 8


def _lines(data: bytes, block: int = BLOCK, limit: int = LIMIT) -> list[tuple[int, bytes | None]]:
    with mock.patch.object(files, "BLOCK", block), mock.patch.object(files, "LINE_LIMIT", limit):
        return [line for block_ in Source("f", io.BytesIO(data), None).blocks() for line in block_.lines()]


@given(st.lists(SHORT | st.integers(LIMIT + BLOCK + 1, 200)), st.booleans(), st.booleans(), st.integers(1, 64))
def test_every_line_comes_once_with_its_number(lengths: list[int], ended: bool, packed: bool, block: int) -> None:
    """What is too long is told in its place, and the lines after it are read."""
    lines = [bytes([97 + i % 26]) * length for i, length in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    if lines and not ended and not lines[-1]:
        lines.pop()
    long = LIMIT + BLOCK
    expected = [(number, line if len(line) <= long else None) for number, line in enumerate(lines, 1)]
    found = _lines(gzip.compress(data) if packed else data, min(block, BLOCK))
    assert found == expected


@given(st.lists(SHORT, min_size=1, max_size=60), st.data())
def test_what_a_cut_gzip_file_holds_is_a_beginning_of_its_lines(lengths: list[int], data: st.DataObject) -> None:
    """Half a line is none, and the cut is told."""
    lines = [bytes([97 + i % 26]) * length for i, length in enumerate(lengths)]
    packed = gzip.compress(b"".join(line + b"\n" for line in lines))
    cut = packed[: data.draw(st.integers(2, len(packed) - 1))]
    found: list[tuple[int, bytes | None]] = []
    with mock.patch.object(files, "BLOCK", BLOCK), pytest.raises(InputError, match="gzip data ends or breaks"):
        found.extend(line for block in Source("f", io.BytesIO(cut), None).blocks() for line in block.lines())
    assert found == list(enumerate(lines, 1))[: len(found)]
