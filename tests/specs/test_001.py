"""Specification 001, Langfuse: a trace with its generation, custom prices, cost per analysis, three queries."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import farthing
from farthing import testing
from farthing.classic import Langfuse

SONNET = "claude-sonnet-4-20250514"


@pytest.fixture
def langfuse() -> Langfuse:
    """A client whose ledger is in memory."""
    return Langfuse(testing.tracker())


def analysed(langfuse: Langfuse):
    """The first sample as it stands."""
    trace = langfuse.trace(name="content_analysis", user_id="user_123", session_id="session_abc")
    generation = trace.generation(
        name="security_audit",
        model=SONNET,
        model_parameters={"temperature": 1.0, "max_tokens": 4096},
        input=[{"role": "user", "content": "Analyze for XSS..."}],
        output="Analysis: Found 3 vulnerabilities...",
        usage={"input": 1500, "output": 1000, "unit": "TOKENS"},
    )
    return trace, generation


def test_the_cost_is_calculated(langfuse: Langfuse) -> None:
    """$0.0045 + $0.015 = $0.0195, exactly."""
    _, generation = analysed(langfuse)
    assert generation.calculated_input_cost == 0.0045
    assert generation.calculated_output_cost == 0.015
    assert generation.calculated_total_cost == 0.0195
    cost = farthing.price(SONNET, farthing.Usage(input_tokens=1500, output_tokens=1000))
    assert cost.usd == Decimal("0.0195")
    assert [Decimal(line.usd.numerator) / line.usd.denominator for line in cost.lines] == [
        Decimal("0.0045"),
        Decimal("0.015"),
    ]


def test_the_cost_of_an_analysis_is_the_sum_of_its_generations(langfuse: Langfuse) -> None:
    """The second sample as it stands: the trace read back, its generations' costs summed."""
    opened, _ = analysed(langfuse)
    opened.span(name="collect")
    opened.generation(name="style", model="gpt-4o", usage={"input": 1000, "output": 100, "unit": "TOKENS"})
    trace_id = opened.id

    trace = langfuse.get_trace(trace_id)
    total_cost = sum(gen.calculated_total_cost or 0 for gen in trace.observations if gen.type == "GENERATION")

    assert trace.id == trace_id
    assert total_cost == pytest.approx(0.0195 + 0.0035, abs=1e-12)
    assert trace.total_cost == 0.023 and trace.total_usd == Decimal("0.023")
    assert [(o.type, o.name) for o in trace.observations] == [
        ("GENERATION", "security_audit"),
        ("SPAN", "collect"),
        ("GENERATION", "style"),
    ]
    assert (trace.name, trace.user_id, trace.session_id) == ("content_analysis", "user_123", "session_abc")
    assert trace.observations[0].model == SONNET
    assert trace.observations[0].usage["total"] == 2500
    assert langfuse.tracker.totals().calls == 2  # a trace and a span are no calls


def test_custom_prices_with_a_pattern(langfuse: Langfuse) -> None:
    """create_model: US dollars a token, for every model that the pattern matches."""
    langfuse.create_model(
        model_name="my-sonnet",
        match_pattern="my-sonnet-4.*",
        unit="TOKENS",
        input_price=0.000003,
        output_price=0.000015,
        total_price=None,
    )
    generation = langfuse.trace(name="t").generation(
        model="my-sonnet-4-20990101", usage={"input": 1500, "output": 1000, "unit": "TOKENS"}
    )
    assert generation.calculated_total_cost == 0.0195


def test_the_sample_of_a_custom_price_names_a_known_model(langfuse: Langfuse) -> None:
    """The sample as it stands defines the list price once more: the cost stays $0.0195."""
    langfuse.create_model(
        model_name=SONNET,
        match_pattern="claude-sonnet-4.*",
        unit="TOKENS",
        input_price=0.000003,
        output_price=0.000015,
        total_price=None,
    )
    assert analysed(langfuse)[1].calculated_total_cost == 0.0195


def test_a_price_of_the_total(langfuse: Langfuse) -> None:
    """total_price prices input and output alike where the two are not priced apart."""
    langfuse.create_model(model_name="flat-model-1", match_pattern="flat-model-1", unit="TOKENS", total_price=0.000002)
    generation = langfuse.trace().generation(model="flat-model-1", usage={"input": 1000, "output": 500})
    assert generation.calculated_total_cost == 0.003


def test_usage_in_other_units() -> None:
    """`unit` may be characters, images, seconds or requests; one that is none is refused by name."""
    with testing.tracker() as tracker:
        event = tracker.record("m", usage={"input": 900, "unit": "CHARACTERS"})
        assert event.usage == farthing.Usage(input_characters=900)
        assert tracker.record("m", usage={"input": 1500, "unit": "MILLISECONDS"}).usage.input_audio_seconds == Decimal(
            "1.5"
        )
        assert tracker.record("m", usage={"input": 1, "unit": "REQUESTS"}).usage.requests == 1
        with pytest.raises(farthing.UsageError, match="unit = 'BYTES': must be one of TOKENS"):
            tracker.record("m", usage={"input": 1, "unit": "BYTES"})


def test_counts_that_come_later_correct_the_generation(langfuse: Langfuse) -> None:
    """`generation.end(usage=...)`: first unknown, then known; one call, one observation, its whole cost."""
    trace = langfuse.trace(name="t")
    generation = trace.generation(name="g", model=SONNET)
    assert generation.calculated_total_cost is None
    generation.end(usage={"input": 1500, "output": 1000})
    (observation,) = langfuse.get_trace(trace.id).observations
    assert observation.calculated_total_cost == 0.0195
    assert langfuse.tracker.totals().calls == 1 and langfuse.tracker.total_cost == 0.0195
    assert langfuse.tracker.totals(trace=trace.id).cost == 0.0195


def test_the_sums_of_its_queries() -> None:
    """Dearest traces, cost by metadata, cost by day: as the three queries of the specification add up."""
    clock = testing.FakeClock(datetime(2025, 8, 1, 12, tzinfo=UTC))
    langfuse = Langfuse(testing.tracker({"m": (1, 2)}, clock=clock))
    for day, kind in enumerate(("editor", "critic", "editor")):
        trace = langfuse.trace(name=f"t{day}", user_id="u", metadata={"agent_type": kind})
        trace.generation(model="m", usage={"input": 1_000_000 * (day + 1), "output": 0})
        clock.advance(days=1)
    tracker = langfuse.tracker
    dearest = [row.totals.cost for row in tracker.breakdown("trace", "name", since=datetime(2025, 7, 30, tzinfo=UTC))]
    assert sorted(dearest, reverse=True) == [3.0, 2.0, 1.0]
    by_type = {row.key[0]: row.totals.cost for row in tracker.breakdown("metadata.agent_type")}
    assert by_type == {"editor": 4.0, "critic": 2.0}
    by_day = {row.key[0]: row.totals.cost for row in tracker.breakdown("day")}
    assert by_day == {"2025-08-01": 1.0, "2025-08-02": 2.0, "2025-08-03": 3.0}
