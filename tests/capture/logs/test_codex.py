"""Codex's logs, in its own format: running totals, repeats, replays of parents, archived copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.capture.logs.codex import Codex

Write = Callable[..., Path]
PARENT, CHILD = "019f0000-0000-7000-8000-00000000000a", "019f0000-0000-7000-8000-00000000000b"


def at(second: float) -> str:
    return f"2026-02-03T10:{int(second) // 60:02d}:{second % 60:06.3f}Z"


def meta(thread: str, second: float = 0, **more: Any) -> dict[str, Any]:
    payload = {
        "id": thread,
        "timestamp": at(second),
        "cwd": "/home/ada/shop",
        "originator": "codex_cli_rs",
        "cli_version": "0.98.0",
        "source": "cli",
        "model_provider": "openai",
        "git": {"commit_hash": "abc", "branch": "77-faster-search"},
        **more,
    }
    return {"timestamp": at(second), "type": "session_meta", "payload": payload}


def context(model: str = "gpt-5-codex", second: float = 0, **more: Any) -> dict[str, Any]:
    payload = {"cwd": "/home/ada/shop", "model": model, "effort": "high", **more}
    return {"timestamp": at(second), "type": "turn_context", "payload": payload}


def usage(read_in: int, out: int, cached: int = 0, reasoning: int = 0, written: int = 0) -> dict[str, int]:
    return {
        "input_tokens": read_in,
        "cached_input_tokens": cached,
        "cache_write_input_tokens": written,
        "output_tokens": out,
        "reasoning_output_tokens": reasoning,
        "total_tokens": read_in + out,
    }


def count(
    total: dict[str, int] | None, last: dict[str, int] | None = None, second: float = 10, **more: Any
) -> dict[str, Any]:
    """A token_count; `total` None: its info is null."""
    info = None
    if total is not None:
        info = {"total_token_usage": total, "last_token_usage": last or total, "model_context_window": 272_000}
    payload = {"type": "token_count", "info": info, "rate_limits": more.pop("limits", None)}
    return {"timestamp": at(second), "type": "event_msg", "payload": payload, **more}


def log(thread: str, folder: str = "sessions/2026/02/03") -> str:
    return f"{folder}/rollout-2026-02-03T10-00-00-{thread}.jsonl"


def sums(desk: Any) -> tuple[int, int, int]:
    totals = desk.totals()
    return totals.calls, totals.input_tokens, totals.output_tokens


def test_calls_are_the_differences_of_running_totals(desk: Any, write: Write) -> None:
    """Totals are cumulative; cached tokens are inside the input and reasoning inside the output."""
    path = write(
        log(PARENT),
        meta(PARENT),
        context(),
        count(None),
        count(usage(1000, 50, 200, 20)),
        count(usage(3000, 150, 1800, 60), usage(2000, 100, 1600, 40), second=30),
    )
    tally = desk.read(Codex(), path)
    first, second = desk.events()
    assert first.usage.to_dict() == {
        "input_tokens": 1000,
        "cache_read_tokens": 200,
        "output_tokens": 50,
        "output_reasoning_tokens": 20,
    }
    assert second.usage.to_dict() == {
        "input_tokens": 2000,
        "cache_read_tokens": 1600,
        "output_tokens": 100,
        "output_reasoning_tokens": 40,
    }
    assert (first.model, first.provider, first.price_status, tally.bad) == ("gpt-5-codex", "openai", "priced", 0)


def test_a_total_that_is_said_again_is_no_call(desk: Any, write: Write) -> None:
    """A new rate limit repeats the last count."""
    same = usage(1000, 50)
    desk.read(Codex(), write(log(PARENT), meta(PARENT), context(), count(same), count(same, second=11)))
    assert sums(desk) == (1, 1000, 50)


def test_a_call_that_was_not_logged_is_in_the_next_difference(desk: Any, write: Write) -> None:
    """`last_token_usage` alone would lose what lies between two totals."""
    path = write(log(PARENT), meta(PARENT), context(), count(usage(100, 10)), count(usage(900, 90), usage(300, 30)))
    desk.read(Codex(), path)
    assert sums(desk) == (2, 900, 90)


def test_totals_that_start_anew(desk: Any, write: Write) -> None:
    """Where a total falls, the last call is what was used."""
    path = write(log(PARENT), meta(PARENT), context(), count(usage(900, 90)), count(usage(50, 5)))
    desk.read(Codex(), path)
    assert sums(desk) == (2, 950, 95)


def test_a_resumed_thread_goes_on_from_totals_that_are_not_in_its_log(desk: Any, write: Write) -> None:
    """Of the first total only the last call is this log's."""
    path = write(log(PARENT), meta(PARENT), context(), count(usage(9000, 900), usage(400, 40)), count(usage(9500, 950)))
    desk.read(Codex(), path)
    assert sums(desk) == (2, 900, 90)


def test_the_model_is_that_of_the_turn(desk: Any, write: Write) -> None:
    """A model that is changed in the middle prices what follows; a log without one is unpriced, unless told."""
    path = write(
        log(PARENT),
        meta(PARENT),
        count(usage(10, 1)),
        context("gpt-5-codex"),
        count(usage(20, 2), second=20),
        context("gpt-5.1-codex", service_tier="flex"),
        count(usage(30, 3), second=30),
    )
    desk.read(Codex(), path)
    events = desk.events()
    assert [event.model for event in events] == ["unspecified", "gpt-5-codex", "gpt-5.1-codex"]
    assert events[0].price_status == "unpriced"
    assert events[2].context == {"service_tier": "flex"}


def test_a_call_is_for_its_project_branch_issue_and_thread(desk: Any, write: Write) -> None:
    """Who and what a call was for, from the thread's beginning."""
    desk.read(Codex(), write(log(PARENT), meta(PARENT), context(), count(usage(10, 1))))
    (event,) = desk.events()
    assert (event.attribution.agent, event.attribution.session) == ("codex", PARENT)
    assert dict(event.attribution.metadata) == {
        "project": "shop",
        "git_branch": "77-faster-search",
        "ticket": "#77",
        "cwd": "/home/ada/shop",
        "version": "0.98.0",
        "entrypoint": "codex_cli_rs",
        "effort": "high",
        "machine": "desk-1",
    }


def child_of(second: float = 100, **more: Any) -> dict[str, Any]:
    spawn = {"parent_thread_id": PARENT, "depth": 1, "agent_nickname": "Ida", "agent_role": "explorer"}
    return meta(CHILD, second, source={"subagent": {"thread_spawn": spawn}}, **more)


PARENTS = [count(usage(1000, 10), second=10), count(usage(3000, 30), second=40)]


@pytest.mark.parametrize("restamped", [False, True])
def test_a_subagents_replay_of_its_parent_is_taken_off(desk: Any, write: Write, restamped: bool) -> None:
    """The parent's totals at the beginning of a subagent's log are the parent's calls, whatever time they bear."""
    parent = write(log(PARENT), meta(PARENT), context(), *PARENTS, count(usage(8000, 80), second=200))
    replay = [{**one, "timestamp": at(100.4)} for one in PARENTS] if restamped else PARENTS
    own = [context(second=101), count(usage(3500, 42), usage(500, 12), second=109)]
    write(log(CHILD), child_of(), meta(PARENT), *replay, *own)
    tally = desk.read(Codex(), parent.parent)
    assert sums(desk) == (4, 8500, 92)
    assert tally.skipped == {"a call of the parent thread, which this thread's log repeats": 2}
    assert desk.by("step")["explorer"].input_tokens == 500


def test_a_subagent_that_replays_nothing_loses_nothing(desk: Any, write: Write) -> None:
    """Its first call counts, however soon it comes, and whatever totals it starts from."""
    parent = write(log(PARENT), meta(PARENT), context(), *PARENTS)
    write(log(CHILD), child_of(), meta(PARENT), context(), count(usage(700, 7), second=100.5), count(usage(900, 9)))
    desk.read(Codex(), parent.parent)
    assert sums(desk) == (4, 3900, 39)


def test_a_replay_without_the_parents_log_ends_a_second_after_the_beginning(desk: Any, write: Write) -> None:
    """What is copied is older than the thread or as old; answers take longer."""
    copied = [PARENTS[0], {**PARENTS[1], "timestamp": at(100.6)}]
    path = write(log(CHILD), child_of(), meta(PARENT), *copied, context(), count(usage(3500, 42), second=104))
    desk.read(Codex(), path)
    assert sums(desk) == (1, 500, 12)


def test_the_ordinal_at_which_a_threads_own_history_starts_decides(desk: Any, write: Write) -> None:
    """Newer versions say it."""
    replay = [{**one, "ordinal": 3 + i} for i, one in enumerate(PARENTS)]
    first = child_of(subagent_history_start_ordinal="5")
    path = write(log(CHILD), first, *replay, context(), count(usage(3100, 31), second=100.2, ordinal=9))
    desk.read(Codex(), path)
    assert sums(desk) == (1, 100, 1)


def test_a_forked_session_counts_what_it_added(desk: Any, write: Write) -> None:
    """`codex fork` copies the history; totals go on from there."""
    parent = write(log(PARENT), meta(PARENT), context(), *PARENTS)
    own = count(usage(5000, 50), usage(2000, 20), second=300)
    write(log(CHILD), meta(CHILD, 200, forked_from_id=PARENT), meta(PARENT), context(), *PARENTS, own)
    desk.read(Codex(), parent.parent)
    assert sums(desk) == (3, 5000, 50)


def test_responses_that_are_recorded_one_by_one_are_counted_once(desk: Any, write: Write) -> None:
    """Newer versions record each response with its id beside the running total, before or after it."""

    def record(name: str, used: dict[str, int], total: dict[str, int], second: float) -> dict[str, Any]:
        payload = {"response_id": name, "thread_id": PARENT, "usage": used, "thread_token_usage": total}
        return {"timestamp": at(second), "type": "token_usage_record", "payload": payload}

    first, both, third = usage(100, 10), usage(300, 30), usage(600, 60)
    path = write(
        log(PARENT),
        meta(PARENT),
        context(),
        *(record("resp_68a000000000000000000001", first, first, 10), count(first, second=10)),
        *(record("resp_68a000000000000000000002", usage(200, 20), both, 20), count(both, usage(200, 20), second=20)),
        *(count(third, usage(300, 30), second=30), record("resp_68a000000000000000000003", usage(300, 30), third, 30)),
    )
    desk.read(Codex(), path)
    assert sums(desk) == (3, 600, 60)
    assert [e.response_id for e in desk.events()][:2] == [f"resp_68a{n:021d}" for n in (1, 2)]


def test_an_archived_copy_is_the_same_thread(desk: Any, write: Write, tmp_path: Path) -> None:
    """The active log wins; moved to the archive, it adds nothing."""
    path = write(log(PARENT), meta(PARENT), context(), *PARENTS)
    write(log(PARENT, "archived_sessions"), meta(PARENT), context(), PARENTS[0])
    places = Codex().places({"CODEX_HOME": str(tmp_path)}, Path("/nowhere"))
    assert desk.read(Codex(), *places).files == 1
    path.unlink()
    write(log(PARENT, "archived_sessions"), PARENTS[1], mode="a")
    tally = desk.read(Codex(), *places)
    assert (tally.counts.added, tally.counts.duplicate) == (0, 2)
    assert sums(desk) == (2, 3000, 30)


def test_a_thread_that_goes_on_is_counted_from_where_it_was_left(desk: Any, write: Write) -> None:
    """The totals, the model and the branch are remembered; a cut line waits."""
    path = write(log(PARENT), meta(PARENT), context(), PARENTS[0])
    desk.read(Codex(), path)
    assert desk.read(Codex(), path).read == 0
    write(log(PARENT), PARENTS[1], '{"timestamp":"2026-02-03T10:05:00Z","type":"event_msg","pay', mode="a")
    tally = desk.read(Codex(), path)
    assert (tally.counts.added, tally.bad) == (1, 0)
    last = desk.events()[-1]
    assert (last.model, last.usage.input_tokens) == ("gpt-5-codex", 2000)
    assert last.attribution.metadata["ticket"] == "#77"


def test_a_plan_makes_a_subscription(desk: Any, write: Write) -> None:
    """Rate limits name the plan of who is signed in with one; what is told by hand goes before."""
    limits = {"primary": {"used_percent": 3.0}, "plan_type": "pro"}
    path = write(log(PARENT), meta(PARENT), context(), count(None, limits=limits), count(usage(10, 1), limits=limits))
    assert desk.read(Codex(), path).subscription == 1
    assert [event.billing for event in desk.events()] == ["subscription"]
    desk.positions.forget()
    write(log(PARENT), count(usage(20, 2), limits=limits), mode="a")
    desk.read(Codex(), path, billing="metered")
    assert [event.billing for event in desk.events()] == ["subscription", "metered"]


def test_codex_exec_tells_a_turns_totals(desk: Any, write: Write) -> None:
    """`codex exec --json` writes the thread's totals after each turn, and no model: name it."""
    path = write(
        "run.jsonl",
        {"type": "thread.started", "thread_id": PARENT},
        {"type": "turn.completed", "usage": {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 10}},
        {"type": "turn.completed", "usage": {"input_tokens": 300, "cached_input_tokens": 160, "output_tokens": 25}},
    )
    desk.read(Codex(), path, model="gpt-5-codex")
    assert sums(desk) == (2, 300, 25)
    assert {event.price_status for event in desk.events()} == {"priced"}


@pytest.mark.parametrize("order", [("run.jsonl", "log"), ("log", "run.jsonl")])
def test_exec_output_beside_the_threads_own_log_counts_once(desk: Any, write: Write, order: tuple[str, str]) -> None:
    """In whichever order the two are read, each call of the thread's log counts, and the turn nothing beside them."""
    paths = {
        "run.jsonl": write(
            "run.jsonl",
            {"type": "thread.started", "thread_id": PARENT},
            {"type": "turn.completed", "usage": {"input_tokens": 3000, "output_tokens": 30}},
        ),
        "log": write(log(PARENT), meta(PARENT), context(), *PARENTS),
    }
    for name in order:
        desk.read(Codex(), paths[name], model="gpt-5-codex")
    assert sums(desk) == (2, 3000, 30)


def test_bad_lines_are_told_and_the_others_count(desk: Any, write: Write) -> None:
    """Wrong counts, broken JSON and what is no object have their line and reason."""
    wrong = count({**usage(5, 5), "input_tokens": -1})
    cut = ('{"token_count": 1\n', '{"timestamp": "20\n')
    path = write(log(PARENT), meta(PARENT), context(), "broken\n", wrong, *cut, count(usage(10, 1)))
    tally = desk.read(Codex(), path)
    assert [(p.line, p.reason.split(":")[0]) for p in tally.problems] == [
        (3, "is no JSON"),
        (4, "input_tokens = -1"),
        (5, "is no JSON"),
        (6, "is no JSON"),
    ]
    assert sums(desk) == (1, 10, 1)
    write(log(PARENT), '{"type": "response_item", "payload": {}}', mode="a")  # whole, though without an end of line
    assert desk.read(Codex(), path).problems == []
