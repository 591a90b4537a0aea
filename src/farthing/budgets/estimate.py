"""What a call will come to, before it is made: input as counted or as it last was, output by the 95th percentile.

Holding the worst case fills a budget long before it is spent: `max_tokens` is 20 to 150 times what calls use. 1.2 times
the 95th percentile of an agent's last outputs covers 19 calls of 20 and holds 2 to 3 times what they come to.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from farthing.amounts import Amounts
from farthing.errors import LedgerError
from farthing.event import EMPTY, Event
from farthing.ledger.accounts import Accounts
from farthing.pricing.catalog import Catalog
from farthing.usage import Usage

RING = 64
"""Outputs that are remembered for each agent and model."""
ENOUGH = 30
"""With fewer outputs known, their percentile says little."""
UNKNOWN_OUTPUT = 4096
UNKNOWN_INPUT = 1024
CHARACTERS_OF_A_TOKEN = 3
"""Fewer than English text has (4), so that a guess is rather too much."""
_KEPT = 4096
_SAVE_EVERY = 16


@dataclass(slots=True)
class Sample:
    """What the last calls of an agent to a model were like."""

    input_tokens: int = 0
    characters: int = 0
    outputs: deque[int] = field(default_factory=lambda: deque(maxlen=RING))
    unsaved: int = 0

    def output(self, max_tokens: int | None, *, strict: bool = False) -> int:
        """min(max_tokens, 1.2 x P95); below 30 samples min(max_tokens, 4096); strict: max_tokens."""
        if strict:
            return UNKNOWN_OUTPUT if max_tokens is None else max_tokens
        guess = UNKNOWN_OUTPUT
        if len(self.outputs) >= ENOUGH:
            ordered = sorted(self.outputs)
            guess = -(-ordered[-(-95 * len(ordered) // 100) - 1] * 6 // 5)
        return guess if max_tokens is None else min(max_tokens, guess)

    def input(self, characters: int | None) -> int:
        """Tokens of a request of so many characters, as the last one had them; else as many as the last."""
        if characters is None:
            return self.input_tokens or UNKNOWN_INPUT
        if self.characters and self.input_tokens:
            return -(-characters * self.input_tokens // self.characters)
        return -(-characters // CHARACTERS_OF_A_TOKEN)

    def to_json(self) -> str:
        """For keeping."""
        return json.dumps([self.input_tokens, self.characters, list(self.outputs)])

    @classmethod
    def from_json(cls, text: str) -> Sample:
        """As it was kept."""
        into, characters, outputs = json.loads(text)
        return cls(into, characters, deque(outputs, maxlen=RING))


NOTHING_KNOWN = Sample()
"""The sample of an agent and model that nobody has seen."""


class Samples:
    """The samples of this process, begun with those the ledger keeps and saved there now and then."""

    def __init__(self) -> None:
        self.after_fork()
        self._known: OrderedDict[tuple[str, str, str], Sample] = OrderedDict()

    def after_fork(self) -> None:
        """A new lock. It is reentrant: a signal handler may make a call while its thread ends another."""
        self._lock = threading.RLock()

    def get(self, accounts: Accounts, org: str, agent: str | None, model: str) -> Sample:
        """The sample of an agent and model."""
        key = (org, agent or "", model)
        known = self._known.get(key)
        if known is None:
            try:
                text = accounts.sample(*key)
            except LedgerError:
                return Sample()
            with self._lock:
                known = self._known.setdefault(key, Sample() if text is None else Sample.from_json(text))
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return known

    def learn(self, accounts: Accounts, event: Event, asked: str, characters: int | None) -> None:
        """Take in what a call really used. LedgerError where it cannot be saved."""
        if event.usage_status != "reported" or not event.calls:
            return
        who = event.attribution
        sample = self.get(accounts, who.org, who.agent, asked)
        with self._lock:
            sample.input_tokens = int(event.usage.input_tokens)
            sample.characters = characters or 0
            sample.outputs.append(int(event.usage.output_tokens))
            sample.unsaved += 1
            if sample.unsaved < min(_SAVE_EVERY, len(sample.outputs)):
                return
            sample.unsaved = 0
            text = sample.to_json()
        accounts.keep_sample(who.org, who.agent or "", asked, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a call is expected to come to: amounts to hold, and the tokens they are for.

    models   further models that may answer it, by the dearest of which it is priced; None: its dollars were told
    context  what of the request changes its price
    """

    amounts: Amounts
    input_tokens: int | None = None
    output_tokens: int | None = None
    characters: int | None = None
    models: Sequence[str] | None = None
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)


def dearest(
    catalog: Catalog,
    models: Sequence[str],
    usage: Usage,
    *,
    provider: str | None = None,
    at_us: int | None = None,
    context: Mapping[str, str] = EMPTY,
) -> int | None:
    """Picodollars of this usage by the dearest of the models; None where the price of one is not known."""
    worst = 0
    for model in models:
        pico = catalog.resolve(model, provider, at_us, context).evaluate(usage)
        if pico is None:
            return None
        worst = max(worst, pico)
    return worst
