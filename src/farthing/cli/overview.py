"""`farthing` alone: one screen that answers how much, where, within which budget, and what is trending."""

from __future__ import annotations

from pathlib import Path

from farthing.budgets.guard import Guard
from farthing.cli.frame import App, now
from farthing.reports.booked import booked
from farthing.reports.budget_values import standing_json
from farthing.reports.lines import row_json, totals_json
from farthing.reports.screens import first_steps, overview_page
from farthing.reports.summary import Overview, overview


def show(app: App) -> None:
    """Print the overview; where nothing is recorded yet, the first steps."""
    with app.store() as store:
        found = overview(booked(store), now())
        budgets = Guard(lambda: store).status()
    url = tilde(app.url)
    page = overview_page(found, url, budgets) if found.first_day is not None else first_steps(url)
    app.show(page, as_json(found, app.url) | {"budgets": [standing_json(one, {}) for one in budgets]})


def tilde(url: str) -> str:
    """A path in the user's home, shortened as shells do."""
    home = str(Path.home())
    return f"~{url[len(home) :]}" if home != "/" and url.startswith(home + "/") else url


def as_json(found: Overview, url: str) -> dict[str, object]:
    """The same figures for programs."""
    return {
        "ledger": url,
        "at": found.now.isoformat(),
        "today": totals_json(found.today),
        "last_7_days": totals_json(found.week),
        "month": totals_json(found.month),
        "all": totals_json(found.everything),
        "subscription_pico": dict(found.plans),
        "before": {name: totals_json(totals) for name, totals in found.before.items()},
        "expected_month_usd": None if found.expected_month is None else found.expected_month / 10**12,
        "last_30_days": {
            f"by_{key}": [row_json((key,), row) for row in rows[:10]] for key, rows in found.places.items()
        },
        "daily": [{"day": day.isoformat(), **totals_json(totals)} for day, totals in found.daily],
    }
