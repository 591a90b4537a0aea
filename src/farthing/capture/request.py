"""What a request asks for, read from its body: model, roles and their texts, tools; every large provider's shape.

Nothing of it is kept: `fingerprint.py` makes digests and counts of it, and the texts are forgotten with the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.pricing.extract import estimate_tokens

Json = Mapping[str, Any]

SAMPLE_CHARACTERS = 24_000
"""A longer text is estimated from so much of it, taken evenly."""

MESSAGE_TOKENS = 4
"""What a message costs besides its text: its role and the marks around it."""


@dataclass(slots=True)
class Said:
    """What a request says.

    turns   (role, text) in their order: system, user, assistant or tool
    tools   the tools' definitions as JSON text
    tokens  tokens that were given as such, e.g. to embeddings
    blobs   images, audio and files, whose tokens nobody can tell from their bytes
    """

    turns: list[tuple[str, str]] = field(default_factory=list)
    tools: str = ""
    tokens: int = 0
    blobs: int = 0


@dataclass(slots=True)
class Asked:
    """A request for a call. What it says is read when first asked for, which for most calls nobody waits for.

    model      as asked for; None where the body does not say
    stream     whether a stream was asked for; wants_usage: with its usage at the end
    reasons    whether the request turns reasoning on, or its model is known to reason
    is_call    whether the body looks like a request for a call at all
    background whether the answer is to be fetched later
    """

    model: str | None = None
    stream: bool = False
    wants_usage: bool = False
    reasons: bool = False
    is_call: bool = False
    background: bool = False
    body: Json | None = field(default=None, repr=False)
    _said: Said | None = None

    @property
    def said(self) -> Said:
        """Its words."""
        found = self._said
        if found is None:
            found = self._said = Said() if self.body is None else _said(self.body)
            self.body = None
        return found

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) in their order."""
        return self.said.turns

    @property
    def tools(self) -> str:
        """The tools' definitions as JSON text."""
        return self.said.tools

    @property
    def tokens(self) -> int:
        """Tokens that were given as such."""
        return self.said.tokens

    @property
    def blobs(self) -> int:
        """Images, audio and files."""
        return self.said.blobs

    def characters(self) -> dict[str, int]:
        """Characters by role; `tools` for their definitions."""
        found: dict[str, int] = {}
        for role, text in self.turns:
            found[role] = found.get(role, 0) + len(text)
        if self.tools:
            found["tools"] = len(self.tools)
        return found

    def input_tokens(self) -> int:
        """About how many tokens went in, by their text alone."""
        text = "\n".join([text for _, text in self.turns] + ([self.tools] if self.tools else []))
        return self.tokens + _estimate(text) + MESSAGE_TOKENS * len(self.turns)


def _estimate(text: str) -> int:
    if len(text) <= SAMPLE_CHARACTERS:
        return estimate_tokens(text)
    pieces = 8
    size = SAMPLE_CHARACTERS // pieces
    step = len(text) // pieces
    sample = "".join(text[i * step : i * step + size] for i in range(pieces))
    return estimate_tokens(sample) * len(text) // len(sample)


def read_request(body: bytes | str | Json | None) -> Asked:
    """What the body asks for; a body that is no JSON object asks for nothing we know."""
    asked = Asked()
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return asked
    if not isinstance(body, Mapping):
        return asked
    model = body.get("model") or body.get("modelId")
    asked.model = model[:512] if isinstance(model, str) and model else None
    asked.stream = body.get("stream") is True
    options = body.get("stream_options")
    asked.wants_usage = isinstance(options, Mapping) and options.get("include_usage") is True
    asked.background = body.get("background") is True
    asked.reasons = _reasons(body, asked.model)
    asked.is_call = any(map(_PROMPTS.__contains__, body))
    asked.body = body
    return asked


def _said(body: Json) -> Said:
    said = Said()
    for key, value in body.items():
        if key in _SYSTEM and value:
            _add(said, "system", value)
        elif key in _TOOLS and value:
            said.tools += _json(value)
    for key in sorted((key for key in body if key in _PROMPTS), key=_PROMPTS.__getitem__):
        if (value := body[key]) is not None:
            _prompt(said, "user", value)
    return said


_SYSTEM = frozenset({"system", "instructions", "systemInstruction", "system_instruction", "preamble"})
_TOOLS = frozenset({"tools", "functions", "toolConfig", "response_format", "text_format"})
_PROMPTS = {
    key: place
    for place, key in enumerate(
        ("chat_history", "messages", "contents", "input", "prompt", "message", "inputText", "inputs", "texts", "text",
         "content", "requests", "query", "documents", "instances", "document")
    )
}  # fmt: skip
"""Where the providers' bodies hold what is asked, in the order of the conversation."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TOOL_PARTS = frozenset({"tool_result", "function_call_output", "toolResult", "functionResponse"})
_BLOBS = frozenset(
    {"image_url", "input_audio", "inlineData", "inline_data", "fileData", "file_data", "source", "bytes", "data",
     "b64_json", "image", "images", "audio", "video", "document_url", "encrypted_content", "signature"}
)  # fmt: skip
_MARKS = frozenset({"type", "role", "id", "name", "call_id", "tool_call_id", "tool_use_id", "status", "cache_control"})


def _prompt(said: Said, role: str, value: Any) -> None:
    """Adds one field of the request: a text, tokens, or messages each with its role."""
    if isinstance(value, list) and value and type(value[0]) is int:
        said.tokens += len(value)
        return
    for item in value if isinstance(value, list) else [value]:
        if type(item) is dict and len(item) == 2 and type(text := item.get("content")) is str and "role" in item:
            said.turns.append((_ROLES.get(str(item["role"]).lower(), role), text))  # by far the most frequent
        elif isinstance(item, list) and item and type(item[0]) is int:
            said.tokens += len(item)
        elif isinstance(item, Mapping):
            named = item.get("role") or item.get("type")
            own = _ROLES.get(named.lower(), role) if isinstance(named, str) else role
            if isinstance(named, str) and named in _TOOL_PARTS:
                own = "tool"
            _add(said, own, item)
        else:
            _add(said, role, item)


def _add(said: Said, role: str, content: Any) -> None:
    texts: list[str] = []
    tools: list[str] = []
    for text, of_tool in _texts(said, content, depth=0):
        (tools if of_tool and role == "user" else texts).append(text)
    if texts:
        said.turns.append((role, "\n".join(texts)))
    if tools:
        said.turns.append(("tool", "\n".join(tools)))


def _texts(said: Said, value: Any, depth: int, of_tool: bool = False) -> Iterator[tuple[str, bool]]:
    """(text, whether a tool said it) of everything written in a value; images and the like are counted as blobs."""
    if isinstance(value, str):
        yield value, of_tool
    elif depth > 32:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _texts(said, item, depth + 1, of_tool)
    elif isinstance(value, Mapping):
        kind = value.get("type")
        inside = of_tool or (isinstance(kind, str) and kind in _TOOL_PARTS)
        for key, inner in value.items():
            if key in _BLOBS and (inner or inner == ""):
                said.blobs += 1
            elif key not in _MARKS:
                yield from _texts(said, inner, depth + 1, inside or key in _TOOL_PARTS)


_REASONERS = re.compile(
    r"(?:.*[/.])?(?:o[134](?:-|$)|gpt-5|gpt-oss|gemini-(?:2\.5|[3-9])|deepseek-r|grok-[34]|magistral|qwq)|.*(?:think|reason)",
    re.IGNORECASE,
)


def _reasons(body: Json, model: str | None) -> bool:
    """Whether output may hold reasoning that is billed and not shown."""
    if body.get("reasoning_effort") not in (None, "none", "minimal"):
        return True
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.get("effort") not in ("none", "minimal"):
        return True
    thinking = body.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") != "disabled":
        return True
    return model is not None and _REASONERS.match(model) is not None


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (ValueError, RecursionError):
        return ""
