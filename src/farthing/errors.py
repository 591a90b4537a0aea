"""Every error farthing raises, as one tree.

    FarthingError
    ├── UsageError               counts that cannot be: negative, not a number, a subset above its total
    ├── PriceError               a price, a price file or a registration that cannot be used
    ├── ExtractionError          a response body of a type that cannot be read at all
    ├── ConfigError              a setting that cannot be used, with its file and key
    ├── InputError               a file or argument given to an importer or the command line
    └── LedgerError              the ledger could not do what was asked
        ├── LedgerUnavailable    it cannot be opened: no permission, network filesystem, newer schema
        ├── LedgerFull           the disk is full
        ├── LedgerCorrupt        the file is damaged
        └── LedgerBusy           another process held the lock for longer than we wait

A message says what, the offending value, where, and the remedy.
"""

from __future__ import annotations


class FarthingError(Exception):
    """Base of all errors of farthing: catching it catches them all and nothing else."""


class UsageError(FarthingError, ValueError):
    """Counts that cannot be; the message names the unit, the value and the rule."""


class PriceError(FarthingError, ValueError):
    """A price, price file or registration that cannot be used."""


class ExtractionError(FarthingError, TypeError):
    """A body that is neither bytes, text nor parsed JSON. What *is* readable never raises: see `Extraction.reason`."""


class ConfigError(FarthingError, ValueError):
    """A setting that cannot be used; the message names file, key and remedy."""


class InputError(FarthingError, ValueError):
    """A file or argument that cannot be used; single bad rows are reported as values, not raised."""


class LedgerError(FarthingError):
    """The ledger could not do what was asked."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be opened."""


class LedgerFull(LedgerError):
    """The disk under the ledger is full; nothing of the transaction was kept."""


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged."""


class LedgerBusy(LedgerError):
    """Another process held the ledger's lock for longer than we wait."""
