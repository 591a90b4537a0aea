"""The answer to why: one sentence to paste, and the tables behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from farthing.money import PICO_PER_USD
from farthing.reports.blocks import Cell, Column, Heading, Page, Span, Table
from farthing.reports.text import change, count, money, places_for, share
from farthing.reports.why import PARTS, WORDS, Why

SHOWN = 10


def sentence(found: Why) -> str:
    """The answer in one sentence."""
    difference = found.now - found.before
    second, first = found.second.name, found.first.name
    days = f" ({found.days_over} of its {found.second.days} days)" if found.days_over is not None else ""
    if not found.changes:
        return f"Neither {first} nor {second} cost anything."
    places = places_for([found.before, found.now])
    if not difference:
        return f"{second}{days} cost as much as {first}: {money(found.now, places)}."
    way = "more" if difference > 0 else "less"
    percent = change(found.now, found.before).lstrip("+-")
    percent = f" ({percent})" if percent and percent != "new" else ""
    words = _reasons(found, places)
    mover = ""
    if found.movers and found.movers[0][1]:
        name, amount = found.movers[0]
        mover = f"; {name or 'calls without an agent'} moved the most, {_signed(amount, places)}"
    much, by = money(found.now, places), money(abs(difference), places)
    return f"{second}{days} cost {much}, {by}{percent} {way} than {first}: {words}{mover}."


def _reasons(found: Why, places: int) -> str:
    parts = found.parts
    difference = abs(found.now - found.before)
    least = PICO_PER_USD // 10**places
    large = [part for part in PARTS if abs(parts[part]) * 50 >= difference and abs(parts[part]) >= least]
    large.sort(key=lambda part: -abs(parts[part]))
    said = [f"{WORDS[part][parts[part] < 0]} {_signed(parts[part], places)}" for part in large]
    rest = sum(parts[part] for part in PARTS if part not in large)
    if abs(rest) * 1_000 >= difference:
        said.append(f"the rest {_signed(rest, places)}")
    return ", ".join(said)


def _signed(pico: int, places: int | None = None) -> str:
    return f"{'+' if pico > 0 else ''}{money(pico, places)}"


def why_page(found: Why) -> Page:
    """The sentence and the tables."""
    page = Page()
    page.line(sentence(found))
    if not found.changes:
        return page
    page.line()
    page.add(_split(found))
    page.line()
    page.add(Heading("By model", "the same parts for each"))
    page.add(_models(found))
    page.line()
    for line in _notes(found):
        page.line(*line, hang=2)
    return page


def _split(found: Why) -> Table:
    parts = found.parts
    amounts = [found.before, found.now, *parts.values()]
    places = places_for(amounts)
    meanings = {
        "volume": "how many calls",
        "model mix": "which models they went to",
        "tokens per call": "how many tokens a call had",
        "caching": "how much input came from caches",
        "price": "what a token cost: rates and tiers",
        "other": "fees, searches, images, corrections of costs",
    }
    difference = found.now - found.before
    rows: list[list[Cell]] = [[found.first.name, "", money(found.before, places), ""]]
    for part in PARTS:
        if part != "other" or parts[part]:
            style = "warn" if parts[part] > 0 else "good" if parts[part] < 0 else "dim"
            amount = Span(_signed(parts[part], places), style)
            rows.append([f"  {part}", Span(meanings[part], "dim"), amount, share(parts[part], abs(difference))])
    columns = (
        Column("", least=16),
        Column("", rank=2),
        Column("cost", right=True),
        Column("of the difference", right=True, rank=1),
    )
    return Table(columns, rows, [[found.second.name, "", money(found.now, places), ""]])


def _models(found: Why) -> Table:
    shown, more = found.changes[:SHOWN], found.changes[SHOWN:]
    used = [part for part in PARTS if part != "other" or found.parts[part]]
    places = places_for([*(one.now - one.before for one in found.changes)])
    columns = (
        Column("model", least=14),
        Column("calls before", right=True, rank=3),
        Column("calls", right=True, rank=3),
        *(Column(part, right=True, rank=1 if part in ("volume", "model mix") else 2) for part in used),
        Column("difference", right=True),
    )
    rows: list[list[Cell]] = []
    for one in shown:
        row: list[Cell] = [one.model[1], count(one.calls_before), count(one.calls_now)]
        rows.append([*row, *(_amount(one.parts[part], places) for part in used), _amount(one.now - one.before, places)])
    if more:
        row = [Span(f"{len(more)} more", "dim"), *(count(sum(getattr(m, at) for m in more)) for at in _CALLS)]
        sums = [sum(one.parts[part] for one in more) for part in used]
        rows.append([*row, *(_amount(n, places) for n in sums), _amount(sum(sums), places)])
    total: list[Cell] = ["total", *(count(sum(getattr(one, at) for one in found.changes)) for at in _CALLS)]
    foot = [*total, *(_amount(found.parts[part], places) for part in used), _amount(found.now - found.before, places)]
    return Table(columns, rows, [foot])


_CALLS = ("calls_before", "calls_now")


def _amount(pico: int, places: int) -> Cell:
    return Span(_signed(pico, places), "plain") if pico else Span("–", "dim")


def _notes(found: Why) -> Iterator[tuple[str | Span, ...]]:
    places = places_for([found.before, found.now])
    movers = [f"{name or '(none)'} {_signed(amount, places)}" for name, amount in found.movers[:5] if amount]
    if movers:
        yield (Span("agents that moved: ", "dim"), ", ".join(movers))
    if found.days_over is not None:
        words = f"{found.second.name} is not over: {found.days_over} of its {found.second.days} days; "
        yield (Span(words, "dim"), "that is in the number of calls")


def why_json(found: Why) -> dict[str, Any]:
    """The answer for programs. Amounts are picodollars; the parts add up to `difference_pico`, in every row too."""
    return {
        "sentence": sentence(found),
        "before": found.first.to_json(),
        "now": found.second.to_json(),
        "before_pico": found.before,
        "now_pico": found.now,
        "difference_pico": found.now - found.before,
        "parts_pico": found.parts,
        "models": [
            {
                "provider": one.model[0],
                "model": one.model[1],
                "before_pico": one.before,
                "now_pico": one.now,
                "calls_before": one.calls_before,
                "calls_now": one.calls_now,
                "parts_pico": dict(one.parts),
            }
            for one in found.changes
        ],
        "agents": [{"agent": name, "difference_pico": amount} for name, amount in found.movers],
    }
