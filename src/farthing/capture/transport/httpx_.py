"""Hooks for `httpx` and `httpx2`: `send` of the clients, which everything that they do goes through.

One `send` is one attempt of a caller, redirects and authentication included. A body that streams is teed where the
response takes its bytes from, still packed: the response's class, its iterators and their errors stay the library's.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from farthing.capture.faults import guarded
from farthing.capture.meter import INSIDE, Dispatch, Meter, Outgoing
from farthing.capture.stream import Tap
from farthing.capture.transport.live import LIVE
from farthing.capture.transport.patches import Patches, Wrapper

NAMES = ("httpx", "httpx2")


def hook(module: ModuleType, patches: Patches) -> None:
    """Hooks the clients of a loaded `httpx` or `httpx2`."""
    tees = _tees(module)
    patches.wrap(module.Client, "send", lambda original: _sync(original, tees[0]))
    patches.wrap(module.AsyncClient, "send", lambda original: _async(original, tees[1]))
    patches.modules[module.__name__] = str(getattr(module, "__version__", ""))


def _sync(original: Wrapper, tee: type) -> Wrapper:
    def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        dispatch = _begin(request, on_loop=False)
        if dispatch is None:
            return original(client, request, *args, **kwargs)
        token = INSIDE.set(True)
        response = None
        try:
            response = original(client, request, *args, **kwargs)
        finally:
            INSIDE.reset(token)
            if response is None:
                dispatch.failed(sys.exception())
        guarded("reading a response of httpx", _answered, dispatch, response, tee)
        return response

    return send


def _async(original: Wrapper, tee: type) -> Wrapper:
    async def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        dispatch = _begin(request, on_loop=True)
        if dispatch is None:
            return await original(client, request, *args, **kwargs)
        token = INSIDE.set(True)
        response = None
        try:
            response = await original(client, request, *args, **kwargs)
        finally:
            INSIDE.reset(token)
            if response is None:
                dispatch.failed(sys.exception())
        guarded("reading a response of httpx", _answered, dispatch, response, tee)
        return response

    return send


def _begin(request: Any, *, on_loop: bool) -> Dispatch | None:
    meter = LIVE.meter
    if meter is None or INSIDE.get():
        return None
    return guarded("reading a request of httpx", _dispatch, meter, request, on_loop)


def _dispatch(meter: Meter, request: Any, on_loop: bool) -> Dispatch | None:
    url = request.url
    path = url.raw_path.decode("ascii", "replace")
    target = meter.target(request.method, url.netloc.decode("ascii", "replace"), path)
    if target is None:
        return None
    model = None
    body = getattr(request, "_content", None)
    if body is None:
        model = _field(request.stream, "model")
    return Dispatch(meter, target, Outgoing(path, _Headers(request.headers), body, model), on_loop=on_loop)


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


def _field(stream: Any, name: str) -> str | None:
    """A field of a form that is sent as a stream, e.g. with a sound file."""
    for field in getattr(stream, "fields", ()):
        if getattr(field, "name", None) == name and isinstance(value := getattr(field, "value", None), str | bytes):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return None


def _answered(dispatch: Dispatch, response: Any, tee: type) -> None:
    dispatch.answered(response.status_code, _Headers(response.headers))
    if hasattr(response, "_content"):
        dispatch.finish(response.content)
    else:
        response.stream = tee(response.stream, dispatch.tap())


def _tees(module: ModuleType) -> tuple[type, type]:
    """The wrappers of streams, as kinds of the library's own, which it asks for."""

    class SyncTee(_Tee, module.SyncByteStream):  # type: ignore[name-defined,misc]
        """A synchronous stream that is looked at."""

        def __iter__(self) -> Iterator[bytes]:
            tap = self._tap
            add = tap.add
            whole = False
            try:
                for chunk in self._inner:
                    add(chunk)
                    yield chunk
                whole = True
            finally:
                tap.end(None if whole else sys.exception(), whole=whole)

        def close(self) -> None:
            """Close it; what has been seen by then is what there is."""
            try:
                self._inner.close()
            finally:
                self._tap.end()

    class AsyncTee(_Tee, module.AsyncByteStream):  # type: ignore[name-defined,misc]
        """An asynchronous stream that is looked at."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            tap = self._tap
            add = tap.add
            whole = False
            try:
                async for chunk in self._inner:
                    add(chunk)
                    yield chunk
                whole = True
            finally:
                tap.end(None if whole else sys.exception(), whole=whole)

        async def aclose(self) -> None:
            """Close it; what has been seen by then is what there is."""
            try:
                await self._inner.aclose()
            finally:
                self._tap.end()

    return SyncTee, AsyncTee


class _Tee:
    """A stream in front of another; what we do not know of it, it answers itself."""

    def __init__(self, inner: Any, tap: Tap) -> None:
        self._inner = inner
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._tap.end()
