"""Claude Code's logs, in its own format, with what has made other tools count wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.claude_code import ClaudeCode
from farthing.capture.logs.positions import Positions
from farthing.capture.logs.tail import Tail
from farthing.event import Event
from farthing.recording import response_key

Write = Callable[..., Path]
LOG = "projects/-home-ada-shop/4f1c.jsonl"


def answer(
    number: int,
    output: int = 300,
    *,
    request: str | None = "",
    stop: str | None = "end_turn",
    usage: dict[str, Any] | None = None,
    content: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """A line of an answer as Claude Code 2 writes it."""
    line = {
        "parentUuid": f"p-{number}",
        "isSidechain": False,
        "userType": "external",
        "cwd": "/home/ada/shop",
        "sessionId": "4f1c",
        "version": "2.1.40",
        "gitBranch": "feature/SHOP-12-basket",
        "message": {
            "model": "claude-sonnet-4-5-20250929",
            "id": f"msg_{number:024d}",
            "type": "message",
            "role": "assistant",
            "content": content or [{"type": "text", "text": "Done."}],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage
            or {
                "input_tokens": 4,
                "cache_creation_input_tokens": 1000,
                "cache_read_input_tokens": 20000,
                "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
                "output_tokens": output,
                "service_tier": "standard",
            },
        },
        "requestId": f"req_{number:024d}" if request == "" else request,
        "type": "assistant",
        "uuid": f"u-{number}-{output}",
        "timestamp": f"2026-02-03T10:{number // 60:02d}:{number % 60:02d}.500Z",
    }
    for name, value in more.items():
        line[name] = value
    return {name: value for name, value in line.items() if value is not None}


def user(number: int, text: str = "Please.") -> dict[str, Any]:
    """A line that counts nothing, though it speaks of usage."""
    result = {"usage": {"input_tokens": 9_999_999, "output_tokens": 9_999_999}, "totalTokens": 12}
    told = {"role": "user", "content": [{"type": "tool_result", "content": text}]}
    return {"type": "user", "message": told, "uuid": f"x{number}", "sessionId": "4f1c", "toolUseResult": result}


def test_the_blocks_of_one_answer_are_one_call_with_its_largest_usage(desk: Any, write: Write) -> None:
    """An answer's lines repeat its usage as it stood; first-wins counts a fraction, no de-duplication a multiple."""
    write(LOG, user(1), answer(1, 8, stop=None), answer(1, 8, stop=None), answer(1, 310), user(2))
    tally = desk.read(ClaudeCode(), write(LOG, mode="a").parent)
    (event,) = desk.events()
    assert (tally.counts.added, event.usage.output_tokens, event.usage.input_tokens) == (1, 310, 21_004)
    assert (event.usage_status, event.price_status, tally.bad) == ("reported", "priced", 0)


def test_cache_writes_are_priced_by_their_lifetimes(desk: Any, write: Write) -> None:
    """Five-minute writes cost 1.25 times the input, one-hour writes twice; the cost of one call, by hand."""
    write(LOG, answer(1))
    desk.read(ClaudeCode(), write(LOG, mode="a"))
    (event,) = desk.events()
    by_hand = 4 * 3 + 400 * Decimal("3.75") + 600 * 6 + 20000 * Decimal("0.3") + 300 * 15
    assert event.usd == by_hand / 1_000_000
    assert event.usage.to_dict() == {
        "input_tokens": 21004,
        "cache_read_tokens": 20000,
        "cache_write_tokens": 1000,
        "cache_write_5m_tokens": 400,
        "cache_write_1h_tokens": 600,
        "output_tokens": 300,
    }


def test_a_call_is_for_its_project_branch_ticket_session_and_machine(desk: Any, write: Write) -> None:
    """Cost can be asked for by project, branch, ticket, session and machine; a folder below belongs to the project."""
    write(LOG, answer(1), answer(2, cwd="/home/ada/shop/web/src"), answer(3, gitBranch="HEAD", cwd="/home/ada/other"))
    desk.read(ClaudeCode(), write(LOG, mode="a"))
    first, second, third = desk.events()
    assert first.attribution.agent == "claude-code"
    assert (first.attribution.session, first.attribution.step) == ("4f1c", None)
    assert dict(first.attribution.metadata) == {
        "project": "shop",
        "git_branch": "feature/SHOP-12-basket",
        "ticket": "SHOP-12",
        "cwd": "/home/ada/shop",
        "version": "2.1.40",
        "machine": "desk-1",
    }
    assert second.attribution.metadata["project"] == "shop"
    assert third.attribution.metadata["project"] == "other"
    assert "git_branch" not in third.attribution.metadata
    assert desk.by("metadata.ticket")["SHOP-12"].calls == 2


def test_the_key_is_the_responses_so_that_a_metered_call_counts_once(desk: Any, write: Write) -> None:
    """What the transport has recorded of the same response is the same event."""
    write(LOG, answer(1))
    desk.read(ClaudeCode(), write(LOG, mode="a"))
    (event,) = desk.events()
    assert event.dedupe_key == response_key("anthropic", f"msg_{1:024d}")
    assert event.response_id == f"msg_{1:024d}"


def test_two_requests_with_one_message_id_are_two_calls(desk: Any, write: Write) -> None:
    """A gateway that gives every message the same id: the request id tells them apart, also from file to file."""
    write(LOG, answer(1, 100, request="req_a"), answer(1, 200, request="req_b"))
    desk.read(ClaudeCode(), write(LOG, mode="a"))
    second = write(
        "projects/-home-ada-shop/77aa.jsonl", answer(1, 100, request="req_a"), answer(1, 50, request="req_c")
    )
    desk.read(ClaudeCode(), second)
    assert sorted(event.usage.output_tokens for event in desk.events()) == [50, 100, 200]


def test_a_sidechains_copy_of_a_message_is_the_main_threads(desk: Any, write: Write) -> None:
    """A sidechain replays the conversation under request ids of its own: matched by message id, the parent's wins."""
    main = write(LOG, answer(1, 300, request="req_main"))
    side = answer(1, 300, request="req_side", isSidechain=True, sessionId="9c", gitBranch="other")
    own = answer(2, 40, isSidechain=True)
    write("projects/-home-ada-shop/agent-77.jsonl", side, own)
    desk.read(ClaudeCode(), main.parent)
    first, second = desk.events()
    assert (first.attribution.session, first.attribution.step) == ("4f1c", None)
    assert (second.attribution.session, second.attribution.step) == ("4f1c", "subagent")


def test_a_sidechain_in_the_same_log_counts_its_own_calls_alone(desk: Any, write: Write) -> None:
    """Older versions wrote sidechains into the session's own log; the order does not matter."""
    path = write(LOG, answer(1, 300, request="s", isSidechain=True), answer(1, 299, request="m"), answer(2, 7))
    desk.read(ClaudeCode(), path)
    first, second = desk.events()
    assert (first.usage.output_tokens, first.attribution.step, second.usage.output_tokens) == (299, None, 7)


def test_a_subagent_is_called_by_its_kind(desk: Any, write: Write) -> None:
    """By what its lines say, else by the note beside its log."""
    folder = "projects/-home-ada-shop/4f1c/subagents"
    write(f"{folder}/agent-a1.jsonl", answer(1, isSidechain=True, agentId="a1"))
    write(f"{folder}/agent-a1.meta.json", {"agentType": "Explore"})
    path = write(f"{folder}/agent-b2.jsonl", answer(2, isSidechain=True, attributionAgent="code-reviewer"))
    desk.read(ClaudeCode(), path.parents[2])
    assert set(desk.by("step")) == {"Explore", "code-reviewer"}


def test_a_subagent_without_a_log_of_its_own_counts_from_its_parents(desk: Any, write: Write) -> None:
    """The parent's log repeats a subagent's answers as progress; they count only where they stand nowhere else."""

    def progress(number: int, agent: str) -> dict[str, Any]:
        inner = {"type": "assistant", "message": answer(number)["message"], "requestId": f"r{number}"}
        data = {"type": "agent_progress", "agentId": agent, "message": inner}
        told = ("sessionId", "cwd", "gitBranch", "timestamp")
        return {"type": "progress", "data": data, **{name: answer(number)[name] for name in told}}

    write(LOG, progress(1, "a1"), progress(2, "b2"), progress(2, "b2"))
    path = write("projects/-home-ada-shop/4f1c/subagents/agent-a1.jsonl", answer(1, 900, isSidechain=True))
    desk.read(ClaudeCode(), path.parents[2])
    assert sorted(event.usage.output_tokens for event in desk.events()) == [300, 900]
    assert {event.attribution.step for event in desk.events()} == {"subagent"}


def test_answers_that_no_model_gave_are_no_calls(desk: Any, write: Write) -> None:
    """Claude Code writes its own error messages as answers of `<synthetic>`, or marks them."""
    fake = answer(1)
    fake["message"]["model"] = "<synthetic>"
    tally = desk.read(ClaudeCode(), write(LOG, fake, answer(2, isApiErrorMessage=True), answer(3)))
    assert tally.counts.added == 1
    assert tally.skipped == {"no model answered: an error that Claude Code reports": 2}


def test_the_cost_of_older_logs_stands_beside_ours(desk: Any, write: Write) -> None:
    """`costUSD` is kept as what was reported; our list price is the cost, or theirs where we know no price."""
    old = answer(1, costUSD=0.0123)
    unknown = answer(2, costUSD=0.5)
    unknown["message"]["model"] = "claude-nobody-knows"
    desk.read(ClaudeCode(), write(LOG, old, unknown))
    priced, taken = desk.events()
    assert (priced.price_status, priced.reported_pico) == ("priced", 12_300_000_000)
    assert (taken.price_status, taken.usd) == ("reported", Decimal("0.5"))


def test_speed_tier_and_searches_change_the_price(desk: Any, write: Write) -> None:
    """The usage's own words on how it was served are kept as context, web searches as units."""
    usage = {
        "input_tokens": 10,
        "output_tokens": 10,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "service_tier": "priority",
        "speed": "fast",
        "server_tool_use": {"web_search_requests": 2},
    }
    desk.read(ClaudeCode(), write(LOG, answer(1, usage=usage)))
    (event,) = desk.events()
    assert event.context == {"service_tier": "priority", "speed": "fast"}
    assert event.usage.get("web_searches") == 2


def test_an_answer_whose_end_was_not_logged_is_partial(desk: Any, write: Write) -> None:
    """Some versions log only the output count that the answer began with: known in part, and said so."""
    path = write(LOG, answer(1, 1, stop=None), answer(1, 1, stop=None), answer(2, 1))
    desk.read(ClaudeCode(), path)
    first, second = desk.events()
    assert (first.usage_status, second.usage_status) == ("partial", "reported")
    assert "stop_reason" in (first.price_reason or "")


def test_reading_again_adds_nothing_and_opens_nothing(desk: Any, write: Write) -> None:
    """What was read is remembered; and were it forgotten, the ledger knows its calls."""
    path = write(LOG, answer(1), answer(2))
    assert desk.read(ClaudeCode(), path).counts.added == 2
    again = desk.read(ClaudeCode(), path)
    assert (again.read, again.counts.total, again.lines) == (0, 0, 0)
    desk.positions.forget()
    forgotten = desk.read(ClaudeCode(), path)
    assert (forgotten.counts.added, forgotten.counts.duplicate) == (0, 2)


def test_only_what_was_added_is_read(desk: Any, write: Write) -> None:
    """A log that grew is read from where it was left."""
    path = write(LOG, answer(1), user(1))
    desk.read(ClaudeCode(), path)
    write(LOG, answer(2), user(2), mode="a")
    tally = desk.read(ClaudeCode(), path)
    assert (tally.lines, tally.counts.added, tally.counts.duplicate) == (2, 1, 0)


def test_an_answer_that_goes_on_is_corrected(desk: Any, write: Write) -> None:
    """Read while it was being written, a call's fuller usage later becomes a correction: one call, the final sum."""
    path = write(LOG, answer(1, 1, stop=None))
    desk.read(ClaudeCode(), path)
    assert desk.totals().partial_calls == 1
    write(LOG, answer(1, 300), mode="a")
    tally = desk.read(ClaudeCode(), path)
    totals = desk.totals()
    assert (tally.counts.corrected, totals.calls, totals.output_tokens, totals.partial_calls) == (1, 1, 300, 0)


def test_a_cut_last_line_waits_for_its_rest(desk: Any, write: Write) -> None:
    """A line that is being written is no error: it is read when it is whole; a whole one needs no line end."""
    text = json.dumps(answer(2), separators=(",", ":"))
    path = write(LOG, answer(1), text[:400])
    tally = desk.read(ClaudeCode(), path)
    assert (tally.counts.added, tally.bad) == (1, 0)
    write(LOG, text[400:], mode="a")
    assert desk.read(ClaudeCode(), path).counts.added == 1
    write(LOG, "\n", answer(3), mode="a")
    tally = desk.read(ClaudeCode(), path)
    assert (tally.counts.added, tally.bad) == (1, 0)
    assert desk.totals().calls == 3


def test_a_replaced_log_is_read_from_its_start(desk: Any, write: Write) -> None:
    """Cut, or another file of the same name, whatever its size and inode."""
    path = write(LOG, *(answer(n) for n in range(1, 9)))
    desk.read(ClaudeCode(), path)
    write(LOG, answer(20))
    assert desk.read(ClaudeCode(), path).counts.added == 1
    write(LOG, *(answer(n) for n in range(21, 40)))
    assert desk.read(ClaudeCode(), path).counts.added == 19


def test_a_copied_log_goes_on_where_it_was(desk: Any, write: Write, tmp_path: Path) -> None:
    """The same content under a new inode is no new log: only what follows is read."""
    path = write(LOG, answer(1), answer(2))
    desk.read(ClaudeCode(), path)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.replace(copy, path)
    write(LOG, answer(3), mode="a")
    assert desk.read(ClaudeCode(), path).lines == 1


def test_bad_lines_are_told_with_file_line_and_reason(desk: Any, write: Write) -> None:
    """What cannot be read is shown; the lines around it count."""
    wrong_time = answer(3, timestamp="yesterday")
    path = write(LOG, answer(1), "garbage\n", '{"type":"assistant","message":{"usage":{}\n', wrong_time, answer(4))
    with path.open("ab") as file:
        file.write(b'{"type":"assistant","usage":"\xff"}\n[1, 2]\n\n')
    tally = desk.read(ClaudeCode(), path)
    assert tally.counts.added == 2
    assert sorted((problem.line, problem.reason.split(":")[0]) for problem in tally.problems) == [
        (2, "is no JSON"),
        (3, "is no JSON"),
        (4, "at = 'yesterday'"),
        (6, "is no UTF-8"),
        (7, "is JSON, but no object"),
    ]
    assert {problem.file for problem in tally.problems} == {str(path)}


@pytest.mark.parametrize("late", [False, True])
def test_the_content_of_long_answers_never_counts(desk: Any, write: Write, late: bool) -> None:
    """Tool inputs that look like usage, a long text, any order of keys: only the message's own usage counts."""
    trap = {"usage": {"input_tokens": 7e9}, "content": [1], "stop_reason": "x", "type": "user", "id": "msg_other"}
    content = [
        {"type": "tool_use", "input": {"a": [trap], "stop_reason": "y"}},
        {"type": "text", "text": '"usage":{' * 900},
    ]
    line = answer(1, 310, content=content)
    if late:
        line["message"]["content"] = line["message"].pop("content")
    desk.read(ClaudeCode(), write(LOG, line))
    (event,) = desk.events()
    assert (event.usage.input_tokens, event.usage.output_tokens) == (21_004, 310)


def test_bedrock_and_other_models_keep_their_own_provider(desk: Any, write: Write) -> None:
    """The form of a message's id tells who answered; a model that is not Anthropic's is looked up by its name."""
    bedrock, other = answer(1, request=None), answer(2)
    bedrock["message"]["id"] = "msg_bdrk_01AbCdEf"
    other["message"].update(model="gpt-5-codex", id="chatcmpl-1")
    desk.read(ClaudeCode(), write(LOG, bedrock, other))
    assert [event.provider for event in desk.events()] == ["aws", "openai"]


def test_a_subscriptions_calls_are_priced_at_list_and_marked(desk: Any, write: Write) -> None:
    """The log does not say who pays: metered unless told."""
    path = write(LOG, answer(1))
    tally = desk.read(ClaudeCode(), path, billing="subscription")
    (event,) = desk.events()
    assert (event.billing, event.price_status, tally.subscription) == ("subscription", "priced", 1)


def test_positions_of_another_ledger_are_forgotten(write: Write, desk: Any) -> None:
    """A ledger that was removed, or replaced by an older one, is filled again."""
    path = write(LOG, answer(1))
    elsewhere = Positions()
    with Tail(path) as tail:
        assert len(list(tail.lines())) == 1
        elsewhere.save({str(path): tail.position()}, witness="response:anthropic:msg_gone")
    desk.positions = elsewhere
    assert desk.read(ClaudeCode(), path).counts.added == 1


def test_damaged_positions_are_made_anew(tmp_path: Path) -> None:
    """They are a convenience: a file that is no database is replaced."""
    path = tmp_path / "ledger.db.positions"
    path.write_bytes(b"no database at all" * 100)
    with Positions(path) as positions:
        assert positions.get("anything") is None
    assert path.stat().st_mode & 0o777 in (0o600, 0o644)


def test_default_places() -> None:
    """CLAUDE_CONFIG_DIR names one or several folders; without it there are two."""
    home = Path("/home/ada")
    assert ClaudeCode().places({}, home) == [home / ".config/claude/projects", home / ".claude/projects"]
    assert ClaudeCode().places({"CLAUDE_CONFIG_DIR": "/a, /b/projects"}, home) == [
        Path("/a/projects"),
        Path("/b/projects"),
    ]


def test_recorded_runs_of_the_agent_sdk_cost_what_they_say(desk: Any, shared: Path) -> None:
    """A run's messages lack their output, and some are not shown; its last line has all: together they cost as told.

    Where they do not, the SDK of then did not know claude-sonnet-4-6 and took another's rates, 5/25 instead of 3/15.
    """
    path = shared / "realdata" / "agent-logs" / "claude_agent_sdk_messages.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = {line["session_id"]: Decimal(repr(line["total_cost_usd"])) for line in lines if line["type"] == "result"}
    tally = desk.read(ClaudeCode(), path)
    ours: dict[str | None, Decimal] = {}
    for event in desk.events():
        assert isinstance(event, Event) and event.usd is not None
        assert event.usage_status == "reported", event.price_reason
        ours[event.attribution.session] = ours.get(event.attribution.session, Decimal(0)) + event.usd
    print("\nsession       ours        told   told/ours")
    for session, cost in told.items():
        print(f"{session[:8]} {ours[session]:10.7f} {cost:11.7f} {cost / ours[session]:8.4f}")
    ratios = sorted(round(cost / ours[session], 4) for session, cost in told.items())
    assert tally.bad == 0
    assert ratios == [1, 1] + [Decimal("1.6667")] * 6


def test_a_run_that_was_read_in_two_parts_adds_nothing_of_its_totals(desk: Any, write: Write) -> None:
    """Its messages are counted; a difference to totals whose beginning is not at hand is no call."""
    first = {"type": "assistant", "session_id": "s", "message": answer(1)["message"]}
    used = {"inputTokens": 4, "outputTokens": 500, "cacheReadInputTokens": 20000, "cacheCreationInputTokens": 1000}
    path = write("run.jsonl", first)
    desk.read(ClaudeCode(), path)
    write("run.jsonl", {"type": "result", "session_id": "s", "modelUsage": {"m": used}, "usage": {}}, mode="a")
    assert desk.read(ClaudeCode(), path).counts.added == 0
