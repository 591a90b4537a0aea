"""`FarthingCallbackHandler`: every call that LangChain and LangGraph make, whatever model, sync, async or streaming.

    chain.invoke(question, config={"callbacks": [FarthingCallbackHandler()]})

What our transport meters as well counts once. LangChain's metadata and tags become attribution: `thread_id` is the
session, an agent's name the agent, `langgraph_node` the step; fields of ours in the metadata are taken as they are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from farthing import scopes
from farthing.capture import process
from farthing.capture.counts import mapping, of_langchain, of_openai
from farthing.capture.faults import guarded
from farthing.capture.foreign import Sightings, priced, run_key, who_of
from farthing.capture.otel_spans import tier_context
from farthing.event import NO_MODEL, Attribution, now_us
from farthing.pricing.extract.origin import resolve
from farthing.recording import Call
from farthing.tracker import CostTracker
from farthing.usage import Usage

SOURCE = "langchain"
REMEMBERED = 10_000
"""Runs under way that are remembered; the oldest is let go first."""


@dataclass(slots=True)
class _Run:
    """A run under way: where it is in its tree, and of a model's run when it began, where, and for whom."""

    parent: UUID | None
    name: str | None = None
    at_us: int = 0
    frame: scopes.Frame | None = None
    model: str | None = None
    provider: str | None = None
    who: dict[str, Any] = field(default_factory=dict)


class FarthingCallbackHandler(BaseCallbackHandler):  # type: ignore[misc]
    """Records each model call of the chains it is given to.

    tracker: where; None: the process-wide one. attribution: fields of `Attribution` for all its calls.
    """

    run_inline = True
    """On an event loop too it is called in the run's own context, so that blocks around it are seen."""

    def __init__(self, tracker: CostTracker | None = None, **attribution: Any) -> None:
        super().__init__()
        self._tracker = tracker or process.tracker()
        self._given = attribution
        self._tracker.attributed(dict(attribution))  # unknown names are told here
        self._lock = threading.Lock()
        self._runs: OrderedDict[UUID, _Run] = OrderedDict()
        self._sightings = Sightings(self._tracker, SOURCE)

    def close(self) -> None:
        """Lets go of the tracker."""
        self._sightings.stop()

    # --- runs --------------------------------------------------------------------------------------------------------

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **more: Any) -> None:
        """A chain begins: it is the parent of what it calls."""
        guarded("noting a chain", self._begin, run_id, more)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """A chain ended."""
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A chain failed."""
        self._end(run_id)

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, **more: Any) -> None:
        """A tool begins: models may be called in it."""
        guarded("noting a tool", self._begin, run_id, more)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool ended."""
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool failed."""
        self._end(run_id)

    def on_llm_start(self, serialized: Any, prompts: list[str], *, run_id: UUID, **more: Any) -> None:
        """A call of a completion model goes out."""
        guarded("noting a call", self._begin, run_id, more)

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **more: Any) -> None:
        """A call of a chat model goes out."""
        guarded("noting a call", self._begin, run_id, more)

    def on_llm_end(self, response: Any, *, run_id: UUID, **more: Any) -> None:
        """A call was answered: what it used is recorded, once for each response in it."""
        guarded("recording a call of LangChain", self._answered, response, run_id, more, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """A call failed; what was streamed until then is recorded."""
        guarded("recording a failed call of LangChain", self._answered, more.get("response"), run_id, more, error)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, run_id: UUID, more: Mapping[str, Any]) -> None:
        metadata = more.get("metadata") or {}
        asked = more.get("invocation_params") or {}
        frame = scopes.here()
        run = _Run(
            parent=more.get("parent_run_id"),
            name=more.get("name"),
            at_us=now_us(),
            frame=frame,
            model=metadata.get("ls_model_name") or asked.get("model") or asked.get("model_name"),
            provider=metadata.get("ls_provider"),
            who=who_of(metadata, more.get("tags")),
        )
        with self._lock:
            self._runs[run_id] = run
            if len(self._runs) > REMEMBERED:
                self._runs.popitem(last=False)

    def _end(self, run_id: UUID) -> None:
        with self._lock:
            self._runs.pop(run_id, None)

    def _answered(self, response: Any, run_id: UUID, more: Mapping[str, Any], error: BaseException | None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None) or _Run(more.get("parent_run_id"), at_us=now_us(), frame=scopes.here())
            root, above = self._root(run_id, run)
        who = {"trace": str(root), "name": above, **run.who, **self._given}
        attribution = self._tracker.attributed({k: v for k, v in who.items() if v is not None}, run.frame)
        for number, call in enumerate(_calls(response, run, attribution, error)):
            key = None if call.response_id else f"{run_key(run_id)}#{number}" if number else run_key(run_id)
            self._sightings.settle(call, now_us(), partial(self._record, call, key, run.frame))

    def _record(self, call: Call, key: str | None, frame: scopes.Frame | None) -> None:
        call = replace(call, dedupe_key=key, recorder=self._tracker.recorder)
        self._tracker.keep([priced(self._tracker.catalog, call)], frame, may_be_known=True)

    def _root(self, run_id: UUID, run: _Run) -> tuple[UUID, str | None]:
        """(the id of the outermost run around, its name). What lies above the runs we were told of is its trace."""
        name = run.name
        for _ in range(1_000):  # a circle of parents would be a fault of somebody's
            if run.parent is None or (above := self._runs.get(run.parent)) is None:
                return run.parent or run_id, name
            run_id, run, name = run.parent, above, above.name
        return run_id, name


def _calls(response: Any, run: _Run, who: Attribution, error: BaseException | None) -> Iterator[Call]:
    """The calls of one run: one for each response in it. Candidates of one response repeat its usage."""
    output = mapping(getattr(response, "llm_output", None))
    seen: set[Any] = set()
    found = [_read(one, output) for many in getattr(response, "generations", None) or () for one in many]
    for said in found or [_Said()]:
        same = said.response_id or (said.usage, said.model)
        if same in seen or (said.usage is None and seen):
            continue
        seen.add(same)
        usage, status = (said.usage, said.status) if said.usage else _of_output(output)
        model = said.model or output.get("model_name") or output.get("model") or run.model
        failed = error is not None and usage is None
        yield Call(
            model=str(model or NO_MODEL),
            usage=usage,
            attribution=who,
            provider=resolve(said.provider or run.provider, ""),
            requested_model=run.model if run.model not in (None, model) else None,
            at_us=run.at_us,
            context=tier_context(said.tier),
            usage_status="partial" if error is not None and usage is not None else status,
            usage_reason="LangChain tells no usage" if usage is None else None,
            response_id=None if said.cached else said.response_id,
            billed=not failed,
            cache_hit=said.cached,
            error=None if error is None else f"{type(error).__name__}: {error}",
            source=SOURCE,
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """What one generation says."""

    usage: Usage | None = None
    status: str = "reported"
    model: str | None = None
    provider: str | None = None
    response_id: str | None = None
    tier: str = ""
    cached: bool = False


def _read(generation: Any, output: Mapping[str, Any]) -> _Said:
    message = getattr(generation, "message", None)
    told = mapping(getattr(message, "response_metadata", None)) or mapping(getattr(generation, "generation_info", None))
    metadata = getattr(message, "usage_metadata", None)
    usage, status = of_langchain(metadata) if metadata else (None, "reported")
    if usage is None:
        usage, status = of_openai(mapping(told.get("token_usage") or told.get("usage")))
    names = (told.get("id"), getattr(message, "id", None), output.get("id"))
    ids = [str(name) for name in names if name and not str(name).startswith(("run-", "lc_"))]
    model = told.get("model_name") or told.get("model") or told.get("model_id")
    tier = told.get("service_tier") or mapping(told.get("usage")).get("service_tier") or ""
    return _Said(
        usage=usage,
        status=status,
        model=str(model) if model else None,
        provider=told.get("model_provider"),
        response_id=ids[0] if ids else None,
        tier=str(tier),
        cached=metadata is not None and mapping(metadata).get("total_cost") == 0,
    )


def _of_output(output: Mapping[str, Any]) -> tuple[Usage | None, str]:
    usage, status = of_openai(mapping(output.get("token_usage") or output.get("usage")))
    return usage, status if usage is not None else "reported"
