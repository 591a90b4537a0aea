"""Hooks for `urllib3`, and so for `requests` and `botocore`, which send everything through its connection pools.

One `urlopen` is one attempt. The response becomes one of a subclass of its own class, whose reading methods look at
what they return; its identity, its attributes and what it is an instance of stay the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from farthing.capture.faults import allowed, guarded
from farthing.capture.meter import INSIDE, Dispatch, Meter, Outgoing
from farthing.capture.observed import Header
from farthing.capture.stream import Tap
from farthing.capture.transport.live import LIVE
from farthing.capture.transport.patches import Patches, Wrapper
from farthing.capture.transport.shelter import refuse
from farthing.capture.transport.telling import told
from farthing.errors import BudgetError

NAMES = ("urllib3",)


def hook(module: ModuleType, patches: Patches) -> None:
    """Hooks the connection pools of a loaded `urllib3`."""
    patches.wrap(module.HTTPConnectionPool, "urlopen", _urlopen)
    patches.modules["urllib3"] = str(getattr(module, "__version__", ""))


def _urlopen(original: Wrapper) -> Wrapper:
    def urlopen(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        meter = LIVE.meter
        if meter is None or INSIDE.get():
            return original(pool, method, url, *args, **kwargs)
        dispatch = guarded("reading a request of urllib3", _dispatch, meter, pool, method, url, args, kwargs)
        if dispatch is None:
            return original(pool, method, url, *args, **kwargs)
        try:
            dispatch.admit()
        except BudgetError as refused:
            refuse(refused)
        if dispatch.sent is not None:
            url, args = _changed(url, args, kwargs, *dispatch.sent)
        token = INSIDE.set(True)
        response = None
        try:
            response = original(pool, method, url, *args, **kwargs)
        finally:
            INSIDE.reset(token)
            if response is None:
                dispatch.failed(sys.exception())
        guarded("reading a response of urllib3", _answered, dispatch, response)
        return response

    return urlopen


def _dispatch(
    meter: Meter, pool: Any, method: str, url: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Dispatch | None:
    host = pool.host if pool.port in (None, 80, 443) else f"{pool.host}:{pool.port}"
    if "://" in url:
        host, _, path = url.partition("://")[2].partition("/")
        url = f"/{path}"
    target = meter.target(method, host, url)
    if target is None:
        return None
    body = args[0] if args else kwargs.get("body")
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    elif isinstance(body, bytearray):
        body = bytes(body)
    headers = args[1] if len(args) > 1 else kwargs.get("headers")
    outgoing = Outgoing(url, header_of(headers), body if isinstance(body, bytes) else None)
    dispatch = Dispatch(meter, target, outgoing, on_loop=False)
    if "headers" in kwargs and "AWS4" not in (outgoing.header("authorization") or ""):  # AWS signs the headers too
        kwargs["headers"] = without_ours(dispatch, meter, host, headers)
    return dispatch


def _changed(
    url: str, args: tuple[Any, ...], kwargs: dict[str, Any], path: str, body: bytes
) -> tuple[str, tuple[Any, ...]]:
    """URL and further arguments for another path and body; keywords are changed in place."""
    before, mark, rest = url.partition("://")
    url = f"{before}{mark}{rest.partition('/')[0]}{path}" if mark else path
    headers = args[1] if len(args) > 1 else kwargs.get("headers")
    kept = headers.copy() if headers is not None else {}
    for name in [name for name in kept if _text(name).lower() == "content-length"]:
        kept[name] = str(len(body))
    if args:
        return url, (body, kept, *args[2:]) if len(args) > 1 else (body,)
    kwargs["body"], kwargs["headers"] = body, kept
    return url, args


def without_ours(dispatch: Dispatch, meter: Meter, host: str, headers: Any) -> Any:
    """The headers as they may be sent to the host; what ours said is the call's attribution."""
    said = told(host, dict(headers or ()).items(), meter.tell)
    if said is None:
        return headers
    dispatch.who = said.who
    kept = headers.copy() if headers is not None else {}
    for name in said.remove:
        kept.pop(name, None)
    kept.update(said.add)
    return kept


def header_of(headers: Any) -> Header:
    """A getter of headers by their lower-case name, whatever mapping they are in."""

    found: dict[str, str] = {}

    def header(name: str) -> str | None:
        if not found and headers:
            found.update((_text(key).lower(), _text(value)) for key, value in dict(headers).items())
        return found.get(name)

    return header


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _answered(dispatch: Dispatch, response: Any) -> None:
    dispatch.answered(response.status, response.headers.get)
    if getattr(response, "_body", None) is not None:  # read by the pool itself
        dispatch.finish(response.data)
        return
    tap = dispatch.tap()
    response._farthing_tap = tap
    base = type(response)
    if base not in _known:
        _known[base] = _tapped(base)
    response.__class__ = _known[base]


_known: dict[type, type] = {}


def _tapped(base: Any) -> type:
    """A subclass of a response's class whose reading methods tell the response's tap what they return."""

    class Tapped(base):  # type: ignore[misc]
        """A response that is looked at."""

        _farthing_tap: Tap

        def read(self, amt: int | None = None, decode_content: bool | None = None, *args: Any, **kwargs: Any) -> Any:
            """As in the base class."""
            data = _seen(self, super().read, amt, decode_content, *args, **kwargs)
            if amt is None:
                self._farthing_tap.end(whole=True)
            return data

        def read1(self, amt: int | None = None, decode_content: bool | None = None) -> Any:
            """As in the base class."""
            return _seen(self, super().read1, amt, decode_content)

        def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
            """As in the base class."""
            tap = self._farthing_tap
            tap.packed = not _unpacks(self, decode_content)
            whole = False
            try:
                for chunk in super().read_chunked(amt, decode_content):
                    tap.add(chunk)
                    yield chunk
                    _look(self, tap)
                whole = True
            finally:
                tap.end(None if whole else sys.exception(), whole=whole)

        def drain_conn(self) -> None:
            """As in the base class; the rest of the body is thrown away."""
            super().drain_conn()
            self._farthing_tap.end()

        def close(self) -> None:
            """As in the base class; what has been seen by then is what there is."""
            try:
                super().close()
            finally:
                self._farthing_tap.end(whole=self.length_remaining == 0)

    Tapped.__name__, Tapped.__qualname__, Tapped.__module__ = base.__name__, base.__qualname__, base.__module__
    return Tapped


def _unpacks(response: Any, decode_content: bool | None) -> bool:
    return bool(response.decode_content if decode_content is None else decode_content)


def _look(response: Any, tap: Tap) -> None:
    """Whether the stream may go on; BudgetExceededError, and it is closed: it may not."""
    if tap.watch is None or tap.over or not tap.watch.due():
        return
    try:
        allowed("looking at a stream", tap.watch.look)
    except BudgetError as refused:
        tap.end(refused)
        response.close()
        raise


def _seen(response: Any, read: Any, amt: int | None, decode_content: bool | None, *args: Any, **kwargs: Any) -> Any:
    """What `read` returns, told to the tap; at the end of the body the tap ends."""
    tap: Tap = response._farthing_tap
    done = False
    try:
        _look(response, tap)
        data = read(amt, decode_content, *args, **kwargs)
        done = True
    finally:
        if not done:
            tap.end(sys.exception())
    if data:
        tap.packed = not _unpacks(response, decode_content)
        tap.add(data)
    if (not data and amt != 0) or response.length_remaining == 0:
        tap.end(whole=True)
    return data
