"""Settings: where they come from, which wins, what is refused and how the refusal reads."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from farthing.config import (
    data_dir,
    default_ledger_url,
    load_settings,
    parse_attributes,
    user_hash_key,
)
from farthing.errors import ConfigError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The user's config folder."""
    folder = tmp_path / "config"
    folder.mkdir()
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    return folder


def settings(own: Path, here: Path, **env: str):
    return load_settings({"FARTHING_CONFIG_DIR": str(own), "FARTHING_DATA_DIR": str(own / "data"), **env}, here)


def write(folder: Path, text: str) -> Path:
    path = folder / "farthing.toml"
    path.write_text(text)
    return path


def test_without_any_setting_there_are_defaults(own: Path, here: Path) -> None:
    """Nothing configured: the ledger lies in the data folder, and nothing was created."""
    found = settings(own, here)
    assert default_ledger_url(found) == str(own / "data" / "ledger.db")
    assert found.durability == "commit" and found.log_calls and not found.hash_users and not found.files
    assert found.attributes.to_dict() == {"org": "default"}
    assert not (own / "data").exists()


def test_folders_follow_the_platform(own_home: Path) -> None:
    """Without FARTHING_DATA_DIR the data lies under the user's data folder."""
    assert data_dir().name == "farthing" and data_dir().is_relative_to(own_home)


def test_the_users_file_sets_everything(own: Path, here: Path) -> None:
    """Every key of the user's own file arrives, numbers exact."""
    path = write(
        own,
        """
        ledger = "sqlite:////var/lib/usage.db"
        durability = "full"
        log_calls = false
        hash_users = true
        price_overlays = ["example-2026"]
        [attributes]
        agent = "researcher"
        metadata.ticket = "ABC-1"
        [[models]]
        model = "my-model"
        input_price_per_million = 1.10
        output_price_per_million = 5
        valid_from = 2026-01-01
        [[discounts]]
        provider = "anthropic"
        percent = 12.5
        from = "2026-01-01"
        """,
    )
    found = settings(own, here)
    assert found.files == (path,)
    assert found.ledger == "sqlite:////var/lib/usage.db" and found.durability == "full"
    assert not found.log_calls and found.hash_users and found.price_overlays == ("example-2026",)
    assert found.attributes.agent == "researcher" and found.attributes.metadata == {"ticket": "ABC-1"}
    (model,) = found.models
    assert model["input_price_per_million"] == Decimal("1.10")
    assert model["valid_from"] == datetime(2026, 1, 1, tzinfo=UTC)
    (discount,) = found.discounts
    assert discount == {"provider": "anthropic", "percent": Decimal("12.5"), "from": "2026-01-01T00:00:00+00:00"}


def test_a_relative_ledger_of_the_users_file_counts_from_that_file(own: Path, here: Path) -> None:
    """The user's own file may say a relative path; it does not move with the working directory."""
    write(own, 'ledger = "usage.db"')
    assert settings(own, here).ledger == str(own / "usage.db")


def test_the_working_directory_comes_over_the_users_file_and_the_environment_over_both(own: Path, here: Path) -> None:
    """Later settings win; attributes are merged field by field, metadata key by key."""
    write(own, 'ledger = "a.db"\n[attributes]\nteam = "search"\nagent = "a"\nmetadata.x = "1"\nmetadata.y = "1"')
    write(here, 'ledger = "sub/b.db"\n[attributes]\nagent = "b"\nmetadata.y = "2"')
    found = settings(own, here)
    assert found.ledger == str(here / "sub" / "b.db")
    assert found.attributes.to_dict() == {
        "org": "default",
        "team": "search",
        "agent": "b",
        "metadata": {"x": "1", "y": "2"},
    }
    found = settings(own, here, FARTHING_URL="/else/c.db", FARTHING_ATTRIBUTES="agent=c,metadata.z=3")
    assert found.ledger == "/else/c.db" and found.attributes.agent == "c" and found.attributes.team == "search"
    assert found.attributes.metadata == {"x": "1", "y": "2", "z": "3"}
    assert found.files == (own / "farthing.toml", here / "farthing.toml")


@pytest.mark.parametrize(
    "ledger",
    [
        "/tmp/elsewhere.db",
        "../outside.db",
        "sub/../../outside.db",
        "sqlite:///usage.db",
        "https://example.org/ledger",
        "postgresql://host/db",
        ":memory:",
        "~/usage.db",
        ".",
        "C:\\\\usage.db",
    ],
)
def test_a_working_directory_cannot_send_the_ledger_elsewhere(own: Path, here: Path, ledger: str) -> None:
    """A stranger's checkout may name a relative path inside itself, nothing else; the refusal says what to do."""
    path = write(here, f'ledger = "{ledger}"')
    with pytest.raises(ConfigError) as refused:
        settings(own, here)
    text = str(refused.value)
    assert str(path) in text and "ledger" in text and "FARTHING_URL" in text and "relative path" in text


def test_a_link_out_of_the_working_directory_is_refused(own: Path, here: Path, tmp_path: Path) -> None:
    """A symbolic link inside the checkout does not lead the ledger out of it."""
    (here / "data").symlink_to(tmp_path)
    write(here, 'ledger = "data/usage.db"')
    with pytest.raises(ConfigError, match="relative path inside"):
        settings(own, here)


def test_a_working_directory_can_switch_hashing_on_not_off(own: Path, here: Path) -> None:
    """What the user decided about personal data, a checkout cannot undo; the environment can."""
    write(own, "hash_users = true")
    write(here, "hash_users = false")
    assert settings(own, here).hash_users
    assert not settings(own, here, FARTHING_HASH_USERS="0").hash_users
    write(own, "")
    write(here, "hash_users = true")
    assert settings(own, here).hash_users


def test_a_named_config_file_replaces_the_users(own: Path, here: Path, tmp_path: Path) -> None:
    """FARTHING_CONFIG names a file that is trusted like the user's own; one that is not there is an error."""
    write(own, 'durability = "full"')
    named = tmp_path / "other.toml"
    named.write_text('ledger = "/srv/usage.db"')
    found = settings(own, here, FARTHING_CONFIG=str(named))
    assert (found.ledger, found.durability) == ("/srv/usage.db", "commit")
    with pytest.raises(ConfigError, match=r"FARTHING_CONFIG = .*no such file"):
        settings(own, here, FARTHING_CONFIG=str(tmp_path / "none.toml"))


def test_the_named_config_file_may_be_that_of_the_working_directory(own: Path, here: Path) -> None:
    """Who names the working directory's file in the environment trusts it; it is read once."""
    path = write(here, 'ledger = "/srv/usage.db"')
    found = settings(own, here, FARTHING_CONFIG=str(path))
    assert found.ledger == "/srv/usage.db" and found.files == (path,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ledgr = 'x.db'", "unknown key 'ledgr' (= 'x.db'); did you mean 'ledger'?"),
        ("command = 'rm'", "unknown key 'command' (= 'rm'); known: ledger,"),
        ("durability = 'ful'", "durability = 'ful': must be one of commit, full, queued"),
        ("log_calls = 'yes'", "log_calls = 'yes': must be true or false"),
        ("[attributes]\nagnt = 'x'", "unknown key 'attributes.agnt' (= 'x'); did you mean 'agent'?"),
        ("[attributes]\nagent = 3", "attributes.agent = 3: must be text in quotes"),
        ("[[models]]\nprovider = 'x'", "needs a `model`"),
        ("[[models]]\nmodel = 'm'\ninput_price = -1", "models[0].input_price = -1: must not be negative"),
        ("[[models]]\nmodel = 'm'\ninput_price = 'x'", "models[0].input_price = 'x': must be of type int or decimal"),
        ("[[models]]\nmodel = 'm'\nprise = 1", "unknown key 'models[0].prise' (= 1); did you mean"),
        ("[[discounts]]\npercent = 10\nfrom = 'soon'", "discounts[0].from = 'soon': must be a date, as 2026-01-01"),
        ("[[discounts]]\npercent = 120", "discounts[0].percent = 120: must be between 0 and 100"),
        ("[[discounts]]\nprovider = 'x'", "needs either percent (10 = taken off) or factor (0.9)"),
        ("models = 3", "models = 3: must be a list of tables: [[models]]"),
        ("price_overlays = ['../x']", "price_overlays = ['../x']: must be a list of names"),
        ("ledger = [", "cannot be read as TOML"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_in_words(own: Path, here: Path, text: str, message: str) -> None:
    """The error names the file, the key, the value and what would be right."""
    path = write(own, text)
    with pytest.raises(ConfigError) as refused:
        settings(own, here)
    assert str(refused.value).startswith(str(path)) and message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FARTHING_DURABILITY", "never", "FARTHING_DURABILITY = 'never': must be one of"),
        ("FARTHING_LOG_CALLS", "perhaps", "FARTHING_LOG_CALLS = 'perhaps': must be 1 or 0"),
        ("FARTHING_ATTRIBUTES", "agent", "'agent' is not name=value"),
        ("FARTHING_ATTRIBUTES", "usr=x", "unknown attribute 'usr' in 'usr=x'; did you mean 'user'?"),
    ],
)
def test_the_environment_is_checked_too(own: Path, here: Path, name: str, value: str, message: str) -> None:
    """A wrong variable is named with its value and the remedy."""
    with pytest.raises(ConfigError) as refused:
        settings(own, here, **{name: value})
    assert message in str(refused.value)


def test_attributes_from_text() -> None:
    """Pairs with commas between; a value may hold `=`, and a comma written as %2C."""
    text = "agent=researcher, team=search,metadata.ticket=ABC-1,name=a%2Cb,prompt=p=2,"
    assert parse_attributes(text) == {
        "agent": "researcher",
        "team": "search",
        "metadata": {"ticket": "ABC-1"},
        "name": "a,b",
        "prompt": "p=2",
    }


def test_the_hash_key_is_made_once_for_the_user_alone(own: Path, here: Path) -> None:
    """The key lies outside the ledger, 0600, and stays the same."""
    found = settings(own, here)
    first = user_hash_key(found)
    path = own / "user-hash.key"
    assert len(first) == 32 and user_hash_key(found) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in own.iterdir()] == ["user-hash.key"]


def test_the_hash_key_may_come_from_the_environment(own: Path, here: Path) -> None:
    """FARTHING_HASH_KEY wins, is never written to a file, and does not show in a printed Settings."""
    found = settings(own, here, FARTHING_HASH_KEY="a secret")
    assert user_hash_key(found) == b"a secret" and not list(own.iterdir())
    assert "a secret" not in repr(found)


def test_a_damaged_hash_key_is_not_replaced(own: Path, here: Path) -> None:
    """A new key would silently part users from their history."""
    (own / "user-hash.key").write_text("not hex")
    with pytest.raises(ConfigError, match="not a key in hexadecimal"):
        user_hash_key(settings(own, here))
