"""Claude Code's logs: one JSON line for each block of an answer, its usage repeated on every one.

What is counted once: a message is known by its id and request id. Its lines repeat the usage as it stood when the
block was written; the largest is the truth. Sidechains replay messages of the main thread under new request ids: they
match by message id alone, and the main thread's line wins. Where no line has a `stop_reason`, the log holds only the
count that the answer began with, and the call is `partial`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from farthing.capture.logs.agents import Found, Part, files_under
from farthing.capture.logs.claude_messages import Waiting
from farthing.capture.logs.files import LINE_LIMIT
from farthing.capture.logs.values import BadLine

_MARK = b'"usage"'
_ANSWER, _RESULT = b'"assistant"', b'"result"'
_MESSAGE, _USER = b'"message":', b'"type":"user"'
_ENDS = (b"}\n", b"\r\n")
_LONG = 2_048
_BEFORE, _AFTER, _REQUEST = b'"content":[', b'],"stop_reason":', b'"requestId":"'

AT_ONCE = 1_000
"""Messages of one log that are kept in mind before the older half is handed on: repeats lie close together."""

_decode = json.JSONDecoder().raw_decode


class ClaudeCode:
    """Claude Code: `projects/**/*.jsonl` under each of its configuration folders."""

    name = "claude-code"

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """CLAUDE_CONFIG_DIR (several: a comma list), else ~/.config/claude and ~/.claude."""
        given = [part.strip() for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if part.strip()]
        folders = [Path(part).expanduser() for part in given]
        if not folders:
            config = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else home / ".config"
            folders = [config / "claude", home / ".claude"]
        return [folder if folder.name == "projects" else folder / "projects" for folder in folders]

    def files(self, places: Sequence[Path]) -> list[Path]:
        """Main threads before the logs of subagents, so that what both have is the main thread's."""
        return sorted(files_under(places, (".jsonl",)), key=lambda path: path.name.startswith("agent-"))

    def by_lines(self, path: Path) -> bool:
        """Always."""
        return True

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of one log: see the module."""
        waiting = Waiting(part)
        last: bytes | None = None
        for number, line in part.lines():
            if line is None:
                yield part.problem(number, f"is longer than {LINE_LIMIT} bytes")
                continue
            if not _is_users(line) and _MARK in line and (_ANSWER in line or _RESULT in line):
                told = _told(line)
                if told is not None and told == last:
                    continue
                last = told
            elif line[:1] == b"{" and line[-2:] in _ENDS:
                continue
            try:
                waiting.add(number, _parsed(line))
            except BadLine as bad:
                yield part.problem(number, str(bad))
            if len(waiting) > AT_ONCE:
                yield from waiting.calls(AT_ONCE // 2)
        yield from waiting.calls(0)


def _is_users(line: bytes) -> bool:
    """Whether the line says, before its message and at its outer level, that it is a user's: most of a log is."""
    end = line.find(_MESSAGE, 0, _LONG)
    return end > 0 and line.find(_USER, 0, end) > 0 and line.count(b"{", 0, end) == 1


def _told(line: bytes) -> bytes | None:
    """What a line says of its answer, as it stands: stop reason, usage and request id; None in lines of another form.

    A line that says the same as the one before is passed over unread: every second one does.
    """
    start = line.rfind(_AFTER)
    request = line.find(_REQUEST, start) if start > 0 else -1
    return line[start : line.find(b'"', request + len(_REQUEST))] if request > 0 else None


def _parsed(line: bytes) -> dict[str, Any]:
    """The line's object, of a long one without the answer's content. BadLine where it is none; {} of a blank line."""
    if len(line) > _LONG and (found := _without_content(line)) is not None:
        return found
    if not line.strip():
        return {}
    try:
        return _decoded(line)
    except UnicodeDecodeError as error:
        raise BadLine(f"is no UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"is no JSON: {error}") from None


def _decoded(line: bytes) -> dict[str, Any]:
    text = line.decode().strip("\ufeff \t\r\n")
    found, end = _decode(text)
    if end != len(text):
        raise ValueError(f"something follows the object at character {end}")
    if not isinstance(found, dict):
        raise BadLine(f"is JSON, but no object: {text[:60]}")
    return found


def _without_content(line: bytes) -> dict[str, Any] | None:
    """The object without its message's content, which is most of a line; None where the line is of another form.

    Quotes inside a JSON text are escaped, so that the marks are no part of a text. Were they keys of something inside
    the content, the brackets of what remains would not match.
    """
    start, end = line.find(_BEFORE), line.rfind(_AFTER)
    if not 0 < start < end:
        return None
    try:
        found = _decoded(line[: start + len(_BEFORE)] + line[end:])
    except (ValueError, RecursionError, BadLine):
        return None
    message = found.get("message")
    return found if isinstance(message, dict) and isinstance(message.get("usage"), dict) else None
