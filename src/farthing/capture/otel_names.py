"""The names by which spans of the many instrumentations say the same: data, one table a question.

Order matters: the first name that a span has is believed. Sources: OpenTelemetry's GenAI conventions, current and as
they were; OpenLLMetry, OpenInference, OpenLIT, Logfire and pydantic-ai, Vercel's AI SDK, Sentry, Langfuse, LangSmith,
and the SDKs of Anthropic and Mistral. Never read, because they repeat what other spans say: `gen_ai.aggregated_usage.*`
and `gen_ai.usage.partial.*`.
"""

from __future__ import annotations

from collections.abc import Mapping

COUNTS: Mapping[str, tuple[str, ...]] = {
    "input_tokens": (
        *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        *("llm.usage.prompt_tokens", "llm.usage.input_tokens", "ai.usage.inputTokens", "ai.usage.promptTokens"),
        *("ai.usage.tokens", "llm.tokens.input"),
    ),
    "output_tokens": (
        *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
        *("llm.usage.completion_tokens", "llm.usage.output_tokens", "ai.usage.outputTokens"),
        *("ai.usage.completionTokens", "llm.tokens.output"),
    ),
    "cache_read_tokens": (
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("gen_ai.usage.input_tokens.cached", "gen_ai.usage.prompt_tokens_details.cached_tokens"),
        *("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
        *("llm.usage.cache_read_input_tokens", "ai.usage.cachedInputTokens"),
        *("ai.usage.inputTokenDetails.cacheReadTokens", "gen_ai.usage.details.cache_read_tokens"),
        *("gen_ai.usage.details.cache_read_input_tokens", "gen_ai.usage.details.cached_tokens"),
    ),
    "cache_write_tokens": (
        *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.input_tokens.cache_write"),
        *("gen_ai.usage.prompt_tokens_details.cache_creation_tokens", "llm.token_count.prompt_details.cache_write"),
        *("llm.usage.cache_creation_input_tokens", "ai.usage.inputTokenDetails.cacheWriteTokens"),
        *("gen_ai.usage.details.cache_write_tokens", "gen_ai.usage.details.cache_creation_input_tokens"),
    ),
    "cache_write_5m_tokens": ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "output_reasoning_tokens": (
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        *("gen_ai.usage.output_tokens.reasoning", "gen_ai.usage.completion_tokens_details.reasoning_tokens"),
        *("llm.token_count.completion_details.reasoning", "llm.usage.reasoning_tokens"),
        *("ai.usage.reasoningTokens", "ai.usage.outputTokenDetails.reasoningTokens"),
        *("gen_ai.usage.details.reasoning_tokens", "gen_ai.usage.details.thoughts_tokens"),
        *("gen_ai.usage.details.thinking_tokens", "gen_ai.usage.details.output_reasoning_tokens"),
    ),
    "input_audio_tokens": (
        *("gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"),
        "gen_ai.usage.details.input_audio_tokens",
    ),
    "output_audio_tokens": (
        *("gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"),
        "gen_ai.usage.details.output_audio_tokens",
    ),
    "input_image_tokens": ("gen_ai.usage.image.input_tokens",),
    "output_image_tokens": ("gen_ai.usage.image.output_tokens",),
    "cache_audio_read_tokens": (
        "gen_ai.usage.audio.cache_read.input_tokens",
        "gen_ai.usage.details.cache_audio_read_tokens",
    ),
    "cache_image_read_tokens": ("gen_ai.usage.image.cache_read.input_tokens",),
}
"""Our unit -> the attributes that count it."""

TOTAL = (
    *("gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "ai.usage.totalTokens"),
    *("ai.usage.tokens", "llm.tokens.total"),
)
RESPONSE_MODEL = ("gen_ai.response.model", "llm.response.model_name", "ai.response.model")
REQUEST_MODEL = (
    *("gen_ai.request.model", "llm.request.model_name", "llm.model_name", "embedding.model_name"),
    *("reranker.model_name", "langfuse.observation.model.name", "ai.model.id", "llm.request.model"),
    "traceloop.prompt.model",
)
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
VERCEL_PROVIDER = ("ai.model.provider",)
"""The provider and its API: `openai.chat`, `google.generative-ai`."""
HOST = ("server.address", "gen_ai.openai.api_base")
"""Where the request went: an OpenAI client may talk to anybody."""
RESPONSE_ID = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
TIER = (
    *("openai.response.service_tier", "gen_ai.openai.response.service_tier", "anthropic.response.service_tier"),
    *("gen_ai.response.service_tier", "aws.bedrock.service_tier"),
)
COST = (
    *("gen_ai.usage.cost", "gen_ai.usage.cost.amount", "operation.cost", "llm.cost.total", "llm.cost_usd"),
    "gen_ai.usage.total_cost",
)
LANGFUSE_COST = "langfuse.observation.cost_details"
LANGFUSE_USAGE = "langfuse.observation.usage_details"
LANGSMITH_USAGE = "langsmith.usage_metadata"
LANGSMITH_DETAILS = ("gen_ai.usage.input_token_details", "gen_ai.usage.output_token_details")
VERCEL_PROVIDER_METADATA = "ai.response.providerMetadata"
LOGFIRE_TYPE = "logfire.span_type"
"""`pending_span`: a copy of a span that has just begun."""
LOGFIRE_REQUEST = "request_data"
LOGFIRE_ANSWER = ("response_data", "gen_ai.output.messages", "gen_ai.response.id")
"""Logfire's span of a streamed call has the request alone; a second one, in a trace of its own, has the answer."""
OUTPUT_VALUE = "output.value"
EVENT_ID = "farthing.event_id"
"""Set by us on the span that shows an event: it is in a ledger already."""

OPERATION = ("gen_ai.operation.name", "llm.request.type")
FRAMES = frozenset(
    {"invoke_agent", "create_agent", "invoke_workflow", "plan", "execute_tool", "fetch_response", "agent_step"}
    | {"workflow", "task", "tool", "agent", "chain", "handoff", "memory", "retrieval", "vectordb"}
)
"""Operations whose spans frame others: usage on them repeats their children's, or they have none."""
OPERATIONS: Mapping[str, str] = {"completion": "text_completion", "embedding": "embeddings", "embed": "embeddings"}
"""Older words for operations."""
KIND = (
    *("openinference.span.kind", "traceloop.span.kind", "langfuse.observation.type", "langsmith.span.kind"),
    *("gen_ai.span.kind", "fi.span.kind"),
)
CALL_KINDS: Mapping[str, str] = {
    "llm": "chat",
    "generation": "chat",
    "chat": "chat",
    "embedding": "embeddings",
    "reranker": "rerank",
}
"""Kind of a span that is a call -> the operation where none is named; any other kind frames others."""
VERCEL_OPERATION = "ai.operationId"
"""`ai.generateText` frames `ai.generateText.doGenerate`, which is the call."""
VERCEL_CALL = (".doGenerate", ".doStream", ".doEmbed", ".doRerank")

ATTRIBUTION: Mapping[str, tuple[str, ...]] = {
    "agent": ("gen_ai.agent.name", "agent.name", "cost.agent", "graph.node.id"),
    "session": (
        *("session.id", "langfuse.session.id", "gen_ai.conversation.id", "langsmith.trace.session_id"),
        *("traceloop.association.properties.session_id", "traceloop.association.properties.thread_id"),
        *("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.session_id"),
    ),
    "user": (
        *("user.id", "langfuse.user.id", "enduser.id", "gen_ai.user", "llm.user", "cost.user_id"),
        *("traceloop.association.properties.user_id", "ai.telemetry.metadata.userId"),
        "ai.telemetry.metadata.user_id",
    ),
    "name": ("langfuse.trace.name", "langsmith.trace.name", "gen_ai.workflow.name", "traceloop.workflow.name"),
    "feature": ("cost.feature", "ai.telemetry.functionId"),
    "prompt": ("gen_ai.prompt.name", "langfuse.observation.prompt.name", "traceloop.prompt.key"),
    "environment": ("deployment.environment.name", "deployment.environment", "langfuse.environment"),
}
METADATA_PREFIXES = (
    *("langfuse.trace.metadata.", "langfuse.observation.metadata.", "traceloop.association.properties."),
    *("ai.telemetry.metadata.", "langsmith.metadata.", "farthing.metadata."),
)
METADATA_OBJECTS = ("langsmith.metadata", "metadata", "langfuse.trace.metadata")
TAGS = ("langfuse.trace.tags", "tag.tags", "langsmith.span.tags", "ai.telemetry.metadata.tags")
