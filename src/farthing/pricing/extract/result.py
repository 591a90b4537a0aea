"""What is read out of a body: `Extraction`, and the `Draft` that the readers of each provider fill in."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from farthing.event import quick
from farthing.usage import Usage

JsonObject = dict[str, Any]

LIMIT = 10**18
"""No count of one call is as large: beyond it lies damaged data, and the ledger's 64-bit columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What one response says about its own cost.

    usage          the counts, input and output as inclusive totals; None where the body has none and no visible text
    model          what answered, as the provider names it; the path's model where the body names none
    provider       id as in the price data (openai, anthropic, google, aws, ...); as given where we do not know it
    response_id    the provider's id of the response
    service_tier   as reported, `default` and `standard` included
    context        what of the request changes its price, as served: `farthing.price(..., context=)` takes it
    reported_cost  USD, where the provider or gateway states its own figure
    complete       False where the body or stream was cut off
    status         reported | estimated | partial, see `farthing.event.USAGE_STATUSES`
    reason         why there is no usage, why it is estimated or partial, or why the counts cannot be
    operation      OpenTelemetry's `gen_ai.operation.name`, or a name in its manner where it has none
    stream         whether the body was a stream
    error          the provider's error message
    parts          further billed models of the same response (an advisor, a fallback, an image tool), each on its own
    """

    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    context: dict[str, str] = field(default_factory=dict)
    reported_cost: Decimal | None = None
    complete: bool = True
    status: str = "reported"
    reason: str | None = None
    operation: str = "chat"
    stream: bool = False
    error: str | None = None
    parts: tuple[Extraction, ...] = ()


_extraction = quick(Extraction)


@dataclass(slots=True)
class Draft:
    """An extraction in the making. `provider` and `path` are hints for the readers."""

    provider: str | None = None
    path: str = ""
    units: dict[str, Any] | None = None
    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    context: dict[str, str] = field(default_factory=dict)
    reported_cost: Decimal | None = None
    complete: bool = True
    status: str = "reported"
    reason: str | None = None
    operation: str = "chat"
    stream: bool = False
    error: str | None = None
    parts: list[Extraction] = field(default_factory=list)

    def name(self, body: JsonObject, model: str = "model", response_id: str = "id") -> None:
        """Takes model and id from a body where it has them."""
        self.model = text(body.get(model)) or self.model
        self.response_id = text(body.get(response_id)) or self.response_id

    def add(self, unit: str, value: Any) -> None:
        """Adds a count of the body to a unit; nothing where it is absent or 0."""
        if not value or self.units is None:  # 0, null, "", {} and [] count nothing
            return
        if type(value) is not int or not 0 <= value < LIMIT:
            value = number(value)
            if not value:
                return
        before = self.units.get(unit)
        self.units[unit] = total(before, value) if before else value

    def tier(self, value: Any) -> None:
        """Takes a service tier: as reported, and into the context where it is not the ordinary one."""
        name = text(value)
        if name is None:
            return
        self.service_tier = name
        plain = name.lower()
        if plain == "batch":
            self.context["processing"] = "batch"
        elif plain not in ORDINARY_TIERS:
            self.context["service_tier"] = plain

    def finish(self) -> Extraction:
        """The extraction, its counts checked."""
        usage = None
        reason = self.reason
        if self.units is not None:
            usage = Usage.reported(self.units)
            if usage.problems:
                impossible = f"impossible counts: {usage.problems[0]}"
                reason = f"{reason}; {impossible}" if reason else impossible
            elif not usage and reason is None:
                reason = "the provider reports a usage of zero"
        elif reason is None:
            reason = f"the response is an error: {self.error}" if self.error else "the response reports no usage"
        return _extraction(
            usage=usage,
            model=self.model,
            provider=self.provider,
            response_id=self.response_id,
            service_tier=self.service_tier,
            context=self.context,
            reported_cost=self.reported_cost,
            complete=self.complete,
            status=self.status,
            reason=reason,
            operation=self.operation,
            stream=self.stream,
            error=self.error,
            parts=tuple(self.parts) if self.parts else (),
        )


ORDINARY_TIERS = frozenset({"", "default", "standard", "auto", "on_demand", "standard_only", "regular", "unspecified"})
"""Tiers that say nothing: the list price. `auto` is what was asked for, never what was served."""


def text(value: Any) -> str | None:
    """A non-empty text of reasonable length, else None."""
    return value[:512] if isinstance(value, str) and value else None


def obj(value: Any) -> JsonObject:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


_DECIMAL = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?\Z")


def number(value: Any) -> Any:
    """A count of a body, fit for `Usage.reported`: an exact number, or a short text that it will list as no number."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return int(value) if -LIMIT < value < LIMIT else "an integer of more than 18 digits"
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) >= LIMIT:
            return "a number that is not finite or too large"
        return int(value) if value.is_integer() else Decimal(repr(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value) < LIMIT else "a number that is not finite or too large"
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.match(value) else f"text {value[:20]!r}"
    return f"a {type(value).__name__}"


def total(*values: Any) -> Any:
    """The sum of counts as the body has them; the first that is no number, so that it is listed as a problem."""
    result: Any = 0
    for value in values:
        if type(value) is not int or not 0 <= value < LIMIT:
            value = number(value)
            if isinstance(value, str):
                return value
        result += value
    return result


def is_count(value: Any) -> bool:
    """Whether the value is a plain number above 0."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value > 0


def dollars(value: Any) -> Decimal | None:
    """A provider's own figure in USD, exactly as it prints; None where it is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip().removeprefix("$")
    found = number(value)
    if isinstance(found, str) or found < 0:
        return None
    return Decimal(found)
