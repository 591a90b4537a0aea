"""Hooks for `aiohttp`: the session's one way to make a request, and the reader of its response's content.

`response.content` becomes a reader in front of the library's own, of a subclass of its class, which looks at what is
read from it. Everything else about the response stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from farthing.budgets.aside import aside
from farthing.capture.faults import allowed, guarded
from farthing.capture.meter import INSIDE, Dispatch, Meter, Outgoing
from farthing.capture.observed import Header
from farthing.capture.stream import Tap, Watch
from farthing.capture.transport.live import LIVE
from farthing.capture.transport.patches import Patches, Wrapper
from farthing.capture.transport.shelter import refuse
from farthing.capture.transport.telling import told
from farthing.capture.transport.urllib3_ import header_of
from farthing.errors import BudgetError

NAMES = ("aiohttp",)


def hook(module: ModuleType, patches: Patches) -> None:
    """Hooks the sessions of a loaded `aiohttp`."""
    reader = _reader(module.StreamReader)
    patches.wrap(module.ClientSession, "_request", lambda original: _request(original, module, reader))
    patches.wrap(module.ClientSession, "_prepare_headers", _prepare_headers)
    patches.modules["aiohttp"] = str(getattr(module, "__version__", ""))


def _request(original: Wrapper, module: Any, reader: type) -> Wrapper:
    async def request(session: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        meter = LIVE.meter
        if meter is None or INSIDE.get():
            return await original(session, method, str_or_url, **kwargs)
        read = partial(_dispatch, meter, session, method, str_or_url, kwargs, module)
        dispatch = guarded("reading a request of aiohttp", read)
        if dispatch is None:
            return await original(session, method, str_or_url, **kwargs)
        try:
            await dispatch.admit_async()
        except BudgetError as refused:
            _withheld.set(())
            refuse(refused)
        if dispatch.sent is not None:
            change = partial(_changed, session, str_or_url, kwargs, module, dispatch.sent)
            str_or_url = guarded("changing a request of aiohttp", change) or str_or_url
        token = INSIDE.set(True)
        response = None
        try:
            response = await original(session, method, str_or_url, **kwargs)
        finally:
            INSIDE.reset(token)
            _withheld.set(())
            if response is None:
                guarded("reading a failure of aiohttp", _failed, dispatch, sys.exception())
        guarded("reading a response of aiohttp", _answered, dispatch, response, session, reader)
        return response

    return request


_withheld: ContextVar[tuple[str, ...]] = ContextVar("farthing_withheld", default=())
"""Headers that a session sends with every request, and that the host of the present one shall not see."""


def _prepare_headers(original: Wrapper) -> Wrapper:
    def prepare(session: Any, headers: Any) -> Any:
        found = original(session, headers)
        for name in _withheld.get():
            found.popall(name, None)
        return found

    return prepare


def _tell(dispatch: Dispatch, meter: Meter, host: str, session: Any, kwargs: dict[str, Any]) -> None:
    """Takes who the call is for from the headers of session and request, and makes them what the host may see."""
    given = kwargs.get("headers") or ()
    own = list(given.items() if isinstance(given, Mapping) else given)
    said = told(host, [*session.headers.items(), *own], meter.tell)
    if said is None:
        return
    dispatch.who = said.who
    kept = [(name, value) for name, value in own if name not in said.remove] + list(said.add.items())
    kwargs["headers"] = kept
    sent = {name.lower() for name, _ in kept}
    _withheld.set(tuple(name for name in said.remove if name.lower() not in sent))


def _dispatch(
    meter: Meter, session: Any, method: str, str_or_url: Any, kwargs: dict[str, Any], module: Any
) -> Dispatch | None:
    url = session._build_url(str_or_url)
    host = url.host or ""
    if not url.is_default_port() and url.port:
        host = f"{host}:{url.port}"
    target = meter.target(method.upper(), host, url.raw_path_qs)
    if target is None:
        return None
    model, body = None, None
    data = kwargs.get("data")
    if data is None and kwargs.get("json") is not None:
        data = _written(module, session, kwargs["json"])
        kwargs |= {"data": data, "json": None}  # so that it is not written twice
    if isinstance(data, bytes | bytearray | str):
        body = data.encode() if isinstance(data, str) else bytes(data)
    elif data is not None:
        body = getattr(data, "_value", None)
        model = _field(data, "model")
    outgoing = Outgoing(url.raw_path_qs, _headers(session, kwargs), body if isinstance(body, bytes) else None, model)
    dispatch = Dispatch(meter, target, outgoing, on_loop=True)
    _tell(dispatch, meter, host, session, kwargs)
    return dispatch


def _written(module: Any, session: Any, value: Any) -> Any:
    """The body that the session makes of JSON: what may stand in it, only its own serializer knows."""
    if (in_bytes := getattr(session, "_json_serialize_bytes", None)) is not None:
        return module.payload.JsonBytesPayload(value, dumps=in_bytes)
    return module.JsonPayload(value, dumps=session.json_serialize)


def _changed(session: Any, str_or_url: Any, kwargs: dict[str, Any], module: Any, sent: tuple[str, bytes]) -> Any:
    """The URL with another path; the body is changed in the keywords."""
    path, body = sent
    url = session._build_url(str_or_url)
    data = kwargs.get("data")
    kwargs["data"] = body
    if isinstance(data, module.Payload):
        kwargs["data"] = module.BytesPayload(body, content_type=data.content_type, encoding=data.encoding)
    if path == url.raw_path_qs:
        return str_or_url
    bare, _, query = path.partition("?")
    return url.with_path(bare, encoded=True).with_query(query or None)


def _field(form: Any, name: str) -> str | None:
    """A field of a form, as `FormData` keeps it: (options, headers, value)."""
    for field in getattr(form, "_fields", ()):
        if isinstance(field, tuple) and len(field) == 3 and field[0].get("name") == name and isinstance(field[2], str):
            return field[2]
    return None


def _headers(session: Any, kwargs: dict[str, Any]) -> Header:
    own, common = header_of(kwargs.get("headers")), header_of(session.headers)
    return lambda name: own(name) or common(name)


def _failed(dispatch: Dispatch, error: BaseException | None) -> None:
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:  # raise_for_status: an answer all the same
        dispatch.answered(status, header_of(getattr(error, "headers", None)))
        dispatch.finish(str(getattr(error, "message", "")).encode())
    else:
        dispatch.failed(error)


def _answered(dispatch: Dispatch, response: Any, session: Any, reader: type) -> None:
    dispatch.answered(response.status, response.headers.get)
    tap = dispatch.tap()
    tap.packed = not session.auto_decompress
    inner = response.content
    if inner.at_eof():
        tap.end(whole=True)
    else:
        response.content = reader(inner, tap)


def _reader(base: Any) -> type:
    """A subclass of the reader's class that stands in front of another reader and tells a tap what is read."""

    class Reader(base):  # type: ignore[misc]
        """A reader that is looked at."""

        def __init__(self, inner: Any, tap: Tap) -> None:
            self._inner = inner
            self._tap = tap

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def set_exception(self, exc: BaseException, *more: Any) -> None:
            """As in the base class. It is called when the response is closed: then nothing more will be seen."""
            self._inner.set_exception(exc, *more)
            self._tap.end(None if type(exc).__name__ == "ClientConnectionError" else exc)

        async def readchunk(self) -> Any:
            """As in the base class."""
            found = await _read(self._inner.readchunk, self._inner, self._tap)
            _noted(self._inner, self._tap, found[0])
            return found

        def read_nowait(self, *args: Any) -> Any:
            """As in the base class."""
            return _noted(self._inner, self._tap, self._inner.read_nowait(*args))

        def __del__(self) -> None:
            self._tap.end()

    own = set(vars(Reader))
    for name, method in vars(base).items():
        if name in own or name.startswith(("__", "iter_")) or not callable(method):
            continue
        setattr(Reader, name, _reading(name) if name in _READING else _passed(name))
    return Reader


_READING = ("read", "readany", "readexactly", "readline", "readuntil")


def _reading(name: str) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = await _read(getattr(self._inner, name), self._inner, self._tap, *args, **kwargs)
        return _noted(self._inner, self._tap, found)

    return method


def _passed(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._inner, name)(*args, **kwargs)

    return method


async def _read(read: Callable[..., Any], inner: Any, tap: Tap, *args: Any, **kwargs: Any) -> Any:
    """What is read; a failure of the connection ends the tap, a wait that was cancelled does not."""
    if tap.watch is not None and not tap.over and tap.watch.due():
        await _look(inner, tap, tap.watch)
    done = False
    try:
        found = await read(*args, **kwargs)
        done = True
    finally:
        if not done and inner.exception() is not None:
            tap.end(inner.exception())
    return found


async def _look(inner: Any, tap: Tap, watch: Watch) -> None:
    """Whether the stream may go on; BudgetExceededError, and its connection is closed: it may not."""
    try:
        await aside(partial(allowed, "looking at a stream", watch.look))
    except BudgetError as refused:
        tap.end(refused)
        protocol = getattr(inner, "_protocol", None)
        if protocol is not None and protocol.transport is not None:
            protocol.transport.close()
        raise


def _noted(inner: Any, tap: Tap, data: bytes) -> bytes:
    if data:
        tap.add(data)
    if inner.at_eof():
        tap.end(whole=True)
    return data
