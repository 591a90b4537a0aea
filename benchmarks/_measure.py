"""What the benchmarks share: fair timing, and one way to state a claim."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable


def per_call_us(work: Callable[[], object], *, calls: int = 2_000, rounds: int = 7) -> float:
    """The median over rounds of the mean time of one call, in microseconds, with the collector off."""
    for _ in range(max(1, calls // 10)):
        work()
    times = []
    gc.disable()
    try:
        for _ in range(rounds):
            started = time.perf_counter_ns()
            for _ in range(calls):
                work()
            times.append((time.perf_counter_ns() - started) / calls / 1_000)
    finally:
        gc.enable()
    return statistics.median(times)


def percentiles_us(samples_ns: list[int]) -> tuple[float, float]:
    """(median, 99th percentile) of single timings, in microseconds."""
    ordered = sorted(samples_ns)
    return ordered[len(ordered) // 2] / 1_000, ordered[int(len(ordered) * 0.99)] / 1_000


def claim(
    what: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None, detail: str = ""
) -> bool:
    """Print one line with the ratio measured and the limit it is held to; whether it holds."""
    held = (at_least is None or ratio >= at_least) and (at_most is None or ratio <= at_most)
    limit = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    print(f"   {'ok  ' if held else 'MISS'} {what}: {ratio:,.2f}x (claimed {limit}x){'  ' + detail if detail else ''}")
    return held
