"""1,577 reduced bodies of real responses against the usage that genai-prices' extractors expect of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from farthing.pricing import Cost, price
from farthing.pricing.extract import extract
from farthing.usage import UNITS

Body = dict[str, Any]

_PROVIDERS = (
    (r"openai\.gpt", "aws"),
    (r"(anthropic|google|openai/gpt-[45]|x-ai|z-ai|mistralai|qwen/qwen3-30b)", "openrouter"),
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


def expectation(case: Body, *providers: str) -> tuple[dict[str, int], dict[str, str]] | None:
    """(usage, prices) that the extractor of the first of these providers expects; None where none reads the body."""
    by_extractor = {
        (one["provider_id"], one["api_flavor"]): (found["usage"], one)
        for found in case["extracted"]
        for one in found["extractors"]
    }
    for who in providers:
        for flavor in flavors(case["body"]):
            if (who, flavor) in by_extractor:
                return by_extractor[who, flavor]
    return None


def expected(case: Body, provider: str) -> dict[str, int]:
    """The expected usage of this provider; for hosts without an extractor of this shape that of OpenAI's."""
    found = expectation(case, provider, "openai")
    assert found is not None, case
    return found[0]


def _details(body: Body) -> dict[str, Any]:
    usage = body.get("usage", {})
    return {**(usage.get("prompt_tokens_details") or {}), **(usage.get("completion_tokens_details") or {})}


def _compaction(body: Body) -> bool:
    return any(one["type"] == "compaction" for one in body.get("usage", {}).get("iterations", []))


Rule = tuple[str, Callable[[str, Body], bool]]


def _untold_thoughts(body: Body) -> bool:
    told = [body.get("usage", {}).get(f"{which}_tokens") for which in ("prompt", "completion", "total")]
    return None not in told and "gemini" in str(body.get("model")) and told[2] > told[0] + told[1]


REASONS: tuple[Rule, ...] = (
    (
        "a compaction pass is billed and not in the message's totals (platform.claude.com, Compaction)",
        lambda unit, body: _compaction(body) and unit.startswith(("input_", "output_", "cache_")),
    ),
    (
        "Gemini's OpenAI-compatible endpoint tells thoughts in total_tokens alone; they are billed as output",
        lambda unit, body: _untold_thoughts(body) and unit in ("output_tokens", "output_reasoning_tokens"),
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


PRICED_AT = datetime(2025, 8, 1, 12, tzinfo=UTC)
"""The expected prices are those of a day before most later changes (o3's cut is in, sonnet 4.6's tiers are not)."""

PRICE_REASONS: tuple[Rule, ...] = (
    REASONS[0],
    (REASONS[1][0], lambda model, body: _untold_thoughts(body)),
    (
        "audio input of gpt-4o-audio-preview costs 40 USD a million, which the data lacks and we correct",
        lambda model, body: model.startswith("gpt-4o-audio-preview"),
    ),
    (
        "the data now says that ministral-8b's output never cost 1 USD a million",
        lambda model, body: model == "ministral-8b-latest",
    ),
    (
        "the response was served as flex, which costs half; the expectation leaves the tier out",
        lambda model, body: "flex" in json.dumps(body.get("usageMetadata")).lower(),
    ),
    (
        "a model listed without any rate is unpriced, not free",
        lambda model, body: model == "qwen-3-coder-480b",
    ),
)


def sides(cost: Cost) -> dict[str, Fraction]:
    """The cost of the input, of the output and in total, exact."""
    costs = dict.fromkeys(("input_price", "output_price", "total_price"), Fraction(0))
    for line in cost.lines:
        unit = UNITS[line.unit]
        costs["total_price"] += line.usd
        if unit.family == "tokens":
            costs[f"{dict(unit.dimensions)['direction']}_price"] += line.usd
    return costs


@pytest.mark.filterwarnings("ignore:no price")
def test_every_priced_body_costs_what_is_expected_or_a_reasoned_difference(
    cases: list[Body], capsys: pytest.CaptureFixture[str]
) -> None:
    """From body to price: input, output and total are the expected dollars exactly, or differ for a listed reason."""
    equal, differences, unexplained = 0, Counter[str](), []
    for case in cases:
        body = case["body"]
        provider = true_provider(body)
        found, prices = extract(body, provider=provider), expectation(case, provider)
        listed = {side: usd for side, usd in (prices or ({}, {}))[1].items() if side.endswith("_price")}
        if not listed or found.model is None or found.usage is None:
            continue
        cost = price(found.model, found.usage, provider=provider, at=PRICED_AT, context=found.context)
        ours = sides(cost)
        if cost.pico is not None and all(ours[side] == Fraction(usd) for side, usd in listed.items()):
            assert cost.status in ("priced", "free"), (cost.status, cost.reasons, body)
            equal += 1
            continue
        unit = "input_tokens" if _compaction(body) else found.model
        reason = next((text for text, holds in PRICE_REASONS if holds(unit, body)), None)
        if reason is None:
            unexplained.append((found.model, provider, listed, ours, cost.reasons))
        else:
            differences[reason] += 1
    with capsys.disabled():
        print(f"\n{equal} bodies cost what is expected")
        for reason, count in differences.most_common():
            print(f"  {count:4} differ: {reason}")
    assert not unexplained, unexplained[:5]
    assert set(differences) == {reason for reason, _ in PRICE_REASONS}
    assert equal > 1200
