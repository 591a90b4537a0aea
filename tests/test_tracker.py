"""CostTracker: what it records, how it counts, and that nothing that goes wrong inside it reaches the host."""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import farthing
from farthing import CostTracker, InputError, UsageError, testing
from farthing.event import Attribution
from farthing.ledger.store import Filter
from farthing.pricing.catalog import Catalog
from farthing.totals import Totals


@pytest.fixture
def tracker():
    """A tracker in memory with one model: $1 a million in, $2 out."""
    with testing.tracker({"m": (1, 2)}, clock=testing.FakeClock()) as tracker:
        yield tracker


CHAT = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1500,
        "completion_tokens": 350,
        "total_tokens": 1850,
        "prompt_tokens_details": {"cached_tokens": 1200},
    },
}


# --- what is recorded ---


def test_every_attribution_field_is_kept(tracker: CostTracker) -> None:
    """What is said of a call comes back from the ledger as it was said; numbers become text."""
    said = {name: f"{name}-1" for name in farthing.Attribution.__dataclass_fields__ if name != "metadata"}
    event = tracker.record("m", 1, 1, **said, metadata={"ticket": "ABC-1", "n": 3, "deep": {"a": [1.5, None]}})
    kept = tracker.ledger.get(event.id)
    assert kept is not None and kept.attribution == event.attribution
    assert kept.attribution.to_dict() == {**said, "metadata": {"ticket": "ABC-1", "n": 3, "deep": {"a": [1.5, None]}}}
    assert tracker.record("m", 1, 1, user=42).attribution.user == "42"


def test_the_event_and_its_price_record_are_in_the_ledger(tracker: CostTracker) -> None:
    """Time, counts, cost and the price it was calculated with: enough to recompute it for ever."""
    event = tracker.record("m", 1_000_000, 500_000, cached_tokens=0, provider="custom")
    assert (event.usd, event.at) == (Decimal(2), datetime(2026, 1, 15, 12, tzinfo=UTC))
    kept = tracker.ledger.get(event.id)
    assert kept == event
    assert event.price_hash is not None and tracker.ledger.price_record(event.price_hash)


def test_usage_in_every_form(tracker: CostTracker) -> None:
    """Single counts, a Usage, our units in a mapping, two-sided mappings, other units as keywords."""
    wanted = farthing.Usage(input_tokens=1500, output_tokens=350)
    for given in (
        wanted,
        {"input_tokens": 1500, "output_tokens": 350},
        {"input": 1500, "output": 350, "unit": "TOKENS"},
        {"prompt_tokens": 1500, "completion_tokens": 350, "total_tokens": 1850},
    ):
        assert tracker.record("m", usage=given).usage == wanted
    assert tracker.record("m", 1500, 350).usage == wanted
    event = tracker.record("m", 1500, 350, cached_tokens=1200, output_reasoning_tokens=50, web_searches=2)
    assert event.usage == farthing.Usage(
        input_tokens=1500, output_tokens=350, cache_read_tokens=1200, output_reasoning_tokens=50, web_searches=2
    )
    assert tracker.record("m", usage={"total": 10}).usage_status == "partial"


def test_a_response_is_read(tracker: CostTracker) -> None:
    """Counts, model, id and cost from the provider's body, in every form a body comes in."""
    for i, body in enumerate((CHAT, json.dumps(CHAT), json.dumps(CHAT).encode())):
        event = tracker.record(response=body, provider="openai", agent="a", dedupe_key=f"k{i}")
        assert (event.model, event.usd) == ("gpt-4o-2024-08-06", Decimal("0.00575"))
        assert event.response_id == CHAT["id"] and event.usage.cache_read_tokens == 1200
    assert tracker.record("gpt-4o", response=CHAT, dedupe_key="k9").requested_model == "gpt-4o"


def test_the_same_response_twice_is_one_call(tracker: CostTracker) -> None:
    """A response has an id: recorded again it adds nothing, neither to the run nor to the ledger."""
    for _ in range(3):
        tracker.record(response=CHAT, provider="openai")
    assert tracker.totals().calls == 1
    assert tracker.totals(model="gpt-4o-2024-08-06").calls == 1


def test_a_fuller_observation_corrects_run_and_ledger_alike(tracker: CostTracker) -> None:
    """First cut off, then whole: the difference is added, in both."""
    tracker.record("m", 1_000_000, 0, dedupe_key="k", usage_status="partial")
    tracker.record("m", 1_000_000, 500_000, dedupe_key="k")
    tracker.record("m", 1_000_000, 0, dedupe_key="k", usage_status="partial")
    ledger = tracker.totals(model="m")
    assert tracker.totals() == ledger
    assert (ledger.calls, ledger.usd, ledger.partial_calls) == (1, Decimal(2), 0)


def test_an_event_id_given_twice_is_one_call(tracker: CostTracker) -> None:
    """The caller's own id makes recording idempotent."""
    for _ in range(2):
        tracker.record("m", 1_000_000, 0, event_id="00000000-0000-7000-8000-000000000001")
    assert tracker.totals().calls == 1 == tracker.totals(model="m").calls


def test_a_response_that_bills_several_models(tracker: CostTracker) -> None:
    """An answer with an advisor's iterations: each model is an event; the run and the ledger agree."""
    body = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 1500, "output_tokens": 1000},
    }
    event = tracker.record(response=body, agent="a")
    assert (event.provider, event.usd) == ("anthropic", Decimal("0.0195"))
    assert tracker.totals(agent="a") == tracker.totals()


def test_a_response_without_usage_is_never_zero(tracker: CostTracker) -> None:
    """No counts in the body: the event says so, and its cost is not known."""
    body = {**CHAT, "id": "chatcmpl-none", "usage": None, "choices": []}
    event = tracker.record("m", response=body)
    assert event.cost is None and event.price_reason
    assert event.usage_status in ("partial", "estimated")
    assert tracker.unpriced_calls == 1


def test_an_error_response_is_an_unbilled_attempt(tracker: CostTracker) -> None:
    """The provider refused: on record with its message, no call, no cost."""
    event = tracker.record(
        "m", response={"error": {"message": "Rate limit reached", "type": "requests", "code": "429"}}
    )
    assert (event.calls, event.billed, event.cost, event.price_status) == (0, False, 0.0, "free")
    assert event.error is not None and "Rate limit" in event.error


def test_attempts_and_cache_hits_are_reported_apart(tracker: CostTracker) -> None:
    """An attempt that failed and an answer from a cache cost nothing and are no calls; the retry that worked is one."""
    failed = tracker.record("m", attempt=1, error=TimeoutError("no answer"), agent="a")
    tracker.record("m", 1_000_000, 0, attempt=2, agent="a")
    tracker.record("m", 1_000_000, 0, cache_hit=True, agent="a")
    tracker.record("m", 1_000_000, 0, billed=False, agent="a")
    assert (failed.error, failed.billed, failed.calls) == ("TimeoutError: no answer", False, 0)
    for totals in (tracker.totals(), tracker.totals(agent="a")):
        assert (totals.calls, totals.usd, totals.unbilled_attempts, totals.cache_hits, totals.errors) == (
            1,
            Decimal(1),
            2,
            1,
            1,
        )
        assert totals.input_tokens == 1_000_000


def test_an_error_after_tokens_were_used_is_billed(tracker: CostTracker) -> None:
    """A stream that broke has used its tokens."""
    event = tracker.record("m", 1_000_000, 10, error="connection reset")
    assert event.billed and event.usd == Decimal("1.00002") and tracker.totals().errors == 1


def test_the_callers_own_cost_goes_before_the_catalog(tracker: CostTracker) -> None:
    """cost_usd, of any number type, exactly; its status says whose figure it is."""
    for amount in (0.1, "0.1", Decimal("0.1")):
        event = tracker.record("m", 1, 1, cost_usd=amount)
        assert (event.usd, event.price_status) == (Decimal("0.1"), "reported")
    assert tracker.total_usd == Decimal("0.3")


def test_time_and_context_change_the_price(tracker: CostTracker) -> None:
    """`at` picks the price of that day, `context` and `service_tier` the terms."""
    plain = tracker.record("gpt-4o", 1_000_000, 0, provider="openai")
    batch = tracker.record("gpt-4o", 1_000_000, 0, provider="openai", context={"processing": "batch"})
    odd = tracker.record("gpt-4o", 1_000_000, 0, provider="openai", service_tier="no-such-tier")
    assert plain.usd == Decimal("2.5") and batch.usd == Decimal("1.25")
    assert odd.cost is None and odd.price_reason is not None and "no-such-tier" in odd.price_reason
    past = tracker.record("m", 1, 1, at=datetime(2025, 8, 1, tzinfo=UTC))
    assert past.at == datetime(2025, 8, 1, tzinfo=UTC)


# --- what is refused ---


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"input_tokens": -1}, UsageError, "input_tokens = -1: must not be negative"),
        ({"input_tokens": 10, "cached_tokens": 20}, UsageError, "cache_read_tokens = 20"),
        ({"input_tokens": 10, "usage": {"input": 1}}, UsageError, "given beside usage="),
        ({"usage": 3}, UsageError, "usage = 3: must be"),
        ({"cost_usd": "much"}, UsageError, "'much': must be a finite amount"),
        ({"cost_usd": -1}, UsageError, "must not be negative"),
        ({"at": "yesterday"}, InputError, "at = 'yesterday': must be a datetime"),
        ({"attempt": 0}, InputError, "attempt = 0"),
        ({"context": "batch"}, InputError, "context = 'batch': must be a mapping"),
        ({"metadata": "x"}, InputError, "metadata = 'x': must be a mapping"),
        ({"user": ["u"]}, InputError, "user = ['u']: must be text"),
        ({"provider": 3}, InputError, "provider = 3: must be text"),
        ({"usage_status": "sure"}, InputError, "usage_status = 'sure': must be one of"),
        ({"agnet": "a"}, TypeError, "record() has no keyword 'agnet'; did you mean 'agent'?"),
        ({"prompt_tokens": 5}, TypeError, "record() has no keyword 'prompt_tokens'; did you mean 'input_tokens'?"),
        ({"ticket": "a"}, TypeError, "metadata={...}"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    tracker: CostTracker, keywords: dict[str, object], error: type[Exception], words: str
) -> None:
    """What the caller can mend is raised, names key and value, and records nothing."""
    with pytest.raises(error) as refused:
        tracker.record("m", **keywords)  # type: ignore[arg-type]
    assert words in str(refused.value)
    assert tracker.totals() == Totals() and tracker.faults == 0


def test_a_call_needs_a_model_or_a_response(tracker: CostTracker) -> None:
    """Without either there is nothing to price."""
    with pytest.raises(InputError, match="name the model"):
        tracker.record(input_tokens=1)
    with pytest.raises(InputError, match="must be text"):
        tracker.record(3, input_tokens=1)  # type: ignore[arg-type]
    with pytest.raises(farthing.ExtractionError):
        tracker.record("m", response=object())


def test_wrong_options_of_a_tracker_are_refused() -> None:
    """Scope, durability, and two ledgers at once."""
    with pytest.raises(InputError, match="scope = 'all'"):
        CostTracker(scope="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="durability = 'never'"):
        CostTracker(durability="never")  # type: ignore[arg-type]
    with testing.tracker() as other, pytest.raises(InputError, match="name one of them"):
        CostTracker("x.db", ledger=other.ledger)


# --- attribution ---


def test_defaults_come_from_environment_tracker_and_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearer one wins field by field; metadata is merged key by key."""
    monkeypatch.setenv("FARTHING_ATTRIBUTES", "agent=env,team=search,metadata.ticket=ABC-1,metadata.env=1")
    with testing.tracker({"m": (1, 1)}, attributes={"agent": "tracker", "metadata": {"env": "2"}}) as tracker:
        event = tracker.record("m", 1, 1, task="t", metadata={"x": "y"})
        assert event.attribution.to_dict() == {
            "org": "default",
            "team": "search",
            "agent": "tracker",
            "task": "t",
            "metadata": {"ticket": "ABC-1", "env": "2", "x": "y"},
        }
        assert tracker.record("m", 1, 1, "call").attribution.agent == "call"
    for attributes in ("agent=a,metadata.k=v", Attribution(agent="a", metadata={"k": "v"})):
        with testing.tracker(attributes=attributes) as tracker:
            found = tracker.record("m-of-nobody", 1, 1, cost_usd=0).attribution
            assert (found.agent, found.team, found.metadata["k"]) == ("a", "search", "v")
    with pytest.raises(InputError, match="unknown attribute 'agnt'"):
        testing.tracker(attributes={"agnt": "x"})


def test_users_are_hashed_with_a_key_that_is_not_in_the_ledger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_home: Path
) -> None:
    """Same user, same hash, in every tracker; another key, another hash; the ledger's file holds neither id nor key."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    path = tmp_path / "ledger.db"
    with CostTracker(path, attributes={"user": "someone@example.org"}) as tracker:
        first = tracker.record("m", 1, 1, cost_usd=0).attribution.user
        again = tracker.record("m", 1, 1, cost_usd=0, user="someone@example.org").attribution.user
    assert first == again and first is not None and first.startswith("u_")
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    (key_file,) = own_home.rglob("user-hash.key")
    assert b"someone@example.org" not in raw and key_file.read_bytes() not in raw
    monkeypatch.setenv("FARTHING_HASH_KEY", "another")
    with testing.tracker() as tracker:
        assert tracker.record("m", 1, 1, cost_usd=0, user="someone@example.org").attribution.user != first


def test_without_a_key_the_user_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key can be neither read nor made: the id is dropped, never stored in the clear, and the fault is counted."""
    monkeypatch.setenv("FARTHING_HASH_USERS", "1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FARTHING_CONFIG_DIR", str(tmp_path / "file"))
    with testing.tracker() as tracker:
        assert tracker.record("m", 1, 1, cost_usd=0, user="u").attribution.user is None
        assert tracker.faults == 1


# --- faults ---


def test_a_ledger_that_cannot_be_opened_breaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on, the run's totals are right, the loss is counted, and the reason is logged once."""
    (tmp_path / "file").write_text("in the way")
    tracker = CostTracker(tmp_path / "file" / "ledger.db", catalog=testing.prices({"m": (1, 1)}))
    with caplog.at_level(logging.ERROR, logger="farthing"):
        for _ in range(3):
            event = tracker.record("m", 1_000_000, 0, "a")
    assert event.usd == 1 and tracker.total_usd == 3 and tracker.by_agent() == {"a": 3.0}
    assert (tracker.faults, tracker.lost) == (3, 3)
    assert len(caplog.records) == 1 and "writing to the ledger" in caplog.text
    with pytest.raises(farthing.LedgerError):
        tracker.ledger
    with pytest.raises(farthing.LedgerError):
        tracker.totals(agent="a")
    tracker.close()


def test_a_fault_of_ours_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in pricing: the event is returned and kept, unpriced, with the reason; the fault is counted and logged."""

    class Broken(Catalog):
        def price(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def, override]
            raise ZeroDivisionError("a bug")

    broken = Broken.__new__(Broken)
    with testing.tracker(catalog=broken) as tracker, caplog.at_level(logging.ERROR, logger="farthing"):
        event = tracker.record("m", 10, 5, "a")
        assert event.cost is None and event.price_status == "unpriced"
        assert event.price_reason is not None and "ZeroDivisionError" in event.price_reason
        assert tracker.totals(agent="a").unpriced_calls == 1 and tracker.faults == 1 and tracker.lost == 0
    assert "a bug" in caplog.text


def test_after_close_calls_are_counted_as_lost(tracker: CostTracker) -> None:
    """A late call of a host that shuts down neither raises nor opens the ledger again."""
    tracker.close()
    assert tracker.record("m", 1_000_000, 0).usd == 1
    assert tracker.lost == 1 and tracker.total_usd == 1
    tracker.close()


def test_what_a_full_disk_leaves_in_the_queue_is_counted_when_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A `with` block of the host ends as it would without us; log and count tell what is lost."""

    def full(*_: object) -> None:
        raise farthing.LedgerFull("no space left")

    with testing.tracker({"m": (1, 1)}, url=tmp_path / "ledger.db", durability="queued") as tracker:
        monkeypatch.setattr("farthing.ledger.writer.Writer.write", full)
        for _ in range(3):
            tracker.record("m", 10, 5)
    assert (tracker.lost, tracker.faults) == (3, 1)
    assert "closing the ledger: no space left" in caplog.text


# --- totals ---


def test_threads_lose_nothing(tracker: CostTracker) -> None:
    """Eight threads at once: run and ledger have the same exact sums."""

    def work(agent: str) -> None:
        for _ in range(100):
            tracker.record("m", 1001, 7, agent)

    threads = [threading.Thread(target=work, args=(f"a{i % 3}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.totals().calls == 800
    assert tracker.totals().cost_pico == 800 * (1001 + 14) * 10**6
    assert tracker.totals() == tracker.totals(model="m")


def test_a_forked_child_records_under_its_own_name(tmp_path: Path) -> None:
    """Parent and child write to one ledger; both calls are there, by different recorders."""
    with CostTracker(tmp_path / "ledger.db", catalog=testing.prices({"m": (1, 1)})) as tracker:
        tracker.record("m", 1, 1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                tracker.record("m", 2, 2)
                status = tracker.lost
                tracker.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        kept = list(tracker.ledger.events(Filter()))
        assert len(kept) == 2 and len({event.recorder for event in kept}) == 2


def test_scope_and_filters(tmp_path: Path) -> None:
    """A second run starts at nothing; the ledger's scope, or any filter, sees both."""
    path = tmp_path / "ledger.db"
    catalog = testing.prices({"m": (1, 1)})
    with CostTracker(path, catalog=catalog) as first:
        first.record("m", 1_000_000, 0, "a", task="t")
    with CostTracker(path, catalog=catalog) as second:
        assert second.total_cost == 0.0 and second.task_cost("a", "t") == 0.0
        second.record("m", 2_000_000, 0, "b")
        assert second.total_cost == 2.0
        assert second.totals(agent="a").cost == 1.0
        assert {row.key: row.totals.calls for row in second.breakdown("agent")} == {("a",): 1, ("b",): 1}
    with CostTracker(path, scope="ledger", catalog=catalog) as everything:
        assert everything.total_cost == 3.0 and everything.by_agent() == {"b": 2.0, "a": 1.0}
        assert everything.task_cost("a", "t") == 1.0
        assert everything.by_provider() == {"custom": 3.0}


def test_queued_durability_answers_for_everything_recorded(tmp_path: Path) -> None:
    """Questions to the ledger come after what is queued."""
    with CostTracker(tmp_path / "l.db", durability="queued", catalog=testing.prices({"m": (1, 1)})) as tracker:
        for _ in range(50):
            tracker.record("m", 1_000_000, 0, "a", trace="t")
        assert tracker.totals(agent="a").cost == 50.0
        assert len(tracker.trace("t").observations) == 50
        tracker.flush()


def test_a_price_registered_in_a_tracker_stays_there() -> None:
    """Two trackers in one process may price the same model differently."""
    with testing.tracker({"mine": (1, 1)}) as one, testing.tracker({"mine": (2, 2)}) as two:
        assert one.record("mine", 1_000_000, 0).cost == 1.0
        assert two.record("mine", 1_000_000, 0).cost == 2.0


def test_prices_of_a_tracker_that_is_gone_do_not_come_back() -> None:
    """One tracker after another, each with its own price of one model: none is given a predecessor's."""
    for dollars in range(1, 40):
        with testing.tracker({"mine": (dollars, 1)}) as tracker:
            assert tracker.record("mine", 1_000_000, 0).cost == float(dollars)


def test_an_unknown_trace_is_empty(tracker: CostTracker) -> None:
    """No observations, no cost, no error."""
    trace = tracker.trace("none")
    assert (trace.observations, trace.total_cost, trace.name, trace.timestamp) == ((), 0.0, None, None)


def test_a_trace_says_what_it_does_not_know(tracker: CostTracker) -> None:
    """An unpriced observation is counted beside the total, and a failed one shows its error."""
    tracker.record("m", 1_000_000, 0, trace="t", name="job", step="one")
    tracker.record("unspecified", 10, 5, trace="t", name="job", step="two")
    tracker.record("m", trace="t", name="job", step="three", error="429")
    tracker.record(operation="execute_tool", trace="t", name="job", step="four")
    trace = tracker.trace("t")
    assert (trace.name, trace.total_cost, trace.unpriced) == ("job", 1.0, 1)
    assert [(o.name, o.type, o.level) for o in trace.observations] == [
        ("one", "GENERATION", "DEFAULT"),
        ("two", "GENERATION", "DEFAULT"),
        ("three", "GENERATION", "ERROR"),
        ("four", "TOOL", "DEFAULT"),
    ]
