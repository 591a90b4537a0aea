"""Attribution across processes: as `x-farthing-*` headers, and as W3C baggage.

    x-farthing-agent: researcher
    x-farthing-cost-center: R%26D
    x-farthing-metadata-ticket: ABC-1
    baggage: farthing.agent=researcher,farthing.metadata.ticket=ABC-1

Values are percent-encoded UTF-8. A header of its own goes before baggage. They say who pays, so they are sent to hosts
that are named for it alone; and what comes in is checked, bounded, and left out where it is not usable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from farthing.capture.context import current
from farthing.event import ATTRIBUTION_FIELDS, Attribution

PREFIX = "x-farthing-"
BAGGAGE_PREFIX = "farthing."
MAX_VALUE = 512
"""Characters of one value, decoded."""
MAX_METADATA = 32
"""Keys of metadata that are read or sent."""
MAX_BAGGAGE = 8_192
"""Bytes of a baggage header that are read (W3C Baggage, 3.3.2: at least these must be propagated)."""

_METADATA = "metadata"
_FIELD_OF = {name.replace("_", "-"): name for name in ATTRIBUTION_FIELDS}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Incoming:
    """What headers say: an attribution, and how many of our own headers and baggage members could not be used."""

    attribution: Attribution
    ignored: int = 0


def headers_out(
    host: str, allowed: Iterable[str], attribution: Attribution | None = None, *, baggage: str | None = None
) -> dict[str, str]:
    """The headers that tell a host who its request is for; of the present blocks where no attribution is given.

    Empty unless the host is allowed: `gateway.internal`, `gateway.internal:8080`, or `*.internal` for what lies under
    it. baggage: the request's baggage header so far, whose other members are kept.
    """
    if not is_allowed(host, allowed):
        return {}
    said = list(_said(current() if attribution is None else attribution))
    found = {f"{PREFIX}{_header_name(name)}": quote(value, safe=_SAFE) for name, value in said}
    if said:
        members = others(baggage or "")
        members += [f"{BAGGAGE_PREFIX}{quote(name, safe='')}={quote(value, safe=_SAFE)}" for name, value in said]
        found["baggage"] = ",".join(members)
    return found


def others(baggage: str) -> list[str]:
    """The members of a baggage header that are not ours."""
    return [found for member in baggage.split(",") if (found := member.strip()) and not _is_ours(found)]


_SAFE = "-_.~:/@ !$&'()*+".replace(" ", "")
"""Characters that need no encoding in a value: neither separators of baggage nor the percent sign."""


def headers_in(headers: Mapping[str, Any] | Iterable[tuple[Any, Any]]) -> Incoming:
    """The attribution that a request's headers tell: a mapping or pairs, of text or bytes, in any case of letters.

    Unknown names, bad encodings, control characters and what is too long are left out and counted.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields: dict[str, str] = {}
    metadata: dict[str, str] = {}
    from_baggage: list[tuple[str, str]] = []
    own: list[tuple[str, str]] = []
    for raw_name, raw_value in pairs:
        name, value = _text(raw_name).lower(), _text(raw_value)
        if name.startswith(PREFIX):
            own.append((name.removeprefix(PREFIX), value))
        elif name == "baggage":
            from_baggage += _members(value)
    ignored = 0
    for name, value in (*from_baggage, *own):  # later ones over earlier: our own headers win
        ignored += not _take(name, value, fields, metadata)
    return Incoming(Attribution(**fields, metadata=metadata), ignored)


def is_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether a host is one of those named: `gateway.internal`, `gateway.internal:8080`, or `*.internal`."""
    name = host.lower().rstrip(".")
    bare = re.sub(r":\d+$", "", name)
    for pattern in allowed:
        wanted = pattern.lower().strip()
        if wanted in (name, bare) or (wanted.startswith("*.") and len(wanted) > 2 and bare.endswith(wanted[1:])):
            return True
    return False


def _said(who: Attribution) -> Iterator[tuple[str, str]]:
    """(name, value) of what an attribution says; what is too long is not sent."""
    for name in ATTRIBUTION_FIELDS:
        value = getattr(who, name)
        if value and not (name == "org" and value == "default") and _is_sound(value):
            yield name, value
    for key, value in list(who.metadata.items())[:MAX_METADATA]:
        text = value if isinstance(value, str) else None if value is None else str(value)
        if text and _is_sound(text) and _is_sound(key):
            yield f"{_METADATA}.{key}", text


def _header_name(name: str) -> str:
    """The name of a header: letters are told apart by encoding, because a header's name has no case."""
    if not name.startswith(f"{_METADATA}."):
        return name.replace("_", "-")
    key = name.removeprefix(f"{_METADATA}.")
    return f"{_METADATA}-" + "".join(c if c in _PLAIN else "".join(f"%{b:02x}" for b in c.encode()) for c in key)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


def _is_ours(member: str) -> bool:
    return member.strip().startswith(BAGGAGE_PREFIX)


def _members(baggage: str) -> Iterator[tuple[str, str]]:
    """Our members of a baggage header; their properties (`;ttl=5`) are not ours."""
    for member in baggage[:MAX_BAGGAGE].split(","):
        if _is_ours(member):
            name, _, value = member.split(";")[0].strip().partition("=")
            yield name.strip().removeprefix(BAGGAGE_PREFIX), value.strip()


def _take(name: str, encoded: str, fields: dict[str, str], metadata: dict[str, str]) -> bool:
    """Takes one value into its place; False where it cannot be used."""
    value = _decoded(encoded)
    if value is None:
        return False
    field = _FIELD_OF.get(name.lower().replace("_", "-"))
    if field:
        fields[field] = value
        return True
    for mark in (f"{_METADATA}-", f"{_METADATA}."):
        if name.lower().startswith(mark) and (key := _decoded(name[len(mark) :])):
            if key in metadata or len(metadata) < MAX_METADATA:
                metadata[key] = value
                return True
            return False
    return False


def _decoded(encoded: str) -> str | None:
    """The value, or None where it is empty, too long, wrongly encoded, or holds control characters."""
    if len(encoded) > 3 * MAX_VALUE or _BAD_PERCENT.search(encoded):
        return None
    try:
        value = unquote(encoded, errors="strict").strip()
    except UnicodeDecodeError:
        return None
    return value if value and _is_sound(value) else None


def _is_sound(value: str) -> bool:
    return len(value) <= MAX_VALUE and not _CONTROL.search(value)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
