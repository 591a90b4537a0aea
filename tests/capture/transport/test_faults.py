"""Whatever goes wrong inside us, the host program's calls go on as if we were not there."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from farthing import CostTracker
from farthing.capture import hosts, later, meter, observed, transport
from farthing.capture.faults import FAULTS
from farthing.capture.later import LATER
from farthing.errors import LedgerBusy, LedgerFull
from farthing.ledger import open_ledger

httpx2 = pytest.importorskip("httpx2", reason="CLIENT MISSING: httpx2")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
PATH = "/v1/chat/completions"


def _sync(url: str) -> bytes:
    return httpx2.post(url, json=ASK).content


def _sync_stream(url: str) -> bytes:
    with httpx2.stream("POST", url, json={**ASK, "stream": True}) as response:
        return b"".join(response.iter_bytes())


def _async(url: str) -> bytes:
    async def main() -> bytes:
        async with httpx2.AsyncClient() as client:
            return (await client.post(url, json=ASK)).content

    return asyncio.run(main())


def _async_stream(url: str) -> bytes:
    async def main() -> bytes:
        async with httpx2.AsyncClient() as client, client.stream("POST", url, json=ASK) as response:
            return b"".join([chunk async for chunk in response.aiter_bytes()])

    return asyncio.run(main())


def _requests(url: str) -> bytes:
    client = pytest.importorskip("requests", reason="CLIENT MISSING: requests")
    with client.post(url, json=ASK, stream=True) as response:
        return b"".join(response.iter_content(64))


def _aiohttp(url: str) -> bytes:
    client = pytest.importorskip("aiohttp", reason="CLIENT MISSING: aiohttp")

    async def main() -> bytes:
        async with client.ClientSession() as session, session.post(url, json=ASK) as response:
            return b"".join([line async for line in response.content])

    return asyncio.run(main())


CLIENTS = [_sync, _sync_stream, _async, _async_stream, _requests, _aiohttp]


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("injected")


PLACES: list[tuple[Any, str]] = [
    (hosts.Hosts, "target"),
    (hosts.Hosts, "_look"),
    (meter.Dispatch, "__init__"),
    (meter.Dispatch, "answered"),
    (meter.Dispatch, "tap"),
    (meter.Dispatch, "_tapped"),
    (meter.Dispatch, "attempt"),
    (meter.Meter, "record"),
    (meter.Meter, "_record"),
    (meter.Meter, "_write"),
    (meter, "read_request"),
    (meter, "fingerprints"),
    (meter, "tokens_by_role"),
    (meter, "api_key_of"),
    (meter, "calls"),
    (meter, "price_call"),
    (meter.scopes, "here"),
    (observed, "extract"),
    (observed, "decoded"),
    (CostTracker, "attributed"),
    (CostTracker, "keep"),
    (CostTracker, "write"),
    (transport.httpx_._Headers, "tell_who"),
    (transport.httpx_, "_answered"),
    (transport.urllib3_, "_answered"),
    (transport.aiohttp_, "_answered"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda part: getattr(part, "__name__", part))
def test_a_fault_anywhere_leaves_every_call_as_it_is(
    owner: Any, name: str, replay: Any, pick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of our functions on the way is made to raise: with every client the caller gets every byte."""
    recording = pick("openai", "/chat/completions", stream=True)
    replay.serve(recording)
    with CostTracker(":memory:") as tracker:
        monkeypatch.setattr(owner, name, _broken)
        transport.instrument(tracker, hosts={replay.host: "openai"})
        try:
            before = FAULTS.total + tracker.faults
            for client in CLIENTS:
                assert client(replay.url + PATH) == recording.body
            LATER.flush()
            if (owner, name) != (observed, "decoded"):
                assert FAULTS.total + tracker.faults > before
        finally:
            monkeypatch.undo()
            transport.uninstrument()


class _Trouble:
    """A ledger that always fails, or that hangs until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self._store = open_ledger(":memory:")
        self.error = error
        self.gate = threading.Event()
        self.url = ":memory:"

    def append(self, *entry: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.gate.wait(10)
        return self._store.append(*entry)

    def append_many(self, entries: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.gate.wait(10)
        return self._store.append_many(entries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("error", [LedgerFull("no space left"), OSError(28, "no space")])
def test_a_ledger_in_trouble(error: Exception, replay: Any, pick: Any) -> None:
    """A full disk: calls succeed, the loss is counted, totals of the run go on."""
    recording = pick("openai", "/chat/completions", stream=True)
    replay.serve(recording)
    tracker = CostTracker(ledger=_Trouble(error))  # type: ignore[arg-type]
    transport.instrument(tracker, hosts={replay.host: "openai"})
    try:
        for client in CLIENTS:
            assert client(replay.url + PATH) == recording.body
        LATER.flush()
        assert tracker.lost == len(CLIENTS)
        assert tracker.totals().calls == 1
    finally:
        transport.uninstrument()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limits", [[], [5]])
def test_what_a_locked_ledger_did_not_take_is_written_later(
    limits: list[int], replay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long another process holds it, nothing is lost as long as there is room; a hold is settled then, too."""
    monkeypatch.setattr(later, "AGAIN_S", 0.0)
    said = {"model": "gpt-4o-mini", "usage": {"prompt_tokens": 15, "completion_tokens": 20, "total_tokens": 35}}
    replay.serve(*({"body": json.dumps({**said, "id": f"chatcmpl-{i}"}).encode()} for i in range(3)))
    ledger = _Trouble(LedgerBusy("locked"))
    ledger.gate.set()
    settle = ledger.accounts.settle

    def settled(*given: Any) -> Any:
        if ledger.error is not None:
            raise ledger.error
        return settle(*given)

    monkeypatch.setattr(ledger.accounts, "settle", settled)
    tracker = CostTracker(ledger=ledger)  # type: ignore[arg-type]
    for limit in limits:
        tracker.guard.set(calls=limit)
    transport.instrument(tracker, hosts={replay.host: "openai"})
    try:
        for _ in range(3):
            _sync(replay.url + PATH)
        LATER.flush()
        LATER.flush()
        assert tracker.totals().calls == 3 and tracker.lost == 0 and tracker.faults > 0
        ledger.error = None
        LATER.flush()
        LATER.flush()
        assert tracker.breakdown()[0].totals.calls == 3 and tracker.lost == 0
        assert [(one.posted, one.reserved) for one in tracker.guard.status()] == [(3, 0) for _ in limits]
    finally:
        ledger.error = None
        transport.uninstrument()


def test_a_locked_ledger_does_not_stop_an_event_loop(replay: Any, pick: Any) -> None:
    """While a write hangs, the loop goes on, calls return, and all is written once the lock is gone."""
    recording = pick("openai", "/chat/completions")
    replay.serve(*({"body": recording.body.replace(b"chatcmpl-", b"chatcmpl-%d" % i)} for i in range(5)))
    ledger = _Trouble()
    tracker = CostTracker(ledger=ledger)  # type: ignore[arg-type]
    transport.instrument(tracker, hosts={replay.host: "openai"})
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - started)

    async def main() -> None:
        beating = asyncio.create_task(heartbeat())
        async with httpx2.AsyncClient() as client:
            for _ in range(5):
                await client.post(replay.url + PATH, json=ASK)
        beating.cancel()

    try:
        asyncio.run(main())
        assert tracker.totals().calls == 5
        assert longest < 5  # the write hangs for 10
        ledger.gate.set()
        assert tracker.breakdown()[0].totals.calls == 5
    finally:
        ledger.gate.set()
        transport.uninstrument()


def test_a_slow_ledger_is_written_behind_the_callers_back(
    replay: Any, pick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `at_once` a caller waits for its write; after a slow one it does not, until writes are fast again."""
    recording = pick("openai", "/chat/completions")
    replay.serve(*({"body": recording.body.replace(b"chatcmpl-", b"chatcmpl-%d" % i)} for i in range(4)))
    ledger = _Trouble()
    tracker = CostTracker(ledger=ledger)  # type: ignore[arg-type]
    transport.instrument(tracker, hosts={replay.host: "openai"}, at_once=True)
    writers: list[str] = []
    write = tracker.write

    def noted(entries: Any, *more: Any) -> None:
        writers.append(threading.current_thread().name)
        write(entries, *more)

    monkeypatch.setattr(tracker, "write", noted)
    ledger.gate.set()
    try:
        monkeypatch.setattr(meter, "SLOW_S", -1.0)
        _sync(replay.url + PATH)
        _sync(replay.url + PATH)
        LATER.flush()
        monkeypatch.setattr(meter, "SLOW_S", 60.0)
        _sync(replay.url + PATH)
        LATER.flush()
        _sync(replay.url + PATH)
        mine = threading.current_thread().name
        assert writers == [mine, "farthing-capture", "farthing-capture", mine]
        assert tracker.breakdown()[0].totals.calls == 4
    finally:
        transport.uninstrument()


def test_work_left_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the queue is counted as a fault, and refused."""
    monkeypatch.setattr(later, "LIMIT", 0)
    before = FAULTS.counts["waiting for the ledger"]
    LATER.do(_broken)
    assert FAULTS.counts["waiting for the ledger"] == before + 1


def test_a_childs_queue_is_its_own() -> None:
    """A forked process starts with nothing to write: what its parent had queued, the parent writes."""
    gate = threading.Event()
    LATER.do(lambda: gate.wait(10))
    LATER.do(lambda: None)
    LATER._fresh()
    assert LATER._queue.qsize() == 0
    gate.set()
