"""`farthing doctor`: whether everything is as it should be, and what to do where it is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from farthing.capture.fault_log import fault_file, recent_faults
from farthing.capture.launch import SITE
from farthing.cli.frame import App, now, pass_app, shared_options
from farthing.errors import FarthingError
from farthing.event import from_us, to_us
from farthing.ledger.open import is_there, place_of
from farthing.ledger.store import Filter, Question, Store
from farthing.pricing.defaults import price_file
from farthing.pricing.refresh import in_force
from farthing.reports.blocks import Page, Span
from farthing.reports.text import count, plural

DAYS = 30
"""How far back calls and faults are looked at."""
OLD_PRICES_DAYS = 30
OLD_DATA_DAYS = 90
"""Price data in which nothing has changed for so long is an old release: some price changes nearly every week."""
_CLIENTS = ("httpx", "httpx2", "aiohttp", "urllib3", "requests", "botocore")
_SDKS = (
    *("openai", "anthropic", "google-genai", "mistralai", "cohere", "ollama", "boto3", "litellm", "groq", "together"),
    *("langchain-core", "pydantic-ai", "pydantic-ai-slim", "llama-index-core", "huggingface-hub", "crewai", "dspy"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. state: good, warn or bad; remedy: what to do, empty where nothing is to be done."""

    what: str
    state: str
    words: str
    remedy: str = ""


@click.command()
@shared_options
@pass_app
def doctor(app: App) -> None:
    """What is metered and what is not, and what to do.

    Exit code 1 where something is broken.
    """
    found = list(findings(app))
    page = Page()
    for one in found:
        mark = {"good": "ok  ", "warn": "look", "bad": "BAD "}[one.state]
        page.line(Span(mark, one.state), f"  {one.what}: {one.words}", hang=6)
        if one.remedy:
            page.line(Span(f"      {one.remedy}", "accent"), hang=6)
    app.show(page, {"findings": [asdict(one) for one in found]})
    if any(one.state == "bad" for one in found):
        sys.exit(1)


def findings(app: App) -> Iterator[Finding]:
    """Everything that is looked at, in the order in which it matters."""
    try:
        settings = app.settings
        files = ", ".join(str(path) for path in settings.files) or "none; defaults and the environment count"
        yield Finding("settings", "good", f"farthing.toml: {files}")
        yield from _of_ledger(app)
    except FarthingError as error:
        yield Finding("ledger" if app.kept_settings else "settings", "bad", str(error), "mend what the message names")
    yield from _of_clients()
    yield from _guarded("prices", _of_prices)
    yield from _of_faults()


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except FarthingError as error:
        yield Finding(what, "bad", str(error), "mend what the message names")


def _of_ledger(app: App) -> Iterator[Finding]:
    if not is_there(app.url):
        yield _no_ledger(Path(place_of(app.url)))
        return
    with app.store() as store:
        health = store.health()
        size = f"{(health.size_bytes + health.wal_bytes) / 1e6:,.1f} MB"
        words = f"{health.path or health.url}, {count(health.events)} events, {size}, durability {health.durability}"
        yield Finding("ledger", "good", words)
        if health.faults:
            yield Finding("ledger faults", "warn", f"{health.faults}: {health.last_fault}", "see the message")
        yield _last_event(store)
        yield from _of_calls(store)


def _no_ledger(path: Path) -> Finding:
    folder = next((folder for folder in path.parents if folder.exists()), path.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "ledger", "bad", f"{path} cannot be made: {folder} is no folder that may be written to",
            "give write permission, or name another place: FARTHING_URL, or `ledger` in farthing.toml",
        )  # fmt: skip
    return Finding(
        "ledger", "warn", f"{path} will be made by the first call that is recorded; nothing has been yet",
        "call farthing.instrument() at the start of your program, or start it with: farthing run -- python app.py",
    )  # fmt: skip


def _last_event(store: Store) -> Finding:
    last = next(iter(store.events(Filter(), order="-time", limit=1)), None)
    if last is None:
        return Finding(
            "last event", "warn", "nothing has been recorded yet",
            "call farthing.instrument() at the start of your program, or start it with: farthing run -- python app.py",
        )  # fmt: skip
    metered = next(iter(store.events(Filter(equals={"source": "transport"}), order="-time", limit=1)), None)
    words = f"{_ago(from_us(last.at_us))}, {last.model}, by {last.source}"
    if metered is None:
        return Finding(
            "last event", "good", f"{words}; none by farthing.instrument() yet",
            "to meter a program without recording by hand: farthing.instrument(), or farthing run -- python app.py",
        )  # fmt: skip
    return Finding("last event", "good", f"{words}; last metered call {_ago(from_us(metered.at_us))}")


def _of_calls(store: Store) -> Iterator[Finding]:
    """What is not known of the calls of the last days."""
    recent = Filter(since_us=to_us(now() - timedelta(days=DAYS)))
    rows = store.totals(Question(by=("provider", "model"), where=recent))
    unpriced = sorted((row for row in rows if row.totals.unpriced_calls), key=lambda row: -row.totals.unpriced_calls)
    for row in unpriced[:5]:
        provider, model = row.key
        calls = plural(row.totals.unpriced_calls, "call")
        where = f" of {provider}" if provider else ""
        yield Finding(
            "unpriced", "warn", f"{model}{where}: {calls} in {DAYS} days without a price",
            f"farthing prices update, or farthing prices add {model} --input <USD> --output <USD>",
        )  # fmt: skip
    if len(unpriced) > 5:
        yield Finding("unpriced", "warn", f"{len(unpriced) - 5} further models", "farthing report --by model")
    if not unpriced:
        yield Finding("unpriced", "good", f"no call of the last {DAYS} days is without a price")
    guessed = sum(row.totals.estimated_calls + row.totals.partial_calls for row in rows)
    calls_made = sum(row.totals.calls for row in rows)
    if guessed:
        yield Finding(
            "estimated", "warn", f"{plural(guessed, 'call')} of {count(calls_made)} reported no usage, or not all",
            "for chat streams: farthing.instrument(include_usage=True), or [capture] include_usage = true",
        )  # fmt: skip


def _of_clients() -> Iterator[Finding]:
    clients = [found for name in _CLIENTS if (found := _installed(name))]
    if clients:
        yield Finding("clients", "good", f"farthing.instrument() meters {', '.join(clients)}")
    else:
        yield Finding(
            "clients", "warn", f"no HTTP client that can be metered is installed beside {sys.executable}",
            "install farthing into the environment that your program runs in",
        )  # fmt: skip
    sdks = [found for name in _SDKS if (found := _installed(name))]
    if sdks:
        yield Finding("SDKs", "good", ", ".join(sdks))
    if str(SITE) in sys.path:
        yield Finding("this process", "good", "was started by farthing run")


def _installed(name: str) -> str | None:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return None


def _of_prices() -> Iterator[Finding]:
    source = in_force()
    path = price_file()
    update = "farthing prices update"
    if path.is_file():
        age = now() - datetime.fromtimestamp(path.stat().st_mtime, UTC)
        words, limit = f"{source.label}, fetched {_ago(now() - age)}", OLD_PRICES_DAYS
    else:
        newest = source.newest(now().date())
        age = timedelta(0) if newest is None else now() - datetime.combine(newest, time(), UTC)
        words, limit = f"{source.label}, its newest price of {newest or 'an unknown day'}", OLD_DATA_DAYS
    if source.published:
        words += f", published {source.published}"
    if age > timedelta(days=limit):
        yield Finding("prices", "warn", f"{words}: {age.days} days old", update)
    else:
        yield Finding("prices", "good", words, "" if path.is_file() else f"the newest: {update}")


def _of_faults() -> Iterator[Finding]:
    faults = recent_faults(DAYS, now())
    if not faults:
        yield Finding("faults", "good", f"none in {DAYS} days")
        return
    last = faults[-1]
    yield Finding(
        "faults", "warn", f"{plural(len(faults), 'kind')} swallowed in {DAYS} days; last {last['at']}: {last['fault']}",
        f"your programs went on; all of them: {fault_file()}",
    )  # fmt: skip


def _ago(moment: datetime) -> str:
    seconds = int((now() - moment).total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return f"{plural(seconds // size, unit)} ago"
    return "just now"
