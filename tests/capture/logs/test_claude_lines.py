"""Lines told apart by their bytes say what they say when every one of them is read as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.capture.logs.agents import How, Part
from farthing.capture.logs.attributed import Who
from farthing.capture.logs.claude_lines import objects
from farthing.capture.logs.claude_messages import Waiting
from farthing.capture.logs.positions import Positions
from farthing.event import Attribution
from farthing.recording import Call

AFTER = '],"stop_reason":"x","stop_sequence":null,"usage":{"output_tokens":7},"uuid":"u","timestamp":"t"}'
TRAPS: tuple[Any, ...] = (
    "Done.",
    'said: "type":"user","message":{ and \\"content\\":[' + AFTER,
    "long " * 600,
    {"type": "user", "message": {"content": [1], "stop_reason": "x", "usage": {"output_tokens": 9}}},
    {"a": [{"content": [[]], "stop_reason": None, "stop_sequence": None, "usage": {"output_tokens": 9, "x": 1}}]},
    {"parentUuid": None, "message": {"usage": {}}, "type": "assistant"},
)


CONTENTS = st.lists(st.sampled_from(TRAPS), max_size=2)
Line = dict[str, Any]


@st.composite
def a_line(draw: st.DrawFn) -> Line:
    """A line of a log, in Claude Code's order of keys."""
    message: Line = {"model": "claude-opus-4-5", "id": draw(st.sampled_from(("m", "m", "m", ""))), "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 4}}
    if draw(st.integers(0, 5)) == 0:
        message["usage"]["iterations"] = [{"output_tokens": draw(st.integers(0, 3))}, {"output_tokens": 2}]
    message["usage"] |= {"output_tokens": 2, "service_tier": "standard"}
    line: Line = {"parentUuid": None, "isSidechain": draw(st.sampled_from((False, False, True)))}
    line["cwd"] = draw(st.sampled_from(("/home/ada/shop", "/home/ada/shop", "C:\\work", "/home/{a}")))
    kind = draw(st.sampled_from(("assistant", "assistant", "assistant", "assistant", "user", "system")))
    line |= {"type": kind, "message": message} if draw(st.integers(0, 3)) == 0 else {"message": message, "type": kind}
    line["requestId"] = draw(st.sampled_from(("r", "r", "s", None)))
    return {**line, "uuid": "u", "timestamp": ""}


@st.composite
def a_log(draw: st.DrawFn) -> list[tuple[Line, int]]:
    """Lines, each with how it is spelled; most are as one before, with something else in them."""
    lines: list[tuple[Line, int]] = []
    for _ in range(draw(st.integers(1, 8))):
        line = json.loads(json.dumps(lines[-1][0])) if lines and draw(st.integers(0, 5)) else draw(a_line())
        message, usage = line["message"], line["message"]["usage"]
        message["content"], line["parentUuid"] = draw(CONTENTS), draw(st.sampled_from(("p1", "p2")))
        usage["output_tokens"] = draw(st.sampled_from((usage["output_tokens"], 0, 1, 2, 3, 12)))
        message["stop_reason"] = draw(st.sampled_from((message["stop_reason"], None, "end_turn")))
        line["uuid"] = draw(st.sampled_from(("u1", "u2")))
        change, how = draw(st.integers(0, 2 * len(CHANGES))), draw(st.integers(0, 24))
        if change < len(CHANGES):
            CHANGES[change](line)
        lines.append((line, how))
    return lines


CHANGES: tuple[Callable[[Line], object], ...] = (
    lambda line: line.update(isApiErrorMessage=True),
    lambda line: line.update(isSidechain=not line["isSidechain"]),
    lambda line: line.update(requestId="t"),
    lambda line: line.update(type="user"),
    lambda line: line["message"].update(id="o"),
    lambda line: line["message"].update(model="<synthetic>"),
    lambda line: line["message"]["usage"].update(input_tokens=3),
    lambda line: line["message"]["usage"].update(service_tier="priority"),
    lambda line: line["message"]["usage"].update(output_tokens=None),
    lambda line: line["message"].update(stop_reason="odd reason"),
    lambda line: line.update(parentUuid=None),
    lambda line: line.update(parentUuid={"a": 1}),
    lambda line: line.update(uuid='u"'),
)


def spelled(line: dict[str, Any], number: int, how: int) -> bytes:
    """The line as a writer may write it: as Claude Code does, with spaces, in another order, with other ends."""
    line["timestamp"] = f"2026-02-03T10:00:{number:02d}.500Z"
    if how == 1:
        return json.dumps(line).encode() + b"\n"
    if how == 2:
        line = dict(sorted(line.items()))
    if how == 3:
        line["message"] = dict(reversed(line["message"].items()))
    if how == 4:
        line = {"type": "progress", "data": {"type": "agent_progress", "agentId": "a", "message": line}}
    if how == 5:
        line["requestId"] = line.pop("requestId")  # behind the line's own id
    return json.dumps(line, separators=(",", ":")).encode() + (b"\r\n" if how == 6 else b"\n")


def calls(lines: Iterator[tuple[int, dict[str, Any] | str]]) -> list[tuple[int, Call]]:
    """What the objects come to."""
    part = Part(Path("p/log.jsonl"), How(who=Who("claude-code", Attribution()), source="x"), {}, Positions())
    waiting = Waiting(part)
    for number, found in lines:
        assert isinstance(found, dict), found
        waiting.add(number, found)
    return [(number, call) for number, call in waiting.calls(0) if isinstance(call, Call)]


def base(output: int, stop: str | None = None, **usage: Any) -> Line:
    """A plain line of an answer."""
    counted = {"input_tokens": 4, **usage, "output_tokens": output, "service_tier": "standard"}
    message = {"model": "claude-opus-4-5", "id": "m", "content": [], "stop_reason": stop, "stop_sequence": None}
    line: Line = {"parentUuid": "p1", "isSidechain": False, "message": {**message, "usage": counted}}
    return {**line, "requestId": "r", "type": "assistant", "uuid": "u1", "timestamp": ""}


@pytest.mark.parametrize("outputs", [(1, 1, 1), (1, 12, 12), (1, 1, 12), (12, 1, 3)])
@pytest.mark.parametrize("changed", [0, 1, 2])
@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_a_line_that_differs_in_one_thing_is_told_apart(change: int, changed: int, outputs: tuple[int, ...]) -> None:
    """Each change, in each place of three lines of one answer."""
    lines = [base(output) for output in outputs]
    CHANGES[change](lines[changed])
    assert_same([(line, 0) for line in lines])


def test_only_the_usages_own_output_grows() -> None:
    """Not that of a part of it, which stands before."""
    lines = [base(2, details={"output_tokens": 2, "x": 1}), base(2, details={"output_tokens": 9, "x": 1})]
    assert_same([(line, 0) for line in lines])


@settings(max_examples=400, deadline=None)
@given(a_log())
def test_marks_in_bytes_tell_what_json_tells(lines: list[tuple[Line, int]]) -> None:
    """Whatever is in the content, in the ids, in the order of keys and the spaces between them."""
    assert_same(lines)


def assert_same(lines: list[tuple[Line, int]]) -> None:
    """The lines, each with how it is spelled, come to the same calls when every one is read."""
    raw = [spelled(line, number, how) for number, (line, how) in enumerate(lines, 1)]
    everything = ((number, json.loads(line)) for number, line in enumerate(raw, 1))
    assert calls(objects(enumerate(raw, 1))) == calls(everything)
