"""Budgets against a model in fractions: whatever comes, in whatever order, twice or late, both come to the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farthing.amounts import Amounts
from farthing.event import Attribution, Event, new_id
from farthing.ledger import open_ledger
from farthing.ledger.holds import Ask, Conflict, Hold
from farthing.money import PICO_PER_USD
from farthing.policy import Subject, make_budget
from farthing.usage import Usage

START = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC
HOUR = 3_600_000_000
AGENTS = ("a", "b")
LIMITS = {"all day": Fraction(3), "each hour": Fraction(1), "b": Fraction("0.7"), "tokens": Fraction(400)}
CENTS = st.integers(0, 60).map(lambda n: Fraction(n, 100))

Key = tuple[str, str, int]
"""(budget, agent or nothing, the window's number)."""


def keys(agent: str, at_us: int) -> list[Key]:
    """The accounts of a call, as a person would write them down."""
    found = [("all day", "", at_us // (24 * HOUR)), ("each hour", agent, at_us // HOUR), ("tokens", agent, 0)]
    return [*found, ("b", "", 0)] if agent == "b" else found


@dataclass
class Known:
    """A hold in the model."""

    agent: str
    usd: Fraction
    tokens: int
    at_us: int
    expires_us: int
    state: str
    actual: Fraction | None = None  # of its event; of an estimate what was held
    spent_tokens: int = 0
    estimated: bool = False
    fresh: bool = False  # nobody says its key again: once settled in time, the ledger need not know it
    forgotten: bool = False

    def amount(self, key: Key) -> Fraction:
        return Fraction(self.tokens) if key[0] == "tokens" else self.usd


@dataclass
class Model:
    """Accounts as sums over holds and plain events."""

    holds: dict[str, Known] = field(default_factory=dict)
    plain: list[tuple[str, int, Fraction, int]] = field(default_factory=list)
    overshoot: dict[Key, Fraction] = field(default_factory=dict)

    def posted(self, key: Key) -> Fraction:
        tokens = key[0] == "tokens"
        total = Fraction(0)
        for agent, at_us, usd, count in self.plain:
            if key in keys(agent, at_us):
                total += count if tokens else usd
        for held in self.holds.values():
            if held.actual is not None and key in keys(held.agent, held.at_us):
                total += held.spent_tokens if tokens else held.actual
        return total

    def reserved(self, key: Key) -> Fraction:
        open_ones = [h for h in self.holds.values() if h.state in ("held", "dispatched")]
        return sum((h.amount(key) for h in open_ones if key in keys(h.agent, h.at_us)), Fraction(0))

    def expire(self, now_us: int) -> None:
        for held in self.holds.values():
            if held.state in ("held", "dispatched") and held.expires_us <= now_us:
                if held.state == "dispatched":
                    held.actual, held.spent_tokens, held.estimated = held.usd, held.tokens, True
                held.state = "expired"

    def all_keys(self) -> set[Key]:
        places = [(h.agent, h.at_us) for h in self.holds.values()] + [(a, t) for a, t, _, _ in self.plain]
        return {key for agent, at_us in places for key in keys(agent, at_us)}


class Budgets(RuleBasedStateMachine):
    """Reserve, dispatch, settle, release, expire; clock steps; doubled and reordered messages; plain events."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_ledger(":memory:")
        self.accounts = self.store.accounts
        self.model = Model()
        self.now = START
        self.number = 0
        self.attributions = {agent: Attribution(agent=agent) for agent in AGENTS}

    @initialize()
    def budgets(self) -> None:
        """Four budgets that overlap."""
        for budget in (
            make_budget(None, usd=3, per="day", name="all day"),
            make_budget("agent=*", usd=1, per="hour", name="each hour"),
            make_budget("agent=b", usd="0.7", name="b"),
            make_budget("agent=*", tokens=400, name="tokens"),
        ):
            self.accounts.put(budget, at_us=START)

    def subject(self, agent: str) -> Subject:
        # Sometimes the same object, sometimes an equal one: the short way and the long one must come to the same.
        who = self.attributions[agent] if self.number % 3 else Attribution(agent=agent)
        return Subject(who, None, "m")

    def event(self, agent: str, at_us: int, usd: Fraction, tokens: int, key: str | None = None) -> Event:
        identity = new_id()
        return Event(
            id=identity,
            dedupe_key=key or identity,
            at_us=at_us,
            recorded_at_us=at_us,
            attribution=self.attributions[agent],
            provider=None,
            model="m",
            usage=Usage(input_tokens=tokens),
            cost_pico=int(usd * PICO_PER_USD),
            price_status="priced",
        )

    def some(self, pick: int) -> str:
        return sorted(self.model.holds)[pick % len(self.model.holds)]

    @rule(agent=st.sampled_from(AGENTS), usd=CENTS, tokens=st.integers(0, 90), gone=st.booleans(), fresh=st.booleans())
    def reserve(self, agent: str, usd: Fraction, tokens: int, gone: bool, fresh: bool) -> None:
        """It is held if it fits every account, else nothing is."""
        self.number += 1
        key = f"k{self.number:04}"
        ask = self.ask(key, agent, usd, tokens, gone, fresh)
        answer = self.accounts.reserve(ask)
        self.model.expire(self.now)  # the ledger looks whenever it would refuse; the machine does at every step
        wanted = Known(agent, usd, tokens, self.now, ask.expires_us, "dispatched" if gone else "held", fresh=fresh)
        fits = all(
            wanted.amount(k) == 0 or self.model.posted(k) + self.model.reserved(k) + wanted.amount(k) <= LIMITS[k[0]]
            for k in keys(agent, self.now)
        )
        assert isinstance(answer, Hold) == fits, answer
        if fits:
            self.model.holds[key] = wanted

    def ask(self, key: str, agent: str, usd: Fraction, tokens: int, gone: bool, fresh: bool) -> Ask:
        self.accounts.expire(self.now)
        amounts = Amounts(int(usd * PICO_PER_USD), tokens, 1)
        return Ask(key, self.subject(agent), amounts, self.now, self.now + HOUR // 2, gone, fresh)

    @precondition(lambda self: self.model.holds)
    @rule(pick=st.integers(0, 99), more=st.integers(0, 1))
    def reserve_again(self, pick: int, more: int) -> None:
        """A doubled message changes nothing; one with another amount is a conflict."""
        key = self.some(pick)
        known = self.model.holds[key]
        if known.forgotten:
            assert self.accounts.hold(key) is None
            return
        ask = self.ask(key, known.agent, known.usd, known.tokens + more, known.state == "dispatched", False)
        self.model.expire(self.now)
        assert isinstance(self.accounts.reserve(ask), Conflict if more else Hold)
        known.fresh = known.fresh and bool(more)  # said again, it may be said once more

    @precondition(lambda self: self.model.holds)
    @rule(pick=st.integers(0, 99))
    def dispatch(self, pick: int) -> None:
        """Only what is held can leave."""
        key = self.some(pick)
        known = self.model.holds[key]
        if known.state == "held":
            known.state = "dispatched"
        assert self.accounts.dispatch(key) == (None if known.forgotten else known.state)

    @precondition(lambda self: self.model.holds)
    @rule(pick=st.integers(0, 99))
    def release(self, pick: int) -> None:
        """Only what never left is freed."""
        key = self.some(pick)
        known = self.model.holds[key]
        assert self.accounts.release(key) == (known.state == "held")
        if known.state == "held":
            known.state = "released"

    @precondition(lambda self: self.model.holds)
    @rule(pick=st.integers(0, 99), usd=CENTS, tokens=st.integers(0, 150), late=st.integers(0, 2 * HOUR))
    def settle(self, pick: int, usd: Fraction, tokens: int, late: int) -> None:
        """Whatever the state, what it came to is posted in full, once, at the hold's time."""
        key = self.some(pick)
        known = self.model.holds[key]
        before = known.state
        one = self.event(known.agent, self.now + late, usd, tokens, f"r:{key}")
        outcomes = self.accounts.settle(key, [(one, None)])
        if before == "settled":  # known already: more tokens than known are a fuller observation, all else says nothing
            assert outcomes == (["corrected"] if tokens > known.spent_tokens else ["duplicate"])
            if outcomes == ["corrected"]:
                for place in keys(known.agent, known.at_us):
                    more = Fraction(tokens - known.spent_tokens) if place[0] == "tokens" else usd - (known.actual or 0)
                    self.overshoot(place, max(Fraction(0), more))
                known.actual, known.spent_tokens = usd, tokens
            return
        if known.estimated:
            assert outcomes == ["corrected"]
        else:
            assert outcomes == ["added"]
        known.forgotten = known.fresh and before in ("held", "dispatched")
        known.state, known.actual, known.spent_tokens = "settled", usd, tokens
        self.note_overshoot(known, before)

    def note_overshoot(self, known: Known, before: str) -> None:
        for key in keys(known.agent, known.at_us):
            held = known.amount(key) if before in ("held", "dispatched") or known.estimated else Fraction(0)
            actual = Fraction(known.spent_tokens) if key[0] == "tokens" else known.actual or Fraction(0)
            self.overshoot(key, max(Fraction(0), actual - held))

    def overshoot(self, key: Key, amount: Fraction) -> None:
        self.model.overshoot[key] = self.model.overshoot.get(key, Fraction(0)) + amount

    @rule(agent=st.sampled_from(AGENTS), usd=CENTS, tokens=st.integers(0, 50), ago=st.integers(0, 3 * HOUR))
    def append(self, agent: str, usd: Fraction, tokens: int, ago: int) -> None:
        """An event from elsewhere, perhaps late, posts to its own window."""
        at_us = self.now - ago
        self.store.append(self.event(agent, at_us, usd, tokens))
        self.model.plain.append((agent, at_us, usd, tokens))
        for key in keys(agent, at_us):
            self.overshoot(key, Fraction(tokens) if key[0] == "tokens" else usd)

    @rule(step=st.integers(-HOUR, 3 * HOUR))
    def clock(self, step: int) -> None:
        """Time goes on, or is set back."""
        self.now += step

    @rule()
    def expire(self) -> None:
        """Holds that are due end."""
        self.accounts.expire(self.now)
        self.model.expire(self.now)

    def stand(self) -> dict[Key, tuple[int, int]]:
        """(posted, reserved) of every account that the ledger has, by the model's keys."""
        sql = "SELECT series, key, start_us, posted, reserved FROM accounts"
        rows = {tuple(row[:3]): (int(row[3]), int(row[4])) for row in self.accounts._read(sql)}
        found = {}
        for key in self.model.all_keys():
            at_us = key[2] * {"all day": 24 * HOUR, "each hour": HOUR, "b": 0, "tokens": 0}[key[0]]
            for rule_, name in self.accounts.covering(Subject(Attribution(agent=key[1] or "b"), None, "m")):
                if rule_.budget.name == key[0]:
                    place = (rule_.series, name, rule_.spans(at_us)[0])
                    found[key] = rows.get(place, (0, 0))
        return found

    @invariant()
    def the_accounts_are_as_the_model_says(self) -> None:
        """Posted and reserved, exactly; never above the limit but by what was dearer than its hold, or not held."""
        for key, (posted, reserved) in self.stand().items():
            scale = 1 if key[0] == "tokens" else PICO_PER_USD
            assert Fraction(posted, scale) == self.model.posted(key), key
            assert Fraction(reserved, scale) == self.model.reserved(key), key
            over = self.model.overshoot.get(key, Fraction(0))
            assert Fraction(posted + reserved, scale) <= LIMITS[key[0]] + over, key

    @invariant()
    def entries_replay_to_the_accounts(self) -> None:
        """And events and open holds add up to them."""
        found = self.accounts.audit()
        assert found.holds_true, [str(m) for m in found.mismatches]

    def teardown(self) -> None:
        self.store.close()


TestBudgets: Any = Budgets.TestCase
TestBudgets.settings = settings(max_examples=100, stateful_step_count=40)
