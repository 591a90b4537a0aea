"""Started by Python itself in programs that `farthing run` launches: meters them as soon as they load an HTTP client.

It stands in a folder of its own, which `farthing run` puts on PYTHONPATH. Of farthing nothing is loaded before that,
so that the program's other processes start as fast as ever. A `sitecustomize` that was there before runs as well.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys

CLIENTS = frozenset({"httpx", "httpx2", "urllib3", "aiohttp"})


class _FirstClient:
    """A finder that finds nothing: at the first import of a client it starts the metering, and is gone."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """None for everything else; for a client what the other finders say, our new one among them."""
        if name not in CLIENTS:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            launch = importlib.import_module("farthing.capture.launch")
        except ImportError as error:
            print(f"farthing: not metering: {sys.executable} cannot load farthing ({error})", file=sys.stderr)
        else:
            launch.start()
        return importlib.util.find_spec(name)


def _others() -> None:
    """Run the `sitecustomize` that ours hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    places = [place for place in sys.path if os.path.abspath(place) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _FirstClient())
_others()
