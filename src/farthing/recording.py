"""From an observed call to an entry of the ledger: price it, name it, keep what proves the price.

What the tracker records and what importers read become events here, by the same rules, so that one call seen by two of
them gets the same key and is one event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from farthing.details import checked_options
from farthing.errors import InputError, UsageError
from farthing.event import EMPTY, NO_MODEL, Attribution, Event, new_id, now_us, quick, to_us
from farthing.money import usd_to_pico
from farthing.pricing.catalog import Catalog
from farthing.pricing.cost import Cost
from farthing.pricing.extract import Extraction
from farthing.usage import Usage

Entry = tuple[Event, str | None]
"""An event, and the text of the price record that it was priced with."""

NOTHING_USED = Usage()

LONG_ID = 16
"""Characters of a response id that two providers will not both give."""

USES_NOTHING = frozenset({"span", "trace", "event", "execute_tool", "invoke_agent", "task"})
"""Operations that only frame others: they have no usage of their own and are no calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One observed call before it is priced; the fields are those of `Event` where the names are the same.

    usage         None: how much it used is not known, `usage_reason` says why; the cost is then unknown, not 0
    at_us         None: now
    reported_usd  what the provider, or the caller, says it cost; it goes before our price
    billed        False: costs nothing, e.g. an attempt that failed
    dedupe_key    None: the provider and its response id where there is one, else the event's own id
    """

    model: str
    usage: Usage | None
    attribution: Attribution
    provider: str | None = None
    requested_model: str | None = None
    operation: str = "chat"
    at_us: int | None = None
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    reported_usd: Any = None
    usage_status: str = "reported"
    usage_reason: str | None = None
    response_id: str | None = None
    dedupe_key: str | None = None
    event_id: str | None = None
    attempt: int = 1
    billed: bool = True
    cache_hit: bool = False
    error: str | None = None
    source: str = "record"
    recorder: str | None = None
    billing: str = "metered"
    fingerprints: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


make_call = quick(Call)
"""As `Call(...)`, in a third of the time."""

_make_event = quick(Event, of=Call, given=("at_us", "provider", "usage", "usage_status", "dedupe_key", "billed"))


def call_of(
    model: str | None,
    counts: Mapping[str, Any],
    who: Attribution,
    rest: Mapping[str, Any],
    at_us: int | None,
    recorder: str | None,
) -> Call:
    """A call of what `details.parted` made of keywords. `at_us` where `rest` has no `at`. What cannot be is refused."""
    if model is not None and not isinstance(model, str):
        raise InputError(f"model = {model!r}: must be text")
    if not rest:
        usage = Usage(**counts) if counts else None
        return make_call(model=model or NO_MODEL, usage=usage, attribution=who, at_us=at_us, recorder=recorder)
    take = checked_options(rest).get
    usage, status = Usage(**counts) if counts else None, "reported"
    if (given := take("usage")) is not None:
        if counts:
            raise UsageError(f"{', '.join(counts)}: given beside usage=; put all counts into one of them")
        usage, status = usage_of(given)
    context = dict(take("context") or ())
    if tier := take("service_tier"):
        context.setdefault("service_tier", tier)
    error, at, cost = take("error"), take("at"), take("cost_usd")
    return make_call(
        model=model or NO_MODEL,
        usage=usage,
        attribution=who,
        provider=take("provider"),
        requested_model=take("requested_model"),
        operation=take("operation") or "chat",
        at_us=at_us if at is None else to_us(at),
        context=context or EMPTY,
        reported_usd=cost,
        usage_status=take("usage_status") or status,
        usage_reason=take("usage_reason"),
        response_id=take("response_id"),
        dedupe_key=take("dedupe_key"),
        event_id=take("event_id"),
        attempt=take("attempt", 1),
        billed=bool(take("billed", not error or any(x is not None for x in (usage, cost, take("response"))))),
        cache_hit=bool(take("cache_hit")),
        error=error,
        source=take("source") or "record",
        recorder=recorder,
        billing=take("billing") or "metered",
        fingerprints=take("fingerprints") or EMPTY,
    )


def readable(response: Any) -> Any:
    """A response as `extract` reads it: an SDK's object gives its own JSON, an HTTP client's its body.

    A list may hold such objects: the chunks of a stream.
    """
    if isinstance(response, bytes | bytearray | memoryview | str | Mapping):
        return response
    if isinstance(response, list):
        return [part if isinstance(part, Mapping) else readable(part) for part in response]
    for method in ("model_dump", "to_dict", "dict"):
        if callable(dump := getattr(response, method, None)):
            return dump()
    try:
        body = getattr(response, "content", None)
    except RuntimeError:  # a stream that nobody has read yet
        body = None
    return body if isinstance(body, bytes) else response


def response_key(provider: str | None, response_id: str, part: int = 0) -> str:
    """The dedupe key of a response: whoever sees the same response makes the same key. `part`: its further models.

    A proxy and its client, or a span and the transport, may name different providers for one response: a long id
    stands for itself, and only a short one (a server of one's own that counts from 1) is told apart by its provider.
    """
    whose = "" if len(response_id) >= LONG_ID else f"{provider or '?'}:"
    key = f"response:{whose}{response_id}"
    return f"{key}#{part}" if part else key


def price_call(catalog: Catalog, call: Call) -> Entry:
    """The call as an event with its cost, and the price record's text to keep with it."""
    cost_pico: int | None = 0
    status, reason, price_hash, text, provider = "free", None, None, None, call.provider
    reported = None if call.reported_usd is None else _money(call.reported_usd)
    framing = call.operation in USES_NOTHING and not call.usage
    if framing:
        pass
    elif not call.billed or call.cache_hit:
        reason = "answered by a cache" if call.cache_hit else "not billed"
    elif reported is not None:
        cost_pico, status = reported, "reported"
        provider = provider or catalog.resolve(call.model, None, call.at_us, call.context).provider
    elif call.usage is None:
        cost_pico, status, reason = None, "unpriced", call.usage_reason or "how much was used is not known"
    elif call.model == NO_MODEL:
        cost_pico, status, reason = None, "unpriced", "no model was named"
    else:
        cost = _cost(catalog, call, call.usage)
        cost_pico, status = cost.pico, cost.status
        provider = provider or cost.provider
        reason = "; ".join(cost.reasons) if cost.reasons else None
        if (record := cost.record) is not None:
            price_hash, text = record.hash, record.text
    if call.usage_reason and call.usage is not None:
        reason = f"{call.usage_reason}; {reason}" if reason else call.usage_reason
    return _event(call, (cost_pico, status, reason, price_hash, reported, provider), framing), text


def unpriced_entry(call: Call, reason: str) -> Entry:
    """The call as an event whose cost is not known, for this reason."""
    free = not call.billed or call.cache_hit
    priced = (0 if free else None, "free" if free else "unpriced", reason, None, None, call.provider)
    return _event(call, priced, call.operation in USES_NOTHING and not call.usage), None


def _event(
    call: Call, priced: tuple[int | None, str, str | None, str | None, int | None, str | None], framing: bool
) -> Event:
    cost_pico, status, reason, price_hash, reported, provider = priced
    identity = call.event_id or new_id()
    key = call.dedupe_key
    if key is None:
        key = response_key(call.provider, call.response_id) if call.response_id else identity
    now = now_us()
    free = not call.billed or call.cache_hit
    counted = not free and not framing
    return _make_event(
        call,
        id=identity,
        at_us=now if call.at_us is None else call.at_us,
        recorded_at_us=now,
        provider=provider,
        usage=NOTHING_USED if call.usage is None else call.usage,
        usage_status="partial" if call.usage is None and counted else call.usage_status,
        cost_pico=cost_pico,
        price_status=status,
        price_hash=price_hash,
        price_reason=reason,
        reported_pico=reported,
        dedupe_key=key,
        calls=int(counted),
        billed=not free,
    )


def _cost(catalog: Catalog, call: Call, usage: Usage) -> Cost:
    """The cost by the model that answered; where it has no price but the one asked for has, by that."""
    cost = catalog.price(call.model, usage, provider=call.provider, at=call.at_us, context=call.context)
    if cost.pico is None and call.requested_model not in (None, call.model):
        asked = catalog.price(
            str(call.requested_model), usage, provider=call.provider, at=call.at_us, context=call.context
        )
        if asked.pico is not None:
            return asked
    return cost


def _money(amount: Any) -> int:
    try:
        pico = usd_to_pico(amount)
    except (ArithmeticError, TypeError, ValueError):
        raise UsageError(f"a reported cost of {amount!r}: must be a finite amount of US dollars") from None
    if pico < 0:
        raise UsageError(f"a reported cost of {amount!r}: must not be negative")
    return pico


def calls_of(found: Extraction, call: Call) -> Iterator[Call]:
    """The calls of one response: the answer's own, then those of further models billed in it.

    `call` says what the response does not know (attribution, time, ...); its `model` is what was asked for, and its
    usage counts where the response has none. An error response without usage is an attempt that was not billed.
    """
    for part, one in enumerate((found, *found.parts)):
        provider = call.provider or one.provider
        model = one.model or call.model
        usage = one.usage if one.usage is not None or part else call.usage
        failed = one.error if part else call.error or one.error
        response_id = one.response_id or found.response_id
        key = call.dedupe_key
        if response_id and not key:
            key = response_key(provider, response_id, part if response_id == found.response_id else 0)
        elif key and part:
            key = f"{key}#{part}"
        yield make_call(
            model=model,
            usage=usage,
            attribution=call.attribution,
            provider=provider,
            requested_model=call.model if call.model not in (model, NO_MODEL) and not part else None,
            operation=one.operation or call.operation,
            at_us=call.at_us,
            context={**one.context, **call.context},
            reported_usd=one.reported_cost if call.reported_usd is None or part else call.reported_usd,
            usage_status=one.status if one.usage is not None else call.usage_status,
            usage_reason=one.reason if one.usage is not None or usage is None else call.usage_reason,
            response_id=response_id,
            dedupe_key=key,
            event_id=call.event_id if not part else None,
            attempt=call.attempt,
            billed=call.billed and not (failed is not None and usage is None),
            cache_hit=call.cache_hit,
            error=failed,
            source=call.source,
            recorder=call.recorder,
            billing=call.billing,
            fingerprints=EMPTY if part else call.fingerprints,
        )


_TWO_SIDED = {
    "TOKENS": ("input_tokens", "output_tokens"),
    "CHARACTERS": ("input_characters", "output_characters"),
    "IMAGES": ("input_images", "output_images"),
    "SECONDS": ("input_audio_seconds", "output_audio_seconds"),
    "MILLISECONDS": ("input_audio_seconds", "output_audio_seconds"),
}
_OTHER_NAMES = MappingProxyType(
    {
        "input": "input",
        "output": "output",
        "total": "total",
        "prompt_tokens": "input",
        "completion_tokens": "output",
        "promptTokens": "input",
        "completionTokens": "output",
        "totalTokens": "total",
        "total_tokens": "total",
    }
)


def usage_of(given: Usage | Mapping[str, Any]) -> tuple[Usage, str]:
    """A usage and its status, from a Usage, a mapping of our units, or `{"input": …, "output": …, "unit": "TOKENS"}`.

    Units of the last: TOKENS, CHARACTERS, IMAGES, SECONDS, MILLISECONDS, REQUESTS. Where only a total is given, it
    counts as input and the status is `partial`. What cannot be: UsageError.
    """
    if isinstance(given, Usage):
        return given, "reported"
    if not isinstance(given, Mapping):
        raise UsageError(f"usage = {given!r}: must be a farthing.Usage or a mapping of units to counts")
    sides: dict[str, Any] = {}
    units: dict[str, Any] = {}
    for name, value in given.items():
        if name in _OTHER_NAMES:
            sides[_OTHER_NAMES[name]] = value
        elif name != "unit":
            units[name] = value
    kind = str(given.get("unit") or "TOKENS").upper()
    if not sides:
        return Usage(**units), "reported"
    if kind == "REQUESTS":
        return Usage(requests=sides.get("input") or sides.get("total") or 1, **units), "reported"
    if kind not in _TWO_SIDED:
        raise UsageError(f"unit = {given['unit']!r}: must be one of {', '.join((*_TWO_SIDED, 'REQUESTS'))}")
    into, out = _TWO_SIDED[kind]
    status = "reported"
    if sides.get("input") is None and sides.get("output") is None and sides.get("total") is not None:
        sides, status = {"input": sides["total"]}, "partial"
    for unit, value in ((into, sides.get("input")), (out, sides.get("output"))):
        if value is not None:
            units[unit] = Decimal(Usage(**{unit: value}).get(unit)) / 1000 if kind == "MILLISECONDS" else value
    return Usage(**units), status
