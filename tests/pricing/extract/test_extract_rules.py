"""The rules of each provider's bodies, one small body a rule."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from farthing.pricing.extract import extract

Body = dict[str, Any]


def counts(body: Any, **hints: Any) -> dict[str, Any]:
    found = extract(body, **hints)
    assert found.usage is not None, found
    return found.usage.to_dict()


class TestOpenAI:
    def test_cached_and_reasoning_tokens_are_inside_the_totals(self) -> None:
        """Cached tokens are not added to the prompt, reasoning not to the completion."""
        usage = {
            "prompt_tokens": 1500,
            "completion_tokens": 350,
            "total_tokens": 1850,
            "prompt_tokens_details": {"cached_tokens": 1200, "cache_write_tokens": 100, "audio_tokens": 7},
            "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 9},
        }
        assert counts({"model": "gpt-4o", "usage": usage}) == {
            "input_tokens": 1500,
            "output_tokens": 350,
            "cache_read_tokens": 1200,
            "cache_write_tokens": 100,
            "input_audio_tokens": 7,
            "output_reasoning_tokens": 200,
            "output_audio_tokens": 9,
        }

    def test_lifetimes_of_cache_writes_in_responses(self) -> None:
        """Responses tell 30-minute and 12-hour writes apart."""
        details = {
            "cached_tokens": 5,
            "cache_write_tokens": 30,
            "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 20},
        }
        body = {
            "object": "response",
            "usage": {"input_tokens": 100, "input_tokens_details": details, "output_tokens": 1},
        }
        assert counts(body) == {
            "input_tokens": 100,
            "output_tokens": 1,
            "cache_read_tokens": 5,
            "cache_write_tokens": 30,
            "cache_write_30m_tokens": 10,
            "cache_write_12h_tokens": 20,
        }

    def test_transcriptions_by_tokens_and_by_duration(self) -> None:
        """Token transcriptions tell audio tokens; timed ones count seconds, verbose ones tell their duration."""
        by_tokens = {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"audio_tokens": 14},
            "output_tokens": 45,
        }
        assert counts({"text": "hi", "usage": by_tokens}) == {
            "input_tokens": 14,
            "output_tokens": 45,
            "input_audio_tokens": 14,
        }
        path = "/v1/audio/transcriptions"
        assert counts({"text": "hi", "usage": {"type": "duration", "seconds": 9}}, path=path) == {"audio_seconds": 9}
        timed = extract({"task": "transcribe", "text": "hi", "duration": 8.47}, path=path, provider="groq")
        assert timed.usage is not None and timed.usage.to_dict() == {"audio_seconds": Decimal("8.47")}
        assert timed.operation == "transcription"
        assert counts({"text": "hi", "duration": "8.470000095367432"}) == {
            "audio_seconds": Decimal("8.470000095367432")
        }

    def test_a_transcript_stream_ends_with_its_usage(self) -> None:
        """`transcript.text.done` carries it."""
        usage = {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "output_tokens": 45}
        found = extract(
            sse(
                {"type": "transcript.text.delta", "delta": "hi"},
                {"type": "transcript.text.done", "text": "hi", "usage": usage},
            )
        )
        assert found.complete and found.operation == "transcription" and found.status == "reported"
        assert found.usage is not None and found.usage.input_audio_tokens == 14

    def test_images_without_usage_are_counted(self) -> None:
        """DALL-E's answers have no usage: each image is one."""
        body = {"created": 1, "data": [{"url": "https://a"}, {"url": "https://b"}]}
        found = extract(body, provider="openai", path="/v1/images/generations")
        assert found.operation == "image_generation"
        assert found.usage is not None and found.usage.to_dict() == {"output_images": 2}
        vectors = extract({"object": "list", "data": [{"embedding": [0.5]}]}, provider="openai")
        assert vectors.usage is None and vectors.reason

    def test_images_tell_text_and_image_tokens(self) -> None:
        """Output without details is all image; `svg_usage` is a part with a model of its own."""
        usage = {
            "input_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens": 4160,
            "svg_usage": {"model": "gpt-svg", "input_tokens": 5, "output_tokens": 6},
        }
        found = extract({"created": 1, "data": [{"b64_json": "aaa"}], "usage": usage})
        assert found.operation == "image_generation" and found.usage is not None
        assert found.usage.to_dict() == {
            "input_tokens": 50,
            "input_text_tokens": 10,
            "input_image_tokens": 40,
            "output_tokens": 4160,
            "output_image_tokens": 4160,
        }
        (part,) = found.parts
        assert part.model == "gpt-svg" and part.usage is not None and part.usage.output_tokens == 6

    def test_realtime_response_done_tells_modalities_and_what_was_cached_of_each(self) -> None:
        """A realtime event: text, audio and image, cached ones too."""
        usage = {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "image_tokens": 0,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        }
        event = {
            "type": "response.done",
            "event_id": "e",
            "response": {"id": "resp_1", "status": "completed", "usage": usage},
        }
        found = extract(event, path="/v1/realtime?model=gpt-realtime")
        assert (found.model, found.response_id, found.complete) == ("gpt-realtime", "resp_1", True)
        assert found.usage is not None and found.usage.to_dict() == {
            "input_tokens": 132,
            "output_tokens": 121,
            "input_text_tokens": 119,
            "input_audio_tokens": 13,
            "cache_read_tokens": 64,
            "cache_text_read_tokens": 60,
            "cache_audio_read_tokens": 4,
            "output_text_tokens": 30,
            "output_audio_tokens": 91,
        }

    def test_searches_of_a_response_are_counted(self) -> None:
        """Only searches that searched: opening a page is free; `tool_usage` wins where it is told."""
        body = {
            "object": "response",
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
            "output": [
                {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
                {"type": "web_search_call", "status": "completed", "action": {"type": "open_page"}},
                {"type": "web_search_call", "status": "failed", "action": {"type": "search"}},
                {"type": "file_search_call"},
                {"type": "code_interpreter_call"},
            ],
        }
        assert counts(body) == {"input_tokens": 1, "output_tokens": 1, "web_searches": 1, "storage_searches": 1}
        assert counts({**body, "tool_usage": {"web_search": {"num_requests": 4}}})["web_searches"] == 4

    def test_an_image_tool_is_a_part_of_its_own(self) -> None:
        """The image model's tokens are not the chat model's; without details all of its output is image."""
        body: dict[str, Any] = {
            "object": "response",
            "model": "gpt-5",
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
            "tools": [{"type": "image_generation", "model": "gpt-image-1.5"}],
            "tool_usage": {
                "image_gen": {"input_tokens": 9, "output_tokens": 8, "output_tokens_details": {"image_tokens": 8}}
            },
        }
        (part,) = extract(body).parts
        assert part.model == "gpt-image-1.5" and part.usage is not None
        assert part.usage.to_dict() == {"input_tokens": 9, "output_tokens": 8, "output_image_tokens": 8}
        del body["tool_usage"]["image_gen"]["output_tokens_details"]
        assert extract(body).parts[0].usage == part.usage

    def test_batch_lines(self) -> None:
        """A line of a batch's output: the response inside, priced as a batch; a failed one tells its error."""
        inner = {"id": "c", "model": "gpt-4o", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
        line = {"id": "b", "custom_id": "r-1", "response": {"status_code": 200, "body": inner}, "error": None}
        found = extract(line)
        assert found.context == {"processing": "batch"} and found.model == "gpt-4o" and found.error is None
        failed = {"custom_id": "r-2", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}}
        assert extract(failed).error == "no" and extract(failed).usage is None
        whole = extract(f"{json.dumps(line)}\n{json.dumps(failed)}\n{json.dumps(line)}\n")
        assert len(whole.parts) == 2 and whole.usage == found.usage and whole.parts[1].usage == found.usage

    def test_ids_that_ollama_draws_at_random_are_none(self) -> None:
        """Its chats have 999 ids in all: taken for a name, every other call would be lost after a while."""
        body = {"id": "chatcmpl-42", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 3}}
        path = "http://localhost:11434/v1/chat/completions"
        assert extract(body, path=path).response_id is None
        assert extract({**body, "id": "chatcmpl-9f2c"}, path=path).response_id == "chatcmpl-9f2c"
        assert extract(body, provider="openai").response_id == "chatcmpl-42"

    def test_batches_that_number_their_lines_alike_are_not_one_call(self) -> None:
        """`custom_id` is the caller's and recurs in the next batch; an answer without an id goes by its line's."""
        inner = {"object": "list", "data": [], "model": "text-embedding-3-small", "usage": {"prompt_tokens": 3}}
        lines = [
            {"id": f"batch_req_{batch}", "custom_id": "1", "response": {"status_code": 200, "body": inner}}
            for batch in "ab"
        ]
        assert [extract(line).response_id for line in lines] == ["batch_req_a", "batch_req_b"]

    @pytest.mark.parametrize("tier", ["flex", "priority", "fast", "scale"])
    def test_a_tier_that_changes_the_price_is_context(self, tier: str) -> None:
        """`default` says nothing; others do."""
        body = {"model": "gpt-5", "service_tier": tier, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        assert extract(body).context == {"service_tier": tier} and extract(body).service_tier == tier
        plain = extract({**body, "service_tier": "default"})
        assert plain.context == {} and plain.service_tier == "default"

    def test_regional_hosts_tell_the_residency(self) -> None:
        """OpenAI's EU host changes the price of the same model."""
        body = {"model": "gpt-5", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        assert extract(body, provider="eu.api.openai.com").context == {"data_residency": "eu"}
        assert extract(body, path="https://eu.api.openai.com/v1/responses").provider == "openai"
        assert extract(body, provider="api.openai.com").context == {}


class TestHosts:
    def test_xai_reasoning_is_beside_the_completion(self) -> None:
        """The total shows it; without a total the provider does; a total that contains it wins over both."""
        usage = {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        }
        assert counts({"model": "grok-4", "usage": usage})["output_tokens"] == 103
        del usage["total_tokens"]
        assert counts({"usage": usage}, provider="xai")["output_tokens"] == 103
        inside = {**usage, "completion_tokens": 103, "total_tokens": 135}
        assert counts({"usage": inside}, provider="xai")["output_tokens"] == 103

    def test_xai_tools_and_cost(self) -> None:
        """Server-side tools are counted by kind; a cost in ticks is 10^-10 dollars each."""
        used = {"web_search_calls": 2, "x_search_calls": 1, "code_interpreter_calls": 0, "mcp_calls": 3}
        usage = {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "cost_in_usd_ticks": 37756000,
            "server_side_tool_usage_details": used,
        }
        found = extract({"object": "response", "model": "grok-4", "usage": usage})
        assert found.usage is not None and (found.usage.web_searches, found.usage.social_searches) == (2, 1)
        assert found.reported_cost == Decimal("0.0037756") and found.provider == "x-ai"

    def test_xais_live_search_is_billed_by_the_source(self) -> None:
        """Sources are dearer than calls of the tools that came after it: the context tells them apart."""
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "num_sources_used": 3}
        found = extract({"object": "chat.completion", "model": "grok-4", "usage": usage})
        assert found.usage is not None and found.usage.web_searches == 3
        assert found.context == {"search": "live"} and found.provider == "x-ai"
        assert extract({"object": "chat.completion", "usage": {**usage, "num_sources_used": 0}}).context == {}

    def test_deepseek_hits_without_details(self) -> None:
        """`prompt_cache_hit_tokens` are cache reads inside the prompt."""
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        }
        usage |= {"total_tokens": 101, "reasoning_tokens": 0}
        found = extract({"model": "deepseek-chat", "usage": usage})
        assert found.provider == "deepseek" and found.usage is not None
        assert found.usage.to_dict() == {"input_tokens": 100, "output_tokens": 1, "cache_read_tokens": 64}

    def test_a_servers_own_cache_count_is_not_billed(self) -> None:
        """Mistral's `num_cached_tokens` (69 of a prompt of 70) earns no discount."""
        usage = {"prompt_tokens": 70, "completion_tokens": 12, "total_tokens": 82, "num_cached_tokens": 69}
        assert counts({"model": "mistral-large-latest", "usage": usage}) == {"input_tokens": 70, "output_tokens": 12}

    @pytest.mark.parametrize(("prompt", "total"), [(100, 111), (10, 111), (10, None)])
    def test_anthropic_style_caches_beside_prompt_tokens(self, prompt: int, total: int | None) -> None:
        """Claude behind a gateway: inside the prompt, unless the total or their size shows that they are beside it."""
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": 11,
            "total_tokens": total,
            "cache_read_input_tokens": 70,
            "cache_creation_input_tokens": 20,
        }
        assert counts({"model": "claude-sonnet-4-5", "usage": usage}, provider="portkey") == {
            "input_tokens": 100,
            "output_tokens": 11,
            "cache_read_tokens": 70,
            "cache_write_tokens": 20,
        }

    def test_openrouter_tells_its_own_cost(self) -> None:
        """Its own figure; with one's own key its fee and what the upstream provider bills."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0160614, "is_byok": False}
        body = {"id": "gen-1", "model": "openai/gpt-4o-mini", "usage": usage}
        found = extract(body)
        assert found.provider == "openrouter" and found.reported_cost == Decimal("0.0160614")
        byok = {**usage, "cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0003253}}
        assert extract({**body, "usage": byok}).reported_cost == Decimal("0.0004253")

    def test_perplexity_bills_requests_or_searches(self) -> None:
        """Sonar: a fee for the request by context size. Deep research: every search, citations and reasoning beside."""
        usage = {"prompt_tokens": 8, "completion_tokens": 439, "total_tokens": 447, "search_context_size": "low"}
        found = extract({"model": "sonar", "usage": {**usage, "cost": {"total_cost": 0.0054, "request_cost": 0.005}}})
        assert found.context == {"search_context_size": "low"} and found.reported_cost == Decimal("0.0054")
        assert found.usage is not None and found.usage.requests == 1 and found.provider == "perplexity"
        deep = {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "citation_tokens": 20016}
        deep |= {"num_search_queries": 18, "reasoning_tokens": 73997}
        assert counts({"model": "sonar-deep-research", "usage": deep}) == {
            "input_tokens": 33,
            "output_tokens": 7163 + 20016 + 73997,
            "output_citation_tokens": 20016,
            "output_reasoning_tokens": 73997,
            "web_searches": 18,
        }

    def test_mistral_audio_and_ocr(self) -> None:
        """Voxtral's seconds; OCR's pages, annotated ones among them."""
        usage = {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10, "prompt_audio_seconds": 203}
        assert counts({"model": "voxtral-mini", "usage": usage})["audio_seconds"] == 203
        ocr = {"model": "mistral-ocr", "pages": [], "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}
        assert counts(ocr) == {"input_document_pages": 3}
        annotated = counts({**ocr, "document_annotation": "{}"})
        assert annotated == {"input_document_pages": 3, "input_annotated_document_pages": 3}

    def test_cohere_bills_its_billed_units(self) -> None:
        """Billed units win over tokens and are floats at times; tokens count where there are none."""
        tokens = {"input_tokens": 2935.0, "output_tokens": 4.0}
        billed = {"input_tokens": 2406.0, "output_tokens": 2.0}
        both = {"usage": {"billed_units": billed, "tokens": tokens, "cached_tokens": 2928}}
        assert counts(both) == {"input_tokens": 2406, "output_tokens": 2}
        assert counts({"usage": {"tokens": tokens, "cached_tokens": 2928}}) == {
            "input_tokens": 2935,
            "output_tokens": 4,
            "cache_read_tokens": 2928,
        }

    def test_voyage_has_a_total_only(self) -> None:
        """`total_tokens` alone is all input."""
        found = extract({"object": "list", "data": [], "model": "voyage-3", "usage": {"total_tokens": 12}})
        assert (
            found.provider == "voyageai" and found.usage is not None and found.usage.to_dict() == {"input_tokens": 12}
        )

    def test_ollama_without_a_prompt_count_is_partial(self) -> None:
        """A prompt cached whole is left out by Ollama: said, not zero."""
        found = extract({"model": "llama3", "message": {"content": "x"}, "done": True, "eval_count": 5})
        assert found.status == "partial" and found.reason and "prompt_eval_count" in found.reason
        assert found.provider == "ollama"

    def test_geminis_compatible_endpoint_tells_thoughts_in_the_total_alone(self) -> None:
        """109 in all, 35 of them in and 12 the answer: 62 were thought, and are billed."""
        body = {
            "object": "chat.completion",
            "model": "gemini-2.5-pro",
            "usage": {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        }
        found = extract(body)
        assert found.usage is not None
        assert found.usage.to_dict() == {"input_tokens": 35, "output_tokens": 74, "output_reasoning_tokens": 62}
        other = extract(body, provider="openrouter")
        assert other.usage is not None and other.usage.output_tokens == 12

    def test_an_openrouter_body_is_known_by_its_id_and_the_provider_it_names(self) -> None:
        """Also where it says nothing of cost."""
        body = {"id": "gen-1", "provider": "OpenAI", "object": "chat.completion", "model": "openai/gpt-4o"}
        assert extract({**body, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}).provider == "openrouter"
        assert extract({**body, "id": "chatcmpl-1", "usage": {"prompt_tokens": 1}}).provider is None

    def test_one_line_of_ollamas_stream_is_not_the_whole(self) -> None:
        """`done` false: more was to come. Not everything that is done is Ollama's: an operation of Google's is not."""
        operation = {"name": "operations/1", "done": True, "response": {"generateVideoResponse": {}}}
        assert extract(operation).provider is None
        found = extract({"model": "llama3", "response": "Hello", "done": False})
        assert not found.complete and found.status == "partial" and found.usage is not None

    def test_gateway_shapes(self) -> None:
        """Cloudflare's `result`, LangChain's usage_metadata, Cursor's and pi's caches beside the input."""
        wrapped = {"result": {"response": "x", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}, "success": True}
        assert counts(wrapped) == {"input_tokens": 1, "output_tokens": 2}
        chain = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cache_read": 4}}
        assert counts({"content": "x", "usage_metadata": chain}) == {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_tokens": 4,
        }
        beside = {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 6, "cache_write_tokens": 3}
        cursor = {"inputTokens": 1, "cacheReadTokens": 6, "cacheWriteTokens": 3, "outputTokens": 1, "totalCents": 1.25}
        found = extract({"model": "composer-1", "tokenUsage": cursor})
        assert found.usage is not None and found.usage.to_dict() == beside
        assert found.reported_cost == Decimal("0.0125")
        pi = {"input": 1, "output": 1, "cacheRead": 6, "cacheWrite": 3, "cost": {"total": 0.5}}
        logged = extract({"type": "message", "message": {"provider": "openai", "model": "gpt-5", "usage": pi}})
        assert logged.usage == found.usage and logged.reported_cost == Decimal("0.5") and logged.provider == "openai"


def sse(*events: Body) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)
