"""Names of providers and models, as people, gateways and SDKs write them, taken apart.

`provider_of` answers which provider of the price data a name means; `readings` lists what a model name may mean, the
plainest reading first, each with the reason in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from farthing.pricing.overlay import table
from farthing.pricing.source import Clause, ProviderData

_REGIONS = "us|eu|apac|global|au|jp|in|ca|sa|me|af|us-gov|regional"
_VENDORS = (
    "anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|google|nvidia|moonshotai|moonshot|zai|writer|minimax"
    "|twelvelabs|stability|luma"
)
_BEDROCK = re.compile(rf"(?:(?:{_REGIONS})\.)?(?:{_VENDORS})\.[a-z]")
_LEADING = re.compile(rf"(?:.*[/])?(?:(?:{_REGIONS})\.)?(?:(?:{_VENDORS})\.)?(?:c4ai-)?")
_WORD = (
    r"latest|default|stable|preview|exp|experimental|beta|alpha|thinking|reasoning|non-reasoning|minimal|low|medium|high|instruct|chat|it"
    r"|extended|maas|customtools|native-audio|free|nitro|floor|online"
    r"|v\d+(?:[.:]\d+)*|0|\d{2,4}k|\d{8}|\d{6}|\d{4}-\d{2}-\d{2}|\d{4}|00\d|\d{2}-\d{2}|\d{2}-\d{4}"
)
_TRAILING = re.compile(rf"(?:[-@:._]+(?:{_WORD}))*(?::\d+)?")
_UNFINISHED = re.compile(r"[-@.](?:\d+(?:-\d\d)?)?-?$")
_SIZED = re.compile(r"-?\d*[ex]?\d+(?:\.\d+)?b(?:-[a-z]\d+b)?")
_DATES = (
    re.compile(r"[-@:](20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?=$|-v\d)"),
    re.compile(r"@\d{3,8}$"),
)
_ARN = re.compile(r"arn:aws[a-z-]*:(?:bedrock|sagemaker):([a-z0-9-]*):\d*:(?:[a-z-]+/)?(.+)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model name may mean: a name, perhaps the provider it tells, and why."""

    name: str
    provider: str | None
    why: str


@lru_cache(maxsize=1)
def known_names() -> Mapping[str, str]:
    """alias, or the id itself -> provider id."""
    listed = table("providers.json")["aliases"]
    return {alias: provider for provider, aliases in listed.items() for alias in (provider, *aliases)}


@lru_cache(maxsize=4)
def names_in(group: str) -> tuple[str, ...]:
    """The names of a group of providers: gateways, local, first_party."""
    return tuple(table("providers.json")[group])


def provider_id(name: str) -> str:
    """The id that an alias of ours means; any other name as it is."""
    return known_names().get(str(name).strip().lower(), name)


def provider_of(name: str, providers: Mapping[str, ProviderData]) -> str | None:
    """The id of the provider this name means: an id, an alias, a host, a URL. None: not known."""
    key = name.lower().strip()
    if key in providers:
        return key
    host = re.sub(r"^[a-z]+://", "", key).split("/")[0].split(":")[0]
    for text in (key, key.replace(" ", "-"), key.replace(" ", "_"), host):
        if (found := known_names().get(text)) in providers:
            return found
        if text in providers:
            return text
    if "." in host and re.fullmatch(r"[a-z0-9.-]+", host):
        for provider in providers.values():
            if provider.api_pattern and re.match(provider.api_pattern, f"https://{host}/"):
                return provider.id
        return None
    for provider in providers.values():
        if provider.name.lower() == key:
            return provider.id
    return None


def readings(model: str, providers: Mapping[str, ProviderData]) -> Iterator[Reading]:
    """What the name may mean, the plainest first."""
    name = re.sub(r"\s+", "-", model.strip().lower())
    yield Reading(name, None, "")
    if arn := _ARN.fullmatch(name):
        name = arn[2].rsplit("/", 1)[-1]
        yield Reading(name, "aws", f"the model of an AWS ARN in {arn[1] or 'no region'}")
    provider: str | None = None
    why = ""
    while "/" in name:
        prefix, rest = name.split("/", 1)
        if prefix in ("models", "publishers", "converse", "invoke", "responses", "projects", "global") or (
            provider == "aws" and re.fullmatch(r"[a-z]{2}-[a-z-]+-\d", prefix)
        ):
            if prefix == "projects":
                rest = re.sub(r".*?publishers/", "publishers/", rest)
            if prefix == "publishers" and "/models/" in rest:
                rest = rest.split("/models/", 1)[1]
                provider = provider or "google"
            name, why = rest, f"{why}, {prefix!r} is a path" if why else f"{prefix!r} is a path"
        elif prefix in names_in("gateways"):
            name, why = rest, f"prefix '{prefix}/' names a gateway"
        elif (found := provider_of(prefix, providers)) and "." not in prefix:
            if provider in ("openrouter", "together", "groq", "fireworks"):
                break  # the maker's name is part of a host's own ids
            provider = provider or found
            name, why = rest, f"prefix '{prefix}/' names the provider"
        else:
            break
        yield Reading(name, provider, why)
    if ":" in name and (found := provider_of(name.split(":", 1)[0], providers)) and not provider:
        prefix, name = name.split(":", 1)
        provider, why = found, f"prefix '{prefix}:' names the provider"
        yield Reading(name, provider, why)
    yield from _without_suffixes(name, provider, why)
    if provider:  # a host's own ids may begin with the maker's name
        yield from _without_suffixes(re.sub(r"\s+", "-", model.strip().lower()), None, "")


def _without_suffixes(name: str, provider: str | None, why: str) -> Iterator[Reading]:
    def reading(text: str, change: str) -> Reading:
        return Reading(text, provider, f"{why}, {change}" if why else change)

    for pattern in _DATES:
        if found := pattern.search(name):
            if found.lastindex:
                dashed = f"{name[: found.start()]}-{found[1]}-{found[2]}-{found[3]}{name[found.end() :]}"
                compact = f"{name[: found.start()]}-{found[1]}{found[2]}{found[3]}{name[found.end() :]}"
                yield reading(dashed, "date written with dashes")
                yield reading(compact, "date written without dashes")
            yield reading(name[: found.start()], f"date suffix {found[0]!r} removed")
    for suffix in ("-latest", "@latest", "@default", ":latest", ":thinking"):
        if name.endswith(suffix):
            yield reading(name.removesuffix(suffix), f"{suffix!r} removed")
    if re.search(r"\d\.\d", name):
        yield reading(re.sub(r"(?<=\d)\.(?=\d)", "-", name), "version written with a dash")


def bedrock_shaped(name: str) -> bool:
    """Whether it has the form of a Bedrock id: 'us.anthropic.claude-...', 'amazon.nova-lite-v1:0'."""
    return bool(_BEDROCK.match(name))


def clause_holds(clause: Clause, name: str) -> bool:
    """Whether a clause of the data matches the name, as the data means it."""
    kind, value = clause
    if kind == "or":
        return any(clause_holds(part, name) for part in value)
    if kind == "and":
        return all(clause_holds(part, name) for part in value)
    if kind == "regex":
        return bool(value.search(name))
    if kind == "starts_with":
        return name.startswith(str(value))
    if kind == "ends_with":
        return name.endswith(str(value))
    return name == value if kind == "equals" else value in name


def plausible(clause: Clause, name: str) -> bool:
    """Whether what a broad clause leaves over is a known kind of prefix and suffix.

    `starts_with: claude-opus-4-5` is meant for its dated snapshots, not for an invented 'claude-opus-4-5-superduper':
    what is left must be a date, a version, a region, or a word such as '-latest' or ':thinking'.
    """
    kind, value = clause
    if kind == "or":
        return any(clause_holds(part, name) and plausible(part, name) for part in value)
    if kind == "and":
        return all(plausible(part, name) for part in value if part[0] != "regex")
    if kind == "equals":
        return True
    if kind == "regex":
        found = value.search(name)
        return bool(found) and (
            value.pattern.endswith("$") or bool(_TRAILING.fullmatch(name[found.end() :].lstrip("0123456789")))
        )
    start = name.rfind(value) if kind == "ends_with" else name.find(value)
    return bool(_LEADING.fullmatch(name[:start])) and _follows(value, name[start + len(value) :])


def _follows(text: str, rest: str) -> bool:
    """Whether `rest` is a known kind of suffix of a name that begins with `text`."""
    if not rest:
        return True
    if text.startswith("ft:") or ".ft-" in text:
        return True  # the customer's own words
    tail = ""
    if (text[-1] in "-@." or rest[0].isdigit()) and (found := _UNFINISHED.search(text)):
        tail = found[0]
    whole = tail + rest
    return bool(_TRAILING.fullmatch(whole)) or (
        text[-1] in "-@" and bool(_SIZED.match(rest)) and bool(_TRAILING.fullmatch(_SIZED.sub("", rest, count=1)))
    )
