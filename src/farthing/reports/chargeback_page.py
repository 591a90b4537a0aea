"""The screen of statements: all teams at a glance, then what each is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from farthing.reports.blocks import Bar, Cell, Column, Heading, Page, Span, Table
from farthing.reports.chargeback import CENT, OWN, Chargeback, Statement, in_cents
from farthing.reports.currency import USD, Currency
from farthing.reports.split import rounded
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
    billed = in_cents([currency.of(one.total) for one in found.statements])
    page.add(_teams(found, currency, billed))
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
    page.line(
        Span("cents: ", "dim"), "rounded so that lines add up to their statement, and statements to the total", hang=2
    )
    if currency.note:
        page.line(Span(currency.note, "dim"), hang=2)
    if lines:
        for one, cents in zip(found.statements, billed, strict=True):
            page.line()
            center = f"cost center {one.cost_center}" if one.cost_center else ""
            page.add(Heading(one.team, center))
            page.add(_statement(one, currency, cents))
    return page


def _teams(found: Chargeback, currency: Currency, billed: Sequence[int]) -> Table:
    columns = (
        Column("team", least=14),
        Column("cost center", rank=2),
        Column("own", right=True, rank=1),
        Column("shared", right=True, rank=1),
        Column("total", right=True),
        Column("share", right=True, rank=2),
        Column("", rank=3),
    )
    top = max((one.total for one in found.statements), default=0)
    rows: list[list[Cell]] = []
    sums = [0, 0]
    for one, cents in zip(found.statements, billed, strict=True):
        own, shared = _parts([one.own, one.shared], cents, currency)
        sums = [sums[0] + own, sums[1] + shared]
        rows.append([
            one.team,
            one.cost_center or Span("–", "dim"),
            _cents(own, one.own, currency),
            _cents(shared, one.shared, currency) if one.shared else "",
            _cents(cents, one.total, currency),
            share(one.total, found.total),
            Bar(max(0, one.total) / top if top > 0 else 0.0),
        ])  # fmt: skip
    pools = sum(one.shared for one in found.statements)
    total: list[Cell] = [
        "total", "", _cents(sums[0], found.total - pools, currency), _cents(sums[1], pools, currency) if pools else "",
        _cents(sum(billed), found.total, currency), "100 %" if found.total else "", "",
    ]  # fmt: skip
    return Table(columns, rows, [total])


def _parts(picos: Sequence[int], cents: int, currency: Currency) -> list[int]:
    """The parts of an amount of so many cents, in cents that add up to it."""
    return rounded([Fraction(currency.of(pico), CENT) for pico in picos], cents)


def _cents(cents: int, pico: int, currency: Currency) -> str:
    """Cents in words. pico: what they stand for, so that what rounds to nothing still says that it is not."""
    return Currency(code=currency.code).money(cents * CENT if cents or not pico else (1 if pico > 0 else -1), 2)


def _statement(one: Statement, currency: Currency, billed: int) -> Table:
    columns = (
        Column("", least=14),
        Column("calls", right=True, rank=1),
        Column("tokens", right=True, rank=1),
        Column("cost", right=True),
    )
    cents = _parts([line.pico for line in one.lines], billed, currency)
    rows: list[list[Cell]] = []
    for line, amount in zip(one.lines[:SHOWN], cents, strict=False):
        own = line.kind == OWN
        name: Cell = line.name if own else Span(f"part of {line.name}", "accent")
        cells: list[Cell] = [count(line.calls), count(line.tokens)] if own else ["", ""]
        rows.append([name, *cells, _cents(amount, line.pico, currency)])
    if rest := one.lines[SHOWN:]:
        counts = [count(sum(getattr(line, name) for line in rest)) for name in ("calls", "tokens")]
        left = _cents(sum(cents[SHOWN:]), sum(line.pico for line in rest), currency)
        rows.append([Span(f"{len(rest)} more", "dim"), *counts, left])
    return Table(columns, rows, [["total", "", "", _cents(billed, one.total, currency)]])


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
