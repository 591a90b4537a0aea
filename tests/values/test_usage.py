"""Usage: totals that include their subsets, refused where they cannot be."""

from __future__ import annotations

import contextlib
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import UsageError
from farthing.usage import CACHE_LIFETIMES, CONTAINERS, UNITS, Usage


@pytest.mark.parametrize(
    ("units", "names"),
    [
        ({"input_tokens": -1}, ["input_tokens", "-1", "negative"]),
        ({"input_tokens": float("nan")}, ["input_tokens", "nan", "finite"]),
        ({"input_tokens": float("inf")}, ["input_tokens", "inf", "finite"]),
        ({"input_tokens": Decimal("NaN")}, ["input_tokens", "NaN", "finite"]),
        ({"input_tokens": True}, ["input_tokens", "True"]),
        ({"input_tokens": "many"}, ["input_tokens", "many"]),
        ({"input_tokens": 1.5}, ["input_tokens", "1.5", "whole"]),
        ({"input_tokens": [1]}, ["input_tokens", "[1]"]),
        ({"input_tokens": 10, "cache_read_tokens": 11}, ["cache_read_tokens", "11", "input_tokens", "10"]),
        ({"cache_read_tokens": 5}, ["cache_read_tokens", "5", "input_tokens"]),
        ({"output_tokens": 5, "output_reasoning_tokens": 6}, ["output_reasoning_tokens", "6", "output_tokens", "5"]),
        (
            {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 5},
            ["cache_read_tokens (6)", "cache_write_tokens (5)", "11", "10"],
        ),
        (
            {"input_tokens": 100, "cache_write_tokens": 10, "cache_write_5m_tokens": 6, "cache_write_1h_tokens": 5},
            ["cache_write_5m_tokens (6)", "cache_write_1h_tokens (5)", "cache_write_tokens", "10"],
        ),
        ({"inptu_tokens": 5}, ["inptu_tokens", "input_tokens"]),
        ({"prompt_tokens": 5}, ["prompt_tokens", "did you mean 'input_tokens'"]),
        ({"audio_seconds": -0.5}, ["audio_seconds", "-0.5", "negative"]),
    ],
)
def test_impossible_usage_is_refused_with_key_value_and_rule(units: dict[str, object], names: list[str]) -> None:
    """Each way of being impossible raises UsageError, and its message names what a person needs."""
    with pytest.raises(UsageError) as caught:
        Usage(**units)  # type: ignore[arg-type]
    for name in names:
        assert name in str(caught.value)


def test_what_is_not_given_reads_as_zero_and_zeros_are_the_same_as_nothing() -> None:
    """A usage is a vector over the units: 0 and absent are equal."""
    usage = Usage(input_tokens=3, output_tokens=0)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.total_tokens) == (3, 0, 3)
    assert usage == Usage(input_tokens=3)
    assert usage.to_dict() == {"input_tokens": 3}
    with pytest.raises(AttributeError, match="did you mean 'input_tokens'"):
        usage.inputtokens


def test_numbers_come_in_every_form_that_json_and_databases_give() -> None:
    """Whole floats, Decimals and decimal text are the same number; seconds keep their fraction exactly."""
    assert Usage(input_tokens=12.0, output_tokens=Decimal("7"), web_searches="2") == Usage(
        input_tokens=12, output_tokens=7, web_searches=2
    )
    assert Usage(audio_seconds="3.3").audio_seconds == Usage(audio_seconds=3.3).audio_seconds == Decimal("3.3")


def test_usage_cannot_be_changed_and_survives_pickling() -> None:
    """A usage that was recorded stays what it was."""
    usage = Usage(input_tokens=5)
    with pytest.raises(AttributeError, match="immutable"):
        usage.input_tokens = 6  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(usage)) == usage


def test_a_missing_container_is_the_sum_of_what_it_contains() -> None:
    """A provider that names only the lifetimes of cache writes has still written them."""
    usage = Usage(input_tokens=100, cache_write_5m_tokens=10, cache_write_1h_tokens=20)
    assert not usage.closed
    assert usage.completed()["cache_write_tokens"] == 30


def test_overlap_that_must_exist_is_filled_in() -> None:
    """900 cached and 300 image tokens of 1000 share at least 200; where they fit side by side nothing is assumed."""
    assert (
        Usage(input_tokens=1000, cache_read_tokens=900, input_image_tokens=300).completed()["cache_image_read_tokens"]
        == 200
    )
    assert Usage(input_tokens=1000, cache_read_tokens=600, input_image_tokens=300).closed


def test_a_providers_impossible_numbers_are_kept_and_flagged() -> None:
    """Provider data is never thrown away: it is kept as it came, with the reasons why it cannot be."""
    usage = Usage.reported(
        {"input_tokens": 10, "cache_read_tokens": 20, "output_tokens": -5, "credits": 3, "web_searches": "x"}
    )
    assert usage.to_dict() == {"input_tokens": 10, "cache_read_tokens": 20, "output_tokens": -5}
    for part in ("cache_read_tokens = 20", "output_tokens = -5", "'credits'", "web_searches = 'x'"):
        assert any(part in problem for problem in usage.problems), part
    assert all(value >= 0 for value in usage.completed().values())
    assert not usage.closed


def test_possible_reported_numbers_have_no_problems() -> None:
    """The flag means something: sound data does not carry it."""
    assert Usage.reported({"input_tokens": 10, "cache_read_tokens": 5}).problems == ()


def test_every_unit_of_the_price_data_is_ours_with_the_same_meaning() -> None:
    """Names, lots and containment agree with genai-prices, so that its prices mean what they meant there."""
    from genai_prices.data_units import unit_data

    for name, unit in unit_data.items():
        assert UNITS[name].per == unit["per"], name
        assert dict(UNITS[name].dimensions) == unit["dimensions"], name


def test_containment_is_a_partial_order() -> None:
    """Containers of containers are containers, and nothing contains itself."""
    for name, outer in CONTAINERS.items():
        assert name not in outer
        for other in outer:
            assert set(CONTAINERS[other]) <= set(outer)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Possible usages, built from leaves so that every subset fits."""
    cached, written, plain, image = (draw(st.integers(0, 10**9)) for _ in range(4))
    lifetimes = {
        ttl: draw(st.integers(0, 10**6)) for ttl in draw(st.sets(st.sampled_from(CACHE_LIFETIMES), max_size=3))
    }
    reasoning, text = draw(st.integers(0, 10**9)), draw(st.integers(0, 10**9))
    written += sum(lifetimes.values())
    return Usage(
        input_tokens=cached + written + plain + image,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        input_image_tokens=image,
        output_tokens=reasoning + text,
        output_reasoning_tokens=reasoning,
        web_searches=draw(st.integers(0, 50)),
        audio_seconds=draw(st.decimals(0, 10**6, places=3)),
        **{f"cache_write_{ttl}_tokens": count for ttl, count in lifetimes.items()},
    )


@given(usages(), usages())
def test_addition_conserves_every_unit(a: Usage, b: Usage) -> None:
    """a + b has, unit by unit, what a and b had; the order does not matter; sum() works."""
    both = a + b
    for name in UNITS:
        assert both.get(name) == a.get(name) + b.get(name)
    assert both == b + a == sum([a, b])
    assert not both.problems


@given(
    st.dictionaries(
        st.sampled_from(sorted(UNITS)) | st.text(), st.integers() | st.floats() | st.decimals() | st.text() | st.none()
    )
)
def test_no_input_raises_anything_but_our_error(units: dict[str, object]) -> None:
    """Usage gives a usage or UsageError; Usage.reported always gives one, and its completion is never negative."""
    with contextlib.suppress(UsageError):
        Usage(**units)  # type: ignore[arg-type]
    completed = Usage.reported(units).completed()
    assert all(value >= 0 for value in completed.values())


@given(
    st.dictionaries(
        st.sampled_from([n for n in UNITS if UNITS[n].family == "tokens"]), st.integers(0, 1000), max_size=8
    )
)
def test_what_is_completed_is_possible(units: dict[str, int]) -> None:
    """Filling in what counts imply, or cutting what cannot be, ends at counts that Usage accepts."""
    completed = Usage.reported(units).completed()
    assert Usage(**completed).closed


def test_text_with_a_huge_exponent_is_refused_at_once() -> None:
    """`1e999999999` is finite decimal text, but no count: it must not be written out as an integer."""
    with pytest.raises(UsageError, match="finite number"):
        Usage(input_tokens="1e999999999")
    assert Usage.reported({"input_tokens": "1e999999999"}).problems


def test_nothing_of_a_usage_can_be_set() -> None:
    """Units, counts and problems alike: a usage in an event is what was recorded."""
    usage = Usage(input_tokens=5)
    for name in ("input_tokens", "audio_seconds", "counts", "problems", "closed", "nonsense"):
        with pytest.raises(AttributeError, match=f"immutable.*{name}"):
            setattr(usage, name, 1)
    assert dict(usage.counts) == {"input_tokens": 5}


def test_kept_counts_come_back_as_they_were_possible_or_not() -> None:
    """What a ledger kept is not refused when it is read; what cannot be is listed again."""
    assert Usage.restored({"input_tokens": 5}) == Usage(input_tokens=5)
    impossible = Usage.restored({"input_tokens": 5, "cache_read_tokens": 6})
    assert "cannot exceed its 5" in impossible.problems[0] and not impossible.closed


def test_a_message_shows_the_beginning_of_a_value_that_would_fill_the_screen() -> None:
    """A stranger's value of 5,000 digits is cut."""
    with pytest.raises(UsageError, match="must be a finite number") as error:
        Usage(input_tokens="9" * 5000)
    assert len(str(error.value)) < 250
