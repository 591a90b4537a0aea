"""The screen of statements: all teams at a glance, then what each is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from farthing.reports.blocks import Bar, Cell, Column, Heading, Page, Span, Table
from farthing.reports.chargeback import CENT, OWN, Chargeback, Statement, in_cents
from farthing.reports.currency import USD, Currency
from farthing.reports.text import count, plural, share

SHOWN = 12


def chargeback_page(found: Chargeback, title: str, note: str, currency: Currency = USD, *, lines: bool = True) -> Page:
    """The table of teams; with `lines`, each statement below it."""
    page = Page()
    page.add(Heading(title, note))
    page.line()
    if not found.statements:
        page.line("Nothing is owed in this time.")
        return page
    page.add(_teams(found, currency))
    page.line()
    if found.unpriced:
        calls = plural(found.unpriced, "call")
        page.line(Span(f"{calls} without a known price", "warn"), ": their cost is in no statement", hang=2)
    if plan := sum(one.plan_pico for one in found.statements):
        page.line(
            Span(f"in plans {currency.money(plan)}", "strong"),
            ": list price inside flat plans, charged to nobody",
            hang=2,
        )
    page.line(Span("cents: ", "dim"), "rounded so that the statements add up to the total", hang=2)
    if currency.note:
        page.line(Span(currency.note, "dim"), hang=2)
    if lines:
        for one in found.statements:
            page.line()
            center = f"cost center {one.cost_center}" if one.cost_center else ""
            page.add(Heading(one.team, center))
            page.add(_statement(one, currency))
    return page


def _teams(found: Chargeback, currency: Currency) -> Table:
    columns = (
        Column("team", least=14),
        Column("cost center", rank=2),
        Column("own", right=True, rank=1),
        Column("shared", right=True, rank=1),
        Column("total", right=True),
        Column("share", right=True, rank=2),
        Column("", rank=3),
    )
    places = currency.places([found.total])
    billed = in_cents([currency.of(one.total) for one in found.statements])
    top = max((one.total for one in found.statements), default=0)
    rows: list[list[Cell]] = [
        [
            one.team,
            one.cost_center or Span("–", "dim"),
            currency.money(one.own, places),
            currency.money(one.shared, places) if one.shared else "",
            _cents(cents, currency),
            share(one.total, found.total),
            Bar(max(0, one.total) / top if top > 0 else 0.0),
        ]
        for one, cents in zip(found.statements, billed, strict=True)
    ]
    own, shared = (sum(getattr(one, name) for one in found.statements) for name in ("own", "shared"))
    total: list[Cell] = [
        "total", "", currency.money(own, places), currency.money(shared, places) if shared else "",
        _cents(sum(billed), currency), "100 %" if found.total else "", "",
    ]  # fmt: skip
    return Table(columns, rows, [total])


def _cents(cents: int, currency: Currency) -> str:
    return Currency(code=currency.code).money(cents * CENT, 2)


def _statement(one: Statement, currency: Currency) -> Table:
    columns = (
        Column("", least=14),
        Column("calls", right=True, rank=1),
        Column("tokens", right=True, rank=1),
        Column("cost", right=True),
    )
    places = currency.places([line.pico for line in one.lines])
    rows: list[list[Cell]] = []
    for line in one.lines[:SHOWN]:
        name: Cell = line.name if line.kind == OWN else Span(f"part of {line.name}", "accent")
        own = line.kind == OWN
        cells: list[Cell] = [count(line.calls), count(line.tokens)] if own else ["", ""]
        rows.append([name, *cells, currency.money(line.pico, places)])
    if rest := one.lines[SHOWN:]:
        counts = [count(sum(getattr(line, name) for line in rest)) for name in ("calls", "tokens")]
        amount = currency.money(sum(line.pico for line in rest), places)
        rows.append([Span(f"{len(rest)} more", "dim"), *counts, amount])
    return Table(columns, rows, [["total", "", "", currency.money(one.total, places)]])


def chargeback_rows(found: Chargeback) -> Iterator[list[Any]]:
    """CSV: a row a line; `usd` is exact, and `billed_usd` stands on the last line of each statement."""
    yield ["team", "cost_center", "kind", "name", "calls", "tokens", "usd", "billed_usd"]
    for one in found.statements:
        for line in one.lines:
            yield [one.team, one.cost_center, line.kind, line.name, line.calls, line.tokens, _usd(line.pico), None]
        billed = f"{'-' if one.cents < 0 else ''}{abs(one.cents) // 100}.{abs(one.cents) % 100:02}"
        yield [one.team, one.cost_center, "total", None, None, None, _usd(one.total), billed]


def _usd(pico: int) -> str:
    digits = f"{abs(pico):013d}"
    text = f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")
    return f"-{text}" if pico < 0 else text
