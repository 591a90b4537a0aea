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
from farthing.capture.logs.fields import moment_us
from farthing.capture.logs.positions import Request, short
from farthing.capture.logs.values import BadLine, Skipped, digest
from farthing.event import EMPTY, Attribution
from farthing.pricing.extract import extract
from farthing.recording import NO_MODEL, Call, calls_of, response_key

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]")
_VARIANT = re.compile(r"\[[^\]]*\]$")
_PLATFORMS = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"))

_WHO = (
    *("sessionId", "session_id", "cwd", "gitBranch", "isSidechain", "parent_tool_use_id", "attributionAgent"),
    *("attributionSkill", "attributionPlugin", "effort", "version", "entrypoint"),
)
"""What an attribution is made of."""

UNFINISHED = "the log has only the counts that the answer began with"
SHARED_OUT = "the output of the whole run, which its messages do not tell one by one, is counted with the last of them"


class Message:
    """What is known of one message: its fullest line, when its first was written, and whether any was the last."""

    __slots__ = ("at", "body", "final", "line", "number", "reason", "request", "run_ended", "side", "total")

    def __init__(self, number: int, line: dict[str, Any], body: dict[str, Any]) -> None:
        self.number, self.line, self.body = number, line, body
        at, request = line.get("timestamp"), line.get("requestId")
        self.at = at if type(at) is str else ""
        self.request = request if type(request) is str and request else None
        self.side = line.get("isSidechain") is True
        self.total = _total(body["usage"])
        self.final = "stop_reason" not in body or body["stop_reason"] is not None
        self.reason: str | None = None
        self.run_ended = False

    def is_same(self, other: Message) -> bool:
        """Whether two messages of one id are one: a sidechain's copy has a request id of its own."""
        return self.side or other.side or None in (self.request, other.request) or self.request == other.request

    def merge(self, other: Message) -> None:
        """Keep what tells most: the main thread's line against a sidechain's, else the larger usage."""
        self.at = min(self.at, other.at) if self.at and other.at else self.at or other.at
        self.final = self.final or other.final
        better = other.total > self.total if other.side == self.side else self.side
        if better:
            self.line, self.body, self.total, self.number = other.line, other.body, other.total, other.number
            self.side, self.request = other.side, other.request or self.request

    @property
    def model(self) -> str | None:
        """The model that answered."""
        return text(self.body.get("model"))


def _total(usage: Mapping[str, Any]) -> int:
    total = 0
    for name in _COUNTS:
        value = usage.get(name)
        if type(value) is int:
            total += value
    return total


class Waiting:
    """The messages of a log that may still be repeated."""

    def __init__(self, part: Part) -> None:
        self._part, self._how, self._path = part, part.how, part.path
        self._messages: dict[str, list[Message]] = {}
        self._names: dict[str, Any] = {}
        self._folders: dict[str | None, str | None] = {}
        self._known: dict[str, Attribution] = {}
        self._said: list[Found] = []

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

    def _end_run(self, number: int, line: Mapping[str, Any]) -> None:
        """A run of `claude -p` tells at its end what each model used; its messages tell all but the output.

        Taken where the input agrees with that of the messages, since the last run's end or since the session's
        beginning: versions differ in what they add up.
        """
        models = line.get("modelUsage")
        session = text(line.get("session_id"))
        mine = [
            one
            for several in self._messages.values()
            for one in several
            if text(one.line.get("session_id")) == session and session is not None
        ]
        for name, used in models.items() if isinstance(models, dict) else ():
            of_model = [one for one in mine if _VARIANT.sub("", one.model or "") == _VARIANT.sub("", name)]
            if isinstance(used, dict):
                _share_out([one for one in of_model if not one.run_ended], used) or _share_out(of_model, used)
        for one in mine:
            one.run_ended = True
        self._said.append((number, Skipped("the totals of a run, whose calls are counted one by one")))

    def calls(self, keep: int) -> Iterator[Found]:
        """What was said of lines so far, and the calls of all messages but the last `keep`."""
        yield from self._said
        self._said.clear()
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
        found = extract(message.body, provider=provider)
        if not found.usage and not found.parts:
            yield message.number, Skipped("an answer without tokens")
            return
        partly = not message.final and not message.reason
        call = Call(
            model=_VARIANT.sub("", found.model or "") or self._how.model or NO_MODEL,
            usage=found.usage,
            provider=provider,
            attribution=self._attribution(message.line),
            at_us=at_us,
            context=found.context or EMPTY,
            reported_usd=_cost(message.line.get("costUSD")),
            usage_status="partial" if partly else found.status,
            usage_reason=message.reason or (UNFINISHED if partly else found.reason),
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
        told = str([line.get(name) for name in _WHO])
        found = self._known.get(told)
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


def _share_out(messages: list[Message], used: Mapping[str, Any]) -> bool:
    """Give the messages the output that the run's total has beyond theirs. False where the inputs do not agree."""
    told = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens")
    total = sum(value for name in told if type(value := used.get(name)) is int)
    output = used.get("outputTokens")
    own_output = sum(value for one in messages if type(value := one.body["usage"].get("output_tokens")) is int)
    if not messages or type(output) is not int or output < own_output:
        return False
    if total - output != sum(one.total for one in messages) - own_output:
        return False
    last = messages[-1]
    last.body["usage"]["output_tokens"] = last.body["usage"].get("output_tokens", 0) + output - own_output
    last.total += output - own_output
    for one in messages:
        one.final = True
        one.reason = SHARED_OUT if len(messages) > 1 else None
    return True


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
