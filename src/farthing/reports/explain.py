"""Screens that explain a cost: its lines, its price, where that is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from farthing.event import Event, from_us
from farthing.ledger.store import Store
from farthing.money import pico_to_usd
from farthing.pricing.cost import Cost, CostLine, Provenance
from farthing.pricing.resolve import reprice
from farthing.reports.blocks import Cell, Column, Heading, Page, Pairs, Span, Table
from farthing.reports.evidence import Verdict
from farthing.reports.lines import event_line
from farthing.reports.text import count, dollars, exact_money, plural, validity, when


@dataclass(frozen=True, slots=True)
class Explained:
    """An event, its corrections (oldest first), and its cost recomputed from the kept price record, if there is one."""

    event: Event
    corrections: Sequence[Event]
    cost: Cost | None

    @property
    def known(self) -> Event:
        """The event, or the last correction, whose counts are the ones now known."""
        return self.corrections[-1] if self.corrections else self.event

    @property
    def total_pico(self) -> int | None:
        """The cost with all corrections."""
        parts = [e.cost_pico for e in (self.event, *self.corrections) if e.cost_pico is not None]
        return sum(parts) if parts else None


def explained(store: Store, event: Event) -> Explained:
    """What is known of an event; given a correction, of the event it corrects."""
    history = store.history(event.id, event.attribution.org) or [event]
    first, corrections = history[0], history[1:]
    known = corrections[-1] if corrections else first
    text = store.price_record(known.price_hash) if known.price_hash else None
    cost = reprice(text, known.usage, first.at_us, known.context) if text else None
    return Explained(first, corrections, cost)


def explain_page(found: Explained) -> Page:
    """Who, what, how much of it, at which price, from where."""
    event, known = found.event, found.known
    page = Page()
    page.add(Heading(exact_money(found.total_pico), f"{event.model}, {when(event.at)}"))
    page.line()
    page.add(Pairs(list(_who_and_what(event, known))))
    page.line()
    _price_part(page, found)
    if found.corrections:
        page.line()
        page.add(Heading("Corrections"))
        page.add(_corrections(found))
    return page


def _who_and_what(event: Event, known: Event) -> Iterator[tuple[str, Cell]]:
    yield "id", event.id
    answered = f"{event.provider or 'provider not known'} · {event.model}"
    asked = f", asked for as {event.requested_model}" if event.requested_model else ""
    yield "model", answered + asked
    yield "operation", event.operation + (f", attempt {event.attempt}" if event.attempt > 1 else "")
    for name, value in event.attribution.to_dict().items():
        if name == "metadata":
            for key, inner in value.items():
                yield f"metadata.{key}", str(inner)
        elif (name, value) != ("org", "default"):
            yield name.replace("_", " "), str(value)
    if known.context:
        yield "context", ", ".join(f"{key}={value}" for key, value in known.context.items())
    status = Span(known.status, "good" if known.status in ("priced", "free", "reported") else "warn")
    yield "status", status
    if known.price_reason:
        yield (
            "because",
            Span(known.price_reason, "warn" if known.status not in ("priced", "free", "reported") else "plain"),
        )
    if event.error:
        yield "error", Span(event.error, "bad")
    if not event.billed:
        yield "billed", "no, answered by a cache" if event.cache_hit else "no"
    if event.response_id:
        yield "response", event.response_id
    yield "heard from", event.source + (f", by {event.recorder}" if event.recorder else "")
    yield "recorded", when(from_us(event.recorded_at_us))


def _price_part(page: Page, found: Explained) -> None:
    known = found.known
    if found.cost is not None and found.cost.pico is not None:
        page.add(Heading("Cost"))
        page.add(cost_table(found.cost.lines, found.total_pico))
        if known.price_status == "reported":
            page.line(f"{_whose(known)}, {exact_money(known.reported_pico)}, goes before this.")
        page.line()
        if found.cost.provenance is not None:
            page.add(Heading("Price"))
            page.add(Pairs(list(provenance_pairs(found.cost.provenance, found.cost.reasons))))
    else:
        page.add(Heading("Usage"))
        page.add(_usage_table(known))
        if known.price_status == "reported":
            page.line(f"{_whose(known)}: {exact_money(known.reported_pico)}.")
        elif known.cost_pico is None:
            page.line(Span("No price is known, so this call is in no total.", "warn"))
        else:
            page.line("It cost nothing.")


def _whose(event: Event) -> str:
    """Whose figure a cost is that no price record gives."""
    if event.source == "budget":
        return "What was held for it" if event.usage_status == "estimated" else "What its caller settled"
    return "The provider's own figure"


def _usage_table(event: Event) -> Table:
    rows = [(unit, _quantity(value)) for unit, value in event.usage.items()] or [("nothing", "")]
    return Table((Column(""), Column("", right=True)), rows)


def cost_table(lines: Sequence[CostLine], total: int | None) -> Table:
    """quantity × rate = amount, one row a line, and the total."""
    columns = (
        Column("unit", least=14),
        Column("quantity", right=True),
        Column("rate", right=True),
        Column("per", right=True, rank=1),
        Column("amount", right=True),
        Column("", rank=2),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            line.unit,
            _quantity(line.quantity),
            dollars(line.rate_usd),
            f"{line.per:,}",
            dollars(line.usd),
            Span(line.note, "dim"),
        )
        for line in lines
    ]
    exact = sum((line.usd for line in lines), Fraction(0))
    note = "" if total is None or Fraction(pico_to_usd(total)) == exact else "rounded once"
    return Table(columns, rows, [("total", "", "", "", exact_money(total), Span(note, "dim"))])


def _quantity(value: int | Decimal) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,f}"


def provenance_pairs(found: Provenance, reasons: Sequence[str] = ()) -> Iterator[tuple[str, Cell]]:
    """Which price, why this one, valid when, from where."""
    yield "record", f"{found.provider} · {found.model}"
    yield "matched", found.matched
    yield "valid", validity(found.valid_from, found.valid_to)
    yield "source", found.source + (f", published {found.published}" if found.published else "")
    if found.context:
        yield "context", ", ".join(f"{key}={value}" for key, value in found.context.items())
    if found.band:
        yield "band", found.band
    for reason in reasons:
        yield "note", reason
    yield "hash", found.price_hash


def _corrections(found: Explained) -> Table:
    columns = (Column("recorded"), Column("change", right=True), Column("counts", least=20), Column("status"))
    rows: list[tuple[Cell, ...]] = []
    for one in found.corrections:
        change = exact_money(one.cost_pico)
        sign = "+" if one.cost_pico is not None and one.cost_pico >= 0 else ""
        counts = ", ".join(f"{unit} {number:+,}" for unit, number in one.usage_delta.items()) or "the same"
        rows.append((when(from_us(one.recorded_at_us)), f"{sign}{change}", counts, one.status))
    return Table(columns, rows)


def explained_json(found: Explained) -> dict[str, Any]:
    """The same for programs: the event line, the lines of its cost, the provenance, the corrections."""
    total = found.total_pico
    return {
        "event": event_line(found.event),
        "cost_usd": None if total is None else total / 10**12,
        "cost_pico": total,
        "status": found.known.status,
        "lines": [] if found.cost is None else [line_json(line) for line in found.cost.lines],
        "provenance": None if found.cost is None else provenance_json(found.cost.provenance),
        "corrections": [event_line(one) for one in found.corrections],
    }


def line_json(line: CostLine) -> dict[str, Any]:
    """One line of a cost; amounts are exact decimal text, cut at 12 decimals with `…` where they never end."""
    return {
        "unit": line.unit,
        "quantity": line.quantity if isinstance(line.quantity, int) else str(line.quantity),
        "rate_usd": f"{line.rate_usd:f}",
        "per": line.per,
        "usd": dollars(line.usd).removeprefix("$").replace(",", ""),
        "note": line.note,
    }


def provenance_json(found: Provenance | None) -> dict[str, Any] | None:
    """Where a price is from."""
    if found is None:
        return None
    return {
        "provider": found.provider,
        "model": found.model,
        "matched": found.matched,
        "valid_from": None if found.valid_from is None else found.valid_from.isoformat(),
        "valid_to": None if found.valid_to is None else found.valid_to.isoformat(),
        "source": found.source,
        "published": found.published,
        "price_hash": found.price_hash,
        "context": dict(found.context),
        "band": found.band,
    }


def verdict_page(found: Verdict) -> Page:
    """What `verify` found."""
    page = Page()
    style = "good" if found.holds else "bad"
    words = "Every cost is what its price record gives, and every sum is the sum of its events."
    page.line(Span(words if found.holds else "The ledger does not agree with its evidence.", style))
    page.line()
    corrections = f", {count(found.corrections)} of them corrections" if found.corrections else ""
    records = plural(found.records, "price record")
    page.line(f"{plural(found.events, 'event')}{corrections}, {records}, {exact_money(found.total.cost_pico)}")
    page.line(", ".join(f"{name} {count(number)}" for name, number in found.by_status.most_common()))
    if found.wrong:
        page.line()
        page.line(Span(f"{plural(found.wrong, 'event')} with another cost than its evidence gives:", "bad"))
        columns = (
            Column("event", least=13),
            Column("kept", right=True),
            Column("recomputed", right=True),
            Column("", least=20),
        )
        page.add(
            Table(columns, [(m.event_id, _or_none(m.kept), _or_none(m.recomputed), m.reason) for m in found.mismatches])
        )
    for grouping, difference in found.sums:
        page.line(Span(f"by {grouping}: ", "bad"), difference, hang=2)
    return page


def _or_none(pico: int | None) -> str:
    return "none" if pico is None else exact_money(pico)


def verdict_json(found: Verdict) -> dict[str, Any]:
    """The same for programs."""
    return {
        "holds": found.holds,
        "events": found.events,
        "corrections": found.corrections,
        "price_records": found.records,
        "cost_usd": found.total.cost,
        "cost_pico": found.total.cost_pico,
        "by_price_status": dict(found.by_status),
        "mismatches": found.wrong,
        "first_mismatches": [
            {"id": m.event_id, "kept_pico": m.kept, "recomputed_pico": m.recomputed, "reason": m.reason}
            for m in found.mismatches
        ],
        "sums_that_differ": [{"by": by, "difference": words} for by, words in found.sums],
    }
