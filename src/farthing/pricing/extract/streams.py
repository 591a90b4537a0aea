"""A body as it came over the wire -> the JSON objects in it.

Server-sent events, JSON lines, JSON arrays that arrive piece by piece, and AWS event streams. Nothing here raises on
bad input: what can be read is read, and `Frames.whole` says whether the end was reached.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

MAX_DIGITS = 40
"""Integers longer than this are no counts; they are read as text, which no count accepts."""


@dataclass(slots=True)
class Frames:
    """The JSON objects of a body in their order.

    kind: json (one object), sse, ndjson, array, eventstream or none; whole: the end of the body was reached;
    done: it carried an explicit end mark (`[DONE]`); fault: why it could not be read further;
    skipped: events that were left unparsed because they carry text only, see `everything`.
    """

    kind: str
    objects: list[Any] = field(default_factory=list)
    whole: bool = True
    done: bool = False
    fault: str | None = None
    skipped: list[str] = field(default_factory=list)

    def everything(self) -> list[Any]:
        """All objects, the skipped ones among them, in no particular order but for the skipped among themselves."""
        found = list(self.objects)
        for data in self.skipped:
            try:
                found.append(parse_json(data))
            except ValueError:
                self.whole = False
        return found


def parse_json(text: str | bytes) -> Any:
    """The parsed text; ValueError where it is no JSON, whatever is wrong with it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError:  # an integer beyond Python's digit limit, or bytes that are no text
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        try:
            return json.loads(text, parse_int=_int_or_text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def split(body: str | bytes, content_type: str | None = None) -> Frames:
    """The objects of a body as it came; the content type is a hint only, what the body looks like counts."""
    if isinstance(body, bytes):
        if is_event_stream(body) or (content_type and "eventstream" in content_type):
            frames = event_stream(body)
            if frames.objects or body[:1] not in b'{["':
                return frames
        head = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if head in (b"{", b"["):
            try:
                return _whole(parse_json(body))
            except ValueError:
                pass
        body = body.decode("utf-8", "replace")
    return _split_text(body.lstrip("\ufeff \t\r\n"), content_type)


def _whole(parsed: Any) -> Frames:
    if isinstance(parsed, list):
        return Frames("array", parsed)
    return Frames("json", [parsed])


def _split_text(text: str, content_type: str | None) -> Frames:
    if not text:
        return Frames("none", fault="the body is empty")
    first = text[0]
    if first in "{[":
        try:
            return _whole(parse_json(text))
        except ValueError as error:
            return _broken_json(text, str(error))
    if _SSE_START.match(text):
        return sse(text)
    packed = _from_base64(text, content_type)
    if packed is not None:
        return event_stream(packed)
    return Frames("none", whole=False, fault="the body is neither JSON nor a stream we know")


def _broken_json(text: str, why: str) -> Frames:
    """Text that starts like JSON but is not one whole value: JSON lines, or cut off."""
    if text[0] == "[":
        objects, ended = _values(text, 1)
        return Frames("array", objects, whole=ended, fault=None if ended else "the JSON array is cut off")
    if "\n" in text or "}{" in text:
        objects, ended = _values(text, 0)
        if objects:
            return Frames("ndjson", objects, whole=ended, fault=None if ended else "the last JSON line is cut off")
    return Frames("none", whole=False, fault=f"the body is no valid JSON: {why}"[:200])


_DECODER = json.JSONDecoder(parse_int=_int_or_text)
_BETWEEN = re.compile(r"[\s,\x1e]*")


def _values(text: str, at: int) -> tuple[list[Any], bool]:
    """(the JSON values that follow each other from `at`, whether the text ended where a value did).

    A line that is no JSON is stepped over, so that one bad line does not hide the usage after it.
    """
    found: list[Any] = []
    size = len(text)
    whole = True
    while True:
        gap = _BETWEEN.match(text, at)
        at = gap.end() if gap else at
        if at >= size:
            return found, whole
        if text[at] == "]":
            return found, True
        try:
            value, at = _DECODER.raw_decode(text, at)
            found.append(value)
            whole = True
        except (ValueError, RecursionError):
            whole = False
            at = text.find("\n", at)
            if at < 0:
                return found, False


_SSE_START = re.compile(r"(?::|(?:data|event|id|retry)\s*:)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_TELLING = re.compile(
    r'usage"?\s*:\s*\{|usage_?[mM]etadata|x_groq|billed_units|finish_?[rR]eason"\s*:\s*"|"(?:error|seconds|duration)"\s*:'
    r'|"type"\s*:\s*"(?:message_|message-|response\.(?:c|d|f|in)|transcript\.text\.done|error)|"object"\s*:\s*"thread\.run"'
    r'|"(?:interaction|metadata|messageStop|prompt_filter_results|grounding_?[mM]etadata)"|invocationMetrics'
)
"""What an event of a stream carries besides text. Events without it, but for the first and last, wait unparsed."""


def sse(text: str) -> Frames:
    """The `data` of the events that tell something; those that only carry text stay unparsed in `skipped`.

    Lines of one event are joined by newlines, as the standard says; comments and unknown fields are passed over.
    """
    frames = Frames("sse")
    events = list(_events(text))
    ends = (0, 1, len(events) - 1, len(events) - 2)
    search = _TELLING.search
    for at, data in enumerate(events):
        if data.startswith("[DONE]"):
            frames.done = True
        elif at not in ends and not search(data) and data[:1] == "{" and data[-1:] == "}":
            frames.skipped.append(data)
        else:
            _read_event(frames, data)
    return frames


def _read_event(frames: Frames, data: str) -> None:
    try:
        frames.objects.append(parse_json(data))
    except ValueError:
        # Some hosts leave out the blank line between events: then each line is an object of its own.
        values = _values(data, 0)[0] if "\n" in data else []
        frames.objects += [value for value in values if isinstance(value, dict)]
        frames.whole = bool(values)
        frames.fault = None if values else "an event of the stream is no JSON or cut off"
    else:
        frames.whole, frames.fault = True, None


def _events(text: str) -> Iterator[str]:
    lines = text.split("\n") if "\r" not in text else _LINE_END.split(text)
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield "\n".join(data) if len(data) > 1 else data[0]
                data = []
        elif line.startswith("data:"):
            data.append(line[6:] if line.startswith("data: ") else line[5:])
    if data:
        yield "\n".join(data)


_PRELUDE = struct.Struct(">III")


def is_event_stream(body: bytes) -> bool:
    """Whether the bytes start with the prelude of an AWS event stream, its checksum included."""
    if len(body) < 16 or body[0] > 1:
        return False
    _, _, checksum = _PRELUDE.unpack_from(body)
    return bool(binascii.crc32(body[:8]) == checksum)


def event_stream(body: bytes) -> Frames:
    """The payloads of an AWS event stream (`application/vnd.amazon.eventstream`).

    A frame is: total length, header length, CRC of those; headers; payload; CRC of it all. A frame whose checksum is
    wrong is kept when its payload is JSON. A cut-off last frame ends it: `whole` is then False.
    """
    frames = Frames("eventstream")
    at, size = 0, len(body)
    while at < size:
        if at + 16 > size:
            break
        total, headers_size, _ = _PRELUDE.unpack_from(body, at)
        if total < 16 or headers_size > total - 16 or at + total > size:
            break
        start = at + 12 + headers_size
        payload = body[start : at + total - 4]
        name = _event_name(body[at + 12 : start])
        at += total
        value = _payload(payload, name)
        if value is not None:
            frames.objects.append(value)
    if at < size:
        frames.whole = False
        frames.fault = "the event stream is cut off"
    return frames


_NAME = re.compile(rb"(:event-type|:exception-type)\x07(..)", re.DOTALL)


def _event_name(headers: bytes) -> str:
    found = _NAME.search(headers)
    if not found:
        return ""
    size = int.from_bytes(found[2], "big")
    name = headers[found.end() : found.end() + size].decode("utf-8", "replace")
    return f"exception:{name}" if found[1] == b":exception-type" else name


def _payload(payload: bytes, name: str) -> JsonObject | None:
    """One event as an object; `bytes` (InvokeModelWithResponseStream) unpacked; Converse events under their name."""
    try:
        value = parse_json(payload)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("bytes"), str):
        return opened(value)
    if name.startswith("exception:"):
        return {"error": {"type": name[10:], "message": value.get("message")}}
    return {name: value} if name and name != "chunk" else value


def opened(event: JsonObject) -> JsonObject | None:
    """An event of InvokeModelWithResponseStream as its SDK gives it, `{"chunk": {"bytes": ...}}`, unpacked.

    Also without `chunk`, and with base64 text for bytes. Any other event stays as it is; None: no JSON object inside.
    """
    inner = event.get("chunk")
    packed = (inner if isinstance(inner, dict) else event).get("bytes")
    if not isinstance(packed, bytes | str):
        return event
    try:
        value = parse_json(packed if isinstance(packed, bytes) else base64.b64decode(packed))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{24,}={0,2}\s*\Z")


def _from_base64(text: str, content_type: str | None) -> bytes | None:
    """An event stream that was recorded as base64 text."""
    if not text.startswith("AAA") and not (content_type and "eventstream" in content_type):
        return None
    if not _BASE64.match(text):
        return None
    try:
        packed = base64.b64decode("".join(text.split()) + "==")
    except ValueError:
        return None
    return packed if is_event_stream(packed) else None
