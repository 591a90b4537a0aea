"""Names that say nothing."""

from __future__ import annotations

import pytest

from farthing.reports.names import empty_names, says_nothing


@pytest.mark.parametrize(
    "name", ["agent_1", "Agent 2", "bot", "my-agent", "test", "assistant-07", "42", "", " ", "N/A", "todo"]
)
def test_names_that_could_be_anybodys(name: str) -> None:
    """They tell nobody where the money goes."""
    assert says_nothing(name)


@pytest.mark.parametrize(
    "name", ["research_agent", "customer_support", "chat", "agent_smith", "testing_lab", "gpt4_router", "a"]
)
def test_names_that_say_something(name: str) -> None:
    """They are left alone."""
    assert not says_nothing(name)


def test_a_missing_name_is_no_name() -> None:
    """Unattributed calls are told apart from badly named ones."""
    assert empty_names(["agent_1", None, "search"]) == ["agent_1"]
