"""How a refusal reaches the caller of an SDK as itself: not as an error of the connection, and not tried again.

`httpx`, `requests`, `aiohttp` and most SDKs let an error of ours pass. Those here take whatever is raised while they
send for trouble of the connection, try again, and at last wrap it. Inside their one way to make a request a refusal is
therefore carried by an exception that `except Exception` does not catch, and unpacked when it leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

from farthing.capture.transport.patches import Patches, Wrapper
from farthing.errors import BudgetError

_STAINLESS = (("SyncAPIClient", "request"), ("AsyncAPIClient", "request"))
SHELTERS: dict[str, tuple[tuple[str, str], ...]] = {
    "openai._base_client": _STAINLESS,
    "anthropic._base_client": _STAINLESS,
    "groq._base_client": _STAINLESS,
    "together._base_client": _STAINLESS,
    "cerebras.cloud.sdk._base_client": _STAINLESS,
    "botocore.client": (("BaseClient", "_make_api_call"),),
    "aiobotocore.client": (("AioBaseClient", "_make_api_call"),),
}
"""Module -> the methods (class, name) through which an SDK makes every request."""

_inside: ContextVar[bool] = ContextVar("farthing_sheltered", default=False)


class _Carried(BaseException):
    """A refusal on its way out of an SDK that would take it for something else."""

    def __init__(self, error: BudgetError) -> None:
        super().__init__(str(error))
        self.error = error


def refuse(error: BudgetError) -> NoReturn:
    """Raises a refusal so that it reaches the program as it is."""
    if _inside.get():
        raise _Carried(error) from error
    raise error


def hooks() -> dict[str, Callable[[ModuleType, Patches], None]]:
    """What is to be done with an SDK's module when it is loaded."""
    return {name: partial(_hook, methods) for name, methods in SHELTERS.items()}


def _hook(methods: tuple[tuple[str, str], ...], module: ModuleType, patches: Patches) -> None:
    for owner, name in methods:
        found = getattr(module, owner, None)
        if isinstance(found, type):
            patches.wrap(found, name, _async if owner.startswith(("Async", "Aio")) else _sync)


def _sync(original: Wrapper) -> Wrapper:
    def request(*args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return original(*args, **kwargs)
        token = _inside.set(True)
        try:
            return original(*args, **kwargs)
        except _Carried as carried:
            error = carried.error
        finally:
            _inside.reset(token)
        raise error.with_traceback(None) from None

    return request


def _async(original: Wrapper) -> Wrapper:
    async def request(*args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return await original(*args, **kwargs)
        token = _inside.set(True)
        try:
            return await original(*args, **kwargs)
        except _Carried as carried:
            error = carried.error
        finally:
            _inside.reset(token)
        raise error.with_traceback(None) from None

    return request
