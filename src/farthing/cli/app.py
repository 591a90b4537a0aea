"""The program: its commands by name, each loaded when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from farthing.cli.frame import App, Guarded, shared_options, short_helps

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "report": ("farthing.cli.report:report", "What was spent, by agent, model, user, day, ..."),
        "top": ("farthing.cli.top:top", "Who spends how fast, live."),
        "forecast": ("farthing.cli.forecast:forecast", "What this month, and every budget, will come to."),
        "why": ("farthing.cli.why:why", "Why one period cost more or less than another."),
        "whatif": ("farthing.cli.whatif:whatif", "What real usage would cost at other prices."),
        "chargeback": ("farthing.cli.chargeback:chargeback", "Statements for teams, which add up to the total."),
        "reconcile": ("farthing.cli.reconcile:reconcile", "Compare a provider's bill with the ledger."),
        "explain": ("farthing.cli.evidence:explain", "Why an event costs what it costs, line by line."),
        "verify": ("farthing.cli.evidence:verify", "Recompute every cost from its kept price record."),
        "budgets": ("farthing.cli.budgets:budgets", "Budgets: limits, what is spent and held, where each is heading."),
        "approvals": ("farthing.cli.approvals:approvals", "Approvals: calls that somebody may allow over a budget."),
        "agents": ("farthing.cli.agents:agents", "Agents: what they cost, which are paused or critical."),
        "tasks": (
            "farthing.cli.tasks:tasks",
            "Tasks: what a completed one costs, by type; stop one.",
        ),
        "record": ("farthing.cli.record:record", "Record one call."),
        "run": ("farthing.cli.run:run", "Meter a program without a change to its code."),
        "doctor": ("farthing.cli.doctor:doctor", "What is metered and what is not, and what to do."),
        "import": ("farthing.cli.imports:import_", "Read recorded responses, event lines or CSV."),
        "export": ("farthing.cli.export:export", "Write events as lines that can be imported."),
        "sql": ("farthing.cli.sql:sql", "Ask the ledger in SQL."),
        "compact": ("farthing.cli.upkeep:compact", "Seal older events into Parquet files now."),
        "forget": ("farthing.cli.upkeep:forget", "Remove a person's name from the ledger; sums stay."),
        "expire": ("farthing.cli.upkeep:expire", "Remove events older than a moment, for good."),
        "backup": ("farthing.cli.upkeep:backup", "Copy the ledger as it is now into a new folder."),
        "restore": ("farthing.cli.upkeep:restore", "Make the ledger from a backup."),
        "price": ("farthing.cli.price:price", "What a call costs, or would cost with other models."),
        "prices": ("farthing.cli.prices:prices", "The price list: look up, add your own, update."),
        "reprice": ("farthing.cli.reprice:reprice", "Price recorded calls anew by the prices now known."),
        "close": ("farthing.cli.reprice:close", "Close a month: its reported figures stay."),
        "sample": ("farthing.cli.sample:sample", "Make up event lines to try things with."),
    }
)
"""name -> (where it is, what it does). A test holds the words to the commands' own."""


class Lazy(Guarded):
    """The group of all commands; a command's file is imported when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(short_helps(COMMANDS))


@click.group(
    cls=Lazy,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@shared_options
@click.version_option(
    None, "--version", package_name="farthing", message="farthing %(version)s", help="Print the version."
)
@click.pass_context
def farthing(ctx: click.Context) -> None:
    """Every token accounted for.

    Without a command: how much was spent, where, within which budget, and what is trending.
    """
    ctx.ensure_object(App)
    if ctx.invoked_subcommand is None:
        show = importlib.import_module("farthing.cli.overview").show
        show(ctx.obj)
