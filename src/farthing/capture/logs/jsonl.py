"""JSON lines: recorded responses, event lines, provider bodies, batch output; each line says itself which it is."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from json.scanner import make_scanner
from typing import Any

from farthing.capture.logs.fields import SHORT_UNITS, TIME_NAMES, moment_us, read_fields
from farthing.capture.logs.values import BadLine, Outcome, Read, Skipped, digest
from farthing.event import ATTRIBUTION_FIELDS, EMPTY, NO_MODEL, Attribution
from farthing.pricing.extract import Extraction, extract
from farthing.recording import Call, calls_of

_BODY_NAMES = (
    "choices",
    "content",
    "candidates",
    "output",
    "object",
    "type",
    "usageMetadata",
    "data",
    "response",
    "result",
)
"""A line with one of these and no time is a provider's body, not an event line."""


_scan: Callable[[str, int], tuple[Any, int]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # stubs
"""`json.loads` without what it does around the parsing, which is a fifth of its time on a short line."""


def read_json(text: str, *, source: str, defaults: Attribution | None = None) -> Outcome:
    """What one line holds. What cannot be read: BadLine."""
    try:
        line, end = _scan(text, 0)
        if text[end:].strip():
            raise BadLine(f"has more after its JSON: {text[end : end + 40].strip()}")
    except StopIteration as stopped:
        raise BadLine(
            f"is no JSON from character {stopped.value} on: {text[stopped.value or 0 :][:40].strip()}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"is no JSON: {error}") from None
    return read_value(line, source=source, defaults=defaults)


def read_value(line: Any, *, source: str, defaults: Attribution | None = None) -> Outcome:
    """What one parsed line holds."""
    if type(line) is not dict:
        raise BadLine(f"is JSON, but no object: {str(line)[:60]}")
    if "body" in line or "body_b64" in line:
        return _recorded(line, source, defaults)
    if _is_event(line):
        return read_fields(line, source=source, defaults=defaults)
    if (tool := _log_of(line)) is not None:
        raise BadLine(f"belongs to a log of {tool}, which says a call several times: farthing import {tool} PATH")
    return _response(line, Call(model=NO_MODEL, usage=None, attribution=_who({}, defaults), source=source), line)


def _is_event(line: Mapping[str, Any]) -> bool:
    if "at" in line or "usage_status" in line:
        return True
    if any(name in line for name in _BODY_NAMES):
        return False
    return any(name in line for name in SHORT_UNITS) or ("usage" in line and any(n in line for n in TIME_NAMES))


def _log_of(line: Mapping[str, Any]) -> str | None:
    """The coding agent whose log has such lines. A line by itself does not tell what of it was counted before."""
    kind = line.get("type")
    if kind in ("assistant", "result") and ("sessionId" in line or "session_id" in line):
        return "claude-code"
    if kind in ("session_meta", "turn_context", "event_msg") and "payload" in line:
        return "codex"
    if (kind == "gemini" and "tokens" in line) or "projectHash" in line:
        return "gemini-cli"
    return "opencode" if "modelID" in line and "providerID" in line else None


def _recorded(line: Mapping[str, Any], source: str, defaults: Attribution | None) -> Outcome:
    """A response as it was recorded on its way: where it came from, its status, its body."""
    status = line.get("status")
    if isinstance(status, int) and not 200 <= status < 300:
        return Skipped(f"the response has status {status}")
    body = line.get("body")
    if line.get("body_b64"):
        try:
            body = base64.b64decode(line["body_b64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise BadLine(f"body_b64 is no base64: {error}") from None
    if not isinstance(body, str | bytes | dict | list):
        raise BadLine(f"body = {str(body)[:40]}: must be text or JSON")
    request = line.get("request")
    asked = request.get("model") if isinstance(request, Mapping) else None
    call = Call(
        model=asked if isinstance(asked, str) and asked else NO_MODEL,
        usage=None,
        attribution=_who(line, defaults),
        provider=None,
        at_us=_time(line, body),
        source=source,
    )
    return _response(body, call, line)


def _response(body: Any, call: Call, line: Mapping[str, Any]) -> Outcome:
    """The calls of a provider's body; the reason where it counts nothing."""
    found: Extraction = extract(
        body, provider=_word(line, "provider"), path=_word(line, "path"), content_type=_word(line, "content_type")
    )
    if found.usage is None and not any(part.usage for part in found.parts) and not _was_a_call(found, call):
        return Skipped(found.reason or "the response reports no usage")
    if call.at_us is None:
        call = Call(
            model=call.model, usage=None, attribution=call.attribution, at_us=_time(line, body), source=call.source
        )
    calls = tuple(calls_of(found, call))
    return Read(calls, None if all(one.dedupe_key for one in calls) else digest(line))


def _was_a_call(found: Extraction, call: Call) -> bool:
    """Whether a model answered though nobody says how much: a call of unknown cost, not nothing."""
    return found.stream and found.status != "reported" and bool(found.model or call.model != NO_MODEL)


_CREATED = re.compile(rb'"created(?:_at)?"\s*:\s*(?:(\d{10})\b|"([0-9T:.Z+-]{19,40})")')


def _time(line: Mapping[str, Any], body: Any) -> int | None:
    """When the line says it was, else when the body says it was made; None where neither does."""
    for name in (*TIME_NAMES, "startedDateTime"):
        if line is not body and line.get(name):
            return moment_us(line[name])
    if isinstance(body, dict):
        body = json.dumps({name: body[name] for name in ("created", "created_at") if name in body}).encode()
    head = body[:8192].encode("utf-8", "replace") if isinstance(body, str) else body[:8192]
    found = _CREATED.search(head) if isinstance(head, bytes) else None
    if found is None:
        return None
    try:
        return moment_us(int(found[1]) if found[1] else found[2].decode())
    except BadLine:
        return None


def _word(line: Mapping[str, Any], name: str) -> str | None:
    value = line.get(name)
    return value if isinstance(value, str) and value else None


_WHO = frozenset(ATTRIBUTION_FIELDS)


def _who(line: Mapping[str, Any], defaults: Attribution | None) -> Attribution:
    """The attribution a recorded line carries beside the response."""
    given = {name: value for name, value in line.items() if name in _WHO and isinstance(value, str) and value}
    metadata = line.get("metadata")
    found = Attribution(**given, metadata=dict(metadata) if isinstance(metadata, Mapping) and metadata else EMPTY)
    return found.with_defaults(defaults) if defaults else found
