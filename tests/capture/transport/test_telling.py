"""Who a call is for, told in its headers: read, kept from providers, and told to hosts that are named for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import farthing
from farthing.capture.transport.live import LIVE

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
Headers = dict[str, str]


def httpx2(url: str, headers: Headers) -> None:
    pytest.importorskip("httpx2").post(url, json=ASK, headers=headers)


def requests(url: str, headers: Headers) -> None:
    pytest.importorskip("requests").post(url, json=ASK, headers=headers)


def aiohttp(url: str, headers: Headers) -> None:
    client = pytest.importorskip("aiohttp")

    async def post() -> None:
        async with client.ClientSession() as session, session.post(url, json=ASK, headers=headers) as response:
            await response.read()

    asyncio.run(post())


def aiohttp_session(url: str, headers: Headers) -> None:
    client = pytest.importorskip("aiohttp")

    async def post() -> None:
        async with client.ClientSession(headers=headers) as session:
            async with session.post(url, json=ASK, headers={"x-own": "1"}) as response:
                await response.read()
            async with session.get(f"{url}/other") as response:
                await response.read()

    asyncio.run(post())


CLIENTS = pytest.mark.parametrize("post", [httpx2, requests, aiohttp, aiohttp_session], ids=lambda post: post.__name__)


def _sent(replay: Any) -> Headers:
    found = next(one for one in reversed(replay.seen) if one.method == "POST").headers
    return {name: value for name, value in found.items() if name == "baggage" or name.startswith("x-farthing")}


@CLIENTS
def test_headers_and_baggage_are_read_and_not_sent_on(
    post: Callable[[str, Headers], None], replay: Any, metered: Any, pick: Any
) -> None:
    """The event is for whom they say, headers before baggage and both before the blocks; a provider sees none of it."""
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    told = {"X-Farthing-Agent": "researcher", "Baggage": "farthing.team=core,tenant=7;p=1,farthing.agent=other"}
    with farthing.attribute(agent="block", feature="search"):
        post(f"{replay.url}/v1/chat/completions", told)
    who = meter.event.attribution
    assert (who.agent, who.team, who.feature) == ("researcher", "core", "search")
    assert _sent(replay) == {"baggage": "tenant=7;p=1"}


@CLIENTS
def test_baggage_of_ours_alone_goes_and_others_stay(
    post: Callable[[str, Headers], None], replay: Any, metered: Any, pick: Any
) -> None:
    """Without members of others the header goes; without members of ours nothing is changed."""
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    post(f"{replay.url}/v1/chat/completions", {"baggage": "farthing.agent=researcher"})
    assert meter.event.attribution.agent == "researcher" and _sent(replay) == {}
    post(f"{replay.url}/v1/chat/completions", {"baggage": "tenant=7 , x=1"})
    assert _sent(replay) == {"baggage": "tenant=7 , x=1"}


@CLIENTS
def test_named_hosts_are_told(post: Callable[[str, Headers], None], replay: Any, metered: Any, pick: Any) -> None:
    """Of the present blocks and of what the request says itself, in headers and in baggage beside others' members."""
    replay.serve(pick("openai", "/chat/completions"))
    meter = metered("openai")
    assert LIVE.meter is not None
    LIVE.meter.tell = (replay.host,)
    with farthing.attribute(agent="block", feature="search"):
        post(f"{replay.url}/v1/chat/completions", {"x-farthing-agent": "researcher", "Baggage": "tenant=7"})
    assert meter.event.attribution.agent == "researcher"
    assert _sent(replay) == {
        "x-farthing-agent": "researcher",
        "x-farthing-feature": "search",
        "baggage": "tenant=7,farthing.agent=researcher,farthing.feature=search",
    }
