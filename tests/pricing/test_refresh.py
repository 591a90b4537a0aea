"""Newer price files: fetched from a server, checked whole, swapped at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import PriceError
from farthing.pricing import Catalog, refresh
from farthing.pricing.defaults import price_file
from farthing.usage import Usage

FILES: dict[str, bytes] = {}


def data(**prices: float) -> list[dict[str, Any]]:
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": usd, "output_mtok": usd}}
        for name, usd in prices.items()
    ]
    return [{"id": "acme", "name": "Acme", "api_pattern": "acme", "models": models}]


class Handler(BaseHTTPRequestHandler):
    """Serves FILES; /away redirects to a file of the machine, /plain to plain http elsewhere."""

    def do_GET(self) -> None:
        """Answer one request."""
        redirects = {"/away": "file:///etc/hostname", "/plain": "http://example.org/prices.json"}
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
            self.end_headers()
            return
        body = FILES.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
    FILES.clear()


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    """The common catalog is read anew before and after."""
    Catalog.reset_default()
    yield
    Catalog.reset_default()


def price_of(model: str) -> int | None:
    return Catalog.default().price(model, Usage(input_tokens=1_000_000), provider="acme").pico


def test_a_file_from_a_server(server: str) -> None:
    """Fetched, in force for the next price, kept when replaced."""
    FILES["/1.json"] = json.dumps(data(one=2.0, two=4.0)).encode()
    FILES["/2.json"] = json.dumps(data(one=3.0, two=4.0, three=1.0)).encode()
    refresh.update(f"{server}/1.json", force=True)
    assert price_of("one") == 2 * 10**12
    diff = refresh.update(f"{server}/2.json")
    assert diff.added == (("acme", "three"),)
    assert [(c.model, c.rate, c.old, c.new) for c in diff.changed] == [
        ("one", "input_tokens", 2, 3),
        ("one", "output_tokens", 2, 3),
    ]
    assert price_of("one") == 3 * 10**12
    assert len(refresh.replaced()) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "not JSON"),
        (b"[]", "array of providers"),
        (json.dumps(data(one=-2.0)).encode(), "not negative"),
        (json.dumps(data(one=2.0)).replace("input_mtok", "gold_bars").encode(), "gold_bars"),
        (b"\xff\xfe\x00", "could not be read"),
    ],
)  # fmt: skip
def test_a_broken_file_changes_nothing(server: str, body: bytes, words: str) -> None:
    """Every model is read before the file is taken; not even --force takes a broken one."""
    FILES["/good.json"] = json.dumps(data(one=2.0)).encode()
    FILES["/bad.json"] = body
    refresh.update(f"{server}/good.json", force=True)
    before = price_file().read_bytes()
    with pytest.raises(PriceError, match=words) as refused:
        refresh.update(f"{server}/bad.json", force=True)
    assert "/bad.json: " in str(refused.value)
    assert price_file().read_bytes() == before
    assert price_of("one") == 2 * 10**12


@pytest.mark.parametrize(
    ("old", "new", "leaps"), [(1.0, 10.0, False), (1.0, 10.1, True), (10.0, 0.9, True), (0.0, 1.0, True)]
)
def test_a_leap_is_a_doubt(old: float, new: float, leaps: bool) -> None:
    """More than ten times up or down, and from nothing."""
    read = [refresh.checked(json.dumps(data(one=usd)), "test") for usd in (old, new)]
    assert bool(refresh.compare(*read).doubts) == leaps


def test_where_a_file_may_come_from(server: str, tmp_path: Path) -> None:
    """https, this machine, files; no redirect to a file or to plain http; what is missing says so."""
    for path, words in (("/away", "not allowed"), ("/plain", "https only"), ("/none", "Not Found")):
        with pytest.raises(PriceError, match=words):
            refresh.fetch(server + path)
    with pytest.raises(PriceError, match="must be an https or file URL"):
        refresh.fetch("ftp://example.org/x")
    local = tmp_path / "p.json"
    local.write_text("[1]")
    assert refresh.fetch(local) == refresh.fetch(local.as_uri()) == "[1]"


def test_a_file_that_is_too_large_is_not_read(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address may answer without end."""
    monkeypatch.setattr(refresh, "SIZE_LIMIT", 10)
    FILES["/big.json"] = b"x" * 11
    with pytest.raises(PriceError, match="larger than 10 bytes"):
        refresh.fetch(f"{server}/big.json")


def test_the_installed_data_compares_with_itself() -> None:
    """All of its models and rates can be compared, and none differs."""
    diff = refresh.compare(refresh.in_force(), refresh.in_force())
    assert diff.empty and diff.models > 1_000
