"""`farthing report`: what was spent, by any key; and the budget report of a day, week or month."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from farthing.cli.frame import App, as_filter, filter_options, now, pass_app, shared_options
from farthing.cli.options import tz_option
from farthing.cli.output import chosen_kind, currency_of, currency_options, output_options, put
from farthing.event import ATTRIBUTION_FIELDS, from_us
from farthing.ledger.store import Filter, Store
from farthing.reports import digest as digests
from farthing.reports.blocks import Page
from farthing.reports.booked import booked
from farthing.reports.breakdown import breakdown_page
from farthing.reports.currency import Currency
from farthing.reports.html import Picture, document
from farthing.reports.lines import row_json, totals_json
from farthing.reports.periods import Period, of_filter
from farthing.reports.periods import period as read_period
from farthing.reports.pictures import over_time
from farthing.reports.queries import Asked, Breakdown, breakdown
from farthing.reports.saved import Saved
from farthing.reports.words import span_words
from farthing.totals import TOTALS_FIELDS
from farthing.windows import zone

KEYS = (
    *("agent", "model", "user", "team", "provider", "day", "hour", "week", "month"),
    *(field for field in ATTRIBUTION_FIELDS if field not in ("agent", "user", "team")),
    *("operation", "price_status", "usage_status", "status", "source", "requested_model", "billing", "key"),
)


def _keys(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(part.strip().replace("-", "_") for text in given for part in text.split(",") if part.strip())
    for key in found:
        if key not in KEYS and not (key.startswith("metadata.") and len(key) > len("metadata.")):
            raise click.BadParameter(f"unknown key {key!r}; known: {', '.join(KEYS)}, metadata.<key>")
        if found.count(key) > 1:
            raise click.BadParameter(f"{key!r}: is named twice")
    return found or ("agent",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Out:
    """How a report leaves."""

    app: App
    kind: str
    path: Path | None
    currency: Currency
    at: datetime


@click.command()
@click.argument("period", required=False)
@click.option(
    "--by",
    multiple=True,
    callback=_keys,
    metavar="KEY",
    help="agent (the default), model, user, team, provider, day, metadata.<key>, ...; repeat it to nest.",
)
@click.option("--top", "--limit", "limit", type=click.IntRange(1), metavar="N", help="The first N rows and the rest.")
@click.option("--compare", is_flag=True, help="With the period before: what changed.")
@click.option("--caching", is_flag=True, help="What caching at the provider saved, less what writing caches cost more.")
@click.option("--percentiles", is_flag=True, help="What calls cost: median, 95th and 99th percentile.")
@tz_option
@currency_options
@output_options
@filter_options
@shared_options
@pass_app
def report(
    app: App, /, period: str | None, by: tuple[str, ...], kind: str | None, out: Path | None, **given: Any
) -> None:
    """What was spent, by agent, model, user, day, ...

    PERIOD is such as october, 2026-W42, 30d or 2026-10-01..2026-10-15; or daily, weekly or monthly: the budget report
    of the present day, week or month. Dearest first; by time, oldest first. Below the total stands what is not known:
    calls without a price, estimated counts, calls that nobody claims.
    """
    at, tz = now(), given["tz"]
    where = as_filter(given["since"], given["until"], given["where"])
    window = digests.WINDOWS.get(period or "")
    days = None
    if period is not None and window is None:
        days = read_period(period, at, tz)
        where = days.filter(where)
    on = (min(at, from_us(where.until_us - 1)) if where.until_us else at).astimezone(zone(tz)).date()
    currency = currency_of(app, given["currency"], given["rates"], on)
    leave = _Out(app=app, kind=chosen_kind(app, kind, out), path=out, currency=currency, at=at)
    with app.store() as opened:
        store = booked(opened)
        if window is not None:
            end = from_us(where.until_us - 1) if where.until_us is not None else at
            bare = Filter(org=where.org, equals=where.equals)
            _digest(leave, store, digests.digest(store, window, min(end, at), bare, tz), bare)
            return
        asked = Asked(
            limit=given["limit"],
            tz=tz,
            before=_before(days, where, at, tz) if given["compare"] else None,
            trends=leave.kind == "html" or (leave.kind == "text" and out is None and sys.stdout.isatty()),
            caching=given["caching"],
            spread=given["percentiles"],
        )
        _breakdown(leave, store, breakdown(store, by, where, asked=asked), given["limit"])


def _before(days: Period | None, where: Filter, at: datetime, tz: str) -> Filter:
    """The filter of the period before: of as long a time, up to the same point where the period is not over."""
    chosen = days or of_filter(where, at, tz)
    if chosen is None:
        raise click.UsageError("--compare needs a period: name one (october, 30d), or give --since")
    earlier = chosen.before()
    end = earlier.until_us
    passed = int((at - from_us(chosen.since_us)) / timedelta(microseconds=1))
    if chosen.since_us + passed < chosen.until_us:
        end = min(end, earlier.since_us + passed)
    return replace(where, since_us=earlier.since_us, until_us=end)


def _breakdown(leave: _Out, store: Store, found: Breakdown, limit: int | None) -> None:
    title = f"Cost by {' and '.join(key.replace('_', ' ') for key in found.by)}"

    def html() -> str:
        page = breakdown_page(found, title=title, currency=leave.currency, limit=limit)
        picture = over_time(store, found.by[0], found.where, found.tz, leave.currency)
        parts: list[Page | Picture] = [*([picture] if picture else []), page]
        return document(title, span_words(found.where), parts, _made(leave))

    put(
        leave.app,
        leave.kind,
        leave.path,
        page=breakdown_page(found, title=title, currency=leave.currency, limit=limit),
        values=as_json(found, leave.currency),
        rows=lambda: _rows(found, leave.currency),
        html=html,
    )


def _digest(leave: _Out, store: Store, found: digests.Digest, where: Filter) -> None:
    def html() -> str:
        picture = over_time(store, "model", found.period.filter(where), found.period.tz, leave.currency)
        page = digests.digest_page(found, leave.currency, heading=False)
        parts: list[Page | Picture] = [Page(page.blocks[:1])]
        parts += [*([picture] if picture else []), Page(page.blocks[1:])]
        return document(digests.title(found), digests.note(found), parts, _made(leave))

    put(
        leave.app,
        leave.kind,
        leave.path,
        page=digests.digest_page(found, leave.currency),
        values=digests.digest_json(found) | _currency(leave.currency),
        rows=lambda: _digest_rows(found, leave.currency),
        html=html,
    )


def _made(leave: _Out) -> str:
    words = f"Made by farthing from {leave.app.url} on {leave.at:%Y-%m-%d %H:%M} UTC."
    return f"{words} {leave.currency.note}." if leave.currency.note else words


def as_json(found: Breakdown, currency: Currency) -> dict[str, object]:
    """The same figures for programs."""
    where = found.where

    def row(key: tuple[str | None, ...], values: dict[str, Any]) -> dict[str, Any]:
        plan = found.plans.get(key, 0) if key else found.plan
        values = values | _split(values["cost_pico"], plan)
        if found.before is not None:
            before = found.before_total if not key else found.before.get(key)
            inside = found.before_plans.get(key, 0) if key else sum(found.before_plans.values())
            values["before"] = None if before is None else totals_json(before) | _split(before.cost_pico, inside)
        if found.saved is not None:
            values["caching"] = _saved(sum(found.saved.values(), Saved()) if not key else found.saved.get(key, Saved()))
        if found.spread is not None and (spread := found.spread.get(key)) is not None:
            values["percentiles_pico"] = {"p50": spread.p50, "p95": spread.p95, "p99": spread.p99, "max": spread.most}
        return values

    return {
        "by": list(found.by),
        "since": None if where.since_us is None else from_us(where.since_us).isoformat(),
        "until": None if where.until_us is None else from_us(where.until_us).isoformat(),
        "tz": found.tz,
        "where": dict(where.equals) | ({"org": where.org} if where.org is not None else {}),
        "rows": [row(one.key, row_json(found.by, one)) for one in found.rows],
        "rest": {"rows": found.rest[0], **totals_json(found.rest[1])},
        "total": row((), totals_json(found.total)),
        "unattributed": None if found.unattributed is None else totals_json(found.unattributed),
        "names_that_say_nothing": list(found.empty_names),
        **_currency(currency),
    }


def _split(cost_pico: int, plan: int) -> dict[str, Any]:
    """What is owed, and what is list price inside a flat plan."""
    owed = cost_pico - plan
    return {
        "owed_usd": owed / 10**12,
        "owed_pico": owed,
        "subscription_usd": plan / 10**12,
        "subscription_pico": plan,
    }


def _saved(saved: Saved) -> dict[str, Any]:
    return {
        "hit_rate": None if saved.hit_rate is None else float(saved.hit_rate),
        "saved_pico": saved.saved,
        "writes_cost_more_pico": saved.premium,
        "net_pico": saved.net,
        "tokens_without_price": saved.unknown_tokens,
    }


def _currency(currency: Currency) -> dict[str, Any]:
    if currency.code == "USD":
        return {}
    return {"currency": {"code": currency.code, "per_usd": str(float(currency.rate)), "note": currency.note}}


def _rows(found: Breakdown, currency: Currency) -> Iterator[list[Any]]:
    """CSV: the rows, all of them; amounts are exact decimals."""
    sums = [name for name in TOTALS_FIELDS if name != "cost_pico"]
    more = [f"cost_{currency.code.lower()}"] if currency.code != "USD" else []
    compared = ["before_usd"] if found.before is not None else []
    yield [*found.by, *sums, "cost_usd", "subscription_usd", *more, *compared]
    for one in found.everything:
        values = [getattr(one.totals, name) for name in sums]
        line = [*one.key, *values, _usd(one.totals.cost_pico), _usd(found.plans.get(one.key, 0))]
        if more:
            line.append(_usd(currency.of(one.totals.cost_pico)))
        if found.before is not None:
            earlier = found.before.get(one.key)
            line.append(_usd(earlier.cost_pico) if earlier else "0")
        yield line


def _digest_rows(found: digests.Digest, currency: Currency) -> Iterator[list[Any]]:
    more = [f"cost_{currency.code.lower()}"] if currency.code != "USD" else []
    yield ["kind", "name", "calls", "input_tokens", "output_tokens", "cost_usd", "before_usd", "limit", *more]
    for part in found.parts:
        for row in part.everything:
            t, before = row.totals, (part.before or {}).get(row.key)
            line = [part.by[0], row.key[0], t.calls, t.input_tokens, t.output_tokens, _usd(t.cost_pico)]
            line += [_usd(before.cost_pico) if before else "0", None]
            yield [*line, *([_usd(currency.of(t.cost_pico))] if more else [])]
    for one in found.budgets:
        spent, limit = (_usd(v or 0) if one.unit == "usd" else v for v in (one.spent, one.limit))
        line = [f"budget ({one.unit})", digests.called(one), None, None, None, spent, None, limit]
        yield [*line, *([None] if more else [])]


def _usd(pico: int) -> str:
    digits = f"{abs(pico):013d}"
    text = f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")
    return f"-{text}" if pico < 0 else text
