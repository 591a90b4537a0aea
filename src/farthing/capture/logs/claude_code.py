"""Claude Code's logs: one JSON line for each block of an answer, its usage repeated on every one.

What is counted once: a message is known by its id and request id. Its lines repeat the usage as it stood when the
block was written; the largest is the truth. Sidechains replay messages of the main thread under new request ids: they
match by message id alone, and the main thread's line wins. Where no line has a `stop_reason`, the log holds only the
count that the answer began with, and the call is `partial`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from farthing.capture.logs.agents import Found, Part, files_under
from farthing.capture.logs.claude_lines import objects
from farthing.capture.logs.claude_messages import Waiting

AT_ONCE = 1_000
"""Messages of one log that are kept in mind before the older half is handed on: repeats lie close together."""


class ClaudeCode:
    """Claude Code: `projects/**/*.jsonl` under each of its configuration folders."""

    name = "claude-code"

    def places(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        """CLAUDE_CONFIG_DIR (several: a comma list), else ~/.config/claude and ~/.claude."""
        given = [part.strip() for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if part.strip()]
        folders = [Path(part).expanduser() for part in given]
        if not folders:
            config = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else home / ".config"
            folders = [config / "claude", home / ".claude"]
        return [folder if folder.name == "projects" else folder / "projects" for folder in folders]

    def files(self, places: Sequence[Path]) -> list[Path]:
        """Main threads before the logs of subagents, so that what both have is the main thread's."""
        return sorted(files_under(places, (".jsonl",)), key=lambda path: path.name.startswith("agent-"))

    def by_lines(self, path: Path) -> bool:
        """Always."""
        return True

    def read(self, part: Part) -> Iterator[Found]:
        """The calls of one log: see the module."""
        waiting = Waiting(part)
        for number, found in objects(part.lines()):
            if isinstance(found, str):
                yield part.problem(number, found)
            else:
                waiting.add(number, found)
            if len(waiting) > AT_ONCE:
                yield from waiting.calls(AT_ONCE // 2)
        yield from waiting.calls(0)
