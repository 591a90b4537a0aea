"""Budgets that hold: reserve before a call, settle after it. `guard.Guard` is what callers use."""
