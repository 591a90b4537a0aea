"""A program that ends amid a stream, or leaves one open after its last event, has paid for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from farthing.ledger.open import open_ledger

PROGRAM = """
import http.server, sys, threading
import farthing
from farthing.ledger.open import open_ledger

class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(
            b'data: {"id":"chatcmpl-left-open-0001","object":"chat.completion.chunk","model":"gpt-4o",'
            b'"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}\\n\\n'
        )
        self.wfile.flush()
        threading.Event().wait(20)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
farthing.instrument(farthing.CostTracker(sys.argv[1]), hosts={host: "openai"})
import httpx2
client = httpx2.Client()
response = client.send(
    client.build_request("POST", f"http://{host}/v1/chat/completions", json={"model": "gpt-4o", "stream": True}),
    stream=True,
)
next(response.iter_bytes())
"""


def test_a_stream_still_open_at_exit_is_recorded(tmp_path: Path) -> None:
    """One call with what was seen of it, and nothing printed."""
    ledger = tmp_path / "l.db"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(ledger)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with open_ledger(ledger) as store:
        (event,) = store.events()
    assert (event.usage.input_tokens, event.usage_status, event.calls) == (9, "partial", 1)
