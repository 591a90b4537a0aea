"""Who answered: the provider's id in the price data, from a name, a host, a path, or the shape of a body."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from farthing.pricing.names import known_names

_HOSTS = (
    (r"(^|\.)api\.openai\.com$", "openai"),
    (r"\.(openai|cognitiveservices|services\.ai|models\.ai|inference\.ai)\.azure\.com$", "azure"),
    (r"(^|\.)anthropic\.com$", "anthropic"),
    (r"(^|[.-])(aiplatform|generativelanguage|cloudcode-pa)[\w.-]*\.googleapis\.com$", "google"),
    (r"(^|\.)(bedrock[\w-]*|runtime\.sagemaker)\.[\w.-]*(amazonaws\.com(\.cn)?|api\.aws)$", "aws"),
    (r"(^|\.)mistral\.ai$", "mistral"),
    (r"(^|\.)cohere\.(ai|com)$", "cohere"),
    (r"(^|\.)groq\.com$", "groq"),
    (r"(^|\.)x\.ai$", "x-ai"),
    (r"(^|\.)deepseek\.com$", "deepseek"),
    (r"(^|\.)openrouter\.ai$", "openrouter"),
    (r"(^|\.)together\.(xyz|ai)$", "together"),
    (r"(^|\.)perplexity\.ai$", "perplexity"),
    (r"(^|\.)voyageai\.com$", "voyageai"),
    (r"(^|\.)ollama\.(com|ai)$|:11434$", "ollama"),
    (r"(^|\.)writer\.com$", "writer"),
    (r"(^|\.)fireworks\.ai$", "fireworks"),
    (r"(^|\.)cerebras\.ai$", "cerebras"),
    (r"(^|\.)moonshot\.(ai|cn)$", "moonshotai"),
    (r"(^|\.)githubcopilot\.com$", "github-copilot"),
    (r"^api\.cloudflare\.com$", "cloudflare"),
    (r"databricks\.(com|net)$", "databricks"),
    (r"^router\.huggingface\.co$|(^|\.)huggingface\.(co|cloud)$", "huggingface"),
    (r"(^|\.)z\.ai$", "zai"),
    (r"(^|\.)bigmodel\.cn$", "zhipuai"),
    (r"(^|\.)minimaxi?\.(com|io)$", "minimax"),
    (r"(^|\.)novita\.ai$", "novita"),
    (r"(^|\.)elevenlabs\.io$", "elevenlabs"),
    (r"(^|\.)doubleword\.ai$", "doubleword"),
    (r"(^|\.)baseten\.co$", "baseten"),
    (r"(^|\.)arcee\.ai$", "arcee"),
)
"""Of a cloud's hosts those alone that serve models: the rest are storage, other APIs, and servers of users."""
_HOST_RULES = tuple((re.compile(rule), provider) for rule, provider in _HOSTS)

_PATHS = (
    (r"/openai/deployments/", "azure"),
    (r"^/model/[^/]+/(invoke|converse)", "aws"),
    (r"/publishers/[^/]+/models/|/v\d\w*/(models|tunedModels)/[^/]+:\w+", "google"),
    (r"/v\d\w*/(interactions|cachedContents)\b", "google"),
    (r"/v1/messages\b", "anthropic"),
    (r"^/api/(chat|generate|embed|embeddings)$", "ollama"),
    (r"^/api/v1/(chat/completions|responses|generation)", "openrouter"),
)
_PATH_RULES = tuple((re.compile(rule), provider) for rule, provider in _PATHS)


@lru_cache(maxsize=1024)
def resolve(given: str | None, path: str) -> str | None:
    """The provider that the caller named or the path belongs to; a name we do not know is kept as given."""
    if given:
        plain = given.strip().lower()
        names, dashed = known_names(), plain.replace("_", "-").replace(" ", "-")
        known = names.get(plain) or names.get(dashed) or names.get(dashed.replace("-", "_"))
        return known or _of_host(plain) or given
    host, bare = _host_and_path(path)
    if host and (known := _of_host(host.lower())):
        return known
    return next((provider for rule, provider in _PATH_RULES if rule.search(bare)), None)


def _host_and_path(url: str) -> tuple[str, str]:
    """(host with port, path) of a URL; a bare path has no host. Never raises, as urlsplit does on `[`."""
    if "://" not in url:
        return "", url.split("?", 1)[0]
    host, slash, path = url.split("://", 1)[1].partition("/")
    return host.rpartition("@")[2], slash + path.split("?", 1)[0]


def _of_host(host: str) -> str | None:
    if "://" in host:
        host = _host_and_path(host)[0]
    host = host.split("/", 1)[0]
    if "." not in host and ":" not in host:
        return None
    bare = host.rsplit(":", 1)[0] if not host.endswith(":11434") else host
    return next((provider for rule, provider in _HOST_RULES if rule.search(bare)), None)


@lru_cache(maxsize=1024)
def residency(given: str | None, path: str) -> str | None:
    """The region that OpenAI's regional hosts (`eu.api.openai.com`) keep data in; it changes the price."""
    for place in (given or "", path):
        found = _REGIONAL.search(place.lower())
        if found:
            return found[1]
    return None


_REGIONAL = re.compile(r"(?:^|/)([a-z]{2})\.api\.openai\.com")


@lru_cache(maxsize=1024)
def region(path: str) -> str | None:
    """The place whose endpoint of Vertex answered, as its URL names it: `us-east5`, `eu`, `global`."""
    found = _LOCATION.search(path)
    return found[1] if found else None


def places(given: str | None, path: str) -> dict[str, str]:
    """What host and path tell of where a call is answered, as request context: it changes the price."""
    found = {"data_residency": residency(given, path), "region": region(path)}
    return {key: place for key, place in found.items() if place}


_LOCATION = re.compile(r"/locations/(global|us|eu|[a-z]+-[a-z]+\d+)/publishers/")

_MODEL_IN_PATH = (
    re.compile(r"/model/([^/?]+)/(?:invoke|converse)"),
    re.compile(r"/(?:models|tunedModels)/([^/?:]+(?:@[^/?:]+)?):\w+"),
    re.compile(r"/deployments/([^/?]+)/"),
    re.compile(r"/realtime\?(?:[^#]*&)?model=([^&#]+)"),
)
_OPAQUE = re.compile(
    r":(application-inference-profile|provisioned-model|imported-model|custom-model|endpoint)[/:]|:sagemaker:"
)


@lru_cache(maxsize=1024)
def model_in_path(path: str) -> tuple[str | None, bool]:
    """(the model that the path names, whether it names one of the provider's own rather than a private name).

    Bedrock: `/model/<id or ARN, URL-encoded>/invoke`; an ARN's last part is the model, but for profiles and endpoints
    of one's own. Gemini and Vertex: `/models/<model>:generateContent`. Azure: the deployment, a private name.
    """
    for rule in _MODEL_IN_PATH:
        found = rule.search(path)
        if found:
            name = unquote(found[1])
            public = "/deployments/" not in path and not _OPAQUE.search(name)
            return (name.rsplit("/", 1)[-1] if name.startswith("arn:") else name) or None, public
    return None, False


_OWN_MODELS = tuple(
    (re.compile(rule), provider)
    for rule, provider in (
        (
            r"(ft:)?(gpt-|o[134](-|$)|chatgpt-|text-embedding-|text-davinci|davinci-|babbage-|codex-|computer-use)",
            "openai",
        ),
        (r"whisper-1|tts-1|dall-e|omni-moderation", "openai"),
        (r"claude-", "anthropic"),
        (r"(models/)?gemini-", "google"),
        (r"(mi|mini|magi|code|dev)stral-|pixtral-|voxtral-|open-mi[sx]tral", "mistral"),
        (r"grok-", "x-ai"),
        (r"deepseek-(chat|reasoner|v\d)", "deepseek"),
        (r"sonar($|-)", "perplexity"),
        (r"command|embed-(english|multilingual|v\d)|rerank-(english|multilingual|v\d)|c4ai-", "cohere"),
        (r"voyage-", "voyageai"),
        (r"palmyra-", "writer"),
    )
)


def by_shape(body: dict[str, Any], model: str | None) -> str | None:
    """The provider that marks its bodies so, or whose own model this is; None where several could have answered."""
    identity = body.get("id")
    if isinstance(identity, str) and identity.startswith(("msg_bdrk_", "msg_vrtx_")):
        return "aws" if identity.startswith("msg_bdrk_") else "google"
    if isinstance(identity, str) and identity.startswith("gen-") and isinstance(body.get("provider"), str):
        return "openrouter"
    if "x_groq" in body:
        return "groq"
    if "prompt_filter_results" in body:
        return "azure"
    usage = body.get("usage")
    if isinstance(usage, dict):
        if "prompt_cache_hit_tokens" in usage:
            return "deepseek"
        if "is_byok" in usage:
            return "openrouter"
        if "num_sources_used" in usage or "cost_in_usd_ticks" in usage:
            return "x-ai"
    if "modelVersion" in body or "usageMetadata" in body:
        return "google"
    if model:
        return next((provider for rule, provider in _OWN_MODELS if rule.match(model)), None)
    return None
