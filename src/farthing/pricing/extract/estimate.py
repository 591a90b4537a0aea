"""An estimate of the output tokens of text, for streams that end without a usage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from farthing.pricing.extract.result import JsonObject, items, obj

_WORD = re.compile(
    r"[A-Za-z]+|[0-9]+|\s+|[!-/:-@\[-`{-~]+\n*"
    r"|[\u00C0-\u024F\u0370-\u05FF\u0600-\u06FF\u0750-\u077F\u0900-\u0DFF\u0E00-\u0EFF\u1E00-\u1FFF]+"
    r"|.",
    re.DOTALL,
)


def estimate_tokens(text: str) -> int:
    """About how many tokens the text is.

    Counted by script, as byte-pair vocabularies cut: a Latin word of up to 8 letters is one token and every 5 further
    letters another; 3 digits or marks one (line ends go with the mark before them); other alphabets 3 letters a token;
    Chinese, Japanese and Korean one a character; a single space belongs to the word after it.
    Over 301 recorded answers of ten providers: median 1.00 of the reported count, mean error 9 %, 90 % in 0.78-1.13.
    """
    count = 0
    for run in _WORD.findall(text):
        first = run[0]
        size = len(run)
        if first.isascii():
            if first.isalpha():
                count += 1 if size <= 8 else 1 + (size - 4) // 5
            elif first.isspace():
                count += 0 if run == " " else 1
            else:  # digits or marks
                count += (size + 2) // 3
        elif size > 1 or (first.isalpha() and ord(first) < 0x2000):
            count += (size + 2) // 3
        else:
            count += 1 if ord(first) < 0x10000 else 2
    return count


def visible_text(objects: Iterable[Any]) -> str:
    """All text that the objects of a stream (or one whole body) carry to the user, tool arguments included."""
    return "".join(piece for one in objects if isinstance(one, dict) for piece in _pieces(one))


def _pieces(event: JsonObject) -> Iterator[str]:
    for choice in items(event.get("choices")):
        yield from _message(obj(choice).get("delta") or obj(choice).get("message"))
        if not isinstance(obj(choice).get("delta"), dict):
            yield from _texts(choice, "text")
    kind = event.get("type")
    delta = event.get("delta")
    if isinstance(delta, str) and isinstance(kind, str) and kind.endswith(".delta"):
        yield delta if "audio.delta" not in kind else ""
    elif isinstance(delta, dict):
        yield from _texts(delta, "text", "partial_json", "thinking")
        yield from _message(delta.get("message"))
        for part in items(delta.get("content")):  # thread.message.delta
            yield from _texts(obj(part).get("text"), "value")
    for candidate in items(event.get("candidates")):
        for part in items(obj(obj(candidate).get("content")).get("parts")):
            yield from _texts(part, "text")
            yield from _arguments(obj(part).get("functionCall"))
    yield from _texts(event.get("content_block"), "name", "text")
    block = obj(obj(event.get("contentBlockDelta")).get("delta"))  # Bedrock Converse, Nova
    yield from _texts(block, "text")
    yield from _texts(block.get("toolUse"), "input")
    yield from _texts(block.get("reasoningContent"), "text")
    yield from _message(event.get("message"))
    yield from _texts(event, "response", "outputText", "generation", "completion")
    if kind is None or event.get("event_type") == "text-generation":
        yield from _texts(event, "text")
    if kind == "message":
        yield from _content(event.get("content"))
    for item in items(event.get("output")):
        yield from _content(obj(item).get("content"))
        yield from _texts(item, "arguments")
    for output in items(event.get("outputs")) + items(event.get("generations")):
        yield from _texts(output, "text")


def _message(message: Any) -> Iterator[str]:
    """The text of a message or delta in the manner of OpenAI, Cohere or Ollama."""
    if not isinstance(message, dict):
        return
    yield from _content(message.get("content"))
    yield from _texts(message, "reasoning_content", "refusal", "tool_plan", "thinking")
    if "reasoning_content" not in message:
        yield from _texts(message, "reasoning")
    calls = message.get("tool_calls")
    for call in items(calls) if not isinstance(calls, dict) else [calls]:
        yield from _texts(obj(call).get("function"), "name", "arguments")
    yield from _texts(message.get("function_call"), "name", "arguments")


def _content(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in items(content) if not isinstance(content, dict) else [content]:
        yield from _texts(part, "text", "thinking")
        yield from _arguments(obj(part).get("input"))


def _texts(holder: Any, *keys: str) -> Iterator[str]:
    if isinstance(holder, dict):
        for key in keys:
            value = holder.get(key)
            if isinstance(value, str):
                yield value


def _arguments(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        try:
            yield json.dumps(value, ensure_ascii=False)
        except (ValueError, TypeError, RecursionError):
            return
