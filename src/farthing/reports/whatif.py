"""What the calls of a period would have cost at another model's or tier's price, from what they really used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from farthing.ledger.store import Filter, Store
from farthing.pricing.catalog import Catalog
from farthing.pricing.resolve import Resolved
from farthing.reports.lots import Lot, lots

_CLAUDE = re.compile(r"[a-z]-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_TOKENIZERS = (
    ("openai", "o200k", re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-[5-9]|gpt-oss|o[1-9]|codex)")),
    ("openai", "cl100k", re.compile(r"(gpt-4|gpt-3\.5|text-embedding)")),
)
"""Which of OpenAI's models count with which tokenizer; of other providers only the provider and family are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """One model's calls at another price. Amounts are picodollars.

    then      at the other price; None where it is not known, `reason` says why
    factor    how many tokens the other model was taken to count for each one counted
    tokenizer `same`, or `other`: then counts of the same text differ
    """

    model: str
    provider: str | None
    other: str
    calls: int
    input_tokens: int
    output_tokens: int
    now: int
    then: int | None
    factor: Fraction
    tokenizer: str
    reason: str = ""

    @property
    def difference(self) -> int | None:
        """How much more it would cost."""
        return None if self.then is None else self.then - self.now

    @property
    def even_at(self) -> Fraction | None:
        """The number of tokens, for each one counted, at which the other price costs the same."""
        return self.factor * Fraction(self.now, self.then) if self.then and self.now > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """What is tried. models: {name, or beginning with `*`: the other model}; tier: another tier for all of them."""

    models: Mapping[str, str]
    tier: str | None = None
    factor: Fraction = Fraction(1)

    def other(self, model: str) -> str | None:
        """The model to try for this one; None: it is left alone."""
        for pattern, other in self.models.items():
            if model == pattern or (pattern.endswith("*") and model.startswith(pattern[:-1])):
                return other
        return model if not self.models else None

    def context(self, context: Mapping[str, str]) -> dict[str, str]:
        """The request context with the other tier in it."""
        if self.tier is None:
            return dict(context)
        rest = {name: value for name, value in context.items() if name not in ("processing", "service_tier", "batch")}
        return rest | {"processing" if self.tier.lower() == "batch" else "service_tier": self.tier}


def whatif(store: Store, catalog: Catalog, where: Filter, swap: Swap) -> list[Other]:
    """Each model that would change, dearest first."""
    found: dict[tuple[str | None, str, str], list[Lot]] = {}
    for lot in lots(store, where):
        other = swap.other(lot.model)
        if other is not None and lot.calls:
            found.setdefault((lot.provider, lot.model, other), []).append(lot)
    answers = [_other(place, held, catalog, swap) for place, held in found.items()]
    return sorted(answers, key=lambda one: (-one.now, one.model))


def _other(place: tuple[str | None, str, str], held: Sequence[Lot], catalog: Catalog, swap: Swap) -> Other:
    provider, model, other = place
    then, reason = _then(held, other, provider if other == model else None, catalog, swap)
    return Other(
        model=model,
        provider=provider,
        other=other,
        calls=sum(lot.calls for lot in held),
        input_tokens=_sum(held, "input_tokens"),
        output_tokens=_sum(held, "output_tokens"),
        now=sum(lot.cost_pico for lot in held),
        then=then,
        factor=swap.factor if other != model else Fraction(1),
        tokenizer="same" if tokenizer(model, provider, catalog) == tokenizer(other, None, catalog) else "other",
        reason=reason,
    )


def _sum(held: Iterable[Lot], unit: str) -> int:
    return sum(int(lot.unit(unit)) for lot in held)


def _then(
    held: Sequence[Lot], other: str, provider: str | None, catalog: Catalog, swap: Swap
) -> tuple[int | None, str]:
    """(the whole at the other price, why it is not known)."""
    total = Fraction(0)
    for lot in held:
        price = catalog.resolve(other, provider, lot.at_us or None, swap.context(lot.context))
        if not isinstance(price, Resolved):
            return None, "; ".join(price.reasons)
        factor = swap.factor if other != lot.model else Fraction(1)
        counts = {unit: Fraction(count) * factor if _is_tokens(unit) else count for unit, count in lot.units.items()}
        amount = price.together(counts, int(lot.size * factor))
        if amount is None:
            unrated = ", ".join(lot.units)
            return None, f"{price.record.provider} {price.record.model} has no plain rate for all of: {unrated}"
        total += amount
    return round(total), ""


def _is_tokens(unit: str) -> bool:
    return unit.endswith("_tokens")


def tokenizer(model: str, provider: str | None, catalog: Catalog) -> str:
    """A name that models share which count the same text alike, as far as that is known."""
    found = catalog.resolve(model, provider)
    owner = found.provider or provider or "?"
    bare = model.rsplit("/", 1)[-1].lower()
    for whose, name, pattern in _TOKENIZERS:
        if (owner in (whose, "azure") or bare.startswith("gpt")) and pattern.match(bare):
            return name
    if bare.startswith("claude"):
        version = _CLAUDE.search(bare)
        newer = version is not None and (int(version[1]), int(version[2] or 0)) >= (4, 7)
        return "claude, from 4.7 on" if newer else "claude, up to 4.6"
    family = re.split(r"[-_.:\d]", bare, maxsplit=1)[0]
    return f"{owner}:{family}"
