"""The command line. Each command group is a file, loaded when it is called, so that `farthing --help` is quick."""

from __future__ import annotations

import logging

from farthing.cli.app import farthing


def main() -> None:
    """Run the command line on `sys.argv` and exit: 0 done, 1 failed or bad lines, 2 used wrongly."""
    # Commands say themselves what has no price; what the library logs as an error is shown, in one line.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    farthing(prog_name="farthing")
