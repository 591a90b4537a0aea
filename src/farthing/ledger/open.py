"""From the name of a ledger to the store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from farthing.errors import LedgerUnavailable
from farthing.ledger.beside import read_beside
from farthing.ledger.sqlite import MEMORY, SqliteStore
from farthing.ledger.store import DURABILITIES, Durability, Store
from farthing.policy import Budget


def open_ledger(url: str | Path | None = None, *, durability: Durability = "commit") -> Store:
    """The ledger at a path, at `sqlite:///relative.db` or `sqlite:////absolute.db`, or ":memory:" (None, too).

    A file that is not there is made, 0600, its folder 0700. LedgerUnavailable, LedgerCorrupt, LedgerFull or
    LedgerBusy say why it cannot be opened, and what to do. Two ":memory:"
    ledgers share nothing.
    """
    if durability not in DURABILITIES:
        raise LedgerUnavailable(f"unknown durability {durability!r}: name one of {', '.join(DURABILITIES)}")
    return SqliteStore(_path(url), durability)


def _path(url: str | Path | None) -> str | Path:
    if url is None or isinstance(url, Path):
        return MEMORY if url is None else url
    if not isinstance(url, str):
        raise LedgerUnavailable(f"{url!r} names no ledger: give a path, sqlite:///<path> or :memory:")
    scheme, colon, rest = url.partition("://")
    if not colon:
        if not url:
            raise LedgerUnavailable("the ledger's name is empty: give a path, sqlite:///<path> or :memory:")
        return url
    if scheme != "sqlite":
        raise LedgerUnavailable(
            f"unknown kind of ledger {scheme + '://'!r} in {url!r}: known are sqlite:///<path>, a path and :memory:"
        )
    if not rest.startswith("/"):
        raise LedgerUnavailable(f"{url!r} names a host: a ledger is a local file, sqlite:///<path> (three slashes)")
    return unquote(rest[1:]) or MEMORY


def is_there(url: str | Path) -> bool:
    """Whether the ledger exists; one in memory always does."""
    path = _path(url)
    return str(path) == MEMORY or Path(path).expanduser().exists()


def budgets_beside(url: str | Path) -> list[Budget]:
    """The budgets that were last kept beside the ledger of this name, for when it cannot be opened."""
    try:
        return read_beside(place_of(url))
    except LedgerUnavailable:  # in memory, or no ledger's name at all
        return []


def place_of(url: str | Path) -> str:
    """The file of a ledger. LedgerUnavailable for one in memory."""
    path = _path(url)
    if str(path) == MEMORY:
        raise LedgerUnavailable("a ledger in memory has no file: name one with --ledger or FARTHING_URL")
    return str(Path(path).expanduser().absolute())
