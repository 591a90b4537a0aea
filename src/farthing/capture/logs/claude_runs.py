"""Messages of Claude Code, and what a run of `claude -p` tells of them at its end.

With `--output-format stream-json` a run writes its messages without their final output, some not at all, and at its end
what each model used in all (`modelUsage`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from farthing.capture.logs.attributed import text

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_TOLD = ("inputTokens", "outputTokens", "cacheCreationInputTokens", "cacheReadInputTokens")
_VARIANT = re.compile(r"\[[^\]]*\]$")

SHARED_OUT = "the output of the whole run, which its messages do not tell one by one, is counted with the last of them"
REST = "what the run used in all, beyond the messages that its log shows"


class Message:
    """What is known of one message: its fullest line, when its first was written, and whether any was the last."""

    __slots__ = ("at", "body", "final", "line", "number", "reason", "request", "run_ended", "side")

    def __init__(self, number: int, line: dict[str, Any], body: dict[str, Any], reason: str | None = None) -> None:
        self.number, self.line, self.body = number, line, body
        at, request = line.get("timestamp"), line.get("requestId")
        self.at = at if type(at) is str else ""
        self.request = request if type(request) is str and request else None
        self.side = line.get("isSidechain") is True
        self.final = "stop_reason" not in body or body["stop_reason"] is not None
        self.reason = reason
        self.run_ended = False

    def is_same(self, other: Message) -> bool:
        """Whether two messages of one id are one: a sidechain's copy has a request id of its own."""
        return self.side or other.side or None in (self.request, other.request) or self.request == other.request

    def merge(self, other: Message) -> None:
        """Keep what tells most: the main thread's line against a sidechain's, else the larger usage."""
        self.at = min(self.at, other.at) if self.at and other.at else self.at or other.at
        self.final = self.final or other.final
        better = _total(other.body["usage"]) > _total(self.body["usage"]) if other.side == self.side else self.side
        if better:
            self.line, self.body, self.number = other.line, other.body, other.number
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


def end_run(line: Mapping[str, Any], messages: Sequence[Message], *, alone: bool) -> Iterator[dict[str, Any]]:
    """Completes the messages of a session by the totals of its run, and gives what no message shows, a body a model.

    Where the input of a model's messages is that of the total, since the last run's end or since the session's
    beginning (versions differ in what they add up), the output that they lack goes to the last of them. Else the
    difference is a call of its own, but only of a run that stands alone: all of it was read, and it is the first.
    """
    models = line.get("modelUsage")
    for name, used in models.items() if isinstance(models, dict) else ():
        if not isinstance(used, dict):
            continue
        total = tuple(value if type(value := used.get(told)) is int else 0 for told in _TOLD)
        of_model = [one for one in messages if plain(one.model) == plain(name)]
        fresh = [one for one in of_model if not one.run_ended]
        if _share_out(fresh, total) or _share_out(of_model, total) or not alone:
            continue
        rest = [told - sum(_count(one, unit) for one in fresh) for told, unit in zip(total, _COUNTS, strict=True)]
        if min(rest) >= 0 and any(rest):
            for one in fresh:
                one.final = True
            yield {"model": name, "usage": dict(zip(_COUNTS, rest, strict=True))}
    for one in messages:
        one.run_ended = True


@lru_cache(maxsize=1024)
def plain(model: str | None) -> str:
    """The model's name without the variant that Claude Code adds: `claude-opus-4-5[1m]`."""
    return _VARIANT.sub("", model or "")


def _count(message: Message, unit: str) -> int:
    value = message.body["usage"].get(unit)
    return value if type(value) is int else 0


def _share_out(messages: Sequence[Message], total: Sequence[int]) -> bool:
    """Give the last message the output that the total has beyond theirs. False where the inputs do not agree."""
    sums = [sum(_count(one, unit) for one in messages) for unit in _COUNTS]
    missing = total[1] - sums[1]
    if not messages or missing < 0 or sum(total) - total[1] != sum(sums) - sums[1]:
        return False
    last = messages[-1]
    last.body["usage"]["output_tokens"] = _count(last, "output_tokens") + missing
    for one in messages:
        one.final = True
        one.reason = SHARED_OUT if len(messages) > 1 else None
    return True
