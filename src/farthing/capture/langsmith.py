"""LangSmith gets our exact costs, and a project's runs are read from it.

    run_tree.set(usage_metadata=farthing.capture.langsmith.usage_metadata(event))

Its counts are inclusive totals with details. The API is that of `client.runs.query_v2`.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from farthing.capture.counts import mapping, of_langchain
from farthing.capture.foreign import run_key, who_of
from farthing.capture.history import LostPlace, Page, Repeats, Window, iso, moment_us
from farthing.capture.http_json import JsonApi, Reply
from farthing.capture.langfuse import EVENT_ID, cost_details
from farthing.capture.logs.values import Problem
from farthing.errors import FarthingError, InputError
from farthing.event import NO_MODEL, Attribution, Event
from farthing.pricing.extract.origin import resolve
from farthing.pricing.extract.result import dollars
from farthing.recording import Call
from farthing.tracker import CostTracker

DEFAULT_URL = "https://api.smith.langchain.com"
QUERY, SESSIONS = "/api/v2/runs/query", "/api/v1/sessions"
TYPES = ("LLM", "EMBEDDING")
SELECTS = (
    *("ID", "NAME", "RUN_TYPE", "STATUS", "START_TIME", "ERROR", "METADATA", "TAGS", "TRACE_ID", "THREAD_ID"),
    *("PARENT_RUN_IDS", "PROJECT_ID", "PROMPT_TOKENS", "COMPLETION_TOKENS", "TOTAL_TOKENS", "TOTAL_COST"),
    *("PROMPT_TOKEN_DETAILS", "COMPLETION_TOKEN_DETAILS"),
)
"""Without them only ids come; inputs and outputs are not among them."""
PAGE_SIZE = 500
BEGINNING = "2000-01-01T00:00:00Z"
"""Without a beginning the server reads the last day only."""

_DETAILS = {
    "cache_read": "cache_read_tokens",
    "cache_creation": "cache_write_tokens",
    "ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
    "audio": "input_audio_tokens",
}


def usage_metadata(event: Event, tracker: CostTracker | None = None) -> dict[str, Any]:
    """The event's tokens and costs as LangSmith takes them, for `run_tree.set(usage_metadata=...)` or an output's key
    `usage_metadata`. Costs are left out where no price is known."""
    usage = event.usage
    said: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if inside := {name: int(usage.get(unit)) for name, unit in _DETAILS.items() if usage.get(unit)}:
        said["input_token_details"] = inside
    outside = {"reasoning": "output_reasoning_tokens", "audio": "output_audio_tokens"}
    if outside_said := {name: int(usage.get(unit)) for name, unit in outside.items() if usage.get(unit)}:
        said["output_token_details"] = outside_said
    for side, usd in cost_details(event, tracker).items():
        if side in ("input", "output", "total"):
            said[f"{side}_cost"] = usd
    return said


def attach(run_tree: Any, event: Event, *, tracker: CostTracker | None = None) -> None:
    """Sets the event's counts, costs and id on a run tree of LangSmith's: reading it back then adds nothing."""
    run_tree.set(usage_metadata=usage_metadata(event, tracker), metadata={EVENT_ID: event.id})


class LangSmithHistory:
    """A tracing project, by its name or id."""

    name = "langsmith"

    def __init__(
        self,
        url: str,
        api_key: str,
        project: str,
        *,
        workspace: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        headers = {"X-API-Key": api_key} | ({"X-Tenant-Id": workspace} if workspace else {})
        base = url.rstrip("/").removesuffix("/v1").removesuffix("/api")
        self._api = JsonApi(base, headers, sleep=sleep)
        self._project = project
        self.identity = f"{self._api.base} {workspace or ''} {project}"
        self._repeats = Repeats()

    def pages(self, window: Window) -> Iterator[Page]:
        """The pages of a window, by cursor."""
        project = self._project_id()
        place = dict(window.place or {})
        for number in range(int(place.get("type", 0)), len(TYPES)):
            cursor = place.get("cursor") if number == int(place.get("type", 0)) else None
            while True:
                body = mapping(self._ask(project, window, number, cursor).checked())
                following = body.get("next_cursor")
                if following is not None and following == cursor:
                    raise InputError(f"{self._api.base}{QUERY}: answers with the same cursor again and again")
                cursor = following
                yield self._page(body, _place(number, cursor))
                if not cursor:
                    break

    def _project_id(self) -> str:
        try:
            return str(uuid.UUID(self._project))
        except ValueError:
            pass
        reply = self._api.get(SESSIONS, name=self._project, limit=1)
        for row in reply.checked():
            if mapping(row).get("name") == self._project and mapping(row).get("id"):
                return str(row["id"])
        raise InputError(f"LangSmith has no project {self._project!r} for this key; name one with --project")

    def _ask(self, project: str, window: Window, number: int, cursor: Any) -> Reply:
        asked = {
            "project_ids": [project],
            "run_type": TYPES[number],
            "selects": list(SELECTS),
            "page_size": PAGE_SIZE,
            "min_start_time": BEGINNING if window.since_us is None else iso(window.since_us),
            "max_start_time": iso(window.until_us),
        }
        reply = self._api.post(QUERY, asked | ({"cursor": cursor} if cursor else {}))
        if reply.status in (400, 410, 422) and cursor and window.place and cursor == window.place.get("cursor"):
            raise LostPlace(f"{reply.url}: does not know the place any more where the last import broke off")
        return reply

    def _page(self, body: Mapping[str, Any], place: Mapping[str, Any] | None) -> Page:
        rows = body.get("items") or []
        calls: list[Call] = []
        problems: list[Problem] = []
        skipped: Counter[str] = Counter()
        for row in rows:
            try:
                call = call_of_run(mapping(row))
            except FarthingError as bad:
                problems.append(Problem(f"run {mapping(row).get('id')}", 0, str(bad)))
                continue
            parents = row.get("parent_run_ids") or [None]
            if row.get("status") == "PENDING" and call.usage is None:
                skipped["a run that has not ended"] += 1
            elif call.usage is not None and self._repeats.is_one(str(row["id"]), parents[-1]):
                skipped["a model's run inside another, which repeats it"] += 1
            else:
                calls.append(call)
        return Page(calls=tuple(calls), read=len(rows), place=place, skipped=skipped, problems=tuple(problems))


def _place(number: int, cursor: Any) -> dict[str, Any] | None:
    if cursor:
        return {"type": number, "cursor": cursor}
    return {"type": number + 1} if number + 1 < len(TYPES) else None


def call_of_run(run: Mapping[str, Any]) -> Call:
    """The call that a run tells of. Without an id or a time: InputError."""
    at_us = moment_us(run.get("start_time"))
    identity = run.get("id")
    if at_us is None or not isinstance(identity, str) or not identity:
        raise InputError(f"a run needs an id and a start_time, not {identity!r} and {run.get('start_time')!r}")
    metadata = mapping(run.get("metadata")) or mapping(mapping(run.get("extra")).get("metadata"))
    totals = {
        "input_tokens": run.get("prompt_tokens"),
        "output_tokens": run.get("completion_tokens"),
        "total_tokens": run.get("total_tokens"),
    }
    usage, status = of_langchain(totals, _raw(run, "prompt_token_details"), _raw(run, "completion_token_details"))
    cost = dollars(run.get("total_cost"))
    if usage is None and cost == 0:
        cost = None  # nobody knew what it used
    error = run.get("error")
    failed = bool(error) or run.get("status") == "ERROR"
    event_id = metadata.get(EVENT_ID)
    event_id = event_id if isinstance(event_id, str) and len(event_id) == 36 else None
    provider = metadata.get("ls_provider")
    said = {"trace": run.get("trace_id"), "session": run.get("thread_id"), "step": run.get("name")}
    told = {name: value for name, value in metadata.items() if name != EVENT_ID}
    tags = run.get("tags")
    who = {name: str(value) for name, value in said.items() if value} | who_of(
        told, tags if isinstance(tags, list) else None
    )
    return Call(
        model=str(metadata.get("ls_model_name") or NO_MODEL),
        usage=usage,
        attribution=Attribution(**who),
        provider=resolve(provider, "") if isinstance(provider, str) else None,
        operation="embeddings" if run.get("run_type") == "EMBEDDING" else "chat",
        at_us=at_us,
        reported_usd=cost,
        usage_status=status if usage is not None else "reported",
        usage_reason="LangSmith knows no usage" if usage is None else None,
        event_id=event_id,
        dedupe_key=None if event_id else run_key(identity),
        billed=not (failed and usage is None and cost is None),
        error=str(error or "error")[:500] if failed else None,
        source="import:langsmith",
    )


def _raw(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = mapping(run.get(name))
    return mapping(details["raw"]) if "raw" in details else details
