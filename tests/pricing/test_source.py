"""The price data: one reading for the bundled data and for a file of the same format, checked."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import PriceError
from farthing.pricing import Catalog
from farthing.pricing.convert import spans
from farthing.pricing.record import PriceRecord
from farthing.pricing.source import Source, bundled, read_file, read_text
from farthing.usage import Usage

PROVIDER: dict[str, Any] = {
    "id": "acme",
    "name": "Acme",
    "api_pattern": "https://api\\.acme\\.com",
    "model_match": {"starts_with": "roadrunner"},
    "models": [
        {
            "id": "roadrunner-1",
            "match": {"or": [{"equals": "roadrunner-1"}, {"regex": "^roadrunner-1-\\d{8}$"}]},
            "prices": [
                {"prices": {"input_mtok": 0.1, "output_mtok": {"base": 1, "tiers": [{"start": 1000, "price": 2.5}]}}},
                {"constraint": {"start_date": "2026-05-01"}, "prices": {"input_mtok": 0.05, "output_mtok": 1}},
                {
                    "constraint": {"start_time": "18:30:00+08:00", "end_time": "20:00:00+08:00"},
                    "prices": {"input_mtok": 9, "output_mtok": 9},
                },
            ],
            "price_variants": [
                {
                    "when": {"processing": "batch"},
                    "constraint": {"start_date": "2026-06-01"},
                    "prices": {"input_mtok": 0.025},
                }
            ],
        }
    ],
}


def source(change: Any = None) -> Source:
    """The source of a file with the provider above, changed."""
    provider = deepcopy(PROVIDER)
    if change:
        change(provider)
    return read_text(json.dumps([provider]), "price file x.json")


def test_a_file_is_read_as_the_bundled_data_is(tmp_path: Path) -> None:
    """Amounts keep their digits, dates become spans, hours windows in UTC, variants reach back in proportion."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps([PROVIDER]))
    model = read_file(path).providers["acme"].models()[0]
    first, second = spans("acme", model, "label", "2026-11-01")
    assert first["rates"]["input_tokens"] == {"usd": "0.1", "per": 1_000_000}
    assert first["rates"]["output_tokens"]["tiers"] == [{"above": 1000, "usd": "2.5"}]
    assert (first.get("from"), first["to"], second["from"], second.get("to")) == (
        None,
        "2026-05-01",
        "2026-05-01",
        None,
    )
    assert first["windows"] == [
        {
            "start": "10:30",
            "end": "12:00",
            "tz": "UTC",
            "rates": {"input_tokens": {"usd": "9", "per": 1_000_000}, "output_tokens": {"usd": "9", "per": 1_000_000}},
        }
    ]
    assert [(v.get("from"), v.get("to"), v["rates"]["input_tokens"]["usd"]) for v in second["variants"]] == [
        ("2026-06-01", None, "0.025"),
        (None, "2026-06-01", "0.025"),
    ]
    assert first["variants"][0]["rates"]["input_tokens"]["usd"] == "1/20"
    assert second["published"] == "2026-11-01"


def test_a_catalog_of_a_file_prices_by_it() -> None:
    """The file's models are found by its own rules, and nothing else is known."""
    catalog = Catalog(source(), [])
    assert str(catalog.price("roadrunner-1-20260101", Usage(input_tokens=1_000_000), at=0).usd) == "0.1"
    assert catalog.price("gpt-4o", Usage(input_tokens=1)).status == "unpriced"
    assert [listed.model for listed in catalog.models("acme")] == ["roadrunner-1"]


def model(provider: dict[str, Any]) -> dict[str, Any]:
    """The one model of the provider."""
    found: dict[str, Any] = provider["models"][0]
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.pop("id"), "text 'id'"),
        (lambda p: p.update(models=None), "list 'models'"),
        (lambda p: model(p).pop("match"), "acme roadrunner-1.*'match'"),
        (lambda p: model(p).update(match={"like": "x"}), "acme roadrunner-1: match"),
        (lambda p: model(p).update(match={"regex": "("}), "acme roadrunner-1: match: regex"),
        (lambda p: model(p).update(prices={"input_mtok": -1}), "acme roadrunner-1: input_mtok = -1: must be a number"),
        (lambda p: model(p).update(prices={"input_mtok": "cheap"}), "acme roadrunner-1: input_mtok = 'cheap'"),
        (
            lambda p: model(p).update(prices={"input_mtok": {"base": 1, "tiers": [{"start": -5, "price": 1}]}}),
            "start of a tier",
        ),
        (
            lambda p: model(p).update(prices=[{"constraint": {"start_date": "soon"}, "prices": {}}]),
            "acme roadrunner-1: constraint",
        ),
        (lambda p: model(p).update(prices=[{"constraint": None}]), "acme roadrunner-1: prices: missing"),
    ],
)
def test_a_broken_file_says_what_is_wrong(change: Any, says: str) -> None:
    """Provider, model, key and value are named."""
    with pytest.raises(PriceError, match=says):
        source(change)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not JSON"), ("{}", "JSON array of providers"), ("[]", "JSON array"), ("[1]", "a provider must have")],
)
def test_what_is_no_price_file_is_refused(text: str, says: str) -> None:
    """Not JSON, not a list, empty, or not of providers."""
    with pytest.raises(PriceError, match=says):
        read_text(text, "x")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(PriceError, match="cannot be read"):
        read_file(tmp_path / "none.json")


def test_a_price_key_that_is_not_known_leaves_that_model_unpriced() -> None:
    """A newer file may count what we do not: its other models work, this one says why not."""
    catalog = Catalog(source(lambda p: model(p).update(prices={"input_dreams": 1})), [])
    cost = catalog.price("roadrunner-1", Usage(input_tokens=1))
    assert cost.status == "unpriced" and "unknown price key 'input_dreams'" in cost.reasons[0]


def test_every_model_of_the_bundled_data_makes_sound_records() -> None:
    """All of it is read and converted."""
    data = bundled()
    assert data.label.startswith("genai-prices ") and data.check() > 2000
    for provider in data.providers.values():
        for item in provider.models():
            for record in spans(provider.id, item, data.label, None):
                PriceRecord.make(record)
