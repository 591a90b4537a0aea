"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Recorded data and expected costs, beside the project or where FARTHING_SHARED says; else skip, loudly."""
    folder = Path(os.environ.get("FARTHING_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "golden" / "prices.json").is_file():
        pytest.skip(f"RECORDED DATA MISSING at {folder}: set FARTHING_SHARED to run the tests against real responses")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has folders of its own for data and settings: none reads or writes the user's."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("FARTHING_") and name != "FARTHING_SHARED"]:
        monkeypatch.delenv(name)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(home))
    return home
