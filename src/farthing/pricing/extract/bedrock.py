"""Amazon Bedrock: Converse, and what the models' own shapes look like through InvokeModel.

Converse and Nova report cache reads and writes beside `inputTokens`; we add them up.
"""

from __future__ import annotations

from typing import Any

from farthing.pricing.extract.result import Draft, JsonObject, dollars, items, obj, text, total

METRICS = "amazon-bedrock-invocationMetrics"


def read_converse(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a Converse response, its stream's metadata event, or a Nova response."""
    draft.name(body)
    usage = obj(body.get("usage"))
    if usage:
        read_usage(draft, usage)
        if "pydantic_ai_gateway" in usage:
            draft.reported_cost = dollars(obj(usage["pydantic_ai_gateway"]).get("cost_estimate"))
    tier = body.get("serviceTier")
    draft.tier(tier.get("type") if isinstance(tier, dict) else tier)
    latency = text(obj(body.get("performanceConfig")).get("latency"))
    if latency and latency != "standard":
        draft.context["latency"] = latency


def read_usage(draft: Draft, usage: JsonObject) -> None:
    """The counts of a TokenUsage."""
    draft.units = {}
    add = draft.add
    cached = usage.get("cacheReadInputTokens") or usage.get("cacheReadInputTokenCount")
    written = usage.get("cacheWriteInputTokens") or usage.get("cacheWriteInputTokenCount")
    add("input_tokens", total(usage.get("inputTokens"), cached, written))
    add("cache_read_tokens", cached)
    add("cache_write_tokens", written)
    add("output_tokens", usage.get("outputTokens"))
    for entry in items(usage.get("cacheDetails")):
        if isinstance(entry, dict) and entry.get("ttl") in ("5m", "1h"):
            add(f"cache_write_{entry['ttl']}_tokens", entry.get("inputTokens"))
    tools = usage.get("serverToolUsage")
    if tools:
        add("web_searches", obj(tools).get("webSearchRequests"))


def read_metrics(draft: Draft, metrics: JsonObject) -> None:
    """The counts that InvokeModelWithResponseStream puts at the end of any model's stream."""
    cached, written = metrics.get("cacheReadInputTokenCount"), metrics.get("cacheWriteInputTokenCount")
    draft.units = {}
    draft.add("input_tokens", total(metrics.get("inputTokenCount"), cached, written))
    draft.add("cache_read_tokens", cached)
    draft.add("cache_write_tokens", written)
    draft.add("output_tokens", metrics.get("outputTokenCount"))


def read_titan(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a Titan text or embedding response."""
    draft.units = {}
    draft.add("input_tokens", body.get("inputTextTokenCount"))
    produced: list[Any] = [obj(one).get("tokenCount") for one in items(body.get("results"))]
    draft.add("output_tokens", total(*produced, body.get("totalOutputTextTokenCount")))
    draft.operation = "embeddings" if "embedding" in body or "embeddingsByType" in body else "text_completion"


def read_llama(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a Llama response."""
    draft.units = {}
    draft.add("input_tokens", body.get("prompt_token_count"))
    draft.add("output_tokens", body.get("generation_token_count"))
    draft.operation = "text_completion"


def read_batch_record(draft: Draft, body: JsonObject) -> JsonObject | None:
    """The model's output inside a record of a batch inference job; None where it is no such record."""
    if "modelInput" not in body and "recordId" not in body:
        return None
    if isinstance(body.get("modelOutput"), dict):
        draft.context["processing"] = "batch"
        return obj(body["modelOutput"])
    return {"error": body["error"]} if "error" in body else None


def read_guardrail(draft: Draft, body: JsonObject) -> None:
    """A guardrail's answer: policy units, which no unit of ours counts."""
    draft.operation = "apply_guardrail"
    policies = [f"{name} {count}" for name, count in obj(body.get("usage")).items() if isinstance(count, int) and count]
    draft.reason = f"a guardrail bills policy units, not tokens: {', '.join(policies)[:300] or 'none'}"
