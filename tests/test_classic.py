"""The specifications' classes: what their samples do not show but their users will do."""

from __future__ import annotations

import pytest

from farthing import classic, testing
from farthing.classic import MODEL_PRICING, PRICING, Langfuse, TokenCounter, UsageTracker
from farthing.tracker import CostTracker


@pytest.fixture
def langfuse() -> Langfuse:
    """A client in memory, with one model: $1 a million in, $2 out."""
    return Langfuse(testing.tracker({"m": (1, 2)}))


def test_everything_named_is_there() -> None:
    """`from farthing.classic import *` gives every class of this scope."""
    assert all(getattr(classic, name) is not None for name in classic.__all__)
    assert classic.CostTracker is CostTracker


def test_price_tables_are_read_only_views() -> None:
    """They list the specification's names, answer for any model, and know what they do not know."""
    assert list(PRICING) == ["gpt-4", "gpt-3.5-turbo"] and len(MODEL_PRICING) == 11
    assert all(set(MODEL_PRICING[name]) == {"input", "output"} for name in MODEL_PRICING)
    assert MODEL_PRICING["gpt-4o-mini"]["output"] == 0.6
    with pytest.raises(KeyError):
        MODEL_PRICING["no-such-model-z"]
    with pytest.raises(TypeError):
        MODEL_PRICING["m"] = {}  # type: ignore[index]


def test_credentials_are_accepted_and_not_used() -> None:
    """A client is made with the arguments that programs already pass."""
    client = Langfuse(public_key="pk", secret_key="sk", host="https://example.org")
    client.trace(name="t", tags=["x"], input="question", output="answer", version="1")
    client.flush()
    client.shutdown()
    client.tracker.close()


def test_prompts_are_not_stored(langfuse: Langfuse) -> None:
    """Inputs and outputs of a generation reach no event."""
    langfuse.trace(name="t", input="a secret question").generation(
        name="g", model="m", input=[{"content": "a secret question"}], output="a secret answer", usage={"input": 1}
    )
    assert all("secret" not in repr(event) for event in langfuse.tracker.ledger.events())


def test_a_trace_may_have_the_callers_id(langfuse: Langfuse) -> None:
    """`id=` names the trace; its metadata and that of the generation come together."""
    trace = langfuse.trace(id="mine", name="t", metadata={"a": 1})
    trace.generation(model="m", usage={"input": 10, "output": 5}, metadata={"b": 2})
    found = langfuse.get_trace("mine")
    assert (trace.id, trace.name, found.metadata) == ("mine", "t", {"a": 1})
    (observation,) = found.observations
    assert observation.metadata == {"a": 1, "b": 2} and observation.name == "t"
    assert (observation.usage["input"], observation.usage["output"], observation.usage["unit"]) == (10, 5, "TOKENS")


def test_a_trace_of_nothing_costs_nothing(langfuse: Langfuse) -> None:
    """An opened trace and its spans are no calls and in no breakdown."""
    trace = langfuse.trace(name="t")
    trace.span(name="s").end()
    assert langfuse.get_trace(trace.id).total_cost == 0.0
    assert langfuse.tracker.get_summary()["total_calls"] == 0 and langfuse.tracker.by_model() == {}
    everything = CostTracker(scope="ledger", ledger=langfuse.tracker.ledger)
    assert everything.by_model() == {} and everything.get_summary()["by_agent"] == {}


def test_a_generation_of_an_unknown_model_has_no_cost(langfuse: Langfuse) -> None:
    """None, not 0; `or 0` in the sample's sum takes care of it."""
    trace = langfuse.trace()
    generation = trace.generation(model="never-heard-of-1", usage={"input": 5, "output": 5})
    assert generation.calculated_total_cost is None and generation.calculated_input_cost is None
    assert langfuse.get_trace(trace.id).unpriced == 1


def test_ending_a_generation_twice_changes_nothing(langfuse: Langfuse) -> None:
    """The same counts again are the same call."""
    trace = langfuse.trace()
    generation = trace.generation(name="g", model="m", usage={"input": 1_000_000, "output": 0})
    generation.end(usage={"input": 1_000_000, "output": 0})
    generation.end()
    assert langfuse.tracker.total_cost == 1.0
    assert langfuse.get_trace(trace.id).total_cost == 1.0


def test_counters_share_a_tracker() -> None:
    """Both write to one ledger when they are given one tracker."""
    with testing.tracker({"m": (1, 1)}) as tracker:
        TokenCounter(tracker).record("a", "t", 1_000_000, 0, model="m")
        UsageTracker(tracker).record("m", 1_000_000, 0.5)
        assert tracker.total_cost == 1.5 and tracker.totals().calls == 2


def test_without_a_tracker_they_use_the_default_ledger() -> None:
    """As in the samples: no arguments."""
    counter, usage = TokenCounter(), UsageTracker()
    counter.record("a", "t", 10, 5)
    usage.record("gpt-4", 523, 0.0234)
    with CostTracker(scope="ledger") as everything:
        assert everything.totals().calls == 2
    counter.tracker.close()
    usage.tracker.close()
