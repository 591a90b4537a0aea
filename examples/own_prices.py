"""Models of your own: by the million tokens, or by the token for every name that a pattern matches."""

from farthing import CostTracker, Usage, price, register_model_pricing

with CostTracker(":memory:") as tracker:
    tracker.register_model_pricing(
        model="my-custom-model", input_price_per_million=1.50, output_price_per_million=5.00, provider="custom"
    )
    event = tracker.record(model="my-custom-model", input_tokens=1000, output_tokens=500, agent="custom_agent")
    print(f"my-custom-model: ${event.usd}")

register_model_pricing("house-llama", match_pattern="house-llama-.*", input_price="0.0000002", output_price="0.0000006")
cost = price("house-llama-70b-q4", Usage(input_tokens=10_000, output_tokens=2_000))
print(f"house-llama-70b-q4: ${cost.usd}")
for line in cost.lines:
    print(f"  {line.quantity:>6} {line.unit} at ${line.rate_usd:f} per {line.per:,}")
