"""Run every benchmark, or those named: `python -m benchmarks price ledger`. Exit code 1 where a claim does not hold."""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys
import time

import genai_prices

import benchmarks
from benchmarks._measure import per_call_us


def main(wanted: list[str]) -> int:
    """How many of the benchmarks asked for did not hold what they claim."""
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    if unknown := set(wanted) - set(found):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    _tell_speed()
    missed = []
    for name in wanted or found:
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        held = importlib.import_module(f"benchmarks.{name}").main()
        print(f"   ({time.perf_counter() - started:.1f} s)")
        if not held:
            missed.append(name)
    print(f"\n{'claims that did not hold: ' + ', '.join(missed) if missed else 'every claim held'}")
    return int(bool(missed))


def _tell_speed() -> None:
    """Limits in seconds were set on another machine: how fast this one is now, so that they can be read rightly."""
    usage = genai_prices.Usage(input_tokens=1500, output_tokens=350)
    took = per_call_us(lambda: genai_prices.calc_price(usage, "gpt-4o"), calls=200)
    print(
        f"genai_prices.calc_price takes {took:.0f} µs here now; limits in seconds were set where it takes 62 to 94 µs\n"
        f"Python {platform.python_version()} of {sys.base_prefix} (pyenv builds without profiles: a fifth slower)"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
