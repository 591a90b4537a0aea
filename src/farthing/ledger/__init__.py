"""The system of record: an append-only, durable ledger of events."""

from farthing.ledger.open import open_ledger
from farthing.ledger.store import Counts, Entry, Filter, Health, Outcome, Question, Row, Store

__all__ = ["Counts", "Entry", "Filter", "Health", "Outcome", "Question", "Row", "Store", "open_ledger"]
