"""Say once who a program works for; ask the ledger by any of it."""

from farthing import CostTracker

with CostTracker(":memory:", attributes={"team": "search", "environment": "staging"}) as tracker:
    for number in range(6):
        tracker.record(
            "gpt-4o-mini",
            2_000 + 500 * number,
            300,
            agent=("retriever", "ranker")[number % 2],
            user=f"customer-{number % 3}",
            task=f"query-{number}",
            metadata={"ticket": "ABC-1" if number < 4 else "ABC-2"},
        )
    tracker.record("gpt-4o-mini", attempt=2, error="429 Too Many Requests", agent="ranker")

    for field in ("agent", "user", "metadata.ticket"):
        print(f"by {field}:")
        for row in tracker.breakdown(field):
            print(f"  {row.key[0] or 'unattributed':12} {row.totals.calls} calls  ${row.totals.usd}")
    ranker = tracker.totals(agent="ranker", team="search")
    print(f"ranker: {ranker.calls} calls, {ranker.unbilled_attempts} unbilled attempt, ${ranker.usd}")
