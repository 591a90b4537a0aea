"""What every command shares: where its ledger is, how it prints, how it fails."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from farthing.cli.times import FORMS, moment
from farthing.config import Settings, default_ledger_url, load_settings
from farthing.errors import FarthingError, InputError
from farthing.event import to_us
from farthing.ledger.open import is_there, open_ledger, place_of
from farthing.ledger.store import KEY_FIELD, STATUS_FIELDS, TEXT_FIELDS, Durability, Filter, Store
from farthing.reports import render
from farthing.reports.blocks import Page, Span
from farthing.reports.plain import plain

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class App:
    """The state of one invocation. `ledger` and `as_json` may be given before or after the command's name."""

    ledger: str | None = None
    as_json: bool = False
    kept_settings: Settings | None = None
    made: str | None = None  # the file of a ledger that this invocation has made

    @property
    def settings(self) -> Settings:
        """The settings, read once."""
        if self.kept_settings is None:
            self.kept_settings = load_settings()
        return self.kept_settings

    @property
    def url(self) -> str:
        """The ledger of this invocation."""
        return self.ledger or default_ledger_url(self.settings)

    @contextmanager
    def store(self, durability: Durability = "commit", *, may_be_new: bool = False) -> Iterator[Store]:
        """The ledger, open; closed at the end. One named that is not there: InputError, unless it may be new."""
        if self.ledger is not None and not may_be_new and not is_there(self.ledger):
            raise InputError(
                f"there is no ledger at {self.ledger}: check the path; record, import and budgets set make new ones"
            )
        is_new = not is_there(self.url)
        with open_ledger(self.url, durability=durability) as store:
            self.made = place_of(self.url) if is_new else None
            yield store

    def answer(self, page: Page, values: Any) -> None:
        """`show` what was kept, and whether the ledger that keeps it is new: it may have been mistyped."""
        if self.made is not None:
            page.line(Span("in a new ledger: ", "warn"), self.made, hang=2)
        self.show(page, values)

    def show(self, page: Page, values: Any) -> None:
        """Print the page, or with --json the values."""
        if self.as_json:
            click.echo(json.dumps(values, indent=2, ensure_ascii=False, default=str))
        elif sys.stdout.isatty():
            render.draw(page, render.terminal(sys.stdout))
        else:
            click.echo(plain(page), nl=False)


pass_app = click.make_pass_decorator(App, ensure=True)


def _set_ledger(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(App).ledger = value


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).as_json = True


def shared_options(function: Decorated) -> Decorated:
    """--ledger and --json, the same on the program and on every command."""
    for option in (
        click.option("--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON."),
        click.option(
            "--ledger",
            metavar="URL",
            expose_value=False,
            callback=_set_ledger,
            help="The ledger: a path or URL. Default: FARTHING_URL, farthing.toml, else the user's data folder.",
        ),
    ):
        function = option(function)
    return function


def now() -> datetime:
    """The present moment, aware UTC."""
    return datetime.now(UTC)


class Moment(click.ParamType[datetime]):
    """A moment on the command line."""

    name = "when"

    def __init__(self, *, end_of_day: bool = False) -> None:
        self.end_of_day = end_of_day

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(value, now(), end_of_day=self.end_of_day)
        except InputError as error:
            self.fail(str(error), param, ctx)


FILTER_KEYS = tuple(dict.fromkeys((*TEXT_FIELDS, KEY_FIELD, *STATUS_FIELDS)))


def filter_options(function: Decorated) -> Decorated:
    """--since, --until and --where: which events count."""
    for option in (
        click.option(
            "--where",
            multiple=True,
            metavar="KEY=VALUE",
            help="Only events with this value: agent=researcher, metadata.region=eu; `user=` means: none. Repeatable.",
        ),
        click.option(
            "--until", type=Moment(end_of_day=True), help="Only events before this; a date counts to its end."
        ),
        click.option("--since", type=Moment(), help=f"Only events from this moment on: {FORMS} (UTC)."),
    ):
        function = option(function)
    return function


def as_filter(since: datetime | None, until: datetime | None, where: tuple[str, ...]) -> Filter:
    """The filter that the options mean."""
    pairs = key_values(where, "--where")
    for key in pairs:
        if key not in FILTER_KEYS and not key.startswith("metadata."):
            raise click.BadParameter(f"unknown key {key!r}; known: {', '.join(FILTER_KEYS)}, metadata.<key>")
    org = pairs.pop("org", None)
    return Filter(
        since_us=None if since is None else to_us(since),
        until_us=None if until is None else to_us(until),
        org=org or None,
        equals={key: value or None for key, value in pairs.items()},
    )


def key_values(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """`("a=1", "b=")` as {"a": "1", "b": ""}."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=option)
        if key.strip() in found:
            raise click.BadParameter(f"{key.strip()!r} is given twice", param_hint=option)
        found[key.strip()] = value
    return found


class Guarded(click.Group):
    """A group whose errors are one clear line: exit code 1 for what failed, 2 for wrong use."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; our errors and those of files become messages without a traceback."""
        try:
            return super().invoke(ctx)
        except FarthingError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output left: nothing to say
                raise
            raise click.ClickException(_os_words(error)) from error


def _os_words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def short_helps(commands: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """(name, what it does) for the list of commands."""
    return [(name, words) for name, (_, words) in commands.items()]
