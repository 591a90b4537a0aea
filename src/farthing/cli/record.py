"""`farthing record`: one call, by hand or from a script."""

from __future__ import annotations

from typing import Any

import click

from farthing.cli.counts import context_of, context_options, usage_of_options, usage_options
from farthing.cli.frame import App, Moment, key_values, pass_app, shared_options
from farthing.errors import LedgerError
from farthing.event import ATTRIBUTION_FIELDS, Event
from farthing.ledger.store import Filter
from farthing.pricing.extract import extract
from farthing.reports.blocks import Page, Span
from farthing.reports.lines import event_line
from farthing.reports.text import exact_money
from farthing.tracker import CostTracker

_OWN_OPTIONS = ("agent", "user", "team", "feature", "task", "task_type", "session", "trace", "environment")


def _who_options(function: Any) -> Any:
    for name in reversed(_OWN_OPTIONS):
        words = name.replace("_", " ")
        function = click.option(f"--{name.replace('_', '-')}", name, help=f"The {words} this call is for.")(function)
    return function


@click.command()
@click.option("--model", help="The model that was called; not needed with --response.")
@click.option("--provider", help="Who served it, e.g. openai, anthropic, aws.")
@usage_options
@context_options
@_who_options
@click.option("--set", "more", multiple=True, metavar="FIELD=VALUE", help="Any other attribution, or metadata.<key>.")
@click.option("--at", type=Moment(), help="When it was called. Default: now.")
@click.option("--response", type=click.File("rb"), help="A provider's response body or stream, `-` for standard input.")
@click.option("--response-id", help="The provider's id of the response: recorded twice, it counts once.")
@click.option("--cost", metavar="USD", help="What the provider says it cost; goes before our price.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Which try this was.")
@click.option("--cache-hit", is_flag=True, help="Answered by a cache of yours: costs nothing.")
@click.option("--error", help="What failed; without counts it is an attempt that costs nothing.")
@shared_options
@pass_app
def record(app: App, /, **given: Any) -> None:
    """Record one call.

    Counts are inclusive: cached tokens are inside --input, reasoning is inside --output.
    """
    if not given["model"] and given["response"] is None:
        raise click.UsageError("name the model that was called with --model, or give its answer with --response")
    details = _details(given)
    if (usage := usage_of_options(given)) is not None:
        details["usage"] = usage
    if given["response"] is not None:
        details["response"] = _readable(given)
    with app.store(may_be_new=True) as store:
        tracker = CostTracker(ledger=store)
        try:
            event = tracker.record(given["model"], **details)
        except TypeError as error:
            raise click.UsageError(str(error)) from error
        if tracker.lost:
            raise LedgerError("the call could not be written; see the message above")
        known = None
        if store.get(event.id) is None and event.response_id:
            same = Filter(org=event.attribution.org, equals={"response_id": event.response_id})
            known = next(iter(store.events(same, limit=1)), None)
    app.show(_page(known or event, known=known is not None), event_line(known or event))


def _readable(given: dict[str, Any]) -> bytes:
    """The response's bytes; a file that tells neither a model, counts nor an error is the wrong one: BadParameter."""
    body: bytes = given["response"].read()
    found = extract(body, provider=given["provider"])
    if given["model"] is None and found.model is None and found.usage is None and found.error is None:
        raise click.BadParameter(f"{found.reason}; if it is one, name its --model", param_hint="--response")
    return body


def _details(given: dict[str, Any]) -> dict[str, Any]:
    """The keywords of `CostTracker.record` that were given."""
    details: dict[str, Any] = {name: given[name] for name in _OWN_OPTIONS if given[name] is not None}
    metadata: dict[str, str] = {}
    for name, value in key_values(given["more"], "--set").items():
        if name.startswith("metadata."):
            metadata[name.removeprefix("metadata.")] = value
        elif name in ATTRIBUTION_FIELDS:
            details[name] = value
        else:
            known = ", ".join(ATTRIBUTION_FIELDS)
            raise click.BadParameter(f"unknown field {name!r}; known: {known}, metadata.<key>", param_hint="--set")
    if metadata:
        details["metadata"] = metadata
    for name, keyword in (("provider", "provider"), ("at", "at"), ("response_id", "response_id"), ("cost", "cost_usd"),
                          ("attempt", "attempt"), ("error", "error")):  # fmt: skip
        if given[name] is not None:
            details[keyword] = given[name]
    if given["cache_hit"]:
        details["cache_hit"] = True
    if context := context_of(given):
        details["context"] = context
    return details


def _page(event: Event, *, known: bool) -> Page:
    page = Page()
    cost = exact_money(event.cost_pico)
    page.line(
        Span(cost, "strong" if event.cost_pico is not None else "warn"),
        f"  {event.model}",
        Span(f"  {event.status}", "dim"),
    )
    if event.price_reason:
        page.line(Span(event.price_reason, "warn"), hang=2)
    if known:
        page.line("known already: this response was recorded before, and counts once")
    page.line(Span(f"farthing explain {event.id}", "accent"))
    return page
