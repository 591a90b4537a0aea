"""The quick yes of Usage for common shapes is the slow one's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farthing.usage import UNITS, _defects, _is_simple

_NAMES = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_5m_tokens", "cache_write_1h_tokens", "output_reasoning_tokens", "input_image_tokens"),
)


@given(st.dictionaries(st.sampled_from((*_NAMES, *UNITS)), st.integers(1, 9), max_size=6))
def test_what_is_simple_is_possible_and_complete(counts: dict[str, int]) -> None:
    """Counts that are passed without a closer look have no defect, and imply no count that was not given."""
    if _is_simple(counts):
        assert _defects(counts) == ([], False)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 30))
def test_lifetimes_of_cache_writes_are_simple_where_they_fit(short: int, long: int, rest: int, more: int) -> None:
    """The shape of every Anthropic response takes the quick way."""
    written = short + long + rest
    counts = {
        "input_tokens": written + more,
        "cache_write_tokens": written,
        "cache_write_5m_tokens": short,
        "cache_write_1h_tokens": long,
    }
    assert _is_simple({name: count for name, count in counts.items() if count})
