"""An event and a scope as attributes of a span: text, ints and floats, as OpenTelemetry takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from farthing import scopes
from farthing.capture.otel_names import EVENT_ID
from farthing.event import Event
from farthing.tracker import CostTracker
from farthing.usage import Usage

PROVIDERS: Mapping[str, str] = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}
"""Our provider ids where OpenTelemetry's `gen_ai.provider.name` has another word."""

_COUNTS = {
    "gen_ai.usage.cache_read.input_tokens": "cache_read_tokens",
    "gen_ai.usage.cache_write.input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "output_reasoning_tokens",
    "gen_ai.usage.audio.input_tokens": "input_audio_tokens",
    "gen_ai.usage.audio.output_tokens": "output_audio_tokens",
    "gen_ai.usage.image.input_tokens": "input_image_tokens",
    "gen_ai.usage.image.output_tokens": "output_image_tokens",
}
_SIGNALS = ("prompt.", "model.")
"""Keys of metadata that are shown under their own names."""


def call_attributes(event: Event) -> dict[str, Any]:
    """The GenAI conventions' attributes of a call; counts inclusive."""
    who, usage = event.attribution, event.usage
    said: dict[str, Any] = {
        "gen_ai.operation.name": event.operation,
        "gen_ai.provider.name": PROVIDERS.get(event.provider or "", event.provider),
        "gen_ai.request.model": event.requested_model or event.model,
        "gen_ai.response.model": event.model if usage or not event.error else None,
        "gen_ai.response.id": event.response_id,
        "gen_ai.agent.name": who.agent,
        "gen_ai.conversation.id": who.session,
        "gen_ai.prompt.name": who.prompt,
        "openai.response.service_tier": event.context.get("service_tier") if event.provider == "openai" else None,
        "error.type": _error_type(event.error) if event.error else None,
    }
    if usage or not (event.error or event.usage_status == "partial"):
        said["gen_ai.usage.input_tokens"] = usage.input_tokens
        said["gen_ai.usage.output_tokens"] = usage.output_tokens
    for name, unit in _COUNTS.items():
        if count := usage.get(unit):
            said[name] = int(count)
    return {name: value for name, value in said.items() if value is not None}


def _error_type(error: str) -> str:
    """The HTTP status or the exception's name that an error begins with; `_OTHER`, as the conventions say, else."""
    found = _KIND_OF_ERROR.match(error)
    return found[0] if found else "_OTHER"


_KIND_OF_ERROR = re.compile(r"\d{3}(?= |$)|[A-Z]\w+(?=:|$)")


def cost_attributes(event: Event, tracker: CostTracker) -> dict[str, Any]:
    """Tokens, cost, who pays and what a cache saved: `llm.*` and `cost.*`. The user's id is hashed.

    A cost that is not known is left out: there is no 0 for it, and `llm.cost_status` says so.
    """
    who, usage = event.attribution, event.usage
    said: dict[str, Any] = {
        EVENT_ID: event.id,
        "llm.tokens.input": usage.input_tokens,
        "llm.tokens.output": usage.output_tokens,
        "llm.tokens.total": usage.total_tokens,
        "llm.cost_usd": event.cost,
        "llm.cost_status": event.status,
        "cost.feature": who.feature,
        "cost.agent": who.agent,
        "cost.user_id": _hashed(who.user, tracker),
        "cost.org_id": who.org if who.org != "default" else None,
        "cost.team": who.team,
        **_cache(event, tracker),
        **{key: value for key, value in who.metadata.items() if key.startswith(_SIGNALS) and _plain(value)},
    }
    return {name: value for name, value in said.items() if value is not None}


def _plain(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


def _hashed(user: str | None, tracker: CostTracker) -> str | None:
    if user is None or tracker.settings.hash_users:
        return user
    return tracker.hashed_user(user)


def _cache(event: Event, tracker: CostTracker) -> dict[str, Any]:
    """What the provider's prompt cache, or a cache of the caller's, saved; the saving only where the price is known."""
    read = int(event.usage.get("cache_read_tokens"))
    if not event.cache_hit and not read:
        return {}
    counts = event.usage.to_dict()
    if not event.cache_hit:
        counts = {unit: value for unit, value in counts.items() if not ("cache" in unit and "read" in unit)}
    full = tracker.catalog.price(
        event.model, Usage.reported(counts), provider=event.provider, at=event.at, context=event.context
    )
    saved = None
    if full.pico is not None and event.cost_pico is not None:
        saved = (full.pico - event.cost_pico) / 10**12
    tokens = event.usage.total_tokens if event.cache_hit else read
    return {"llm.cache.hit": True, "llm.cache.tokens_saved": tokens, "llm.cache.cost_saved_usd": saved}


def scope_attributes(kind: str, frame: scopes.Frame) -> dict[str, Any]:
    """The totals of an agent run, session or task, for its span."""
    scope, who = frame.scope, frame.attribution
    totals = scope.totals
    if kind == "agent run":
        said = {
            "gen_ai.agent.name": who.agent,
            "agent.run_id": who.run,
            "agent.total_tokens": totals.total_tokens,
            "agent.total_cost_usd": totals.cost,
            "agent.llm_calls": totals.calls,
        }
    elif kind == "session":
        said = {
            "session.id": who.session,
            "session.total_tokens": totals.total_tokens,
            "session.total_cost_usd": totals.cost,
            "session.llm_calls": totals.calls,
            "session.agent_runs": scope.agent_runs,
        }
    else:
        said = {
            "task.id": who.task,
            "task.type": who.task_type,
            "task.total_tokens": totals.total_tokens,
            "task.total_cost_usd": totals.cost,
        }
    if totals.unpriced_calls:
        said[f"{kind.split()[0]}.unpriced_calls"] = totals.unpriced_calls
    return {name: value for name, value in said.items() if value is not None}
