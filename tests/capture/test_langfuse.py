"""Langfuse: our costs go there in its buckets, and its history comes here, page by page, once."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from farthing import testing
from farthing.capture import langfuse
from farthing.capture.history import HistoryOptions, moment_us, read_history
from farthing.capture.langfuse_history import LangfuseHistory
from farthing.cli.app import farthing as program
from farthing.errors import InputError
from farthing.event import Event
from farthing.ledger.open import open_ledger
from farthing.ledger.store import Store
from farthing.pricing.catalog import Catalog
from farthing.tracker import CostTracker
from farthing.usage import Usage

PUBLIC, SECRET = "pk-lf-1", "sk-lf-very-secret"


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tracker() -> Iterator[CostTracker]:
    with testing.tracker({"m": (1, 2)}) as made:
        yield made


def test_counts_and_costs_in_langfuses_buckets(tracker: CostTracker) -> None:
    """Buckets exclude each other and sum to the total; costs are ours to the last digit."""
    event = tracker.record(
        "claude-sonnet-4-20250514",
        usage=Usage(
            input_tokens=2000,
            cache_read_tokens=1000,
            cache_write_tokens=300,
            cache_write_1h_tokens=100,
            output_tokens=500,
            output_reasoning_tokens=200,
        ),
        provider="anthropic",
    )
    usage = langfuse.usage_details(event)
    assert usage == {
        "input": 700,
        "input_cached_tokens": 1000,
        "input_cache_creation": 200,
        "input_cache_creation_1h": 100,
        "output": 300,
        "output_reasoning_tokens": 200,
        "total": 2500,
    }
    cost = langfuse.cost_details(event, tracker)
    assert cost["total"] == event.cost
    assert cost["input"] + cost["output"] == pytest.approx(cost["total"])


@given(into=st.integers(0, 10**6), read=st.integers(0, 10**6), out=st.integers(0, 10**6), thought=st.integers(0, 10**6))
def test_buckets_always_sum_to_the_total(into: int, read: int, out: int, thought: int) -> None:
    """Nothing is counted twice, nothing is lost; and read back it is the same usage."""
    usage = Usage(
        input_tokens=into + read,
        cache_read_tokens=read,
        output_tokens=out + thought,
        output_reasoning_tokens=thought,
    )
    with testing.tracker({"m": (1, 2)}) as tracker:
        event = tracker.record("m", usage=usage)
    details = langfuse.usage_details(event)
    total = details.pop("total", 0)
    assert sum(details.values()) == total == usage.total_tokens


def test_an_unknown_cost_is_not_sent(tracker: CostTracker) -> None:
    """Langfuse then asks its own price list, instead of believing a zero; a cost told by others has no parts."""
    unknown = tracker.record("nobody-knows-it", 10, 10)
    told = tracker.record("nobody-knows-it", 10, 10, cost_usd="0.5")
    assert langfuse.cost_details(unknown, tracker) == {}
    assert langfuse.cost_details(told, tracker) == {"total": 0.5}


def test_the_current_generation_is_updated(tracker: CostTracker) -> None:
    """With model, counts, costs and the event's id."""
    said: dict[str, Any] = {}
    event = tracker.record("m", 1_000_000, 0)
    langfuse.update_current_generation(
        event, tracker=tracker, client=SimpleNamespace(update_current_generation=lambda **more: said.update(more))
    )
    assert said == {
        "model": "m",
        "usage_details": {"input": 1_000_000, "output": 0, "total": 1_000_000},
        "cost_details": {"input": 1.0, "output": 0.0, "total": 1.0},
        "metadata": {"farthing_event": event.id},
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_real_sdk_takes_it(tracker: CostTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Langfuse's own client puts it on its span, as it exports it."""
    sdk = pytest.importorskip("langfuse", reason="LANGFUSE SDK MISSING: sending costs to it is not tested")
    exported = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    provider = trace_sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exported))
    client = sdk.Langfuse(
        public_key=PUBLIC,
        secret_key=SECRET,
        base_url="http://127.0.0.1:9",
        tracer_provider=provider,
        span_exporter=exported,
    )
    event = tracker.record("m", 1_000_000, 0)
    with client.start_as_current_observation(name="call", as_type="generation"):
        langfuse.update_current_generation(event, tracker=tracker, client=client)
    client.flush()
    said = dict(next(s for s in exported.get_finished_spans() if s.name == "call").attributes)
    assert json.loads(said["langfuse.observation.cost_details"])["total"] == 1.0
    assert json.loads(said["langfuse.observation.usage_details"])["input"] == 1_000_000
    assert said["langfuse.observation.model.name"] == "m"


# --- a server of either version --------------------------------------------------------------------------------------


def observation(number: int, **more: Any) -> dict[str, Any]:
    """One generation, as version 2 of the API shows it."""
    return {
        "id": f"obs-{number}",
        "traceId": f"trace-{number // 3}",
        "type": "GENERATION",
        "startTime": f"2026-03-01T10:{number:02d}:00.123Z",
        "parentObservationId": None,
        "projectId": "p",
        "name": "answer",
        "level": "DEFAULT",
        "statusMessage": None,
        "environment": "production",
        "userId": f"user-{number // 3}",
        "sessionId": "s",
        "traceName": "chat",
        "tags": ["beta"],
        "model": "m",
        "metadata": {"agent": "researcher", "ticket": "T-1"},
        "usageDetails": {"input": 400_000, "input_cached_tokens": 600_000, "output": 5, "total": 1_000_005},
        "costDetails": {"input": 9.0, "total": 9.0},
        "totalCost": 9.0,
        "promptName": "greeting",
        **more,
    }


class Langfuse:
    """A Langfuse server: `rows`, shown by version 2 (`version=2`) or by version 3."""

    def __init__(self, web: Any, rows: list[dict[str, Any]], version: int = 2, size: int = 4) -> None:
        self.web, self.rows, self.version, self.size = web, rows, version, size
        self.busy = 0
        self.breaks_after: int | None = None
        self.forgets_cursors = False

    def __call__(self, asked: Any) -> Any:
        answer = self.web.Answer
        expected = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != expected:
            return answer({"message": "Invalid credentials"}, 401)
        if self.busy:
            self.busy -= 1
            return answer({"message": "slow down"}, 429, {"Retry-After": "7"})
        if self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                return answer({"message": "broken"}, 403)
        if asked.path == "/api/public/v2/observations" and self.version == 2:
            return self.by_cursor(asked.params)
        if asked.path == "/api/public/observations" and self.version == 3:
            return self.by_page(asked.params)
        if asked.path.startswith("/api/public/traces/") and self.version == 3:
            trace = asked.path.rsplit("/", 1)[1]
            row = next(row for row in self.rows if row["traceId"] == trace)
            names = {"userId": "userId", "sessionId": "sessionId", "traceName": "name", "tags": "tags"}
            return answer({"id": trace, **{new: row[old] for old, new in names.items()}, "observations": []})
        return answer({"error": "LangfuseNotFoundError", "message": "Route not found"}, 404)

    def chosen(self, params: dict[str, str]) -> list[dict[str, Any]]:
        since, until = moment_us(params.get("fromStartTime")), moment_us(params["toStartTime"])
        rows = [row for row in self.rows if row["type"] == params["type"]]
        rows = [row for row in rows if since is None or moment_us(row["startTime"]) >= since]
        return sorted(
            (row for row in rows if moment_us(row["startTime"]) < until), key=lambda row: row["startTime"], reverse=True
        )

    def by_cursor(self, params: dict[str, str]) -> Any:
        assert "usage" in params["fields"]
        cursor = params.get("cursor")
        if cursor and self.forgets_cursors:
            self.forgets_cursors = False
            return self.web.Answer({"message": "Invalid cursor"}, 400)
        start = int(base64.b64decode(cursor)) if cursor else 0
        rows = self.chosen(params)
        end = start + min(self.size, int(params["limit"]))
        meta = {"cursor": base64.b64encode(str(end).encode()).decode()} if end < len(rows) else {}
        return self.web.Answer({"data": rows[start:end], "meta": meta})

    def by_page(self, params: dict[str, str]) -> Any:
        page, rows = int(params["page"]), self.chosen(params)
        shown = [
            {
                **{k: v for k, v in row.items() if k not in ("userId", "sessionId", "traceName", "tags", "totalCost")},
                "calculatedTotalCost": row["totalCost"],
            }
            for row in rows[(page - 1) * self.size : page * self.size]
        ]
        pages = -(-len(rows) // self.size)
        meta = {"page": page, "limit": self.size, "totalItems": len(rows), "totalPages": pages}
        return self.web.Answer({"data": shown, "meta": meta})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_ledger(str(tmp_path / "ledger.db")) as opened:
        yield opened


@pytest.fixture(scope="module")
def prices() -> Catalog:
    return testing.prices({"m": (1, 2)})


def history(url: str, waits: list[float] | None = None) -> LangfuseHistory:
    return LangfuseHistory(url, PUBLIC, SECRET, sleep=(waits if waits is not None else []).append)


def events(store: Store) -> dict[str, Event]:
    return {event.dedupe_key.rsplit(":", 1)[-1]: event for event in store.events()}


@pytest.mark.parametrize("version", [2, 3])
def test_a_history_is_read_once(web: Any, store: Store, prices: Catalog, version: int) -> None:
    """All pages, calls with counts, time and whom they were for; running again adds nothing."""
    rows = [observation(n) for n in range(11)] + [observation(11, type="EMBEDDING"), observation(12, type="SPAN")]
    told: list[tuple[int, int | None]] = []
    with web.serving(Langfuse(web, rows, version)) as server:
        tally = read_history(
            history(server.url), store, prices, progress=lambda tally, total: told.append((tally.lines, total))
        )
        assert (tally.counts.added, tally.lines, tally.bad) == (12, 12, 0)
        assert told == [(4, 11 if version == 3 else None), *told[1:]] and told[-1][0] == 12
        again = read_history(history(server.url), store, prices)
        assert (again.counts.added, again.counts.duplicate) == (0, 0)
        whole = read_history(
            history(server.url), store, prices, options=HistoryOptions(since_us=moment_us("2026-01-01T00:00:00Z"))
        )
        assert (whole.counts.added, whole.counts.duplicate) == (0, 12)
    event = events(store)["obs-1"]
    assert event.usage == Usage(input_tokens=1_000_000, cache_read_tokens=600_000, output_tokens=5)
    assert event.at_us == moment_us("2026-03-01T10:01:00.123Z")
    assert (event.price_status, event.cost) == ("priced", 1.00001)
    who = event.attribution
    assert (who.user, who.session, who.trace, who.name) == ("user-0", "s", "trace-0", "chat")
    assert (who.step, who.agent, who.environment, who.prompt) == ("answer", "researcher", "production", "greeting")
    assert dict(who.metadata) == {"ticket": "T-1", "tags": ["beta"]}
    assert events(store)["obs-11"].operation == "embeddings"
    assert "obs-12" not in events(store)


@pytest.mark.parametrize("version", [2, 3])
def test_an_import_that_breaks_off_goes_on(web: Any, store: Store, prices: Catalog, version: int) -> None:
    """What was read is kept, and is not asked for again."""
    server_side = Langfuse(web, [observation(n) for n in range(10)], version)
    server_side.breaks_after = 2 if version == 2 else 4  # version 3: one for version 2, and two for traces
    with web.serving(server_side) as server:
        with pytest.raises(InputError, match=r"answered 403: the keys may not read this: broken"):
            read_history(history(server.url), store, prices)
        before = len(events(store))
        assert 0 < before < 10
        server_side.breaks_after = None
        server.asked.clear()
        tally = read_history(history(server.url), store, prices)
        assert (tally.counts.added, len(events(store))) == (10 - before, 10)
        assert server.asked[0].params.get("cursor") or server.asked[0].params["page"] == "2"


def test_a_forgotten_cursor_begins_anew(web: Any, store: Store, prices: Catalog) -> None:
    """A server that does not know the place any more is read from the window's beginning; nothing is added twice."""
    server_side = Langfuse(web, [observation(n) for n in range(10)])
    server_side.breaks_after = 2
    with web.serving(server_side) as server:
        with pytest.raises(InputError):
            read_history(history(server.url), store, prices)
        server_side.breaks_after, server_side.forgets_cursors = None, True
        read_history(history(server.url), store, prices)
    assert len(events(store)) == 10


def test_what_is_new_is_read_and_only_that(web: Any, store: Store, prices: Catalog) -> None:
    """The next import asks for what came since, and a little before."""
    with web.serving(Langfuse(web, [observation(n) for n in range(3)])) as server:
        read_history(history(server.url), store, prices)
        server.asked.clear()
        read_history(history(server.url), store, prices)
    since = moment_us(server.asked[0].params["fromStartTime"])
    assert since is not None
    assert since > moment_us("2026-03-02T00:00:00Z")  # type: ignore[operator]


def test_a_damaged_record_reads_all_again(web: Any, store: Store, prices: Catalog, tmp_path: Path) -> None:
    """The record is a convenience; it holds no secret and is its owner's alone."""
    with web.serving(Langfuse(web, [observation(n) for n in range(3)])) as server:
        read_history(history(server.url), store, prices)
        (record,) = tmp_path.glob("*.langfuse-*.json")
        assert SECRET not in record.read_text()
        assert record.stat().st_mode & 0o777 == 0o600
        for damage in ("", "{", "[]", '{"window": {"place": 3}}', '{"done_until_us": "x", "window": 7}'):
            record.write_text(damage)
            tally = read_history(history(server.url), store, prices)
            assert (tally.counts.added, tally.counts.duplicate) == (0, 3)


def test_a_busy_server_is_waited_for(web: Any, store: Store, prices: Catalog) -> None:
    """As long as it asks."""
    server_side = Langfuse(web, [observation(0)])
    server_side.busy = 2
    waits: list[float] = []
    with web.serving(server_side) as server:
        read_history(history(server.url, waits), store, prices)
    assert waits == [7.0, 7.0]
    assert len(events(store)) == 1


def test_a_server_out_of_reach_says_so(store: Store, prices: Catalog) -> None:
    """After some patience; the message has the address and no key."""
    waits: list[float] = []
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/api/public/v2/observations: cannot be reached") as error:
        read_history(history("http://127.0.0.1:9", waits), store, prices)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert SECRET not in str(error.value)


def test_redirects_are_not_followed(web: Any, store: Store, prices: Catalog) -> None:
    """Keys go to the server that was named, and nowhere else."""
    with web.serving(lambda asked: web.Answer({}, 200)) as elsewhere:
        away = web.Answer({}, 302, {"Location": f"{elsewhere.url}/stolen"})
        with web.serving(lambda asked: away) as server, pytest.raises(InputError, match="answered 302"):
            read_history(history(server.url), store, prices)
        assert elsewhere.asked == []


@pytest.mark.parametrize("body", [b"<html>", b""])
def test_answers_that_are_no_langfuse(web: Any, store: Store, prices: Catalog, body: bytes) -> None:
    """Another server's answer adds nothing and is told."""
    with (
        web.serving(lambda asked: web.Answer(body)) as server,
        pytest.raises(InputError, match="answered 200: it answered with something else than JSON"),
    ):
        read_history(history(server.url), store, prices)


def rows_of(web: Any, store: Store, prices: Catalog, *rows: dict[str, Any], **options: Any) -> Any:
    with web.serving(Langfuse(web, list(rows))) as server:
        return read_history(history(server.url), store, prices, options=HistoryOptions(**options))


def test_whose_costs(web: Any, store: Store, prices: Catalog) -> None:
    """Ours; where we know no price, Langfuse's; with `theirs`, Langfuse's wherever it has one."""
    rows_of(web, store, prices, observation(1), observation(2, model="nobody-knows-it"))
    assert events(store)["obs-1"].price_status == "priced"
    assert (events(store)["obs-2"].usd, events(store)["obs-2"].price_status) == (Decimal(9), "reported")
    rows_of(web, store, prices, observation(3), theirs=True)
    assert (events(store)["obs-3"].usd, events(store)["obs-3"].price_status) == (Decimal(9), "reported")


def test_odd_observations(web: Any, store: Store, prices: Catalog) -> None:
    """Failed, without usage, of older form, of other units, without a time: each as it is, none as zero."""
    nothing = {"usageDetails": {}, "costDetails": {}, "totalCost": 0}
    tally = rows_of(
        web,
        store,
        prices,
        observation(1, **nothing, level="ERROR", statusMessage="rate limited"),
        observation(2, **nothing),
        observation(3, usageDetails=None, usage={"input": 10, "output": 5, "total": 15, "unit": "TOKENS"}),
        observation(4, usageDetails=None, usage={"input": 10, "output": 5, "unit": "CHARACTERS"}),
        observation(5, id=""),
        observation(6, environment="default", userId=None, metadata=None),
    )
    found = events(store)
    assert (found["obs-1"].billed, found["obs-1"].error, found["obs-1"].calls) == (False, "rate limited", 0)
    assert (found["obs-2"].price_status, found["obs-2"].calls) == ("unpriced", 1)
    assert found["obs-3"].usage == Usage(input_tokens=10, output_tokens=5)
    assert found["obs-4"].usage == Usage(input_characters=10, output_characters=5)
    assert (found["obs-6"].attribution.environment, found["obs-6"].attribution.user) == (None, None)
    assert (tally.bad, "needs an id" in str(tally.problems[0])) == (1, True)


def test_a_generation_inside_another_counts_once(web: Any, store: Store, prices: Catalog) -> None:
    """Two instrumentations of one call nest in Langfuse; their sum is twice what was paid."""
    tally = rows_of(web, store, prices, observation(1), observation(2, parentObservationId="obs-1"), observation(3))
    assert (len(events(store)), tally.skipped.total()) == (2, 1)


def test_what_we_sent_is_not_read_back(web: Any, store: Store, prices: Catalog) -> None:
    """An observation that shows an event of this ledger is that event."""
    tracker = CostTracker(ledger=store, catalog=prices)
    event = tracker.record("m", usage=Usage(input_tokens=1_000_000, cache_read_tokens=600_000, output_tokens=5))
    tally = rows_of(web, store, prices, observation(1, metadata={"farthing_event": event.id}))
    assert (tally.counts.added, tally.counts.duplicate) == (0, 1)


def test_a_span_that_was_read_live_is_the_same(web: Any, store: Store, prices: Catalog) -> None:
    """Langfuse knows an OpenTelemetry span by the span's own ids."""
    tally = rows_of(
        web, store, prices, observation(1, id="00f067aa0ba902b7", traceId="4bf92f3577b34da6a3ce929d0e0e4736")
    )
    assert tally.counts.added == 1
    assert next(iter(store.events())).dedupe_key == "span:4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7"


def test_urls_and_keys_that_cannot_be(store: Store) -> None:
    """Told before anything is asked."""
    with pytest.raises(InputError, match="must be the URL of a server"):
        history("cloud.langfuse.com")
    with pytest.raises(InputError, match="do not belong into a URL"):
        history("https://pk:sk@cloud.langfuse.com")


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARTHING_URL", str(tmp_path / "ledger.db"))
    for name in ("LANGFUSE_HOST", "LANGFUSE_BASE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    return lambda *args: CliRunner().invoke(program, list(args))


def test_the_command_reads_what_the_environment_names(
    web: Any, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`farthing import langfuse`, with keys from the environment and users hashed where that is wanted."""
    missing = command("import", "langfuse")
    assert missing.exit_code == 1
    assert "set LANGFUSE_PUBLIC_KEY" in missing.output
    with web.serving(Langfuse(web, [observation(n) for n in range(5)])) as server:
        monkeypatch.setenv("LANGFUSE_HOST", server.url)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
        monkeypatch.setenv("FARTHING_HASH_USERS", "1")
        done = command("--json", "import", "langfuse", "--attributes", "team=t")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["added"] == 5
        again = command("import", "langfuse")
        assert "0 events added" in again.output
        odd = command("import", "langfuse", "--project", "x")
        assert odd.exit_code == 1
    report = json.loads(command("--json", "report", "--by", "user").stdout)
    assert "user-1" not in json.dumps(report)
