"""The catalog: resolving, explaining, repricing, warning, listing."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from farthing.errors import FarthingError, PriceError
from farthing.event import to_us
from farthing.pricing import Catalog, PriceRecord, Resolved, Unpriced, price, reprice
from farthing.pricing.defaults import default_parts
from farthing.usage import Usage

CALL = Usage(input_tokens=1500, cache_read_tokens=1200, output_tokens=350)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_resolved_price_evaluates_and_explains() -> None:
    """The integer core and the Cost agree; the lines show quantity, rate and lot."""
    resolved = Catalog.default().resolve("gpt-4o", "openai", NOON)
    assert isinstance(resolved, Resolved)
    cost = resolved.cost(CALL)
    assert resolved.evaluate(CALL) == cost.pico == 5_750_000_000
    assert cost.usd == Decimal("0.00575") and repr(cost) == "<Cost 0.00575 USD, priced, of 'gpt-4o'>"
    assert [(line.unit, line.quantity, str(line.rate_usd), line.per) for line in cost.lines] == [
        ("input_tokens", 300, "2.5", 1_000_000),
        ("cache_read_tokens", 1200, "1.25", 1_000_000),
        ("output_tokens", 350, "10", 1_000_000),
    ]
    assert resolved.rate("input_tokens", CALL) is not None and resolved.rate("web_fetches", CALL) is None


def test_an_unpriced_model_has_the_same_face() -> None:
    """No cost, no lines, no record, and the reason."""
    missing = Catalog.default().resolve("claude-sonnet-9")
    assert (
        isinstance(missing, Unpriced) and missing.evaluate(CALL) is None and missing.rate("input_tokens", CALL) is None
    )
    cost = missing.cost(CALL)
    assert (cost.usd, cost.pico, cost.lines, cost.record, cost.provenance) == (None, None, (), None, None)
    assert "unknown" in repr(cost)


@pytest.mark.parametrize(
    ("model", "context"),
    [
        ("gpt-4o", {}),
        ("gpt-5.6-sol", {"processing": "batch", "data_residency": "eu"}),
        ("deepseek-v4-flash", {}),
        ("sonar", {"search_context_size": "low"}),
        ("claude-opus-4-6", {"inference_geo": "us"}),
        ("azure/gpt-4o", {}),
    ],
)
def test_the_record_alone_is_enough_to_price_again(model: str, context: dict[str, str]) -> None:
    """From the text that a ledger keeps comes the same cost, lines and hash."""
    at = datetime(2026, 11, 20, 2, tzinfo=UTC)
    cost = price(model, CALL, at=at, context=context)
    assert cost.record is not None and cost.provenance is not None
    again = reprice(cost.record.text, CALL, to_us(at), context)
    assert (again.pico, again.status, again.lines, again.reasons) == (cost.pico, cost.status, cost.lines, cost.reasons)
    assert PriceRecord.from_text(cost.record.text).hash == cost.record.hash == cost.provenance.price_hash


def test_a_broken_record_is_refused() -> None:
    """Text that is no record, or says what cannot be, raises."""
    for text in ("", "[]", '{"provider": "p"}', '{"provider":"p","model":"m","rates":{"input_tokens":{"usd":"-1"}}}'):
        with pytest.raises((PriceError, AttributeError)):
            reprice(text, CALL, 0)
    with pytest.raises(PriceError, match="unknown key 'colour'"):
        PriceRecord.make({"provider": "p", "model": "m", "rates": {}, "colour": "red"})


def test_a_missing_price_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log for a model, however often it is priced."""
    caplog.set_level(logging.WARNING, "farthing")
    for _ in range(5):
        price("a-model-nobody-knows", CALL)
    price("another-model-nobody-knows", CALL)
    assert caplog.text.count("'a-model-nobody-knows'") == 1 and len(caplog.records) == 2


def test_another_provider_at_its_list_price_has_its_own_record() -> None:
    """Azure's price of gpt-4o is OpenAI's, says so, and does not take OpenAI's service tiers."""
    cost = price("gpt-4o", CALL, provider="azure", at=NOON)
    assert cost.record is not None and cost.record.data["via"] == "openai" and cost.provider == "azure"
    assert price("gpt-4o", CALL, provider="azure", at=NOON, context={"service_tier": "priority"}).status == "unpriced"


def test_what_corrects_a_list_price_corrects_it_where_others_charge_it() -> None:
    """DeepSeek's weekends are off-peak on Azure too, and an hour's writes of Claude have their rate there."""
    saturday = datetime(2026, 11, 21, 2, tzinfo=UTC)
    cost = price("deepseek-v4-flash", Usage(input_tokens=1_000_000), provider="azure", at=saturday)
    assert cost.record is not None and cost.record.data["via"] == "deepseek"
    assert cost.usd == Decimal("0.15")
    written = Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000, web_fetches=1)
    cost = price("claude-sonnet-4-5", written, provider="azure", at=NOON)
    assert (cost.usd, cost.status) == (Decimal("0.006"), "priced")


def test_lists_and_history() -> None:
    """Models are listed once, registered ones first; the history is every record in order of time."""
    catalog = Catalog.default().child()
    catalog.register("mine", 1, 1)
    listed = list(catalog.models())
    assert (listed[0].provider, listed[0].model, listed[0].source) == ("custom", "mine", "registered")
    assert len({(one.provider, one.model) for one in listed}) == len(listed) > 2000
    assert {one.provider for one in catalog.models("bedrock")} == {"aws"}
    sources = {one.model: one.source for one in catalog.models("cohere")}
    assert sources["rerank-v3.5"] == "https://cohere.com/pricing" and sources["command-r"] == catalog.source.label
    history = catalog.history("gpt-5.6-sol")
    assert [(r.valid_from, r.valid_to) for r in history] == [
        (None, datetime(2026, 8, 21, tzinfo=UTC)),
        (datetime(2026, 8, 21, tzinfo=UTC), None),
    ]
    with pytest.raises(PriceError, match="did you mean"):
        catalog.history("gpt-9")


def test_a_record_is_named_by_its_content() -> None:
    """The same data in another order has the same hash; another price another one."""
    a = PriceRecord.make({"provider": "p", "model": "m", "rates": {"input_tokens": {"usd": "1", "per": 10}}})
    b = PriceRecord.make({"rates": {"input_tokens": {"per": 10, "usd": "1"}}, "model": "m", "provider": "p"})
    c = PriceRecord.make({"provider": "p", "model": "m", "rates": {"input_tokens": {"usd": "2", "per": 10}}})
    assert a.hash == b.hash != c.hash


def test_invented_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of resolved prices is bounded."""
    monkeypatch.setattr("farthing.pricing.catalog._LIMIT", 3)
    catalog = Catalog.default().child()
    for number in range(10):
        catalog.resolve("gpt-4o", at=NOON, context={"note": str(number)})
    assert len(catalog._cache) <= 3


def test_many_threads_price_at_once() -> None:
    """A cold catalog shared by threads gives every one the same cost."""
    catalog = Catalog(Catalog.default().source)
    seen: list[object] = []

    def work() -> None:
        seen.extend(
            catalog.price(name, CALL, at=NOON).pico for name in ("gpt-4o", "claude-sonnet-4-5", "sonar", "nobody")
        )

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(seen) == 32 and len(set(seen)) == 4


def test_context_that_is_no_text_is_taken_as_text() -> None:
    """A value of any type is read as the text it prints as; one that cannot be a key does no harm."""
    assert (
        price("gpt-5", CALL, at=NOON, context={"batch": True}).pico
        == price("gpt-5", CALL, at=NOON, context={"processing": "batch"}).pico
    )
    assert price("gpt-5", CALL, at=NOON, context={"tags": ["a"]}).status == "priced"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"usage": {"input_tokens": 5}}, "usage = {'input_tokens': 5}: must be a farthing.Usage"),
        ({"model": None}, "model = None: must be text"),
        ({"model": ["gpt-4o"]}, "must be text"),
        ({"provider": 7}, "provider = 7: must be text"),
        ({"at": "soon"}, "'soon' is no moment"),
        ({"at": 1.7e9}, "1700000000.0 is no moment"),
        ({"context": "batch"}, "context = 'batch': must be a mapping"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_told(wrong: dict[str, Any], words: str) -> None:
    """The message names the argument and its value; no AttributeError comes out of our inside."""
    given: dict[str, Any] = {"model": "gpt-4o", "usage": Usage(input_tokens=5), **wrong}
    model, usage = given.pop("model"), given.pop("usage")
    with pytest.raises(FarthingError) as error:
        price(model, usage, **given)
    assert words in str(error.value)


def test_any_moment_of_the_calendar_has_a_price() -> None:
    """Windows of the day are looked up at its edges too, and beyond them."""
    usage = Usage(input_tokens=1_000_000)
    for at in (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59), 10**30, -(10**30)):  # noqa: DTZ001
        assert price("deepseek-v4-flash", usage, at=at).pico


def test_an_endless_name_is_cut_and_compared_with_nothing() -> None:
    """A stranger's model name does not fill the log, nor keep us busy."""
    cost = price("x" * 100_000, Usage(input_tokens=1))
    assert cost.status == "unpriced" and len(cost.reasons[0]) < 200


def test_two_services_that_have_no_price_together_are_told() -> None:
    """Batch and fast mode each have rates, nobody publishes both at once: which are used stands in the reasons."""
    cost = price("claude-opus-4-8", Usage(input_tokens=1000), context={"processing": "batch", "speed": "fast"})
    assert "processing=batch and speed=fast" in cost.reasons[0]
    assert not price("claude-opus-4-8", Usage(input_tokens=1000), context={"speed": "fast"}).reasons


def test_a_fork_waits_until_the_catalog_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that reads the data does not live on in the child: its import would be half done there for ever."""
    reading, go_on = threading.Event(), threading.Event()

    def slowly() -> Any:
        reading.set()
        assert go_on.wait(20)
        return default_parts()

    monkeypatch.setattr("farthing.pricing.catalog.default_parts", slowly)
    Catalog.reset_default()
    try:
        thread = threading.Thread(target=Catalog.default)
        thread.start()
        assert reading.wait(20)
        threading.Timer(0.05, go_on.set).start()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever is ended, and then the test fails
            os._exit(0 if price("gpt-4o", CALL).pico else 1)
        assert go_on.is_set(), "the fork did not wait"
        assert os.waitpid(child, 0)[1] == 0
        thread.join()
    finally:
        Catalog.reset_default()
