"""Headers that say who a call is for: read from a request that carries them, kept from hosts that shall not know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from farthing.capture.context import current
from farthing.capture.headers import BAGGAGE_PREFIX, PREFIX, headers_in, headers_out, is_allowed, others

BAGGAGE = "baggage"


@dataclass(slots=True)
class Told:
    """who: the attribution that the request carries; remove, add: what is to be done to its headers, in this order."""

    who: dict[str, Any] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    add: dict[str, str] = field(default_factory=dict)


def told(host: str, pairs: Iterable[tuple[Any, Any]], allowed: tuple[str, ...]) -> Told | None:
    """What the `x-farthing-*` headers and the baggage of a request to a host say, and what becomes of them; None:
    nothing to do.

    To hosts that are not allowed none of it is sent, whoever set it; allowed ones are told of the present blocks too.
    Other members of the baggage go on as they are.
    """
    own, carried = _ours(pairs)
    baggage = ",".join(_text(value) for _, value in carried)
    has_members = BAGGAGE_PREFIX in baggage
    if not own and not has_members and not allowed:
        return None
    said = headers_in([*own, *carried]).attribution
    found = Told(who=said.to_dict())
    if found.who["org"] == "default":
        del found.who["org"]
    if is_allowed(host, allowed):
        given = {_text(name).lower() for name, _ in own}
        out = headers_out(host, allowed, said.with_defaults(current()), baggage=baggage)
        found.add = {name: value for name, value in out.items() if name not in given}
        found.remove = [_text(name) for name, _ in carried] if BAGGAGE in out else []
        return found
    found.remove = [_text(name) for name, _ in own]
    if has_members:
        found.remove += [_text(name) for name, _ in carried]
        found.add = {BAGGAGE: kept} if (kept := ",".join(others(baggage))) else {}
    return found


def _ours(pairs: Iterable[tuple[Any, Any]]) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """(the headers of ours, those of baggage)."""
    own, carried = [], []
    for pair in pairs:
        begins = pair[0][:11].lower()
        if begins in _OWN:
            own.append(pair)
        elif begins in _BAGGAGE:
            carried.append(pair)
    return own, carried


_OWN: tuple[str | bytes, ...] = (PREFIX, PREFIX.encode())
_BAGGAGE: tuple[str | bytes, ...] = (BAGGAGE, BAGGAGE.encode())


def _text(name: Any) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)
