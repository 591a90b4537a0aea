"""From a call to an event: every field arrives where it belongs, and whoever sees a response makes the same key."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

from farthing.event import Attribution, Event
from farthing.pricing.extract import extract
from farthing.recording import Call, calls_of, price_call, readable, response_key
from farthing.testing import prices
from farthing.usage import Usage


def test_every_field_of_a_call_arrives_in_its_event() -> None:
    """Each field of the same name has the same value; the others are what pricing found."""
    call = Call(
        model="m",
        usage=Usage(input_tokens=1_000_000),
        attribution=Attribution(agent="a"),
        provider="custom",
        requested_model="asked",
        operation="embeddings",
        at_us=17,
        context={"processing": "standard"},
        usage_status="estimated",
        response_id="r",
        dedupe_key="k",
        attempt=3,
        error="e",
        source="import:x",
        recorder="me",
        billing="subscription",
        fingerprints={"request": "f"},
    )
    event, text = price_call(prices({"m": (1, 1)}), call)
    for name in {f.name for f in fields(Call)} & {f.name for f in fields(Event)}:
        assert getattr(event, name) == getattr(call, name), name
    assert (event.usd, event.calls, event.billed, event.corrects, event.restates) == (Decimal(1), 1, True, None, 0)
    assert event.price_hash is not None and text is not None


def test_the_key_of_a_response() -> None:
    """A long id alone, a short one with its provider; further models have a part; an explicit key goes before."""
    assert response_key("openai", "r") == "response:openai:r" and response_key(None, "r", 2) == "response:?:r#2"
    long = "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG"
    assert response_key("openai", long) == response_key("azure", long) == f"response:{long}"
    body = {
        "id": "r",
        "model": "gpt-4o",
        "object": "chat.completion",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    call = Call(model="gpt-4o", usage=None, attribution=Attribution())
    (one,) = calls_of(extract(body, provider="openai"), call)
    assert one.dedupe_key == "response:openai:r"
    (one,) = calls_of(
        extract(body, provider="openai"), Call(model="m", usage=None, attribution=Attribution(), dedupe_key="mine")
    )
    assert one.dedupe_key == "mine" and one.requested_model == "m"


def test_a_model_without_a_price_is_priced_as_what_was_asked_for() -> None:
    """A host's own name of a model (a path, a deployment) is not lost, and the name asked for has the price."""
    call = Call(
        model="/weights/llama", requested_model="mine", usage=Usage(input_tokens=1_000_000), attribution=Attribution()
    )
    event, _ = price_call(prices({"mine": (3, 3)}), call)
    assert (event.model, event.requested_model, event.usd) == ("/weights/llama", "mine", Decimal(3))


def test_what_a_response_may_be() -> None:
    """Bytes, text and parsed JSON as they are; an SDK's object by its own dump."""

    class Sdk:
        def to_dict(self) -> dict[str, int]:
            return {"a": 1}

    assert readable(b"{}") == b"{}" and readable("{}") == "{}" and readable([1]) == [1]
    assert readable(Sdk()) == {"a": 1}
