"""Gemini CLI's logs: a document a session, or lines; what its token counts mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.gemini_cli import GeminiCli

Write = Callable[..., Path]
HASH = "79b6fa86e3c0d31765c7e3c6de511a7b96342a2e947135d5db396e49e27020cd"
NAME = f".gemini/tmp/{HASH}/chats/session-2026-02-03T10-00-ab12.json"


def answer(number: int, tokens: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"m-{number}",
        "timestamp": f"2026-02-03T10:{number:02d}:00.000Z",
        "type": "gemini",
        "content": "Done.",
        "tokens": tokens,
        "model": "gemini-2.5-pro",
        **more,
    }


def tokens(read_in: int, out: int, cached: int = 0, thoughts: int = 0, tool: int = 0, total: int = 0) -> dict[str, int]:
    names = ("input", "output", "cached", "thoughts", "tool", "total")
    values = (read_in, out, cached, thoughts, tool, total or read_in + out + thoughts + tool)
    return dict(zip(names, values, strict=True))


def session(*messages: dict[str, Any]) -> dict[str, Any]:
    asked = {"id": "u-1", "timestamp": "2026-02-03T10:00:00.000Z", "type": "user", "content": "Please."}
    return {
        "sessionId": "s-1",
        "projectHash": HASH,
        "startTime": "2026-02-03T10:00:00Z",
        "messages": [asked, *messages],
    }


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (tokens(1000, 50, 800, 30), (1000, 800, 80, 30)),
        (tokens(200, 50, 800, 30, total=1080), (1000, 800, 80, 30)),
        (tokens(200, 50, 800, 30), (1000, 800, 80, 30)),
        (tokens(1000, 50, tool=40), (1040, 0, 50, 0)),
    ],
    ids=["cached inside, by the total", "cached outside, by the total", "more cached than input", "tool prompts"],
)
def test_what_the_counts_mean(desk: Any, write: Write, told: dict[str, int], expected: tuple[int, ...]) -> None:
    """Thoughts are beside the output, tool prompts beside the input; the total decides about cached tokens."""
    desk.read(GeminiCli(), write(NAME, session(answer(1, told))))
    (event,) = desk.events()
    used = event.usage
    assert (used.input_tokens, used.cache_read_tokens, used.output_tokens, used.output_reasoning_tokens) == expected
    assert (event.provider, event.price_status) == ("google", "priced")


def test_the_last_record_of_an_id_counts(desk: Any, write: Write) -> None:
    """A message that was written twice is one call, as it was last."""
    first, last = answer(1, tokens(10, 900)), answer(1, tokens(10, 500))
    desk.read(GeminiCli(), write(NAME, session(first, last, answer(2, None), answer(3, tokens(0, 0)))))
    (event,) = desk.events()
    assert event.usage.output_tokens == 500


def test_a_session_that_grew_is_read_as_a_whole_and_counted_once(desk: Any, write: Write) -> None:
    """The document is written anew each time: what was known is known, what is new is added."""
    path = write(NAME, session(answer(1, tokens(10, 5))))
    desk.read(GeminiCli(), path)
    assert desk.read(GeminiCli(), path).read == 0
    write(NAME, session(answer(1, tokens(10, 5)), answer(2, tokens(20, 6))))
    tally = desk.read(GeminiCli(), path)
    assert (tally.counts.added, tally.counts.duplicate) == (1, 1)


def test_lines_of_newer_versions(desk: Any, write: Write) -> None:
    """A session as lines: its beginning, messages, and changes that may carry messages; read on where it was left."""
    name = NAME + "l"
    head = {"sessionId": "s-1", "projectHash": HASH, "startTime": "2026-02-03T10:00:00Z", "kind": "main"}
    path = write(name, head, answer(1, tokens(10, 5)), answer(1, tokens(10, 7)))
    desk.read(GeminiCli(), path)
    changed = {"$set": {"messages": [answer(2, tokens(30, 3))]}}
    write(name, changed, answer(3, tokens(40, 4)), "broken\n", '{"cut', mode="a")
    tally = desk.read(GeminiCli(), path)
    assert [event.usage.output_tokens for event in desk.events()] == [7, 3, 4]
    assert {event.attribution.session for event in desk.events()} == {"s-1"}
    assert [problem.line for problem in tally.problems] == [6]


def test_a_call_is_for_its_project(desk: Any, write: Write) -> None:
    """By the folder that is noted beside the chats, by the list of projects, else by what the folder is called."""
    by_hash = write(NAME, session(answer(1, tokens(10, 5))))
    write(".gemini/tmp/shop/.project_root", "/home/ada/shop\n")
    write(".gemini/tmp/shop/chats/session-1.json", {**session(answer(1, tokens(10, 5))), "sessionId": "s-2"})
    write(".gemini/projects.json", {"projects": {"/home/ada/tools": "tools-1"}})
    write(".gemini/tmp/tools-1/chats/session-1.json", {**session(answer(1, tokens(10, 5))), "sessionId": "s-3"})
    write(".gemini/tmp/shop/logs.json", [{"type": "user"}])
    tally = desk.read(GeminiCli(), *GeminiCli().places({}, by_hash.parents[4]))
    assert (tally.files, tally.bad) == (3, 0)
    assert set(desk.by("metadata.project")) == {HASH[:12], "shop", "tools"}


def test_what_cannot_be_read_is_told(desk: Any, write: Write) -> None:
    """A broken document and wrong counts are shown, and the rest counts."""
    write(".gemini/tmp/x/chats/session-1.json", '{"sessionId": ')
    wrong = answer(1, {"input": -5, "output": 2})
    path = write(".gemini/tmp/x/chats/session-2.json", session(wrong, answer(2, tokens(10, 5))))
    tally = desk.read(GeminiCli(), path.parent)
    assert tally.counts.added == 1
    assert sorted(problem.reason.split(":")[0] for problem in tally.problems) == ["is no JSON", "tokens.input = -5"]
