"""docs/settings.md is read as a setting would be, and names all there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.config import load_settings
from farthing.pricing import Catalog, price
from farthing.usage import Usage

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "settings.md").read_text()
EXAMPLE = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]


def test_the_example_is_a_file_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of it is read, and its prices and discounts price."""
    own = tmp_path / "farthing.toml"
    own.write_text(EXAMPLE)
    monkeypatch.setenv("FARTHING_CONFIG", str(own))
    settings = load_settings()
    assert settings.ledger == str(tmp_path / "usage.db") and settings.attributes.team == "search"
    assert settings.attributes.metadata == {"service": "ranking"} and settings.include_usage
    Catalog.reset_default()
    try:
        noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
        million = Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000)
        assert price("my-model-2", million, at=noon).usd == Decimal("0.15")
        assert price("my-reader", Usage(input_document_pages=1000, input_tokens=300_000), at=noon).usd == Decimal(3)
        listed = Usage(input_tokens=1_000_000, web_searches=1000)
        assert price("claude-opus-4-5", listed, at=noon).usd == Decimal("4.375") + 10
        assert price("gpt-4o", Usage(output_tokens=1_000_000), at=noon).provenance.published == "2024-12-31"  # type: ignore[union-attr]
    finally:
        monkeypatch.delenv("FARTHING_CONFIG")
        Catalog.reset_default()


def test_every_key_and_variable_is_on_the_page() -> None:
    """Whoever adds a setting writes it down there."""
    code = "".join(path.read_text() for path in (ROOT / "src" / "farthing").rglob("*.py"))
    config = (ROOT / "src" / "farthing" / "config.py").read_text()
    variables = set(re.findall(r"FARTHING_[A-Z_]*[A-Z]", code))
    keys = set(re.findall(r'^            "(\w+)": self\._', config, flags=re.MULTILINE))
    assert len(variables) >= 9 and len(keys) >= 9
    for name in sorted(variables | keys):
        assert name in PAGE, name
