"""Hooks on libraries that are loaded later, and putting everything back."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from farthing.capture.faults import FAULTS
from farthing.capture.transport.patches import Patches, WhenLoaded


class Client:
    """Somebody's client."""

    def send(self, word: str) -> str:
        """Says it."""
        return word


def _louder(original: Any) -> Any:
    return lambda self, word: original(self, word.upper())


def test_wrapping_and_undoing() -> None:
    """A method is wrapped once, looks like itself, and is afterwards the very function it was."""
    before = vars(Client)["send"]
    patches = Patches()
    patches.wrap(Client, "send", _louder)
    patches.wrap(Client, "send", _louder)
    Patches().wrap(Client, "send", _louder)
    assert Client().send("a") == "A"
    assert Client.send.__name__ == "send" and Client.send.__doc__ == "Says it."
    patches.undo()
    assert vars(Client)["send"] is before


def test_what_is_not_there_is_not_wrapped() -> None:
    """A library of another version lacks a method: it is left alone."""
    Patches().wrap(Client, "receive", _louder)
    assert not hasattr(Client, "receive")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A library that is not loaded yet."""
    (tmp_path / "somebodys_client.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "somebodys_client", raising=False)
    return "somebodys_client"


def test_a_library_is_hooked_when_it_is_loaded(library: str) -> None:
    """Not before, and after all of it is there."""
    seen: list[tuple[str, bool]] = []

    def hook(module: ModuleType) -> None:
        seen.append((module.__name__, module.loaded))

    waiting = WhenLoaded({library: hook, "no_such_library_at_all": hook})
    waiting.start()
    try:
        assert seen == []
        module = importlib.import_module(library)
        assert seen == [(library, True)]
        assert module.__spec__ is not None and type(module.__spec__.loader).__name__ == "SourceFileLoader"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_library_at_all")
    finally:
        waiting.stop()
        del sys.modules[library]
    importlib.import_module(library)
    assert len(seen) == 1
    del sys.modules[library]


def test_a_library_that_is_there_is_hooked_at_once(library: str) -> None:
    """Loaded before us is no difference."""
    importlib.import_module(library)
    seen: list[ModuleType] = []
    waiting = WhenLoaded({library: seen.append})
    waiting.start()
    waiting.stop()
    assert seen == [sys.modules[library]]
    del sys.modules[library]


def test_a_library_that_another_thread_is_loading_is_waited_for(library: str, tmp_path: Path) -> None:
    """Half of it is no library: it is hooked when all of it is there."""
    begun, go = threading.Event(), threading.Event()
    text = "import sys\nbegun, go = sys.modules['gates'].events\nbegun.set()\ngo.wait(20)\nloaded = True\n"
    (tmp_path / f"{library}.py").write_text(text)
    gates = ModuleType("gates")
    vars(gates)["events"] = (begun, go)
    sys.modules["gates"] = gates
    seen: list[bool] = []
    waiting = WhenLoaded({library: lambda module: seen.append(hasattr(module, "loaded"))})
    loading = threading.Thread(target=importlib.import_module, args=(library,))
    starting = threading.Thread(target=waiting.start)
    try:
        loading.start()
        begun.wait(20)
        starting.start()
        starting.join(0.05)
    finally:
        go.set()
        loading.join()
        starting.join()
        waiting.stop()
        del sys.modules[library], sys.modules["gates"]
    assert seen == [True]


@pytest.mark.filterwarnings("ignore")
def test_a_hook_that_fails_leaves_the_import_alone(library: str) -> None:
    """The library is there for its user; the fault is counted."""

    def broken(_: ModuleType) -> None:
        raise RuntimeError("injected")

    before = FAULTS.total
    waiting = WhenLoaded({library: broken})
    waiting.start()
    try:
        assert importlib.import_module(library).loaded
    finally:
        waiting.stop()
        del sys.modules[library]
    assert FAULTS.total == before + 1


def test_an_alias_is_not_hooked_twice() -> None:
    """`httpx2.alias_httpx` makes `httpx` another name of `httpx2`: one wrapper, in a process of its own."""
    pytest.importorskip("httpx2", reason="CLIENT MISSING: httpx2")
    code = (
        "import farthing, httpx2\n"
        "before = vars(httpx2.Client)['send']\n"
        "farthing.instrument(farthing.CostTracker(':memory:'))\n"
        "httpx2.alias_httpx()\n"
        "import httpx\n"
        "assert httpx.Client is httpx2.Client\n"
        "assert vars(httpx.Client)['send'].__farthing_original__ is before\n"
        "farthing.instrument(farthing.CostTracker(':memory:'))\n"
        "farthing.uninstrument()\n"
        "assert vars(httpx.Client)['send'] is before\n"
        "print('once')\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "once\n", done.stderr
