"""LangSmith: our costs go there, and its runs come here, page by page, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from farthing import testing
from farthing.capture import langsmith
from farthing.capture.foreign import run_key
from farthing.capture.history import HistoryOptions, moment_us, read_history
from farthing.capture.langsmith import LangSmithHistory
from farthing.cli.app import farthing as program
from farthing.errors import InputError
from farthing.event import Event
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Store
from farthing.pricing.catalog import Catalog
from farthing.tracker import CostTracker
from farthing.usage import Usage

KEY = "lsv2_very_secret"
PROJECT = "0b9ea3a8-4ce1-4be5-9e0f-3f2a3a5c6d7e"


@pytest.fixture
def tracker() -> Iterator[CostTracker]:
    with testing.tracker({"m": (1, 2)}) as made:
        yield made


def test_counts_and_costs_as_langsmith_takes_them(tracker: CostTracker) -> None:
    """Inclusive totals, details, and our costs; none where no price is known."""
    usage = Usage(input_tokens=1000, cache_read_tokens=600, output_tokens=50, output_reasoning_tokens=20)
    event = tracker.record("gpt-4o", usage=usage, provider="openai")
    said = langsmith.usage_metadata(event, tracker)
    assert said["input_tokens"] == 1000
    assert (said["output_tokens"], said["total_tokens"]) == (50, 1050)
    assert said["input_token_details"] == {"cache_read": 600}
    assert said["output_token_details"] == {"reasoning": 20}
    assert said["total_cost"] == event.cost == pytest.approx(said["input_cost"] + said["output_cost"])
    unknown = langsmith.usage_metadata(tracker.record("nobody-knows-it", 1, 1), tracker)
    assert unknown == {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def test_a_run_tree_gets_them(tracker: CostTracker) -> None:
    """With the event's id, so that reading it back adds nothing."""
    said: dict[str, Any] = {}
    event = tracker.record("m", 1_000_000, 0)
    langsmith.attach(SimpleNamespace(set=lambda **more: said.update(more)), event, tracker=tracker)
    assert said["usage_metadata"]["total_cost"] == 1.0
    assert said["metadata"] == {"farthing_event": event.id}


def test_the_real_run_tree_takes_them(tracker: CostTracker) -> None:
    """LangSmith's own class keeps usage and costs where its server looks for them."""
    run_trees = pytest.importorskip(
        "langsmith.run_trees", reason="LANGSMITH SDK MISSING: sending costs to it is not tested"
    )
    event = tracker.record("m", 1_000_000, 0)
    run = run_trees.RunTree(name="call", run_type="llm", inputs={})
    langsmith.attach(run, event, tracker=tracker)
    kept = json.loads(json.dumps(run.extra, default=str))["metadata"]
    assert kept["usage_metadata"]["total_cost"] == 1.0
    assert kept["farthing_event"] == event.id


# --- a server --------------------------------------------------------------------------------------------------------


def run_of(number: int, **more: Any) -> dict[str, Any]:
    """One model's run, as `runs.query_v2` shows it."""
    return {
        "id": f"run-{number}",
        "name": "ChatOpenAI",
        "run_type": "LLM",
        "status": "SUCCESS",
        "start_time": f"2026-03-01T10:{number:02d}:00.123456",
        "error": None,
        "trace_id": f"trace-{number // 3}",
        "thread_id": "thread",
        "parent_run_ids": ["chain-1"],
        "project_id": PROJECT,
        "metadata": {"ls_model_name": "m", "ls_provider": "openai", "agent_name": "researcher", "ticket": "T-1"},
        "tags": ["beta"],
        "prompt_tokens": 1_000_000,
        "completion_tokens": 5,
        "total_tokens": 1_000_005,
        "total_cost": 9.0,
        "prompt_token_details": {"raw": {"cache_read": 600_000}},
        "completion_token_details": {"raw": {"reasoning": 2}},
        **more,
    }


class LangSmith:
    """A LangSmith server with one project of these runs."""

    def __init__(self, web: Any, rows: list[dict[str, Any]], size: int = 4) -> None:
        self.web, self.rows, self.size = web, rows, size
        self.breaks_after: int | None = None
        self.forgets_cursors = False

    def __call__(self, asked: Any) -> Any:
        answer = self.web.Answer
        if asked.headers.get("x-api-key") != KEY:
            return answer({"error": "Unauthorized"}, 401)
        if asked.path == "/api/v1/sessions":
            found = asked.params["name"] == "my project"
            return answer([{"id": PROJECT, "name": "my project"}] if found else [])
        if asked.path != "/api/v2/runs/query" or asked.body["project_ids"] != [PROJECT]:
            return answer({"detail": "Not Found"}, 404)
        if self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                return answer({"detail": "broken"}, 403)
        return self.queried(asked.body)

    def queried(self, body: dict[str, Any]) -> Any:
        assert "INPUTS" not in body["selects"]
        assert "OUTPUTS" not in body["selects"]
        cursor = body.get("cursor")
        if cursor and self.forgets_cursors:
            self.forgets_cursors = False
            return self.web.Answer({"detail": "invalid cursor"}, 400)
        since, until = moment_us(body["min_start_time"]), moment_us(body["max_start_time"])
        assert since is not None
        assert until is not None
        rows = [
            row
            for row in reversed(self.rows)
            if row["run_type"] == body["run_type"] and since <= (moment_us(row["start_time"]) or 0) < until
        ]
        start = int(cursor or 0)
        end = start + self.size
        shown = [{name.lower(): row.get(name.lower()) for name in body["selects"]} for row in rows[start:end]]
        return self.web.Answer({"items": shown, "next_cursor": str(end) if end < len(rows) else None})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_ledger(str(tmp_path / "ledger.db")) as opened:
        yield opened


@pytest.fixture(scope="module")
def prices() -> Catalog:
    return testing.prices({"m": (1, 2)})


def history(url: str, project: str = PROJECT) -> LangSmithHistory:
    return LangSmithHistory(url, KEY, project, sleep=lambda _: None)


def events(store: Store) -> dict[str, Event]:
    return {event.dedupe_key.removeprefix("run:"): event for event in store.events()}


def test_a_history_is_read_once(web: Any, store: Store, prices: Catalog) -> None:
    """All pages of models and embeddings, from the first run on; running again adds nothing."""
    rows = [run_of(n) for n in range(11)] + [run_of(11, run_type="EMBEDDING"), run_of(12, run_type="CHAIN")]
    with web.serving(LangSmith(web, rows)) as server:
        tally = read_history(history(f"{server.url}/api/v1", "my project"), store, prices)
        assert (tally.counts.added, tally.lines, tally.bad) == (12, 12, 0)
        assert server.asked[1].body["min_start_time"].startswith("2000")
        again = read_history(history(server.url, "my project"), store, prices)
        assert again.counts.added == 0
        since = moment_us("2026-01-01T00:00:00Z")
        whole = read_history(history(server.url), store, prices, options=HistoryOptions(since_us=since))
        assert (whole.counts.added, whole.counts.duplicate) == (0, 12)
    event = events(store)["run-1"]
    assert event.usage == Usage(
        input_tokens=1_000_000, cache_read_tokens=600_000, output_tokens=5, output_reasoning_tokens=2
    )
    assert event.at_us == moment_us("2026-03-01T10:01:00.123456Z")
    assert (event.price_status, event.cost, event.provider) == ("priced", 1.00001, "openai")
    who = event.attribution
    assert (who.session, who.trace, who.step, who.agent) == ("thread", "trace-0", "ChatOpenAI", "researcher")
    assert dict(who.metadata) == {"ticket": "T-1", "tags": ["beta"]}
    assert events(store)["run-11"].operation == "embeddings"


def test_an_import_that_breaks_off_goes_on(web: Any, store: Store, prices: Catalog) -> None:
    """At the cursor where it was; a forgotten one begins the window anew."""
    server_side = LangSmith(web, [run_of(n) for n in range(10)])
    server_side.breaks_after = 2
    with web.serving(server_side) as server:
        with pytest.raises(InputError, match="answered 403"):
            read_history(history(server.url), store, prices)
        assert len(events(store)) == 8
        server_side.breaks_after = None
        server.asked.clear()
        read_history(history(server.url), store, prices)
        assert server.asked[0].body["cursor"] == "8"
        assert len(events(store)) == 10
        server_side.rows += [run_of(n) for n in range(10, 20)]
        server_side.breaks_after = 1
        options = HistoryOptions(since_us=0)
        with pytest.raises(InputError):
            read_history(history(server.url), store, prices, options=options)


def test_a_forgotten_cursor_begins_anew(web: Any, store: Store, prices: Catalog) -> None:
    """Nothing is added twice."""
    server_side = LangSmith(web, [run_of(n) for n in range(10)])
    server_side.breaks_after = 1
    with web.serving(server_side) as server:
        with pytest.raises(InputError):
            read_history(history(server.url), store, prices)
        server_side.breaks_after, server_side.forgets_cursors = None, True
        read_history(history(server.url), store, prices)
    assert len(events(store)) == 10


def test_odd_runs(web: Any, store: Store, prices: Catalog) -> None:
    """Failed, unfinished, without usage or model, nested: each as it is, none as zero, none twice."""
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "total_cost": 0}
    nothing |= {"prompt_token_details": None, "completion_token_details": None}
    rows = [
        run_of(1, **nothing, status="ERROR", error="RateLimitError"),
        run_of(2, **nothing),
        run_of(3, **nothing, status="PENDING"),
        run_of(4, metadata={}),
        run_of(5, parent_run_ids=["chain-1", "run-4"]),
        run_of(6, id=None),
        run_of(7, metadata={"ls_model_name": "nobody-knows-it"}),
    ]
    with web.serving(LangSmith(web, rows)) as server:
        tally = read_history(history(server.url), store, prices)
    found = events(store)
    assert (found["run-1"].billed, found["run-1"].error) == (False, "RateLimitError")
    assert (found["run-2"].price_status, found["run-2"].calls) == ("unpriced", 1)
    assert set(found) == {"run-1", "run-2", "run-5", "run-7"}
    assert (found["run-7"].usd, found["run-7"].price_status) == (Decimal(9), "reported")
    assert tally.skipped.total() == 2
    assert tally.bad == 1


def test_a_run_that_langchains_handler_recorded_is_the_same(web: Any, store: Store, prices: Catalog) -> None:
    """LangSmith knows LangChain's runs by LangChain's ids; and an event we wrote on a run is that event."""
    tracker = CostTracker(ledger=store, catalog=prices)
    usage = Usage(input_tokens=1_000_000, cache_read_tokens=600_000, output_tokens=5, output_reasoning_tokens=2)
    tracker.record("m", usage=usage, dedupe_key=run_key("run-1"))
    event = tracker.record("m", usage=usage)
    rows = [run_of(1), run_of(2, metadata={"ls_model_name": "m", "farthing_event": event.id})]
    with web.serving(LangSmith(web, rows)) as server:
        tally = read_history(history(server.url), store, prices)
    assert (tally.counts.added, tally.counts.duplicate) == (0, 2)


def test_the_command(web: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`farthing import langsmith --project ...`, with the key from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARTHING_URL", str(tmp_path / "ledger.db"))
    for name in ("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def command(*args: str) -> Any:
        return CliRunner().invoke(program, ["import", "langsmith", *args])

    assert "which project?" in command().output
    assert "set LANGSMITH_API_KEY" in command("--project", "my project").output
    with web.serving(LangSmith(web, [run_of(n) for n in range(5)])) as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", KEY)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        assert "has no project 'other'" in command("--project", "other").output
        done = command("--project", "my project", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["added"] == 5
        part = command("--project", "my project", "--since", "2026-03-01T10:03:00Z", "--theirs")
        assert "0 events added, 2 known already" in part.output
