"""Which requests are LLM calls, and whose."""

from __future__ import annotations

import pytest

from farthing.capture.hosts import REMEMBERED, Hosts
from farthing.errors import ConfigError

CALLS = [
    ("api.openai.com", "/v1/chat/completions", "openai"),
    ("api.openai.com", "/v1/responses", "openai"),
    ("api.openai.com", "/v1/responses/compact", "openai"),
    ("api.openai.com", "/v1/images/generations", "openai"),
    ("eu.api.openai.com", "/v1/embeddings", "openai"),
    ("api.anthropic.com", "/v1/messages?beta=true", "anthropic"),
    ("api.anthropic.com", "/v1/complete", "anthropic"),
    ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse", "google"),
    ("generativelanguage.googleapis.com", "/v1beta/models/text-embedding-004:batchEmbedContents", "google"),
    ("us-central1-aiplatform.googleapis.com",
     "/v1/projects/p/locations/us-central1/publishers/anthropic/models/claude-x:streamRawPredict", "google"),
    ("resource.openai.azure.com", "/openai/deployments/d/chat/completions?api-version=2024-02-01", "azure"),
    ("resource.services.ai.azure.com", "/models/chat/completions", "azure"),
    ("bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1%3A0/converse-stream", "aws"),
    ("bedrock-runtime.eu-west-1.amazonaws.com", "/model/x/invoke-with-response-stream", "aws"),
    ("api.mistral.ai", "/v1/fim/completions", "mistral"),
    ("api.mistral.ai", "/v1/ocr", "mistral"),
    ("api.cohere.com", "/v2/chat", "cohere"),
    ("api.groq.com", "/openai/v1/chat/completions", "groq"),
    ("openrouter.ai", "/api/v1/chat/completions", "openrouter"),
    ("api.x.ai", "/v1/chat/completions", "x-ai"),
    ("api.deepseek.com", "/chat/completions", "deepseek"),
    ("127.0.0.1:11434", "/api/chat", "ollama"),
    ("localhost:8000", "/v1/chat/completions", None),
    ("localhost:4000", "/chat/completions", None),
    ("gateway.example", "/proxy/openai/responses", None),
    ("litellm.internal", "/v1/messages", None),
    ("vllm.internal:8000", "/v1/embeddings", None),
    ("vllm.internal:8000", "/v2/embed", None),
    ("proxy.eu-west-1.elb.amazonaws.com", "/v1/chat/completions", None),
    ("shop.azure-api.net", "/openai/deployments/d/chat/completions", None),
    ("vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "/model/x/converse", "aws"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "path", "provider"), CALLS)
def test_calls_are_recognised(host: str, path: str, provider: str | None) -> None:
    """By a provider's host, or by the shape of the path on any host; only the former is sure."""
    target = Hosts().target("POST", host, path)
    assert target is not None
    assert target.provider == provider
    assert target.sure == (provider is not None)


@pytest.mark.parametrize(
    ("method", "host", "path"),
    [
        ("GET", "api.openai.com", "/v1/models"),
        ("POST", "api.openai.com", "/v1/files"),
        ("POST", "api.openai.com", "/v1/moderations"),
        ("POST", "api.openai.com", "/v1/batches/b/cancel"),
        ("POST", "api.anthropic.com", "/v1/messages/count_tokens"),
        ("POST", "generativelanguage.googleapis.com", "/v1beta/models/gemini-2.0-flash:countTokens"),
        ("DELETE", "api.openai.com", "/v1/responses/resp_1"),
        ("POST", "example.com", "/chat"),
        ("POST", "example.com", "/api/messages"),
        ("POST", "s3.amazonaws.com", "/bucket/key"),
        ("POST", "storage.googleapis.com", "/upload"),
        ("POST", "abc.execute-api.us-east-1.amazonaws.com", "/prod/chat"),
        ("POST", "bucket.s3.amazonaws.com", "/images/cat"),
        ("POST", "chat.googleapis.com", "/v1/spaces/s/messages"),
        ("POST", "shop.azure-api.net", "/orders/chat"),
        ("POST", "api.cloudflare.com", "/client/v4/accounts/a/images/v1"),
    ],
)
def test_other_requests_pass(method: str, host: str, path: str) -> None:
    """Whatever neither is a call nor brings one's usage."""
    assert Hosts().target(method, host, path) is None


@pytest.mark.parametrize(
    ("host", "path", "sure"),
    [
        ("api.openai.com", "/v1/batches", True),
        ("mine.openai.azure.com", "/openai/batches?api-version=1", True),
        ("api.anthropic.com", "/v1/messages/batches", True),
        ("api.mistral.ai", "/v1/batch/jobs", True),
        ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", True),
        ("bedrock.us-east-1.amazonaws.com", "/model-invocation-job", True),
        ("localhost:4000", "/v1/batches", False),
    ],
)
def test_what_makes_a_batch(host: str, path: str, sure: bool) -> None:
    """It is no call itself, and is known apart."""
    target = Hosts().target("POST", host, path)
    assert target is not None and target.batch and target.sure == sure


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("api.anthropic.com", "/v1/messages/batches/b/results"),
        ("api.openai.com", "/v1/files/f/content"),
        ("api.openai.com", "/v1/responses/resp_1"),
        ("generativelanguage.googleapis.com", "/v1beta/batches/b"),
        ("generativelanguage.googleapis.com", "/v1beta/files/f:download?alt=media"),
    ],
)
def test_results_that_are_fetched(host: str, path: str) -> None:
    """Batches and responses made in the background are fetched with GET."""
    target = Hosts().target("GET", host, path)
    assert target is not None and target.results and not target.sure


@pytest.mark.parametrize(
    ("host", "path", "provider"),
    [
        ("dbc-1.cloud.databricks.com", "/serving-endpoints/e/invocations", "databricks"),
        ("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/e/invocations", "aws"),
    ],
)
def test_endpoints_of_any_model(host: str, path: str, provider: str) -> None:
    """Where models of any kind stand, a call is one when request or answer prove it."""
    target = Hosts().target("POST", host, path)
    assert target is not None and (target.provider, target.sure) == (provider, False)


def test_hosts_of_the_users_own() -> None:
    """With their port or for every port; in any case of letters, and by any name a provider has."""
    hosts = Hosts({"LLM.internal:8000": "OpenAI", "any.internal": "vertex-ai"})
    with_port = hosts.target("POST", "llm.internal:8000", "/v1/chat/completions")
    assert with_port is not None and (with_port.provider, with_port.sure) == ("openai", True)
    other_port = hosts.target("POST", "llm.internal:9000", "/v1/chat/completions")
    assert other_port is not None and other_port.provider is None
    any_port = hosts.target("POST", "any.internal:1234", "/predictions")
    assert any_port is not None and any_port.provider == "google"


@pytest.mark.parametrize("hosts", [{"": "openai"}, {"http://x": "openai"}, {"x": ""}, {"x/y": "openai"}])
def test_a_host_that_is_none(hosts: dict[str, str]) -> None:
    """The message shows what is meant."""
    with pytest.raises(ConfigError, match="must be a host"):
        Hosts(hosts)


def test_what_is_remembered_is_bounded() -> None:
    """A program that calls a million URLs costs no memory."""
    hosts = Hosts()
    for i in range(REMEMBERED + 10):
        hosts.target("GET", "example.com", f"/{i}")
    assert len(hosts._known) == 10
