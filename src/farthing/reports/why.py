"""Why one period cost more or less than another, split without a remainder.

From the first period to the second, one thing is changed after the other, and what each change makes of the cost is its
part: how many calls there were; which models they went to; how many tokens a call had; how much of its input came from
caches or was written to them; what a token cost (rates and tiers). What is not tokens (searches, images, fees, figures
that providers reported) is a part of its own, where there is any. The parts add up to the difference because each
begins where the one before it ends; every row does too, to the picodollar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from farthing.ledger.store import Filter, Question, Store
from farthing.reports.lots import Lot, Prices, lots, token_rates
from farthing.reports.periods import Period
from farthing.reports.split import rounded

PARTS = ("volume", "model mix", "tokens per call", "caching", "price", "other")
WORDS = {
    "volume": ("more calls", "fewer calls"),
    "model mix": ("dearer models", "cheaper models"),
    "tokens per call": ("more tokens a call", "fewer tokens a call"),
    "caching": ("less help from caches", "more help from caches"),
    "price": ("higher prices", "lower prices"),
    "other": ("fees and corrections", "fees and corrections"),
}

Model = tuple[str | None, str]
_ZERO = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One model in one period. Token counts and costs are of all its calls; rates are picodollars for one token.

    plain_rate, read_rate, write_rate, output_rate  the average over the period's price records and tiers
    """

    calls: int = 0
    cost: int = 0
    input: int = 0
    read: int = 0
    write: int = 0
    output: int = 0
    plain_rate: Fraction = _ZERO
    read_rate: Fraction = _ZERO
    write_rate: Fraction = _ZERO
    output_rate: Fraction = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One model's difference, picodollars. parts: by `PARTS`; they add up to `now - before`."""

    model: Model
    before: int
    now: int
    calls_before: int
    calls_now: int
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer. changes: models by how much they moved, the greatest first; movers: agents and their differences."""

    first: Period
    second: Period
    changes: Sequence[Change]
    movers: Sequence[tuple[str | None, int]]
    days_over: int | None = None

    @property
    def before(self) -> int:
        """What the first period cost."""
        return sum(change.before for change in self.changes)

    @property
    def now(self) -> int:
        """What the second cost."""
        return sum(change.now for change in self.changes)

    @property
    def parts(self) -> dict[str, int]:
        """The difference by its parts."""
        return {part: sum(change.parts[part] for change in self.changes) for part in PARTS}


def why(store: Store, first: Period, second: Period, where: Filter, now_us: int) -> Why:
    """The difference between two periods, of what is owed unless the filter says who pays."""
    if "billing" not in where.equals:
        where = Filter(
            since_us=where.since_us,
            until_us=where.until_us,
            org=where.org,
            equals={**where.equals, "billing": "metered"},
        )
    prices = Prices(store)
    uses = [_uses(lots(store, period.filter(where)), prices) for period in (first, second)]
    agents = []
    for period in (first, second):
        rows = store.totals(Question(by=("agent",), where=period.filter(where), sums=()))
        agents.append({row.key[0]: row.totals.cost_pico for row in rows})
    moved = {name: agents[1].get(name, 0) - agents[0].get(name, 0) for name in {**agents[0], **agents[1]}}
    over = None
    if second.since_us <= now_us < second.until_us:
        over = (now_us - second.since_us) // 86_400_000_000 + 1
    return Why(
        first=first,
        second=second,
        changes=changes(*uses),
        movers=sorted(moved.items(), key=lambda pair: (-abs(pair[1]), pair[0] or "")),
        days_over=over,
    )


def changes(before: Mapping[Model, Use], now: Mapping[Model, Use]) -> list[Change]:
    """Each model's difference by its parts, the greatest difference first."""
    calls_before, calls_now = (sum(use.calls for use in uses.values()) for uses in (before, now))
    found = []
    for model in {**before, **now}:
        a, b = before.get(model, Use()), now.get(model, Use())
        parts = _parts(a, b, calls_before, calls_now)
        whole = rounded([parts[name] for name in PARTS], b.cost - a.cost)
        found.append(
            Change(
                model=model,
                before=a.cost,
                now=b.cost,
                calls_before=a.calls,
                calls_now=b.calls,
                parts=_tidied(dict(zip(PARTS, whole, strict=True)), a.calls + b.calls),
            )
        )
    return sorted(found, key=lambda one: (-abs(one.now - one.before), one.model[1]))


def _tidied(parts: dict[str, int], calls: int) -> dict[str, int]:
    """What is less than a picodollar a call is the rounding of costs: it goes with the price."""
    if abs(parts["other"]) <= calls:
        parts["price"] += parts["other"]
        parts["other"] = 0
    return parts


def _parts(a: Use, b: Use, calls_before: int, calls_now: int) -> dict[str, Fraction]:
    """One model's parts, exact. Its chain: calls in all, its share of them, tokens, caching, rates, the rest."""
    if not calls_before or not calls_now or not (a.calls or b.calls):
        # Without calls on one side nothing but their number can have changed; without any, it is what is left over.
        name = "volume" if a.calls or b.calls else "other"
        return {part: Fraction(b.cost - a.cost) if part == name else _ZERO for part in PARTS}
    known, last = (a if a.calls else b), (b if b.calls else a)
    share_before, share_now = Fraction(a.calls, calls_before), Fraction(b.calls, calls_now)
    n = share_now * calls_now
    i, o = _each(known.input, known), _each(known.output, known)
    i2, o2 = _each(last.input, last), _each(last.output, last)
    cached, cached2 = _cached(known), _cached(last)
    start = _cost(i, o, cached, known)
    tokens = _cost(i2, o2, cached, known)
    caching = _cost(i2, o2, cached2, known)
    price = _cost(i2, o2, cached2, last)
    rest, rest2 = (Fraction(use.cost, use.calls) - at for use, at in ((known, start), (last, price)))
    whole = Fraction(known.cost, known.calls)
    stray = (a.cost if not a.calls else 0, b.cost if not b.calls else 0)
    return {
        "volume": (calls_now - calls_before) * share_before * whole,
        "model mix": calls_now * (share_now - share_before) * whole,
        "tokens per call": n * (tokens - start),
        "caching": n * (caching - tokens),
        "price": n * (price - caching),
        "other": n * (rest2 - rest) + stray[1] - stray[0],
    }


def _each(count: int, use: Use) -> Fraction:
    return Fraction(count, use.calls)


def _cached(use: Use) -> tuple[Fraction, Fraction]:
    """The parts of the input that were read from a cache and written to one."""
    return (Fraction(use.read, use.input), Fraction(use.write, use.input)) if use.input else (_ZERO, _ZERO)


def _cost(input_: Fraction, output: Fraction, cached: tuple[Fraction, Fraction], at: Use) -> Fraction:
    read, write = cached
    plain = 1 - read - write
    return input_ * (plain * at.plain_rate + read * at.read_rate + write * at.write_rate) + output * at.output_rate


def _uses(found: Iterable[Lot], prices: Prices) -> dict[Model, Use]:
    """What each model used in a period, with its average rates."""
    sums: dict[Model, dict[str, Fraction]] = {}
    for lot in found:
        held = sums.setdefault((lot.provider, lot.model), {})
        input_, read, write, output = (
            int(lot.unit(name)) for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
        )
        rates = token_rates(lot, prices)
        for name, amount in (
            ("calls", lot.calls),
            ("cost", lot.cost_pico),
            ("input", input_),
            ("read", read),
            ("write", write),
            ("output", output),
            ("plain_paid", rates.plain * max(0, input_ - read - write)),
            ("read_paid", rates.read * read),
            ("write_paid", rates.written),
            ("output_paid", rates.output * output),
            ("plain_list", rates.plain * input_),
            ("read_list", rates.read * input_),
            ("write_list", rates.write * input_),
        ):
            held[name] = held.get(name, _ZERO) + amount
    return {model: _use(held) for model, held in sums.items()}


def _use(held: Mapping[str, Fraction]) -> Use:
    def rate(paid: str, tokens: Fraction, instead: Fraction) -> Fraction:
        return held[paid] / tokens if tokens > 0 else instead

    plain_tokens = held["input"] - held["read"] - held["write"]
    plain = rate("plain_paid", plain_tokens, rate("plain_list", held["input"], _ZERO))
    return Use(
        calls=int(held["calls"]),
        cost=int(held["cost"]),
        input=int(held["input"]),
        read=int(held["read"]),
        write=int(held["write"]),
        output=int(held["output"]),
        plain_rate=plain,
        # where nothing was read or written, what it would have cost: else the first reads would look like a price cut
        read_rate=rate("read_paid", held["read"], rate("read_list", held["input"], plain)),
        write_rate=rate("write_paid", held["write"], rate("write_list", held["input"], plain)),
        output_rate=rate("output_paid", held["output"], _ZERO),
    )
