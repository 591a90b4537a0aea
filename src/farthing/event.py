"""One metered call: who caused it, what it used, what it cost, and how we know.

An `Event` is what the ledger keeps. It never changes; what is learned later is a *correction*, an event of its own that
carries the signed difference and names the event it corrects.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypedDict, TypeVar

from farthing.errors import InputError, shown
from farthing.money import pico_to_usd
from farthing.usage import Quantity, Usage

EMPTY: Mapping[str, Any] = MappingProxyType({})
"""The one empty mapping."""

Made = TypeVar("Made")


def quick(frozen: type[Made], *, of: type | None = None, given: tuple[str, ...] = ()) -> Callable[..., Made]:
    """What makes a frozen, slotted dataclass as its own constructor does, in a third of the time.

    A frozen class sets each field through `object.__setattr__`. Its twin has the same slots, which one function written
    out here sets plainly; the twin then becomes one of the frozen class, and from then on nothing can be set. For where
    millions are made. A field's factory is asked once: what it gives must never change.

    of: a class, an object of which is then the first argument. What both have is taken over from it, unless `given`.
    """
    twin = type(frozen.__name__, (), {"__slots__": tuple(f.name for f in fields(frozen))})  # type: ignore[arg-type]
    names: dict[str, Any] = {"new": object.__new__, "twin": twin, "frozen": frozen}
    takes, sets = [], []
    shared = {one.name for one in fields(of)} - {*given} if of is not None else set()
    for one in fields(frozen):  # type: ignore[arg-type]
        if one.name in shared:
            sets.append(f"    self.{one.name} = of.{one.name}")
            continue
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is not MISSING:
            names[f"default_{one.name}"] = default
        takes.append(one.name if default is MISSING else f"{one.name}=default_{one.name}")
        sets.append(f"    self.{one.name} = {one.name}")
    only = "*, " if any(one.kw_only for one in fields(frozen)) else ""  # type: ignore[arg-type]
    if of is not None:
        only = f"of, {only}"
    lines = (
        f"def make({only}{', '.join(takes)}):",
        "    self = new(twin)",
        *sets,
        "    self.__class__ = frozen",
        "    return self",
    )
    exec("\n".join(lines), names)
    make: Callable[..., Made] = names["make"]
    return make


def _nothing() -> Mapping[str, Any]:
    return EMPTY


USAGE_STATUSES = ("reported", "estimated", "partial")
"""How we know the counts, best first: the provider's own; our estimate; some counts known, others not."""

PRICE_STATUSES = ("priced", "free", "reported", "partial", "unpriced")
"""How we know the cost, best first: from a price record; a price of zero that is meant; the provider's own figure;
some units priced and others not; no price known (the cost is None, never 0)."""

NO_MODEL = "unspecified"
"""The model of a call whose model nobody told: it has no price."""

BILLINGS = ("metered", "subscription")
"""Owed per call, or inside a flat plan: then the cost is what the call would be at list price."""

_WORSE = {
    status: rank for rank, status in enumerate(("priced", "free", "reported", "estimated", "partial", "unpriced"))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Who and what a call was for. Every field is text or None; `org` is part of every key in the ledger."""

    org: str = "default"
    team: str | None = None
    cost_center: str | None = None
    environment: str | None = None
    user: str | None = None
    session: str | None = None
    trace: str | None = None
    name: str | None = None
    agent: str | None = None
    run: str | None = None
    task: str | None = None
    task_type: str | None = None
    step: str | None = None
    feature: str | None = None
    endpoint: str | None = None
    prompt: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=_nothing)

    def with_defaults(self, defaults: Attribution) -> Attribution:
        """These fields, and those of `defaults` where this one says nothing; metadata merged key by key."""
        missing: dict[str, Any] = {
            name: value
            for name in ATTRIBUTION_FIELDS
            if (value := getattr(defaults, name)) is not None and getattr(self, name) is None
        }
        if self.org == "default" and defaults.org != "default":
            missing["org"] = defaults.org
        if defaults.metadata:
            missing["metadata"] = {**defaults.metadata, **self.metadata}
        return replace(self, **missing) if missing else self

    def to_dict(self) -> dict[str, Any]:
        """What is given, as a new dict: `org` always, the other fields and `metadata` where they say something."""
        given = {name: value for name in ATTRIBUTION_FIELDS if (value := getattr(self, name)) is not None}
        if self.metadata:
            given["metadata"] = dict(self.metadata)
        return given


class Who(TypedDict, total=False):
    """The fields of `Attribution` but the agent, as keywords: numbers become text, None and empty text say nothing."""

    org: str | None
    team: str | None
    cost_center: str | None
    environment: str | None
    user: str | int | None
    session: str | int | None
    trace: str | None
    name: str | None
    run: str | None
    task: str | int | None
    task_type: str | None
    step: str | int | None
    feature: str | None
    endpoint: str | None
    prompt: str | None
    metadata: Mapping[str, Any] | None


class WhoAndAgent(Who, total=False):
    """All fields of `Attribution`, as keywords."""

    agent: str | None


ATTRIBUTION_FIELDS = tuple(f.name for f in fields(Attribution) if f.name != "metadata")
"""The names of the attribution fields in their order, `metadata` apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One metered call, or one correction of it.

    id              UUIDv7, unique
    at_us           when the call was dispatched, microseconds since 1970 UTC; recorded_at_us: when it was written
    provider, model what answered, as the provider names it; requested_model where it was asked for differently
    operation       OpenTelemetry's `gen_ai.operation.name`: chat, embeddings, ...; `span` and `trace` use nothing
    usage           the counts; of a correction: the counts as they are now known (`usage_delta` has the difference)
    usage_delta     of a correction only: signed counts to add to the original's
    context         request context as served: {"processing": "batch", "service_tier": "flex", ...}
    cost_pico       picodollars; None where no price is known; of a correction the signed difference
    price_hash      content hash of the price record used, kept in the ledger; None without one
    price_reason    why the price status is what it is, in words
    reported_pico   the provider's own figure where it gave one
    response_id     the provider's id of the response
    dedupe_key      two events of one organisation with the same key are one call; the id where nothing better is known
    source          how we heard of it: record, import:<file name>, ...; recorder: which tracker of which process
    calls           1 for a billed call, 0 for corrections, spans and unbilled attempts, so that calls are SUM(calls)
    attempt         1 for the first try; billed: False for an attempt that costs nothing; cache_hit: answered by a
                    cache of the caller; error: what failed
    corrects        id of the event this one corrects
    billing         one of `BILLINGS`
    fingerprints    keyed digests of the request, without its content: request, system, tools, prefix, key; and
                    `tokens_by_role`, estimates
    restates        of a correction: how many calls change from the statuses before it, `prior_usage_status` and
                    `prior_price_status`, to its own, so that counters of unpriced and estimated calls add up too
    """

    id: str
    at_us: int
    recorded_at_us: int
    attribution: Attribution
    provider: str | None
    model: str
    requested_model: str | None = None
    operation: str = "chat"
    usage: Usage
    usage_status: str = "reported"
    usage_delta: Mapping[str, Quantity] = field(default_factory=_nothing)
    context: Mapping[str, str] = field(default_factory=_nothing)
    cost_pico: int | None
    price_status: str
    price_hash: str | None = None
    price_reason: str | None = None
    reported_pico: int | None = None
    response_id: str | None = None
    dedupe_key: str
    source: str = "record"
    recorder: str | None = None
    calls: int = 1
    attempt: int = 1
    billed: bool = True
    cache_hit: bool = False
    error: str | None = None
    corrects: str | None = None
    billing: str = "metered"
    fingerprints: Mapping[str, Any] = field(default_factory=_nothing)
    restates: int = 0
    prior_usage_status: str | None = None
    prior_price_status: str | None = None

    @property
    def at(self) -> datetime:
        """When the call was dispatched, aware UTC."""
        return from_us(self.at_us)

    @property
    def usd(self) -> Decimal | None:
        """The cost in exact US dollars; None where no price is known."""
        return None if self.cost_pico is None else pico_to_usd(self.cost_pico)

    @property
    def cost(self) -> float | None:
        """The cost in US dollars as a float, rounded once here; None where no price is known."""
        return None if self.cost_pico is None else self.cost_pico / 10**12

    @property
    def status(self) -> str:
        """The worse of `usage_status` and `price_status`."""
        return worse(self.usage_status, self.price_status)


def worse(usage_status: str, price_status: str) -> str:
    """The worse of the two: `reported` usage says nothing against a priced cost."""
    if usage_status == "reported":
        return price_status
    return max(usage_status, price_status, key=_WORSE.__getitem__)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_us(microseconds: int) -> datetime:
    """Microseconds since 1970 UTC as an aware datetime."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def to_us(moment: datetime | str) -> int:
    """A datetime, or its ISO text, as microseconds since 1970 UTC. A naive one counts as UTC. Others: InputError."""
    if not isinstance(moment, datetime):
        moment = _read_moment(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    gone = moment - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _read_moment(given: object) -> datetime:
    try:
        if isinstance(given, str):
            return datetime.fromisoformat(given)
    except ValueError:
        pass  # told below
    raise InputError(
        f"{shown(given)} is no moment: give a datetime, e.g. datetime(2026, 11, 1, tzinfo=UTC), or '2026-11-01T09:30Z'"
    )


def now_us() -> int:
    """The present moment, microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class _Ids:
    """UUIDv7 (RFC 9562): 48 bits of milliseconds, then a counter within the millisecond, then 60 bits of chance.

    The lock is reentrant: a signal handler or finalizer may make an id while its own thread is making one.
    """

    def __init__(self) -> None:
        self._last = 0
        self._head, self._text = 0, ""
        self.after_fork()

    def after_fork(self) -> None:
        """A lock that another thread held would never open in the child, and its chance must not be the parent's."""
        self._lock = threading.RLock()
        self._chance, self._left = "", 0

    def __call__(self) -> str:
        stamp = time.time_ns() * 512 // 125_000  # milliseconds and 12 bits of their fraction
        with self._lock:
            if stamp <= self._last:
                stamp = self._last + 1
            self._last = stamp
            if not self._left:
                self._chance, self._left = os.urandom(1920).hex(), 3840
            self._left = at = self._left - 15
            chance = self._chance
            head = stamp >> 12
            if head != self._head:
                self._head, self._text = head, f"{head >> 16:08x}-{head & 0xFFFF:04x}-7"
            return f"{self._text}{stamp & 0xFFF:03x}-8{chance[at : at + 3]}-{chance[at + 3 : at + 15]}"


new_id = _Ids()
os.register_at_fork(after_in_child=new_id.after_fork)
"""A new event id: UUIDv7 text; within one process each is greater than the one before."""
