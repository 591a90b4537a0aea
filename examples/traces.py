"""Traces and generations under the names that Langfuse gives them, on a ledger of your own."""

from farthing import CostTracker
from farthing.classic import Langfuse

langfuse = Langfuse(CostTracker(":memory:"))

trace = langfuse.trace(name="content_analysis", user_id="user_123", session_id="session_abc")
generation = trace.generation(
    name="security_audit",
    model="claude-sonnet-4-20250514",
    input=[{"role": "user", "content": "Analyze for XSS..."}],
    output="Analysis: Found 3 vulnerabilities...",
    usage={"input": 1500, "output": 1000, "unit": "TOKENS"},
)
print(f"${generation.calculated_input_cost} + ${generation.calculated_output_cost}", end=" = ")
print(f"${generation.calculated_total_cost}")

found = langfuse.get_trace(trace.id)
total = sum(step.calculated_total_cost or 0 for step in found.observations if step.type == "GENERATION")
print(f"{found.name} of {found.user_id}: {len(found.observations)} observation, ${total}")
