"""A Langfuse project's generations, read by its public API.

The observations API of version 2 with its cursor (Langfuse Cloud, self-hosted from version 4); where a server has none,
that of version 3 with pages, and its traces for who they were for. Counts are Langfuse's exclusive buckets.
"""

from __future__ import annotations

import base64
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from farthing.capture.counts import mapping, of_langfuse, parsed
from farthing.capture.foreign import span_key, who_of
from farthing.capture.history import LostPlace, Page, Repeats, Window, iso, moment_us
from farthing.capture.http_json import JsonApi, Reply
from farthing.capture.langfuse import EVENT_ID
from farthing.capture.logs.values import Problem
from farthing.capture.otel_spans import langfuse_cost
from farthing.errors import FarthingError, InputError
from farthing.event import NO_MODEL, Attribution
from farthing.pricing.extract.result import dollars
from farthing.recording import Call, usage_of
from farthing.usage import Usage

DEFAULT_URL = "https://cloud.langfuse.com"
TYPES = ("GENERATION", "EMBEDDING")
"""Observations that are calls; each is asked for in turn."""
V2, V3 = "/api/public/v2/observations", "/api/public/observations"
FIELDS = "core,basic,time,model,usage,metadata,prompt,trace_context"
V2_LIMIT, V3_LIMIT = 1_000, 100
TRACES_KEPT = 50_000
_NO_V2 = frozenset({404, 405, 501})


class LangfuseHistory:
    """The project that the keys belong to."""

    name = "langfuse"

    def __init__(
        self, url: str, public_key: str, secret_key: str, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        token = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
        self._api = JsonApi(url, {"Authorization": f"Basic {token}"}, sleep=sleep)
        self.identity = f"{self._api.base} {public_key}"
        self._repeats = Repeats()
        self._traces: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def pages(self, window: Window) -> Iterator[Page]:
        """The pages of a window: by cursor where the server has that, else by number."""
        place = dict(window.place or {})
        old = place.get("api") == "v3"
        for number, kind in enumerate(TYPES):
            if number < int(place.get("type", 0)):
                continue
            here = place if number == int(place.get("type", 0)) else {}
            if not old:
                reply = self._ask(window, kind, here)
                if reply.status in _NO_V2 and not here:
                    old = True
                else:
                    yield from self._by_cursor(window, number, reply)
                    continue
            yield from self._by_number(window, number, int(here.get("page", 1)))

    # --- version 2 ---------------------------------------------------------------------------------------------------

    def _ask(self, window: Window, kind: str, place: Mapping[str, Any]) -> Reply:
        reply = self._api.get(
            V2,
            fields=FIELDS,
            type=kind,
            limit=V2_LIMIT,
            cursor=place.get("cursor"),
            fromStartTime=None if window.since_us is None else iso(window.since_us),
            toStartTime=iso(window.until_us),
        )
        if reply.status in (400, 410, 422) and place.get("cursor"):
            raise LostPlace(f"{reply.url}: does not know the place any more where the last import broke off")
        return reply

    def _by_cursor(self, window: Window, number: int, reply: Reply) -> Iterator[Page]:
        seen = None
        while True:
            body = mapping(reply.checked())
            cursor = mapping(body.get("meta")).get("cursor")
            if cursor is not None and cursor == seen:
                raise InputError(f"{reply.url}: answers with the same cursor again and again")
            following = {"api": "v2", "type": number, "cursor": cursor} if cursor else _next_type("v2", number)
            yield self._page(body, following, self._of_row)
            if not cursor:
                return
            seen = cursor
            reply = self._ask(window, TYPES[number], {"cursor": cursor})

    # --- version 3 ---------------------------------------------------------------------------------------------------

    def _by_number(self, window: Window, number: int, page: int) -> Iterator[Page]:
        while True:
            reply = self._api.get(
                V3,
                type=TYPES[number],
                limit=V3_LIMIT,
                page=page,
                fromStartTime=None if window.since_us is None else iso(window.since_us),
                toStartTime=iso(window.until_us),
            )
            body = mapping(reply.checked())
            meta = mapping(body.get("meta"))
            last = page >= int(meta.get("totalPages") or 0) or not body.get("data")
            following = _next_type("v3", number) if last else {"api": "v3", "type": number, "page": page + 1}
            yield self._page(body, following, self._of_trace, total=meta.get("totalItems"))
            if last:
                return
            page += 1

    def _of_trace(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Who an observation is for: its trace knows. Traces are remembered."""
        trace_id = row.get("traceId")
        if not isinstance(trace_id, str):
            return {}
        known = self._traces.get(trace_id)
        if known is None:
            reply = self._api.get(f"/api/public/traces/{trace_id}", fields="core")
            known = mapping(reply.checked()) if reply.status != 404 else {}
            wanted = ("userId", "sessionId", "name", "tags", "metadata", "release", "version")
            known = self._traces[trace_id] = {name: known[name] for name in wanted if known.get(name) is not None}
            if len(self._traces) > TRACES_KEPT:
                self._traces.popitem(last=False)
        return known

    def _of_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": row.get("traceName"), "userId": row.get("userId"), "sessionId": row.get("sessionId")} | {
            "tags": row.get("tags")
        }

    # --- rows --------------------------------------------------------------------------------------------------------

    def _page(
        self,
        body: Mapping[str, Any],
        place: Mapping[str, Any] | None,
        trace_of: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        total: Any = None,
    ) -> Page:
        rows = body.get("data") or []
        calls: list[Call] = []
        problems: list[Problem] = []
        skipped: Counter[str] = Counter()
        for row in rows:
            try:
                call = call_of_observation(mapping(row), trace_of(mapping(row)))
            except FarthingError as bad:
                problems.append(Problem(f"observation {mapping(row).get('id')}", 0, str(bad)))
                continue
            if call.usage is not None and self._repeats.is_one(str(row["id"]), row.get("parentObservationId")):
                skipped["a generation inside another, which repeats it"] += 1
            else:
                calls.append(call)
        return Page(
            calls=tuple(calls),
            read=len(rows),
            place=place,
            skipped=skipped,
            problems=tuple(problems),
            total=total if isinstance(total, int) else None,
        )


def _next_type(api: str, number: int) -> dict[str, Any] | None:
    return {"api": api, "type": number + 1} if number + 1 < len(TYPES) else None


def call_of_observation(row: Mapping[str, Any], trace: Mapping[str, Any]) -> Call:
    """The call that an observation of either API tells of. Without an id or a time: InputError."""
    at_us = moment_us(row.get("startTime"))
    identity = row.get("id")
    if at_us is None or not isinstance(identity, str) or not identity:
        raise InputError(f"an observation needs an id and a startTime, not {identity!r} and {row.get('startTime')!r}")
    usage, status = _usage(row)
    cost = next((c for name in ("totalCost", "calculatedTotalCost") if (c := dollars(row.get(name))) is not None), None)
    if cost is None:
        cost = langfuse_cost(row.get("costDetails"))
    if cost == 0 and usage is None:
        cost = None  # nobody knew what it used
    failed = row.get("level") == "ERROR"
    metadata = mapping(row.get("metadata"))
    trace_id = str(row.get("traceId") or "")
    return Call(
        model=str(row.get("model") or row.get("providedModelName") or NO_MODEL),
        usage=usage,
        attribution=_attribution(row, trace, metadata),
        operation="embeddings" if row.get("type") == "EMBEDDING" else "chat",
        at_us=at_us,
        reported_usd=cost,
        usage_status=status,
        usage_reason="Langfuse knows no usage" if usage is None else None,
        event_id=_event_id(metadata),
        dedupe_key=None if _event_id(metadata) else span_key(trace_id, identity),
        billed=not (failed and usage is None and cost is None),
        error=str(row.get("statusMessage") or "error")[:500] if failed else None,
        source="import:langfuse",
    )


def _usage(row: Mapping[str, Any]) -> tuple[Usage | None, str]:
    older = mapping(row.get("usage"))
    if str(older.get("unit") or "TOKENS").upper() != "TOKENS":
        return usage_of({name: older.get(name) for name in ("input", "output", "total", "unit")})
    usage, status = of_langfuse(row.get("usageDetails"))
    if usage is None:
        usage, status = of_langfuse(older)
    return (usage, status) if usage is not None else (None, "reported")


def _attribution(row: Mapping[str, Any], trace: Mapping[str, Any], metadata: Mapping[str, Any]) -> Attribution:
    told = {
        name: parsed(value) if isinstance(value, str) and value[:1] == '"' else value
        for name, value in {**mapping(trace.get("metadata")), **metadata}.items()
        if name != EVENT_ID
    }
    environment = row.get("environment")
    said = {
        "user": trace.get("userId"),
        "session": trace.get("sessionId"),
        "trace": row.get("traceId"),
        "name": trace.get("name"),
        "step": row.get("name"),
        "prompt": row.get("promptName"),
        "environment": environment if environment != "default" else None,
    }
    tags = trace.get("tags")
    who = who_of(told, tags if isinstance(tags, list) else None)
    return Attribution(**{**who, **{name: str(value) for name, value in said.items() if value}})


def _event_id(metadata: Mapping[str, Any]) -> str | None:
    """The event that the observation shows, where we wrote it there."""
    found = metadata.get(EVENT_ID)
    found = parsed(found) if isinstance(found, str) and found[:1] == '"' else found
    return found if isinstance(found, str) and len(found) == 36 else None
