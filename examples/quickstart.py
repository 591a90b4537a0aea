"""Record calls, ask where the money went. Run it twice: the run's totals stay the same, the ledger's grow."""

import json

from farthing import CostTracker

tracker = CostTracker()

tracker.record(model="gpt-4o", input_tokens=1200, output_tokens=450, agent="style_analysis")
tracker.record(model="claude-sonnet-4-20250514", input_tokens=1500, output_tokens=1000, agent="security_audit")
tracker.record(model="gpt-4o-mini", input_tokens=20_000, output_tokens=300, agent="style_critic", cached_tokens=18_000)

print(f"this run: ${tracker.total_cost}")
print("by agent:", tracker.by_agent())
print(json.dumps(tracker.get_summary(), indent=2))

everything = CostTracker(scope="ledger")
print(f"all runs: {everything.get_summary()['total_calls']} calls, ${everything.total_cost}")
tracker.close()
everything.close()
