"""Importers: lines of files become calls, and calls entries of a ledger."""
