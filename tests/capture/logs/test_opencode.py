"""OpenCode's database and message files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.opencode import OpenCode

Write = Callable[..., Path]
MS = 1_770_112_800_000


def message(number: int, tokens: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "time": {"created": MS + number * 1000, "completed": MS + number * 1000 + 900},
        "modelID": "claude-sonnet-4-5",
        "providerID": "anthropic",
        "mode": "build",
        "agent": "build",
        "path": {"cwd": "/home/ada/shop/web", "root": "/home/ada/shop"},
        "cost": 0.0123,
        "tokens": tokens or told(100, 50, read=2000, write=300),
        **more,
    }


def told(
    read_in: int, out: int, *, reasoning: int = 0, read: int = 0, write: int = 0, total: int = 0
) -> dict[str, Any]:
    cache = {"read": read, "write": write}
    found = {"input": read_in, "output": out, "reasoning": reasoning, "cache": cache}
    return {**found, "total": total} if total else found


def database(path: Path, *messages: dict[str, Any], start: int = 1) -> Path:
    """Adds messages to a database as OpenCode keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(
            "CREATE TABLE IF NOT EXISTS message (id text PRIMARY KEY, session_id text NOT NULL, "
            "time_created integer NOT NULL, time_updated integer NOT NULL, data text NOT NULL)"
        )
        for number, one in enumerate(messages, start):
            row = (f"msg_{number}", "ses_1", MS + number, MS + number, json.dumps(one))
            file.execute("INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?)", row)
    return path


def test_a_database_is_read_and_only_what_is_new_of_it(desk: Any, tmp_path: Path) -> None:
    """Input is without cache reads and writes; OpenCode's own cost stands beside ours."""
    asked = {"role": "user", "time": {"created": MS}}
    path = database(tmp_path / "opencode/opencode.db", asked, message(2), message(3, told(0, 0)))
    tally = desk.read(OpenCode(), tmp_path / "opencode")
    (event,) = desk.events()
    assert event.usage.to_dict() == {
        "input_tokens": 2400,
        "cache_read_tokens": 2000,
        "cache_write_tokens": 300,
        "output_tokens": 50,
    }
    assert (event.price_status, event.reported_pico, event.at_us) == ("priced", 12_300_000_000, (MS + 2000) * 1000)
    assert tally.skipped == {"an answer without tokens": 1}
    assert desk.read(OpenCode(), path).read == 0
    database(path, message(4), start=4)
    assert desk.read(OpenCode(), path).counts.added == 1


def test_a_message_that_is_completed_later_is_counted_then(desk: Any, tmp_path: Path) -> None:
    """A row that changes is read again, and a fuller one corrects."""
    path = database(tmp_path / "opencode.db", message(1, told(10, 1)))
    desk.read(OpenCode(), path)
    database(path, message(1, told(10, 400)))
    tally = desk.read(OpenCode(), path)
    assert (tally.counts.corrected, desk.totals().calls, desk.totals().output_tokens) == (1, 1, 400)


@pytest.mark.parametrize(
    ("provider", "counts", "output"),
    [
        ("anthropic", told(10, 50, reasoning=20, total=80), 70),
        ("anthropic", told(10, 50, reasoning=20, total=60), 50),
        ("openai", told(10, 50, reasoning=20), 50),
        ("openai", told(10, 5, reasoning=20), 25),
        ("google", told(10, 50, reasoning=20), 70),
    ],
    ids=["outside, by the total", "inside, by the total", "inside", "more than the output", "google's is outside"],
)
def test_whether_the_output_holds_the_reasoning(
    desk: Any, tmp_path: Path, provider: str, counts: dict[str, Any], output: int
) -> None:
    """The total says it; without one, the provider's habit."""
    desk.read(OpenCode(), database(tmp_path / "opencode.db", message(1, counts, providerID=provider)))
    (event,) = desk.events()
    assert (event.usage.output_tokens, event.usage.output_reasoning_tokens) == (output, 20)


def test_message_files_of_older_versions(desk: Any, write: Write, tmp_path: Path) -> None:
    """A file a message; a database beside them goes before, for it holds them all."""
    for number in (1, 2):
        one = {"id": f"msg_{number}", "sessionID": "ses_1", **message(number)}
        write(f"opencode/storage/message/ses_1/msg_{number}.json", one)
    write("opencode/storage/session/ses_1.json", {"id": "ses_1"})
    place = tmp_path / "opencode"
    assert desk.read(OpenCode(), place).counts.added == 2
    assert desk.read(OpenCode(), place).read == 0
    database(place / "opencode.db", message(1), message(2), message(3))
    tally = desk.read(OpenCode(), place)
    assert (tally.counts.added, tally.counts.duplicate) == (1, 2)


def test_a_call_is_for_its_project_session_and_agent(desk: Any, tmp_path: Path) -> None:
    """The project is the repository's root; OpenCode's own agents are steps."""
    desk.read(OpenCode(), database(tmp_path / "opencode.db", message(1)))
    (event,) = desk.events()
    who = event.attribution
    assert (who.agent, who.session, who.step, who.metadata["project"]) == ("opencode", "ses_1", "build", "shop")


def test_a_plan_is_a_subscription_and_its_cost_of_0_is_no_figure(desk: Any, tmp_path: Path) -> None:
    """A flat plan's calls are priced at list; 0 means that OpenCode knew no price."""
    plan = message(1, providerID="github-copilot", modelID="gpt-4.1", cost=0)
    unknown = message(2, providerID="mine", modelID="nobody-knows-1", cost=0)
    own = message(3, providerID="mine", modelID="nobody-knows-1", cost=0.25)
    desk.read(OpenCode(), database(tmp_path / "opencode.db", plan, unknown, own))
    first, second, third = desk.events()
    assert first.billing == "subscription"
    assert (second.cost_pico, second.price_status, second.reported_pico) == (None, "unpriced", None)
    assert (third.usd, third.price_status) == (Decimal("0.25"), "reported")


def test_the_database_is_only_read(desk: Any, tmp_path: Path) -> None:
    """Not a byte of another program's database changes, also while it writes ahead."""
    path = database(tmp_path / "opencode.db", message(1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE message SET time_updated = time_updated + 1")
        other.commit()
        before = path.read_bytes()
        assert desk.read(OpenCode(), path).counts.added == 1
        assert path.read_bytes() == before


def test_what_cannot_be_read_is_told(desk: Any, tmp_path: Path, write: Write) -> None:
    """A file that is no database, one of another program, a broken row."""
    assert "database" in desk.read(OpenCode(), write("a/opencode.db", "no database")).problems[0].reason
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as file, file:
        file.execute("CREATE TABLE message (id text)")
    assert "no database of OpenCode" in desk.read(OpenCode(), other).problems[0].reason
    path = database(tmp_path / "opencode.db", message(1, {"input": "x"}), message(2))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("INSERT INTO message VALUES ('msg_9', 'ses_1', 1, 1, '{broken')")
    tally = desk.read(OpenCode(), path)
    assert tally.counts.added == 1
    assert [problem.reason.split(":")[0] for problem in tally.problems] == ["message msg_1", "message msg_9"]
