"""What a span of any instrumentation says about a call: attributes in, `SpanFacts` out. Pure: no span, no SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from farthing.capture import otel_names as names
from farthing.capture.counts import inclusive, mapping, of_langchain, of_langfuse, parsed, whole
from farthing.event import EMPTY, Attribution
from farthing.pricing.extract.origin import resolve
from farthing.pricing.extract.result import ORDINARY_TIERS, dollars
from farthing.pricing.names import known_names
from farthing.usage import Usage

MAX_TEXT = 512
MAX_METADATA = 32

Kind = Literal["call", "frame", "other"]

_TELLING = frozenset(
    {name for attributes in names.COUNTS.values() for name in attributes}
    | {*names.TOTAL, *names.OPERATION, *names.KIND, *names.LANGSMITH_DETAILS}
    | {names.VERCEL_OPERATION, names.LANGFUSE_USAGE, names.LANGSMITH_USAGE, names.EVENT_ID}
)
"""A span that has none of these has nothing to do with models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFacts:
    """One span, read.

    kind          call: one request to a model; frame: an agent, a chain, a tool around others, whose usage, where it
                  has any, repeats theirs; other: it has nothing to do with models
    usage         inclusive counts; None where it tells none. usage_status as of an event
    reported_usd  what the instrumentation thinks it cost
    event_id      the event that this span shows: it came from a ledger of ours
    opens_stream  unless it failed, what the call used stands in a span of its own, made when the stream has ended
    """

    kind: Kind
    model: str | None = None
    requested_model: str | None = None
    provider: str | None = None
    operation: str = "chat"
    response_id: str | None = None
    usage: Usage | None = None
    usage_status: str = "reported"
    reported_usd: Any = None
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    attribution: Attribution = field(default_factory=Attribution)
    event_id: str | None = None
    opens_stream: bool = False


def read_span(attributes: Mapping[str, Any] | None, name: str = "") -> SpanFacts:
    """What the attributes say; `name` is the span's. Values may be as OTLP/JSON has them: int64 as text."""
    said = dict(attributes or ())
    if said.keys().isdisjoint(_TELLING) or said.get(names.LOGFIRE_TYPE) == "pending_span":
        return SpanFacts(kind="other")
    kind, operation = _kind(said)
    usage, status = _usage(said)
    cost = _cost(said)
    if kind is None:
        kind = "call" if usage is not None else "other"
    if kind == "other":
        return SpanFacts(kind="other")
    model = _text(said, names.RESPONSE_MODEL)
    requested = _text(said, names.REQUEST_MODEL)
    return SpanFacts(
        kind=kind,
        model=model or requested,
        requested_model=requested if model else None,
        provider=_provider(said),
        operation=operation,
        response_id=_text(said, names.RESPONSE_ID) or _id_in_output(said.get(names.OUTPUT_VALUE)),
        usage=usage,
        usage_status=status,
        reported_usd=cost,
        context=tier_context(_text(said, names.TIER)),
        attribution=_attribution(said),
        event_id=_text(said, (names.EVENT_ID,)),
        opens_stream=usage is None and names.LOGFIRE_REQUEST in said and said.keys().isdisjoint(names.LOGFIRE_ANSWER),
    )


def _kind(said: Mapping[str, Any]) -> tuple[Kind | None, str]:
    """(kind, operation); None where only the counts can tell."""
    operation = (_text(said, names.OPERATION) or "").lower()
    operation = names.OPERATIONS.get(operation, operation)
    vercel = _text(said, (names.VERCEL_OPERATION,))
    if vercel:
        is_call = vercel.endswith(names.VERCEL_CALL)
        found = operation or ("embeddings" if "mbed" in vercel else "chat")
        return ("call" if is_call else "frame"), found if is_call else "invoke_agent"
    if operation in names.FRAMES:
        return "frame", operation
    kind = _text(said, names.KIND)
    if kind is not None:
        as_call = names.CALL_KINDS.get(kind.lower())
        if as_call is not None:
            return "call", operation or as_call
        return "frame", operation or "invoke_agent"
    return ("call", operation) if operation else (None, "chat")


def _usage(said: Mapping[str, Any]) -> tuple[Usage | None, str]:
    if names.LANGFUSE_USAGE in said:
        usage, status = of_langfuse(said[names.LANGFUSE_USAGE])
        if usage is not None:
            return usage, status
    if names.LANGSMITH_USAGE in said:
        usage, status = of_langchain(said[names.LANGSMITH_USAGE])
        if usage is not None:
            return usage, status
    counts = {unit: n for unit, attributes in names.COUNTS.items() if (n := _count(said, attributes)) is not None}
    total = _count(said, names.TOTAL)
    into, out = (mapping(said.get(name)) for name in names.LANGSMITH_DETAILS)
    if into or out:
        return of_langchain({**counts, "total_tokens": total}, into, out)
    if "cache_write_tokens" not in counts and names.VERCEL_PROVIDER_METADATA in said:
        of_anthropic = mapping(mapping(said[names.VERCEL_PROVIDER_METADATA]).get("anthropic"))
        if (written := whole(of_anthropic.get("cacheCreationInputTokens"))) is not None:
            counts["cache_write_tokens"] = written
    return inclusive(counts, total)


def _cost(said: Mapping[str, Any]) -> Any:
    """US dollars as another tool worked them out, exactly as they print; None where it did not, or not in dollars."""
    if str(said.get("gen_ai.usage.cost.currency") or "USD").upper() != "USD":
        return None
    found = next((cost for name in names.COST if (cost := dollars(said.get(name))) is not None), None)
    return found if found is not None else langfuse_cost(said.get(names.LANGFUSE_COST))


def langfuse_cost(details: Any) -> Any:
    """US dollars of Langfuse's `costDetails`: its total, else the sum of its buckets; None where there is none."""
    buckets = {name: cost for name, value in mapping(details).items() if (cost := dollars(value)) is not None}
    if "total" in buckets:
        return buckets["total"]
    return sum(buckets.values()) if buckets else None


def _provider(said: Mapping[str, Any]) -> str | None:
    """The host that answered, where it is a provider's; else the provider named."""
    for name in names.HOST:
        host = said.get(name)
        if isinstance(host, str) and (known := resolve(host, "")) not in (None, host):
            return known
    given = _text(said, (*names.PROVIDER, *names.VERCEL_PROVIDER))
    if given is None:
        return None
    known = resolve(given, "")
    first = given.partition(".")[0]
    return resolve(first, "") if known == given and first in known_names() else known  # Vercel's `openai.chat`


def tier_context(tier: str | None) -> Mapping[str, str]:
    """The request context that a service tier is; nothing where it is the ordinary one."""
    plain = (tier or "").lower()
    if plain == "batch":
        return {"processing": "batch"}
    return EMPTY if plain in ORDINARY_TIERS else {"service_tier": plain}


def named(said: Mapping[str, Any]) -> dict[str, str]:
    """Whom a span names: the fields of an attribution."""
    return {name: found for name, attributes in names.ATTRIBUTION.items() if (found := _text(said, attributes))}


def _attribution(said: Mapping[str, Any]) -> Attribution:
    fields: dict[str, Any] = named(said)
    metadata: dict[str, Any] = {}
    for name in names.METADATA_OBJECTS:
        if name in said:
            for key, value in mapping(said[name]).items():
                _keep(metadata, str(key), value)
    for name, value in said.items():
        if name.startswith(names.METADATA_PREFIXES):
            prefix = next(prefix for prefix in names.METADATA_PREFIXES if name.startswith(prefix))
            if len(name) > len(prefix):
                _keep(metadata, name.removeprefix(prefix), _unquoted(value))
    tags = next((said[name] for name in names.TAGS if name in said), None)
    if isinstance(tags, str):
        tags = parsed(tags) if tags.startswith("[") else [tags]
    if isinstance(tags, Iterable):
        _keep(metadata, "tags", [str(tag)[:MAX_TEXT] for tag in tags][:MAX_METADATA])
    return Attribution(**fields, metadata=metadata) if metadata else Attribution(**fields)


def _keep(metadata: dict[str, Any], key: str, value: Any) -> None:
    """Keeps a value of metadata that is short; a bounded number of them."""
    short = not isinstance(value, str | Mapping | list | tuple) or len(str(value)) <= MAX_TEXT
    if value is not None and short and len(key) <= MAX_TEXT and (key in metadata or len(metadata) < MAX_METADATA):
        metadata[key] = list(value) if isinstance(value, tuple) else value


def _unquoted(value: Any) -> Any:
    """Langfuse writes values of metadata as JSON."""
    if isinstance(value, str) and value[:1] in ('"', "{", "["):
        found = parsed(value)
        return value if found is None else found
    return value


def _text(said: Mapping[str, Any], attributes: Iterable[str]) -> str | None:
    for name in attributes:
        if name in said:
            value = said[name]
            if isinstance(value, str) and value:
                return value[:MAX_TEXT]
    return None


def _count(said: Mapping[str, Any], attributes: Iterable[str]) -> int | None:
    for name in attributes:
        if name in said and (number := whole(said[name])) is not None:
            return number
    return None


def _id_in_output(value: Any) -> str | None:
    """The response's id where the span holds the whole response as JSON (OpenInference)."""
    if not isinstance(value, str) or not value.startswith("{") or len(value) > 1_000_000:
        return None
    found = mapping(value).get("id")
    return found[:MAX_TEXT] if isinstance(found, str) and found else None
