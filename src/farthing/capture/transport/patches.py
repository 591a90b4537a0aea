"""Changing a method of somebody else's class, and changing it back exactly; for libraries loaded later, when they are.

A library that is not loaded yet is not loaded for our sake: a finder waits for its import and hooks it right after.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from farthing.capture.faults import guarded

MARK = "__farthing_original__"
"""The attribute of our wrappers that holds what they wrap."""

Wrapper = Callable[..., Any]
Hook = Callable[[ModuleType], None]


class Patches:
    """The methods that are changed now. `undo` puts every one back that nobody else has changed on top."""

    def __init__(self) -> None:
        self._done: list[tuple[type, str, Wrapper, Wrapper]] = []
        self.modules: dict[str, str] = {}

    def wrap(self, owner: type, name: str, make: Callable[[Wrapper], Wrapper]) -> None:
        """Replace `owner.name` by `make(original)`; nothing where it is ours already, by whatever name it was found."""
        original = vars(owner).get(name)
        if original is None or getattr(original, MARK, None) is not None:
            return
        ours = functools.wraps(original)(make(original))
        setattr(ours, MARK, original)
        setattr(owner, name, ours)
        self._done.append((owner, name, original, ours))

    def undo(self) -> None:
        """Everything as it was. A wrapper that somebody has wrapped again stays, and passes calls on."""
        for owner, name, original, ours in reversed(self._done):
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
        self._done.clear()
        self.modules.clear()


class WhenLoaded:
    """A finder that finds nothing itself: it runs a hook on a module right after that was loaded."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks
        self._looking = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders give, whose loader tells us; None for all modules without a hook."""
        hook = self._hooks.get(name)
        if hook is None or getattr(self._looking, "name", None) == name:
            return None
        self._looking.name = name
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # the import itself will say so
            return None
        finally:
            self._looking.name = None
        if spec is not None and spec.loader is not None:
            guarded(f"waiting for {name}", _tell, spec.loader, hook)
        return spec

    def start(self) -> None:
        """Hook what is loaded, and wait for the rest."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, hook in self._hooks.items():
            if sys.modules.get(name) is not None:
                guarded(f"hooking {name}", _hook_loaded, name, hook)

    def stop(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def _hook_loaded(name: str, hook: Hook) -> None:
    hook(importlib.import_module(name))  # waits for its end where another thread is loading it at this moment


def _tell(loader: Any, hook: Hook) -> None:
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        guarded(f"hooking {module.__name__}", hook, module)

    loader.exec_module = exec_module
