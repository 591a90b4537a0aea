"""Bodies as they were before compression: gzip, deflate, br and zstd, as far as this Python can read them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

MAX_BYTES = 64 << 20
"""A body is unpacked up to about this size: what is small on the wire may be huge."""

_PIECE = 64 << 10


def decoded(body: bytes, encoding: str | None) -> tuple[bytes, str | None]:
    """(the body without its `Content-Encoding`, why it could not be unpacked).

    A body that was cut off gives what can be read of it. One that is not packed, because some layer unpacked it
    already, comes back as it is.
    """
    for name in reversed([part.strip().lower() for part in (encoding or "").split(",")]):
        if name in ("", "identity"):
            continue
        unpack = _UNPACK.get(name)
        if unpack is None:
            return body, f"the content encoding {name!r} is not known"
        try:
            body = unpack(body)
        except ModuleNotFoundError:
            return body, f"the response is packed as {name!r}, which this Python cannot read"
        except (ValueError, zlib.error) as fault:
            if body[:1] not in b"{[de:i":  # the beginnings of JSON and of server-sent events: it is not packed
                return body, f"the response cannot be unpacked as {name!r}: {fault}"
    return body, None


def _gzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    found = unpacker.decompress(body, MAX_BYTES)
    while unpacker.eof and unpacker.unused_data[:2] == b"\x1f\x8b" and len(found) < MAX_BYTES:  # several members
        rest = unpacker.unused_data
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        found += unpacker.decompress(rest, MAX_BYTES - len(found))
    return found


def _deflate(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, MAX_BYTES)
    except zlib.error:  # without zlib's frame, as some servers send it
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, MAX_BYTES)


def _brotli(body: bytes) -> bytes:
    library = _first("brotli", "brotlicffi")
    unpacker = library.Decompressor()
    try:
        return _pieces(getattr(unpacker, "process", None) or unpacker.decompress, body)
    except library.error as fault:
        raise ValueError(str(fault)) from fault


def _zstd(body: bytes) -> bytes:
    library = _first("compression.zstd", "backports.zstd", "zstandard")
    unpacker = library.ZstdDecompressor()
    if hasattr(unpacker, "decompressobj"):
        unpacker = unpacker.decompressobj()
    try:
        return _pieces(unpacker.decompress, body)
    except (library.ZstdError, EOFError) as fault:
        raise ValueError(str(fault)) from fault


def _pieces(unpack: Callable[[bytes], bytes], body: bytes) -> bytes:
    """The body unpacked piece by piece, so that it cannot outgrow the limit by much."""
    found: list[bytes] = []
    size = 0
    for at in range(0, len(body), _PIECE):
        found.append(unpack(body[at : at + _PIECE]))
        size += len(found[-1])
        if size > MAX_BYTES:
            break
    return b"".join(found)


def _first(*names: str) -> Any:
    """The first of these modules that is installed; ModuleNotFoundError where none is."""
    for name in names[:-1]:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return import_module(names[-1])


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
