"""Gemini CLI's logs: sessions as one JSON document, in newer versions as lines; the last record of an id counts.

Thoughts are beside the output and tool prompts beside the input. Whether cached tokens are inside the input is told by
the total.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from farthing.capture.logs.agents import Found, Part, files_under
from farthing.capture.logs.attributed import project_of, text
from farthing.capture.logs.fields import moment_us
from farthing.capture.logs.files import LINE_LIMIT, WHOLE_LIMIT
from farthing.capture.logs.values import BadLine, Skipped
from farthing.errors import InputError
from farthing.event import NO_MODEL
from farthing.recording import Call
from farthing.usage import Usage

_HASH = re.compile(r"[0-9a-f]{64}")
_NAMES = ("input", "output", "cached", "thoughts", "tool", "total")


class GeminiCli:
    """Gemini CLI: the chats under ~/.gemini/tmp (GEMINI_CLI_HOME has another `.gemini`)."""

    name = "gemini-cli"

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """The folder of its projects' temporary files."""
        base = Path(environ["GEMINI_CLI_HOME"]).expanduser() if environ.get("GEMINI_CLI_HOME") else home
        return [base / ".gemini" / "tmp"]

    def files(self, places: Sequence[Path]) -> list[Path]:
        """Sessions and nothing else: where a whole folder is searched, those in a folder `chats`."""
        named = {place for place in places if place.is_file()}
        return sorted(
            path
            for path in files_under(places, (".json", ".jsonl"))
            if path in named or "chats" in path.parts or path.name.startswith("session-")
        )

    def by_lines(self, path: Path) -> bool:
        """The newer form."""
        return path.suffix == ".jsonl"

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of a session."""
        session = _Session(part, text(part.state.get("session")))
        records: dict[str, tuple[int, dict[str, Any]]] = {}
        for number, record in self._records(part, session):
            if isinstance(record, str):
                yield part.problem(number, record)
            elif record.get("type") == "gemini" and isinstance(record.get("tokens"), dict):
                identity = text(record.get("id")) or f"{number}"
                records.pop(identity, None)
                records[identity] = (number, record)
        for identity, (number, record) in records.items():
            try:
                yield number, session.call(identity, record)
            except BadLine as bad:
                yield part.problem(number, str(bad))
        part.state["session"] = session.id

    def _records(self, part: Part, session: _Session) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """(line or place in the list of messages, the record or why there is none)."""
        if not self.by_lines(part.path):
            whole = _whole(part.path)
            session.id = text(whole.get("sessionId")) or session.id
            messages = whole.get("messages")
            for number, record in enumerate(messages if isinstance(messages, list) else (), 1):
                if isinstance(record, dict):
                    yield number, record
            return
        for number, line in part.lines():
            if line is None:
                yield number, f"is longer than {LINE_LIMIT} bytes"
            elif line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield number, f"is no JSON: {error}"
                    continue
                if not isinstance(record, dict):
                    yield number, f"is JSON, but no object: {str(record)[:60]}"
                    continue
                session.id = session.id or text(record.get("sessionId"))
                changed = record.get("$set")
                listed = changed.get("messages") if isinstance(changed, dict) else None
                for one in listed if isinstance(listed, list) else [record]:
                    if isinstance(one, dict):
                        yield number, one


def _whole(path: Path) -> dict[str, Any]:
    """A session that is one document. One that is being written, or none: InputError."""
    if path.stat().st_size > WHOLE_LIMIT:
        raise InputError(f"is larger than {WHOLE_LIMIT} bytes")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}") from None
    return found if isinstance(found, dict) else {}


class _Session:
    """One session's facts."""

    def __init__(self, part: Part, session: str | None) -> None:
        self._part = part
        self.id = session
        self._project, self._folder = _project(part.path)

    def call(self, identity: str, record: Mapping[str, Any]) -> Call | Skipped:
        """The call of a record. BadLine where it cannot be."""
        usage = _usage(record["tokens"])
        if not usage:
            return Skipped("an answer without tokens")
        how = self._part.how
        session = self.id or self._part.path.stem
        return Call(
            model=text(record.get("model")) or how.model or NO_MODEL,
            usage=usage,
            attribution=how.who(session, project=self._project, folder=self._folder),
            provider="google",
            at_us=moment_us(record["timestamp"]) if record.get("timestamp") else None,
            dedupe_key=f"gemini-cli:{session}:{identity}",
            source=how.source,
            billing=how.billing or "metered",
        )


def _usage(tokens: Mapping[str, Any]) -> Usage:
    values = []
    for name in _NAMES:
        value = tokens.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise BadLine(f"tokens.{name} = {value!r}: must be a whole number, not negative")
        values.append(value or 0)
    read_in, out, cached, thoughts, tool, total = values
    apart = cached > read_in or (cached > 0 and total == read_in + cached + out + thoughts + tool)
    return Usage.reported(
        {
            "input_tokens": read_in + (cached if apart else 0) + tool,
            "cache_read_tokens": cached,
            "input_tool_tokens": tool,
            "output_tokens": out + thoughts,
            "output_reasoning_tokens": thoughts,
        }
    )


def _project(path: Path) -> tuple[str | None, str | None]:
    """(the project, its folder) whose session this is. Older versions name a project by a digest of its path alone."""
    folder = next((parent.parent for parent in path.parents if parent.name == "chats"), None)
    if folder is None:
        return None, None
    try:
        root = (folder / ".project_root").read_text().strip()
    except (OSError, UnicodeDecodeError):
        root = ""
    if root:
        return project_of(root), root
    try:
        listed = json.loads((folder.parent.parent / "projects.json").read_bytes())["projects"]
        root = next((known for known, name in listed.items() if name == folder.name), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        root = ""
    if root:
        return project_of(root), root
    return (folder.name[:12] if _HASH.fullmatch(folder.name) else folder.name), None
