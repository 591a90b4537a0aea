"""CSV rows: usual names are understood, others are mapped, what is wrong is told with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from farthing.capture.logs.csv_rows import Reading, read_rows
from farthing.capture.logs.values import Outcome, Problem, Read
from farthing.errors import InputError
from farthing.recording import Call
from farthing.usage import Usage


def rows(text: str, mapping: Mapping[str, str] | None = None, **constants: str) -> list[tuple[int, Outcome]]:
    return list(read_rows(text.splitlines(keepends=True), Reading("f.csv", "import:f.csv", mapping or {}, constants)))


def only(found: list[tuple[int, Outcome]]) -> Call:
    ((_, outcome),) = found
    assert isinstance(outcome, Read), outcome
    return outcome.calls[0]


def test_usual_columns_need_no_mapping() -> None:
    """Names as people write them, in any case, with spaces."""
    call = only(rows("Date,Model,Input Tokens,Output Tokens,Cached Tokens,User ID\n2026-11-01,gpt-4o,100,20,60,u1\n"))
    assert call.usage == Usage(input_tokens=100, cache_read_tokens=60, output_tokens=20)
    assert (call.model, call.attribution.user) == ("gpt-4o", "u1")


def test_production_traces_as_they_are_published() -> None:
    """TIMESTAMP, ContextTokens, GeneratedTokens: the model comes from outside."""
    call = only(rows("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n", model="gpt-4"))
    assert call.usage == Usage(input_tokens=4808, output_tokens=10)
    assert call.model == "gpt-4"
    assert call.at_us == 1_700_158_623_979_960


def test_columns_are_mapped() -> None:
    """To counts, attribution, metadata and request context; `-` leaves one out."""
    text = "What,In,Out,Region,Tier,agent\nmy-model,5,1,eu,flex,ignored\n"
    mapping = {"What": "model", "In": "input_tokens", "Out": "output_tokens", "Region": "metadata.region",
               "Tier": "context.service_tier", "agent": "-"}  # fmt: skip
    call = only(rows(text, mapping))
    assert call.usage == Usage(input_tokens=5, output_tokens=1)
    assert dict(call.attribution.metadata) == {"region": "eu"}
    assert dict(call.context) == {"service_tier": "flex"}
    assert call.attribution.agent is None


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"Nope": "model"}, "no column 'Nope'"),
        ({"a": "modle"}, "did you mean 'model'"),
        ({}, "no column counts anything"),
    ],
)
def test_a_header_that_cannot_be_used_says_why(mapping: dict[str, str], words: str) -> None:
    """Before any row is read."""
    with pytest.raises(InputError, match=words):
        rows("a,b\n1,2\n", mapping)


def test_bad_rows_are_told_with_their_line_and_the_others_kept() -> None:
    """Too few fields, no number, an open quote."""
    found = rows('model,input_tokens\ngpt-4o,1\ngpt-4o\ngpt-4o,many\n"gpt-4o,3\n')
    problems = [(line, outcome.reason) for line, outcome in found if isinstance(outcome, Problem)]
    assert [line for line, _ in problems] == [3, 4, 5]
    assert "1 fields, the header 2" in problems[0][1]
    assert "finite number" in problems[1][1]
    assert isinstance(found[0][1], Read)


def test_the_published_traces_are_read_whole(shared: Path) -> None:
    """28,185 rows of production token counts, none refused, equal rows told apart by their number in the file."""
    count = 0
    for path in sorted((shared / "realdata" / "azure-llm-trace-2023").glob("*.csv")):
        with path.open() as lines:
            for _, outcome in read_rows(lines, Reading(path.name, "t", {}, {"model": "gpt-4"})):
                assert isinstance(outcome, Read) and outcome.content is not None
                count += 1
    assert count == 28_185
