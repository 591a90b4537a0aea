"""The HTML report in a real browser: no error on its console, nothing fetched, nothing over the edge."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from farthing.cli.app import farthing
from farthing.sample import SamplePlan, sample_lines

BROWSERS = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("FARTHING_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A breakdown, a budget report and statements as HTML, of a made-up company whose names try to be markup."""
    folder = tmp_path_factory.mktemp("html")
    runner, env = CliRunner(), {"FARTHING_URL": str(folder / "l.db"), "FARTHING_DATA_DIR": str(folder)}

    def run(*args: str) -> None:
        done = runner.invoke(farthing, list(args), env=env)
        assert done.exit_code == 0, done.output

    sample = folder / "sample.jsonl"
    with sample.open("w") as file:
        file.writelines(sample_lines(SamplePlan(end=datetime.now(UTC), days=40, events=3_000)))
    run("import", str(sample))
    hostile = "<script>console.error('no')</script><img src=x onerror=alert(1)>"
    run("record", "--model", "gpt-4o", "--input", "900000", "--agent", hostile, "--team", "a&b \"c\" 'd'")
    made = {
        "breakdown": ("report", "30d", "--by", "team", "--by", "agent", "--compare", "--caching", "--percentiles"),
        "budgets": ("report", "monthly"),
        "statements": ("chargeback", "30d"),
    }
    for name, args in made.items():
        run(*args, "--out", str(folder / f"{name}.html"))
    return {name: folder / f"{name}.html" for name in made}


class _Tags(HTMLParser):
    """Collects tags and their attributes; complains of nothing itself."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["breakdown", "budgets", "statements"])
def test_the_file_needs_nothing_but_itself(reports: dict[str, Path], name: str) -> None:
    """No script, no address, no handler: one file that can be mailed; names from the ledger stay text."""
    text = reports[name].read_text()
    found = _Tags()
    found.feed(text)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "img", "iframe", "object", "embed"}
    for tag, attributes in found.tags:
        assert not {key for key in attributes if key.startswith("on")}
        for key in ("src", "href"):
            assert (attributes.get(key) or "data:").startswith("data:"), (tag, attributes)
    assert not re.search(r"https?://", text)
    assert "&lt;script&gt;" in text or name == "budgets"
    assert "prefers-color-scheme" in text and "@media print" in text and (name == "statements" or "<svg" in text)


def in_browser(*options: str, page: Path) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    home = page.parent / "browser"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--user-data-dir={home}", "--enable-logging=stderr", "--v=0", *options, page.as_uri()]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "HOME": str(page.parent)}
    )


@pytest.fixture
def browser() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the browser on a page; without a browser the test skips, loudly."""
    if BROWSER is None:
        pytest.skip(
            f"NO BROWSER: none of {', '.join(BROWSERS)} is installed; `make test` installs chromium where it may"
        )
    return in_browser


CONSOLE = re.compile(r":(?:CONSOLE|INFO:CONSOLE|ERROR:CONSOLE)\b.*")


@pytest.mark.parametrize("name", ["breakdown", "budgets", "statements"])
def test_a_real_browser_opens_it_without_an_error(browser, reports: dict[str, Path], name: str) -> None:
    """Chromium renders the whole document, and its console stays empty."""
    done = browser("--dump-dom", page=reports[name])
    assert "</footer>" in done.stdout and "Made by farthing" in done.stdout, done.stderr[-2000:]
    assert not CONSOLE.findall(done.stderr), CONSOLE.findall(done.stderr)


def test_the_console_would_have_been_seen(browser, tmp_path: Path) -> None:
    """The check above can fail: a page that writes an error to the console is caught by it."""
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><title>x</title><script>console.error('caught')</script><footer></footer>")
    done = browser("--dump-dom", page=page)
    assert any("caught" in line for line in CONSOLE.findall(done.stderr)), done.stderr[-2000:]


def test_it_prints(browser, reports: dict[str, Path], tmp_path: Path) -> None:
    """As a PDF it has pages."""
    target = tmp_path / "report.pdf"
    browser(f"--print-to-pdf={target}", page=reports["budgets"])
    assert target.read_bytes()[:5] == b"%PDF-"


@pytest.mark.parametrize("name", ["breakdown", "budgets", "statements"])
def test_on_paper_nothing_is_cut_off(browser, reports: dict[str, Path], tmp_path: Path, name: str) -> None:
    """As wide as A4 between its margins, in the styles of print, no table or chart is wider than its place."""
    text = reports[name].read_text().replace("@media print", "@media screen").replace("Content-Security-Policy", "x")
    measure = (
        "<script>document.title = 'over: ' + [...document.querySelectorAll('.wide')]"
        ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText.slice(0, 9)).join()</script>"
    )
    page = tmp_path / "paper.html"
    page.write_text(text.replace("</body>", f"{measure}</body>"))
    assert "<title>over: </title>" in browser("--window-size=703,1000", "--dump-dom", page=page).stdout
