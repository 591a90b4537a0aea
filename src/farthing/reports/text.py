"""Numbers as people read them: money, counts, shares, moments. Text in, nothing else: no colours, no widths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from farthing.money import PICO_PER_USD, pico_to_usd, round_half_even

BARS = " ▁▂▃▄▅▆▇█"


def money(pico: int | None, places: int | None = None) -> str:
    """Picodollars as `$1,234.56`; without `places`, as many decimals as the size asks for. None is `unpriced`.

    What would round to nothing says so: `<$0.01`.
    """
    if pico is None:
        return "unpriced"
    if places is None:
        places = 2 if abs(pico) >= PICO_PER_USD or not pico else 4 if abs(pico) >= PICO_PER_USD // 100 else 6
    step = PICO_PER_USD // 10**places
    rounded = round_half_even(abs(pico), step)
    if pico and not rounded:
        return f"{'-' if pico < 0 else ''}<${Decimal(1).scaleb(-places):f}"
    return f"{'-' if pico < 0 else ''}${Decimal(rounded).scaleb(-places):,.{places}f}"


def places_for(amounts: Iterable[int | None]) -> int:
    """Decimals that suit a column of picodollars: 2 from ten dollars up, 4 from a cent up, else 6."""
    largest = max((abs(amount) for amount in amounts if amount), default=PICO_PER_USD * 10)
    if largest >= 10 * PICO_PER_USD:
        return 2
    return 4 if largest >= PICO_PER_USD // 100 else 6


def exact_money(pico: int | None) -> str:
    """Picodollars with every digit that is not zero, at least two decimals: `$0.0195`."""
    return "unpriced" if pico is None else dollars(pico_to_usd(pico))


def dollars(usd: Decimal | Fraction) -> str:
    """An exact amount as `$0.0195`: every digit, at least two decimals; what never ends is cut at 12 with `…`."""
    more = ""
    if isinstance(usd, Fraction):
        pico, rest = divmod(abs(usd.numerator) * PICO_PER_USD, usd.denominator)
        more = "…" if rest else ""
        usd = Decimal(pico).scaleb(-12).copy_sign(Decimal(-1 if usd < 0 else 1))
    digits = f"{abs(usd):,f}"
    whole, _, part = digits.partition(".")
    return f"{'-' if usd < 0 else ''}${whole}.{part.rstrip('0').ljust(2, '0')}{more}"


def count(number: int) -> str:
    """A count in at most six characters: 842, 9,999, 12.3k, 4.56M, 1.20B."""
    if abs(number) < 10_000:
        return f"{number:,}"
    for name, size in (("k", 10**3), ("M", 10**6), ("B", 10**9), ("T", 10**12)):
        value = Decimal(number) / size
        if abs(value) < Decimal("999.5") or name == "T":
            places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{places}f}{name}"
    raise AssertionError("unreachable")


def share(part: int, whole: int) -> str:
    """`42 %`, `0.4 %`, `<0.1 %`; an empty whole has no shares: ``."""
    if not whole:
        return ""
    percent = Decimal(100 * part) / whole
    if part and abs(percent) < Decimal("0.1"):
        return "<0.1 %"
    places = Decimal(1) if abs(percent) >= 10 or not part else Decimal("0.1")
    return f"{percent.quantize(places, rounding=ROUND_HALF_EVEN)} %"


def change(now: int, before: int) -> str:
    """How much more or less than before: `+12 %`, `-3 %`; `new` after nothing, `` where there is nothing at all."""
    if not before:
        return "new" if now else ""
    percent = round_half_even(100 * (now - before), before) if before > 0 else 0
    return f"{percent:+,d} %" if percent else "±0 %"


def bar(fraction: float, width: int) -> str:
    """A bar of `width` characters at most, in halves of a character; what is not nothing shows at least a half."""
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    if fraction > 0:
        halves = max(halves, 1)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def sparkline(values: Sequence[int]) -> str:
    """One character for each value, the greatest a full block; zero is a low line."""
    top = max(values, default=0)
    if top <= 0:
        return "▁" * len(values)
    return "".join(BARS[max(1, round(8 * max(value, 0) / top))] for value in values)


def when(moment: datetime) -> str:
    """A UTC moment as `2026-11-22 09:14:03 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def validity(start: datetime | None, end: datetime | None) -> str:
    """From when to when a price holds: `2026-08-21 on`, `until 2026-08-21`, `2025-06-10 until 2026-01-01`."""
    until = "" if end is None else f"until {end:%Y-%m-%d}"
    if start is None:
        return until or "at all times known"
    return f"{start:%Y-%m-%d} {until or 'on'}"


def of_org(what: str, org: str) -> str:
    """A budget or an agent, and whose it is: `agent=a of acme`. The default organisation's need not be said."""
    return what if org in ("default", "*") or f"org={org}" in what.split(",") else f"{what} of {org}"


def account_of(name: str, place: str, ending: str) -> str:
    """An account by its budget's name and whom it is of, where the name does not tell: `each agent: agent=a`.

    ending: of a name that is made of the scope, ` usd per day`. There the one stands in the place of the `*`.
    """
    if place == "*" or name == place + ending:
        return name
    return place + ending if name.endswith(ending) and "=*" in name.removesuffix(ending) else f"{name}: {place}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 call`, `2 calls`, `12.3k calls`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
