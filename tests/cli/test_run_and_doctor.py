"""`farthing run` and `farthing doctor`, as users start them."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from farthing import CostTracker
from farthing.capture.faults import FAULTS, guarded
from farthing.capture.transport import instrument, uninstrument
from farthing.cli import doctor
from farthing.pricing.source import Source, bundled

pytest.importorskip("httpx2", reason="CLIENT MISSING: httpx2")

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
PROGRAM = """
import os, subprocess, sys
import httpx2
ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
print(httpx2.post(sys.argv[1] + "/v1/chat/completions", json=ask).json()["id"])
if len(sys.argv) > 3:
    subprocess.run([sys.executable, *sys.argv[:1], sys.argv[1], sys.argv[2]], check=False)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def url() -> Iterator[str]:
    """A server that gives every call an answer of its own id."""
    served = iter(range(10**6))

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({**ANSWER, "id": f"chatcmpl-{next(served)}"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _farthing(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "from farthing.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, "FARTHING_URL": str(folder / "ledger.db"), **env},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_program_is_metered_without_a_change(tmp_path: Path, url: str) -> None:
    """Its calls and those of the Python processes it starts are recorded for the launch; its exit code is ours."""
    app = tmp_path / "app.py"
    app.write_text(PROGRAM)
    (tmp_path / "sitecustomize.py").write_text("print('theirs')")
    done = _farthing(
        tmp_path, "run", "--agent", "nightly", "--set", "team=search", "--",
        sys.executable, str(app), url, "3", "child",
        PYTHONPATH=str(tmp_path), FARTHING_ATTRIBUTES="feature=digest",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout.split().count("theirs") == 3 and "chatcmpl-" in done.stdout
    assert "farthing: 2 calls, 2,200 tokens, $0.007" in done.stderr
    with CostTracker(tmp_path / "ledger.db", scope="ledger") as tracker:
        events = list(tracker.ledger.events())
    assert [(e.attribution.agent, e.attribution.team, e.attribution.feature) for e in events] == [
        ("nightly", "search", "digest")
    ] * 2
    assert len({e.attribution.metadata["launch"] for e in events}) == 1


def test_a_program_that_works_elsewhere_writes_to_the_same_ledger(tmp_path: Path, url: str) -> None:
    """A ledger that is named by a relative path is the launching folder's, wherever the program goes."""
    app, other = tmp_path / "app.py", tmp_path / "other"
    other.mkdir()
    app.write_text(f"import os; os.chdir({str(other)!r})\n{PROGRAM}")
    done = _farthing(tmp_path, "run", "--ledger", "mine.db", "--", sys.executable, str(app), url, "0")
    assert "farthing: 1 call" in done.stderr and (tmp_path / "mine.db").exists()
    assert _farthing(
        tmp_path, "run", "--", sys.executable, str(app), url, "0", FARTHING_URL="mine.db"
    ).stderr.startswith("farthing: 1 call")
    assert list(other.iterdir()) == []


def test_a_script_may_be_named_alone(tmp_path: Path) -> None:
    """`farthing run app.py` runs it with our own Python, and says where nothing was seen."""
    app = tmp_path / "app.py"
    app.write_text("print('done')")
    done = _farthing(tmp_path, "run", str(app))
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "no LLM calls were seen" in done.stderr
    assert _farthing(tmp_path, "run", "--quiet", str(app)).stderr == ""


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """Exit code 127, as in a shell."""
    done = _farthing(tmp_path, "run", "--", "no-such-program")
    assert done.returncode == 127 and "no-such-program: there is no such program" in done.stderr


def test_a_python_without_farthing_says_so_and_goes_on(tmp_path: Path) -> None:
    """Where farthing cannot be loaded the program runs unmetered, and says why once."""
    app = tmp_path / "app.py"
    app.write_text("import sys; sys.modules['farthing'] = None\nimport httpx2; print('fine')")
    done = _farthing(tmp_path, "run", "-q", str(app))
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.stderr.startswith("farthing: not metering: ") and done.stderr.count("\n") == 1


def test_broken_settings_do_not_keep_a_program_from_running(tmp_path: Path, url: str) -> None:
    """It runs unmetered, with its own exit code, and the file that is to be mended is named once."""
    (tmp_path / "farthing.toml").write_text("ledger = [oops")
    app = tmp_path / "app.py"
    app.write_text(PROGRAM)
    done = _farthing(tmp_path, "run", "--", sys.executable, str(app), url, "3")
    assert done.returncode == 3 and "chatcmpl-" in done.stdout
    assert done.stderr.startswith("farthing: not metering: ") and done.stderr.count("\n") == 1
    assert "farthing.toml: cannot be read as TOML" in done.stderr


def test_an_unknown_field_is_refused(run: Callable[..., Result]) -> None:
    """With the known ones."""
    result = run("run", "--set", "colour=red", "--", "true", ok=False)
    assert result.exit_code == 2 and "unknown field 'colour'" in result.output


def _findings(read: Callable[..., Any]) -> dict[str, Any]:
    return {one["what"]: one for one in read("doctor")["findings"]}


def test_doctor_of_nothing(read: Callable[..., Any], tmp_path: Path) -> None:
    """Before the first call it says how to begin, and makes no ledger."""
    found = _findings(read)
    assert found["ledger"]["state"] == "warn" and "farthing.instrument()" in found["ledger"]["remedy"]
    assert not (tmp_path / "ledger.db").exists()
    assert "httpx2" in found["clients"]["words"]
    assert found["faults"]["state"] == found["prices"]["state"] == "good"


def test_doctor_of_a_ledger(run: Callable[..., Result], read: Callable[..., Any]) -> None:
    """Unpriced models and estimated calls are named, each with what to do."""
    run("record", "--model", "nobody-knows-1", "--input", 10)
    with CostTracker() as tracker:
        tracker.record("gpt-4o", input_tokens=5, usage_status="estimated", source="transport")
    found = _findings(read)
    assert found["ledger"]["words"].split(", ")[1] == "2 events"
    assert "nobody-knows-1: 1 call in 30 days" in found["unpriced"]["words"]
    assert "farthing prices add nobody-knows-1" in found["unpriced"]["remedy"]
    assert "include_usage" in found["estimated"]["remedy"]
    assert "last metered call just now" in found["last event"]["words"]
    printed = run("doctor").output
    assert "look  unpriced: nobody-knows-1" in printed


@pytest.mark.filterwarnings("ignore")
def test_doctor_tells_of_faults_of_other_processes(read: Callable[..., Any], capfd: Any) -> None:
    """What an instrumented program swallowed stands in a file; doctor counts it and shows the last."""

    def broken() -> None:
        raise RuntimeError(f"broken in {FAULTS.total}")

    instrument(CostTracker(":memory:"))
    try:
        guarded("testing", broken)
    finally:
        uninstrument()
    found = _findings(read)["faults"]
    assert found["state"] == "warn" and "RuntimeError('broken in" in found["words"]


def test_doctor_of_a_broken_ledger(run: Callable[..., Result], tmp_path: Path) -> None:
    """What is broken makes the exit code 1; the rest is still looked at."""
    (tmp_path / "ledger.db").write_bytes(b"no ledger at all" * 100)
    result = run("doctor", ok=False)
    assert result.exit_code == 1
    assert "BAD   ledger: the ledger" in result.output and "prices:" in result.output


@pytest.mark.parametrize(
    ("ledger", "words"), [("postgres://x/y", "unknown kind of ledger"), ("file/ledger.db", "cannot be made")]
)
def test_doctor_of_a_ledger_that_cannot_be(ledger: str, words: str, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A place where none can be made is broken; it is not said that the first call will make one."""
    (tmp_path / "file").touch()
    result = run("doctor", "--ledger", ledger if "://" in ledger else str(tmp_path / ledger), ok=False)
    assert result.exit_code == 1
    assert "BAD   ledger: " in result.output and words in result.output and "will be made" not in result.output


def test_doctor_of_old_prices(read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price file of months ago is old, and says how to get a newer one."""
    monkeypatch.setenv("FARTHING_DATA_DIR", str(tmp_path))
    path = tmp_path / "prices" / "prices.json"
    path.parent.mkdir()
    model = {"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": 1, "output_mtok": 2}}
    path.write_text(json.dumps([{"id": "x", "name": "X", "api_pattern": "x", "models": [model]}]))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = _findings(read)["prices"]
    assert (found["state"], found["remedy"]) == ("warn", "farthing prices update")


def test_doctor_tells_how_old_the_bundled_prices_are(read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that came with a package has no day of its own: its newest price tells it, and after months it is old."""
    found = _findings(read)["prices"]
    newest = bundled().newest(datetime.now(UTC).date())
    assert newest is not None and f"its newest price of {newest}" in found["words"]
    later = datetime.combine(newest, time(), UTC) + timedelta(days=doctor.OLD_DATA_DAYS + 1)
    assert bundled().newest(newest - timedelta(days=1)) != newest
    monkeypatch.setattr(doctor, "now", lambda: later)
    monkeypatch.setattr(Source, "newest", lambda *_: newest)  # no price that is to come by then
    found = _findings(read)["prices"]
    assert (found["state"], found["remedy"]) == ("warn", "farthing prices update") and "91 days old" in found["words"]
