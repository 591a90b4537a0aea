"""LiteLLM beside us, in a process of its own: importing it takes seconds and hundreds of megabytes.

Run as a program this file times LiteLLM; it reads and prints JSON and needs nothing of ours but `_measure`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._measure import per_call_us

ROOT = Path(__file__).resolve().parent.parent
MISSING = "   no LiteLLM to compare with: pip install -e '.[dev]' has it"


def ask(what: str, given: Any) -> dict[str, Any] | None:
    """What a function of this file answers, in a process of its own; None: LiteLLM is not installed."""
    if importlib.util.find_spec("litellm") is None:
        return None
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:  # its budget manager writes into the working directory
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks._litellm", what],
            input=json.dumps(given), capture_output=True, text=True, cwd=folder, env=environment, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"benchmarks._litellm {what} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def price(calls: list[tuple[str, dict[str, int]]]) -> dict[str, Any]:
    """`usd`: each call's cost; `us`: microseconds for all of them, by `cost_per_token`."""
    import litellm

    names = {"cache_read_tokens": "cache_read_input_tokens", "cache_write_tokens": "cache_creation_input_tokens"}
    names |= {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    asked = [(model, {names[unit]: count for unit, count in counts.items()}) for model, counts in calls]

    def work() -> list[float]:
        return [sum(litellm.cost_per_token(model=model, **counts)) for model, counts in asked]

    return {"usd": work(), "us": per_call_us(work, calls=300)}


def budget(counts: dict[str, int]) -> dict[str, Any]:
    """`usd`: what a call of gpt-4o came to; `us`: microseconds of checking one budget in memory and spending it."""
    import litellm

    manager: Any = litellm.BudgetManager(project_name="bench", client_type="local")
    manager.create_budget(total_budget=1e9, user="u1")
    into, out = counts["input_tokens"], counts["output_tokens"]
    usage = litellm.Usage(prompt_tokens=into, completion_tokens=out, total_tokens=into + out)
    answer = litellm.ModelResponse(model="gpt-4o", usage=usage)

    def work() -> None:
        if manager.get_current_cost(user="u1") <= manager.get_total_budget("u1"):
            manager.update_cost(user="u1", completion_obj=answer)

    work()
    return {"usd": manager.get_current_cost(user="u1"), "us": per_call_us(work, calls=300)}


MEASURED: dict[str, Callable[[Any], dict[str, Any]]] = {"price": price, "budget": budget}

if __name__ == "__main__":
    print(json.dumps(MEASURED[sys.argv[1]](json.load(sys.stdin))))
