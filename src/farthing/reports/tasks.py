"""What a completed task costs, by type: the calls of each task, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from farthing.ledger.store import Filter, Question, Store
from farthing.money import round_half_even, usd_to_pico
from farthing.reports.blocks import Column, Line, Page, Span, Table
from farthing.reports.text import count, money, places_for, plural

DONE = "done"
"""The outcome that makes a task a completed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """Tasks of one type. Money is picodollars; costs are what their calls are known to cost.

    tasks       with calls or an outcome; outcomes: outcome -> tasks that ended so. The others are under way
    cost_pico   of all of them; done_cost_pico: of the completed ones alone
    value_pico  what the completed ones were worth, as told; None where nobody told
    """

    task_type: str | None
    tasks: int = 0
    calls: int = 0
    cost_pico: int = 0
    done_cost_pico: int = 0
    value_pico: int | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """How many were completed."""
        return self.outcomes.get(DONE, 0)

    @property
    def cost_of_one_pico(self) -> int | None:
        """What a completed task cost on average, its own calls alone; None where none was completed."""
        return round_half_even(self.done_cost_pico, self.done) if self.done else None

    @property
    def all_in_pico(self) -> int | None:
        """The cost of all tasks, failed ones too, for each completed one; None where none was completed."""
        return round_half_even(self.cost_pico, self.done) if self.done else None


@dataclass(slots=True)
class _Task:
    task_type: str | None = None
    calls: int = 0
    cost_pico: int = 0
    outcome: str | None = None
    value_pico: int | None = None


def tasks_by_type(store: Store, where: Filter) -> list[TaskType]:
    """The types of task, dearest first. Of a task that ended more than once in `where`, the latest outcome counts."""
    tasks: dict[tuple[str | None, str], _Task] = {}
    for row in store.totals(Question(by=("org", "task", "task_type"), where=where)):
        org, name, task_type = row.key
        if name is not None:
            task = tasks.setdefault((org, name), _Task())
            task.task_type = task_type or task.task_type
            task.calls += row.totals.calls
            task.cost_pico += row.totals.cost_pico
    endings = replace(where, equals={**where.equals, "operation": "task"})
    for event in store.events(endings):
        who = event.attribution
        if who.task is not None and (outcome := who.metadata.get("outcome")):
            task = tasks.setdefault((who.org, who.task), _Task())
            task.task_type = who.task_type or task.task_type
            task.outcome = str(outcome)
            value = who.metadata.get("value_usd")
            task.value_pico = None if value is None else usd_to_pico(str(value))
    types: dict[str | None, list[_Task]] = {}
    for task in tasks.values():
        types.setdefault(task.task_type, []).append(task)
    return sorted((_summed(name, of_type) for name, of_type in types.items()), key=lambda t: -t.cost_pico)


def _summed(name: str | None, tasks: list[_Task]) -> TaskType:
    outcomes: dict[str, int] = {}
    for task in tasks:
        if task.outcome is not None:
            outcomes[task.outcome] = outcomes.get(task.outcome, 0) + 1
    done = [task for task in tasks if task.outcome == DONE]
    values = [task.value_pico for task in done if task.value_pico is not None]
    return TaskType(
        task_type=name,
        tasks=len(tasks),
        calls=sum(task.calls for task in tasks),
        cost_pico=sum(task.cost_pico for task in tasks),
        done_cost_pico=sum(task.cost_pico for task in done),
        value_pico=sum(values) if values else None,
        outcomes=outcomes,
    )


def tasks_page(types: list[TaskType]) -> Page:
    """The types of task as a screen."""
    page = Page()
    if not types:
        page.line("No call names a task.")
        page.line(
            Span('with farthing.task("T-1", type="review") as task: ...; task.finish("done", value_usd=40)', "dim")
        )
        return page
    places = places_for(amount for one in types for amount in (one.cost_pico, one.all_in_pico))
    columns = (
        Column("task type"),
        Column("tasks", right=True, rank=2),
        Column("done", right=True),
        Column("otherwise", rank=3),
        Column("under way", right=True, rank=4),
        Column("cost", right=True),
        Column("a done one", right=True),
        Column("all in", right=True, rank=1),
        Column("worth", right=True, rank=1),
    )
    page.add(Table(columns, [_row(one, places) for one in types], title="Cost of a completed task by type"))
    page.blocks.append(Line())
    page.line(
        Span("a done one: what its own calls cost; all in: with those of tasks that failed or are under way", "dim")
    )
    return page


def _row(one: TaskType, places: int) -> list[str]:
    otherwise = ", ".join(f"{number:,} {name}" for name, number in sorted(one.outcomes.items()) if name != DONE)
    return [
        one.task_type or "(none)",
        count(one.tasks),
        count(one.done),
        otherwise,
        count(one.tasks - sum(one.outcomes.values())),
        money(one.cost_pico, places),
        "" if one.cost_of_one_pico is None else money(one.cost_of_one_pico),
        "" if one.all_in_pico is None else money(one.all_in_pico),
        "" if one.value_pico is None else money(one.value_pico, 2),
    ]


def task_type_json(one: TaskType) -> dict[str, object]:
    """One type for programs: costs exact in picodollars, and rounded once as dollars."""

    def usd(pico: int | None) -> float | None:
        return None if pico is None else pico / 10**12

    return {
        "task_type": one.task_type,
        "tasks": one.tasks,
        "outcomes": dict(one.outcomes),
        "calls": one.calls,
        "cost_pico": one.cost_pico,
        "cost_usd": usd(one.cost_pico),
        "cost_of_a_done_task_usd": usd(one.cost_of_one_pico),
        "all_in_cost_of_a_done_task_usd": usd(one.all_in_pico),
        "value_usd": usd(one.value_pico),
    }


def summary_line(types: list[TaskType]) -> str:
    """All types in a sentence: `12 tasks, 9 done at $0.0210 each, all in $0.0280`."""
    done = sum(one.done for one in types)
    told = plural(sum(one.tasks for one in types), "task")
    if not done:
        return f"{told}, none done yet"
    own = round_half_even(sum(one.done_cost_pico for one in types), done)
    all_in = round_half_even(sum(one.cost_pico for one in types), done)
    return f"{told}, {count(done)} done at {money(own)} each, all in {money(all_in)}"
