"""Run every benchmark, or those named: `python -m benchmarks price ledger`. Exit code 1 where a claim does not hold."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

import benchmarks


def main(wanted: list[str]) -> int:
    """How many of the benchmarks asked for did not hold what they claim."""
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    if unknown := set(wanted) - set(found):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
