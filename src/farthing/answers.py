"""Totals in the shapes that the specifications show: plain dicts of floats and ints, rounded once, here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.event import ATTRIBUTION_FIELDS, Event
from farthing.running import Group, grouped, total
from farthing.totals import Totals

UNATTRIBUTED = "unattributed"
"""What a breakdown calls the calls that nobody claims."""

Groups = dict[Group, Totals]


def by_agent(groups: Groups) -> dict[str, Totals]:
    """Totals of each agent, the dearest first; calls without an agent are `unattributed`."""
    return {name or UNATTRIBUTED: totals for name, totals in grouped(groups, lambda group: group[0]).items()}


def by_model(groups: Groups) -> dict[str, Totals]:
    """Totals of each model, the dearest first."""
    return {str(name): totals for name, totals in grouped(groups, lambda group: group[1]).items()}


def by_provider(groups: Groups) -> dict[str, Totals]:
    """Totals of each provider, the dearest first; `unattributed` where it is not known."""
    return {name or UNATTRIBUTED: totals for name, totals in grouped(groups, lambda group: group[2]).items()}


def costs(parts: Mapping[str, Totals]) -> dict[str, float]:
    """The cost of each part in US dollars."""
    return {name: totals.cost for name, totals in parts.items()}


def summary(groups: Groups) -> dict[str, Any]:
    """What was spent: totals, averages of a billed call (tokens to the nearest whole), and the two breakdowns."""
    everything = total(groups.values())
    return {
        "total_cost_usd": everything.cost,
        "total_calls": everything.calls,
        "total_input_tokens": everything.input_tokens,
        "total_output_tokens": everything.output_tokens,
        "avg_input_tokens_per_call": _average(everything.input_tokens, everything.calls),
        "avg_output_tokens_per_call": _average(everything.output_tokens, everything.calls),
        "avg_cost_per_call": _ratio(everything.cost_pico, everything.calls * 10**12),
        "by_agent": {
            name: {
                "cost": totals.cost,
                "calls": totals.calls,
                "input_tokens": totals.input_tokens,
                "output_tokens": totals.output_tokens,
            }
            for name, totals in by_agent(groups).items()
        },
        "by_model": {name: {"cost": totals.cost, "calls": totals.calls} for name, totals in by_model(groups).items()},
    }


def usage_metrics(groups: Groups) -> dict[str, Any]:
    """How well tokens are used. token_efficiency is output / (input + output), between 0 and 1."""
    everything = total(groups.values())
    return {
        "total_calls": everything.calls,
        "total_input_tokens": everything.input_tokens,
        "total_output_tokens": everything.output_tokens,
        "avg_tokens_per_call": _average(everything.total_tokens, everything.calls),
        "token_efficiency": _ratio(everything.output_tokens, everything.total_tokens),
        "cost_per_1k_output_tokens": _ratio(everything.cost_pico * 1000, everything.output_tokens * 10**12),
    }


def report(groups: Groups) -> dict[str, Any]:
    """Tokens, cost rounded to a hundredth of a cent, and billed calls by model."""
    everything = total(groups.values())
    return {
        "total_tokens": everything.total_tokens,
        "total_cost_usd": round(everything.cost, 4),
        "calls_by_model": {name: totals.calls for name, totals in by_model(groups).items()},
    }


def _average(count: int, calls: int) -> int:
    return round(count / calls) if calls else 0


def _ratio(numerator: int, denominator: int) -> float:
    """One division of whole numbers: rounded once. Of nothing: 0."""
    return numerator / denominator if denominator else 0.0


def log_line(event: Event) -> dict[str, Any]:
    """The fields of a call's log line. `name` is a log record's own, so the call's is `call_name`."""
    line: dict[str, Any] = {
        "model": event.model,
        "prompt_tokens": event.usage.input_tokens,
        "completion_tokens": event.usage.output_tokens,
        "total_tokens": event.usage.total_tokens,
        "estimated_cost": event.cost,
        "provider": event.provider,
        "status": event.status,
        "event_id": event.id,
    }
    who = event.attribution
    for field in ATTRIBUTION_FIELDS:
        if (value := getattr(who, field)) is not None:
            line["call_name" if field == "name" else field] = value
    if who.metadata:
        line["metadata"] = dict(who.metadata)
    return line
