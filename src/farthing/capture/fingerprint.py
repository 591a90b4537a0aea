"""Keyed digests of a request: who has the ledger can tell that two requests were alike, and cannot read either.

    request  the whole body, as it was sent; the same again: a call that a cache could have answered
    system   the system prompt; tools: their definitions
    prefix   tools, system prompt and the first message after it: what the calls of one conversation begin with
    key      the API key's last four characters and a digest: `…a1B2:1f0c…`; short-lived tokens are only `token`
    tokens_by_role  about how many input tokens were system, user, assistant, tool and tools, adding up to the input
                    that was reported where all of it was text

The key of the digests is the one that hashes users; it lies outside the ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from farthing.capture.faults import guarded
from farthing.capture.request import Asked

DIGEST_BYTES = 12
KEY_SIZE = 64

Header = Callable[[str], str | None]
"""A request's header by its lower-case name."""


class Prints(Mapping[str, Any]):
    """The fingerprints of one request, made when first read: whoever writes them to the ledger, not the caller, waits.

    `input_tokens`, where it is known later than the request, may be set until then.
    """

    __slots__ = ("_found", "_make", "input_tokens")

    def __init__(self, make: Callable[[int | None], dict[str, Any]]) -> None:
        self._make: Callable[[int | None], dict[str, Any]] | None = make
        self._found: dict[str, Any] = {}
        self.input_tokens: int | None = None

    def _read(self) -> dict[str, Any]:
        make = self._make
        if make is not None:
            self._found = guarded("making fingerprints", make, self.input_tokens) or {}
            self._make = None
        return self._found

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (self._read(),))


def fingerprints(key: bytes, asked: Asked, body: bytes | None, path: str, api_key: str | None) -> dict[str, Any]:
    """The digests of a request; what it does not have is left out."""
    key = key[:KEY_SIZE]
    found: dict[str, Any] = {}
    if body:
        found["request"] = _digest(key, b"request", path.encode("utf-8", "replace"), body)
    turns, tools = asked.turns, asked.tools
    system = "\n".join([text for role, text in turns if role == "system"])
    first = next((text for role, text in turns if role != "system"), "")
    if system:
        found["system"] = _remembered(key, b"system", system)
    if tools:
        found["tools"] = _remembered(key, b"tools", tools)
    if system or tools or first:
        begun = found.get("tools", "") + "+" + found.get("system", "")
        found["prefix"] = _digest(key, b"prefix", begun.encode(), _bytes(first))
    if api_key:
        found["key"] = _key_print(key, api_key)
    return found


def tokens_by_role(asked: Asked, input_tokens: int | None) -> dict[str, int]:
    """About how many input tokens each role's text was, by its share of the characters.

    They add up to `input_tokens` where it is known and nothing but text went in; else a token is 4 characters.
    """
    characters = asked.characters()
    whole = sum(characters.values())
    if not whole:
        return {}
    total = input_tokens if input_tokens and not asked.blobs else min(whole // 4 + 1, input_tokens or whole)
    shares: dict[str, int] = {}
    left, chars_left = total, whole
    for role, count in characters.items():
        shares[role] = part = left * count // chars_left
        left -= part
        chars_left -= count
    return shares


def body_bytes(body: bytes | str | Mapping[str, Any] | None) -> bytes | None:
    """The body as bytes, the same for the same content."""
    if isinstance(body, bytes) or body is None:
        return body
    if isinstance(body, str):
        return _bytes(body)
    try:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False, default=str).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return None


def api_key_of(header: Header, path: str) -> str | None:
    """The API key that a request carries, wherever its provider wants it; None without one."""
    for name in ("x-api-key", "api-key", "x-goog-api-key"):
        if value := header(name):
            return value
    given = header("authorization")
    if given:
        kind, _, rest = given.partition(" ")
        if kind == "AWS4-HMAC-SHA256":
            found = _CREDENTIAL.search(rest)
            return found[1] if found else None
        return (rest or kind).strip() or None
    found = _IN_QUERY.search(path)
    return found[1] if found else None


_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)")
_IN_QUERY = re.compile(r"[?&]key=([^&#]+)")
_SHORT_LIVED = re.compile(r"ya29\.|eyJ|ASIA")
"""OAuth tokens of Google, JSON web tokens, temporary AWS keys: they change by the hour and identify nobody."""


@lru_cache(maxsize=32)
def _remembered(key: bytes, purpose: bytes, text: str) -> str:
    """The digest of what most requests of a program repeat: its system prompts, its tools."""
    return _digest(key, purpose, _bytes(text))


@lru_cache(maxsize=32)
def _key_print(key: bytes, api_key: str) -> str:
    if _SHORT_LIVED.match(api_key):
        return "token"
    shown = api_key[-4:] if len(api_key) >= 16 else ""
    return f"…{shown}:{_digest(key, b'key', _bytes(api_key))}"


def _digest(key: bytes, purpose: bytes, *parts: bytes) -> str:
    found = blake2b(digest_size=DIGEST_BYTES, key=key, person=purpose)
    for part in parts:
        found.update(part)
        found.update(b"\x1f")
    return found.hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
