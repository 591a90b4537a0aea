"""Cohere, Ollama, and further hosts with shapes of their own."""

from __future__ import annotations

from farthing.pricing.extract.result import Draft, JsonObject, dollars, is_count, items, obj, text, total


def read_cohere(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from a Cohere response, version 1 (`meta`) or 2 (`usage`).

    Where billed units are told they win over the tokens processed: Cohere's own preamble is not billed.
    `cached_tokens` counts within the tokens processed, so it is left out beside billed units.
    """
    draft.name(body)
    draft.response_id = text(body.get("response_id")) or draft.response_id or text(body.get("generation_id"))
    usage = obj(body.get("usage")) or obj(body.get("meta"))
    billed, tokens = obj(usage.get("billed_units")), obj(usage.get("tokens"))
    if billed:
        draft.units = {}
        images = billed.get("image_tokens")
        draft.add("input_tokens", total(billed.get("input_tokens"), images))
        draft.add("input_image_tokens", images)
        draft.add("output_tokens", billed.get("output_tokens"))
        draft.add("rerank_searches", billed.get("search_units"))
        draft.add("input_images", billed.get("images"))
    elif tokens:
        draft.units = {}
        draft.add("input_tokens", tokens.get("input_tokens"))
        draft.add("output_tokens", tokens.get("output_tokens"))
        draft.add("cache_read_tokens", usage.get("cached_tokens"))
    if "embeddings" in body:
        draft.operation = "embeddings"
    elif "results" in body:
        draft.operation = "rerank"
    elif "generations" in body:
        draft.operation = "text_completion"


def read_ollama(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from Ollama's own shape. A prompt that was cached whole has no `prompt_eval_count`."""
    draft.name(body)
    draft.provider = draft.provider or "ollama"
    if body.get("done") is False:
        draft.complete = False
    if "embeddings" in body or "embedding" in body:
        draft.operation = "embeddings"
    elif "response" in body:
        draft.operation = "text_completion"
    if "prompt_eval_count" in body or "eval_count" in body:
        draft.units = {}
        draft.add("input_tokens", body.get("prompt_eval_count"))
        draft.add("output_tokens", body.get("eval_count"))
        if "prompt_eval_count" not in body:
            draft.status = "partial"
            draft.reason = "no prompt_eval_count: Ollama leaves it out where the whole prompt was cached"


def read_ocr(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from Mistral's OCR: pages, those with annotations among them."""
    draft.name(body)
    draft.operation = "ocr"
    pages = obj(body.get("usage_info")).get("pages_processed")
    draft.units = {}
    draft.add("input_document_pages", pages)
    if body.get("document_annotation"):
        draft.add("input_annotated_document_pages", pages)


def read_langchain(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from LangChain's UsageMetadata, whose totals are inclusive."""
    usage = obj(body.get("usage_metadata"))
    metadata = obj(body.get("response_metadata"))
    draft.name(body)
    draft.model = text(metadata.get("model_name")) or text(metadata.get("model")) or draft.model
    draft.units = {}
    add = draft.add
    add("input_tokens", usage.get("input_tokens"))
    add("output_tokens", usage.get("output_tokens"))
    details = obj(usage.get("input_token_details"))
    add("cache_read_tokens", details.get("cache_read"))
    short, long = details.get("ephemeral_5m_input_tokens"), details.get("ephemeral_1h_input_tokens")
    add("cache_write_tokens", details.get("cache_creation") or total(short, long))
    add("cache_write_5m_tokens", short)
    add("cache_write_1h_tokens", long)
    add("input_audio_tokens", details.get("audio"))
    details = obj(usage.get("output_token_details"))
    add("output_reasoning_tokens", details.get("reasoning"))
    add("output_audio_tokens", details.get("audio"))
    draft.tier(metadata.get("service_tier"))


_PAIRS = (
    ("tokens_evaluated", "tokens_predicted"),  # llama.cpp
    ("input_token_count", "output_token_count"),  # Replicate
    ("input_token_count", "generated_token_count"),  # watsonx
    ("input_length", "generated_tokens"),  # text-generation-inference
    ("promptTokens", "completionTokens"),  # Vercel's AI SDK
)


def read_pairs(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from hosts that name one count for the input and one for the output."""
    draft.name(body)
    results = items(body.get("results"))
    holders = (body, obj(body.get("usage")), obj(body.get("metrics")), obj(body.get("details")))
    for holder in (*holders, obj(results[0] if results else None)):
        for into, out in _PAIRS:
            if is_count(holder.get(into)) or is_count(holder.get(out)):
                draft.units = {}
                draft.add("input_tokens", holder.get(into))
                draft.add("output_tokens", holder.get(out))
                draft.operation = "text_completion"
                if into not in holder:
                    draft.status, draft.reason = "partial", f"no {into}: the input is not known"
                return


def read_beside(draft: Draft, body: JsonObject) -> None:
    """Fills the draft from shapes that tell caches beside the input: Cursor's usage events, the logs of pi."""
    draft.name(body)
    usage = obj(body.get("tokenUsage"))
    names = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
    if not usage:
        usage, names = obj(body.get("usage")), ("input", "output", "cacheRead", "cacheWrite")
    given, produced, cached, written = (usage.get(name) for name in names)
    draft.units = {}
    draft.add("input_tokens", total(given, cached, written))
    draft.add("cache_read_tokens", cached)
    draft.add("cache_write_tokens", written)
    draft.add("output_tokens", produced)
    cents = dollars(usage.get("totalCents"))
    draft.reported_cost = dollars(obj(usage.get("cost")).get("total")) if cents is None else cents.scaleb(-2)
    draft.provider = draft.provider or text(body.get("provider"))
