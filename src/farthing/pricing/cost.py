"""Cost: what a call costs, and how we know. Cheap to make; its lines and provenance are worked out when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from farthing.money import pico_to_usd
from farthing.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farthing.pricing.record import PriceRecord
    from farthing.pricing.resolve import Resolved, Unpriced


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of a cost: `quantity` of `unit` at `rate_usd` US dollars for `per` of it, exactly `usd`.

    `rate_usd` is the rate in force (tier, variant and factors applied), rounded to 28 digits only where it has no end.
    """

    unit: str
    quantity: int | Decimal
    rate_usd: Decimal
    per: int
    usd: Fraction
    note: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a price is from, and why it is this one.

    `valid_from` and `valid_to` bound the record (None: not known, open); `model` is the record's own id; `matched` says
    in words why the given name means it; `context` holds the request context that changed the price; `band` names the
    time window in force.
    """

    provider: str
    model: str
    matched: str
    valid_from: datetime | None
    valid_to: datetime | None
    source: str
    published: str | None
    price_hash: str
    context: Mapping[str, str]
    band: str


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one usage: `pico` whole picodollars, or None where no price is known.

    `status` is one of `farthing.event.PRICE_STATUSES`; `reasons` say in words what is not plain about it.
    """

    pico: int | None
    status: str
    reasons: tuple[str, ...]
    model: str
    _resolved: Resolved | Unpriced
    _usage: Usage

    @property
    def usd(self) -> Decimal | None:
        """Exact US dollars, rounded once to picodollars; None where no price is known."""
        return None if self.pico is None else pico_to_usd(self.pico)

    @property
    def provider(self) -> str | None:
        """The id of the provider whose price this is; None where none was found."""
        return self._resolved.provider

    @property
    def lines(self) -> tuple[CostLine, ...]:
        """What the cost is made of; the sum of their `usd`, rounded half to even, is `pico`."""
        return self._resolved.lines(self._usage)

    @property
    def record(self) -> PriceRecord | None:
        """The price record used, enough to compute the same cost again."""
        return self._resolved.record

    @property
    def provenance(self) -> Provenance | None:
        """Where the price is from; None where none was found."""
        return self._resolved.provenance

    def __repr__(self) -> str:
        usd = "unknown" if self.pico is None else f"{self.usd} USD"
        return f"<Cost {usd}, {self.status}, of {self.model!r}>"
