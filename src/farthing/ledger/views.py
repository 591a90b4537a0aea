"""The tables of users' SQL: `events` and `traces`, as DuckDB views over one relation of rows."""

from __future__ import annotations

from farthing.ledger.rows import COLUMNS

_OWN = {
    "id",
    "at_us",
    "recorded_at_us",
    "dedupe_key",
    "cost_pico",
    "reported_pico",
    "metadata",
    "billed",
    "cache_hit",
    "units",
    "context",
    "usage_known",
    "usage_problems",
    "fingerprints",
}


def usd(pico: str) -> str:
    """Picodollars as exact US dollars with 12 decimals."""
    whole, rest = f"({pico} // 1000000000000)", f"({pico} % 1000000000000)"
    return f"({whole}::DECIMAL(26, 12) + ({rest}::DECIMAL(13, 0) * 0.000000000001::DECIMAL(13, 12))::DECIMAL(26, 12))"


def json_or_null(column: str) -> str:
    """A column of JSON texts as JSON; NULL where it is none (a metadata value that JSON cannot say)."""
    return f"CASE WHEN json_valid({column}) THEN {column}::JSON END"


def events(source: str) -> str:
    """The SELECT of `events`: one row an event, corrections too; sums over all rows are right.

    timestamp is UTC; cost is exact US dollars, NULL where no price is known; metadata, units and context are JSON.
    """
    plain = ", ".join(f'e."{name}"' for name in COLUMNS if name not in _OWN)
    jsons = ", ".join(f"{json_or_null(f'e.{name}')} AS {name}" for name in ("metadata", "units", "context"))
    return (
        f"SELECT e.id, make_timestamp(e.at_us) AS timestamp, {usd('e.cost_pico')} AS cost, e.cost_pico, {plain},"
        f" {jsons}, e.billed = 1 AS billed, e.cache_hit = 1 AS cache_hit, coalesce(e.dedupe_key, e.id) AS dedupe_key,"
        f" make_timestamp(e.recorded_at_us) AS recorded_at, {usd('e.reported_pico')} AS reported_cost"
        f" FROM {source} e"
    )


def traces(source: str) -> str:
    """The SELECT of `traces`: one row a trace; a call outside of any trace is a trace of its own.

    Name, user, session, timestamp and metadata are those of its root: the event that opened it, else its first.
    calculated_total_cost is exact US dollars of what is known; `unpriced` counts the calls without a price.
    """
    root = (
        'arg_min({"at_us": e.at_us, "name": e.name, "user": e."user", "session": e.session,'
        ' "environment": e.environment,'
        " \"metadata\": e.metadata}, (CASE WHEN e.operation = 'trace' THEN 0 ELSE 1 END, e.at_us, e.id))"
        " FILTER (e.corrects IS NULL)"
    )
    tokens = ", ".join(
        f"coalesce(sum(e.{name} * e.billed), 0)::BIGINT AS {name}"
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    )
    inner = (
        f"SELECT e.org AS org, coalesce(e.trace, e.corrects, e.id) AS id, {root} AS root,"
        f" coalesce(sum(e.cost_pico), 0) AS pico, {tokens}, sum(e.calls)::BIGINT AS calls,"
        f" sum(e.unpriced_calls)::BIGINT AS unpriced FROM {source} e GROUP BY ALL"
    )
    return (
        "SELECT t.id, t.root.name AS name, t.root.user AS user_id, t.root.session AS session_id,"
        " make_timestamp(t.root.at_us) AS timestamp, t.root.environment AS environment,"
        f" {json_or_null('t.root.metadata')} AS metadata, {usd('t.pico')} AS calculated_total_cost,"
        " t.input_tokens, t.output_tokens, t.input_tokens + t.output_tokens AS total_tokens, t.cache_read_tokens,"
        f" t.cache_write_tokens, t.calls, t.unpriced, t.org FROM ({inner}) t"
    )
