"""`on_response`: one line for whatever calls models in a way of its own."""

from __future__ import annotations

import json

import pytest

from farthing import testing
from farthing.capture import process
from farthing.capture.context import attribute
from farthing.capture.faults import FAULTS
from farthing.capture.responses import on_response

BODY = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [],
    "usage": {"prompt_tokens": 1500, "completion_tokens": 350, "total_tokens": 1850},
}


def test_a_body_becomes_an_event() -> None:
    """Of any form, attributed by keywords and blocks, by the process-wide tracker unless one is named."""
    with testing.tracker() as tracker:
        before = process.use_tracker(tracker)
        try:
            with attribute(session="s"):
                event = on_response(json.dumps(BODY).encode(), "researcher", feature="search")
            again = on_response(BODY, tracker=tracker)
        finally:
            process.use_tracker(before)
        assert event is not None
        assert again is not None
        who = event.attribution
        assert (who.agent, who.feature, who.session) == ("researcher", "search", "s")
        assert event.cost == pytest.approx(0.00725)
        assert tracker.totals().calls == 1


def test_a_response_that_cannot_be_read_breaks_nothing() -> None:
    """A callback does not break the call it is told of; misspelt keywords are told to whoever writes them."""
    with testing.tracker() as tracker:
        before = FAULTS.total
        assert on_response(object(), tracker=tracker) is None
        assert FAULTS.total == before + 1
        with pytest.raises(TypeError, match="did you mean 'feature'"):
            on_response(BODY, tracker=tracker, featur="x")  # type: ignore[call-arg]
        assert on_response(None, tracker=tracker) is None
        assert FAULTS.total == before + 2


class _Chunk:
    """An object of an SDK."""

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def model_dump(self) -> dict[str, object]:
        return self._fields


class _Http:
    """An HTTP client's response."""

    content = json.dumps(BODY).encode()


class _Unread:
    """One that streams, and that nobody has read yet."""

    @property
    def content(self) -> bytes:
        raise RuntimeError("not read yet")


def test_objects_of_libraries_are_read() -> None:
    """An SDK's object, the list of a stream's, an HTTP client's response; one that is unread is a fault."""
    chunk = {"id": "chatcmpl-9876543210abcdef", "object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06"}
    stream = [
        _Chunk(**chunk, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None),
        _Chunk(**chunk, choices=[], usage=BODY["usage"]),
    ]
    with testing.tracker() as tracker:
        for response in (_Chunk(**BODY), stream, _Http()):
            event = on_response(response, tracker=tracker)
            assert event is not None
            assert (event.provider, event.usage.input_tokens, event.usage_status) == ("openai", 1500, "reported")
        before = FAULTS.total
        assert on_response(_Unread(), tracker=tracker) is None
        assert FAULTS.total == before + 1
