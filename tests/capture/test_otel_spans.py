"""Spans of every instrumentation say the same by different names, and are read as the same."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.capture import otel_names
from farthing.capture.counts import inclusive, of_langchain, of_langfuse, of_openai
from farthing.capture.otel_spans import read_span
from farthing.usage import Usage

WHOLE = Usage(
    input_tokens=1500,
    cache_read_tokens=1000,
    cache_write_tokens=200,
    output_tokens=400,
    output_reasoning_tokens=150,
)
"""1500 in, of which 1000 came from the cache and 200 were written to it; 400 out, of which 150 were reasoning."""

DIALECTS: dict[str, dict[str, Any]] = {
    "current conventions": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_write.input_tokens": 200,
        "gen_ai.usage.reasoning.output_tokens": 150,
        "gen_ai.aggregated_usage.input_tokens": 99_999,
        "gen_ai.usage.partial.input_tokens": 99_999,
    },
    "conventions of last year": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.response.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.prompt_tokens": "1500",
        "gen_ai.usage.completion_tokens": "400",
        "gen_ai.usage.cache_read.input_tokens": "1000",
        "gen_ai.usage.cache_creation.input_tokens": "200",
        "gen_ai.usage.reasoning_tokens": "150",
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "Anthropic",
        "gen_ai.response.model": "claude-sonnet-4-20250514",
        "llm.usage.total_tokens": 1900,
        "gen_ai.usage.prompt_tokens": 1500,
        "gen_ai.usage.completion_tokens": 400,
        "gen_ai.usage.cache_read_input_tokens": 1000,
        "gen_ai.usage.cache_creation_input_tokens": 200,
        "llm.usage.reasoning_tokens": 150,
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.system": "anthropic",
        "llm.model_name": "claude-sonnet-4-20250514",
        "llm.token_count.prompt": 1500,
        "llm.token_count.completion": 400,
        "llm.token_count.total": 1900,
        "llm.token_count.prompt_details.cache_read": 1000,
        "llm.token_count.prompt_details.cache_write": 200,
        "llm.token_count.completion_details.reasoning": 150,
    },
    "OpenInference, cached tokens outside the prompt": {
        "openinference.span.kind": "LLM",
        "llm.provider": "anthropic",
        "llm.model_name": "claude-sonnet-4-20250514",
        "llm.token_count.prompt": 300,
        "llm.token_count.completion": 400,
        "llm.token_count.prompt_details.cache_read": 1000,
        "llm.token_count.prompt_details.cache_write": 200,
        "llm.token_count.completion_details.reasoning": 150,
    },
    "OpenLIT": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.total_tokens": 1900,
        "gen_ai.usage.prompt_tokens_details.cached_tokens": 1000,
        "gen_ai.usage.prompt_tokens_details.cache_creation_tokens": 200,
        "gen_ai.usage.completion_tokens_details.reasoning_tokens": 150,
        "gen_ai.usage.cost": 0.0123,
    },
    "Sentry": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.input_tokens.cached": 1000,
        "gen_ai.usage.input_tokens.cache_write": 200,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.output_tokens.reasoning": 150,
    },
    "pydantic-ai": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.response.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.details.cache_read_tokens": 1000,
        "gen_ai.usage.details.cache_write_tokens": 200,
        "gen_ai.usage.details.reasoning_tokens": 150,
        "operation.cost": 0.0123,
    },
    "Vercel": {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "claude-sonnet-4-20250514",
        "ai.model.provider": "anthropic.messages",
        "ai.usage.promptTokens": 300.0,
        "ai.usage.completionTokens": 400.0,
        "ai.usage.cachedInputTokens": 1000,
        "ai.usage.reasoningTokens": 150,
        "ai.response.providerMetadata": json.dumps({"anthropic": {"cacheCreationInputTokens": 200}}),
    },
    "Langfuse": {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "claude-sonnet-4-20250514",
        "langfuse.observation.usage_details": json.dumps(
            {
                "input": 300,
                "input_cached_tokens": 1000,
                "input_cache_creation": 200,
                "output": 250,
                "output_reasoning_tokens": 150,
                "total": 1900,
            }
        ),
        "langfuse.observation.cost_details": json.dumps({"input": 0.01, "output": 0.0023}),
    },
    "LangSmith": {
        "langsmith.span.kind": "llm",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-20250514",
        "langsmith.usage_metadata": json.dumps(
            {
                "input_tokens": 1500,
                "output_tokens": 400,
                "total_tokens": 1900,
                "input_token_details": {"cache_read": 1000, "cache_creation": 200},
                "output_token_details": {"reasoning": 150},
            }
        ),
    },
    "LangSmith, details apart": {
        "langsmith.span.kind": "llm",
        "gen_ai.system": "anthropic",
        "gen_ai.response.model": "claude-sonnet-4-20250514",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.input_token_details": json.dumps({"cache_read": 1000, "cache_creation": 200}),
        "gen_ai.usage.output_token_details": json.dumps({"reasoning": 150}),
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same_call(dialect: str) -> None:
    """The same call, told twelve ways: inclusive counts, model, provider, kind."""
    facts = read_span(DIALECTS[dialect])
    assert facts.kind == "call"
    assert facts.operation == "chat"
    assert facts.model == "claude-sonnet-4-20250514"
    assert facts.provider == (None if dialect == "Langfuse" else "anthropic")
    assert (facts.usage, facts.usage_status) == (WHOLE, "reported")
    if facts.reported_usd is not None:
        assert facts.reported_usd == Decimal("0.0123")


def test_anthropics_own_spans_tell_how_long_a_cache_lives() -> None:
    """The writes of each lifetime have prices of their own."""
    facts = read_span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.response.id": "msg_01",
            "gen_ai.response.model": "claude-sonnet-4-20250514",
            "gen_ai.usage.input_tokens": 500,
            "gen_ai.usage.output_tokens": 10,
            "gen_ai.usage.cache_write.input_tokens": 300,
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 100,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 200,
            "anthropic.response.service_tier": "priority",
        }
    )
    assert facts.usage == Usage(
        input_tokens=500,
        output_tokens=10,
        cache_write_tokens=300,
        cache_write_5m_tokens=100,
        cache_write_1h_tokens=200,
    )
    assert (facts.response_id, dict(facts.context)) == ("msg_01", {"service_tier": "priority"})


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 10},
        {"gen_ai.operation.name": "invoke_workflow"},
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 10},
        {"openinference.span.kind": "CHAIN"},
        {"traceloop.span.kind": "workflow"},
        {"langfuse.observation.type": "span"},
        {"ai.operationId": "ai.generateText", "ai.usage.promptTokens": 10},
        {"langsmith.span.kind": "chain"},
        {"gen_ai.operation.name": "execute_tool"},
    ],
)
def test_what_frames_calls_is_none(attributes: dict[str, Any]) -> None:
    """Agents, workflows, chains and tools repeat what the calls inside them say."""
    assert read_span(attributes).kind == "frame"


def test_other_spans_are_left_alone() -> None:
    """A database query has nothing to do with models, nor has an empty span."""
    for attributes in ({"db.system": "postgresql", "server.address": "db"}, {}, None):
        assert read_span(attributes).kind == "other"


def test_a_call_without_usage_is_a_call_all_the_same() -> None:
    """A stream whose usage nobody saw is not nothing."""
    facts = read_span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
    assert (facts.kind, facts.usage, facts.model) == ("call", None, "m")


def test_a_total_alone_is_partial() -> None:
    """One number cannot be priced like two."""
    facts = read_span({"gen_ai.operation.name": "chat", "llm.usage.total_tokens": 100})
    assert (facts.usage, facts.usage_status) == (Usage(input_tokens=100), "partial")


@pytest.mark.parametrize(
    ("attributes", "provider"),
    [
        ({"gen_ai.system": "openai", "server.address": "api.groq.com"}, "groq"),
        ({"gen_ai.system": "openai", "gen_ai.openai.api_base": "https://x.openai.azure.com/"}, "azure"),
        ({"gen_ai.system": "openai", "server.address": "localhost"}, "openai"),
        ({"gen_ai.provider.name": "aws.bedrock"}, "aws"),
        ({"gen_ai.provider.name": "gcp.vertex_ai"}, "google"),
        ({"gen_ai.provider.name": "mistral_ai"}, "mistral"),
        ({"ai.model.provider": "openai.chat"}, "openai"),
        ({"gen_ai.system": "openai.responses"}, "openai"),
        ({"gen_ai.system": "vertex.anthropic.messages"}, "google"),
        ({"ai.model.provider": "google.generative-ai"}, "google"),
        ({"gen_ai.provider.name": "my.own"}, "my.own"),
    ],
)
def test_the_provider_is_who_answered(attributes: dict[str, Any], provider: str) -> None:
    """An OpenAI client that talks to another host is not OpenAI's; other names become ours."""
    assert read_span({"gen_ai.operation.name": "chat", **attributes}).provider == provider


def test_who_a_span_is_for() -> None:
    """Session, user, agent and metadata by the names of each tool; what is too long stays out."""
    facts = read_span(
        {
            "gen_ai.operation.name": "chat",
            "session.id": "s",
            "user.id": "u",
            "gen_ai.agent.name": "a",
            "gen_ai.prompt.name": "p",
            "langfuse.trace.metadata.ticket": '"ABC-1"',
            "langfuse.trace.metadata.nested": '{"a": 1}',
            "traceloop.association.properties.tenant": "t",
            "metadata": '{"k": 1, "long": "' + "x" * 2000 + '"}',
            "tag.tags": ("x", "y"),
        }
    )
    who = facts.attribution
    assert (who.session, who.user, who.agent, who.prompt) == ("s", "u", "a", "p")
    assert dict(who.metadata) == {"ticket": "ABC-1", "nested": {"a": 1}, "tenant": "t", "k": 1, "tags": ["x", "y"]}


def test_the_responses_id_is_found_in_the_output_too() -> None:
    """OpenInference keeps the whole response, not its id."""
    said = {"openinference.span.kind": "LLM", "output.value": json.dumps({"id": "chatcmpl-1", "choices": []})}
    assert read_span(said).response_id == "chatcmpl-1"
    assert read_span({**said, "output.value": "{broken"}).response_id is None


@given(
    attributes=st.dictionaries(
        st.sampled_from(
            sorted({name for names in otel_names.COUNTS.values() for name in names})
            + list(otel_names.OPERATION + otel_names.KIND + otel_names.COST + otel_names.HOST + otel_names.TAGS)
            + [otel_names.LANGFUSE_USAGE, otel_names.LANGFUSE_COST, otel_names.LANGSMITH_USAGE, "metadata"]
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.text(max_size=5)),
        max_size=12,
    )
)
def test_no_span_raises(attributes: dict[str, Any]) -> None:
    """Whatever other tools write, reading it is safe, and counts are never negative."""
    facts = read_span(attributes)
    assert facts.usage is None or all(count >= 0 for _, count in facts.usage.items())


@given(
    parts=st.lists(st.integers(0, 10**6), min_size=5, max_size=5),
    outside=st.tuples(st.booleans(), st.booleans()),
)
def test_a_stated_sum_decides_what_lies_inside(parts: list[int], outside: tuple[bool, bool]) -> None:
    """Whether cached and reasoning tokens are in their totals or beside them, the result is the same."""
    plain, read, written, said, thought = parts
    into, out = plain + read + written, said + thought
    counts = {
        "input_tokens": plain if outside[0] else into,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": said if outside[1] else out,
        "output_reasoning_tokens": thought,
    }
    usage, _ = inclusive(counts, total=into + out)
    if usage is not None:
        assert (usage.input_tokens + usage.output_tokens) == into + out
        assert not usage.problems


def test_other_tools_counts() -> None:
    """Langfuse's older and newer buckets, OpenAI's shape inside them, LangChain's tiers."""
    assert of_langfuse({"input": 10, "output": 5, "unit": "TOKENS", "total": 15})[0] == Usage(
        input_tokens=10, output_tokens=5
    )
    assert of_langfuse({"promptTokens": 10, "completionTokens": 5})[0] == Usage(input_tokens=10, output_tokens=5)
    assert of_langfuse({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}})[
        0
    ] == Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4)
    assert of_langfuse({"input": 1, "input_cache_read_new_name": 4, "output": 1, "output_thinking": 2})[0] == Usage(
        input_tokens=5, cache_read_tokens=4, output_tokens=3, output_reasoning_tokens=2
    )
    assert of_langfuse({"input": 1, "input_cache_creation_5m": 3, "input_cache_creation_1h": 4})[0] == Usage(
        input_tokens=8, cache_write_tokens=7, cache_write_5m_tokens=3, cache_write_1h_tokens=4
    )
    assert of_langfuse({"total": 7}) == (Usage(input_tokens=7), "partial")
    assert of_langfuse({}) == of_langfuse(None) == (None, "partial")
    assert of_langchain(
        {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12, "input_token_details": {"priority_cache_read": 6}}
    )[0] == Usage(input_tokens=10, output_tokens=2, cache_read_tokens=6)
    assert of_langchain(
        {
            "input_tokens": 10,
            "output_tokens": 2,
            "total_tokens": 12,
            "input_token_details": {"cache_creation": 0, "ephemeral_5m_input_tokens": 6},
        }
    )[0] == Usage(input_tokens=10, output_tokens=2, cache_write_tokens=6, cache_write_5m_tokens=6)
    assert of_openai({"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}})[
        0
    ] == Usage(input_tokens=10, output_tokens=5, output_reasoning_tokens=3)
