"""The screen of a breakdown: rows in a table, nested where there are several keys, and below it what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from farthing.ledger.store import Row
from farthing.reports.blocks import Bar, Cell, Column, Heading, Page, Span, Spark, Table
from farthing.reports.currency import USD, Currency
from farthing.reports.queries import TIME_KEYS, Breakdown, Key, added, by_cost, thinned
from farthing.reports.saved import Saved
from farthing.reports.text import change, count, plural, share
from farthing.reports.words import name_of, nothing_known, span_words
from farthing.totals import Totals

TREND_CHARACTERS = 15


def breakdown_page(found: Breakdown, *, title: str, currency: Currency = USD, limit: int | None = None) -> Page:
    """The rows as a table, the total under them, then what is not known. limit: rows of each level, of several keys."""
    page = Page()
    note = span_words(found.where) + (f" ({found.tz})" if found.tz != "UTC" else "")
    if found.before_where is not None:
        note += f", compared with {span_words(found.before_where)}"
    page.add(Heading(title, note))
    page.line()
    if not found.everything:
        page.line("No events.")
        return page
    page.add(breakdown_table(found, currency, limit))
    page.line()
    for line in footnotes(found, currency):
        page.line(*line, hang=2)
    return page


@dataclass(frozen=True, slots=True)
class _Line:
    """One row to be drawn. keys: its first cells; key: where more is known of it; style: of a subtotal or a rest."""

    keys: tuple[Cell, ...]
    totals: Totals
    key: Key | None = None
    parts: tuple[Key, ...] = ()
    plan: int = 0
    style: str = "plain"
    bar: bool = True


def breakdown_table(found: Breakdown, currency: Currency = USD, limit: int | None = None) -> Table:
    """The table of a breakdown. With several keys each value of the first has its sum, and its parts indented."""
    lines = list(_nested(found, limit) if len(found.by) > 1 else _flat(found))
    total = _Line(("total", *[""] * (len(_names(found)) - 1)), found.total, key=(), plan=found.plan, bar=False)
    columns = [*_names(found), *_columns(found)]
    top = max((line.totals.cost_pico for line in lines if line.bar), default=0)
    draw = _Cells(found, currency, lines, top)
    return Table(tuple(columns), [draw.row(line) for line in lines], [draw.row(total)])


def _names(found: Breakdown) -> list[Column]:
    names = [key.replace("_", " ").removeprefix("metadata.") for key in found.by]
    if len(names) == 1:
        return [Column(names[0], least=14)]
    return [Column(f"{names[0]} / {names[1]}", least=14), *(Column(name, least=8) for name in names[2:])]


def _columns(found: Breakdown) -> Iterator[Column]:
    yield Column("calls", right=True, rank=2)
    yield Column("tokens in", right=True, rank=4)
    yield Column("cached", right=True, rank=6)
    yield Column("out", right=True, rank=4)
    if found.saved is not None:
        yield Column("caching saved", right=True, rank=2)
    if found.spread is not None:
        for name in ("median", "p95", "p99"):
            yield Column(name, right=True, rank=3)
    else:
        yield Column("average", right=True, rank=5)
    if found.trends:
        yield Column("trend", rank=7)
    if found.plan:
        yield Column("in plans", right=True, rank=1)
    yield Column("owed" if found.plan else "cost", right=True)
    if found.before is not None:
        yield Column("before", right=True, rank=3)
        yield Column("change", right=True)
    yield Column("share", right=True, rank=1)
    yield Column("", rank=1)


def _flat(found: Breakdown) -> Iterator[_Line]:
    for row in found.rows:
        yield _Line((name_of(row.key[0]),), row.totals, row.key, (row.key,), found.plans.get(row.key, 0))
    if found.rest[0]:
        words = f"{count(found.rest[0])} {'older' if found.by[0] in TIME_KEYS else 'more'}"
        shown = {row.key for row in found.rows}
        rest = tuple(row.key for row in found.everything if row.key not in shown)
        yield _rest(found, (Span(words, "dim"),), rest, found.rest[1])


def _rest(found: Breakdown, keys: tuple[Cell, ...], parts: tuple[Key, ...], totals: Totals) -> _Line:
    plan = sum(found.plans.get(key, 0) for key in parts)
    return _Line(keys, totals, None, parts, plan, "dim", bar=False)


def _nested(found: Breakdown, limit: int | None) -> Iterator[_Line]:
    groups: dict[str | None, list[Row]] = {}
    for row in found.everything:
        groups.setdefault(row.key[0], []).append(row)
    blank: tuple[Cell, ...] = ("",) * (len(found.by) - 2)
    ordered = list(groups.items())
    if found.by[0] not in TIME_KEYS:
        ordered.sort(key=lambda pair: -added(pair[1]).cost_pico)
    elif limit:
        ordered = ordered[-limit:]
    for name, rows in ordered[:limit]:
        parts = tuple(row.key for row in rows)
        text = name_of(name)
        plan = sum(found.plans.get(part, 0) for part in parts)
        yield _Line((text, *blank), added(rows), None, parts, plan, "strong", bar=False)
        rows = by_cost(rows)
        for row in rows[:limit]:
            cells = [name_of(part) for part in row.key[1:]]
            first = cells[0]
            indented: Cell = Span(f"  {first.text}", first.style) if isinstance(first, Span) else f"  {first}"
            yield _Line((indented, *cells[1:]), row.totals, row.key, (row.key,), found.plans.get(row.key, 0))
        if limit and len(rows) > limit:
            others = rows[limit:]
            words = Span(f"  {count(len(others))} more", "dim")
            yield _rest(found, (words, *blank), tuple(row.key for row in others), added(others))
    shown = {name for name, _ in ordered[:limit]}
    left = [row for row in found.everything if row.key[0] not in shown]
    if left:
        words = Span(f"{count(len(groups) - len(shown))} {'older' if found.by[0] in TIME_KEYS else 'more'}", "dim")
        yield _rest(found, (words, *blank), tuple(row.key for row in left), added(left))


class _Cells:
    """Draws the cells of lines, their amounts with the same number of decimals in a column."""

    def __init__(self, found: Breakdown, currency: Currency, lines: Sequence[_Line], top: int) -> None:
        self._found, self._currency, self._top = found, currency, top
        amounts = [line.totals.cost_pico - line.plan for line in lines]
        self._places = currency.places([*amounts, found.total.cost_pico])
        averages = [line.totals.cost_pico // line.totals.calls for line in lines if line.totals.calls]
        self._average_places = currency.places(averages)

    def row(self, line: _Line) -> list[Cell]:
        """The cells of a line."""
        found, totals, money = self._found, line.totals, self._currency.money
        unpriced = nothing_known(totals)
        style = line.style
        cells: list[Cell] = [Span(c, style) if isinstance(c, str) and style != "plain" else c for c in line.keys]
        cells += [
            Span(count(totals.calls), style),
            Span(count(totals.input_tokens), style),
            Span(share(totals.cache_read_tokens, totals.input_tokens), style),
            Span(count(totals.output_tokens), style),
        ]
        if found.saved is not None:
            parts = found.saved.values() if line.key == () else (found.saved.get(part, Saved()) for part in line.parts)
            saved = sum(parts, Saved())
            cells.append(Span(money(saved.net, self._places) if saved.read_tokens or saved.write_tokens else "", style))
        if found.spread is not None:
            spread = found.spread.get(line.key) if line.key is not None else None
            values = (spread.p50, spread.p95, spread.p99) if spread else ()
            cells += [Span(money(value, self._average_places), style) for value in values] or ["", "", ""]
        else:
            average = totals.cost_pico // totals.calls if totals.calls and not unpriced else None
            cells.append("" if average is None else Span(money(average, self._average_places), style))
        if found.trends:
            cells.append(self._trend(line))
        if found.plan:
            cells.append(Span(money(line.plan, self._places) if line.plan else "", "dim"))
        owed = totals.cost_pico - line.plan
        cells.append(Span("unpriced", "warn") if unpriced else Span(money(owed, self._places), style))
        if found.before is not None:
            cells += self._compared(line)
        whole = found.total.cost_pico
        cells.append(Span(share(totals.cost_pico, whole), style))
        cells.append(Bar(max(0, totals.cost_pico) / self._top) if line.bar and self._top > 0 else "")
        return cells

    def _trend(self, line: _Line) -> Cell:
        trends = self._found.trends
        chosen = list(trends.values()) if line.key == () else [trends[part] for part in line.parts if part in trends]
        if not chosen:
            return ""
        return Spark(thinned([sum(at) for at in zip(*chosen, strict=True)], TREND_CHARACTERS))

    def _compared(self, line: _Line) -> list[Cell]:
        found = self._found
        before = sum(found.before_owed(part) for part in (found.before or () if line.key == () else line.parts))
        words = change(line.totals.cost_pico - line.plan, before)
        style = "warn" if words.startswith("+") or words == "new" else "good" if words.startswith("-") else "dim"
        return [Span(self._currency.money(before, self._places) if before else "", "dim"), Span(words, style)]


def footnotes(found: Breakdown, currency: Currency = USD) -> Iterator[tuple[str | Span, ...]]:
    """What stands below the total: what is not known, what is not owed, what is gone, where other money is from."""
    total = found.total
    if found.plan:
        yield (Span(f"in plans {currency.money(found.plan)}", "strong"), ": list price of calls inside a flat plan, ",
               "which nobody owes; averages and shares count it")  # fmt: skip
    notes = (
        (total.unpriced_calls, "unpriced", "no price is known, their cost is not in the total", "warn"),
        (total.partial_calls, "partial", "some counts or some prices are missing", "warn"),
        (total.estimated_calls, "estimated", "the provider reported no counts", "warn"),
    )
    for number, name, meaning, style in notes:
        if number:
            part = share(number, total.calls)
            yield (Span(f"{name} {part}", style), f" of calls ({count(number)}): {meaning}")
    if found.unattributed is not None and found.unattributed.calls:
        part = share(found.unattributed.cost_pico, total.cost_pico) or "0 %"
        calls = plural(found.unattributed.calls, "call")
        yield (Span(f"unattributed {part}", "warn"), f" of the cost: {calls} without {found.by[0]}")
    yield from _apart(total)
    yield from _caching(found, currency)
    if found.before is not None:
        gone = found.before.keys() - {row.key for row in found.everything}
        if lost := sum(found.before_owed(key) for key in gone):
            words = f"{currency.money(lost)} before, nothing now"
            yield (Span("gone: ", "dim"), f"{plural(len(gone), 'row')} with {words}")
    if found.empty_names:
        listed = ", ".join(found.empty_names[:5]) + (" …" if len(found.empty_names) > 5 else "")
        yield (Span(f"names that say nothing: {listed}", "warn"), "; telling ones show where the money goes")
    if currency.note:
        yield (Span(currency.note, "dim"),)


def _apart(total: Totals) -> Iterator[tuple[str | Span, ...]]:
    words = [
        plural(total.unbilled_attempts, "unbilled attempt") if total.unbilled_attempts else "",
        plural(total.cache_hits, "cache hit") if total.cache_hits else "",
        plural(total.errors, "error") if total.errors else "",
    ]
    if any(words):
        yield (Span("apart from these calls: ", "dim"), ", ".join(filter(None, words)))


def _caching(found: Breakdown, currency: Currency) -> Iterator[tuple[str | Span, ...]]:
    if found.saved is None:
        return
    all_of_it = sum(found.saved.values(), Saved())
    if all_of_it.read_tokens or all_of_it.write_tokens:
        rate = share(all_of_it.read_tokens, all_of_it.input_tokens)
        style = "good" if all_of_it.net >= 0 else "bad"
        yield (
            Span(f"caching saved {currency.money(all_of_it.net)}", style),
            f" net: {currency.money(all_of_it.saved)} by reads, less {currency.money(all_of_it.premium)} that writes ",
            f"cost more; {rate} of input tokens were read from caches",
        )
        if all_of_it.unknown_tokens:
            yield (Span(f"{count(all_of_it.unknown_tokens)} cached tokens without a known price", "warn"),)
