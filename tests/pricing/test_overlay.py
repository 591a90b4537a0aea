"""Overlays: our own files are sound, patches are dated, discounts multiply, tables are opt-in."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from farthing.errors import PriceError
from farthing.pricing import Catalog, Match
from farthing.pricing.bands import window_at
from farthing.pricing.overlay import BUILT_IN, OPT_IN, built_in, discount, patch, patched, read_overlay, table
from farthing.usage import Usage

MILLION = Usage(input_tokens=1_000_000)
RECORD = {
    "provider": "openai",
    "model": "gpt-9",
    "source": "s",
    "rates": {"input_tokens": {"usd": "4", "per": 1_000_000}},
}


@pytest.mark.parametrize("name", [*BUILT_IN, *OPT_IN])
def test_our_overlays_are_dated_and_say_where_they_are_from(name: str) -> None:
    """Every entry has a source or a reason, every file the day it was published."""
    raw = table(f"{name}.json")
    assert datetime.fromisoformat(raw["published"]) and raw["name"] == name
    assert built_in(name).name == name
    for kind in ("models", "patches"):
        for entry in raw.get(kind, ()):
            assert entry["source"], entry
    for kind in ("patches", "aliases"):
        for entry in raw.get(kind, ()):
            assert entry["reason"], entry


def test_every_patch_meets_a_model_and_every_record_is_sound() -> None:
    """No patch or alias of ours is for nothing, and every record that comes out can be read."""
    catalog = Catalog.default()
    records = list(catalog.records())
    assert len(records) > 2600
    ids = {(record.provider, record.model.lower()) for record in records}
    ids |= {("azure", "claude-sonnet-4-5"), ("azure", "gpt-4o")}  # offered under another provider's entry
    for name in BUILT_IN:
        overlay = built_in(name)
        for one in overlay.patches:
            assert any(one.names(*pair) for pair in ids), one
        for alias in overlay.aliases:
            for text in alias.aliases:
                assert isinstance(catalog.find(text, alias.provider), Match), text
    for record in records:
        window_at(record.data.get("windows", ()), 0)


def test_a_dated_patch_cuts_the_record() -> None:
    """Only the piece inside its dates changes; the pieces join without a gap."""
    change = patch(
        {
            "provider": "openai",
            "models": ["gpt-*"],
            "from": "2026-01-01",
            "to": "2026-02-01",
            "rates": {"input_tokens": "1"},
        }
    )
    pieces = patched([RECORD], [change])
    assert [(p.get("from"), p.get("to"), p["rates"]["input_tokens"]["usd"]) for p in pieces] == [
        (None, "2026-01-01", "4"),
        ("2026-01-01", "2026-02-01", "1"),
        ("2026-02-01", None, "4"),
    ]


def test_a_fill_never_replaces_a_rate() -> None:
    """It gives rates where there are none, also as a multiple of another."""
    change = patch(
        {
            "provider": "openai",
            "fill": {"input_tokens": "9", "cache_write_1h_tokens": {"of": "input_tokens", "factor": "2"}},
        }
    )
    rates = patched([RECORD], [change])[0]["rates"]
    assert rates["input_tokens"]["usd"] == "4" and rates["cache_write_1h_tokens"]["usd"] == "8"


def test_patches_name_models_by_globs_with_exceptions() -> None:
    """A glob takes ids in lower case; exceptions are left alone; another provider's models too."""
    change = patch({"provider": "openai", "models": ["gpt-*"], "except": ["*-mini"], "notes": ["x"]})
    assert (
        change.names("openai", "GPT-9")
        and not change.names("openai", "gpt-9-mini")
        and not change.names("azure", "gpt-9")
    )


@pytest.mark.parametrize(
    ("entry", "usd"),
    [
        ({"provider": "openai", "percent": 12.5}, "2.1875"),
        ({"provider": "openai", "factor": "0.9"}, "2.25"),
        ({"factor": "0.5", "model": "gpt-4*"}, "1.25"),
        ({"provider": "anthropic", "factor": "0.5"}, "2.5"),
        ({"provider": "openai", "factor": "0.5", "units": ["output_tokens"]}, "2.5"),
        ({"provider": "openai", "factor": "0.5", "from": "2030-01-01"}, "2.5"),
        ({"provider": "ChatGPT", "factor": "0.5"}, "1.25"),
    ],
)
def test_a_contract_discount_multiplies_what_it_names(entry: dict[str, Any], usd: str) -> None:
    """By provider, model, unit and date."""
    catalog = Catalog(Catalog.default().source, discounts=[discount(entry)])
    assert catalog.price("gpt-4o", MILLION, at=datetime(2026, 11, 1, tzinfo=UTC)).usd == Decimal(usd)


def test_a_discount_comes_on_top_of_batch() -> None:
    """Ten per cent off half the list price."""
    catalog = Catalog(Catalog.default().source, discounts=[discount({"provider": "openai", "percent": 10})])
    assert catalog.price("gpt-4o", MILLION, context={"processing": "batch"}).usd == Decimal("1.125")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"provider": "opnai"}, "there is no provider 'opnai'; did you mean 'openai'?"),
        ({"provider": "bedrock", "model": "nova*"}, "no model of provider 'aws' is named 'nova*'"),
        ({"provider": "bedrock", "model": "*nova*"}, ""),
        ({"provider": "azure", "model": "claude-*"}, ""),  # Anthropic's, which Azure offers
        ({"provider": "in-house"}, ""),  # may be registered later
        ({"model": "gpt-4o"}, ""),
    ],
)
def test_a_discount_that_can_meet_no_model_is_told(
    entry: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, with what is likely to be misspelt: a contract would be forgotten in silence."""
    caplog.set_level(logging.WARNING, "farthing")
    Catalog(Catalog.default().source, discounts=[discount({"percent": 10, **entry})])
    assert words in caplog.text and bool(words) == bool(caplog.text)


@pytest.mark.parametrize(
    "entry",
    [{}, {"percent": 10, "factor": 1}, {"percent": 110}, {"factor": "free"}, {"percent": 10, "units": ["bogus"]}],
)
def test_a_discount_that_cannot_be_is_refused(entry: dict[str, Any]) -> None:
    """Neither or both of percent and factor, more than everything, no number."""
    with pytest.raises(PriceError):
        discount(entry)


def test_the_published_tables_are_opt_in_and_fill_what_the_data_lacks() -> None:
    """List prices win by default; asked for, the table's price holds; the data's gaps are filled either way."""
    usual = Catalog.default()
    tables = usual.with_overlay("tables-2026-01")
    call = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert usual.price("gpt-5.1", call).usd == Decimal("11.25") and tables.price("gpt-5.1", call).usd == 10
    assert usual.price("gemini-2.5-flash", call).usd == Decimal("2.8")
    assert tables.price("gemini-2.5-flash", call).usd == Decimal("0.75")
    expected = {"deepseek-v3": "1.37", "deepseek-r1": "2.74", "llama-4-scout": "0.57", "llama-4-maverick": "1.12"}
    for name, usd in expected.items():
        assert usual.price(name, call).usd == tables.price(name, call).usd == Decimal(usd)
    provenance = usual.price("llama-4-scout", call).provenance
    assert provenance is not None and "January 2026" in provenance.source and provenance.published == "2026-01-31"


def test_every_model_of_the_specifications_has_a_price() -> None:
    """The names that the documents use are priced without naming a provider."""
    names = """
        claude-3-opus claude-3-5-sonnet claude-3-5-haiku claude-3-haiku gpt-4-turbo gpt-4o gpt-4o-mini gpt-3.5-turbo
        gpt-4 text-embedding-3-large text-embedding-3-small text-embedding-ada-002 claude-sonnet-4-20250514
        claude-sonnet-4-5-20250929 gpt-5.1 gpt-4.1 gpt-4.1-mini gpt-4.1-nano claude-opus-4 claude-sonnet-4
        claude-haiku-3.5 gemini-2.5-pro gemini-2.5-flash gemini-2.0-flash deepseek-v3 deepseek-r1 llama-4-scout
        llama-4-maverick
    """
    assert [name for name in names.split() if Catalog.default().price(name, MILLION).status != "priced"] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "must be an object"),
        ("{", "not JSON"),
        (json.dumps({"models": [{"provider": "p"}]}), "an entry lacks or mistakes 'model'"),
        (json.dumps({"models": [{"provider": "p", "model": "m", "patterns": ["("]}]}), "pattern"),
    ],
)
def test_a_broken_overlay_is_refused(text: str, says: str) -> None:
    """The error names the file and what is wrong."""
    with pytest.raises(PriceError, match=says):
        read_overlay(text, "mine.json")


def test_an_overlay_that_does_not_exist_is_refused() -> None:
    """It names those that do."""
    with pytest.raises(PriceError, match="tables-2026-01"):
        Catalog.default().with_overlay("tables-1999")
