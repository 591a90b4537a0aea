"""`farthing prices`: look prices up, add your own, take newer ones and go back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from farthing.cli.frame import App, Guarded, Moment, as_filter, key_values, now, pass_app, shared_options
from farthing.errors import InputError
from farthing.pricing import refresh
from farthing.pricing.catalog import Catalog
from farthing.pricing.defaults import custom_file
from farthing.pricing.register import CustomPrice, load_custom, save_custom
from farthing.pricing.source import bundled
from farthing.reports.blocks import Page, Span
from farthing.reports.pricelist import diff_json, diff_page, history_page, list_page, listed, record_json, show_page
from farthing.reports.reprice import reprice
from farthing.reports.reprice_page import reprice_json, reprice_page
from farthing.reports.words import span_words


@click.group(cls=Guarded)
@shared_options
def prices() -> None:
    """The price list: look up, add your own, update."""


@prices.command("list")
@click.argument("text", required=False)
@click.option("--provider", help="Only models of this provider.")
@shared_options
@pass_app
def list_(app: App, text: str | None, provider: str | None) -> None:
    """List models with their input and output prices.

    TEXT: only models whose name contains it.
    """
    rows = listed(Catalog.default(), text, provider, now())
    if not rows:
        asked = f"{text or ''}{f' of provider {provider}' if provider else ''}".strip() or "at all"
        raise InputError(f"no model {asked}; `farthing prices list` shows all")
    app.show(list_page(rows), [asdict(row) | {"input": _text(row.input), "output": _text(row.output)} for row in rows])


def _text(amount: Any) -> str | None:
    return None if amount is None else str(amount)


@prices.command()
@click.argument("model")
@click.option("--provider", help="Of this provider. Default: found by the model's name.")
@click.option("--at", type=Moment(), help="The price in force at that moment. Default: now.")
@shared_options
@pass_app
def show(app: App, model: str, provider: str | None, at: datetime | None) -> None:
    """Show everything about a model's price: rates, tiers, variants, where it is from."""
    catalog = Catalog.default()
    resolved = catalog.resolve(model, provider, at or now())
    if resolved.record is None:
        raise InputError("; ".join(resolved.reasons))
    app.show(
        show_page(resolved.record, model, resolved.matched, at or now()), record_json(resolved.record, resolved.matched)
    )


@prices.command()
@click.argument("model")
@click.option("--provider", help="Of this provider. Default: found by the model's name.")
@shared_options
@pass_app
def history(app: App, model: str, provider: str | None) -> None:
    """Show all known prices of a model, oldest first."""
    records = Catalog.default().history(model, provider)
    app.show(history_page(records), [record_json(record, "") for record in records])


@prices.command()
@click.argument("source", required=False)
@shared_options
@pass_app
def diff(app: App, source: str | None) -> None:
    """Compare price files.

    SOURCE: a URL or path, compared with the prices in force. Without it: the prices in force, compared with those that
    were installed.
    """
    in_force = refresh.in_force()
    if source is None:
        found = refresh.compare(bundled(), in_force)
    else:
        found = refresh.compare(in_force, refresh.checked(refresh.fetch(source), source))
    app.show(diff_page(found), diff_json(found))


@prices.command()
@click.argument("model")
@click.option("--input", "input_price_per_million", metavar="USD", help="A million input tokens.")
@click.option("--output", "output_price_per_million", metavar="USD", help="A million output tokens.")
@click.option("--cached", "cached_input_price_per_million", metavar="USD", help="A million tokens read from the cache.")
@click.option("--cache-write", "cache_write_price_per_million", metavar="USD", help="A million tokens written to it.")
@click.option("--provider", default="custom", show_default=True, help="Whose model it is.")
@click.option("--match", "match_pattern", metavar="REGEX", help="Also models whose name has this in it.")
@click.option("--unit", default="TOKENS", show_default=True, help="Of the three that follow: what one of them is.")
@click.option("--input-price", metavar="USD", help="One unit of input.")
@click.option("--output-price", metavar="USD", help="One unit of output.")
@click.option("--total-price", metavar="USD", help="One unit of either.")
@click.option("--rate", "rates", multiple=True, metavar="UNIT=USD", help="Any unit's customary lot: web_searches=10.")
@click.option("--from", "valid_from", type=Moment(), help="Holds from this moment on. Default: always.")
@click.option("--to", "valid_to", type=Moment(), help="Holds until this moment, excluded.")
@shared_options
@pass_app
def add(app: App, /, rates: tuple[str, ...], **given: Any) -> None:
    """Set a price of your own; it wins over all others.

    Kept in the user's data folder. The same model, provider and --from again: replaces it.
    """
    path = custom_file()
    price = CustomPrice(rates=key_values(rates, "--rate") or None, **given)
    price.compiled()
    kept = [old for old in load_custom(path) if _identity(old) != _identity(price)]
    save_custom(path, [*kept, price])
    Catalog.reset_default()
    resolved = Catalog.default().resolve(price.model, price.provider, price.valid_from or now())  # type: ignore[arg-type]
    if resolved.record is None:
        raise InputError("; ".join(resolved.reasons))
    page = show_page(resolved.record, price.model, resolved.matched, given["valid_from"] or now())
    app.show(page, record_json(resolved.record, resolved.matched))


def _identity(price: CustomPrice) -> tuple[str, str, str]:
    start = price.compiled().records[0].get("from")
    return price.provider, price.model, str(start)


@prices.command()
@click.argument("model")
@click.option("--input", "input_price_per_million", metavar="USD", help="A million input tokens.")
@click.option("--output", "output_price_per_million", metavar="USD", help="A million output tokens.")
@click.option("--cached", "cached_input_price_per_million", metavar="USD", help="A million tokens read from the cache.")
@click.option("--cache-write", "cache_write_price_per_million", metavar="USD", help="A million tokens written to it.")
@click.option("--provider", help="Whose price it is. Default: found by the model's name.")
@click.option("--rate", "rates", multiple=True, metavar="UNIT=USD", help="Any unit's customary lot: web_searches=10.")
@click.option("--from", "valid_from", type=Moment(), help="It was wrong from this moment on. Default: always.")
@click.option("--to", "valid_to", type=Moment(), help="It was wrong until this moment, excluded.")
@shared_options
@pass_app
def correct(app: App, /, rates: tuple[str, ...], **given: Any) -> None:
    """Correct a price, and show what recorded calls change.

    Sets it as a price of your own, and shows what `farthing reprice` would change. Nothing recorded is changed yet.
    """
    path = custom_file()
    if given["provider"] is None:
        given["provider"] = Catalog.default().resolve(given["model"]).provider or "custom"
    price = CustomPrice(rates=key_values(rates, "--rate") or None, **given)
    price.compiled()
    save_custom(path, [*(old for old in load_custom(path) if _identity(old) != _identity(price)), price])
    Catalog.reset_default()
    since = given["valid_from"]
    chosen = as_filter(since, given["valid_to"], ())
    with app.store() as store:
        found = reprice(store, Catalog.default(), chosen)
    page = reprice_page(found, span_words(chosen), applied=False)
    day = f"{since:%Y-%m-%dT%H:%MZ}" if since else "1970-01-01"
    page.line()
    page.line("To correct what is recorded: ", Span(f"farthing reprice --since {day}", "accent"))
    app.show(page, reprice_json(found, applied=False))


@prices.command()
@click.argument("model")
@click.option("--provider", help="Only the price for this provider.")
@shared_options
@pass_app
def remove(app: App, model: str, provider: str | None) -> None:
    """Remove a price of your own."""
    path = custom_file()
    before = load_custom(path)
    kept = [price for price in before if price.model != model or provider not in (None, price.provider)]
    if len(kept) == len(before):
        names = ", ".join(sorted({price.model for price in before})) or "none"
        raise InputError(f"no price of your own for {model!r}; there are: {names}")
    save_custom(path, kept)
    Catalog.reset_default()
    page = Page()
    page.line(f"removed {len(before) - len(kept)} of your prices for ", Span(model, "strong"))
    app.show(page, {"model": model, "removed": len(before) - len(kept)})


@prices.command()
@click.argument("source", required=False)
@click.option("--force", is_flag=True, help="Take a file that moves a price by more than ten times.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--rollback", is_flag=True, help="Go back to the prices before the last update.")
@shared_options
@pass_app
def update(app: App, source: str | None, force: bool, dry_run: bool, rollback: bool) -> None:
    """Take newer prices from a URL or path.

    Checked whole, shown, then put in force at once; the old ones are kept. Without SOURCE: where the data of
    genai-prices is published. Events already recorded keep the price they were recorded with.
    """
    if rollback:
        if source or force or dry_run:
            raise click.UsageError("--rollback goes with no other option")
        words = refresh.rollback()
        page = Page()
        page.line("in force again: ", Span(words, "strong"))
        app.show(page, {"in_force": words})
        return
    found = refresh.update(source or refresh.USUAL_SOURCE, force=force, dry_run=dry_run)
    page = diff_page(found)
    page.line()
    page.line(Span("nothing was changed" if dry_run else "in force from now on", "dim" if dry_run else "good"))
    app.show(page, diff_json(found) | {"in_force": not dry_run})
