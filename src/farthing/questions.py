"""What a tracker is asked: totals of its run or of the ledger, breakdowns, and the figures of dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from farthing import answers
from farthing.config import Settings
from farthing.errors import InputError
from farthing.event import EMPTY, to_us
from farthing.ledger.store import Filter, Question, Row, Store
from farthing.reports.optimization import cost_optimization
from farthing.running import Group, RunningTotals, TokenUsage, total
from farthing.totals import Totals
from farthing.traces import Trace, trace_of

_NOTHING = Totals()


class Questions:
    """The asking half of `CostTracker`."""

    scope: str
    recorder: str
    _run: RunningTotals
    _settings: Settings

    @property
    def ledger(self) -> Store:
        """The open ledger."""
        raise NotImplementedError

    def hashed_user(self, user: str) -> str | None:
        """A user id as it is stored."""
        raise NotImplementedError

    def moment(self) -> datetime:
        """The present moment, aware."""
        raise NotImplementedError

    def _groups(
        self, since: datetime | None = None, until: datetime | None = None, where: Mapping[str, str | None] = EMPTY
    ) -> dict[Group, Totals]:
        if self.scope == "run" and since is None and until is None and not where:
            return self._run.snapshot()
        rows = self.breakdown("agent", "model", "provider", since=since, until=until, **where)
        return {cast(Group, row.key): row.totals for row in rows if row.totals != _NOTHING}

    def _filter(self, since: datetime | None, until: datetime | None, where: Mapping[str, str | None]) -> Filter:
        equals = dict(where)
        if self._settings.hash_users and equals.get("user") is not None:
            equals["user"] = self.hashed_user(str(equals["user"]))
        return Filter(
            since_us=None if since is None else to_us(since),
            until_us=None if until is None else to_us(until),
            equals=equals or EMPTY,
        )

    def breakdown(
        self, *by: str, since: datetime | None = None, until: datetime | None = None, **where: str | None
    ) -> list[Row]:
        """Totals of the ledger for each value of `by`, of the calls that `where` names (`agent="a"`, `model="m"`, ...).

        `by`: attribution fields, model, provider, day, week, month, `metadata.<key>`, ...; none: one row of everything.
        A metadata key in `where` is written `**{"metadata.ticket": "ABC-1"}`.
        """
        return self._rows(by, self._filter(since, until, where))

    def _rows(self, by: tuple[str, ...], where: Filter) -> list[Row]:
        store = self.ledger
        store.flush()
        return store.totals(Question(by=by, where=where))

    def totals(self, *, since: datetime | None = None, until: datetime | None = None, **where: str | None) -> Totals:
        """What was used and spent: of this run, or, with `scope="ledger"` or any filter, of the ledger."""
        if self.scope == "run" and since is None and until is None and not where:
            return total(self._run.snapshot().values())
        return total(row.totals for row in self.breakdown(since=since, until=until, **where))

    @property
    def total_usd(self) -> Decimal:
        """What is known to have been spent, in exact US dollars."""
        return self.totals().usd

    @property
    def total_cost(self) -> float:
        """What is known to have been spent, in US dollars, rounded once to a float."""
        return self.totals().cost

    @property
    def unpriced_calls(self) -> int:
        """Calls whose cost is not in the totals, because nobody knows their price."""
        return self.totals().unpriced_calls

    def by_agent(self) -> dict[str, float]:
        """US dollars of each agent, the dearest first; calls without an agent are `unattributed`."""
        return answers.costs(answers.by_agent(self._groups()))

    def by_model(self) -> dict[str, float]:
        """US dollars of each model, the dearest first."""
        return answers.costs(answers.by_model(self._groups()))

    def by_provider(self) -> dict[str, float]:
        """US dollars of each provider, the dearest first."""
        return answers.costs(answers.by_provider(self._groups()))

    def get_summary(
        self, *, since: datetime | None = None, until: datetime | None = None, **where: str | None
    ) -> dict[str, Any]:
        """Totals, averages of a call, and the breakdowns by agent and by model.

        Of this run, or, with `scope="ledger"`, a time or any filter, of the ledger.
        """
        return answers.summary(self._groups(since, until, where))

    def cost_optimization(
        self,
        org_id: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
    ) -> dict[str, Any]:
        """What an organisation owes: total_cost_today, total_cost_month, projected_monthly, by_provider, by_agent, and
        how its budget stands.

        US dollars, rounded once. The breakdowns are those of this month, or of the time given; list prices inside flat
        plans are in none of it. Without `org_id`: of all organisations.
        """
        store = self.ledger
        store.flush()
        return cost_optimization(store, self.moment(), Filter(org=org_id), (since, until), tz)

    def get_usage_metrics(self) -> dict[str, Any]:
        """Calls, tokens, and how well they are used: token_efficiency, cost_per_1k_output_tokens."""
        return answers.usage_metrics(self._groups())

    def report(self) -> dict[str, Any]:
        """total_tokens, total_cost_usd (four decimals) and calls_by_model."""
        return answers.report(self._groups())

    def unattributed_share(self) -> float:
        """The part of the known cost, from 0 to 1, that no agent claims."""
        parts = answers.by_agent(self._groups())
        whole = sum(totals.cost_pico for totals in parts.values())
        nobody = parts.get(answers.UNATTRIBUTED, Totals()).cost_pico
        return nobody / whole if whole else 0.0

    def agent_total(self, agent: str) -> TokenUsage:
        """The tokens of one agent."""
        return TokenUsage.of(total(t for group, t in self._groups().items() if group[0] == agent))

    def top_agents(self, n: int = 10) -> list[tuple[str, TokenUsage]]:
        """The n agents that use the most tokens, the greatest first."""
        used = [(name, TokenUsage.of(totals)) for name, totals in answers.by_agent(self._groups()).items()]
        return sorted(used, key=lambda pair: (-pair[1].total_tokens, pair[0]))[:n]

    def task_cost(
        self, agent: str, task: str, input_rate: float | None = None, output_rate: float | None = None
    ) -> float:
        """US dollars of one task of an agent, 0.0 where it is not known; at rates per million tokens where given."""
        where = {"agent": agent, "task": task}
        if self.scope == "run":
            where["recorder"] = self.recorder
        spent = total(row.totals for row in self._rows((), Filter(equals=where)))
        if input_rate is None and output_rate is None:
            return spent.cost
        return spent.input_tokens * (input_rate or 0) / 1_000_000 + spent.output_tokens * (output_rate or 0) / 1_000_000

    def trace(self, trace_id: str) -> Trace:
        """A trace with its observations and costs, from the ledger; of an unknown id, one without observations."""
        if not isinstance(trace_id, str) or not trace_id:
            raise InputError(f"trace_id = {trace_id!r}: must be the id of a trace")
        store = self.ledger
        store.flush()
        return trace_of(trace_id, store.events(Filter(equals={"trace": trace_id})))
