"""The lines of Claude Code's logs that may count, as objects, without what is long and counts nothing.

Most lines are told apart by marks in their bytes: quotes inside a JSON text are escaped, so that no mark with quotes is
part of one. Lines in which the marks are not where Claude Code writes them are read as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from farthing.capture.logs.files import LINE_LIMIT
from farthing.capture.logs.values import BadLine

_MARK = b'"usage"'
_ANSWER, _RESULT = b'"assistant"', b'"result"'
_USERS = b'"type":"user","message":{'
_PARENT, _OUTPUT, _OWN = b'{"parentUuid":', b'"output_tokens":', b'"uuid":"'
_BEFORE, _AFTER = b'"content":[', b'],"stop_reason":'
_ENDS = (b"}\n", b"\r\n")
_EDGE = 2_048
"""Bytes at both ends of a line in which marks are looked for."""

_STOPPED = re.compile(rb'null|"[a-z_]+"')
_LAST = re.compile(rb'[\w-]+","timestamp":"[\w:.+-]+"\}\r?\n')
_DIGITS = 15
_decode = json.JSONDecoder().raw_decode


def objects(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(number, object) of the lines that may count, (number, why) of those that cannot be read.

    Of an answer's lines that follow one another and say the same, but for a larger output, one object is given.
    """
    answer: _Answer | None = None
    for number, line in lines:
        if line is None:
            yield number, f"is longer than {LINE_LIMIT} bytes"
            continue
        if answer is not None and line[answer.head] == answer.same and answer.takes(number, line):
            continue
        begin, users, _ = line[:_EDGE].partition(_USERS)
        if users and begin.count(b"{") == 1 and line.endswith(_ENDS):
            continue
        begin, content, _ = begin.partition(_BEFORE)
        _, after, end = line[-_EDGE:].rpartition(_AFTER)
        inside = content and after and len(begin) + len(content) + len(after) + len(end) <= len(line)
        found = _without_content(begin, end) if inside else None
        if found is None and not _may_count(line):
            continue
        if answer is not None:
            yield answer.number, answer.found
        answer = None
        if found is None:
            yield number, _read(line)
        elif _may_be_repeated(found, begin, end):
            answer = _Answer(number, found, begin, end)
        else:
            yield number, found
    if answer is not None:
        yield answer.number, answer.found


class _Answer:
    """What an answer's lines so far tell: the object, and the number of the line that it is of."""

    __slots__ = ("_end", "_said", "found", "head", "number", "same")

    def __init__(self, number: int, found: dict[str, Any], begin: bytes, end: bytes) -> None:
        """begin, end: the line before and behind `_BEFORE` and `_AFTER`."""
        at = begin.find(b",")
        self.number, self.found = number, found
        self.same = begin[at:] + _BEFORE
        self.head = slice(at, at + len(self.same))
        self._keep(end)

    def _keep(self, end: bytes) -> None:
        said, own, _ = end.rpartition(_OWN)
        self._end, self._said = end, b"".join((_AFTER, said, own))

    def takes(self, number: int, line: bytes) -> bool:
        """Whether the line, which has `same` in its place `head`, says the same or a larger output, and nothing else.

        It has a parent, id and time of its own, and another content. Its time is not looked at: the first is kept.
        """
        edge = line[-_EDGE:]
        _, said, last = edge.partition(self._said)
        if said and line.startswith(_PARENT) and _LAST.fullmatch(last):
            return True
        end = edge.rpartition(_AFTER)[2]
        stop, output, last, same = _parts(end)
        _, counted, _, known = _parts(self._end)
        if same != known or not output.isdigit() or not (_LAST.fullmatch(last) and _STOPPED.fullmatch(stop)):
            return False
        message = self.found["message"]
        usage = message["usage"]
        if same[0].count(b"{") != same[0].count(b"}") + 1 or not line.startswith(_PARENT):
            return False
        if len(output) > _DIGITS or counted != str(usage.get("output_tokens")).encode() or int(output) < int(counted):
            return False
        if output != counted:
            usage["output_tokens"], self.number = int(output), number
        if message["stop_reason"] is None and stop != b"null":
            message["stop_reason"] = stop[1:-1].decode()
        self._keep(end)
        return True


def _may_be_repeated(found: dict[str, Any], begin: bytes, end: bytes) -> bool:
    """Whether lines with the same bytes, but for parent, id and time, are of the same message.

    The message has a name, and is the one object before its content; but for the time nothing follows the line's id.
    """
    name = found["message"].get("id")
    plain = begin.startswith(_PARENT) and begin.count(b"{") == 2
    return plain and isinstance(name, str) and bool(name and _LAST.fullmatch(end.rpartition(_OWN)[2]))


def _parts(end: bytes) -> tuple[bytes, bytes, bytes, tuple[bytes, bytes]]:
    """(stop reason, output, own id and what follows it, what is between them) of what stands behind `_AFTER`."""
    before, _, behind = end.partition(_OUTPUT)
    stop, _, middle = before.partition(b",")
    output, _, behind = behind.partition(b",")
    rest, _, last = behind.rpartition(_OWN)
    return stop, output, last, (middle, rest)


def _may_count(line: bytes) -> bool:
    """Whether the line has the words of an answer or of a run's totals, or is no object as it seems."""
    if _MARK in line and (_ANSWER in line or _RESULT in line):
        return True
    return not (line.startswith(b"{") and line.endswith(_ENDS))


def _read(line: bytes) -> dict[str, Any] | str:
    """The line's object, of a long one without the answer's content, {} of a blank line; or why it is none."""
    if len(line) > _EDGE:
        begin, content, rest = line.partition(_BEFORE)
        _, after, end = rest.rpartition(_AFTER)
        if content and after and (found := _without_content(begin, end)) is not None:
            return found
    if not line.strip():
        return {}
    try:
        return _decoded(line)
    except UnicodeDecodeError as error:
        return f"is no UTF-8: {error.reason} at byte {error.start}"
    except BadLine as bad:
        return str(bad)
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {error}"


def _decoded(line: bytes) -> dict[str, Any]:
    text = line.decode().strip("\ufeff \t\r\n")
    found, end = _decode(text)
    if end != len(text):
        raise ValueError(f"something follows the object at character {end}")
    if not isinstance(found, dict):
        raise BadLine(f"is JSON, but no object: {text[:60]}")
    return found


def _without_content(begin: bytes, end: bytes) -> dict[str, Any] | None:
    """The answer whose content stood between these; None where they are not of such.

    Were the marks keys of something inside the content, the brackets of what remains would not match.
    """
    try:
        found = _decoded(b"".join((begin, _BEFORE, _AFTER, end)))
    except (ValueError, RecursionError, BadLine):
        return None
    message = found.get("message")
    return found if isinstance(message, dict) and isinstance(message.get("usage"), dict) else None
