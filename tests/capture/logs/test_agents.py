"""What all agents' logs share: following live, lots, places, names; and recorded sessions priced at list."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.agents import AgentImport, AgentTally, files_under, watch
from farthing.capture.logs.attributed import project_of, ticket_of
from farthing.capture.logs.claude_code import ClaudeCode
from farthing.capture.logs.positions import Positions, Request
from farthing.capture.logs.tail import Tail
from farthing.errors import LedgerError
from farthing.event import from_us
from farthing.ledger.open import open_ledger
from farthing.pricing.catalog import Catalog
from farthing.usage import Usage

Write = Callable[..., Path]


def line(number: int, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"id": f"msg_{number:024d}", "model": "claude-sonnet-4-5", "stop_reason": "end_turn", "usage": usage}
    told = {"type": "assistant", "sessionId": "s", "requestId": f"r{number}", "timestamp": "2026-02-03T10:00:00Z"}
    return {**told, "message": message, **more}


def test_watching_reads_what_is_written_until_it_is_enough(desk: Any, write: Write, tmp_path: Path) -> None:
    """Each look reads what is new, logs that appear included; who watches hears of news alone; waiting is given."""
    write("a.jsonl", line(1))
    reader = AgentImport(ClaudeCode(), desk.store, Catalog.default(), desk.positions)
    heard: list[int] = []
    steps: list[Callable[[], object]] = [
        lambda: write("a.jsonl", line(2), mode="a"),
        lambda: None,
        lambda: write("sub/b.jsonl", line(3), line(4)),
    ]

    def wait() -> bool:
        if steps:
            steps.pop(0)()
            return False
        return True

    watch(lambda: reader.poll([tmp_path]), wait, lambda tally: heard.append(tally.counts.added))
    assert heard == [1, 1, 2]
    assert desk.totals().calls == 4


def test_nothing_is_taken_for_read_before_it_is_kept(desk: Any, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that fails leaves the positions where they were: the next import reads the same again."""
    path = write("a.jsonl", *(line(n) for n in range(20)))
    with monkeypatch.context() as broken:

        def full(entries: object) -> None:
            raise LedgerError("the disk is full")

        broken.setattr(desk.store, "append_many", full)
        with pytest.raises(LedgerError):
            desk.read(ClaudeCode(), path)
    assert desk.positions.get(str(path)) is None
    assert desk.read(ClaudeCode(), path).counts.added == 20


def test_many_small_logs_and_a_large_one_are_each_read_once(desk: Any, write: Write, tmp_path: Path) -> None:
    """More messages than are kept in mind at once, repeats at the end included, and more logs than one lot."""
    numbers = range(3_000)
    write("p/large.jsonl", *(line(n) for n in numbers), *(line(n) for n in range(5)))
    for n in range(50):
        write(f"p/{n}.jsonl", line(10_000 + n))
    told: list[int] = []
    options: list[AgentTally] = []

    def progress(done: int, tally: AgentTally) -> None:
        told.append(done)
        options.append(tally)

    reader = AgentImport(ClaudeCode(), desk.store, Catalog.default(), desk.positions)
    tally = reader.poll([tmp_path], progress)
    assert (tally.counts.added, tally.counts.duplicate, tally.files) == (3_050, 5, 51)
    assert told == sorted(told) and told[-1] == sum(path.stat().st_size for path in (tmp_path / "p").iterdir())


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path, write: Write) -> None:
    """Links to folders are not followed, and a file that is linked is one."""
    path = write("a/one.jsonl", line(1))
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "same.jsonl").symlink_to(path)
    assert files_under([tmp_path, tmp_path / "a", path], (".jsonl",)) == [path]


def test_a_log_that_cannot_be_opened_is_told_and_the_others_are_read(desk: Any, write: Write, tmp_path: Path) -> None:
    """A dangling link, say."""
    write("b.jsonl", line(1))
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    tally = desk.read(ClaudeCode(), tmp_path)
    assert (tally.counts.added, [p.line for p in tally.problems]) == (1, [0])


def test_a_line_that_is_too_long_is_told(write: Write, monkeypatch: pytest.MonkeyPatch, desk: Any) -> None:
    """It is passed over to its end, in parts, and the lines after it count."""
    monkeypatch.setattr("farthing.capture.logs.tail.LINE_LIMIT", 1_000)
    path = write("a.jsonl", line(1), '{"usage":"' + "x" * 5_000 + '"}\n', line(2), '{"usage":"' + "x" * 5_000)
    tally = desk.read(ClaudeCode(), path)
    assert (tally.counts.added, [p.line for p in tally.problems]) == (2, [2])
    write("a.jsonl", '"}\n', line(3), mode="a")
    tally = desk.read(ClaudeCode(), path)
    assert (tally.counts.added, [p.line for p in tally.problems]) == (1, [4])


def test_positions_survive_and_belong_to_an_organisation(tmp_path: Path, write: Write) -> None:
    """Written with the file 0600; what one organisation has read, another has not."""
    path = write("a.jsonl", line(1))
    with Tail(path) as tail:
        assert [number for number, _ in tail.lines()] == [1]
        tail.state["model"] = "m"
        position = tail.position()
    place = tmp_path / "ledger.db.positions"
    with Positions(place) as positions:
        positions.note_request(7, Request(8, True))
        positions.save({str(path): position}, "key")
    assert place.stat().st_mode & 0o777 == 0o600
    with Positions(place) as positions, Positions(place, org="other") as others:
        assert positions.get(str(path)) == position
        assert positions.witness == "key"
        assert positions.first_requests([7, 9]) == {7: Request(8, True)}
        assert others.get(str(path)) is None and others.witness is None


def test_a_ledger_in_a_file_remembers(tmp_path: Path, write: Write) -> None:
    """The whole way: a ledger and its positions in files, opened anew."""
    path = write("a.jsonl", line(1))
    for expected in ((1, 1), (0, 0)):
        with open_ledger(tmp_path / "l.db") as store, Positions(tmp_path / "l.db.positions") as positions:
            tally = AgentImport(ClaudeCode(), store, Catalog.default(), positions).poll([path])
            assert (tally.read, tally.counts.added) == expected
    (tmp_path / "l.db").unlink()
    for rest in ("-wal", "-shm"):
        (tmp_path / f"l.db{rest}").unlink(missing_ok=True)
    with open_ledger(tmp_path / "l.db") as store, Positions(tmp_path / "l.db.positions") as positions:
        assert AgentImport(ClaudeCode(), store, Catalog.default(), positions).poll([path]).counts.added == 1


@pytest.mark.parametrize(
    ("branch", "ticket"),
    [
        ("feature/ABC-12-login", "ABC-12"),
        ("ABC-12", "ABC-12"),
        ("123-fix-login", "#123"),
        ("fix/issue-45", "#45"),
        ("release/2026-02", None),
        ("main", None),
        ("utf-8-names", None),
        (None, None),
    ],
)
def test_tickets_of_branches(branch: str | None, ticket: str | None) -> None:
    """The forms that trackers give branches; a year is no issue."""
    assert ticket_of(branch) == ticket


@pytest.mark.parametrize(
    ("folder", "project"),
    [
        ("/home/ada/shop", "shop"),
        ("/home/ada/shop/.claude/worktrees/quick-fix", "shop"),
        ("C:\\work\\shop", "shop"),
        ("/", "/"),
        (None, None),
    ],
)
def test_projects_of_folders(folder: str | None, project: str | None) -> None:
    """The last part of a path, of a worktree the repository's; paths of Windows too."""
    assert project_of(folder) == project


def test_recorded_sessions_cost_at_list_what_their_agent_said(shared: Path) -> None:
    """937 answers, priced by us and by the agent that wrote their log: the same to a thousandth of a cent."""
    path = shared / "realdata" / "agent-logs" / "pi_session_usage.jsonl"
    catalog = Catalog.default()
    compared: Counter[str] = Counter()
    differing: list[str] = []
    for row in map(json.loads, path.read_text().splitlines()):
        message = row["message"]
        used = message["usage"]
        cached, written = used["cacheRead"], used["cacheWrite"]
        usage = Usage(
            input_tokens=used["input"] + cached + written,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            output_tokens=used["output"],
        )
        at = from_us(message["timestamp"] * 1000)
        cost = catalog.price(message["model"], usage, provider=message["provider"], at=at)
        compared[message["model"]] += 1
        theirs = Decimal(repr(used["cost"]["total"]))
        if cost.usd is None or abs(cost.usd - theirs) > Decimal("0.00001"):
            differing.append(f"{message['model']} {message['timestamp']}: ours {cost.usd}, theirs {theirs}")
    print("\n", compared, "\n", *differing[:5], sep="\n")
    assert not differing
    assert sum(compared.values()) == 937
