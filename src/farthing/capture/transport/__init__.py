"""Metering every LLM call of a process at its HTTP clients: `farthing.instrument()`.

`httpx` and `httpx2` are hooked, `aiohttp`, and `urllib3`, on which `requests` and `botocore` stand; each when the
program loads it, none for our sake. SDKs keep their behaviour: what they send and get is what it is without us.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

from farthing.capture import otel, process
from farthing.capture.fault_log import keep_faults, leave_faults
from farthing.capture.later import LATER
from farthing.capture.meter import Meter
from farthing.capture.threads import follow_threads, leave_threads
from farthing.capture.transport import aiohttp_, httpx_, shelter, urllib3_
from farthing.capture.transport.live import LIVE
from farthing.capture.transport.patches import Hook, Patches, WhenLoaded
from farthing.config import load_settings
from farthing.tracker import CostTracker

__all__ = ["Status", "flush", "instrument", "status", "uninstrument"]

_patches = Patches()
_lock = threading.Lock()


def _hooks() -> dict[str, Hook]:
    found: dict[str, Hook] = {}
    for library in (httpx_, urllib3_, aiohttp_):
        for name in library.NAMES:
            found[name] = partial(_hook, library.hook)
    for name, hook in shelter.hooks().items():
        found[name] = partial(_hook, hook)
    return found


def _hook(hook: Callable[[ModuleType, Patches], None], module: ModuleType) -> None:
    with _lock:
        if LIVE.meter is not None:
            hook(module, _patches)


_waiting = WhenLoaded(_hooks())


class _Everywhere:
    """What else of the process goes with metering: its tracker, and calls shown in OpenTelemetry where there is one."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._used: tuple[CostTracker, CostTracker | None] | None = None

    def use(self, tracker: CostTracker) -> None:
        """Tasks, callbacks and spans go where metered calls go."""
        before = process.use_tracker(tracker)
        self._used = (tracker, before if self._used is None else self._used[1])

    def show(self) -> None:
        """A program that traces itself sees calls and costs on its spans."""
        if self._stop is None:
            self._stop = otel.start()

    def undo(self) -> None:
        """As it was before; a tracker that somebody has chosen since stays."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        if self._used is not None:
            ours, before = self._used
            present = process.use_tracker(before)
            if present is not ours:
                process.use_tracker(present)
            self._used = None


_everywhere = _Everywhere()


@dataclass(frozen=True, slots=True)
class Status:
    """What is hooked: `libraries` {name: version}, and how many calls were metered since `instrument()`."""

    on: bool
    libraries: Mapping[str, str] = field(default_factory=dict)
    calls: int = 0


def instrument(
    tracker: CostTracker | None = None,
    *,
    hosts: Mapping[str, str] | None = None,
    include_usage: bool | None = None,
    at_once: bool = False,
) -> None:
    """From now on every LLM call of this process is metered, priced and attributed. Called again, it changes how.

    tracker: where calls are recorded; default: the process-wide one, whose ledger the settings name
    hosts: {"llm.internal:8000": "openai"}: hosts of your own and whose API they speak; over those of the settings
    include_usage: ask chat streams for the usage that they would not report; the caller does not see the difference
    at_once: a caller without an event loop goes on when its call is in the ledger, and so survives a killed process;
    else it is written a moment later, and the caller waits for nothing
    """
    settings = load_settings()
    if tracker is not None:
        _everywhere.use(tracker)
    LIVE.meter = Meter(
        tracker,
        hosts={**settings.capture_hosts, **(hosts or {})},
        include_usage=settings.include_usage if include_usage is None else include_usage,
        tell=settings.attribution_hosts,
        at_once=at_once,
    )
    follow_threads()
    _everywhere.show()
    keep_faults()
    _waiting.start()


def uninstrument() -> None:
    """Everything as it was before `instrument()`. Streams under way are still recorded when they end."""
    LIVE.meter = None
    _waiting.stop()
    with _lock:
        _patches.undo()
    leave_threads()
    _everywhere.undo()
    leave_faults()
    LATER.flush()


def flush() -> None:
    """Returns when every call that has ended is in the ledger."""
    LATER.flush()


def status() -> Status:
    """What is hooked at this moment."""
    meter = LIVE.meter
    LATER.catch_up()
    return Status(meter is not None, dict(_patches.modules), meter.seen if meter is not None else 0)
