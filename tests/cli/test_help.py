"""Every command says what it does, and the manual knows every command."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from farthing.cli.app import COMMANDS, farthing

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(names, command) of a command and all below it."""
    yield names, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, *names, name)


ALL = list(commands(farthing))


@pytest.mark.parametrize(
    ("names", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_has_help(names: tuple[str, ...], command: click.Command) -> None:
    """Nothing has to be guessed: each command and each option explains itself."""
    assert command.help and command.help.strip(), names
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.help.endswith("."), f"{names}: {parameter.opts}"


def test_the_manual_documents_every_command_and_option() -> None:
    """docs/cli.md has a heading for each command, and below it each of its options."""
    sections = re.split(r"^#+ `farthing", (DOCS / "cli.md").read_text(), flags=re.MULTILINE)
    by_name = {section.split("`", 1)[0].strip(): section for section in sections[1:]}
    shared = {"--json", "--ledger", "--help", "--version"}
    for names, command in ALL:
        name = " ".join(names)
        if isinstance(command, click.Group) and name != "":
            continue
        assert name in by_name, f"docs/cli.md does not document `farthing {name}`"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not shared & set(parameter.opts):
                assert parameter.opts[0] in by_name[name], f"docs/cli.md: `farthing {name}` lacks {parameter.opts[0]}"


def test_the_list_of_commands_says_what_they_say_themselves() -> None:
    """The words that are listed without loading a command are the first of the command's own help."""
    for name, (_, words) in COMMANDS.items():
        command = farthing.get_command(click.Context(farthing), name)
        assert command is not None and command.help is not None
        assert command.help.strip().startswith(words), name


def test_asking_for_help_loads_nothing_slow() -> None:
    """`farthing --help` loads no price data, no database and nothing that draws."""
    code = (
        "import sys; from farthing.cli.app import farthing; farthing(['--help'], standalone_mode=False); "
        "print(*{name.split('.')[0] for name in sys.modules} & {'rich', 'genai_prices', 'apsw', 'platformdirs'})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "", out


def test_python_m_farthing_is_the_command_line() -> None:
    """Where several Pythons are at hand, the one that is typed is the one that answers."""
    ran = subprocess.run([sys.executable, "-m", "farthing", "--help"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Usage: farthing ")
