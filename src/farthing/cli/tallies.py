"""What imports share: whom calls are for, users hashed, and what became of the lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from farthing.capture.logs.importer import Tally
from farthing.cli.frame import App
from farthing.config import attribution, parse_attributes
from farthing.event import Attribution
from farthing.recording import Call
from farthing.reports.blocks import Page, Span
from farthing.reports.text import count, plural
from farthing.tracker import CostTracker

SHOWN = 10
"""Bad lines that are shown one by one."""


def defaults(app: App, attributes: str | None) -> Attribution:
    """What calls are for where their line says nothing: as given on the command line, else as configured."""
    configured = app.settings.attributes
    given = attribution(parse_attributes(attributes, "--attributes")) if attributes else configured
    return given.with_defaults(configured)


def hashing(app: App) -> Callable[[Call], Call] | None:
    """What is done to every call where users are hashed before they are stored; None where they are not."""
    if not app.settings.hash_users:
        return None
    tracker = CostTracker(":memory:")

    def hashed(call: Call) -> Call:
        user = call.attribution.user
        if user is None:
            return call
        return replace(call, attribution=replace(call.attribution, user=tracker.hashed_user(user)))

    return hashed


def tell(page: Page, tally: Tally, heading: str) -> None:
    """The counts with `heading` behind them; then the lines that hold no call, and those that cannot be read."""
    counts = tally.counts
    known = f" added, {count(counts.duplicate)} known already"
    corrected = f", {count(counts.corrected)} corrected" if counts.corrected else ""
    page.line(Span(plural(counts.added, "event"), "strong"), f"{known}{corrected}, {heading}")
    for reason, number in tally.skipped.most_common(SHOWN):
        page.line(Span(f"{plural(number, 'line')} without a call", "dim"), f": {reason}", hang=2)
    if len(tally.skipped) > SHOWN:
        page.line(Span(f"and {len(tally.skipped) - SHOWN} more reasons", "dim"))
    if tally.bad:
        page.line(Span(f"{plural(tally.bad, 'line')} could not be read:", "bad"))
        for problem in tally.problems[:SHOWN]:
            where = f"{problem.file}:{problem.line}" if problem.line else problem.file
            page.line("  ", Span(where, "accent"), f": {problem.reason}", hang=4)
        if tally.bad > SHOWN:
            page.line(Span(f"  and {count(tally.bad - SHOWN)} more", "dim"))


def values(tally: Tally) -> dict[str, Any]:
    """The same for --json."""
    return {
        "lines": tally.lines,
        "added": tally.counts.added,
        "duplicate": tally.counts.duplicate,
        "corrected": tally.counts.corrected,
        "skipped": dict(tally.skipped.most_common()),
        "bad": tally.bad,
        "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in tally.problems],
    }
