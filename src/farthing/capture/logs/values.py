"""What importers hand on: calls, and reasons why a line gave none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from farthing.recording import Call


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read; the lines around it were. `line` counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that was read and holds no call to count, e.g. a response that failed."""

    reason: str


class Read(NamedTuple):
    """One line's worth: its calls, with what each came from where that has no id of its own.

    content  the digest of what the line says, None where the calls have ids: equal lines of one file are told apart
             by their occurrence number, so that reading the file again finds the same keys
    """

    calls: tuple[Call, ...]
    content: bytes | None = None


class BadLine(Exception):
    """Raised while one line is read, and caught around it: becomes a Problem."""


Outcome = Read | Skipped | Problem


def digest(content: Any) -> bytes:
    """16 bytes that stand for JSON content, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
