"""1,577 reduced bodies of real responses against the usage that genai-prices' extractors expect of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.pricing.extract import extract

Body = dict[str, Any]

_PROVIDERS = (
    (r"openai\.gpt", "aws"),
    (r"(anthropic|google|openai/gpt-[45o]|x-ai|z-ai|mistralai|qwen/qwen3-30b)", "openrouter"),
    (r"(deepseek-ai|Qwen|meta-llama/Llama)", "huggingface_together"),
    (r"(gpt-oss-120b|llama-3\.3-70b$|qwen-3-coder|zai-glm)", "cerebras"),
    (r"(openai/gpt-oss|meta-llama/llama|qwen/qwen3-32b|groq/|llama-3\.3-70b-|llama3-8b|deepseek-r1-distill)", "groq"),
    (r"glm-", "zai"),
    (r"(mistral|magistral|ministral|pixtral)", "mistral"),
    (r"deepseek", "deepseek"),
    (r"gemini", "google"),
    (r"(gpt-oss:|qwen3:)", "ollama"),
    (r"claude", "anthropic"),
)


def true_provider(body: Body) -> str:
    """Who answered, as the recording's file and the model tell."""
    if "usageMetadata" in body:
        return "google"
    usage = body.get("usage", {})
    if "inputTokens" in usage or "bedrock_real_api" in body["file"]:
        return "aws"
    if "billed_units" in usage or "meta" in body:
        return "cohere"
    if "test_azure" in body["file"]:
        return "azure"
    if "test_heroku" in body["file"]:
        return "heroku"
    model = body.get("model") or ""
    return next((provider for rule, provider in _PROVIDERS if re.match(rule, model)), "openai")


def flavors(body: Body) -> tuple[str, ...]:
    """The extractors' names for this body's shape, the likeliest first."""
    usage = body.get("usage", {})
    if "embedding" in str(body.get("model")) or "meta" in body:
        return ("embeddings",)
    if "prompt_tokens" in usage:
        return ("chat", "default")
    if "input_tokens_details" in usage:
        return ("responses",)
    return ("default", "anthropic")


def expected(case: Body, provider: str) -> dict[str, int]:
    """The expected usage of this provider; for hosts without an extractor of this shape that of OpenAI's."""
    by_extractor = {
        (one["provider_id"], one["api_flavor"]): found["usage"]
        for found in case["extracted"]
        for one in found["extractors"]
    }
    for who in (provider, "openai"):
        for flavor in flavors(case["body"]):
            if (who, flavor) in by_extractor:
                return dict(by_extractor[who, flavor])
    raise AssertionError(f"no expectation for {provider} {case['body']}")


def _details(body: Body) -> dict[str, Any]:
    usage = body.get("usage", {})
    return {**(usage.get("prompt_tokens_details") or {}), **(usage.get("completion_tokens_details") or {})}


def _compaction(body: Body) -> bool:
    return any(one["type"] == "compaction" for one in body.get("usage", {}).get("iterations", []))


Rule = tuple[str, Callable[[str, Body], bool]]
REASONS: tuple[Rule, ...] = (
    (
        "a compaction pass is billed and not in the message's totals (platform.claude.com, Compaction)",
        lambda unit, body: _compaction(body) and unit.startswith(("input_", "output_", "cache_")),
    ),
    (
        "the lifetime of a cache write is in the body; it changes the rate",
        lambda unit, body: re.fullmatch(r"cache_write_(5m|1h)_tokens", unit) is not None,
    ),
    (
        "web fetches are counted apart; Anthropic charges no fee for them",
        lambda unit, body: unit == "web_fetches" and "web_fetch_requests" in str(body),
    ),
    (
        "the body tells image and video tokens",
        lambda unit, body: (
            unit in ("input_video_tokens", "output_image_tokens", "input_image_tokens")
            and any(_details(body).get(f"{kind}_tokens") for kind in ("image", "video"))
        ),
    ),
    (
        "embeddings spell it promptTokenDetails",
        lambda unit, body: unit == "input_text_tokens" and "promptTokenDetails" in body.get("usageMetadata", {}),
    ),
)


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[Body]:
    return json.loads((shared / "realdata" / "genai-prices" / "usages.json").read_text())  # type: ignore[no-any-return]


def test_every_body_gives_the_expected_usage_or_a_reasoned_difference(
    cases: list[Body], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each body yields exactly what its provider's extractor expects; what differs differs for a listed reason."""
    differences: Counter[str] = Counter()
    unexplained = []
    equal = 0
    for case in cases:
        body = case["body"]
        provider = true_provider(body)
        found = extract(body, provider=provider)
        assert found.usage is not None, body
        assert not found.usage.problems, (found.usage.problems, body)
        ours, theirs = found.usage.to_dict(), expected(case, provider)
        units = {unit for unit in {*ours, *theirs} if ours.get(unit, 0) != theirs.get(unit, 0)}
        reasons = set()
        for unit in units:
            reason = next((text for text, holds in REASONS if holds(unit, body)), None)
            if reason is None:
                unexplained.append((unit, ours.get(unit), theirs.get(unit), provider, body))
            else:
                reasons.add(reason)
        differences.update(reasons)
        equal += not units
    with capsys.disabled():
        print(f"\n{len(cases)} bodies: {equal} equal")
        for reason, count in differences.most_common():
            print(f"  {count:4} differ: {reason}")
    assert not unexplained, unexplained[:5]
    assert set(differences) == {reason for reason, _ in REASONS}, "a reason that explains nothing is to be taken out"
    assert len(cases) > 1500 and equal / len(cases) > 0.95


def test_the_same_bodies_as_text_and_without_a_provider_give_the_same_counts(cases: list[Body]) -> None:
    """Neither the form of the body nor the hint changes what is counted."""
    for case in cases:
        body = case["body"]
        known = extract(body, provider=true_provider(body))
        assert extract(json.dumps(body)).usage == known.usage, body
        assert extract(json.dumps(body).encode()).usage == known.usage, body


def test_models_come_out_as_the_body_names_them(cases: list[Body]) -> None:
    """The model is the body's, of Gemini its version."""
    for case in cases:
        body = case["body"]
        named = body.get("model") or body.get("modelVersion")
        assert extract(body).model == (named and named.removeprefix("models/")), body
