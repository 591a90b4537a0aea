"""Model names: what each means, why, and what is refused."""

from __future__ import annotations

import pytest

from farthing.pricing import Catalog, Match, Miss


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The process-wide catalog."""
    return Catalog.default()


MEANT = [
    ("gpt-4o", None, "openai", "gpt-4o", "exact id"),
    ("GPT-4O", None, "openai", "gpt-4o", "exact id"),
    ("gpt-4o-2024-08-06", None, "openai", "gpt-4o", "alias"),
    ("openai/gpt-4o", None, "openai", "gpt-4o", "prefix 'openai/' names the provider"),
    ("azure/gpt-4o", None, "azure", "gpt-4o", "prefix 'azure/' names the provider"),
    ("gpt-4o-mini-2024-07-18", "api.portkey.ai", "openai", "gpt-4o-mini", "alias"),
    ("computer-use-preview", None, "openai", "computer-use", "alias"),
    ("litellm_proxy/gpt-4o", None, "openai", "gpt-4o", "prefix 'litellm_proxy/' names a gateway"),
    ("portkey/anthropic/claude-sonnet-4", None, "anthropic", "claude-sonnet-4-0", "prefix 'anthropic/'"),
    ("openai:gpt-4o", None, "openai", "gpt-4o", "prefix 'openai:'"),
    ("gpt-5.2-20251211", None, "openai", "gpt-5.2", "date written with dashes"),
    ("gpt-4o-2025-01-01", None, "openai", "gpt-4o", "date suffix '-2025-01-01' removed"),
    ("claude-sonnet-4@20250514", None, "anthropic", "claude-sonnet-4-0", "begins with"),
    ("claude-sonnet-4-latest", None, "anthropic", "claude-sonnet-4-0", "'-latest' removed"),
    (
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        None,
        "aws",
        "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "prefix 'bedrock/'",
    ),
    (
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        None,
        "aws",
        "regional.anthropic.claude-sonnet-4-20250514-v1:0",
        "contains",
    ),
    (
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        None,
        "aws",
        "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "AWS ARN in us-east-1",
    ),
    ("vertex_ai/claude-sonnet-4-5@20250929", None, "google", "claude-sonnet-4-5", "prefix 'vertex_ai/'"),
    ("models/gemini-2.5-flash", None, "google", "gemini-2.5-flash", "'models' is a path"),
    ("projects/p/locations/l/publishers/google/models/gemini-2.5-flash", None, "google", "gemini-2.5-flash", "path"),
    (
        "openrouter/anthropic/claude-sonnet-4.5",
        None,
        "openrouter",
        "anthropic/claude-sonnet-4.5",
        "prefix 'openrouter/'",
    ),
    (
        "anthropic/claude-sonnet-4.5:thinking",
        "openrouter",
        "openrouter",
        "anthropic/claude-sonnet-4.5",
        "':thinking' removed",
    ),
    ("ft:gpt-4o-mini-2024-07-18:acme::9xyz", None, "openai", "ft:gpt-4o-mini", "begins with"),
    ("ft:gpt-4.1-nano-2025-04-14:acme::9xyz", None, "openai", "ft:gpt-4.1-nano", "pattern"),
    ("gemini-1.5-flash-8b-001", None, "google", "gemini-flash-1.5-8b", "pattern"),
    ("claude-3-haiku-48k-20240307", "bedrock", "aws", "regional.anthropic.claude-3-haiku-20240307-v1:0", "alias"),
    ("gpt-35-turbo", "azure-openai", "azure", "gpt-3.5-turbo", "whose models azure offers"),
    ("claude-sonnet-4-5", "gcp.vertex_ai", "google", "claude-sonnet-4-5", "exact id"),
    (
        "claude-3-5-haiku-20241022",
        "aws.bedrock",
        "aws",
        "regional.anthropic.claude-3-5-haiku-20241022-v1:0",
        "contains",
    ),
    ("gpt-4o", "https://eu.api.openai.com/v1", "openai", "gpt-4o", "exact id"),
    ("gpt-4o", "acme.openai.azure.com", "azure", "gpt-4o", "offers at list price"),
    ("openai/gpt-4o", "litellm", "openai", "gpt-4o", "prefix"),
    ("mistral-small-latest", "mistral_ai", "mistral", "mistral-small-latest", "exact id"),
    ("grok-4", "x_ai", "x-ai", "grok-4-0709", "alias"),
    ("llama3-8b-8192", None, "groq", "llama3-8b-8192", "offered by groq alone"),
    ("GPT-4.1 mini", None, "openai", "gpt-4.1-mini", "exact id"),
    ("Claude Haiku 3.5", None, "anthropic", "claude-3-5-haiku-latest", "alias"),
    ("omni-moderation-latest", None, "openai", "moderation", "pattern"),
    ("davinci:2023-07-21-v2", "openai", "openai", "davinci-002", "alias"),
]


@pytest.mark.parametrize(
    ("name", "given", "provider", "model", "why"), MEANT, ids=[f"{m[0]} {m[1] or ''}" for m in MEANT]
)
def test_a_name_means_a_model_and_says_why(
    catalog: Catalog, name: str, given: str | None, provider: str, model: str, why: str
) -> None:
    """Names as SDKs, gateways and clouds write them find their model, with the reason in words."""
    found = catalog.find(name, given)
    assert isinstance(found, Match), found
    assert (found.provider, found.model_id) == (provider, model)
    assert why in found.why


INVENTED = """
    claude-sonnet-9 gpt-9 gemini-99-pro claude-opus-47 gpt-4o-superduper claude-sonnet-4-5-superduper claude-opus-4-70
    gemini-2.5-pro-max o9 o5-mini grok-12 deepseek-chat-xyz my-gpt-4o claude-2.9 claude-20 gemini-3.6-flash-8b
    us.anthropic.claude-sonnet-9-v1:0 openai/gpt-99 azure/gpt-77 gpt-4o-2024-05-13x claude-haiku-4-5-1 claude gpt
"""


@pytest.mark.parametrize("name", INVENTED.split())
def test_an_invented_model_is_never_guessed(catalog: Catalog, name: str) -> None:
    """What resembles a model without being it is a miss, whatever broad rule of the data would take it."""
    found = catalog.find(name)
    assert isinstance(found, Miss), found
    assert name in found.reason


def test_a_miss_names_near_matches(catalog: Catalog) -> None:
    """The reason of a miss helps: near ids, the other provider, the several hosts, or what was not a suffix."""
    assert "did you mean 'claude-sonnet-5'" in catalog.find("claude-sonnet-9").reason
    assert "what follows is no known suffix" in catalog.find("claude-opus-4-70").reason
    assert "it is a model of openai" in catalog.find("gpt-4o", "anthropic").reason
    assert "unknown provider 'nonsense'" in catalog.find("gpt-4o", "nonsense").reason
    assert "machine of your own" in catalog.find("llama3", "ollama").reason
    assert "machine of your own" in catalog.find("ollama/llama3").reason
    assert "did you mean 'deepseek-ai/DeepSeek-V4" in catalog.find("deepseek-ai/DeepSeek-V4", "together").reason


def test_an_id_of_several_hosts_asks_for_the_provider(catalog: Catalog) -> None:
    """An open model that many hosts offer at their own prices is not priced until one is named."""
    found = catalog.find("meta-llama/llama-3.3-70b-instruct")
    assert isinstance(found, Miss)
    assert "several providers" in found.reason


def test_every_name_of_the_data_still_finds_its_model(catalog: Catalog) -> None:
    """Guarding against broad rules loses no id of the data: each finds a model within its provider."""
    missing = [
        (listed.provider, listed.model)
        for listed in catalog.models()
        if not isinstance(catalog.find(listed.model, listed.provider), Match)
    ]
    assert missing == []
