"""Settings: the one reader of the environment and of farthing.toml.

Read in this order, later over earlier: the defaults; `farthing.toml` in the user's config folder (or the file that
FARTHING_CONFIG names); `farthing.toml` in the working directory; the environment.

A working directory may be a stranger's checkout: its file cannot set commands or URLs. Its `ledger` must be a relative
path inside that directory, and it can switch the hashing of users on, not off. Its budgets are not declared: they count
when somebody names the file to `farthing budgets apply`.

    ledger = "usage.db"                  # a path or URL; FARTHING_URL wins
    durability = "commit"                # commit | full | queued; FARTHING_DURABILITY
    log_calls = true                     # a log line for each call; FARTHING_LOG_CALLS
    hash_users = true                    # keyed hash before storing; FARTHING_HASH_USERS, FARTHING_HASH_KEY
    price_overlays = ["name"]            # opt-in price tables
    [capture]                            # how farthing.instrument() meters
    hosts = { "llm.internal:8000" = "openai" }   # hosts of your own, and whose API they speak
    include_usage = true                 # ask chat streams for usage they would not report; your own file only
    attribution_hosts = ["llm.internal"] # who may see x-farthing-* headers; your own file only
    [attributes]                         # defaults for every call; FARTHING_ATTRIBUTES="agent=researcher,team=search"
    agent = "researcher"
    metadata.ticket = "ABC-1"
    [[models]]                           # prices of your own: the arguments of register_model_pricing
    model = "my-model"
    input_price_per_million = 1.50
    output_price_per_million = 5.00
    [[discounts]]                        # what a contract takes off the list price
    provider = "anthropic"
    percent = 12.5
    [[budgets]]                          # budgets: the arguments of Guard.set; `farthing budgets apply` sets them
    scope = "agent=researcher"
    usd = 50
    per = "day"
    [[agents]]                           # agents that are spared when all others are paused, and who answers for them
    name = "pager"
    critical = true
    owner = "ann"
"""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path, PurePath, PureWindowsPath
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import unquote

from farthing.errors import ConfigError
from farthing.event import ATTRIBUTION_FIELDS, Attribution

FILE_NAME = "farthing.toml"
DURABILITIES = ("commit", "full", "queued")
"""`commit`: a returned record survives a killed process. `full`: a power loss too. `queued`: returns before writing."""

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is configured. Values only: nothing is opened or created by making one.

    ledger          URL or path of the ledger; None: the default place, `default_ledger_url(settings)`
    attributes      what every call is attributed to where it says nothing itself
    models          prices of the user's own, each the keyword arguments of `register_model_pricing`
    discounts       contract discounts, each {"percent" or "factor", "provider", "model", "units", "from", "to", "note"}
    price_overlays  names of opt-in price tables
    capture_hosts   hosts of the user's own -> provider, for `farthing.instrument()`
    include_usage   whether chat streams are asked for their usage
    attribution_hosts  hosts to which headers that say who a call is for are sent on
    budgets, agents  as declared in the user's own file, not yet in any ledger; see `budgets.declared`
    hash_key        the key given in the environment; None: the one kept in `config_dir`
    files           the config files that were read, in order
    """

    ledger: str | None = None
    durability: str = "commit"
    attributes: Attribution = field(default_factory=Attribution)
    models: tuple[Mapping[str, Any], ...] = ()
    discounts: tuple[Mapping[str, Any], ...] = ()
    price_overlays: tuple[str, ...] = ()
    log_calls: bool = True
    hash_users: bool = False
    capture_hosts: Mapping[str, str] = field(default_factory=dict)
    include_usage: bool = False
    attribution_hosts: tuple[str, ...] = ()
    budgets: tuple[Mapping[str, Any], ...] = ()
    agents: tuple[Mapping[str, Any], ...] = ()
    hash_key: str | None = field(default=None, repr=False)
    data_dir: Path
    config_dir: Path
    files: tuple[Path, ...] = ()

    @property
    def budgets_place(self) -> str:
        """Where `budgets` stand, for messages: the user's own file, which is read first, alone can declare any."""
        return f"{self.files[0]}: budgets" if self.budgets and self.files else "budgets"


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """The settings of this process, read anew. A setting that cannot be used: ConfigError."""
    env = os.environ if environ is None else environ
    here = Path.cwd() if cwd is None else cwd
    folder = config_dir(env)
    values: dict[str, Any] = {}
    files: list[Path] = []
    own = Path(env["FARTHING_CONFIG"]).expanduser() if env.get("FARTHING_CONFIG") else folder / FILE_NAME
    if env.get("FARTHING_CONFIG") and not own.is_file():
        raise ConfigError(f"FARTHING_CONFIG = {str(own)!r}: there is no such file; unset it or name a farthing.toml")
    for path, trusted in ((own, True), (here / FILE_NAME, False)):
        if path.is_file() and (trusted or not own.is_file() or not path.samefile(own)):
            _merge(values, _File(path, trusted).read())
            files.append(path)
    _merge(values, _from_environment(env))
    attributes = values.pop("attributes", {})
    values.update(values.pop("capture", {}))
    return Settings(
        attributes=attribution(attributes),
        data_dir=data_dir(env),
        config_dir=folder,
        hash_key=env.get("FARTHING_HASH_KEY") or None,
        files=tuple(files),
        **values,
    )


def declared_in(path: Path) -> tuple[tuple[Mapping[str, Any], ...], tuple[Mapping[str, Any], ...]]:
    """(budgets, agents) of a farthing.toml that the user names. What is wrong in it: ConfigError."""
    values = _File(path, trusted=True).read()
    return values.get("budgets", ()), values.get("agents", ())


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Later settings over earlier ones; tables are merged and lists appended."""
    for key, value in more.items():
        old = values.get(key)
        if isinstance(old, dict):
            inner = {
                k: {**old[k], **v} for k, v in value.items() if isinstance(v, dict) and isinstance(old.get(k), dict)
            }
            values[key] = {**old, **value, **inner}
        elif isinstance(old, tuple):
            values[key] = old + value
        else:
            values[key] = value


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of our data: the user's data folder, or FARTHING_DATA_DIR. It need not exist."""
    env = os.environ if environ is None else environ
    if env.get("FARTHING_DATA_DIR"):
        return Path(env["FARTHING_DATA_DIR"]).expanduser()
    import platformdirs

    return platformdirs.user_data_path("farthing", appauthor=False)


def config_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the user's farthing.toml and of the key that hashes users, or FARTHING_CONFIG_DIR."""
    env = os.environ if environ is None else environ
    if env.get("FARTHING_CONFIG_DIR"):
        return Path(env["FARTHING_CONFIG_DIR"]).expanduser()
    import platformdirs

    return platformdirs.user_config_path("farthing", appauthor=False)


def default_ledger_url(settings: Settings | None = None) -> str:
    """The ledger that is used where none is named: as configured, else `ledger.db` in the data folder."""
    found = settings or load_settings()
    return found.ledger or str(found.data_dir / "ledger.db")


def attribution(fields: Mapping[str, Any]) -> Attribution:
    """An Attribution of fields as they are written in settings (`metadata` a table). Unknown names: ConfigError."""
    given = {name: value for name, value in fields.items() if name != "metadata"}
    for name in given:
        if name not in ATTRIBUTION_FIELDS:
            raise ConfigError(f"unknown attribute {name!r}{_near(name, (*ATTRIBUTION_FIELDS, 'metadata'))}")
    return Attribution(**given, metadata=MappingProxyType(dict(fields.get("metadata") or {})))


def parse_attributes(text: str, where: str = "FARTHING_ATTRIBUTES") -> dict[str, Any]:
    """`agent=researcher,metadata.ticket=ABC-1` as a table; `%2C` stands for a comma in a value. Else ConfigError."""
    found: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not equals or not value:
            raise ConfigError(f"{where}: {pair!r} is not name=value; write it as agent=researcher,team=search")
        if name.startswith("metadata."):
            found.setdefault("metadata", {})[name.removeprefix("metadata.")] = value
        elif name in ATTRIBUTION_FIELDS:
            found[name] = value
        else:
            names = (*ATTRIBUTION_FIELDS, "metadata.<key>")
            raise ConfigError(f"{where}: unknown attribute {name!r} in {pair!r}{_near(name, names)}")
    return found


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if env.get("FARTHING_URL"):
        values["ledger"] = env["FARTHING_URL"]
    if durability := env.get("FARTHING_DURABILITY"):
        if durability not in DURABILITIES:
            raise ConfigError(f"FARTHING_DURABILITY = {durability!r}: must be one of {', '.join(DURABILITIES)}")
        values["durability"] = durability
    for key in ("log_calls", "hash_users"):
        name = f"FARTHING_{key.upper()}"
        if name in env:
            text = env[name].strip().lower()
            if text not in _YES + _NO:
                raise ConfigError(f"{name} = {env[name]!r}: must be 1 or 0")
            values[key] = text in _YES
    if env.get("FARTHING_ATTRIBUTES"):
        values["attributes"] = parse_attributes(env["FARTHING_ATTRIBUTES"])
    return values


def _near(name: str, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


_MODEL_NUMBERS = (
    "input_price_per_million",
    "output_price_per_million",
    "cached_input_price_per_million",
    "cache_write_price_per_million",
    "input_price",
    "output_price",
    "total_price",
)
_MODEL_KEYS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "provider", "match_pattern", "unit"), (str,)),
    **dict.fromkeys(_MODEL_NUMBERS, (int, Decimal)),
    **dict.fromkeys(("valid_from", "valid_to"), (datetime, date)),
    "rates": (dict,),
}
_DISCOUNT_KEYS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("provider", "model", "note"), (str,)),
    **dict.fromkeys(("percent", "factor"), (int, Decimal)),
    **dict.fromkeys(("from", "to"), (datetime, date)),
    "units": (list,),
}

_BUDGET_KEYS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "org", "per", "tz", "mode", "on_exceed", "on_unpriced", "owner"), (str,)),
    **dict.fromkeys(("tokens", "calls"), (int,)),
    **dict.fromkeys(("thresholds", "models"), (list,)),
    "scope": (str, dict),
    "usd": (int, Decimal),
    "critical": (bool,),
}
_AGENT_KEYS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "org", "owner"), (str,)),
    "critical": (bool,),
}


class _File:
    """One farthing.toml, checked key by key. `trusted` is the user's own; a working directory's file is not."""

    def __init__(self, path: Path, trusted: bool) -> None:
        self.path, self.trusted = path, trusted

    def read(self) -> dict[str, Any]:
        """Its settings by their names in `Settings`."""
        try:
            with self.path.open("rb") as file:
                table = tomllib.load(file, parse_float=Decimal)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{self.path}: cannot be read as TOML: {error}") from error
        readers: dict[str, Callable[[str, Any], Any]] = {
            "ledger": self._ledger,
            "durability": self._durability,
            "log_calls": self._flag,
            "hash_users": self._hash_users,
            "price_overlays": self._names,
            "attributes": self._attributes,
            "capture": self._capture,
            "models": self._models,
            "discounts": self._discounts,
            "budgets": self._budgets,
            "agents": self._agents,
        }
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in readers:
                raise ConfigError(f"{self.path}: unknown key {key!r} (= {value!r}){_near(key, tuple(readers))}")
            if (read := readers[key](key, value)) is not None:
                values[key] = read
        return values

    def _refuse(self, key: str, value: Any, rule: str) -> NoReturn:
        raise ConfigError(f"{self.path}: {key} = {value!r}: {rule}")

    def _ledger(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self._refuse(key, value, "must be a path or URL in quotes")
        if self.trusted:
            return str(self._beside(value))
        remedy = f"in a working directory's {FILE_NAME} it must be a relative path inside that directory, because the "
        remedy += "directory may be a stranger's; set FARTHING_URL, or `ledger` in your own config file"
        strange = ":" in value or value.startswith("~") or PureWindowsPath(value).drive or "\\" in value
        if strange or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
            self._refuse(key, value, remedy)
        folder = self.path.parent.resolve()
        target = (folder / value).resolve()
        if target == folder or not target.is_relative_to(folder):
            self._refuse(key, value, remedy)
        return str(target)

    def _beside(self, value: str) -> str | Path:
        """A relative path in the user's own file counts from that file's folder."""
        if ":" in value or PurePath(value).is_absolute():
            return value
        return Path(value).expanduser() if value.startswith("~") else self.path.parent.resolve() / value

    def _durability(self, key: str, value: Any) -> str:
        if value not in DURABILITIES:
            self._refuse(key, value, f"must be one of {', '.join(DURABILITIES)}")
        return str(value)

    def _flag(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            self._refuse(key, value, "must be true or false")
        return value

    def _hash_users(self, key: str, value: Any) -> bool | None:
        wanted = self._flag(key, value)
        return True if wanted else (False if self.trusted else None)

    def _names(self, key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(v, str) and v.replace("-", "").isalnum() for v in value):
            self._refuse(key, value, 'must be a list of names of price tables, e.g. ["name"]')
        return tuple(value)

    def _attributes(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse(key, value, "must be a table: [attributes]")
        for name, given in value.items():
            if name == "metadata":
                if not isinstance(given, dict):
                    self._refuse("attributes.metadata", given, "must be a table")
            elif name not in ATTRIBUTION_FIELDS:
                near = _near(name, (*ATTRIBUTION_FIELDS, "metadata"))
                raise ConfigError(f"{self.path}: unknown key 'attributes.{name}' (= {given!r}){near}")
            elif not isinstance(given, str) or not given:
                self._refuse(f"attributes.{name}", given, "must be text in quotes, not empty")
        return dict(value)

    def _capture(self, key: str, value: Any) -> dict[str, Any]:
        """The table by the names of its keys in `Settings`. What changes requests is the user's own to say."""
        if not isinstance(value, dict):
            self._refuse(key, value, "must be a table: [capture]")
        read: dict[str, Any] = {}
        for name, given in value.items():
            if name == "hosts":
                if not isinstance(given, dict) or not all(isinstance(v, str) and v for v in given.values()):
                    self._refuse("capture.hosts", given, 'must be a table: { "llm.internal:8000" = "openai" }')
                read["capture_hosts"] = dict(given)
            elif name == "include_usage":
                wanted = self._flag("capture.include_usage", given)
                read.update({"include_usage": wanted} if self.trusted else {})
            elif name == "attribution_hosts":
                if not isinstance(given, list) or not all(isinstance(v, str) and v for v in given):
                    self._refuse("capture.attribution_hosts", given, 'must be a list of hosts: ["llm.internal"]')
                read.update({"attribution_hosts": tuple(given)} if self.trusted else {})
            else:
                near = _near(name, ("hosts", "include_usage", "attribution_hosts"))
                raise ConfigError(f"{self.path}: unknown key 'capture.{name}' (= {given!r}){near}")
        return read

    def _models(self, key: str, value: Any) -> tuple[Mapping[str, Any], ...]:
        rows = self._rows(key, value, _MODEL_KEYS)
        for i, row in enumerate(rows):
            if "model" not in row:
                self._refuse(f"{key}[{i}]", dict(row), "needs a `model`")
            for name in _MODEL_NUMBERS:
                if row.get(name, 0) < 0:
                    self._refuse(f"{key}[{i}].{name}", row[name], "must not be negative")
        return rows

    def _discounts(self, key: str, value: Any) -> tuple[Mapping[str, Any], ...]:
        rows = self._rows(key, value, _DISCOUNT_KEYS)
        for i, row in enumerate(rows):
            if ("percent" in row) == ("factor" in row):
                self._refuse(f"{key}[{i}]", dict(row), "needs either percent (10 = taken off) or factor (0.9)")
            if not 0 <= row.get("percent", 0) <= 100:
                self._refuse(f"{key}[{i}].percent", row["percent"], "must be between 0 and 100")
            if row.get("factor", 0) < 0:
                self._refuse(f"{key}[{i}].factor", row["factor"], "must not be negative")
        return tuple({name: _iso(given) for name, given in row.items()} for row in rows)

    def _budgets(self, key: str, value: Any) -> tuple[Mapping[str, Any], ...] | None:
        rows = self._rows(key, value, _BUDGET_KEYS)
        return rows if self.trusted else None

    def _agents(self, key: str, value: Any) -> tuple[Mapping[str, Any], ...] | None:
        rows = self._rows(key, value, _AGENT_KEYS)
        for i, row in enumerate(rows):
            if not row.get("name"):
                self._refuse(f"{key}[{i}]", dict(row), "needs a `name`")
        return rows if self.trusted else None

    def _rows(self, key: str, value: Any, keys: Mapping[str, tuple[type, ...]]) -> tuple[Mapping[str, Any], ...]:
        """A list of tables with known keys and types; days and naive times become aware UTC."""
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self._refuse(key, value, f"must be a list of tables: [[{key}]]")
        rows = []
        for i, row in enumerate(value):
            read: dict[str, Any] = {}
            for name, given in row.items():
                if name not in keys:
                    raise ConfigError(
                        f"{self.path}: unknown key '{key}[{i}].{name}' (= {given!r}){_near(name, tuple(keys))}"
                    )
                if isinstance(given, str) and date in keys[name]:
                    given = self._moment(f"{key}[{i}].{name}", given)
                if not isinstance(given, keys[name]) or (isinstance(given, bool) and bool not in keys[name]):
                    wanted = " or ".join(kind.__name__.lower() for kind in keys[name])
                    self._refuse(f"{key}[{i}].{name}", given, f"must be of type {wanted}")
                read[name] = _aware(given) if isinstance(given, date) else given
            rows.append(MappingProxyType(read))
        return tuple(rows)

    def _moment(self, key: str, text: str) -> datetime:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            self._refuse(key, text, "must be a date, as 2026-01-01, or a moment, as 2026-01-01T09:30:00Z")


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _aware(moment: date) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def user_hash_key(settings: Settings) -> bytes:
    """The key that hashes user ids: from FARTHING_HASH_KEY, else the file in the config folder, made when first needed.

    The file is 0600 and lies outside the ledger, so that who has a copy of the ledger cannot test guesses of user ids.
    Whoever loses it can no longer link new calls of a user to old ones. OSError where it can be neither read nor made.
    """
    if settings.hash_key is not None:
        return settings.hash_key.encode()
    path = settings.config_dir / "user-hash.key"
    try:
        return bytes.fromhex(path.read_text())
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise ConfigError(
            f"{path}: is not a key in hexadecimal; restore it, or delete it to start a new one"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return bytes.fromhex(path.read_text())
