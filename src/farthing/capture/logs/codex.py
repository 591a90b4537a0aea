"""Codex's logs ("rollouts"): the tokens of a thread as running totals, of which each call is a difference.

- A total that has not grown is said again (a new rate limit): no call. One that fell was started anew: what is told of
  the last call counts.
- Newer versions write a `token_usage_record` for each response, with its id; the totals of both agree, so that what one
  has counted the other finds counted.
- A subagent's or forked thread's log may begin with its parent's history. That is taken off: by the ordinal at which
  the thread's own history starts; else as far as its totals are those of the parent's log; where the parent's log is
  gone, what was written within a second of the thread's beginning, or before it.
- `codex exec --json` writes another form, `turn.completed`, with the thread's totals and without the model's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from farthing.capture.logs.agents import Found, Part, files_under
from farthing.capture.logs.attributed import text
from farthing.capture.logs.fields import moment_us
from farthing.capture.logs.files import LINE_LIMIT
from farthing.capture.logs.values import BadLine, Skipped
from farthing.event import EMPTY, NO_MODEL
from farthing.recording import Call, response_key
from farthing.usage import Usage

_ENDS = (b"}\n", b"\r\n")
_MARKS = (
    b'"token_count"',
    b'"token_usage_record"',
    b'"turn_context"',
    b'"session_meta"',
    b'"thread_settings_applied"',
    b'"turn.completed"',
    b'"thread.started"',
)
_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
Counts = tuple[int, ...]
"""In the order of `_COUNTS`; cached and written tokens are inside the input, reasoning is inside the output."""

AT_ONCE_US = 1_000_000
"""What is written so soon after a thread began is copied: no answer comes as fast."""

_NOTHING = (0,) * len(_COUNTS)


class Codex:
    """Codex: `sessions` and `archived_sessions` in CODEX_HOME, else in ~/.codex."""

    name = "codex"

    def __init__(self) -> None:
        self._logs: dict[str, Path] = {}
        self._timelines: dict[str, list[Counts]] = {}

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """The active sessions before the archived ones."""
        base = Path(environ["CODEX_HOME"]).expanduser() if environ.get("CODEX_HOME") else home / ".codex"
        return [base / "sessions", base / "archived_sessions"]

    def files(self, places: Sequence[Path]) -> list[Path]:
        """The rollouts; of one that is both active and archived, the active. In order of name: of their beginning."""
        expanded: list[Path] = []
        for place in places:
            inside = [place / "sessions", place / "archived_sessions"]
            expanded += inside if any(path.is_dir() for path in inside) else [place]
        found: dict[str, Path] = {}
        for path in files_under(expanded, (".jsonl",)):
            archived = "archived_sessions" in path.parts
            name = path.name if path.name.startswith("rollout-") else str(path)
            if name not in found or ("archived_sessions" in found[name].parts and not archived):
                found[name] = path
        self._timelines.clear()
        self._logs = {path.stem[-36:]: path for path in found.values()}
        return sorted(found.values(), key=lambda path: path.name)

    def by_lines(self, path: Path) -> bool:
        """Always."""
        return True

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of one thread."""
        thread = _Thread(part, self._timeline)
        thread.load(part.state)
        for number, line in part.lines():
            if line is None:
                yield part.problem(number, f"is longer than {LINE_LIMIT} bytes")
                continue
            if not any(mark in line for mark in _MARKS) and (_looks_whole(line) or not line.strip()):
                continue
            try:
                found = thread.line(_parsed(line))
            except BadLine as bad:
                yield part.problem(number, str(bad))
                continue
            if found is not None:
                yield number, found
        part.state.clear()
        part.state.update(thread.save())

    def _timeline(self, thread: str) -> list[Counts] | None:
        """The totals of a thread's log in their order; None where the log is not among those read."""
        if thread in self._timelines:
            return self._timelines[thread]
        path = self._logs.get(thread)
        if path is None:
            return None
        totals: list[Counts] = []
        try:
            with path.open("rb") as file:
                for line in file:
                    if _MARKS[0] in line or _MARKS[1] in line:
                        try:
                            seen = _observed(_parsed(line))
                        except BadLine:
                            continue
                        if seen is not None and seen.total is not None and seen.total not in totals[-1:]:
                            totals.append(seen.total)
        except OSError:
            return None
        self._timelines[thread] = totals
        return totals


def _looks_whole(line: bytes) -> bool:
    """Whether it begins and ends as an object does: what is cut off is parsed, and so told."""
    return line[:1] == b"{" and line[-2:] in _ENDS


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except UnicodeDecodeError as error:
        raise BadLine(f"is no UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadLine(f"is JSON, but no object: {str(found)[:60]}")
    return found


@dataclass(frozen=True, slots=True)
class _Observed:
    """What a line says of tokens: the thread's total, the last call's, and the response's id where they are told."""

    total: Counts | None
    last: Counts | None
    response_id: str | None = None


def _observed(line: Mapping[str, Any]) -> _Observed | None:
    payload = line.get("payload")
    if not isinstance(payload, dict):
        payload = line
    if line.get("type") == "token_usage_record":
        usage = payload.get("usage")
        return _Observed(_counts(payload.get("thread_token_usage")), _counts(usage), text(payload.get("response_id")))
    if line.get("type") == "event_msg" and payload.get("type") == "token_count":
        info = payload.get("info")
        if isinstance(info, dict):
            return _Observed(_counts(info.get("total_token_usage")), _counts(info.get("last_token_usage")))
    return None


def _counts(given: Any) -> Counts | None:
    if not isinstance(given, dict):
        return None
    cached = given.get("cached_input_tokens", given.get("cache_read_input_tokens"))
    values = [cached if name == "cached_input_tokens" else given.get(name) for name in _COUNTS]
    for name, value in zip(_COUNTS, values, strict=True):
        if value is not None and (type(value) is not int or value < 0):
            raise BadLine(f"{name} = {value!r}: must be a whole number, not negative")
    return tuple(value or 0 for value in values)


def _usage(counts: Counts) -> Usage:
    read_in, cached, written, out, reasoning = counts
    return Usage.reported(
        {
            "input_tokens": read_in,
            "cache_read_tokens": cached,
            "cache_write_tokens": written,
            "output_tokens": out,
            "output_reasoning_tokens": reasoning,
        }
    )


@dataclass(slots=True)
class _Facts:
    """What a thread's log has said so far; kept from one reading to the next.

    total     the totals up to which calls were counted; None: not known yet
    replayed  how far in the parent's totals its replay has come; None: it is over, or there is none
    """

    session: str | None = None
    parent: str | None = None
    began_us: int | None = None
    own_from: int | None = None
    model: str | None = None
    provider: str | None = None
    folder: str | None = None
    branch: str | None = None
    step: str | None = None
    version: str | None = None
    entrypoint: str | None = None
    effort: str | None = None
    tier: str | None = None
    plan: str | None = None
    total: list[int] | None = None
    replayed: int | None = 0
    turns: int = 0


@dataclass(slots=True)
class _Thread:
    """One log, line after line."""

    part: Part
    timeline: Any
    facts: _Facts = field(default_factory=_Facts)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what was known."""
        for name in _Facts.__slots__:
            if name in state:
                setattr(self.facts, name, state[name])

    def save(self) -> dict[str, Any]:
        """What to know the next time."""
        return {name: getattr(self.facts, name) for name in _Facts.__slots__}

    def line(self, line: dict[str, Any]) -> Call | Skipped | None:
        """The call that a line tells; facts of others are taken in."""
        kind = line.get("type")
        payload = line.get("payload")
        payload = payload if isinstance(payload, dict) else line
        if kind == "session_meta":
            self._meta(payload, line)
        elif kind == "turn_context":
            self._context(payload)
        elif kind == "thread.started":
            self.facts.session = text(payload.get("thread_id")) or self.facts.session
        elif kind == "turn.completed":
            return self._turn(payload)
        elif kind == "event_msg" and payload.get("type") == "thread_settings_applied":
            settings = payload.get("thread_settings")
            self._context(settings if isinstance(settings, dict) else {})
        else:
            limits = payload.get("rate_limits")
            if isinstance(limits, dict) and text(limits.get("plan_type")):
                self.facts.plan = text(limits.get("plan_type"))
            if (seen := _observed(line)) is not None:
                return self._count(seen, line)
        return None

    def _meta(self, payload: Mapping[str, Any], line: Mapping[str, Any]) -> None:
        facts = self.facts
        own = text(payload.get("id"))
        if facts.session is not None:
            if own not in (None, facts.session):  # a parent's, copied
                facts.parent = facts.parent or own
            return
        source = payload.get("source")
        subagent = source.get("subagent") if isinstance(source, dict) else None
        spawn = subagent.get("thread_spawn") if isinstance(subagent, dict) else None
        spawn = spawn if isinstance(spawn, dict) else {}
        git = payload.get("git")
        facts.session = own or self.part.path.stem
        facts.parent = (
            text(payload.get("forked_from_id"))
            or text(payload.get("parent_thread_id"))
            or text(spawn.get("parent_thread_id"))
        )
        facts.began_us = _moment(payload.get("timestamp") or line.get("timestamp"))
        start = payload.get("subagent_history_start_ordinal")
        facts.own_from = int(start) if isinstance(start, int | str) and str(start).isdigit() else None
        facts.provider = text(payload.get("model_provider"))
        facts.folder = text(payload.get("cwd"))
        facts.branch = text(git.get("branch")) if isinstance(git, dict) else None
        facts.version = text(payload.get("cli_version"))
        facts.entrypoint = text(payload.get("originator")) or text(source)
        if subagent is not None or text(payload.get("thread_source")) == "subagent":
            names = (spawn.get("agent_role"), spawn.get("agent_path"), spawn.get("agent_nickname"), subagent)
            facts.step = next((name for value in names if (name := text(value))), "subagent")

    def _context(self, payload: Mapping[str, Any]) -> None:
        facts = self.facts
        facts.model = text(payload.get("model")) or facts.model
        facts.folder = text(payload.get("cwd")) or facts.folder
        facts.effort = text(payload.get("effort")) or text(payload.get("reasoning_effort")) or facts.effort
        facts.provider = text(payload.get("model_provider_id")) or facts.provider
        if "service_tier" in payload:
            facts.tier = text(payload.get("service_tier"))

    def _count(self, seen: _Observed, line: Mapping[str, Any]) -> Call | Skipped | None:
        if self._is_replay(seen, line):
            if seen.total is not None:
                self.facts.total = list(seen.total)
            return Skipped("a call of the parent thread, which this thread's log repeats")
        used = self._difference(seen)
        if used is None or not any(used):
            return None
        total = tuple(self.facts.total or _NOTHING)
        return self._call(used, total, seen.response_id, _moment(line.get("timestamp")))

    def _is_replay(self, seen: _Observed, line: Mapping[str, Any]) -> bool:
        facts = self.facts
        if facts.parent is None or facts.replayed is None:
            return False
        ordinal = line.get("ordinal")
        if facts.own_from is not None and isinstance(ordinal, int):
            return ordinal < facts.own_from
        timeline = self.timeline(facts.parent)
        if timeline is None:
            at_us = _moment(line.get("timestamp"))
            if at_us is not None and facts.began_us is not None and at_us < facts.began_us + AT_ONCE_US:
                return True
        elif seen.total is None or seen.total in timeline[max(0, facts.replayed - 1) :]:
            if seen.total is not None:
                facts.replayed = timeline.index(seen.total, max(0, facts.replayed - 1)) + 1
            return seen.total is not None
        facts.replayed = None
        return False

    def _difference(self, seen: _Observed) -> Counts | None:
        """What was used since the last count; None where nothing can be told."""
        facts, before = self.facts, self.facts.total
        if seen.total is None:
            if seen.last is not None:
                facts.total = [a + b for a, b in zip(before or _NOTHING, seen.last, strict=True)]
            return seen.last
        facts.total = list(seen.total)
        if before is None:  # a thread may go on from totals that are not in its log
            return seen.total if seen.last is None else seen.last
        used = tuple(now - then for now, then in zip(seen.total, before, strict=True))
        if min(used) < 0:
            return seen.total if seen.last is None else seen.last
        return used

    def _turn(self, payload: Mapping[str, Any]) -> Call | None:
        """A turn of `codex exec --json`: the thread's total up to its end, all its calls in one.

        It has the key of its last call in the thread's own log, and is `partial`: where that log is read too, before or
        after, what it says of each call counts, and the turn nothing beside it.
        """
        total = _counts(payload.get("usage"))
        if total is None:
            return None
        before = self.facts.total
        used = tuple(now - then for now, then in zip(total, before or _NOTHING, strict=True))
        if min(used) < 0:
            used = total
        self.facts.total = list(total)
        self.facts.turns += 1
        if not any(used):
            return None
        call = self._call(used, total, None, int(self.part.path.stat().st_mtime * 1_000_000))
        return replace(call, usage_status="partial", usage_reason="a whole turn in one: its calls are not told")

    def _call(self, used: Counts, total: Counts, response_id: str | None, at_us: int | None) -> Call:
        facts, how = self.facts, self.part.how
        session = facts.session or self.part.path.stem
        provider = facts.provider or "openai"
        key = f"codex:{session}:{'.'.join(map(str, total))}"
        return Call(
            model=facts.model or how.model or NO_MODEL,
            usage=_usage(used),
            provider=provider,
            attribution=how.who(
                session,
                step=facts.step,
                folder=facts.folder,
                branch=None if facts.branch == "HEAD" else facts.branch,
                more=(("version", facts.version), ("entrypoint", facts.entrypoint), ("effort", facts.effort)),
            ),
            at_us=at_us,
            context={"service_tier": facts.tier} if facts.tier else EMPTY,
            response_id=response_id,
            dedupe_key=key if response_id is None else response_key(provider, response_id),
            source=how.source,
            billing=how.billing or ("subscription" if facts.plan else "metered"),
        )


def _moment(value: Any) -> int | None:
    return moment_us(value) if value else None
