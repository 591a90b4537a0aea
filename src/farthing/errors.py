"""Every error farthing raises, as one tree.

    FarthingError
    ├── UsageError               counts that cannot be: negative, not a number, a subset above its total
    ├── PriceError               a price, a price file or a registration that cannot be used
    ├── ExtractionError          a response body of a type that cannot be read at all
    ├── ConfigError              a setting that cannot be used, with its file and key
    ├── InputError               a file or argument given to an importer or the command line
    ├── LedgerError              the ledger could not do what was asked
    │   ├── LedgerUnavailable    it cannot be opened: no permission, network filesystem, newer schema
    │   ├── LedgerFull           the disk is full
    │   ├── LedgerCorrupt        the file is damaged
    │   └── LedgerBusy           another process held the lock for longer than we wait
    └── BudgetError              a call that may not be made
        ├── BudgetExceededError  it does not fit a budget: which, how far it is spent, when it begins anew
        ├── BudgetUnavailable    a hard budget cannot be asked: the ledger is out of reach
        ├── BudgetConflict       one key for two reservations of different amounts
        ├── AgentPausedError     somebody has paused the agent
        └── TaskKilledError      somebody has killed the task

A message says what, the offending value, where, and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

SHOWN = 120
"""Characters of a value that a message shows."""


class FarthingError(Exception):
    """Base of all errors of farthing: catching it catches them all and nothing else."""


class UsageError(FarthingError, ValueError):
    """Counts that cannot be; the message names the unit, the value and the rule."""


class PriceError(FarthingError, ValueError):
    """A price, price file or registration that cannot be used."""


class ExtractionError(FarthingError, TypeError):
    """A body that is neither bytes, text nor parsed JSON. What *is* readable never raises: see `Extraction.reason`."""


class ConfigError(FarthingError, ValueError):
    """A setting that cannot be used; the message names file, key and remedy."""


class InputError(FarthingError, ValueError):
    """A file or argument that cannot be used; single bad rows are reported as values, not raised."""


class LedgerError(FarthingError):
    """The ledger could not do what was asked. `lost`: events that were accepted before and are lost by it."""

    lost = 0


class LedgerUnavailable(LedgerError):
    """The ledger cannot be opened."""


class LedgerFull(LedgerError):
    """The disk under the ledger is full; nothing of the transaction was kept."""


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged."""


class LedgerBusy(LedgerError):
    """Another process held the ledger's lock for longer than we wait."""


class BudgetError(FarthingError):
    """A call that may not be made. Nothing was sent and nothing spent: trying again changes nothing by itself.

    It has the marks by which clients and servers of HTTP know an answer that is not to be tried again.
    """

    status_code = 402
    should_retry = False
    headers: Mapping[str, str] = {"x-should-retry": "false"}


class BudgetExceededError(BudgetError):
    """A call that does not fit a budget.

    budget, scope  its name, and the account's scope in words, e.g. `agent=researcher`
    unit           usd, tokens or calls; the amounts below are in it (usd: Decimal, else int)
    limit, posted, reserved, requested  what is allowed, spent, held by calls under way, and asked for
    resets_at      when the window ends, aware UTC; None: never
    why            limit, call (too much for one call), unpriced (nobody knows the price), model (not in the list)
    on_exceed      what the budget says is to be done; approval: the number of the approval that was asked for
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        take = facts.get
        self.budget: str = take("budget", "")
        self.scope: str = take("scope", "*")
        self.unit: str = take("unit", "usd")
        self.limit: Decimal | int = take("limit", 0)
        self.posted: Decimal | int = take("posted", 0)
        self.reserved: Decimal | int = take("reserved", 0)
        self.requested: Decimal | int = take("requested", 0)
        self.resets_at: datetime | None = take("resets_at")
        self.why: str = take("why", "limit")
        self.on_exceed: str = take("on_exceed", "deny")
        self.approval: int | None = take("approval")

    def to_dict(self) -> dict[str, Any]:
        """What an answer over HTTP says: JSON-safe, amounts as text."""
        return {
            "error": "budget_exceeded",
            "message": str(self),
            "budget": self.budget,
            "scope": self.scope,
            "unit": self.unit,
            **{name: str(getattr(self, name)) for name in ("limit", "posted", "reserved", "requested")},
            "resets_at": None if self.resets_at is None else self.resets_at.isoformat(),
            "why": self.why,
            "approval": self.approval,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), vars(self))


class BudgetUnavailable(BudgetError):
    """A hard budget that cannot be asked, because the ledger is out of reach: the call is not made."""

    status_code = 503


class BudgetConflict(BudgetError):
    """The same key with another amount: two different calls, or one that was changed."""

    status_code = 409


class _Halted(BudgetError):
    status_code = 403

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.name: str = facts.get("name", "")
        self.reason: str | None = facts.get("reason")
        self.by: str | None = facts.get("by")
        self.until: datetime | None = facts.get("until")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), vars(self))


class AgentPausedError(_Halted):
    """The agent `name` is paused: `reason`, `by` whom, `until` when (None: until it is resumed)."""


class TaskKilledError(_Halted):
    """The task `name` was killed: `reason`, `by` whom."""


def _again(kind: type[Any], message: str, facts: dict[str, Any]) -> Any:
    """An error as it was, in the process that it was sent to."""
    return kind(message, **facts)


def shown(value: object) -> str:
    """The value as a message shows it: its `repr`, cut where a stranger's value would fill the screen."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]}...{text[-1]}"
