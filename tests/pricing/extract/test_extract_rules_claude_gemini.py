"""The rules of Anthropic's, Google's and Bedrock's bodies, one small body a rule."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.pricing import price
from farthing.pricing.extract import extract

Body = dict[str, Any]


def counts(body: Any, **hints: Any) -> dict[str, Any]:
    found = extract(body, **hints)
    assert found.usage is not None, found
    return found.usage.to_dict()


def message(**usage: Any) -> Body:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}


class TestAnthropic:
    def test_input_gets_its_caches_added(self) -> None:
        """`input_tokens` excludes caches; our total includes them; lifetimes are told apart."""
        body = message(
            input_tokens=6,
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=300,
            cache_creation={"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            output_tokens=50,
            output_tokens_details={"thinking_tokens": 20},
            server_tool_use={"web_search_requests": 2, "web_fetch_requests": 1},
        )
        assert counts(body) == {
            "input_tokens": 1306,
            "cache_read_tokens": 1000,
            "cache_write_tokens": 300,
            "cache_write_5m_tokens": 100,
            "cache_write_1h_tokens": 200,
            "output_tokens": 50,
            "output_reasoning_tokens": 20,
            "web_searches": 2,
            "web_fetches": 1,
        }
        assert extract(body).provider == "anthropic"

    def test_what_was_served_is_context(self) -> None:
        """Batch, fast and US inference change the price; standard, global and not_available do not."""
        plain = message(
            input_tokens=1, output_tokens=1, service_tier="standard", speed="standard", inference_geo="global"
        )
        assert extract(plain).context == {} and extract(plain).service_tier == "standard"
        assert extract(message(input_tokens=1, output_tokens=1, inference_geo="not_available")).context == {}
        special = message(input_tokens=1, output_tokens=1, service_tier="priority", speed="fast", inference_geo="us")
        assert extract(special).context == {"service_tier": "priority", "speed": "fast", "inference_geo": "us"}
        batch = {
            "custom_id": "a",
            "result": {"type": "succeeded", "message": message(input_tokens=1, service_tier="batch")},
        }
        assert extract(batch).context == {"processing": "batch"}
        expired = extract({"custom_id": "b", "result": {"type": "expired"}})
        assert expired.usage is None and expired.error == "the request expired"
        said = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: required"}}
        failed = extract({"custom_id": "c", "result": {"type": "errored", "error": said}})
        assert failed.usage is None and failed.error == "max_tokens: required"

    def test_a_compaction_pass_is_added(self) -> None:
        """The message's totals leave it out, and its writes may stand in the lifetimes alone."""
        compaction = {
            "type": "compaction",
            "input_tokens": 100,
            "output_tokens": 82,
            "cache_creation_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 55096},
        }
        own = {"type": "message", "input_tokens": 180, "output_tokens": 8}
        assert counts(message(input_tokens=180, output_tokens=8, iterations=[compaction, own])) == {
            "input_tokens": 180 + 100 + 55096,
            "cache_write_tokens": 55096,
            "cache_write_5m_tokens": 55096,
            "output_tokens": 90,
        }

    def test_an_advisor_is_a_part(self) -> None:
        """Another model's tokens stand apart under its name."""
        advice = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22}
        own = {"type": "message", "input_tokens": 2390, "output_tokens": 121}
        found = extract(message(input_tokens=2390, output_tokens=121, iterations=[own, advice]))
        assert found.usage is not None and found.usage.input_tokens == 2390
        (part,) = found.parts
        assert (part.model, part.provider, part.response_id) == ("claude-opus-4-8", "anthropic", "msg_1")
        assert part.usage is not None and part.usage.to_dict() == {"input_tokens": 2518, "output_tokens": 22}

    @pytest.mark.parametrize("contained", [True, False])
    def test_a_declined_model_is_a_part_and_counted_once(self, contained: bool) -> None:
        """Whether or not the totals contain the declined attempt, the two together are the two attempts."""
        declined = {"type": "message", "model": "claude-fable-5", "input_tokens": 100, "output_tokens": 1}
        served = {"type": "fallback_message", "model": "claude-sonnet-4-5", "input_tokens": 120, "output_tokens": 30}
        both = [declined, served]
        totals = {"input_tokens": 220, "output_tokens": 31} if contained else {"input_tokens": 120, "output_tokens": 30}
        found = extract(message(**totals, iterations=both))
        assert found.usage is not None and found.usage.to_dict() == {"input_tokens": 120, "output_tokens": 30}
        (part,) = found.parts
        assert part.model == "claude-fable-5" and part.usage is not None
        assert part.usage.to_dict() == {"input_tokens": 100, "output_tokens": 1}

    def test_streams_merge_start_and_delta(self) -> None:
        """Delta counts are cumulative; nulls and zeros do not replace what the start told."""
        start = {
            "type": "message_start",
            "message": message(input_tokens=10, cache_read_input_tokens=5, output_tokens=1),
        }
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"input_tokens": 0, "cache_read_input_tokens": None, "output_tokens": 44},
        }
        found = extract([start, delta, {"type": "message_stop"}])
        assert found.complete and found.status == "reported" and found.stream
        assert found.usage is not None
        assert found.usage.to_dict() == {"input_tokens": 15, "cache_read_tokens": 5, "output_tokens": 44}

    def test_a_cut_stream_estimates_its_output(self) -> None:
        """The start announces one output token; what was shown counts instead, marked."""
        start = {"type": "message_start", "message": message(input_tokens=10, output_tokens=1)}
        text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "one two three four five"}}
        found = extract([start, text])
        assert not found.complete and found.status == "partial" and found.reason and "cut off" in found.reason
        assert found.usage is not None and found.usage.to_dict() == {"input_tokens": 10, "output_tokens": 5}

    def test_agent_results_tell_every_model(self) -> None:
        """The result line of an agent's run: its models, dearest first, each with its own cost."""
        models = {
            "claude-haiku-4-5": {"inputTokens": 5, "outputTokens": 6, "costUSD": 0.001},
            "claude-opus-4-8": {"inputTokens": 7, "outputTokens": 8, "cacheReadInputTokens": 100, "costUSD": 0.5},
        }
        body = {
            "type": "result",
            "uuid": "u",
            "total_cost_usd": 0.501,
            "modelUsage": models,
            "usage": {"input_tokens": 7},
        }
        found = extract(body)
        assert (found.model, found.reported_cost, found.operation) == (
            "claude-opus-4-8",
            Decimal("0.5"),
            "invoke_agent",
        )
        assert found.usage is not None and found.usage.input_tokens == 107
        (part,) = found.parts
        assert (part.model, part.reported_cost) == ("claude-haiku-4-5", Decimal("0.001"))

    def test_recorded_agent_messages(self, shared: Path) -> None:
        """Every recorded message and result of the agent SDK gives a usage; a result with one model its whole cost."""
        lines = (shared / "realdata" / "agent-logs" / "claude_agent_sdk_messages.jsonl").read_text().splitlines()
        for line in lines:
            body, found = json.loads(line), extract(line)
            assert found.usage is not None and found.model and found.provider == "anthropic", line
            if body["type"] == "result":
                assert found.reported_cost == Decimal(repr(body["total_cost_usd"]))
                (used,) = body["modelUsage"].values()
                assert found.operation == "invoke_agent" and found.usage.output_tokens == used["outputTokens"]
            else:
                assert found.status == "partial" and found.reason and "stop_reason null" in found.reason
        assert len(lines) == 25
        logged = (shared / "realdata" / "agent-logs" / "pi_session_usage.jsonl").read_text().splitlines()
        assert all(extract(line).usage is not None for line in logged)


class TestGoogle:
    def test_thoughts_and_tool_prompts_are_added(self) -> None:
        """Thoughts lie outside the candidates, tool-use prompts outside the prompt; cached content inside."""
        usage = {
            "promptTokenCount": 373,
            "cachedContentTokenCount": 204,
            "candidatesTokenCount": 89,
            "thoughtsTokenCount": 167,
            "toolUsePromptTokenCount": 30,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 115},
                {"modality": "DOCUMENT", "tokenCount": 258},
            ],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 63}, {"modality": "DOCUMENT", "tokenCount": 141}],
            "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO"}],
        }
        expected = {
            "input_tokens": 403,
            "output_tokens": 256,
            "cache_read_tokens": 204,
            "output_reasoning_tokens": 167,
            "input_tool_tokens": 30,
            "input_text_tokens": 145,
            "input_image_tokens": 258,
            "cache_text_read_tokens": 63,
            "cache_image_read_tokens": 141,
            "input_text_tool_tokens": 30,
        }
        assert counts({"modelVersion": "gemini-2.5-flash", "usageMetadata": usage}) == expected
        assert counts(_snake({"modelVersion": "gemini-2.5-flash", "usageMetadata": usage})) == expected

    def test_live_messages_call_it_response(self) -> None:
        """The Live API's `responseTokenCount` is the candidates'."""
        usage = {
            "promptTokenCount": 5,
            "responseTokenCount": 7,
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}],
        }
        assert counts({"usageMetadata": usage}) == {"input_tokens": 5, "output_tokens": 7, "output_audio_tokens": 7}

    @pytest.mark.parametrize(
        ("told", "context"),
        [
            ({"trafficType": "ON_DEMAND"}, {}),
            ({"trafficType": 1}, {}),
            ({"trafficType": "ON_DEMAND_FLEX"}, {"service_tier": "flex"}),
            ({"trafficType": "ON_DEMAND_PRIORITY"}, {"service_tier": "priority"}),
            ({"trafficType": "PROVISIONED_THROUGHPUT"}, {"service_tier": "provisioned_throughput"}),
            ({"serviceTier": "standard"}, {}),
            ({"serviceTier": "SERVICE_TIER_FLEX"}, {"service_tier": "flex"}),
        ],
    )
    def test_traffic_and_tiers(self, told: Body, context: dict[str, str]) -> None:
        """Vertex' traffic types and Gemini's tiers come out under one name."""
        assert extract({"usageMetadata": {"promptTokenCount": 1, **told}}).context == context

    @pytest.mark.parametrize(
        ("model", "searches"), [("gemini-2.5-pro", 1), ("gemini-3-flash-preview", 2), ("gemini-4-argon", 2)]
    )
    def test_grounding_is_billed_by_prompt_until_2_5_and_by_query_since_3(self, model: str, searches: int) -> None:
        """Distinct queries that are not empty count for Gemini 3; the grounded prompt once for Gemini 2.5."""
        queries = {"webSearchQueries": ["", "a", "b", "a"]}
        chunk = {
            "candidates": [{"groundingMetadata": queries}],
            "usageMetadata": {"promptTokenCount": 1},
            "modelVersion": model,
        }
        assert counts(chunk)["web_searches"] == searches
        last = {
            "candidates": [{"finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 2},
            "modelVersion": model,
        }
        assert counts([chunk, last]) == {"input_tokens": 2, "web_searches": searches}

    def test_batch_lines_and_maps(self) -> None:
        """A line of a batch's results; grounding with Maps counts once."""
        answer = {
            "candidates": [{"groundingMetadata": {"groundingChunks": [{"maps": {}}, {"maps": {}}]}}],
            "usageMetadata": {"promptTokenCount": 1},
        }
        found = extract({"key": "1", "response": answer})
        assert found.context == {"processing": "batch"} and found.usage is not None and found.usage.map_searches == 1

    def test_interactions(self) -> None:
        """Tool use and thoughts lie beside; searches of the steps are counted."""
        usage = {
            "total_tokens": 45,
            "total_input_tokens": 20,
            "total_cached_tokens": 4,
            "total_output_tokens": 10,
            "total_tool_use_tokens": 5,
            "total_thought_tokens": 10,
            "input_tokens_by_modality": [{"modality": "text", "tokens": 20}],
        }
        steps = [{"type": "google_search_call", "arguments": {"queries": ["a", "b"]}}]
        assert counts({"id": "v1", "model": "gemini-3-flash", "usage": usage, "steps": steps}) == {
            "input_tokens": 25,
            "input_tool_tokens": 5,
            "cache_read_tokens": 4,
            "output_tokens": 20,
            "output_reasoning_tokens": 10,
            "input_text_tokens": 20,
            "web_searches": 2,
        }

    def test_vertex_names_the_place_that_answered(self) -> None:
        """Regional endpoints cost a tenth more for later models, the global one and earlier models do not."""
        answer = message(input_tokens=1_000_000, output_tokens=0)
        for place, model, usd in (
            ("us-east5", "claude-haiku-4-5@20251001", "1.1"),
            ("eu", "claude-haiku-4-5@20251001", "1.1"),
            ("global", "claude-haiku-4-5@20251001", "1"),
            ("us-east5", "claude-3-5-haiku@20241022", "0.8"),
        ):
            path = f"/v1/projects/p/locations/{place}/publishers/anthropic/models/{model}:rawPredict"
            found = extract({**answer, "model": model}, path=path)
            assert found.usage is not None and found.context == {"region": place}
            cost = price(model, found.usage, provider=found.provider, context=found.context)
            assert cost.usd == Decimal(usd) and cost.status == "priced"
            assert not cost.reasons or usd == "1.1"

    def test_vertex_claude_and_embeddings(self) -> None:
        """Claude on Vertex is Google's bill; `:predict` embeddings tell their statistics."""
        path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
        found = extract(message(input_tokens=1, cache_read_input_tokens=2, output_tokens=3), path=path)
        assert found.provider == "google" and found.usage is not None and found.usage.input_tokens == 3
        predictions = [
            {"embeddings": {"statistics": {"token_count": 4}}},
            {"embeddings": {"statistics": {"token_count": 5}}},
        ]
        embedded = extract(
            {"predictions": predictions, "metadata": {"billableCharacterCount": 30}},
            path="/v1/publishers/google/models/text-embedding-005:predict",
        )
        assert embedded.model == "text-embedding-005" and embedded.operation == "embeddings"
        assert embedded.usage is not None and embedded.usage.to_dict() == {"input_tokens": 9, "input_characters": 30}


class TestBedrock:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda data: {"chunk": {"bytes": data}},
            lambda data: {"bytes": base64.b64encode(data).decode()},
            lambda data: {"chunk": {"bytes": base64.b64encode(data).decode()}},
        ],
    )
    def test_a_streams_events_as_an_sdk_gives_them(self, wrap: Callable[[bytes], dict[str, Any]]) -> None:
        """Packed in `chunk` and `bytes`, all of them or the last alone: the invocation's metrics count."""
        last = {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 7},
        }
        start = {"type": "message_start", "message": {"id": "msg_bdrk_1", "usage": {"input_tokens": 5}}}
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
        events = [wrap(json.dumps(event).encode()) for event in (start, delta, last)]
        for body in (events, events[-1:], events[-1]):
            found = extract(body, provider="bedrock")
            assert found.usage is not None
            assert found.usage.to_dict() == {"input_tokens": 5, "output_tokens": 7}
            assert found.complete and found.status == "reported", found
        assert extract({"chunk": {"bytes": b"no JSON"}}).usage is None

    def test_the_last_event_of_converse_alone(self) -> None:
        """`metadata` carries the usage of the whole stream."""
        found = extract({"metadata": {"usage": {"inputTokens": 5, "outputTokens": 7}, "metrics": {"latencyMs": 1}}})
        assert found.provider == "aws" and found.complete and found.usage is not None
        assert found.usage.to_dict() == {"input_tokens": 5, "output_tokens": 7}

    def test_converse_gets_its_caches_added(self) -> None:
        """Caches lie beside `inputTokens`; lifetimes and the tier are told."""
        usage = {
            "inputTokens": 3,
            "outputTokens": 288,
            "totalTokens": 2465,
            "cacheReadInputTokens": 100,
            "cacheWriteInputTokens": 2074,
            "cacheDetails": [{"inputTokens": 2000, "ttl": "5m"}, {"inputTokens": 74, "ttl": "1h"}],
        }
        path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
        found = extract({"output": {}, "stopReason": "x", "usage": usage, "serviceTier": {"type": "flex"}}, path=path)
        assert found.provider == "aws" and found.model == "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
        assert found.context == {"service_tier": "flex"}
        assert found.usage is not None and found.usage.to_dict() == {
            "input_tokens": 2177,
            "cache_read_tokens": 100,
            "cache_write_tokens": 2074,
            "output_tokens": 288,
            "cache_write_5m_tokens": 2000,
            "cache_write_1h_tokens": 74,
        }

    @pytest.mark.parametrize(
        ("path", "model"),
        [
            ("/model/anthropic.claude-v2/invoke", "anthropic.claude-v2"),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A0%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/invoke",
                "us.amazon.nova-lite-v1:0",
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A0%3Aapplication-inference-profile%2Fabc1/invoke",
                "claude-sonnet-4-5",
            ),
        ],
    )
    def test_the_model_is_in_the_path(self, path: str, model: str) -> None:
        """An id or the last part of an ARN; a private profile says nothing, then the body's name counts."""
        assert extract(message(input_tokens=1, output_tokens=1), path=path).model == model

    def test_other_models_shapes(self) -> None:
        """Titan, Llama, and the metrics that end any model's stream."""
        titan = {"inputTextTokenCount": 5, "results": [{"tokenCount": 10}, {"tokenCount": 2}]}
        assert counts(titan) == {"input_tokens": 5, "output_tokens": 12}
        assert counts({"embedding": [], "inputTextTokenCount": 5}) == {"input_tokens": 5}
        llama = {"generation": "x", "prompt_token_count": 7, "generation_token_count": 8}
        assert counts(llama) == {"input_tokens": 7, "output_tokens": 8}
        metrics = {"inputTokenCount": 3, "outputTokenCount": 4, "cacheReadInputTokenCount": 2}
        last = {"outputs": [{"text": "y", "stop_reason": "stop"}], "amazon-bedrock-invocationMetrics": metrics}
        found = extract([{"outputs": [{"text": "x"}]}, last], path="/model/mistral.m/invoke-with-response-stream")
        assert found.complete and found.usage is not None
        assert found.usage.to_dict() == {"input_tokens": 5, "cache_read_tokens": 2, "output_tokens": 4}

    def test_a_batch_record(self) -> None:
        """The model's output inside a record of a batch job."""
        found = extract({"recordId": "1", "modelInput": {}, "modelOutput": message(input_tokens=1, output_tokens=2)})
        assert found.context == {"processing": "batch"} and found.usage is not None and found.usage.output_tokens == 2


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {"".join("_" + c.lower() if c.isupper() else c for c in key): _snake(one) for key, one in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value
