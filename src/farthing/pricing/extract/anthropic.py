"""Anthropic's messages: cache reads and writes are beside `input_tokens`; we add them up.

Source: platform.claude.com, "Prompt caching", "Compaction", "Advisor tool", "Refusals and fallback".
"""

from __future__ import annotations

from typing import Any

from farthing.pricing.extract.result import Draft, Extraction, JsonObject, dollars, items, obj, text, total


def read(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a message (also inside a batch result or a log line)."""
    draft.name(body)
    usage = body.get("usage")
    if isinstance(usage, dict) and usage:
        read_usage(draft, usage)
        if "stop_reason" in body and body["stop_reason"] is None and not draft.stream:
            draft.status = "partial"
            draft.reason = "the message had not ended when it was logged (stop_reason null): its output is not final"
        gateway = usage.get("pydantic_ai_gateway")
        if gateway:
            draft.reported_cost = dollars(obj(gateway).get("cost_estimate"))


def read_usage(draft: Draft, usage: JsonObject) -> None:
    """The counts of a message, with the iterations that its own totals leave out."""
    draft.units = {}
    _add(draft, usage)
    draft.add("output_reasoning_tokens", obj(usage.get("output_tokens_details")).get("thinking_tokens"))
    tools = usage.get("server_tool_use")
    if isinstance(tools, dict):
        draft.add("web_searches", tools.get("web_search_requests"))
        draft.add("web_fetches", tools.get("web_fetch_requests"))
    draft.tier(usage.get("service_tier"))
    speed = usage.get("speed")
    if isinstance(speed, str) and speed not in ("", "standard"):
        draft.context["speed"] = speed[:64]
    place = usage.get("inference_geo")
    if isinstance(place, str) and place not in ("", "global", "not_available"):
        draft.context["inference_geo"] = place[:64]
    if usage.get("iterations"):
        _iterations(draft, usage)


def _add(draft: Draft, usage: JsonObject) -> None:
    read, write = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    lifetimes = usage.get("cache_creation")
    short = long = None
    if isinstance(lifetimes, dict):
        short, long = lifetimes.get("ephemeral_5m_input_tokens"), lifetimes.get("ephemeral_1h_input_tokens")
        # Compaction iterations have been seen with a total of 0 beside lifetimes that are not.
        write = write or total(short, long)
    draft.add("input_tokens", total(usage.get("input_tokens"), read, write))
    draft.add("cache_read_tokens", read)
    draft.add("cache_write_tokens", write)
    draft.add("cache_write_5m_tokens", short)
    draft.add("cache_write_1h_tokens", long)
    draft.add("output_tokens", usage.get("output_tokens"))


def _iterations(draft: Draft, usage: JsonObject) -> None:
    """What the message's totals do not contain.

    `compaction`: a pass of the same model, billed, not in the totals: added. `advisor_message`: another model's, not
    in the totals: a part. `message` and `fallback_message` of another model than the one that answered: a part; where
    the totals contain them (their sum shows it) they are taken off the totals first.
    """
    rounds = [entry for entry in items(usage.get("iterations")) if isinstance(entry, dict)]
    own: list[JsonObject] = []
    other: list[JsonObject] = []
    for entry in rounds:
        kind, model = entry.get("type"), text(entry.get("model"))
        foreign = model is not None and model != draft.model
        if kind == "compaction" and not foreign:
            _add(draft, entry)
        elif kind in ("advisor_message", "compaction"):
            draft.parts.append(_part(draft, entry, model))
        else:
            (other if foreign else own).append(entry)
    if other:
        contained = _sums(usage) == _sums(*own, *other) and _sums(*other) != (0, 0)
        for entry in other:
            draft.parts.append(_part(draft, entry, text(entry.get("model"))))
            if contained:
                _take_off(draft, entry)


def _sums(*usages: JsonObject) -> tuple[Any, Any]:
    """(input with caches, output) of several usages together."""
    inputs = total(
        *(u.get("input_tokens") for u in usages),
        *(u.get("cache_read_input_tokens") for u in usages),
        *(u.get("cache_creation_input_tokens") for u in usages),
    )
    return inputs, total(*(u.get("output_tokens") for u in usages))


def _take_off(draft: Draft, entry: JsonObject) -> None:
    away = Draft(units={})
    _add(away, entry)
    units = draft.units if draft.units is not None else {}
    for unit, value in (away.units or {}).items():
        left = units.get(unit)
        if isinstance(left, int) and isinstance(value, int):
            units[unit] = max(left - value, 0)


def _part(draft: Draft, entry: JsonObject, model: str | None) -> Extraction:
    part = Draft(provider=draft.provider, model=model or draft.model, response_id=draft.response_id, units={})
    part.stream, part.complete, part.context = draft.stream, draft.complete, dict(draft.context)
    part.service_tier = draft.service_tier
    _add(part, entry)
    part.add("output_reasoning_tokens", obj(entry.get("output_tokens_details")).get("thinking_tokens"))
    return part.finish()


def batch_line(body: JsonObject) -> JsonObject | None:
    """The message, or the error, inside a line of a batch's results; None where it is no such line."""
    result = body.get("result")
    if not isinstance(result, dict) or "custom_id" not in body:
        return None
    if isinstance(result.get("message"), dict):
        return obj(result["message"])
    return {"error": result.get("error") or {"message": f"the request {text(result.get('type')) or 'failed'}"}}


def merge_stream(events: list[JsonObject]) -> tuple[JsonObject, bool, bool]:
    """(the message as it stands at the end, whether it ended, whether its output count is final).

    `message_delta` counts are cumulative and may repeat the input: what it does not tell, or tells as null or 0, does
    not replace what was known.
    """
    message: JsonObject = {"type": "message"}
    usage: JsonObject = {}
    ended = final = False
    for event in events:
        kind = event.get("type")
        if kind == "message_start":
            message.update(obj(event.get("message")))
            usage.update({k: v for k, v in obj(message.get("usage")).items() if v is not None})
        elif kind == "message_delta":
            told = {k: v for k, v in obj(event.get("usage")).items() if v is not None}
            usage.update({k: v for k, v in told.items() if v or not usage.get(k)})
            final = final or "output_tokens" in told
            ended = ended or bool(obj(event.get("delta")).get("stop_reason"))
        elif kind == "message_stop":
            ended = True
        elif kind == "error":
            message["error"] = event.get("error")
        if "amazon-bedrock-invocationMetrics" in event:
            message["amazon-bedrock-invocationMetrics"] = event["amazon-bedrock-invocationMetrics"]
    message["usage"] = usage
    return message, ended, final


def read_agent_result(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from the `result` line of the Claude Agent SDK and Claude Code.

    `modelUsage` covers every model and subagent of the run, and so does `total_cost_usd`; `usage` covers the main loop
    alone but tells the lifetimes of cache writes, so it counts where there is one model and the two agree.
    """
    draft.operation = "invoke_agent"
    draft.response_id = text(body.get("uuid")) or text(body.get("session_id"))
    models = [(name, obj(used)) for name, used in obj(body.get("modelUsage")).items() if isinstance(name, str)]
    usage = obj(body.get("usage"))
    drafts = [_model_usage(draft, name, used) for name, used in models]
    if len(drafts) <= 1:
        if drafts:
            draft.model, draft.units = drafts[0].model, drafts[0].units
            alone = drafts[0].units or {}
            if _sums(usage) == (alone.get("input_tokens", 0), alone.get("output_tokens", 0)):
                read_usage(draft, usage)
            elif usage.get("cache_creation_input_tokens") == alone.get("cache_write_tokens"):
                lifetimes = obj(usage.get("cache_creation"))
                draft.add("cache_write_5m_tokens", lifetimes.get("ephemeral_5m_input_tokens"))
                draft.add("cache_write_1h_tokens", lifetimes.get("ephemeral_1h_input_tokens"))
        elif usage:
            read_usage(draft, usage)
        draft.reported_cost = dollars(body.get("total_cost_usd"))
    else:
        drafts.sort(key=lambda one: one.reported_cost or 0, reverse=True)
        main = drafts[0]
        draft.model, draft.units, draft.reported_cost = main.model, main.units, main.reported_cost
        draft.parts += [one.finish() for one in drafts[1:]]
    if body.get("is_error") is True:
        draft.error = text(body.get("result")) or text(body.get("subtype"))


def _model_usage(draft: Draft, name: str, used: JsonObject) -> Draft:
    one = Draft(provider=draft.provider, model=name, response_id=draft.response_id, units={}, operation="invoke_agent")
    _add(
        one,
        {
            "input_tokens": used.get("inputTokens"),
            "cache_read_input_tokens": used.get("cacheReadInputTokens"),
            "cache_creation_input_tokens": used.get("cacheCreationInputTokens"),
            "output_tokens": used.get("outputTokens"),
        },
    )
    one.add("web_searches", used.get("webSearchRequests"))
    one.reported_cost = dollars(used.get("costUSD"))
    return one
