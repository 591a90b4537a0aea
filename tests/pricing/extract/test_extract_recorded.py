"""Every recorded response of 25 providers: what is read out of it, and what it is when cut or damaged."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from farthing.pricing.extract import Extraction, extract

Record = dict[str, Any]


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, Record]:
    """Every recorded response under its place: "folder:line", lines from 0."""
    found = {}
    for file in sorted((shared / "realdata").glob("*/responses.jsonl")):
        with file.open() as lines:
            for number, line in enumerate(lines):
                found[f"{file.parent.name}:{number}"] = json.loads(line)
    return found


def body_of(record: Record) -> bytes | str:
    return base64.b64decode(record["body_b64"]) if "body_b64" in record else record["body"]


def read(record: Record, body: Any = None) -> Extraction:
    return extract(
        body_of(record) if body is None else body,
        provider=record["provider"],
        path=record["path"],
        content_type=record["content_type"],
    )


def test_every_successful_response_gives_a_usage_or_says_why_not(
    records: dict[str, Record], capsys: pytest.CaptureFixture[str]
) -> None:
    """1,400 responses, 290 of them streams: none raises, none is silent; the table shows all of it."""
    table: Counter[tuple[str, ...]] = Counter()
    silent = []
    for place, record in records.items():
        found = read(record)
        if record["status"] == 200:
            told = found.usage is not None and found.usage.total_tokens + len(found.usage.to_dict()) > 0
            if not told and not found.reason:
                silent.append(place)
            assert found.error is None, place
        else:
            assert found.usage is None and found.error and found.reason, place
        what = "stream" if found.stream else "body"
        outcome = found.status if found.usage is not None else "no usage"
        table[found.provider or "?", found.operation, what, outcome, (found.reason or "").split(":")[0][:60]] += 1
    with capsys.disabled():
        print(f"\n{len(records)} recorded responses")
        for row, count in sorted(table.items()):
            print(f"  {count:4}  " + "  ".join(f"{cell:<16}" for cell in row))
    assert not silent
    assert len(records) > 1_400


def test_only_what_carries_no_usage_is_marked(records: dict[str, Record]) -> None:
    """Of successful responses only the streams recorded without usage and newly made caches are not `reported`."""
    marked = {
        place: found
        for place, record in records.items()
        if record["status"] == 200 and (found := read(record)).status != "reported"
    }
    streams = {place for place in marked if place.startswith("no-usage-streams:")}
    assert len(streams) == 40
    for place in streams:
        found = marked[place]
        assert found.status == "partial" and found.complete and found.usage is not None
        assert found.usage.input_tokens == 0 < found.usage.output_tokens
        assert found.reason and "reports no usage" in found.reason and "input unknown" in found.reason
    assert {found.operation for place, found in marked.items() if place not in streams} == {"create_cache"}


def test_names_and_models_are_told(records: dict[str, Record]) -> None:
    """Providers are ids of the price data (unknown hosts stay as given); every answer but Cohere's names a model."""
    nameless = set()
    for record in records.values():
        found = read(record)
        if record["status"] == 200 and found.model is None:
            nameless.add((found.provider, found.operation))
    assert nameless == {
        ("cohere", "chat"),
        ("cohere", "embeddings"),
        ("cohere", "rerank"),
        ("cohere", "text_completion"),
        ("openai", "transcription"),
        ("aws", "apply_guardrail"),
    }
    providers = {read(record).provider for record in records.values()}
    assert providers == set(
        """anthropic aws azure cohere deepseek google groq mistral ollama openai openai-compat-local openrouter portkey
        pydantic-gateway together voyageai writer""".split()  # noqa: SIM905
    )


def test_the_form_of_a_body_does_not_matter(records: dict[str, Record]) -> None:
    """Text, bytes, parsed JSON, CRLF, and base64 of an event stream give the same."""
    for place, record in records.items():
        body = body_of(record)
        found = read(record)
        if isinstance(body, str):
            assert read(record, body.encode()) == found, place
            if found.stream and "\r" not in body and "data:" in body[:200]:
                assert read(record, body.replace("\n", "\r\n")) == found, place
            if not found.stream:
                assert read(record, json.loads(body)) == found, place
        else:
            assert read(record, base64.b64encode(body).decode()) == found, place
            assert read(record, memoryview(body)) == found, place


def test_a_stream_cut_in_half_is_never_reported_as_whole(records: dict[str, Record]) -> None:
    """Half a stream: `partial` and not complete, or no usage with a reason; what was seen is counted."""
    seen = 0
    for place, record in records.items():
        body, whole = body_of(record), read(record)
        if not whole.stream or record["status"] != 200 or whole.usage is None:
            continue
        found = read(record, body[: len(body) // 2])
        assert not found.complete, place
        assert found.reason, place
        assert found.usage is None or found.status == "partial", place
        seen += found.usage is not None
    assert seen > 200


def test_damaged_bodies_give_an_extraction(records: dict[str, Record]) -> None:
    """Real bodies with bytes overwritten, cut out and doubled: always an `Extraction`, with a reason where no usage."""
    chance = random.Random(20261122)
    for record in chance.sample(list(records.values()), 400):
        body = body_of(record)
        raw = bytearray(body.encode() if isinstance(body, str) else body)
        for _ in range(chance.randint(1, 8)):
            at, size = chance.randrange(len(raw) + 1), chance.randint(0, 30)
            raw[at : at + size] = chance.choice([b"", b'"', b"null", b"-1", b"}", b"[[", raw[at : at + 2 * size]])
        found = read(record, bytes(raw))
        assert found.usage is not None or found.reason
        cut = read(record, bytes(raw[: chance.randrange(len(raw) + 1)]))
        assert cut.usage is not None or cut.reason


HAND_VERIFIED: dict[str, dict[str, int]] = {
    # anthropic /v1/messages
    "Arize-ai+openinference:171": {
        "input_tokens": 107,
        "cache_read_tokens": 2,
        "cache_write_tokens": 5,
        "output_tokens": 21,
    },
    # anthropic /v1/messages stream
    "simonw+llm-anthropic:25": {"input_tokens": 10423, "output_tokens": 341, "web_searches": 1},
    # api.openai.com /v1/chat/completions stream
    "no-usage-streams:37": {"output_tokens": 28},
    # azure-openai /deployments/completions
    "traceloop+openllmetry:494": {"input_tokens": 11, "output_tokens": 203, "output_reasoning_tokens": 192},
    # azure-openai /deployments/completions stream
    "no-usage-streams:6": {"output_tokens": 45},
    # azure-openai /deployments/embeddings
    "traceloop+openllmetry:663": {"input_tokens": 8},
    # bedrock /model/X/converse
    "open-telemetry+opentelemetry-python-contrib:107": {"input_tokens": 553, "output_tokens": 80},
    # bedrock /model/X/converse-stream stream
    "open-telemetry+opentelemetry-python-contrib:104": {"input_tokens": 415, "output_tokens": 202},
    # bedrock /model/X/invoke-with-response-stream stream
    "Arize-ai+openinference:41": {"input_tokens": 702, "output_tokens": 130},
    # bedrock /model/X/invokeamazon.nova-l
    "Arize-ai+openinference:43": {"input_tokens": 16, "output_tokens": 27},
    # bedrock /model/X/invokeamazon.nova-m
    "open-telemetry+opentelemetry-python-contrib:117": {"input_tokens": 576, "output_tokens": 57},
    # bedrock /model/X/invokeamazon.titan-
    "traceloop+openllmetry:102": {"input_tokens": 28, "output_tokens": 197},
    # bedrock /model/X/invokeanthropic.cla
    "traceloop+openllmetry:104": {"input_tokens": 18135, "cache_write_tokens": 18131, "output_tokens": 50},
    # bedrock /model/X/invokearn%3Aaws%3As
    "traceloop+openllmetry:129": {"input_tokens": 6, "output_tokens": 100},
    # bedrock /model/X/invokeus.amazon.nov
    "traceloop+openllmetry:147": {"input_tokens": 7, "output_tokens": 53},
    # bedrock /model/X/invokeus.anthropic.
    "open-telemetry+opentelemetry-python-contrib:119": {"input_tokens": 604, "output_tokens": 149},
    # cohere /v1/chat
    "traceloop+openllmetry:327": {"input_tokens": 832, "output_tokens": 61},
    # cohere /v1/generate
    "traceloop+openllmetry:181": {"input_tokens": 7, "output_tokens": 129},
    # cohere /v1/rerank
    "traceloop+openllmetry:186": {"rerank_searches": 1},
    # cohere /v2/chat
    "traceloop+openllmetry:253": {"input_tokens": 377, "output_tokens": 113},
    # cohere /v2/chat stream
    "traceloop+openllmetry:173": {"input_tokens": 7, "output_tokens": 109},
    # cohere /v2/embed
    "traceloop+openllmetry:184": {"input_tokens": 208},
    # cohere /v2/rerank
    "Arize-ai+openinference:157": {"rerank_searches": 1},
    # deepseek /beta/chat/completions stream
    "traceloop+openllmetry:808": {"input_tokens": 12, "output_tokens": 89},
    # google /v1beta/cachedContents
    "Arize-ai+openinference:112": {"input_tokens": 1090, "cache_write_tokens": 1090},
    # google /v1beta/interactions
    "Arize-ai+openinference:139": {
        "input_tokens": 267,
        "output_tokens": 60,
        "output_reasoning_tokens": 57,
        "input_text_tokens": 9,
        "input_image_tokens": 258,
    },
    # google /v1beta/interactions stream
    "Arize-ai+openinference:140": {
        "input_tokens": 266,
        "output_tokens": 60,
        "output_reasoning_tokens": 57,
        "input_text_tokens": 8,
        "input_image_tokens": 258,
    },
    # google generateContent
    "Arize-ai+openinference:135": {
        "input_tokens": 752,
        "output_tokens": 444,
        "output_reasoning_tokens": 103,
        "input_tool_tokens": 720,
        "input_text_tokens": 752,
        "input_text_tool_tokens": 720,
    },
    # google streamGenerateContent stream
    "Arize-ai+openinference:136": {
        "input_tokens": 796,
        "output_tokens": 717,
        "output_reasoning_tokens": 240,
        "input_tool_tokens": 764,
        "input_text_tokens": 796,
        "input_text_tool_tokens": 764,
    },
    # groq /openai/v1/chat/completions
    "traceloop+openllmetry:194": {"input_tokens": 18, "output_tokens": 88},
    # groq /openai/v1/chat/completions stream
    "traceloop+openllmetry:217": {"input_tokens": 18, "output_tokens": 73},
    # mistral /v1/chat/completions
    "traceloop+openllmetry:382": {"input_tokens": 20, "output_tokens": 18, "cache_read_tokens": 10},
    # mistral /v1/chat/completions stream
    "Arize-ai+openinference:190": {"input_tokens": 96, "output_tokens": 23},
    # mistral /v1/embeddings
    "traceloop+openllmetry:388": {"input_tokens": 21},
    # ollama /api/chat
    "Arize-ai+openinference:198": {"input_tokens": 14, "output_tokens": 721},
    # ollama /api/chat stream
    "traceloop+openllmetry:394": {"input_tokens": 17, "output_tokens": 63},
    # ollama /api/generate
    "traceloop+openllmetry:406": {"input_tokens": 17, "output_tokens": 63},
    # ollama /api/generate stream
    "traceloop+openllmetry:409": {"input_tokens": 17, "output_tokens": 71},
    # openai /v1/audio/transcriptions
    "pydantic+logfire:40": {"input_tokens": 1, "output_tokens": 5, "input_audio_tokens": 1},
    # openai /v1/chat/completions
    "Arize-ai+openinference:169": {
        "input_tokens": 20,
        "output_tokens": 4,
        "input_audio_tokens": 2,
        "cache_read_tokens": 1,
        "output_audio_tokens": 4,
        "output_reasoning_tokens": 3,
    },
    # openai /v1/chat/completions stream
    "open-telemetry+opentelemetry-python-contrib:15": {"input_tokens": 26, "output_tokens": 133},
    # openai /v1/completions
    "traceloop+openllmetry:823": {"input_tokens": 1116, "output_tokens": 400},
    # openai /v1/embeddings
    "traceloop+openllmetry:370": {"input_tokens": 29},
    # openai /v1/responses
    "traceloop+openllmetry:425": {"input_tokens": 319, "output_tokens": 650, "web_searches": 1},
    # openai /v1/responses stream
    "traceloop+openllmetry:443": {"input_tokens": 310, "output_tokens": 17},
    # openai /v1/threads/..../runs
    "traceloop+openllmetry:347": {"input_tokens": 663, "output_tokens": 53},
    # openai /v1/threads/..../runs stream
    "traceloop+openllmetry:476": {"input_tokens": 382, "output_tokens": 90},
    # openai-compat-local /v1/chat/completions
    "traceloop+openllmetry:524": {"input_tokens": 43, "output_tokens": 36},
    # openai-compat-local /v1/chat/completions stream
    "traceloop+openllmetry:551": {"input_tokens": 10, "output_tokens": 50},
    # openai-compat-local /v1/completions
    "traceloop+openllmetry:283": {"input_tokens": 20, "output_tokens": 20},
    # openai-compat-local /v1/embeddings
    "traceloop+openllmetry:660": {"input_tokens": 11},
    # openrouter /api/v1/chat/completions stream
    "pydantic+logfire:21": {"input_tokens": 13, "output_tokens": 1003},
    # portkey /v1/chat/completions
    "Arize-ai+openinference:207": {"input_tokens": 12, "output_tokens": 51},
    # portkey /v1/prompts
    "Arize-ai+openinference:210": {"input_tokens": 37, "output_tokens": 151},
    # pydantic-gateway /proxy/openai/responses
    "pydantic+logfire:12": {"input_tokens": 57, "output_tokens": 424, "output_reasoning_tokens": 384},
    # together /v1/chat/completions
    "Arize-ai+openinference:228": {"input_tokens": 198, "output_tokens": 24},
    # together /v1/chat/completions stream
    "Arize-ai+openinference:225": {"input_tokens": 41, "output_tokens": 15},
    # together /v1/completions
    "traceloop+openllmetry:827": {"input_tokens": 10, "output_tokens": 512},
    # vertex generateContent
    "open-telemetry+opentelemetry-python-contrib:86": {
        "input_tokens": 521,
        "output_tokens": 429,
        "output_reasoning_tokens": 424,
        "input_image_tokens": 516,
        "input_text_tokens": 5,
        "output_text_tokens": 5,
    },
    # vertex streamGenerateContent
    "Arize-ai+openinference:167": {
        "input_tokens": 11,
        "output_tokens": 248,
        "output_reasoning_tokens": 232,
        "input_text_tokens": 11,
        "output_text_tokens": 16,
    },
    # vertex streamGenerateContent stream
    "open-telemetry+opentelemetry-python-contrib:7": {
        "input_tokens": 8,
        "output_tokens": 2581,
        "output_reasoning_tokens": 2193,
        "input_text_tokens": 8,
        "output_text_tokens": 388,
    },
    # voyageai /v1/embeddings
    "traceloop+openllmetry:831": {"input_tokens": 18},
    # voyageai /v1/rerank
    "traceloop+openllmetry:833": {"input_tokens": 57},
    # writer /v1/chat
    "traceloop+openllmetry:838": {"input_tokens": 212, "output_tokens": 153},
    # writer /v1/chat stream
    "traceloop+openllmetry:850": {"input_tokens": 212, "output_tokens": 153},
}


@pytest.mark.parametrize("place", HAND_VERIFIED)
def test_hand_verified_counts(place: str, records: dict[str, Record]) -> None:
    """One response of every provider and path, its counts read by eye from the recording."""
    found = read(records[place])
    assert found.usage is not None and found.usage.to_dict() == HAND_VERIFIED[place]
