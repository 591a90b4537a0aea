"""A made-up company's LLM calls, as event lines: for `farthing sample`, `make run` and the benchmarks.

Each day depends on the seed and its date alone, so that tomorrow's sample repeats today's events and importing both
adds nothing twice. Only `Random.random` and `getrandbits` are used: they give the same numbers on every Python.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from random import Random
from statistics import NormalDist

from farthing.errors import InputError

CALLS_A_DAY = 700
"""Events of an average weekday where no number is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePlan:
    """How much to make up.

    events: None for about CALLS_A_DAY a day; else exactly so many where `end` is the end of a day.
    end: nothing happens after this moment (aware); the last day is the one that holds it.
    """

    end: datetime
    days: int = 30
    seed: int = 7
    events: int | None = None
    agents: int = 8
    models: int = 16
    users: int = 120

    def __post_init__(self) -> None:
        for name, least, most in (
            ("days", 1, 3_650),
            ("agents", 1, 1_000),
            ("models", 3, len(MODELS)),
            ("users", 1, 10**6),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"{name} = {value}: must be between {least} and {most}")


@dataclass(frozen=True, slots=True)
class _Model:
    provider: str
    name: str
    size: str  # large, middle, small: who uses it; embed: an embedding model; own: in no price list


MODELS = tuple(
    _Model(*words.split())
    for words in (
        "openai gpt-4o middle",
        "anthropic claude-sonnet-4-5 large",
        "google gemini-2.5-flash small",
        "openai gpt-4o-mini small",
        "openai text-embedding-3-small embed",
        "anthropic claude-haiku-4-5 small",
        "openai gpt-5.1 large",
        "google gemini-2.5-pro large",
        "in-house atlas-70b-instruct own",
        "deepseek deepseek-chat middle",
        "anthropic claude-opus-4-5 large",
        "mistral mistral-large-2512 middle",
        "openai gpt-5-mini small",
        "groq llama-3.3-70b-versatile small",
        "anthropic claude-sonnet-5-5 large",
        "openai gpt-6-luna small",
        "openai gpt-6-sol large",
        "google gemini-3.8-flash small",
        "x-ai grok-4.5 large",
        "openai text-embedding-3-large embed",
        "openai gpt-4.1 middle",
        "openai gpt-4.1-mini small",
        "openai gpt-4.1-nano small",
        "openai o4-mini middle",
        "openai o3 large",
        "openai gpt-5 large",
        "openai gpt-5-nano small",
        "openai gpt-5.2 large",
        "openai gpt-5.4 large",
        "openai gpt-5.4-mini small",
        "openai gpt-5.6-terra middle",
        "openai gpt-oss-120b small",
        "anthropic claude-opus-4-1 large",
        "anthropic claude-sonnet-4-6 large",
        "anthropic claude-opus-5-5 large",
        "anthropic claude-haiku-5-5 small",
        "google gemini-2.5-flash-lite small",
        "google gemini-3.5-flash small",
        "google gemini-embedding-001 embed",
        "mistral mistral-medium-3-5 middle",
        "mistral codestral-2508 small",
        "mistral ministral-8b-2512 small",
        "mistral mistral-embed embed",
        "deepseek deepseek-reasoner middle",
        "x-ai grok-4-fast-reasoning small",
        "x-ai grok-code-fast-1 small",
        "cohere command-a middle",
        "cohere embed-v4.0 embed",
        "voyageai voyage-3.5 embed",
        "groq qwen/qwen3-32b small",
        "perplexity sonar-pro middle",
        "in-house atlas-8b-router own",
    )
)
"""Real models, and two of the company's own that no price list knows."""


@dataclass(frozen=True, slots=True)
class _Agent:
    """How one agent works. Tokens: medians of a call; `sizes` weighs its models: large, middle, small, embed, own."""

    name: str
    team: str
    share: float
    input_tokens: int
    output_tokens: int
    cached: float
    calls_a_task: int
    sizes: tuple[int, int, int, int, int]
    features: tuple[str, ...]
    task_types: tuple[str, ...]
    at_night: bool = False


AGENTS = (
    _Agent(
        "customer_support",
        "support",
        36,
        2_300,
        260,
        0.55,
        3,
        (5, 30, 60, 5, 0),
        ("chat", "email_reply", "refunds"),
        ("question", "complaint", "refund"),
    ),
    _Agent(
        "research_agent",
        "research",
        14,
        9_500,
        1_100,
        0.30,
        7,
        (70, 20, 5, 5, 0),
        ("market_brief", "document_analysis"),
        ("deep_research", "summary"),
    ),
    _Agent(
        "code_generation",
        "engineering",
        17,
        14_000,
        1_900,
        0.70,
        6,
        (80, 10, 10, 0, 0),
        ("pull_request", "code_review"),
        ("feature", "bugfix", "review"),
    ),
    _Agent(
        "data_analysis",
        "analytics",
        9,
        6_200,
        700,
        0.20,
        4,
        (30, 50, 20, 0, 0),
        ("dashboards", "forecasts"),
        ("report", "ad_hoc"),
        True,
    ),
    _Agent(
        "internal_tooling",
        "operations",
        8,
        1_500,
        180,
        0.10,
        2,
        (0, 20, 60, 0, 20),
        ("ticket_routing", "meeting_notes"),
        ("classification", "summary"),
    ),
    _Agent(
        "document_search",
        "platform",
        11,
        900,
        0,
        0.0,
        2,
        (0, 0, 0, 100, 0),
        ("knowledge_base",),
        ("indexing", "lookup"),
        True,
    ),
    _Agent(
        "content_moderation",
        "trust",
        4,
        600,
        30,
        0.0,
        1,
        (0, 10, 90, 0, 0),
        ("reviews", "uploads"),
        ("classification",),
    ),
    _Agent("agent_1", "", 1, 3_000, 400, 0.0, 2, (20, 60, 20, 0, 0), ("prototype",), ("experiment",)),
)
"""The company's agents; one of them bears a name that says nothing, as one always does."""

_DOMAINS = (
    "invoice",
    "contract",
    "ticket",
    "catalog",
    "payroll",
    "survey",
    "claims",
    "inventory",
    "travel",
    "onboarding",
    "legal",
    "security",
    "release",
    "marketing",
    "sales",
    "billing",
    "compliance",
    "hiring",
    "logistics",
    "quality",
)
_ROLES = (
    "extraction",
    "review",
    "triage",
    "summary",
    "drafting",
    "routing",
    "matching",
    "forecast",
    "translation",
    "audit",
)

_WEEK = (1.05, 1.1, 1.1, 1.05, 0.95, 0.32, 0.26)
_BY_DAY = tuple(0.08 + math.exp(-((hour - 13.5) ** 2) / 18) for hour in range(24))
_BY_NIGHT = tuple(0.05 + math.exp(-((min(hour, 24 - hour) - 2) ** 2) / 5) for hour in range(24))
_SPREAD = tuple(math.exp(0.75 * NormalDist().inv_cdf((i + 0.5) / 2048)) for i in range(2048))
"""Quantiles of a log-normal distribution: most calls are small, a few are huge."""

_SPIKE_EVERY_DAYS = 30
_STEPS = ("plan", "retrieve", "reason", "answer")
_PREFIX = {"openai": "chatcmpl-", "anthropic": "msg_01", "google": "g-"}


def sample_lines(plan: SamplePlan) -> Iterator[str]:
    """Event lines (with their line ends), hour by hour, in order of time within each hour."""
    world = _World(plan)
    last = plan.end.astimezone(UTC)
    first_day = last.date() - timedelta(days=plan.days - 1)
    dates = [first_day + timedelta(days=i) for i in range(plan.days)]
    weights = [_day_weight(day, plan.seed) for day in dates]
    a_day = CALLS_A_DAY if plan.events is None else plan.events / sum(weights)
    given, wanted = 0, 0.0
    for day, weight in zip(dates, weights, strict=True):
        wanted += a_day * weight
        # Without a number of events each day stands alone; with one, rounding is carried from day to day.
        count = round(a_day * weight) if plan.events is None else round(wanted) - given
        given += count
        yield from world.day(day, count, last)


def _day_weight(day: date, seed: int) -> float:
    growth = 1 + 0.10 * math.sin((day.toordinal() + seed) / 9)
    return _WEEK[day.weekday()] * growth * (1.5 if _is_spike(day, seed) else 1)


def _is_spike(day: date, seed: int) -> bool:
    """Once in thirty days an agent runs in circles."""
    return (day.toordinal() * 7 + seed * 13) % _SPIKE_EVERY_DAYS == 3


class _World:
    """Who calls what, drawn once from the seed; then days of calls."""

    def __init__(self, plan: SamplePlan) -> None:
        self.plan = plan
        chance = Random(f"{plan.seed}/world")
        self.agents = _agents(plan.agents)
        self.users = [f"u_{chance.getrandbits(32):08x}" for _ in range(plan.users)]
        models = MODELS[: plan.models]
        by_size = {size: [m for m in models if m.size == size] for size in ("large", "middle", "small", "embed", "own")}
        self.models = [_cumulative(_model_weights(agent, by_size, models)) for agent in self.agents]
        self.hours = [self._hour(hour) for hour in range(24)]

    def _hour(self, hour: int) -> tuple[float, list[float]]:
        """(the weight of an hour of the day, each agent's part in it, cumulative)."""
        parts = [agent.share * (_BY_NIGHT if agent.at_night else _BY_DAY)[hour] for agent in self.agents]
        return sum(parts), list(accumulate(parts))

    def day(self, day: date, count: int, last: datetime) -> Iterator[str]:
        """`count` calls of one day, without those after `last`."""
        chance = Random(f"{self.plan.seed}/{day.toordinal()}")
        total = sum(weight for weight, _ in self.hours)
        spike = _is_spike(day, self.plan.seed)
        done, wanted = 0, 0.0
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for hour, (weight, parts) in enumerate(self.hours):
            wanted += count * weight / total
            calls: list[tuple[float, str]] = []
            while done + len(calls) < round(wanted):
                room = round(wanted) - done - len(calls)
                calls += self._task(chance, parts, 3600 * hour, room=room, spike=spike and 10 <= hour < 17)
            done += len(calls)
            calls.sort()
            for second, line in calls:
                moment = midnight + timedelta(seconds=second)
                if moment <= last:
                    yield f'{{"at":"{moment.isoformat(timespec="milliseconds")[:-6]}Z",{line}\n'

    def _task(
        self, chance: Random, parts: list[float], start: int, *, room: int, spike: bool
    ) -> list[tuple[float, str]]:
        """The calls of one task, at most `room`: (second of the day, line without its moment)."""
        draw = chance.random
        at = bisect(parts, draw() * parts[-1])
        if spike and len(self.agents) > 1 and draw() < 0.5:
            at = 1
        agent = self.agents[at]
        cumulative, models = self.models[at]
        # The most frequent user makes one call in ten, the last ones hardly any.
        user = self.users[int(len(self.users) * draw() ** 2.0)]
        task, session = f"{chance.getrandbits(48):012x}", f"{chance.getrandbits(40):010x}"
        feature = agent.features[int(draw() * len(agent.features))]
        task_type = agent.task_types[int(draw() * len(agent.task_types))]
        who = (
            ""
            if draw() < 0.015
            else f'"team":"{agent.team}","agent":"{agent.name}",'
            if agent.team
            else f'"agent":"{agent.name}",'
        )
        whose = (
            f'{who}"user":"{user}","feature":"{feature}","task":"t-{task}","task_type":"{task_type}","session":"s-{session}",'
            f'"trace":"{task}{session}","environment":"{"production" if draw() < 0.94 else "staging"}"'
        )
        batch = agent.at_night and draw() < 0.6
        calls = 1 + int(draw() * (2 * agent.calls_a_task - 1)) * (3 if spike and at == 1 else 1)
        second = start + draw() * 3599
        made: list[tuple[float, str]] = []
        for number in range(min(calls, room)):
            model = models[bisect(cumulative, draw() * cumulative[-1])]
            for line in _call(chance, agent, model, batch=batch, depth=number):
                if len(made) < room:
                    made.append((min(second, 86_399.9), f"{line}{whose}}}"))
            second += 1 + draw() * 25
        return made


def _agents(count: int) -> tuple[_Agent, ...]:
    """The eight agents, and as many more as asked, named after what they do."""
    more = []
    for i in range(max(0, count - len(AGENTS))):
        base = AGENTS[i % 6]
        size = 0.4 + (i * 37 % 100) / 60
        generation, place = divmod(i, len(_DOMAINS) * len(_ROLES))
        domain = _DOMAINS[place % len(_DOMAINS)]
        name = f"{domain}_{_ROLES[place // len(_DOMAINS)]}" + (f"_v{generation + 1}" if generation else "")
        tokens = (int(base.input_tokens * size), int(base.output_tokens * size))
        features = (domain, *base.features[:1])
        more.append(
            replace(
                base,
                name=name,
                share=base.share * size / 4,
                features=features,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
            )
        )
    return (*AGENTS[:count], *more)


def _model_weights(
    agent: _Agent, by_size: dict[str, list[_Model]], models: tuple[_Model, ...]
) -> list[tuple[float, _Model]]:
    """Models of an agent with their weights; within a size the first is taken most. Teams differ in taste."""
    weighed: list[tuple[float, _Model]] = []
    for size, weight in zip(by_size, agent.sizes, strict=True):
        of_size = by_size[size]
        if weight and of_size:
            turn = sum(agent.name.encode()) % len(of_size)
            weighed += [(weight / (1 + i) ** 1.6, model) for i, model in enumerate(of_size[turn:] + of_size[:turn])]
    return weighed or [(1.0, models[0])]


def _cumulative(weighed: list[tuple[float, _Model]]) -> tuple[list[float], list[_Model]]:
    return list(accumulate(weight for weight, _ in weighed)), [model for _, model in weighed]


def _call(chance: Random, agent: _Agent, model: _Model, *, batch: bool, depth: int) -> Iterator[str]:
    """The lines of one call: failed attempts that cost nothing first; each ends before the attribution."""
    draw = chance.random
    head = f'"provider":"{model.provider}","model":"{model.name}",'
    if draw() < 0.012:
        yield f'{head}"usage":{{}},"attempt":1,"billed":false,"error":"429 rate_limit_exceeded","id":"{_uuid(chance)}",'
        head += '"attempt":2,'
    if agent.name == "customer_support" and draw() < 0.03:
        yield f'{head}"usage":{{}},"billed":false,"cache_hit":true,"id":"{_uuid(chance)}",'
        return
    size = int(agent.input_tokens * _SPREAD[chance.getrandbits(11)] * (1 + 0.12 * min(depth, 12))) + 8
    answer = f'"response_id":"{_PREFIX.get(model.provider, "resp_")}{chance.getrandbits(80):020x}",'
    if model.size == "embed":
        yield f'{head}"operation":"embeddings","usage":{{"input_tokens":{size}}},{answer}'
        return
    usage = f'"input_tokens":{size}'
    if size > 1100 and draw() < agent.cached:
        cached = int(size * (0.5 + 0.45 * draw()))
        fresh = model.provider == "anthropic" and depth == 0
        usage += f',"cache_{"write" if fresh else "read"}_tokens":{cached}'
    out = int(max(agent.output_tokens, 20) * _SPREAD[chance.getrandbits(11)]) + 1
    usage += f',"output_tokens":{out}'
    if model.size == "large" and draw() < 0.4:
        usage += f',"output_reasoning_tokens":{out * 6 // 10}'
    known = draw()
    status = '"usage_status":"estimated",' if known < 0.006 else '"usage_status":"partial",' if known < 0.009 else ""
    context = (
        '"context":{"processing":"batch"},' if batch and model.provider in ("openai", "anthropic", "google") else ""
    )
    step = f'"step":"{_STEPS[depth % len(_STEPS)]}","prompt":"{agent.name}@{3 + (known > 0.5)}",'
    yield f'{head}"usage":{{{usage}}},{status}{context}{answer}{step}'


def _uuid(chance: Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
