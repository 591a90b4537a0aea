"""What a caller says of a call before it is made, and what that comes to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from farthing.amounts import Amounts, count_of, money
from farthing.budgets.estimate import Expected, Sample, dearest
from farthing.errors import InputError
from farthing.event import ATTRIBUTION_FIELDS, EMPTY, NO_MODEL, Attribution, WhoAndAgent
from farthing.pricing.catalog import Catalog
from farthing.usage import Usage


class Expectation(WhoAndAgent, total=False):
    """What is known of a call before it is made; besides it, the attribution (agent=, user=, task=, ...).

    provider, models            who serves it; further models that may answer it: the dearest counts
    input_tokens                as counted; else input_characters, by what the agent's last call had; else as the last
    max_tokens                  the most that may come out, as the request says
    usd, tokens                 what it will come to at most, where the caller knows better; calls: default 1
    context                     what of the request changes its price
    key                         names the hold: a second reserve with the same key is the same hold
    hold_s                      how long it stands
    strict                      hold all of max_tokens instead of what such calls use
    gone                        the call leaves at once
    """

    provider: str | None
    models: Sequence[str]
    input_tokens: int
    input_characters: int
    max_tokens: int | None
    usd: Any
    tokens: int
    calls: int
    context: Mapping[str, str]
    key: str
    hold_s: float
    strict: bool
    gone: bool
    who: Attribution


_WHO = frozenset((*ATTRIBUTION_FIELDS, "metadata"))


def parted(expected: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is known of the call, its attribution) of keywords. An unknown keyword is a TypeError."""
    asked: dict[str, Any] = {}
    who: dict[str, Any] = {}
    for name, value in expected.items():
        if name not in Expectation.__annotations__:
            near = difflib.get_close_matches(name, Expectation.__annotations__, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see farthing.budgets.asking.Expectation"
            raise TypeError(f"reserve() has no keyword {name!r}: {hint}")
        (who if name in _WHO else asked)[name] = value
    return asked, who


_COUNTS = ("input_tokens", "input_characters", "max_tokens", "tokens", "calls")


def must_be_amounts(asked: Mapping[str, Any]) -> None:
    """InputError where an amount is negative, NaN or no number: also where no budget asks for it yet."""
    if (usd := asked.get("usd")) is not None:
        money(usd, "usd")
    for name in _COUNTS:
        if (value := asked.get(name)) is not None:
            count_of(value, name)


def expect(catalog: Catalog, model: str, asked: Mapping[str, Any], sample: Sample, at_us: int) -> Expected:
    """What the call is expected to come to. InputError: negative amounts, NaN, what is no number."""
    calls = count_of(asked.get("calls", 1), "calls")
    characters = asked.get("input_characters")
    characters = None if characters is None else count_of(characters, "input_characters")
    into, most, tokens = asked.get("input_tokens"), asked.get("max_tokens"), asked.get("tokens")
    into = None if into is None else count_of(into, "input_tokens")
    most = None if most is None else count_of(most, "max_tokens")
    if (usd := asked.get("usd")) is not None:
        told = count_of(tokens, "tokens") if tokens is not None else (into or 0) + (most or 0)
        return Expected(amounts=Amounts(money(usd, "usd"), told, calls), input_tokens=into, output_tokens=most)
    if tokens is not None:
        tokens = count_of(tokens, "tokens")
        into = tokens if into is None else min(into, tokens)
        out = tokens - into
    else:
        into = sample.input(characters) if into is None else into
        out = sample.output(most, strict=bool(asked.get("strict")))
    pico, models, context = None, asked.get("models", ()), asked.get("context") or EMPTY
    if isinstance(models, str):
        raise InputError(f"models = {models!r}: must be a list of models, [{models!r}]")
    if model != NO_MODEL:
        pico = dearest(
            catalog,
            (model, *models),
            Usage(input_tokens=into, output_tokens=out),
            provider=asked.get("provider"),
            at_us=at_us,
            context=context,
        )
    return Expected(
        amounts=Amounts(pico, into + out, calls),
        input_tokens=into,
        output_tokens=out,
        characters=characters,
        models=models,
        context=context,
    )
