"""What a second observation of a call adds to the first: nothing, or a correction. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context

from farthing.errors import LedgerError
from farthing.event import EMPTY, Event, new_id, now_us
from farthing.usage import Quantity

_USAGE_RANK = {"estimated": 0, "partial": 1, "reported": 2}
_PRICE_RANK = {"unpriced": 0, "partial": 1}
_KNOWN_PRICE = 2
_EXACT = Context(prec=100)


def newest(original: Event, corrections: Sequence[Event]) -> Event:
    """The event as it is now known: counts, statuses and price of the last correction, the cost of all together."""
    if not corrections:
        return original
    last = corrections[-1]
    costs = [event.cost_pico for event in (original, *corrections) if event.cost_pico is not None]
    return replace(
        original,
        usage=last.usage,
        usage_status=last.usage_status,
        context=last.context,
        cost_pico=sum(costs) if costs else None,
        price_status=last.price_status,
        price_hash=last.price_hash,
        price_reason=last.price_reason,
        reported_pico=last.reported_pico,
    )


def is_fuller(seen: Event, known: Event) -> bool:
    """Whether `seen` tells more of the call than is known.

    It does when its counts are better founded (estimated < partial < reported); or as well founded, none less and some
    greater; or all the same, and its price is known where it was not, or not wholly.
    """
    rank, known_rank = _USAGE_RANK.get(seen.usage_status, 0), _USAGE_RANK.get(known.usage_status, 0)
    if rank != known_rank:
        return rank > known_rank
    if any(seen.usage.get(unit) < count for unit, count in known.usage.items()):
        return False
    if any(count > known.usage.get(unit) for unit, count in seen.usage.items()):
        return True
    return _PRICE_RANK.get(seen.price_status, _KNOWN_PRICE) > _PRICE_RANK.get(known.price_status, _KNOWN_PRICE)


def correction(seen: Event, original: Event, corrections: Sequence[Event]) -> Event | None:
    """The event that leads from what is known to what was seen, or None where that says nothing new.

    It keeps the original's time, attribution, provider and model, so that it lands in the same sums. Where the fuller
    observation has no price, the cost known so far stays, and its status says that it is not all.
    """
    known = newest(original, corrections)
    return _leading(seen, original, known) if is_fuller(seen, known) else None


def instead(seen: Event, original: Event, corrections: Sequence[Event], *, calls: int = 0) -> Event:
    """The event that leads from what is known to what was seen, be that less or as little founded.

    It has the dedupe key of what was seen, where that is not its id: the call is known by it from now on. calls: what
    it adds to the calls, less than 0 where the call is another event's.
    """
    made = replace(_leading(seen, original, newest(original, corrections)), calls=calls)
    return made if seen.dedupe_key == seen.id else replace(made, dedupe_key=seen.dedupe_key)


def _leading(seen: Event, original: Event, known: Event) -> Event:
    price_status, cost = seen.price_status, _minus(seen.cost_pico, known.cost_pico)
    if seen.cost_pico is None and known.cost_pico is not None:
        price_status, cost = "partial", 0
    own_id = new_id()
    return replace(
        seen,
        id=own_id,
        dedupe_key=own_id,
        corrects=original.id,
        at_us=original.at_us,
        attribution=original.attribution,
        billing=original.billing,
        provider=original.provider,
        model=original.model,
        requested_model=original.requested_model,
        operation=original.operation,
        attempt=original.attempt,
        usage_delta=_difference(seen.usage.to_dict(), known.usage.to_dict()),
        cost_pico=cost,
        price_status=price_status,
        calls=0,
        billed=True,
        cache_hit=False,
        error=None,
        restates=original.calls,
        prior_usage_status=known.usage_status,
        prior_price_status=known.price_status,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a call costs by another price record: picodollars, the price status and why, and the record's hash."""

    cost_pico: int
    status: str
    reason: str | None
    price_hash: str


def repriced(original: Event, corrections: Sequence[Event], price: Price) -> Event | None:
    """The event that leads from what a call costs now to what it costs by another price; None where that is the same.

    Its counts and time are the original's; it adds the difference alone.
    """
    known = newest(original, corrections)
    if (known.cost_pico, known.price_status, known.price_hash) == (price.cost_pico, price.status, price.price_hash):
        return None
    own_id = new_id()
    return replace(
        known,
        id=own_id,
        dedupe_key=own_id,
        corrects=original.id,
        recorded_at_us=now_us(),
        usage_delta=EMPTY,
        cost_pico=price.cost_pico - (known.cost_pico or 0),
        price_status=price.status,
        price_hash=price.price_hash,
        price_reason=price.reason,
        calls=0,
        source="reprice",
        restates=original.calls,
        prior_usage_status=known.usage_status,
        prior_price_status=known.price_status,
    )


def settled(given: Event, original: Event, corrections: Sequence[Event]) -> bool:
    """Whether a correction made elsewhere (an exported ledger, say) is in the sums already.

    LedgerError where it neither is, nor leads on from what is known here: adding it would make the sums wrong.
    """
    known = newest(original, corrections)
    if (given.usage, given.usage_status, given.price_status) == (known.usage, known.usage_status, known.price_status):
        other_price = given.price_hash is not None and given.price_hash != known.price_hash
        return bool(given.usage_delta) or not other_price  # the same counts at another price: a repricing
    if _difference(given.usage.to_dict(), known.usage.to_dict()) != given.usage_delta:
        raise LedgerError(
            f"correction {given.id} of event {original.id} does not start from what this ledger knows of it "
            f"({known.usage!r}): append the whole observation instead"
        )
    return False


def _minus(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)


def _difference(now: Mapping[str, Quantity], before: Mapping[str, Quantity]) -> Mapping[str, Quantity]:
    """now - before, unit by unit, exactly; what does not differ is left out."""
    changed: dict[str, Quantity] = {}
    for unit in (*now, *(u for u in before if u not in now)):
        a, b = now.get(unit, 0), before.get(unit, 0)
        if a != b:
            changed[unit] = a - b if isinstance(a, int) and isinstance(b, int) else _EXACT.subtract(a, b)
    return changed or EMPTY
