"""Usage: what one call used, in units that add up.

Totals are inclusive, as in OpenTelemetry's GenAI conventions: cache reads, cache writes, audio and images are *inside*
`input_tokens`; reasoning and audio are *inside* `output_tokens`. Every unit stands once, in `UNITS`; its dimensions
say which units contain it: unit A contains unit B when A's dimensions are a proper subset of B's.
The names of units that `genai-prices` knows are the same here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import Any

from farthing.errors import UsageError, shown

Quantity = int | Decimal
"""Tokens and other counted things are ints; measured things (seconds) may be Decimals."""

MODALITIES = ("text", "audio", "image", "video")
CACHE_LIFETIMES = ("5m", "30m", "1h", "12h", "24h")


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that is counted.

    `per` is the customary lot of its rates (1,000,000 tokens, 1,000 searches, 3,600 seconds).
    `whole` units are counted, others measured. `dimensions` place it among the others.
    """

    name: str
    per: int
    whole: bool
    dimensions: frozenset[tuple[str, str]]

    @property
    def family(self) -> str:
        """tokens, characters, durations, ...: units of different families never contain each other."""
        return dict(self.dimensions)["family"]

    def contains(self, other: Unit) -> bool:
        """Whether what `other` counts is counted in this unit too."""
        return self.dimensions < other.dimensions


def _token_units() -> Iterator[Unit]:
    def unit(name: str, **dimensions: str) -> Unit:
        return Unit(name, 1_000_000, True, frozenset({"family": "tokens", **dimensions}.items()))

    for modality in ("", *MODALITIES):
        infix = f"{modality}_" if modality else ""
        of: dict[str, str] = {"modality": modality} if modality else {}
        yield unit(f"input_{infix}tokens", direction="input", **of)
        yield unit(f"output_{infix}tokens", direction="output", **of)
        yield unit(f"cache_{infix}read_tokens", direction="input", token_type="cache_read", **of)
        yield unit(f"cache_{infix}write_tokens", direction="input", token_type="cache_write", **of)
        for ttl in CACHE_LIFETIMES:
            name = f"cache_{infix}write_{ttl}_tokens"
            yield unit(name, direction="input", token_type="cache_write", cache_ttl=ttl, **of)
        yield unit(f"input_{infix}tool_tokens", direction="input", token_type="tool", **of)
        yield unit(f"output_{infix}reasoning_tokens", direction="output", token_type="reasoning", **of)
        yield unit(f"output_{infix}citation_tokens", direction="output", token_type="citation", **of)


def _other_units() -> Iterator[Unit]:
    def unit(name: str, per: int, family: str, *, whole: bool = True, **dimensions: str) -> Unit:
        return Unit(name, per, whole, frozenset({"family": family, **dimensions}.items()))

    yield unit("requests", 1_000, "requests")
    for direction in ("input", "output"):
        yield unit(f"{direction}_characters", 1_000_000, "characters", direction=direction)
        yield unit(f"{direction}_images", 1, "images", direction=direction)
        yield unit(f"{direction}_video_seconds", 1, "durations", whole=False, direction=direction, modality="video")
    yield unit("audio_seconds", 3_600, "durations", whole=False, modality="audio")
    yield unit("input_audio_seconds", 3_600, "durations", whole=False, modality="audio", direction="input")
    yield unit("output_audio_seconds", 3_600, "durations", whole=False, modality="audio", direction="output")
    yield unit("input_text_messages", 1_000, "messages", direction="input", modality="text")
    yield unit("input_pixels", 1_000_000_000, "pixels", direction="input")
    yield unit("input_document_pages", 1_000, "document_pages", direction="input")
    yield unit("input_annotated_document_pages", 1_000, "document_pages", direction="input", page_type="annotated")
    yield unit("rerank_searches", 1_000, "rerank")
    tools = {
        "web_searches": "web_search",
        "web_fetches": "web_fetch",
        "map_searches": "map_search",
        "social_searches": "social_search",
        "storage_searches": "storage_search",
        "code_executions": "code_execution",
    }
    for name, tool_type in tools.items():
        yield unit(name, 1_000, "tool_calls", tool_type=tool_type)
    yield unit("compute_seconds", 3_600, "compute", whole=False)


UNITS: Mapping[str, Unit] = MappingProxyType({unit.name: unit for unit in (*_token_units(), *_other_units())})
"""Every unit, by name."""

_BY_DIMENSIONS = {unit.dimensions: unit.name for unit in UNITS.values()}
CONTAINERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {u.name: tuple(o.name for o in UNITS.values() if o.contains(u)) for u in UNITS.values()}
)
"""unit -> the units that contain it, e.g. cache_write_1h_tokens -> (input_tokens, cache_write_tokens)."""

_WHOLE = frozenset(name for name, unit in UNITS.items() if unit.whole)
_UNDER_WRITES = frozenset(f"cache_write_{ttl}_tokens" for ttl in CACHE_LIFETIMES)


class Usage:
    """What one call used: `Usage(input_tokens=1500, cache_read_tokens=1200, output_tokens=350)`.

    Units are the names of `UNITS`; what is not named is 0, and reads as 0: `usage.cache_read_tokens`.
    Immutable; equal when all counts are equal; `a + b` adds every unit.

    Values are ints, Decimals, finite floats (as they print) or decimal text. Refused with `UsageError`, which names the
    key, the value and the rule: unknown units, negative, NaN, a fraction of a counted unit, a subset above its total.
    """

    __slots__ = ("closed", "counts", "problems")

    counts: Mapping[str, Quantity]
    """Every unit that is not 0, in the order given. Not to be changed: `to_dict()` gives a dict of your own."""

    closed: bool
    """Whether the counts can be priced as they stand: possible, and every containing unit given."""

    problems: tuple[str, ...]
    """Why the counts cannot be, where a provider reported impossible ones (`Usage.reported`); else empty."""

    def __init__(self, **units: Quantity | float | str | None) -> None:
        closed = True
        if _is_simple(units):
            counts: dict[str, Any] = (
                {name: value for name, value in units.items() if value} if 0 in units.values() else units
            )
        else:
            counts = {name: number for name, value in units.items() if (number := _checked(name, value))}
            impossible, incomplete = _defects(counts)
            if impossible:
                raise UsageError(impossible[0])
            closed = not incomplete
        _set_counts(self, counts)
        _set_problems(self, ())
        _set_closed(self, closed)

    @classmethod
    def reported(cls, units: Mapping[str, Any]) -> Usage:
        """The usage a provider reported, kept as it is: what cannot be is listed in `.problems`, never raised.

        Values that are no numbers are left out and listed. Costs of impossible usage are never negative.
        """
        if _is_simple(units):
            return cls._made({name: value for name, value in units.items() if value}, (), closed=True)
        counts: dict[str, Quantity] = {}
        problems: list[str] = []
        for name, value in units.items():
            try:
                checked = _checked(name, value)
            except UsageError as error:
                problems.append(str(error))
                kept = _number(value)
                if name in UNITS and kept is not None:
                    counts[name] = kept
            else:
                if checked:
                    counts[name] = checked
        return cls.restored(counts, tuple(problems))

    @classmethod
    def restored(cls, counts: dict[str, Quantity], problems: tuple[str, ...] = ()) -> Usage:
        """A usage of counts that were checked one by one before, as a ledger kept them: possible together or not.

        The dict is taken over, not copied. `problems` are those known; what cannot be together is added to them.
        """
        if not problems and _is_simple(counts):
            return cls._made(counts, (), closed=True)
        impossible, incomplete = _defects(counts)
        problems = tuple(dict.fromkeys((*problems, *impossible)))
        return cls._made(counts, problems, closed=not problems and not incomplete)

    @classmethod
    def _made(cls, counts: dict[str, Quantity], problems: tuple[str, ...], *, closed: bool) -> Usage:
        self = object.__new__(cls)
        _set_counts(self, counts)
        _set_problems(self, problems)
        _set_closed(self, closed)
        return self

    def __getattr__(self, name: str) -> Quantity:
        if name in UNITS:
            return self.counts.get(name, 0)
        raise AttributeError(f"Usage has no unit {name!r}{_near(name)}")

    @property
    def input_tokens(self) -> int:
        """All tokens that went in, cached ones included."""
        return int(self.counts.get("input_tokens", 0))

    @property
    def output_tokens(self) -> int:
        """All tokens that came out, reasoning included."""
        return int(self.counts.get("output_tokens", 0))

    @property
    def total_tokens(self) -> int:
        """input_tokens + output_tokens."""
        return self.input_tokens + self.output_tokens

    def get(self, name: str) -> Quantity:
        """The count of one unit, 0 where none was given."""
        return self.counts.get(name, 0)

    def items(self) -> Iterator[tuple[str, Quantity]]:
        """(unit, count) of every unit that is not 0, in the order given."""
        return iter(self.counts.items())

    def to_dict(self) -> dict[str, Quantity]:
        """A new dict of every unit that is not 0."""
        return dict(self.counts)

    def completed(self) -> dict[str, Quantity]:
        """The counts with what they imply filled in, every one ≥ 0: what pricing reads when `closed` is false.

        A containing unit that was not given is the sum of what it is known to contain; where two overlapping subsets
        (cache reads, images) exceed their total together, their overlap is what exceeds it. Impossible counts are cut
        to what is possible.
        """
        return _completed(self.counts)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __add__(self, other: object) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        counts = dict(self.counts)
        for name, value in other.counts.items():
            counts[name] = counts.get(name, 0) + value
        return Usage.restored({k: v for k, v in counts.items() if v}, self.problems + other.problems)

    def __radd__(self, other: object) -> Usage:
        return self if other == 0 else NotImplemented  # lets sum() work

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and self.counts == other.counts

    def __hash__(self) -> int:
        return hash(frozenset(self.counts.items()))

    def __repr__(self) -> str:
        return f"Usage({', '.join(f'{name}={value}' for name, value in self.counts.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Usage.restored, (self.counts, self.problems))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Usage is immutable: make a new one instead of setting {name}")


_set_counts, _set_closed, _set_problems = (Usage.__dict__[name].__set__ for name in ("counts", "closed", "problems"))
"""What sets a slot in spite of `__setattr__`, at the speed of a plain attribute."""


ELSEWHERE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "thinking_tokens": "output_reasoning_tokens",
}
"""What providers call these units: near in meaning, not in letters."""


def _near(name: str) -> str:
    meant = ELSEWHERE.get(name)
    close = [meant] if meant else difflib.get_close_matches(name, UNITS, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; units are named in farthing.usage.UNITS ({len(UNITS)})"


def _number(value: object) -> Quantity | None:
    """The value as an exact number, or None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return int(value)
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)  # type: ignore[arg-type]
    except (InvalidOperation, TypeError, ValueError):
        return None
    if (
        not number.is_finite() or number.adjusted() > 400
    ):  # beyond any float: 1e999999999 would fill the memory as an int
        return None
    return int(number) if number == number.to_integral_value() else number


def _checked(name: str, value: object) -> Quantity:
    """The value of one unit, alone: known unit, a number, not negative, whole where it must be. Else UsageError."""
    if name not in UNITS:
        raise UsageError(f"unknown unit {name!r} (= {shown(value)}){_near(name)}")
    if value is None:
        return 0
    number = _number(value)
    if number is None:
        raise UsageError(f"{name} = {shown(value)}: must be a finite number")
    if number < 0:
        raise UsageError(f"{name} = {value}: must not be negative")
    if isinstance(number, Decimal) and name in _WHOLE:
        raise UsageError(f"{name} = {value}: must be a whole number")
    return number


def _is_simple(counts: Mapping[str, Any]) -> bool:
    """A quick yes for the common shapes: totals, and few subsets that fit into their totals side by side, all whole."""
    sides = _sides(tuple(counts))
    if sides is None:
        return False
    for value in counts.values():
        if type(value) is not int or value < 0:
            return False
    for outer, inner in sides:
        inside = 0
        for name in inner:
            inside += counts[name]
        if inside > counts.get(outer, 0):
            return False
    return True


@lru_cache(maxsize=4096)
def _sides(names: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    """(total, its subsets among these units) of each total that has some; None: some may overlap, or be no units."""
    inside: dict[str, list[str]] = {}
    for name in names:
        if name not in UNITS:
            return None
        if name in _UNDER_WRITES:
            inside.setdefault("cache_write_tokens", []).append(name)
        elif len(CONTAINERS[name]) == 1 and CONTAINERS[name][0] in ("input_tokens", "output_tokens"):
            inside.setdefault(CONTAINERS[name][0], []).append(name)
        elif CONTAINERS[name]:
            return None
    return tuple((outer, tuple(inner)) for outer, inner in inside.items())


def _defects(counts: Mapping[str, Quantity]) -> tuple[list[str], bool]:
    """(why the counts cannot be, whether they imply counts not given), for counts that are each fine alone."""
    impossible: list[str] = []
    for name, value in counts.items():
        for outer in CONTAINERS[name]:
            if value > counts.get(outer, value):
                impossible.append(f"{name} = {value}: is counted inside {outer} and cannot exceed its {counts[outer]}")
            elif outer not in counts and UNITS[name].family == "tokens" and not CONTAINERS[outer]:
                impossible.append(f"{name} = {value}: is counted inside {outer}, which was not given (or 0)")
    if impossible:
        return impossible, True
    for outer, parts in _partitions(counts):
        total = sum(counts[part] for part in parts)
        if total > counts[outer]:
            listed = " + ".join(f"{part} ({counts[part]})" for part in parts)
            impossible.append(f"{listed} = {total}: are counted inside {outer} and cannot exceed its {counts[outer]}")
    completed = _completed(counts)
    if not impossible:
        impossible.extend(
            f"{name} = {value}: does not fit with the other counts, which leave room for {completed.get(name, 0)}"
            for name, value in counts.items()
            if completed.get(name, 0) < value
        )
    return impossible, completed != counts


def _partitions(counts: Mapping[str, Quantity]) -> Iterator[tuple[str, list[str]]]:
    """(unit, its given subsets that exclude each other), for each given unit and each dimension that divides it."""
    for outer in counts:
        by_dimension: dict[str, list[str]] = {}
        for name in counts:
            if UNITS[outer].contains(UNITS[name]):
                extra = UNITS[name].dimensions - UNITS[outer].dimensions
                if len(extra) == 1:
                    by_dimension.setdefault(next(iter(extra))[0], []).append(name)
        for parts in by_dimension.values():
            if len(parts) > 1:
                yield outer, parts


def _completed(given: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """The counts as sums of what each unit has for itself, so that subsets always fit into their totals."""
    own: dict[str, Quantity] = {}
    for name in sorted(given, key=lambda unit: -len(UNITS[unit].dimensions)):
        inside = [unit for unit in own if UNITS[name].contains(UNITS[unit])]
        rest = max(given[name], 0) - sum(own[unit] for unit in inside)
        own[name] = max(rest, 0)
        if rest < 0:
            _make_fit(own, inside, -rest)
    units = dict.fromkeys(given) | dict.fromkeys(outer for unit in own for outer in (unit, *CONTAINERS[unit]))
    sums: dict[str, Quantity] = {
        unit: sum(value for part, value in own.items() if part == unit or UNITS[unit].contains(UNITS[part]))
        for unit in units
    }
    return {unit: value for unit, value in sums.items() if value}


def _make_fit(own: dict[str, Quantity], inside: list[str], excess: Quantity) -> None:
    """Take `excess` out of the units inside a total: as overlap where two may overlap, else off the smallest."""
    for a, b in combinations(sorted(inside), 2):
        overlap = _overlap(a, b)
        if overlap and (shared := min(excess, own[a], own[b])) > 0:
            own[a] -= shared
            own[b] -= shared
            own[overlap] = own.get(overlap, 0) + shared
            excess -= shared
    for name in sorted(inside, key=own.__getitem__):
        cut = min(excess, own[name])
        own[name] -= cut
        excess -= cut


def _overlap(a: str, b: str) -> str | None:
    """The unit that counts what is in both, e.g. cached images; None where nothing can be in both."""
    da, db = UNITS[a].dimensions, UNITS[b].dimensions
    if da <= db or db <= da or {k for k, _ in da - db} & {k for k, _ in db - da}:
        return None
    return _BY_DIMENSIONS.get(da | db)
