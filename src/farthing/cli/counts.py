"""Counts and request context as options: the same for `record` and `price`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from farthing.cli.frame import key_values
from farthing.errors import UsageError
from farthing.usage import Usage

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_COUNTS = (
    ("--input", "input_tokens", "Input tokens, cached ones included."),
    ("--output", "output_tokens", "Output tokens, reasoning included."),
    ("--cached", "cache_read_tokens", "Input tokens read from the provider's cache."),
    ("--cache-write", "cache_write_tokens", "Input tokens written to the provider's cache."),
    ("--reasoning", "output_reasoning_tokens", "Output tokens of reasoning."),
)


def usage_options(function: Decorated) -> Decorated:
    """--input, --output, ... and --usage UNIT=N for every other unit."""
    function = click.option(
        "--usage", "units", multiple=True, metavar="UNIT=N",
        help="Any other unit, e.g. web_searches=3, audio_seconds=61.5, cache_write_1h_tokens=900. Repeatable.",
    )(function)  # fmt: skip
    for option, name, words in reversed(_COUNTS):
        function = click.option(option, name, type=click.IntRange(0), metavar="N", help=words)(function)
    return function


def usage_of_options(given: dict[str, Any]) -> Usage | None:
    """The counts that were given; None where none was. Impossible ones: a usage error that names the rule."""
    units: dict[str, Any] = {name: given[name] for _, name, _ in _COUNTS if given[name] is not None}
    for name, text in key_values(given["units"], "--usage").items():
        if name in units:
            option = next(option for option, unit, _ in _COUNTS if unit == name)
            raise click.BadParameter(f"{name}={text}: {option} gives {units[name]}", param_hint="--usage")
        units[name] = text
    try:
        return Usage(**units) if units else None
    except UsageError as error:
        raise click.UsageError(str(error)) from error


def context_options(function: Decorated) -> Decorated:
    """--tier and --context: what of the request changes its price."""
    for option in (
        click.option(
            "--context", "context", multiple=True, metavar="KEY=VALUE",
            help="Request context as served, e.g. service_tier=flex, processing=batch, region=eu. Repeatable.",
        ),
        click.option("--tier", help="batch, flex, priority, ...: the tier that served it."),
    ):  # fmt: skip
        function = option(function)
    return function


def context_of(given: dict[str, Any]) -> dict[str, str]:
    """The request context that the options mean."""
    context = key_values(given["context"], "--context")
    tier = given["tier"]
    if tier is not None:
        context["processing" if tier.lower() == "batch" else "service_tier"] = tier
    return context
