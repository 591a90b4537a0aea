"""Newer prices: fetch a price file, check it, say what it changes, put it in force, and go back.

The file in force is `prices.json` in the user's data folder; what it replaced is kept beside it. Nothing here is needed
to price: without a newer file, and without a network, the installed data is used.
"""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from farthing.errors import PriceError
from farthing.pricing.catalog import Catalog
from farthing.pricing.convert import spans
from farthing.pricing.defaults import price_file
from farthing.pricing.record import PriceRecord, moment_us, rates_of
from farthing.pricing.source import Source, bundled, read_file, read_text

USUAL_SOURCE = "https://raw.githubusercontent.com/pydantic/genai-prices/main/prices/data.json"
"""Where the data of genai-prices is published between its releases."""

SIZE_LIMIT = 64 * 2**20
TIMEOUT_S = 30.0
LEAP = 10
"""A price that moves by more than this factor is taken for a mistake in the file."""

KEPT = 20
"""Replaced price files that are kept."""


@dataclass(frozen=True, slots=True)
class Change:
    """One rate that differs: US dollars for one unit's customary lot; None where there is none."""

    provider: str
    model: str
    rate: str
    old: Fraction | None
    new: Fraction | None

    @property
    def is_leap(self) -> bool:
        """Whether it moves by more than `LEAP` times, or to or from nothing."""
        if self.old is None or self.new is None or self.old == self.new:
            return False
        low, high = sorted((self.old, self.new))
        return low * LEAP < high


@dataclass(frozen=True, slots=True)
class Diff:
    """What a newer price file changes: (provider, model) pairs that are new or gone, and rates that differ today."""

    old: str
    new: str
    models: int
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[Change, ...]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the file looks like a mistake, in words; empty where it does not."""
        found = [
            f"{c.provider} {c.model}: {c.rate} moves from {_words(c.old)} to {_words(c.new)} USD"
            for c in self.changed
            if c.is_leap
        ]
        before = self.models - len(self.added) + len(self.removed)
        if len(self.removed) * 2 > before:
            found.append(f"{len(self.removed)} of {before} models are gone")
        return tuple(found)

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.changed)


def _words(usd: Fraction | None) -> str:
    return "none" if usd is None else f"{float(usd):g}"


def update(source: str | Path = USUAL_SOURCE, *, force: bool = False, dry_run: bool = False) -> Diff:
    """Put the price file at a URL or path in force; what differs from the prices so far.

    Refused with PriceError, and nothing changes: a file that cannot be fetched, is broken, or (without `force`) moves a
    price by more than ten times or loses most models. `dry_run` only compares.
    """
    text = fetch(source)
    newer = checked(text, str(source))
    diff = compare(in_force(), newer)
    if dry_run:
        return diff
    if diff.doubts and not force:
        listed = "; ".join(diff.doubts[:3]) + (f"; and {len(diff.doubts) - 3} more" if len(diff.doubts) > 3 else "")
        raise PriceError(
            f"{source}: refused, because it looks like a mistake: {listed}. To take it all the same: --force"
        )
    _put(text)
    Catalog.reset_default()
    return diff


def in_force() -> Source:
    """The data in force: the user's newer file, else the installed data."""
    path = price_file()
    return read_file(path) if path.is_file() else bundled()


def rollback() -> str:
    """Back to the prices before the last update; what is in force now, in words. PriceError where there was none."""
    path = price_file()
    if not path.is_file():
        raise PriceError(
            "no newer price file is in force: the installed prices are, and there is no way back from them"
        )
    older = replaced()
    os.replace(path, path.with_name("rolled-back.json"))
    if older:
        os.replace(older[-1], path)
    Catalog.reset_default()
    return f"the price file of {_stamp_words(older[-1])}" if older else "the installed prices"


def replaced() -> list[Path]:
    """The price files that were in force before, oldest first."""
    return sorted((price_file().parent / "replaced").glob("*.json"))


def _stamp_words(path: Path) -> str:
    return path.stem.split("-")[0]


def fetch(source: str | Path) -> str:
    """The text at an https or file URL (http: of this machine only) or a path. What cannot be had: PriceError."""
    name = str(source)
    try:
        if "://" in name:
            raw = _download(name)
        else:
            path = Path(name).expanduser()
            if path.stat().st_size > SIZE_LIMIT:
                raise PriceError(f"{name}: is larger than {SIZE_LIMIT} bytes")
            raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, PriceError):
            raise
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise PriceError(f"{name}: the price file could not be read: {reason}") from error


def _download(url: str) -> bytes:
    _check_url(url)
    opener = urllib.request.build_opener(_Careful())
    request = urllib.request.Request(url, headers={"User-Agent": "farthing", "Accept": "application/json"})
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        raw: bytes = answer.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT:
        raise PriceError(f"{url}: is larger than {SIZE_LIMIT} bytes")
    return raw


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to where one might have asked in the first place."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request of the new place. To plain http: PriceError; to a file it leads nowhere anyway."""
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme.lower() == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise PriceError(f"{url}: prices are fetched over https only, since anybody on the way could change them")
    if parts.scheme.lower() not in ("http", "https", "file"):
        raise PriceError(f"{url}: must be an https or file URL, or a path")


def checked(text: str, label: str) -> Source:
    """The data of a price file, every model and every rate read. Broken: PriceError that names the place."""
    source = read_text(text, label)
    try:
        for _, _, record in _records(source):
            given = {key: value for key, value in record.items() if value not in (None, [], {}, ())}
            PriceRecord.make({**given, "rates": record["rates"]})
    except PriceError as error:
        raise PriceError(f"{label}: {error}") from error
    return source


def _records(source: Source) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for provider in source.providers.values():
        for model in provider.models():
            for record in spans(provider.id, model, source.label, source.published):
                yield provider.id, model.id, record


def compare(old: Source, new: Source, at: datetime | None = None) -> Diff:
    """What differs between two sets of data, in the prices that are in force at a moment (now)."""
    now = at or datetime.now(UTC)
    before, after = _rates_at(old, now), _rates_at(new, now)
    changed = [
        Change(*key, rate, before[key].get(rate), after[key].get(rate))
        for key in before.keys() & after.keys()
        for rate in {**before[key], **after[key]}
        if before[key].get(rate) != after[key].get(rate)
    ]
    return Diff(
        old=old.label,
        new=new.label,
        models=len(after),
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(changed, key=lambda c: (c.provider, c.model, c.rate))),
    )


def _rates_at(source: Source, now: datetime) -> dict[tuple[str, str], dict[str, Fraction]]:
    """(provider, model) -> rate in words -> USD, of the record in force."""
    moment = int(now.timestamp() * 1_000_000)
    found: dict[tuple[str, str], dict[str, Fraction]] = {}
    for provider, model, record in _records(source):
        start = moment_us(record.get("from"))
        if (provider, model) not in found or start is None or start <= moment:
            found[provider, model] = _flat(record)
    return found


def _flat(record: Mapping[str, Any]) -> dict[str, Fraction]:
    """Every amount by what it is for: `input_tokens`, `input_tokens above 200000`, `output_tokens (batch)`."""
    parts: list[tuple[str, Mapping[str, Any]]] = [("", record.get("rates", {}))]
    for part in record.get("variants", ()):
        parts.append((f" ({', '.join(map(str, part.get('when', {}).values()))})", part.get("rates", {})))
    for part in record.get("windows", ()):
        parts.append((f" ({part.get('start')}-{part.get('end')})", part.get("rates", {})))
    flat: dict[str, Fraction] = {}
    for words, rates in parts:
        for unit, rate in rates_of(rates).items():
            flat[f"{unit}{words}"] = rate.usd
            for above, usd in rate.tiers:
                flat[f"{unit} above {above}{words}"] = usd
    return flat


def _put(text: str) -> None:
    """Write the file whole, keep the one it replaces: a reader sees the old one or the new one, never a part."""
    path = price_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".prices-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            kept = path.parent / "replaced"
            kept.mkdir(exist_ok=True)
            os.link(path, kept / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.json")
            for old in replaced()[:-KEPT]:
                old.unlink(missing_ok=True)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
