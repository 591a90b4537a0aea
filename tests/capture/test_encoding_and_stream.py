"""Packed bodies, and the bounded copy of a stream."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from farthing.capture import encoding, stream
from farthing.capture.encoding import decoded
from farthing.capture.stream import Tap

BODY = b'{"id": "x", "text": "' + b"rain " * 500 + b'"}'


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        (None, BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("gzip", gzip.compress(BODY[:40], mtime=0) + gzip.compress(BODY[40:], mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", _raw_deflate(BODY)),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY), mtime=0)),
        ("gzip", BODY),
    ],
)
def test_unpacking(name: str | None, packed: bytes) -> None:
    """Every encoding of the standard library, stacked and in members; what some layer has unpacked stays."""
    assert decoded(packed, name) == (BODY, None)


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_unpacking_with_other_libraries(name: str) -> None:
    """br and zstd where a library for them is installed."""
    library = pytest.importorskip({"br": "brotli", "zstd": "zstandard"}[name], reason=f"LIBRARY MISSING for {name}")
    packed = library.compress(BODY) if name == "br" else library.ZstdCompressor().compress(BODY)
    assert decoded(packed, name) == (BODY, None)
    part, fault = decoded(packed[: len(packed) - 4], name)
    assert fault is None and BODY.startswith(part)
    _, fault = decoded(b"\x00\x01\x02 nothing packed", name)
    assert fault is not None and name in fault


def test_a_body_that_was_cut_off() -> None:
    """What can be read of it is read."""
    packed = gzip.compress(bytes(range(256)) * 100)
    part, fault = decoded(packed[: len(packed) // 2], "gzip")
    assert fault is None and (bytes(range(256)) * 100).startswith(part) and part


def test_what_cannot_be_unpacked_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown encoding, a missing library, damage."""
    assert decoded(b"x", "rot13")[1] == "the content encoding 'rot13' is not known"
    assert "cannot be unpacked as 'gzip'" in str(decoded(b"\x1f\x8b\x08 damaged", "gzip")[1])

    def missing(_: str) -> Any:
        raise ModuleNotFoundError

    monkeypatch.setattr(encoding, "import_module", missing)
    assert "which this Python cannot read" in str(decoded(b"x", "br")[1])


def test_a_bomb_is_not_unpacked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small on the wire may be huge: unpacking stops at a limit."""
    monkeypatch.setattr(encoding, "MAX_BYTES", 10_000)
    assert len(decoded(gzip.compress(bytes(5_000_000)), "gzip")[0]) == 10_000


def test_a_tap_ends_once() -> None:
    """Whoever ends it first says how."""
    ended: list[Tap] = []
    tap = Tap(ended.append)
    tap.add(b"a")
    tap.add(b"b")
    assert not tap.over
    error = ValueError()
    tap.end(error)
    tap.end(whole=True)
    assert ended == [tap] and tap.over
    assert (tap.body(), tap.ended, tap.error, tap.cut) == (b"ab", False, error, False)


def test_a_long_stream_keeps_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last part stay, the memory is bounded, and it says that something is missing."""
    monkeypatch.setattr(stream, "MAX_BYTES", 10_000)
    monkeypatch.setattr(stream, "_HEAD_BYTES", 1_000)
    tap = Tap(lambda _: None)
    for i in range(5_000):
        tap.add(b"%09d\n" % i)
        assert len(tap.body()) <= 10_010
    body = tap.body()
    assert tap.cut and len(body) <= 10_000
    assert body.startswith(b"000000000\n000000001\n") and body.endswith(b"000004999\n")


def test_the_collector_is_noticed() -> None:
    """While garbage is collected, what ends must not take our locks in that thread."""
    import gc

    seen: list[bool] = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            seen.append(stream.collector.at_work)

    Cycle()
    gc.collect()
    assert seen == [True] and not stream.collector.at_work
