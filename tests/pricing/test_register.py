"""Custom prices: from code, from farthing.toml, from the file that the command line keeps."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import PriceError, UsageError
from farthing.pricing import (
    Catalog,
    CustomPrice,
    calculate_cost,
    load_custom,
    price,
    register_model_pricing,
    save_custom,
)
from farthing.pricing.defaults import custom_file, price_file
from farthing.usage import Usage

CALL = Usage(input_tokens=1000, output_tokens=500)


@pytest.fixture
def catalog() -> Catalog:
    """A catalog whose registrations nobody else sees."""
    return Catalog.default().child()


@pytest.fixture
def fresh_default() -> Any:
    """The process-wide catalog is made anew for the test, and again after it."""
    Catalog.reset_default()
    yield
    Catalog.reset_default()


def test_a_registered_model_is_priced_by_the_million(catalog: Catalog) -> None:
    """1000 in at 1.50 and 500 out at 5.00 a million cost 0.004."""
    catalog.register("my-custom-model", input_price_per_million=1.50, output_price_per_million=5.00, provider="custom")
    cost = catalog.price("my-custom-model", CALL)
    assert (cost.usd, cost.status, cost.provider) == (Decimal("0.004"), "priced", "custom")
    assert cost.provenance is not None and cost.provenance.source == "registered"
    assert catalog.price("My-Custom-Model", CALL, provider="openai").usd == Decimal("0.004")


@pytest.mark.parametrize(
    ("model", "provider", "usd"),
    [
        ("openai/gpt-4o", None, "0.001"),  # the list price is 0.0025
        ("vercel/openai/gpt-4o", None, "0.001"),
        ("gpt-4o", "litellm", "0.001"),
        ("azure/gpt-4o", None, "0.0025"),  # another provider's
        ("gpt-4o-2024-05-13", None, "0.005"),  # a snapshot with a price of its own
        ("openai/My-Llama", "openai", "0.003"),
        ("custom/my-llama", None, "0.003"),
        ("hosted_vllm/my-llama", None, "0.003"),
        ("my-llama-2026-01-15", None, "0.003"),
        ("ollama/qwen-x", None, "0.004"),
        ("openai/Fin-X-7", None, "0.005"),  # by an anchored pattern
    ],
)
def test_a_registered_model_answers_to_its_name_behind_a_prefix(
    catalog: Catalog, model: str, provider: str | None, usd: str
) -> None:
    """As the data's models do: before them where only prefixes are taken off, after them where more is."""
    catalog.register("gpt-4o", 1, 1, provider="openai")
    catalog.register("my-llama", 3, 3)
    catalog.register("qwen-x", 4, 4, provider="ollama")
    catalog.register("fin", 5, 5, match_pattern="^Fin-X")
    assert catalog.price(model, Usage(input_tokens=1000), provider=provider).usd == Decimal(usd)


def test_a_provider_may_be_named_by_any_of_its_names(catalog: Catalog) -> None:
    """A price registered for bedrock is one for aws, and for no other provider: that is told."""
    catalog.register("mine", 1, 1, provider="bedrock")
    usage = Usage(input_tokens=1_000_000)
    for provider in (None, "aws", "bedrock", "amazon_bedrock"):
        assert catalog.price("mine", usage, provider=provider).usd == 1
    assert "did you mean 'mine' of aws?" in catalog.price("mine", usage, provider="openai").reasons[0]


def test_the_history_has_every_price_of_a_model(catalog: Catalog) -> None:
    """Registered ones in order of time, and the list's where those do not hold at all times."""
    catalog.register("mine", 2, 2, valid_from="2026-06-01")
    catalog.register("mine", 1, 1, valid_from="2026-01-01")
    assert [record.data["from"] for record in catalog.history("mine")] == ["2026-01-01", "2026-06-01"]
    catalog.register("gpt-4o", 1, 1, provider="openai", valid_from="2026-01-01")
    assert [record.data.get("from") for record in catalog.history("gpt-4o")] == [None, "2026-01-01"]
    catalog.register("gpt-4o", 3, 3, provider="openai")
    assert [record.source for record in catalog.history("gpt-4o")] == ["registered", "registered"]


def test_a_misspelt_registered_name_is_told(catalog: Catalog) -> None:
    """Near matches are looked for among registered names too."""
    catalog.register("my-llama", 3, 3)
    assert "did you mean 'my-llama'?" in catalog.price("my-lama", CALL).reasons[0]


def test_langfuse_prices_by_one_token_with_a_pattern(catalog: Catalog) -> None:
    """0.000003 a token is 3 a million; the pattern is searched for in the name and wins over the list price."""
    price_of = CustomPrice(
        model="claude-sonnet-4-20250514",
        match_pattern="claude-sonnet-4.*",
        unit="TOKENS",
        input_price=0.000003,
        output_price=0.000016,
        total_price=None,
    )
    catalog.register(price_of)
    cost = catalog.price("us.anthropic.claude-sonnet-4-5", Usage(input_tokens=1500, output_tokens=1000))
    assert cost.usd == Decimal("0.0205")
    assert cost.provenance is not None and "pattern 'claude-sonnet-4.*'" in cost.provenance.matched


@pytest.mark.parametrize(
    ("unit", "prices", "usage", "usd"),
    [
        ("TOKENS", {"total_price": "0.000002"}, Usage(input_tokens=100, output_tokens=50), "0.0003"),
        (
            "CHARACTERS",
            {"input_price": "0.00001", "output_price": "0.00002"},
            Usage(input_characters=10, output_characters=10),
            "0.0003",
        ),
        ("IMAGES", {"output_price": "0.04"}, Usage(output_images=3), "0.12"),
        ("SECONDS", {"total_price": "0.0001"}, Usage(audio_seconds="2.5"), "0.00025"),
        ("SECONDS", {"input_price": "0.0001"}, Usage(audio_seconds="2.5"), "0.00025"),
        ("MILLISECONDS", {"input_price": "0.0000001"}, Usage(audio_seconds=2, input_audio_seconds=2), "0.0002"),
        ("requests", {"total_price": "0.005"}, Usage(requests=2), "0.01"),
    ],
)
def test_units_of_langfuse(catalog: Catalog, unit: str, prices: dict[str, Any], usage: Usage, usd: str) -> None:
    """Each of its units prices the counts that it stands for."""
    catalog.register(CustomPrice(model="mine", unit=unit, **prices))
    cost = catalog.price("mine", usage)
    assert (cost.usd, cost.status) == (Decimal(usd), "priced")


def test_total_price_yields_to_input_and_output(catalog: Catalog) -> None:
    """Where input or output prices are given, the total is calculated from them."""
    catalog.register(CustomPrice(model="mine", input_price=1, output_price=2, total_price=99))
    assert catalog.price("mine", Usage(input_tokens=1, output_tokens=1)).usd == 3


def test_a_price_holds_in_its_dates(catalog: Catalog) -> None:
    """Before valid_from the list price holds, from valid_to on again."""
    catalog.register("gpt-4o", 1, 1, valid_from="2026-01-01", valid_to=date(2026, 2, 1))
    moments = [datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    assert [catalog.price("gpt-4o", Usage(input_tokens=1_000_000), at=at).usd for at in moments] == [
        Decimal("2.5"),
        1,
        Decimal("2.5"),
    ]


def test_outside_all_dates_the_nearest_holds_and_is_told(catalog: Catalog) -> None:
    """Before the first price of a model that nothing else knows, the first; the cost says so."""
    catalog.register("m-1", 1, 1, valid_from="2026-06-01")
    catalog.register("m-1", 2, 2, valid_from="2026-09-01")
    early = catalog.price("m-1", Usage(input_tokens=1_000_000), at=datetime(2026, 5, 31, tzinfo=UTC))
    assert early.usd == 1 and "before 2026-06-01" in early.reasons[0]


def test_the_latest_registration_wins(catalog: Catalog) -> None:
    """Registering a model again replaces its price, in children too, and not in parents."""
    child = catalog.child()
    usage = Usage(input_tokens=1_000_000)
    assert child.price("m-1", usage).status == "unpriced"
    catalog.register("m-1", 1, 1)
    assert child.price("m-1", usage).usd == 1
    child.register("m-1", 3, 3)
    assert (child.price("m-1", usage).usd, catalog.price("m-1", usage).usd) == (3, 1)
    assert Catalog.default().price("m-1", usage).status == "unpriced"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": "m"}, "no rate was given"),
        ({"model": ""}, "must be the name of a model"),
        ({"model": "m", "input_price": -1}, "not negative"),
        ({"model": "m", "input_price": "much"}, "no amount of money"),
        ({"model": "m", "input_price": float("nan")}, "no amount of money"),
        ({"model": "m", "input_price": 1, "unit": "POUNDS"}, "unit = 'POUNDS'"),
        ({"model": "m", "input_price": 1, "input_price_per_million": 1}, "input_tokens has two prices"),
        ({"model": "m", "input_price": 1, "match_pattern": "("}, "pattern '('"),
        ({"model": "m", "input_price": 1, "valid_from": "yesterday"}, "'yesterday' is no date"),
        ({"model": "m", "rates": {"bananas": 1}}, "there is no such unit"),
        ({"model": "m", "input_price": 1, "valid_from": "2026-02-01", "valid_to": "2026-01-01"}, "must lie before"),
    ],
)
def test_a_price_that_cannot_be_is_refused(catalog: Catalog, given: dict[str, Any], says: str) -> None:
    """The error names the key and the value; nothing is registered."""
    with pytest.raises(PriceError, match="(?s)" + says.replace("(", "\\(")):
        catalog.register(CustomPrice(**given))
    assert catalog.price("m", CALL).status == "unpriced"


def test_custom_prices_are_kept_in_a_file(tmp_path: Path, catalog: Catalog) -> None:
    """What is saved is loaded again, exactly; no file means none; a broken file says which."""
    path = tmp_path / "deep" / "custom-prices.json"
    assert load_custom(path) == []
    kept = [
        CustomPrice(
            model="a",
            input_price_per_million=0.1,
            output_price_per_million=Decimal("0.30"),
            valid_from=date(2026, 1, 1),
        ),
        CustomPrice(model="b", unit="IMAGES", output_price="0.04", match_pattern="^b-"),
        CustomPrice(model="c", rates={"input_tokens": "1", "web_searches": {"usd": "10", "per": 1000}}),
    ]
    save_custom(path, kept)
    loaded = load_custom(path)
    assert [one.compiled().records[0]["rates"] for one in loaded] == [
        one.compiled().records[0]["rates"] for one in kept
    ]
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    path.write_text('{"prices": [{"model": "a", "colour": "red"}]}')
    with pytest.raises(PriceError, match="unknown key 'colour'"):
        load_custom(path)
    path.write_text("{")
    with pytest.raises(PriceError, match="custom-prices"):
        load_custom(path)


@pytest.mark.usefixtures("fresh_default")
def test_the_default_catalog_knows_the_users_prices(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Custom prices, farthing.toml's models and discounts, and opt-in tables are in force."""
    save_custom(custom_file(), [CustomPrice(model="kept", input_price_per_million=1, output_price_per_million=1)])
    toml = tmp_path / "farthing.toml"
    toml.write_text(
        'price_overlays = ["tables-2026-01"]\n'
        '[[models]]\nmodel = "told"\ninput_price_per_million = 2\noutput_price_per_million = 2\n'
        '[[discounts]]\nprovider = "anthropic"\nmodel = "claude-opus-*"\npercent = 10\nfrom = 2026-01-01\n'
    )
    monkeypatch.setenv("FARTHING_CONFIG", str(toml))
    usage = Usage(input_tokens=1_000_000)
    assert price("kept", usage).usd == 1
    assert price("told", usage).usd == 2
    assert price("gpt-5.1", usage).usd == 2
    discounted = price("claude-opus-5", usage, at=datetime(2026, 11, 1, tzinfo=UTC))
    assert discounted.usd == Decimal("4.5") and "contract" in discounted.reasons[0]
    assert price("claude-opus-4-8", usage, at=datetime(2025, 12, 1, tzinfo=UTC)).usd == 5
    assert price("claude-sonnet-5", usage).usd == 2


@pytest.mark.usefixtures("fresh_default")
def test_a_broken_file_of_the_user_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Metering goes on with the bundled prices; the log says which file is broken."""
    for path in (price_file(), custom_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("broken")
    assert price("gpt-4o", CALL).usd == Decimal("0.0075")
    assert "custom-prices.json" in caplog.text and "prices.json" in caplog.text


@pytest.mark.usefixtures("fresh_default")
def test_register_model_pricing_is_for_the_whole_process() -> None:
    """The function of the library registers in the process-wide catalog."""
    register_model_pricing("my-custom-model", 1.50, 5.00, "custom")
    assert price("my-custom-model", CALL).usd == Decimal("0.004")
    assert calculate_cost("my-custom-model", 1000, 500) == 0.004


def test_calculate_cost_takes_the_catalogs_cache_rate_or_a_discount() -> None:
    """1200 of 1500 tokens cached: at gpt-4o's own rate, at 90 % off, and at no discount."""
    assert calculate_cost("gpt-4o", 1500, 350, 1200) == 0.00575
    assert calculate_cost("gpt-4o", 1500, 350, cached_tokens=1200, cache_discount=0.9) == 0.00455
    assert calculate_cost("gpt-4o", 1500, 350, 1200, 0.0) == 0.00725
    assert calculate_cost("claude-3-haiku", 10, 0) == 0.0000025


def test_calculate_cost_of_an_unknown_model_warns() -> None:
    """Zero, there alone, and never without a warning that names near matches."""
    with pytest.warns(UserWarning, match="did you mean 'claude-sonnet-5'"):
        assert calculate_cost("claude-sonnet-9", 1000, 1000) == 0.0


def test_calculate_cost_refuses_what_cannot_be() -> None:
    """More cached than there was, or a discount of more than everything."""
    with pytest.raises(UsageError):
        calculate_cost("gpt-4o", 10, 10, 20)
    with pytest.raises(UsageError, match="cache_discount"):
        calculate_cost("gpt-4o", 10, 10, 5, 1.5)


@pytest.mark.parametrize("amount", ["1e999999999", "1e-999999999", Decimal("1e99999"), float("inf"), "abc", True, -1])
def test_an_amount_that_cannot_be_is_named_by_its_argument(catalog: Catalog, amount: Any) -> None:
    """Also a number whose digits would fill the memory."""
    with pytest.raises(PriceError, match=r"price of 'mine': input_price_per_million: "):
        catalog.register("mine", amount, 2)


def test_rates_that_are_no_mapping_are_refused(catalog: Catalog) -> None:
    """Not an AttributeError."""
    with pytest.raises(PriceError, match=r"rates = .*must be units with their rates"):
        catalog.register("mine", rates=["1"])


@pytest.mark.parametrize("discount", [Decimal("0.9"), 0.9])
def test_a_discount_may_be_a_decimal(discount: Any) -> None:
    """300 at full price, 1200 at a tenth of it, 350 out."""
    assert calculate_cost("gpt-4o", 1500, 350, 1200, discount) == 0.00455


@pytest.mark.parametrize("discount", ["0.9", float("nan"), 1.5, -1])
def test_a_discount_that_is_none_is_refused(discount: Any) -> None:
    """The message shows the value."""
    with pytest.raises(UsageError, match=r"cache_discount = .*between 0 and 1"):
        calculate_cost("gpt-4o", 1500, 350, 1200, discount)


def test_a_cost_that_is_known_in_part_warns() -> None:
    """An embedding model has no rate for output: the float says nothing of it, so the warning does."""
    with pytest.warns(UserWarning, match="no rate for output_tokens"):
        assert calculate_cost("text-embedding-3-small", 10, 5) == 2e-07
