"""What agents of common kinds may use: the planning table of specification 002, as budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from farthing.errors import InputError
from farthing.policy import Budget, make_budget


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of agent: tokens a day, and US dollars a month."""

    name: str
    title: str
    daily_tokens: int
    monthly_usd: int

    def budgets(self, agent: str, **more: Any) -> tuple[Budget, Budget]:
        """Its two budgets for an agent; `more` are further words of `make_budget`."""
        return (
            make_budget({"agent": agent}, tokens=self.daily_tokens, per="day", **more),
            make_budget({"agent": agent}, usd=self.monthly_usd, per="month", **more),
        )


PRESETS = (
    Preset("customer-support", "Customer Support", 500_000, 150),
    Preset("research", "Research Agent", 2_000_000, 600),
    Preset("code-generation", "Code Generation", 3_000_000, 900),
    Preset("data-analysis", "Data Analysis", 1_000_000, 300),
    Preset("internal-tooling", "Internal Tooling", 200_000, 60),
)


def preset(name: str) -> Preset:
    """The preset of this name. InputError where there is none."""
    for one in PRESETS:
        if one.name == name:
            return one
    raise InputError(f"no preset {name!r}: there are {', '.join(one.name for one in PRESETS)}")
