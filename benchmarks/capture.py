"""Metering at the HTTP client: what it adds to a call and to a stream's chunk, and what other instrumentations add.

The openai SDK talks to a transport in memory, so that nothing is measured but the SDK and what is hooked into it. All
variants run in turns within one process, and each counts by its best tenth: what else the machine does falls out.
"""

from __future__ import annotations

import gc
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import farthing
from benchmarks._measure import claim
from farthing.capture import transport

CALL_LIMIT_US = 150.0
CHUNK_LIMIT_US = 2.0
OTHER_LIMIT_US = 5.0
CHUNKS = 400
ROUNDS = 4
_number = itertools.count()

ASK: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant that answers in short sentences. " * 8},
        {"role": "user", "content": "What will the weather be like in Paris tomorrow? " * 6},
    ],
}


def _whole() -> bytes:
    return json.dumps(
        {
            "id": f"chatcmpl-{next(_number):024d}",
            "object": "chat.completion",
            "created": 1_795_000_000,
            "model": "gpt-4o-2024-08-06",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It rains. " * 60}}
            ],
            "usage": {
                "prompt_tokens": 240,
                "completion_tokens": 180,
                "total_tokens": 420,
                "prompt_tokens_details": {"cached_tokens": 128},
            },
            "service_tier": "default",
        }
    ).encode()


def _pieces(chunks: int) -> list[bytes]:
    head = {"id": f"chatcmpl-{next(_number):024d}", "object": "chat.completion.chunk", "created": 1_795_000_000,
            "model": "gpt-4o-2024-08-06", "service_tier": "default", "system_fingerprint": "fp_b376dfbbd5"}  # fmt: skip
    one = {**head, "choices": [{"index": 0, "delta": {"content": " rain"}, "finish_reason": None}], "usage": None}
    last = {**head, "choices": [], "usage": {"prompt_tokens": 240, "completion_tokens": chunks, "total_tokens": 0}}
    piece = b"data: " + json.dumps(one).encode() + b"\n\n"
    return [piece] * chunks + [b"data: " + json.dumps(last).encode() + b"\n\n", b"data: [DONE]\n\n"]


def _client(chunks: int) -> Any:
    import httpx2
    import openai

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=iter(_pieces(chunks)))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=_whole())

    return openai.OpenAI(
        api_key="sk-0123456789abcdefghij", http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )


def _time_us(work: Callable[[], object], calls: int) -> float:
    """What one call takes of its thread's time, in microseconds: the fastest tenth, for others share the machine."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(calls):
            started = time.thread_time_ns()
            work()
            times.append(time.thread_time_ns() - started)
    finally:
        gc.enable()
    return sorted(times)[len(times) // 10] / 1_000


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _ours(folder: Path) -> Iterator[None]:
    with farthing.CostTracker(folder / f"{next(_number)}.db") as tracker:
        transport.instrument(tracker)
        try:
            yield
        finally:
            transport.uninstrument()


def _peers() -> dict[str, Callable[[], Any]]:
    """The other instrumentations that are installed, each with its spans batched and exported to nowhere."""
    found: dict[str, Callable[[], Any]] = {}
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    except ImportError:
        return found

    class Nowhere(SpanExporter):  # type: ignore[misc,unused-ignore]
        """An exporter that takes no time, in their favour."""

        def export(self, spans: Any) -> Any:
            """Done."""
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))

    def peer(instrumentor: Any) -> Callable[[], Any]:
        @contextmanager
        def on() -> Iterator[None]:
            one = instrumentor()
            one.instrument(tracer_provider=provider)
            try:
                yield
            finally:
                one.uninstrument()

        return on

    try:
        from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference

        found["OpenInference"] = peer(OpenInference)
    except ImportError:
        pass
    try:
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry

        found["OpenLLMetry"] = peer(OpenLLMetry)
    except ImportError:
        pass
    return found


def _best(variants: dict[str, Callable[[], Any]], work: Callable[[], object], calls: int) -> dict[str, float]:
    """The best round of each variant, in microseconds a call; the variants take turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, variant in variants.items():
            with variant():
                for _ in range(10):
                    work()
                times[name].append(_time_us(work, calls))
    return {name: min(rounds) for name, rounds in times.items()}


def main() -> bool:
    """Whether the limits hold, and whether we add less than the others."""
    try:
        import httpx2
        import openai  # noqa: F401
    except ImportError as error:
        print(f"   SKIPPED: {error}")
        return True
    held = True
    with tempfile.TemporaryDirectory() as name:
        peers = _peers()
        variants = {"nothing": _nothing, "farthing": lambda: _ours(Path(name)), **peers}
        client, short = _client(CHUNKS), _client(0)
        calls = _best(variants, lambda: client.chat.completions.create(**ASK), 100)

        def stream(of: Any) -> Callable[[], object]:
            return lambda: [None for _ in of.chat.completions.create(**ASK, stream=True)]

        streams, empty = _best(variants, stream(client), 10), _best(variants, stream(short), 60)
        plain = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=b"{}")))
        only = {name: variants[name] for name in ("nothing", "farthing")}
        others = _best(only, lambda: plain.post("https://example.com/api/things", json={"a": 1}), 300)
    added = {name: calls[name] - calls["nothing"] for name in variants}
    per_chunk = {
        name: (streams[name] - empty[name] - (streams["nothing"] - empty["nothing"])) / CHUNKS for name in variants
    }
    for name in variants:
        print(f"   {name:14} a call {calls[name]:8.1f} µs (+{added[name]:.1f})   a chunk +{per_chunk[name]:.2f} µs")
    other = others["farthing"] - others["nothing"]
    held &= claim("added to a call", added["farthing"] / CALL_LIMIT_US, at_most=1, detail=f"of {CALL_LIMIT_US:g} µs")
    held &= claim(
        "added to a chunk", per_chunk["farthing"] / CHUNK_LIMIT_US, at_most=1, detail=f"of {CHUNK_LIMIT_US:g} µs"
    )
    held &= claim("added to a request that is no call", other / OTHER_LIMIT_US, at_most=1, detail=f"{other:.1f} µs")
    for name in peers:
        held &= claim(f"added to a call, against {name}", added["farthing"] / added[name], at_most=1)
        held &= claim(f"added to a chunk, against {name}", per_chunk["farthing"] / per_chunk[name], at_most=1)
    if not peers:
        print("   SKIPPED: neither OpenInference nor OpenLLMetry is installed")
    return held
