"""Hooks for `httpx` and `httpx2`: `send` of the clients, which everything that they do goes through.

One `send` is one attempt of a caller, redirects and authentication included. A body that streams is teed where the
response takes its bytes from, still packed: the response's class, its iterators and their errors stay the library's.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from farthing.budgets.aside import aside
from farthing.capture.faults import allowed, guarded
from farthing.capture.headers import PREFIX
from farthing.capture.meter import INSIDE, Dispatch, Meter, Outgoing
from farthing.capture.stream import Tap, Watch
from farthing.capture.transport.live import LIVE
from farthing.capture.transport.patches import Patches, Wrapper
from farthing.capture.transport.shelter import refuse
from farthing.capture.transport.telling import BAGGAGE, Told, told
from farthing.capture.transport.usage_chunk import Hider, asking
from farthing.errors import BudgetError

NAMES = ("httpx", "httpx2")


def hook(module: ModuleType, patches: Patches) -> None:
    """Hooks the clients of a loaded `httpx` or `httpx2`."""
    tee, async_tee = _sync_tee(module), _async_tee(module)
    patches.wrap(module.Client, "send", lambda original: _sync(original, tee))
    patches.wrap(module.AsyncClient, "send", lambda original: _async(original, async_tee))
    patches.modules[module.__name__] = str(getattr(module, "__version__", ""))


def _sync(original: Wrapper, tee: type) -> Wrapper:
    def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        way = _begin(request, on_loop=False)
        if way is None:
            return original(client, request, *args, **kwargs)
        dispatch = way.dispatch
        try:
            dispatch.admit()
        except BudgetError as refused:
            refuse(refused)
        guarded("changing a request of httpx", way.prepare)
        token = INSIDE.set(True)
        response = None
        try:
            response = original(client, way.request, *args, **kwargs)
        finally:
            INSIDE.reset(token)
            if response is None:
                dispatch.failed(sys.exception())
        guarded("reading a response of httpx", _answered, way, request, response, tee)
        return response

    return send


def _async(original: Wrapper, tee: type) -> Wrapper:
    async def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        way = _begin(request, on_loop=True)
        if way is None:
            return await original(client, request, *args, **kwargs)
        dispatch = way.dispatch
        try:
            await dispatch.admit_async()
        except BudgetError as refused:
            refuse(refused)
        guarded("changing a request of httpx", way.prepare)
        token = INSIDE.set(True)
        response = None
        try:
            response = await original(client, way.request, *args, **kwargs)
        finally:
            INSIDE.reset(token)
            if response is None:
                dispatch.failed(sys.exception())
        guarded("reading a response of httpx", _answered, way, request, response, tee)
        return response

    return send


@dataclass(slots=True)
class _Way:
    """A call under way: the request that is sent, which is the caller's unless usage is asked for, and then hidden, or
    a budget wants a cheaper model."""

    dispatch: Dispatch
    request: Any
    include_usage: bool
    hider: Hider | None = None

    def prepare(self) -> None:
        """Makes the request that is sent, where it is another than the caller's."""
        dispatch = self.dispatch
        if dispatch.sent is not None:
            self.request = _changed(self.request, *dispatch.sent)
        if self.include_usage:
            body = getattr(self.request, "_content", None)
            if (more := guarded("asking for usage", asking, dispatch.outgoing.path, body)) is not None:
                self.request, self.hider = _asking(self.request, more), Hider()


def _begin(request: Any, *, on_loop: bool) -> _Way | None:
    meter = LIVE.meter
    if meter is None or INSIDE.get():
        return None
    return guarded("reading a request of httpx", _dispatch, meter, request, on_loop)


def _dispatch(meter: Meter, request: Any, on_loop: bool) -> _Way | None:
    url = request.url
    path = url.raw_path.decode("ascii", "replace")
    host = url.netloc.decode("ascii", "replace")
    target = meter.target(request.method, host, path)
    if target is None:
        return None
    model = None
    body = getattr(request, "_content", None)
    if body is None:
        model = _field(request.stream, "model")
    headers = _Headers(request.headers)
    dispatch = Dispatch(meter, target, Outgoing(path, headers, body, model), on_loop=on_loop)
    if meter.tell or headers.tell_who():
        said = told(host, request.headers.raw, meter.tell) or Told()
        dispatch.who = said.who
        for name in said.remove:
            request.headers.pop(name, None)
        request.headers.update(said.add)
    return _Way(dispatch, request, meter.include_usage)


def _changed(request: Any, path: str, body: bytes) -> Any:
    """The request with another path and body."""
    url = request.url.copy_with(raw_path=path.encode("ascii", "replace"))
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _LENGTHS]
    return type(request)(request.method, url, headers=headers, content=body, extensions=request.extensions)


def _asking(request: Any, body: bytes) -> Any:
    """The request with another body. Its answer is to come unpacked, so that it can be read as it comes."""
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _OF_THE_BODY]
    headers.append((b"Accept-Encoding", b"identity"))
    return type(request)(request.method, request.url, headers=headers, content=body, extensions=request.extensions)


_LENGTHS = (b"content-length", b"transfer-encoding")
_OF_THE_BODY = (*_LENGTHS, b"accept-encoding")


class _Headers:
    """Headers by their lower-case name, read into a dict when first asked: the library's own search them one by one."""

    __slots__ = ("_found", "_headers")

    def __init__(self, headers: Any) -> None:
        self._headers = headers
        self._found: dict[bytes, bytes] | None = None

    def __call__(self, name: str) -> str | None:
        found = self._found
        if found is None:
            found = self._found = {key.lower(): value for key, value in self._headers.raw}
        value = found.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def tell_who(self) -> bool:
        """Whether any of them may say who the call is for."""
        names = b"\n".join([name for name, _ in self._headers.raw]).lower()
        return _OURS in names or _BAGGAGE in names


_OURS, _BAGGAGE = PREFIX.encode(), BAGGAGE.encode()


def _field(stream: Any, name: str) -> str | None:
    """A field of a form that is sent as a stream, e.g. with a sound file."""
    for field in getattr(stream, "fields", ()):
        if getattr(field, "name", None) == name and isinstance(value := getattr(field, "value", None), str | bytes):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return None


def _answered(way: _Way, request: Any, response: Any, tee: type) -> None:
    dispatch = way.dispatch
    headers = _Headers(response.headers)
    dispatch.answered(response.status_code, headers)
    if response.request is way.request:  # else redirected
        response.request = request
    hider = way.hider
    if hider is not None and "event-stream" not in (headers("content-type") or ""):
        hider = None
    if hasattr(response, "_content"):
        dispatch.finish(response.content)
        if hider is not None:
            response._content = hider.feed(response.content) + hider.flush()
    else:
        if hider is not None and headers("content-encoding"):  # packed, though it was asked for unpacked
            hider = Hider(_decoder(response))
        response.stream = tee(response.stream, dispatch.tap(), hider)


def _decoder(response: Any) -> Any:
    """What unpacks the response, which is unpacked itself from now on."""
    decoder = response._get_content_decoder()
    del response._decoder  # it is made anew from the headers
    del response.headers["content-encoding"]
    return decoder


def _sync_tee(module: ModuleType) -> type:
    """The wrapper of streams, as a kind of the library's own, which it asks for."""

    class SyncTee(_Tee, module.SyncByteStream):  # type: ignore[name-defined,misc]
        """A synchronous stream that is looked at."""

        def __iter__(self) -> Iterator[bytes]:
            tap, hider = self._tap, self._hider
            add, watch = tap.add, tap.watch
            whole = False
            try:
                for chunk in self._inner:
                    add(chunk)
                    if hider is None:
                        yield chunk
                    elif shown := hider.feed(chunk):
                        yield shown
                    if watch is not None and watch.due():
                        self._look(watch)
                whole = True
                if hider is not None and (shown := hider.flush()):
                    yield shown
            finally:
                tap.end(None if whole else sys.exception(), whole=whole)

        def _look(self, watch: Watch) -> None:
            try:
                allowed(_LOOKING, watch.look)
            except BudgetError:
                self._inner.close()
                raise

        def close(self) -> None:
            """Close it; what has been seen by then is what there is."""
            try:
                self._inner.close()
            finally:
                self._tap.end()

    return SyncTee


def _async_tee(module: ModuleType) -> type:
    """The same for asynchronous streams."""

    class AsyncTee(_Tee, module.AsyncByteStream):  # type: ignore[name-defined,misc]
        """An asynchronous stream that is looked at."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            tap, hider = self._tap, self._hider
            add, watch = tap.add, tap.watch
            whole = False
            try:
                async for chunk in self._inner:
                    add(chunk)
                    if hider is None:
                        yield chunk
                    elif shown := hider.feed(chunk):
                        yield shown
                    if watch is not None and watch.due():
                        await self._look(watch)
                whole = True
                if hider is not None and (shown := hider.flush()):
                    yield shown
            finally:
                tap.end(None if whole else sys.exception(), whole=whole)

        async def _look(self, watch: Watch) -> None:
            try:
                await aside(partial(allowed, _LOOKING, watch.look))
            except BudgetError:
                await self._inner.aclose()
                raise

        async def aclose(self) -> None:
            """Close it; what has been seen by then is what there is."""
            try:
                await self._inner.aclose()
            finally:
                self._tap.end()

    return AsyncTee


_LOOKING = "looking at a stream"


class _Tee:
    """A stream in front of another; what we do not know of it, it answers itself."""

    def __init__(self, inner: Any, tap: Tap, hider: Hider | None) -> None:
        self._inner = inner
        self._tap = tap
        self._hider = hider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._tap.end()
