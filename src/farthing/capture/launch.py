"""Starting a program so that it is metered without a change to its code.

The launched program finds `site/sitecustomize.py` on its PYTHONPATH. What is to be metered how goes along in the
environment, so that the processes it starts are metered in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from farthing.capture.faults import guarded
from farthing.capture.transport import instrument

SITE = Path(__file__).with_name("site")
INCLUDE_USAGE = "FARTHING_INCLUDE_USAGE"


def start() -> None:
    """Meter this process as the environment says. A fault is told once; the program goes on."""
    guarded("starting to meter", instrument, include_usage=True if os.environ.get(INCLUDE_USAGE) == "1" else None)


def environment(
    environ: Mapping[str, str], *, ledger: str, attributes: Mapping[str, str], include_usage: bool
) -> dict[str, str]:
    """The environment of a program that is to be metered: `environ`, and what makes Python start us in it."""
    env = dict(environ)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SITE), environ.get("PYTHONPATH"))))
    env["FARTHING_URL"] = ledger
    said = [f"{name}={quote(value, safe=' /:')}" for name, value in attributes.items()]
    if said:
        env["FARTHING_ATTRIBUTES"] = ",".join(filter(None, (environ.get("FARTHING_ATTRIBUTES"), *said)))
    if include_usage:
        env[INCLUDE_USAGE] = "1"
    return env
