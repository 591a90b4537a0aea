"""Claude Code's messages, each once: repeats and replays merged, what is left made into calls."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from farthing.capture.logs.agents import Found, Part
from farthing.capture.logs.attributed import project_of, text
from farthing.capture.logs.claude_runs import REST, Message, end_run, plain
from farthing.capture.logs.fields import moment_us
from farthing.capture.logs.positions import Request, short
from farthing.capture.logs.values import BadLine, Skipped, digest
from farthing.event import EMPTY, NO_MODEL, Attribution
from farthing.pricing.extract import anthropic
from farthing.pricing.extract.result import Draft
from farthing.recording import calls_of, make_call, response_key

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]")
_PLATFORMS = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"))

_WHO = (
    *("sessionId", "session_id", "cwd", "gitBranch", "parent_tool_use_id", "attributionAgent"),
    *("attributionSkill", "attributionPlugin", "effort", "version", "entrypoint"),
)
"""What an attribution is made of, with `isSidechain`."""


class Waiting:
    """The messages of a log that may still be repeated."""

    def __init__(self, part: Part) -> None:
        self._part, self._how, self._path = part, part.how, part.path
        self._messages: dict[str, list[Message]] = {}
        self._names: dict[str, Any] = {}
        self._folders: dict[str | None, str | None] = {}
        self._known: dict[tuple[Any, ...], Attribution] = {}
        self._said: list[Found] = []
        self._ended: set[str | None] = set()
        self._all_here = part.tail is not None and part.tail.offset == 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, number: int, line: dict[str, Any]) -> None:
        """Take a line in; one that is no answer of a model is passed over."""
        kind = line.get("type")
        if kind == "progress":
            line = self._of_progress(line)
            kind = line.get("type")
        elif kind == "result":
            self._end_run(number, line)
        body = line.get("message")
        if kind != "assistant" or not isinstance(body, dict) or not isinstance(body.get("usage"), dict):
            return
        if body.get("model") == "<synthetic>" or line.get("isApiErrorMessage") is True:
            self._said.append((number, Skipped("no model answered: an error that Claude Code reports")))
            return
        body.pop("content", None)
        message = Message(number, line, body)
        identity = text(body.get("id")) or text(line.get("uuid")) or digest(line).hex()
        known = self._messages.setdefault(identity, [])
        for one in known:
            if one.is_same(message):
                one.merge(message)
                return
        known.append(message)

    def _of_progress(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """A subagent's line that its parent's log repeats; it counts where the subagent has no log of its own."""
        data = line.get("data")
        if not isinstance(data, dict) or data.get("type") != "agent_progress":
            return {}
        inner, agent = data.get("message"), text(data.get("agentId"))
        if not isinstance(inner, dict) or agent is None or self._own_log(agent) is not None:
            return {}
        told = ("sessionId", "cwd", "gitBranch", "version", "entrypoint", "timestamp")
        return {**{name: line.get(name) for name in told}, **inner, "isSidechain": True, "agentId": agent}

    def _own_log(self, agent: str) -> Path | None:
        key = f"log {agent}"
        if key not in self._names:
            name = f"agent-{_NOT_PLAIN.sub('-', agent)}.jsonl"
            places = (self._path.with_suffix("") / "subagents" / name, self._path.with_name(name))
            self._names[key] = next((place for place in places if place.exists()), None)
        found: Path | None = self._names[key]
        return found

    def _end_run(self, number: int, line: dict[str, Any]) -> None:
        """The totals of a run of `claude -p`: see `claude_runs`."""
        session = text(line.get("session_id"))
        messages = [
            one for several in self._messages.values() for one in several if text(one.line.get("session_id")) == session
        ]
        alone = self._all_here and session not in self._ended
        for rest in end_run(line, messages, alone=alone):
            self._messages[f"{text(line.get('uuid')) or session}/{rest['model']}"] = [
                Message(number, {**line, "type": "assistant"}, rest, REST)
            ]
        self._ended.add(session)
        self._said.append((number, Skipped("the totals of a run, whose calls are counted one by one")))

    def calls(self, keep: int) -> Iterator[Found]:
        """What was said of lines so far, and the calls of all messages but the last `keep`."""
        yield from self._said
        self._said.clear()
        self._all_here = False
        ids = list(self._messages)[: max(0, len(self._messages) - keep)]
        numbers = [short(identity) for identity in ids]
        firsts = self._part.positions.first_requests(numbers)
        for identity, number in zip(ids, numbers, strict=True):
            for message in self._messages.pop(identity):
                first = not message.request or self._is_first(number, message, firsts)
                yield from self._calls(identity, message, first)

    def _calls(self, identity: str, message: Message, first: bool) -> Iterator[Found]:
        """The calls of a message. `first`: its id stands for its request, not for another one's."""
        provider = _provider(identity, message.model)
        key = response_key(provider, identity)
        if not first:
            key = f"{key}@{message.request}"
        try:
            at_us = moment_us(message.at) if message.at else int(self._path.stat().st_mtime * 1_000_000)
        except BadLine as bad:
            yield self._part.problem(message.number, str(bad))
            return
        if message.final:  # some line of it had its stop reason; a null in this one would make it look cut off
            message.body["stop_reason"] = message.body.get("stop_reason") or "end_turn"
        draft = Draft(provider=provider)
        anthropic.read(draft, message.body)
        found = draft.finish()
        if not found.usage and not found.parts:
            yield message.number, Skipped("an answer without tokens")
            return
        call = make_call(
            model=plain(found.model) or self._how.model or NO_MODEL,
            usage=found.usage,
            provider=provider,
            attribution=self._attribution(message.line),
            at_us=at_us,
            context=found.context or EMPTY,
            reported_usd=_cost(message.line.get("costUSD")),
            usage_status=found.status,
            usage_reason=message.reason or found.reason,
            response_id=found.response_id,
            dedupe_key=key,
            source=self._how.source,
            billing=self._how.billing or "metered",
        )
        if not found.parts:
            yield message.number, call
            return
        for part, one in enumerate(calls_of(found, call)):
            yield message.number, replace(one, model=call.model) if not part else one

    def _is_first(self, number: int, message: Message, firsts: dict[int, Request]) -> bool:
        """Whether this message's request is the one that its id stands for, here and in every log read before."""
        own = Request(short(message.request or ""), message.side)
        first = firsts.get(number)
        if first is None or (first.side and not own.side):
            firsts[number] = own
            self._part.positions.note_request(number, own)
            return True
        return own.side or first.number == own.number

    def _attribution(self, line: Mapping[str, Any]) -> Attribution:
        """Whom the call is for; lines that say the same have the same."""
        told = (line.get("isSidechain") is True, *map(line.get, _WHO))
        try:
            found = self._known.get(told)
        except TypeError:  # a list or an object, where a text is expected
            return self._attributed(line)
        if found is None:
            found = self._known[told] = self._attributed(line)
        return found

    def _attributed(self, line: Mapping[str, Any]) -> Attribution:
        folder, branch = text(line.get("cwd")), text(line.get("gitBranch"))
        return self._how.who(
            text(line.get("sessionId")) or text(line.get("session_id")),
            step=self._subagent(line),
            feature=text(line.get("attributionSkill")),
            folder=folder,
            project=self._project(folder),
            branch=None if branch == "HEAD" else branch,
            more=(
                ("plugin", text(line.get("attributionPlugin"))),
                ("effort", text(line.get("effort"))),
                ("version", text(line.get("version"))),
                ("entrypoint", text(line.get("entrypoint"))),
            ),
        )

    def _subagent(self, line: Mapping[str, Any]) -> str | None:
        """The name of the subagent that called; None for the main thread."""
        if named := text(line.get("attributionAgent")):
            return named
        if line.get("isSidechain") is not True and not line.get("parent_tool_use_id"):
            return None
        if "name" not in self._names:
            self._names["name"] = _named_beside(self._path)
        name: str = self._names["name"]
        return name

    def _project(self, folder: str | None) -> str | None:
        """The project of a working directory: the one that the log's folder is named after, where it lies in that.

        Claude Code names the folder after the directory that it was started in, with `-` for what is no letter or
        digit; the session may work in directories below it.
        """
        if folder in self._folders:
            return self._folders[folder]
        parts = self._path.parts
        named = parts[parts.index("projects") + 1] if "projects" in parts[:-2] else None
        project = project_of(folder) if folder else named
        for end in [match.start() for match in re.finditer(r"[\\/]", folder or "")] + [len(folder or "")]:
            if folder and end and _NOT_PLAIN.sub("-", folder[:end]) == named:
                project = project_of(folder[:end])
        self._folders[folder] = project
        return project


def _provider(identity: str, model: str | None) -> str | None:
    """Who answered, by the form of the message's id; None for a model that is not Anthropic's."""
    for start, provider in _PLATFORMS:
        if identity.startswith(start):
            return provider
    return "anthropic" if model and "claude" in model else None


def _cost(value: Any) -> float | int | None:
    """What older versions say a call cost; None where they do not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return value


def _named_beside(path: Path) -> str:
    """The kind of the subagent whose log this is, from the note beside it."""
    try:
        note = json.loads(path.with_name(f"{path.stem}.meta.json").read_bytes())
    except (OSError, ValueError):
        return "subagent"
    return (text(note.get("agentType")) if isinstance(note, dict) else None) or "subagent"
