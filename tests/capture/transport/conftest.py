"""A server on this machine that answers with recorded responses, whole, in pieces, packed, late or broken off."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from farthing import CostTracker, Event, Extraction, extract
from farthing.capture import transport
from farthing.capture.faults import FAULTS


@dataclass
class Recording:
    """One recorded response."""

    provider: str
    path: str
    status: int
    content_type: str
    stream: bool
    body: bytes
    request: dict[str, Any]

    @cached_property
    def extraction(self) -> Extraction:
        """What the body says by itself."""
        return extract(self.body, provider=_HOSTS.get(self.provider, self.provider), path=self.path,
                       content_type=self.content_type)  # fmt: skip


_HOSTS = {"azure-openai": "azure", "bedrock": "aws", "vertex": "google", "openai-compat-local": "openai"}


@dataclass
class Reply:
    """How to answer once. piece: bytes of a chunk, 0: an event each; cut: only so much, then the line goes dead."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    stream: bool = False
    encoding: str | None = None
    piece: int = 0
    cut: int | None = None
    gate: threading.Event | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


class Replay:
    """The server. It gives `replies` one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[Seen] = []
        replay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = _read_body(self)
                replay.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                reply = replay.replies.pop(0) if len(replay.replies) > 1 else replay.replies[0]
                try:
                    _send(self, reply)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_PUT = do_POST

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, *replies: dict[str, Any] | Recording, **how: Any) -> None:
        """Answer with these from now on: recordings, or the fields of a `Reply`."""
        self.replies = [reply_of(one, **how) if isinstance(one, Recording) else Reply(**one) for one in replies]
        self.seen.clear()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def reply_of(recording: Recording, **how: Any) -> Reply:
    """A recording as it came."""
    return Reply(recording.body, recording.content_type, recording.status, recording.stream, **how)


def _read_body(handler: http.server.BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(parts)
    return handler.rfile.read(int(handler.headers.get("content-length") or 0))


@pytest.fixture(scope="session", name="packers")
def _packers_fixture() -> dict[str, Callable[[bytes], bytes]]:
    """The encodings that this Python can make, and how."""
    return packers()


def packers() -> dict[str, Callable[[bytes], bytes]]:
    """The encodings that this Python can make."""
    found: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    try:
        import brotli

        found["br"] = brotli.compress
    except ModuleNotFoundError:
        pass
    try:
        import zstandard

        found["zstd"] = zstandard.ZstdCompressor().compress
    except ModuleNotFoundError:
        pass
    return found


def _send(handler: http.server.BaseHTTPRequestHandler, reply: Reply) -> None:
    body = packers()[reply.encoding](reply.body) if reply.encoding else reply.body
    handler.send_response(reply.status)
    handler.send_header(
        "Content-Type", reply.content_type or ("text/event-stream" if reply.stream else "application/json")
    )
    if reply.encoding:
        handler.send_header("Content-Encoding", reply.encoding)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    if not reply.stream:
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if reply.cut is None else body[: reply.cut])
    else:
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        sent = 0
        for chunk in _chunks(body, reply):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            handler.wfile.flush()
            sent += len(chunk)
            if reply.gate is not None and sent > len(body) // 2:
                reply.gate.wait(10)
        if reply.cut is None:
            handler.wfile.write(b"0\r\n\r\n")
    if reply.cut is not None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


def _chunks(body: bytes, reply: Reply) -> Iterator[bytes]:
    body = body if reply.cut is None else body[: reply.cut]
    if reply.piece or reply.encoding or reply.content_type.startswith("application/vnd"):
        size = reply.piece or 61
        yield from (body[at : at + size] for at in range(0, len(body), size))
        return
    mark = b"\n\n" if b"\n\n" in body else b"\n"
    parts = body.split(mark)
    yield from (part + mark for part in parts[:-1])
    if parts[-1]:
        yield parts[-1]


@pytest.fixture(scope="session")
def recordings(shared: Path) -> list[Recording]:
    """All recorded responses."""
    found = []
    for path in sorted(shared.glob("realdata/*/responses.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            body = row["body"].encode() if row.get("body") is not None else base64.b64decode(row["body_b64"])
            found.append(
                Recording(
                    row["provider"], row["path"], row["status"], row["content_type"] or "", row["stream"], body,
                    row["request"] or {},
                )
            )  # fmt: skip
    return found


Pick = Callable[..., Recording]


@pytest.fixture(scope="session")
def pick(recordings: list[Recording]) -> Pick:
    """The richest recording of a provider whose path ends so, and that has or has no usage."""

    def pick(provider: str, ending: str, *, stream: bool = False, usage: bool = True, has: bytes = b"") -> Recording:
        fitting = [
            one
            for one in recordings
            if one.provider == provider and one.path.partition("?")[0].endswith(ending) and one.stream == stream
            and one.status == 200 and has in one.body
            and (one.extraction.usage is not None and one.extraction.status == "reported") == usage
        ]  # fmt: skip
        assert fitting, f"no recording of {provider} {ending}"
        return max(fitting, key=lambda one: (bool(one.content_type), len(one.body) if len(one.body) < 40_000 else 0))

    return pick


@pytest.fixture(scope="session")
def server() -> Iterator[Replay]:
    """One server for all tests."""
    replay = Replay()
    yield replay
    replay.close()


@pytest.fixture
def replay(server: Replay) -> Replay:
    """The server, with nothing left of other tests."""
    server.serve()
    return server


class Metered:
    """A tracker of the test's own, and what it recorded."""

    def __init__(self, tracker: CostTracker) -> None:
        self.tracker = tracker

    @property
    def events(self) -> list[Event]:
        """All events, in the order they were recorded."""
        return list(self.tracker.ledger.events(order="recorded"))

    @property
    def event(self) -> Event:
        """The one event there is."""
        (event,) = self.events
        return event


@pytest.fixture
def metered(replay: Replay) -> Iterator[Callable[..., Metered]]:
    """Switches the metering on: `metered("openai")` takes the server for one of OpenAI's."""
    trackers: list[CostTracker] = []

    def start(provider: str | None = None, **how: Any) -> Metered:
        tracker = CostTracker(":memory:")
        trackers.append(tracker)
        transport.instrument(tracker, hosts={replay.host: provider} if provider else {}, **how)
        return Metered(tracker)

    before = FAULTS.total
    yield start
    transport.uninstrument()
    for tracker in trackers:
        assert tracker.faults == 0
        tracker.close()
    assert FAULTS.total == before, FAULTS.counts
