"""Whom a coding agent's call is for: project, branch, ticket, session, subagent, machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from farthing.event import Attribution

_TICKET = re.compile(r"(?<![A-Za-z0-9])([A-Z][A-Z0-9]{1,9}-\d{1,7})(?![0-9])")
_ISSUE = re.compile(r"(?:^|/)(?:issue[-_/]?|gh[-_/]|#)?(?!(?:19|20)\d\d[-_/])(\d{1,6})(?=[-_/]|$)", re.IGNORECASE)
_WORKTREE = re.compile(r"[\\/]\.(?:claude|codex|git)[\\/]worktrees[\\/]")

TEXT_LIMIT = 512
"""Characters of a name taken from a log."""


def text(value: Any) -> str | None:
    """A name as a log has it; None where it is empty or no text."""
    return value[:TEXT_LIMIT] if isinstance(value, str) and value else None


@lru_cache(maxsize=4096)
def project_of(folder: str | None) -> str | None:
    """The project that a working directory belongs to: its last part; of a worktree the repository's."""
    if not folder:
        return None
    base = _WORKTREE.split(folder, maxsplit=1)[0]
    path = PureWindowsPath(base) if re.match(r"[A-Za-z]:[\\/]|\\\\", base) else PurePosixPath(base)
    return path.name or folder


@lru_cache(maxsize=4096)
def ticket_of(branch: str | None) -> str | None:
    """The ticket that a branch names: `feature/ABC-12-login` -> ABC-12, `123-fix-login` -> #123; else None."""
    if not branch:
        return None
    if found := _TICKET.search(branch):
        return found[1]
    issue = _ISSUE.search(branch)
    return f"#{issue[1]}" if issue else None


class Who:
    """Makes attributions, each distinct one once. `defaults` fill in what the log does not say."""

    def __init__(self, agent: str, defaults: Attribution) -> None:
        self._agent, self._defaults = agent, defaults
        self._known: dict[tuple[Any, ...], Attribution] = {}

    def __call__(
        self,
        session: str | None,
        *,
        step: str | None = None,
        feature: str | None = None,
        folder: str | None = None,
        project: str | None = None,
        branch: str | None = None,
        more: tuple[tuple[str, str | None], ...] = (),
    ) -> Attribution:
        """The attribution of a call; `project` where the folder does not tell it, `more` metadata."""
        key = (session, step, feature, folder, project, branch, more)
        found = self._known.get(key)
        if found is None:
            metadata: Mapping[str, str | None] = {
                "project": project or project_of(folder),
                "git_branch": branch,
                "ticket": ticket_of(branch),
                "cwd": folder,
                **dict(more),
            }
            found = Attribution(
                agent=self._agent,
                session=session,
                step=step,
                feature=feature,
                metadata={name: value for name, value in metadata.items() if value},
            ).with_defaults(self._defaults)
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[key] = found
        return found
