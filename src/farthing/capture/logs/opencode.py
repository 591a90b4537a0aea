"""OpenCode's messages: in its database, in older versions a JSON file each.

Its input is without cache reads and writes. Whether its output holds the reasoning is told by the total; without one
it does where it can, but for Google's models. Its cost is its own sum; 0 where it knows no price, or where a plan
pays.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from farthing.capture.logs.agents import Found, Part, files_under
from farthing.capture.logs.attributed import text
from farthing.capture.logs.fields import moment_us
from farthing.capture.logs.values import BadLine, Skipped
from farthing.errors import InputError
from farthing.event import NO_MODEL
from farthing.recording import Call
from farthing.usage import Usage

DATABASE = "opencode.db"
PROVIDERS = {"amazon-bedrock": "aws", "google-vertex": "google", "google-vertex-anthropic": "google", "xai": "x-ai"}
"""OpenCode's names of providers that have another in the price data."""

PLANS = frozenset({"github-copilot", "github-copilot-enterprise", "opencode-go", "zai-coding-plan", "kimi-for-coding"})
"""Providers that are flat plans."""

_PAGE = 500


class OpenCode:
    """OpenCode: `opencode.db` in its data folder, else the files of `storage/message` there."""

    name = "opencode"

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """OPENCODE_DATA_DIR, else `opencode` in the user's data folder."""
        if environ.get("OPENCODE_DATA_DIR"):
            return [Path(environ["OPENCODE_DATA_DIR"]).expanduser()]
        data = Path(environ["XDG_DATA_HOME"]) if environ.get("XDG_DATA_HOME") else home / ".local" / "share"
        return [data / "opencode"]

    def files(self, places: Sequence[Path]) -> list[Path]:
        """The database of each place; where there is none, its message files."""
        found: list[Path] = []
        for place in places:
            if place.is_dir() and not (place / DATABASE).is_file():
                inside = [folder for folder in (place / "storage" / "message", place / "message") if folder.is_dir()]
                found += sorted(files_under(inside or [place], (".json",)))
            else:
                found += [place / DATABASE] if place.is_dir() else files_under([place], ("",))
        return list(dict.fromkeys(found))

    def by_lines(self, path: Path) -> bool:
        """Never."""
        return False

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of a database, or of a message's file."""
        if part.path.suffix != ".json":
            yield from self._rows(part)
            return
        try:
            message = json.loads(part.path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise InputError(f"is no JSON: {error}") from None
        if isinstance(message, dict):
            yield from _found(part, 1, message)

    def _rows(self, part: Part) -> Iterator[Found]:
        try:
            with closing(_opened(part.path)) as database:
                columns = {row[1] for row in database.execute("PRAGMA table_info(message)")}
                if not {"id", "session_id", "data"} <= columns:
                    raise InputError("is no database of OpenCode: it has no table message(id, session_id, data)")
                changed = "time_updated" in columns
                since = part.state.get("updated")
                sql = f"SELECT rowid, id, session_id, data, {'time_updated' if changed else '0'} FROM message"
                where, values = (" WHERE time_updated >= ?", (since,)) if changed and type(since) is int else ("", ())
                newest = since if type(since) is int else 0
                rows = database.execute(sql + where + " ORDER BY rowid", values)
                while page := rows.fetchmany(_PAGE):
                    for number, identity, session, data, updated in page:
                        newest = max(newest, updated) if type(updated) is int else newest
                        try:
                            message = json.loads(data)
                        except (ValueError, TypeError, RecursionError) as error:
                            yield part.problem(number, f"message {identity}: is no JSON: {error}")
                            continue
                        if isinstance(message, dict):
                            yield from _found(part, number, {"id": identity, "sessionID": session, **message})
                part.state["updated"] = newest
        except sqlite3.Error as error:
            raise InputError(f"cannot be read as a database: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    """The database, for reading alone. On a medium that cannot be written it is read as it lies."""
    name = f"file:{quote(str(path.absolute()))}"
    database = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=10.0)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        database.close()
        database = sqlite3.connect(f"{name}?mode=ro&immutable=1", uri=True)
    return database


def _found(part: Part, number: int, message: Mapping[str, Any]) -> Iterator[Found]:
    """The call of a message, where it is an answer that says what it used."""
    tokens = message.get("tokens")
    if message.get("role") != "assistant" or not isinstance(tokens, dict):
        return
    try:
        yield number, _call(part, message, tokens)
    except BadLine as bad:
        yield part.problem(number, f"message {message.get('id')}: {bad}")


def _call(part: Part, message: Mapping[str, Any], tokens: Mapping[str, Any]) -> Call | Skipped:
    identity = text(message.get("id"))
    if identity is None:
        raise BadLine("has no id")
    named = text(message.get("providerID"))
    usage = _usage(tokens, named)
    if not usage:
        return Skipped("an answer without tokens")
    path, time = message.get("path"), message.get("time")
    folder = text(path.get("root")) or text(path.get("cwd")) if isinstance(path, dict) else None
    if folder == "/" and isinstance(path, dict):
        folder = text(path.get("cwd"))
    created = time.get("created") if isinstance(time, dict) else None
    cost = message.get("cost")
    known = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 < cost < math.inf
    how = part.how
    return Call(
        model=text(message.get("modelID")) or how.model or NO_MODEL,
        usage=usage,
        attribution=how.who(
            text(message.get("sessionID")),
            step=text(message.get("agent")) or text(message.get("mode")),
            folder=folder,
        ),
        provider=PROVIDERS.get(named, named) if named else None,
        at_us=moment_us(created) if created else None,
        reported_usd=cost if known else None,
        dedupe_key=f"opencode:{identity}",
        source=how.source,
        billing=how.billing or ("subscription" if named in PLANS else "metered"),
    )


def _usage(tokens: Mapping[str, Any], provider: str | None) -> Usage:
    cache = tokens.get("cache")
    cache = cache if isinstance(cache, dict) else {}
    read_in, out, reasoning = (_count(tokens, name) for name in ("input", "output", "reasoning"))
    cached, written, total = _count(cache, "read"), _count(cache, "write"), _count(tokens, "total")
    if total and total == read_in + cached + written + out + reasoning:
        apart = True
    elif total and total == read_in + cached + written + out:
        apart = False
    else:
        apart = reasoning > out or (provider or "").startswith("google")
    return Usage.reported(
        {
            "input_tokens": read_in + cached + written,
            "cache_read_tokens": cached,
            "cache_write_tokens": written,
            "output_tokens": out + (reasoning if apart else 0),
            "output_reasoning_tokens": reasoning,
        }
    )


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < 0:
        raise BadLine(f"tokens.{name} = {value!r}: must be a whole number, not negative")
    return int(value)
