"""The specifications' own classes and functions, thinly over `CostTracker`: change the import, and their samples run.

    from langfuse import Langfuse                  ->  from farthing.classic import Langfuse
    from src.utils.cost_tracker import CostTracker ->  from farthing.classic import CostTracker

Everything recorded here lands in the ledger of the tracker behind it, like any other call.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.event import new_id
from farthing.pricing import calculate_cost
from farthing.pricing.catalog import Catalog
from farthing.recording import NO_MODEL
from farthing.running import TokenUsage
from farthing.traces import TRACE, Trace
from farthing.tracker import CostTracker
from farthing.usage import UNITS, Usage

__all__ = [
    "MODEL_PRICING",
    "PRICING",
    "CostTracker",
    "Generation",
    "Langfuse",
    "TokenCounter",
    "TokenUsage",
    "TraceHandle",
    "UsageTracker",
    "calculate_cost",
]


class PriceTable(Mapping[str, dict[str, float]]):
    """Today's prices as a table: model -> {"input", "output"} in US dollars for so many tokens.

    Any model of the catalog can be looked up; those of `names` are listed. A model without a price: KeyError.
    """

    def __init__(self, names: tuple[str, ...], tokens: int) -> None:
        self._names, self._tokens = names, tokens

    def __getitem__(self, model: str) -> dict[str, float]:
        price = Catalog.default().resolve(model)
        into = price.evaluate(Usage(input_tokens=1000))
        if into is None:
            raise KeyError(model)
        out = (
            price.evaluate(Usage(output_tokens=1000)) or 0
        )  # an embedding model gives no output, and has no price for it
        lots = 1000 * 10**12
        return {"input": into * self._tokens / lots, "output": out * self._tokens / lots}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


MODEL_PRICING = PriceTable(
    (
        "claude-3-opus",
        "claude-3-5-sonnet",
        "claude-3-5-haiku",
        "claude-3-haiku",
        "gpt-4-turbo",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-3.5-turbo",
        "text-embedding-3-large",
        "text-embedding-3-small",
        "text-embedding-ada-002",
    ),
    1_000_000,
)
"""US dollars for a million tokens."""

PRICING = PriceTable(("gpt-4", "gpt-3.5-turbo"), 1)
"""US dollars for one token."""


# --- traces and generations ----------------------------------------------------------------------------------------


class Langfuse:
    """Traces with generations whose cost is calculated. Credentials and hosts are accepted and not used."""

    def __init__(self, tracker: CostTracker | None = None, **_: Any) -> None:
        self.tracker = tracker or CostTracker()

    def trace(
        self,
        name: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
        **_: Any,
    ) -> TraceHandle:
        """A new trace. Inputs, outputs and tags are accepted and not stored."""
        who = {"trace": id or new_id(), "name": name, "user": user_id, "session": session_id, "metadata": metadata}
        handle = TraceHandle(self.tracker, {key: value for key, value in who.items() if value is not None})
        self.tracker.record(NO_MODEL, operation=TRACE, **handle.attribution)
        return handle

    def get_trace(self, trace_id: str) -> Trace:
        """The trace with its observations, their types and costs."""
        return self.tracker.trace(trace_id)

    def create_model(
        self,
        model_name: str,
        match_pattern: str | None = None,
        unit: str = "TOKENS",
        input_price: Any = None,
        output_price: Any = None,
        total_price: Any = None,
        **_: Any,
    ) -> None:
        """A price of your own: US dollars for one unit, for every model that the pattern matches."""
        self.tracker.register_model_pricing(
            model_name,
            match_pattern=match_pattern,
            unit=unit,
            input_price=input_price,
            output_price=output_price,
            total_price=total_price,
        )

    def flush(self) -> None:
        """Returns when everything is written."""
        self.tracker.flush()

    shutdown = flush


@dataclass(frozen=True, slots=True)
class TraceHandle:
    """An open trace: what is recorded through it belongs to it."""

    tracker: CostTracker
    attribution: dict[str, Any]

    @property
    def id(self) -> str:
        """What `Langfuse.get_trace` finds it by."""
        return str(self.attribution["trace"])

    @property
    def name(self) -> str | None:
        """Its name."""
        return self.attribution.get("name")

    def generation(
        self,
        name: str | None = None,
        model: str | None = None,
        usage: Usage | Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Generation:
        """A model's call, recorded at once. Input, output and parameters are accepted and not stored."""
        generation = Generation(self, name, model or NO_MODEL, dict(metadata or {}))
        generation.update(usage=usage)
        return generation

    def span(self, name: str | None = None, metadata: Mapping[str, Any] | None = None, **_: Any) -> Generation:
        """A step that uses nothing itself."""
        span = Generation(self, name, NO_MODEL, dict(metadata or {}), operation="span")
        span.update()
        return span


@dataclass(slots=True)
class Generation:
    """One recorded step of a trace. Costs are US dollars, None where no price is known."""

    trace: TraceHandle
    name: str | None
    model: str
    metadata: dict[str, Any]
    operation: str = "chat"
    id: str = field(default_factory=new_id)
    usage: Usage = field(default_factory=Usage)
    calculated_total_cost: float | None = None
    calculated_input_cost: float | None = None
    calculated_output_cost: float | None = None

    def update(self, usage: Usage | Mapping[str, Any] | None = None, model: str | None = None, **_: Any) -> Generation:
        """Records what is known now; counts that come later than the generation correct it."""
        self.model = model or self.model
        who = {**self.trace.attribution, "metadata": {**self.trace.attribution.get("metadata", {}), **self.metadata}}
        if self.name:
            who["step"] = self.name
        tracker = self.trace.tracker
        given: dict[str, Any] = {} if usage is None else {"usage": usage}
        event = tracker.record(self.model, operation=self.operation, event_id=self.id, **who, **given)
        self.usage, self.calculated_total_cost = event.usage, event.cost
        if event.price_status in ("priced", "partial"):
            lines = tracker.catalog.price(
                event.model, event.usage, provider=event.provider, at=event.at, context=event.context
            ).lines
            sides = {"input": 0.0, "output": 0.0}
            for side in sides:
                usd = sum(line.usd for line in lines if dict(UNITS[line.unit].dimensions).get("direction") == side)
                sides[side] = float(usd)
            self.calculated_input_cost, self.calculated_output_cost = sides["input"], sides["output"]
        return self

    end = update


# --- counters ------------------------------------------------------------------------------------------------------


class TokenCounter:
    """Tokens by agent and task. Several records of one task add up."""

    def __init__(self, tracker: CostTracker | None = None) -> None:
        self.tracker = tracker or CostTracker()
        self.usage: dict[str, dict[str, TokenUsage]] = defaultdict(lambda: defaultdict(TokenUsage))
        self._lock = threading.Lock()

    def record(
        self, agent_name: str, task_id: str, prompt_tokens: int, completion_tokens: int, model: str | None = None
    ) -> None:
        """Records the tokens of one call; without a model its cost is not known."""
        self.tracker.record(model or NO_MODEL, prompt_tokens, completion_tokens, agent_name, task=task_id)
        with self._lock:
            self.usage[agent_name][task_id] += TokenUsage(
                prompt_tokens, completion_tokens, prompt_tokens + completion_tokens
            )

    def agent_total(self, agent_name: str) -> TokenUsage:
        """All tokens of an agent."""
        with self._lock:
            return sum(self.usage.get(agent_name, {}).values(), TokenUsage())

    def task_cost(self, agent_name: str, task_id: str, input_rate: float, output_rate: float) -> float:
        """US dollars of a task at rates per million tokens; 0.0 where it is not known."""
        with self._lock:
            used = self.usage.get(agent_name, {}).get(task_id, TokenUsage())
        return used.prompt_tokens * input_rate / 1_000_000 + used.completion_tokens * output_rate / 1_000_000

    def top_agents(self, n: int = 10) -> list[tuple[str, TokenUsage]]:
        """The n agents that used the most tokens, the greatest first."""
        with self._lock:
            agents = list(self.usage)
        totals = [(agent, self.agent_total(agent)) for agent in agents]
        return sorted(totals, key=lambda pair: pair[1].total_tokens, reverse=True)[:n]


class UsageTracker:
    """Tokens, cost and calls by model, of costs that the caller calculates."""

    def __init__(self, tracker: CostTracker | None = None) -> None:
        self.tracker = tracker or CostTracker()
        self.lock = threading.Lock()

    def record(self, model: str, tokens: int, cost: float) -> None:
        """Records a call's total of tokens and its cost in US dollars."""
        self.tracker.record(model, usage={"total": tokens}, cost_usd=cost)

    @property
    def total_tokens(self) -> int:
        """All tokens so far."""
        return self.tracker.totals().total_tokens

    @property
    def total_cost(self) -> float:
        """US dollars so far."""
        return self.tracker.total_cost

    @property
    def calls_by_model(self) -> dict[str, int]:
        """Calls of each model."""
        calls: dict[str, int] = self.report()["calls_by_model"]
        return calls

    def report(self) -> dict[str, Any]:
        """total_tokens, total_cost_usd (four decimals) and calls_by_model."""
        return self.tracker.report()
