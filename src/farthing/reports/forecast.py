"""Where spending is heading, from the ledger's own past, with a range only where it would have held in the past.

Pure: a series of amounts for even steps (hours or days), and what remains. Amounts are whole numbers of one unit.

Two methods are tried: the pace of the last season (24 hours or 7 days), and the mean of the same hour or weekday in the
last four. Whichever would have been nearer in the past is taken. A range is what the misses of the past make of the
forecast; it is given only if, each time made from what was known then, it held as often as it claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

CLAIM = Fraction(80, 100)
"""How often a range must hold."""

SEASONS = 4
LEAST_TESTS = 12
"""With fewer tests in the past, a range would be a guess about a guess."""

LEAST_KNOWN = 5
"""A range is made of at least so many misses."""

MOST_TESTS = 120
WIDENINGS = (Fraction(1), Fraction(3, 2), Fraction(2), Fraction(3))

Method = Callable[[Sequence[int], int, int], int]
"""(past steps, how many more, length of a season) -> what they will come to together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What remains will come to.

    expected   what is still to come, in the series' unit
    low, high  the range, or None; `held`: how many of `tests` past forecasts lay in theirs
    method     `pace`, `season`, or `none` where nothing is known
    why        in words, how it was made, and why there is no range
    """

    expected: int
    low: int | None = None
    high: int | None = None
    method: str = "none"
    tests: int = 0
    held: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Test:
    """A forecast made in the past: at which step, what it said, and what came."""

    at: int
    said: int
    came: int


def forecast(past: Sequence[int], ahead: Fraction, *, season: int, step: str = "day") -> Forecast:
    """What the next `ahead` steps will come to. past: whole steps, oldest first; step: hour or day, for the words."""
    if ahead <= 0:
        return Forecast(expected=0, why="the window is over")
    if not past or not any(past):
        return Forecast(expected=0, why="nothing has been spent before, so there is nothing to go by")
    whole = -(-ahead.numerator // ahead.denominator)
    # Over no more than a season, so that the last weeks have a say: of longer stretches they do not know the truth yet.
    short = {name: _tested(past, min(whole, season), season, method) for name, method in METHODS.items()}
    name = _nearest(short)
    expected = _scaled(past, ahead, season, METHODS[name])
    tried = _tested(past, whole, season, METHODS[name])
    wide, held, counted = _narrowest(tried, whole)
    why = _words(name, season, step, len(short[name]))
    base = Forecast(expected=expected, method=name, tests=counted, held=held, why=why)
    if counted < LEAST_TESTS:
        return _without(base, f"no range: the past allows {counted} tests, and {LEAST_TESTS} are the least")
    if held < CLAIM * counted:
        return _without(base, f"no range: in the past it would have held {held} of {counted} times, less than 80 %")
    low, high = (max(0, int(expected * ratio)) for ratio in _bounds(_misses(tried), wide))
    return replace(
        base,
        low=min(low, expected),
        high=max(high, expected),
        why=f"{why}; the range held in {held} of {counted} tests on the past",
    )


def _without(base: Forecast, reason: str) -> Forecast:
    return replace(base, why=f"{base.why}; {reason}")


def _words(name: str, season: int, step: str, tests: int) -> str:
    span = "24 hours" if season == 24 else f"{season} days"
    like = "hours of the same time" if season == 24 else "days of the same weekday"
    how = f"the pace of the last {span}" if name == "pace" else f"the mean of the last {SEASONS} {like}"
    if not tests:
        return f"{how}; the past is too short to compare ways"
    return f"{how}, which came nearest in {tests} tests on the past"


def _pace(past: Sequence[int], ahead: int, season: int) -> int:
    last = past[-season:]
    return sum(last) * ahead // len(last)


def _season(past: Sequence[int], ahead: int, season: int) -> int:
    total = 0
    for i in range(ahead):
        place = len(past) + i % season
        same = [past[at] for n in range(1, SEASONS + 1) if 0 <= (at := place - n * season) < len(past)]
        total += sum(same) // len(same) if same else sum(past) // len(past)
    return total


METHODS: dict[str, Method] = {"pace": _pace, "season": _season}


def _scaled(past: Sequence[int], ahead: Fraction, season: int, method: Method) -> int:
    """The forecast for `ahead` steps; the first of them is the present one, and what of it is gone is taken off."""
    whole = -(-ahead.numerator // ahead.denominator)
    return method(past, whole, season) - int(method(past, 1, season) * (whole - ahead))


def _tested(past: Sequence[int], ahead: int, season: int, method: Method) -> list[_Test]:
    """What the method would have said at each step of the past from which its truth is known."""
    first = max(2 * season, len(past) - ahead - MOST_TESTS)
    tests = []
    for at in range(first, len(past) - ahead + 1):
        tests.append(_Test(at, method(past[:at], ahead, season), sum(past[at : at + ahead])))
    return tests


def _nearest(tests: dict[str, list[_Test]]) -> str:
    """The method with the least sum of misses; of equals, and without tests, the first."""
    return min(tests, key=lambda name: sum(abs(test.said - test.came) for test in tests[name]))


def _misses(tests: Sequence[_Test]) -> list[Fraction]:
    """What came for each 1 that was said."""
    return [Fraction(test.came, test.said) for test in tests if test.said > 0]


def _narrowest(tests: Sequence[_Test], ahead: int) -> tuple[Fraction, int, int]:
    """(the least widening whose ranges held as often as is claimed, or the widest; how many held; of how many)."""
    held = counted = 0
    for wide in WIDENINGS:
        held, counted = _held(tests, ahead, wide)
        if held >= CLAIM * counted:
            return wide, held, counted
    return WIDENINGS[-1], held, counted


def _held(tests: Sequence[_Test], ahead: int, wide: Fraction) -> tuple[int, int]:
    """(how many ranges held, of how many).

    Each range is made from the tests whose truth was known when it would have been made: that of the test's own window,
    and of those that overlap it, was not.
    """
    held = counted = 0
    for test in tests:
        known = _misses([other for other in tests if other.at + ahead <= test.at])
        if test.said > 0 and len(known) >= LEAST_KNOWN:
            counted += 1
            low, high = _bounds(known, wide)
            held += low * test.said <= test.came <= high * test.said
    return held, counted


def _bounds(misses: Sequence[Fraction], wide: Fraction) -> tuple[Fraction, Fraction]:
    """What holds nine tenths of the misses, and so many times wider."""
    ordered = sorted(misses)
    cut = len(ordered) // 20
    return 1 - (1 - ordered[cut]) * wide, 1 + (ordered[-1 - cut] - 1) * wide
