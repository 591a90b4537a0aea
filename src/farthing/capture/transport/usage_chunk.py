"""Asking a chat stream for its usage, and hiding from the caller what only that brought.

`stream_options.include_usage` makes the provider send one more chunk, without choices and with the usage, and in every
other chunk `"usage":null`. Both are taken out again, byte for byte, before the caller sees them. Where the caller asked
for usage itself, or said that it wants none, nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Protocol

_NULL = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*')
"""Quotes inside a JSON text are escaped, so this is never part of one."""
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_COUNTED = re.compile(rb'"usage"\s*:\s*\{')
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def asking(path: str, body: bytes | None) -> bytes | None:
    """The body that asks for usage as well; None where that is not to be done."""
    if not body or not path.partition("?")[0].endswith("/chat/completions"):
        return None
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("stream") is not True:
        return None
    options = asked.get("stream_options")
    if options is not None and (not isinstance(options, dict) or "include_usage" in options):
        return None
    asked["stream_options"] = {**(options or {}), "include_usage": True}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Decoder(Protocol):
    """What unpacks a stream piece by piece, as clients have it: `httpx` gives bytes, `httpx2` pieces of them."""

    def decode(self, data: bytes, /) -> bytes | Iterable[bytes]: ...
    def flush(self) -> bytes | Iterable[bytes]: ...


class Hider:
    """Takes the asked-for usage out of a stream of server-sent events. What is not whole yet waits for its rest.

    decoder: what unpacks the stream first, where it comes packed.
    """

    def __init__(self, decoder: Decoder | None = None) -> None:
        self._decoder = decoder
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """What of the stream may go on to the caller now, unpacked; possibly nothing yet."""
        return self._add(chunk if self._decoder is None else _joined(self._decoder.decode(chunk)))

    def _add(self, chunk: bytes) -> bytes:
        pending = self._rest + chunk
        out: list[bytes] = []
        at = 0
        for end in _END.finditer(pending):
            out.append(_shown(pending[at : end.end()]))
            at = end.end()
        self._rest = pending[at:]
        return b"".join(out)

    def flush(self) -> bytes:
        """What waits still, when the stream has ended."""
        shown = b"" if self._decoder is None else self._add(_joined(self._decoder.flush()))
        rest, self._rest = self._rest, b""
        return shown + _shown(rest)


def _joined(unpacked: bytes | Iterable[bytes]) -> bytes:
    return unpacked if isinstance(unpacked, bytes) else b"".join(unpacked)


def _shown(event: bytes) -> bytes:
    if b'"usage"' not in event:
        return event
    if _COUNTED.search(event) and _NO_CHOICES.search(event):
        return b""
    return _NULL.sub(b"", event, count=1)
