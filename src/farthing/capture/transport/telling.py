"""Headers that say who a call is for: read from a request that carries them, kept from hosts that shall not know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from farthing.capture.headers import PREFIX, headers_in, headers_out, is_allowed

_MARKS: tuple[str | bytes, ...] = (PREFIX, PREFIX.encode())


@dataclass(slots=True)
class Told:
    """who: the attribution that the request carries; remove, add: what is to be done to its headers."""

    who: dict[str, Any] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    add: dict[str, str] = field(default_factory=dict)


def told(host: str, pairs: Iterable[tuple[Any, Any]], allowed: tuple[str, ...]) -> Told | None:
    """What the `x-farthing-*` headers of a request to a host say, and what becomes of them; None: nothing to do.

    To hosts that are not allowed none is sent, whoever set them; allowed ones are told of the present blocks too.
    """
    own = [pair for pair in pairs if pair[0][:11].lower() in _MARKS]
    if not own and not allowed:
        return None
    found = Told()
    if own:
        found.who = headers_in(own).attribution.to_dict()
        if found.who.get("org") == "default":
            del found.who["org"]
    if is_allowed(host, allowed):
        given = {_text(name).lower() for name, _ in own}
        found.add = {name: value for name, value in headers_out(host, allowed).items() if name not in given}
    else:
        found.remove = [_text(name) for name, _ in own]
    return found


def _text(name: Any) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)
