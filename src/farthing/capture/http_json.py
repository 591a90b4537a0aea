"""JSON over HTTP, for reading other tools' histories: bounded, patient with busy servers, careful with keys.

The standard library's client, so that nothing of ours is metered. Redirects are not followed: they would take the keys
to wherever they lead.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from farthing.errors import InputError

TIMEOUT_S = 60
MAX_BYTES = 256 * 1024 * 1024
"""Bytes of one answer, unpacked."""
TRIES = 6
LONGEST_WAIT_S = 120.0
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Answers that may be others when asked again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: its status and the JSON of its body; None where the body is none."""

    url: str
    status: int
    body: Any

    def checked(self) -> Any:
        """The body of an answer that is none of an error; else InputError, with what the server says."""
        if 200 <= self.status < 300 and self.body is not None:
            return self.body
        hint = {
            401: "the keys are not accepted",
            403: "the keys may not read this",
            404: "there is no such thing; is the URL the server's own?",
        }.get(self.status, "it answered with something else than JSON" if self.status < 300 else "")
        said = (
            self.body.get("message") or self.body.get("error") or self.body.get("detail")
            if isinstance(self.body, Mapping)
            else None
        )
        words = ": ".join(str(part)[:300] for part in (hint, said) if part)
        raise InputError(f"{self.url}: answered {self.status}{f': {words}' if words else ''}")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """No: the answer is the redirect itself."""


class JsonApi:
    """A server that speaks JSON. `sleep` waits so many seconds between tries."""

    def __init__(self, base: str, headers: Mapping[str, str], *, sleep: Callable[[float], object] = time.sleep) -> None:
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"{base!r}: must be the URL of a server, e.g. https://cloud.langfuse.com")
        if parts.username or parts.password:
            raise InputError(f"{parts.hostname}: keys do not belong into a URL; set them in the environment")
        self.base = base.rstrip("/")
        self._headers = {**headers, "Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "farthing"}
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_Stay)

    def get(self, path: str, **params: Any) -> Reply:
        """The answer to a GET; parameters that are None are left out."""
        said = {name: value for name, value in params.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(said)}" if said else path, None)

    def post(self, path: str, body: Any) -> Reply:
        """The answer to a POST of JSON."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Reply:
        url = self.base + path
        shown = url.split("?")[0]
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        wait = 1.0
        for attempt in range(1, TRIES + 1):
            request = urllib.request.Request(url, data=body, headers=headers, method=method)
            try:
                with self._opener.open(request, timeout=TIMEOUT_S) as response:
                    return Reply(shown, response.status, _json(response, shown))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in BUSY or attempt == TRIES:
                        return Reply(shown, error.code, _json(error, shown))
                    asked = _retry_after(error.headers.get("Retry-After"))
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                if attempt == TRIES:
                    reason = getattr(error, "reason", None) or error
                    raise InputError(f"{shown}: cannot be reached: {reason}") from error
                asked = None
            self._sleep(min(asked if asked is not None else wait, LONGEST_WAIT_S))
            wait *= 2
        raise AssertionError("unreachable")


def _json(response: Any, url: str) -> Any:
    """The JSON of a body; None where it is none."""
    packed = response.read(MAX_BYTES + 1)
    if response.headers.get("Content-Encoding", "").lower() == "gzip":
        try:
            unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            packed = unpacker.decompress(packed, MAX_BYTES + 1)
        except zlib.error:
            return None
    if len(packed) > MAX_BYTES:
        raise InputError(f"{url}: answered with more than {MAX_BYTES} bytes")
    try:
        return json.loads(packed)
    except (ValueError, RecursionError):
        return None


def _retry_after(said: str | None) -> float | None:
    """Seconds to wait, of a number or a date; None where nothing usable is said."""
    if not said:
        return None
    if said.strip().isdigit():
        return float(said)
    moment = email.utils.parsedate_tz(said)
    return None if moment is None else max(email.utils.mktime_tz(moment) - time.time(), 0.0)
