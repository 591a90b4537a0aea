"""What the README and the pages under docs show is true: their commands and their Python run here."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import farthing
from farthing.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BODY = {
    "id": "chatcmpl-readme",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1500, "completion_tokens": 350, "prompt_tokens_details": {"cached_tokens": 1200}},
}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a page; `python fragment`: needs objects of the reader's own program."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str, str]]:
    """(page, command, what it prints) of every terminal session shown."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                if command.startswith("farthing"):
                    found.append((page.name, command, output.rstrip()))
    return found


@pytest.mark.parametrize(("page", "command", "output"), sessions(), ids=lambda text: text[:60])
def test_a_terminal_session_prints_what_the_page_shows(page: str, command: str, output: str) -> None:
    """The commands are run as typed; what they print is what stands there, if anything, up to a last line `...`."""
    result = CliRunner().invoke(app.farthing, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    printed, shown = result.output.strip().splitlines(), output.strip().splitlines()
    if shown and shown[-1] == "...":
        printed, shown = printed[: len(shown) - 1], shown[:-1]
    assert not shown or printed == shown, page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    """Each page's Python blocks run one after the other; `# value` behind a print is what it prints."""
    scope: dict[str, object] = {"farthing": farthing, "body": BODY}
    try:
        for block in blocks(page, "python"):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block, page.name, "exec"), scope)
            shown = re.findall(r"^ *print\(.*\)\s+# ([^\s,]+)", block, flags=re.MULTILINE)
            assert not shown or printed.getvalue().split() == shown, page.name
    finally:
        farthing.uninstrument()
    for block in blocks(page, "python fragment"):
        compile(block, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_links_of_pages_lead_somewhere() -> None:
    """Every relative link points at a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
