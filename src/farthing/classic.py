"""The specifications' own classes and functions, thinly over `CostTracker`: change the import, and their samples run.

    from langfuse import Langfuse                  ->  from farthing.classic import Langfuse
    from src.utils.cost_tracker import CostTracker ->  from farthing.classic import CostTracker

Everything recorded here lands in the ledger of the tracker behind it, like any other call.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.amounts import count_of, money
from farthing.budgets.reservation import Reservation
from farthing.capture.budgeted import with_budget
from farthing.errors import BudgetExceededError, InputError
from farthing.event import NO_MODEL, from_us, new_id, now_us
from farthing.pricing.calls import calculate_cost
from farthing.pricing.catalog import Catalog
from farthing.running import TokenUsage
from farthing.tenants import TenantCostTracker
from farthing.traces import TRACE, Trace
from farthing.tracker import CostTracker
from farthing.usage import UNITS, Usage

__all__ = [
    "BUDGET_THRESHOLDS",
    "MODEL_PRICING",
    "PRICING",
    "BudgetDashboard",
    "BudgetExceededError",
    "CostTracker",
    "Generation",
    "Langfuse",
    "TenantCostTracker",
    "TokenBudget",
    "TokenCounter",
    "TokenUsage",
    "TraceHandle",
    "UsageTracker",
    "calculate_cost",
    "check_budget",
    "log_budget_alert",
    "set_budget_thresholds",
    "with_budget",
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
        self.holds: dict[str, deque[Reservation]] = defaultdict(deque)
        self._lock = threading.Lock()

    def record(
        self, agent_name: str, task_id: str, prompt_tokens: int, completion_tokens: int, model: str | None = None
    ) -> None:
        """Records the tokens of one call; without a model its cost is not known. It ends what a `TokenBudget` held."""
        with self._lock:
            waiting = self.holds.get(agent_name)
            held = waiting.popleft() if waiting else None
        self.tracker.record(
            model or NO_MODEL, prompt_tokens, completion_tokens, agent_name, task=task_id, reservation=held
        )
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


# --- budgets -------------------------------------------------------------------------------------------------------

BUDGET_THRESHOLDS = {
    "per_call_max": 1.00,
    "per_session_max": 10.00,
    "per_user_daily": 50.00,
    "org_daily": 1000.00,
}
"""US dollars from which on an alert is raised."""

_LEVELS = {"call": "per_call_max", "session": "per_session_max", "user": "per_user_daily", "org": "org_daily"}


def check_budget(cost: float, level: str, entity_id: str) -> bool:
    """Whether a cost in US dollars is above its level's threshold; then it is logged, too.

    level: call, session, user or org, also as `per_call`, `per_user_daily`, ...; of user and org the cost of a day.
    """
    key = _LEVELS.get(level.removeprefix("per_").removesuffix("_max").removesuffix("_daily"))
    if key is None:
        raise InputError(f"level = {level!r}: must be one of {', '.join(_LEVELS)}")
    threshold = BUDGET_THRESHOLDS.get(key)
    if threshold is None or money(cost, "cost") <= money(threshold, key):
        return False
    log_budget_alert(level, entity_id, cost, threshold)
    return True


def log_budget_alert(level: str, entity_id: str, cost: float, threshold: float) -> None:
    """Says in the log that a threshold was passed."""
    told = {"farthing_budget": {"level": level, "entity_id": entity_id, "cost": cost, "threshold": threshold}}
    logging.getLogger("farthing.budgets").warning(
        "budget: %s %s came to $%.4f, above $%.2f", level, entity_id, cost, threshold, extra=told
    )


def set_budget_thresholds(tracker: CostTracker, mode: str = "soft") -> None:
    """Makes budgets of `BUDGET_THRESHOLDS`, which watch every call by themselves; `hard`: and refuse."""
    scopes = {"per_user_daily": ("user=*", "day"), "org_daily": (None, "day")}
    scopes |= {"per_call_max": (None, "call"), "per_session_max": (None, "session")}
    for key, usd in BUDGET_THRESHOLDS.items():
        scope, per = scopes[key]
        tracker.guard.set(scope, usd=usd, per=per, mode=mode, name=key, by="farthing.classic")


_PERIODS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_LABELS = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}


class TokenBudget:
    """Limits in tokens for agents and for periods (UTC), which hold in every process of the counter's ledger."""

    def __init__(self, counter: TokenCounter) -> None:
        self.counter = counter

    @property
    def agent_limits(self) -> dict[str, int]:
        """Agent -> limit, whoever has set it in the ledger."""
        names = {budget.scope.get("agent", ""): budget for budget in self._guard.budgets()}
        return {agent: b.limit or 0 for agent, b in names.items() if b.name == f"tokens of {agent}"}

    @property
    def period_limits(self) -> dict[str, int]:
        """Period -> limit, whoever has set it in the ledger."""
        limits = {budget.name: budget.limit or 0 for budget in self._guard.budgets()}
        return {period: limits[name] for period in _PERIODS if (name := f"{period} tokens") in limits}

    def agent_usage(self) -> dict[str, int]:
        """Limited agent -> tokens that it has spent of its limit, in every process of the ledger."""
        names = {f"tokens of {agent}": agent for agent in self.agent_limits}
        stand = {names.get(one.budget.name): one for one in self._guard.status()}
        return {agent: max(0, one.posted - one.granted) for agent, one in stand.items() if agent is not None}

    def set_agent_limit(self, agent_name: str, max_tokens: int) -> None:
        """Limits all that an agent may use. 0 is a limit, too."""
        self._guard.set({"agent": agent_name}, tokens=max_tokens, name=f"tokens of {agent_name}", by="TokenBudget")

    def set_period_limit(self, period_name: str, max_tokens: int) -> None:
        """Limits what all agents together may use in a period: hourly, daily, weekly or monthly."""
        per = _PERIODS.get(period_name)
        if per is None:
            raise InputError(f"period {period_name!r}: must be one of {', '.join(_PERIODS)}")
        self._guard.set(None, tokens=max_tokens, per=per, name=f"{period_name} tokens", by="TokenBudget")

    async def check_and_apply_budget(self, agent_name: str, estimated_tokens: int) -> bool:
        """Whether the call may be made; then its tokens are held until `counter.record` says what it really used.

        A call that is never recorded counts as estimated.
        """
        tokens = count_of(estimated_tokens, "estimated_tokens")
        try:
            held = await self._guard.areserve(agent=agent_name, usd=0, tokens=tokens, gone=True)
        except BudgetExceededError:
            return False
        if held.covered:
            self.counter.holds[agent_name].append(held)
        return True

    @property
    def period_usage(self) -> dict[str, int]:
        """Tokens spent and held in the present window of each limited period: {"daily:2026-11-22": 1200}."""
        return {label: used for label, used, _ in self._periods()}

    def _periods(self) -> Iterator[tuple[str, int, str]]:
        names = {f"{period} tokens": period for period in self.period_limits}
        now = from_us(now_us())
        for standing in self._guard.status():
            if (period := names.get(standing.budget.name)) is not None:
                used = max(0, standing.posted + standing.reserved - standing.granted)
                moment = from_us(standing.start_us) if standing.start_us else now
                yield f"{period}:{moment.strftime(_LABELS[period])}", used, standing.budget.name

    def reset_period(self) -> None:
        """Gives every period its whole limit again, as an entry in the history of its account."""
        for name in {name for _, _, name in self._periods()}:
            self._guard.reset(name, by="TokenBudget", reason="reset_period()", held=True)

    @property
    def _guard(self) -> Any:
        return self.counter.tracker.guard


class BudgetDashboard:
    """How the agents of a counter stand against their limits."""

    BLENDED_RATE = 0.003
    """US dollars per 1,000 tokens of calls whose model nobody named; all others have their own price."""

    def __init__(self, counter: TokenCounter, budgets: TokenBudget) -> None:
        self.counter = counter
        self.budgets = budgets

    def current_status(self) -> dict[str, Any]:
        """Agents, all together, and periods; JSON can hold it: a limit that is missing is None.

        Tokens are those of this counter; `percent_used` is of the limit, which every process of the ledger spends.
        """
        costs, limits, spent = self._costs(), self.budgets.agent_limits, self.budgets.agent_usage()
        agents: dict[str, dict[str, Any]] = {}
        for agent in dict.fromkeys((*self.counter.usage, *limits)):
            usage = self.counter.agent_total(agent)
            limit = limits.get(agent)
            used = 100.0 if not limit else spent.get(agent, 0) / limit * 100
            agents[agent] = {
                "total_tokens": usage.total_tokens,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "budget_limit": limit,
                "percent_used": 0.0 if limit is None else used,
                "estimated_cost": costs.get(agent, 0.0),
            }
        together = {
            "total_tokens": sum(one["total_tokens"] for one in agents.values()),
            "total_cost": sum(one["estimated_cost"] for one in agents.values()),
        }
        return {"agents": agents, "global": together, "period_usage": self.budgets.period_usage}

    def _costs(self) -> dict[str, float]:
        """What each agent's calls cost; those without a price at the blended rate."""
        costs: dict[str, float] = defaultdict(float)
        tracker = self.counter.tracker
        for row in tracker.breakdown("agent", "price_status", recorder=tracker.recorder):
            agent, status = row.key
            unknown = row.totals.total_tokens * self.BLENDED_RATE / 1000 if status == "unpriced" else 0.0
            costs[str(agent)] += row.totals.cost + unknown
        return costs

    def budget_alert(self, threshold: float = 0.8) -> list[str]:
        """A line for each agent that has used this part of its limit, or more."""
        spent = self.budgets.agent_usage()
        return [
            f"{agent}: {info['percent_used']:.0f}% of budget used ({spent.get(agent, 0):,} tokens)"
            for agent, info in self.current_status()["agents"].items()
            if info["budget_limit"] is not None and info["percent_used"] >= threshold * 100
        ]
