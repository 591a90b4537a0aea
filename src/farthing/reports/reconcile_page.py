"""The screen of a reconciliation: one sentence, the verdicts, the models, and whose the rest is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.reports.blocks import Bar, Cell, Column, Heading, Page, Span, Table
from farthing.reports.reconcile import Pair, Reconciled, Unseen
from farthing.reports.text import count, money, places_for, plural, share

VERDICTS = ("matched", "differs", "missing", "extra")
MEANS = {
    "matched": "the same to a cent, or half a percent",
    "differs": "on both, with different figures",
    "missing": "on the bill, not in the ledger",
    "extra": "in the ledger, not on the bill",
}
STYLES = {"matched": "good", "differs": "warn", "missing": "bad", "extra": "warn"}
SHOWN = 12
MOSTLY = 90


def sentence(found: Reconciled) -> str:
    """What to say about the bill, in cents as bills are."""
    of = "usage at our prices" if found.priced_by_us else "bill"
    if not found.ledger:
        dearest = max(_models(found.pairs), key=lambda one: one.billed, default=None)
        first = f", {share(dearest.billed, found.billed)} of it {dearest.name}" if dearest and found.billed else ""
        return f"This {of} comes to {money(found.billed, 2)}{first}; the ledger has nothing of these days."
    rest = found.billed - found.covered
    part = share(found.covered, found.billed) or "0 %"
    words = f"We see {part} of this {of}: {money(found.covered, 2)} of {money(found.billed, 2)}"
    words += f"; the rest, {money(rest, 2)}, {_whose(found, rest)}." if rest else "."
    surplus = found.seen - found.covered
    return f"{words} The ledger has {money(surplus, 2)} that is not on it." if surplus > 0 else words


def _whose(found: Reconciled, rest: int) -> str:
    """Whose the rest mostly is: a key or project that is as good as not seen, else a model."""
    for kind in ("key", "project"):
        hidden = [one for one in found.unseen if one.kind == kind and one.unseen and _hidden(one)]
        told = sum(one.unseen for one in hidden)
        if hidden and told * 2 >= rest:
            names = ", ".join(f"{kind} {short(one.name)}" for one in hidden[:3])
            return f"is {names}" if told * 100 >= rest * MOSTLY else f"is mostly {names}"
    largest = max(_models(found.pairs), key=lambda one: one.billed - one.seen, default=None)
    if largest is not None and largest.billed - largest.seen > rest // 2:
        return f"is mostly {largest.name}"
    return "is spread over days and models"


def _hidden(one: Unseen) -> bool:
    return one.unseen * 100 >= one.billed * MOSTLY


def short(name: str) -> str:
    """A key by its last four characters, as consoles show them; a short name as it is."""
    return name if len(name) <= 16 else f"…{name[-4:]}"


def reconcile_page(found: Reconciled, note: str, *, by_day: bool = False) -> Page:
    """The sentence and the tables."""
    page = Page()
    page.line(Span(sentence(found), "strong"))
    page.line(Span(note, "dim"))
    page.line()
    if found.ledger:
        page.add(_verdicts(found))
        page.line()
    page.add(Heading("By model"))
    page.add(_by_model(found))
    page.line()
    for kind, title in (("key", "By key"), ("project", "By project or workspace")):
        rows = [one for one in found.unseen if one.kind == kind]
        if rows:
            page.add(Heading(title, "unseen: what the ledger cannot account for" if found.ledger else ""))
            page.add(_by_owner(rows, found))
            page.line()
    odd = [pair for pair in found.pairs if pair.verdict != "matched"]
    if found.ledger and odd:
        ordered = sorted(odd, key=lambda pair: -abs(pair.gap))
        shown = sorted(odd, key=_when) if by_day else ordered[:SHOWN]
        more = f"the {SHOWN} largest of {len(odd)}; all with --by-day" if len(shown) < len(odd) else ""
        page.add(Heading("Days that differ", more))
        page.add(_days(shown))
        page.line()
    for line in _notes(found):
        page.line(*line, hang=2)
    return page


def _when(pair: Pair) -> tuple[str, str]:
    return str(pair.day or ""), pair.model


def _verdicts(found: Reconciled) -> Table:
    columns = (
        Column("days and models", least=10),
        Column("", right=True),
        Column("billed", right=True),
        Column("here", right=True),
        Column("between", right=True),
        Column("", rank=2),
    )
    places = places_for([found.billed, found.seen])
    rows: list[list[Cell]] = []
    for verdict in VERDICTS:
        pairs = [pair for pair in found.pairs if pair.verdict == verdict]
        if pairs:
            billed, seen = sum(pair.billed or 0 for pair in pairs), sum(pair.seen for pair in pairs)
            rows.append(
                [
                    Span(verdict, STYLES[verdict]),
                    count(len(pairs)),
                    money(billed, places),
                    money(seen, places),
                    _signed(billed - seen, places),
                    Span(MEANS[verdict], "dim"),
                ]
            )
    total: list[Cell] = [
        "total", count(len(found.pairs)), money(found.billed, places), money(found.seen, places),
        _signed(found.billed - found.seen, places), "",
    ]  # fmt: skip
    return Table(columns, rows, [total])


@dataclass(slots=True)
class _Model:
    """A model over all days."""

    name: str
    billed: int = 0
    seen: int = 0
    billed_tokens: int = 0
    seen_tokens: int = 0

    def add(self, other: Pair | _Model) -> None:
        self.billed += other.billed or 0
        self.seen += other.seen
        self.billed_tokens += other.billed_tokens
        self.seen_tokens += other.seen_tokens


def _models(pairs: Sequence[Pair]) -> list[_Model]:
    """The models, dearest first."""
    sums: dict[str, _Model] = {}
    for pair in pairs:
        sums.setdefault(pair.model, _Model(pair.model)).add(pair)
    return sorted(sums.values(), key=lambda one: (-max(one.billed, one.seen), one.name))


def _together(name: str, models: Sequence[_Model]) -> _Model:
    whole = _Model(name)
    for one in models:
        whole.add(one)
    return whole


def _by_model(found: Reconciled) -> Table:
    models = _models(found.pairs)
    places = places_for([found.billed, found.seen])
    tokens = any(one.billed_tokens for one in models)
    columns = [Column("model", least=14), Column("billed", right=True)]
    if found.ledger:
        columns += [Column("here", right=True), Column("between", right=True)]
    if tokens:
        columns += [Column("tokens billed", right=True, rank=2)]
        columns += [Column("here", right=True, rank=2)] if found.ledger else []
    columns += [Column("share", right=True, rank=1), Column("", rank=3)]
    top = max((one.billed for one in models), default=0)

    def cells(one: _Model, style: str = "plain") -> list[Cell]:
        made: list[Cell] = [Span(one.name, style), money(one.billed, places)]
        if found.ledger:
            made += [money(one.seen, places), _signed(one.billed - one.seen, places)]
        if tokens:
            made += [count(one.billed_tokens), *([count(one.seen_tokens)] if found.ledger else [])]
        bar = Bar(max(0, one.billed) / top) if top > 0 and style == "plain" else ""
        return [*made, share(one.billed, found.billed), bar]

    rows = [cells(one) for one in models[:SHOWN]]
    if rest := models[SHOWN:]:
        rows.append(cells(_together(f"{len(rest)} more", rest), "dim"))
    return Table(tuple(columns), rows, [cells(_together("total", models), "strong")])


def _by_owner(rows: Sequence[Unseen], found: Reconciled) -> Table:
    places = places_for([one.billed for one in rows])
    columns = [Column("name", least=14), Column("billed", right=True), Column("share", right=True, rank=1)]
    if found.ledger:
        columns += [Column("unseen", right=True), Column("", right=True)]
    made: list[list[Cell]] = []
    for one in rows[:SHOWN]:
        row: list[Cell] = [short(one.name), money(one.billed, places), share(one.billed, found.billed)]
        if found.ledger:
            style = "bad" if _hidden(one) and one.unseen else "warn" if one.unseen else "good"
            row += [money(one.unseen, places), Span(share(one.unseen, one.billed), style)]
        made.append(row)
    return Table(tuple(columns), made)


def _days(pairs: Sequence[Pair]) -> Table:
    places = places_for([pair.billed for pair in pairs] + [pair.seen for pair in pairs])
    columns = (
        Column("day"),
        Column("model", least=12),
        Column("billed", right=True),
        Column("here", right=True),
        Column("between", right=True),
        Column("", rank=1),
    )
    rows: list[list[Cell]] = [
        [
            str(pair.day or "–"),
            pair.model,
            "" if not pair.on_bill else money(pair.billed, places) if pair.billed is not None else "no price",
            money(pair.seen, places) if pair.in_ledger else "",
            _signed(pair.gap, places),
            Span(pair.verdict, STYLES[pair.verdict]),
        ]
        for pair in pairs
    ]
    return Table(columns, rows)


def _signed(pico: int, places: int) -> str:
    return f"{'+' if pico > 0 else ''}{money(pico, places)}"


def _notes(found: Reconciled) -> Iterator[tuple[str | Span, ...]]:
    if found.priced_by_us:
        yield (Span("the export tells usage, not cost: ", "dim"), "its amounts are that usage at the prices known here")
    if found.unknown:
        listed = ", ".join(name or "(no model)" for name in found.unknown[:5])
        yield (Span(f"no price is known for {plural(len(found.unknown), 'model')}", "warn"), f": {listed}")
    if not found.ledger:
        yield (Span("metering what comes next: ", "dim"), "farthing --help shows first steps")


def reconcile_json(found: Reconciled) -> dict[str, Any]:
    """The same for programs; amounts are picodollars."""
    return {
        "sentence": sentence(found),
        "first": str(found.first) if found.first else None,
        "last": str(found.last) if found.last else None,
        "providers": list(found.providers),
        "priced_by_us": found.priced_by_us,
        "billed_pico": found.billed,
        "seen_pico": found.seen,
        "covered_pico": found.covered,
        "counts": {verdict: found.count(verdict) for verdict in VERDICTS},
        "rows": [
            {
                "day": str(pair.day) if pair.day else None,
                "model": pair.model,
                "verdict": pair.verdict,
                "billed_pico": pair.billed,
                "seen_pico": pair.seen,
                "billed_tokens": pair.billed_tokens,
                "seen_tokens": pair.seen_tokens,
                "seen_calls": pair.seen_calls,
            }
            for pair in found.pairs
        ],
        "owners": [
            {"kind": one.kind, "name": one.name, "billed_pico": one.billed, "unseen_pico": one.unseen}
            for one in found.unseen
        ],
        "unknown_models": list(found.unknown),
    }
