"""Is this request an LLM call, and whose: by its host and path, without looking at its body.

A known host says the provider; on any other host (a local server, a gateway, a proxy) the path's shape says whether it
can be a call, and the body of request and response decide (`Target.sure`). Whoever runs hosts of their own names them:
`hosts={"llm.internal:8000": "openai"}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farthing.errors import ConfigError
from farthing.event import EMPTY
from farthing.pricing.extract.origin import resolve

REMEMBERED = 4_096
"""Distinct (method, host, path) whose answer is kept; then they are forgotten together."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an LLM call goes.

    provider  its id; None: only the answer will tell
    url       host and path, from which extraction reads models, deployments and regions
    sure      False where only the path looks like a call: it counts when request or response prove it
    results   True where the answer is a file of a batch's results, or a response made earlier
    batch     True where it makes a batch of calls: that is asked, and its calls are metered with their results
    """

    provider: str | None
    url: str
    sure: bool
    results: bool = False
    batch: bool = False


_ANYWHERE = re.compile(
    r"/chat/completions$|/v\d\w*/(?:completions|responses|embeddings|embed|messages|rerank|ocr|chat|moderations)$"
    r"|/responses/compact$|/openai/(?:responses|completions|embeddings)$|/deployments/[^/]+/(?:\w+/)?\w+$"
    r"|/v\d\w*/(?:audio/(?:transcriptions|translations|speech)|images/(?:generations|edits|variations)|fim/completions)$"
    r"|/(?:models|tunedModels)/[^/]+:(?:streamG|g)enerate(?:Content|Answer)$"
    r"|/(?:models|tunedModels)/[^/]+:(?:embedContent|batchEmbedContents|predict|(?:streamR|r)awPredict)$"
    r"|/v\d\w*/interactions$|/model/[^/]+/(?:invoke|converse)(?:-with-response-stream|-stream)?$"
    r"|/api/(?:chat|generate|embed|embeddings)$|/threads/(?:[^/]+/)?runs$|/(?:serving-)?endpoints/[^/]+/invocations$"
)
"""What a call's path ends in, on whatever host it is."""

_ANY_MODEL = re.compile(r"/invocations$")
"""Endpoints of Databricks and SageMaker, where a model of any kind may stand: request or answer must prove the call."""

_COMPLETIONS = re.compile(r"/completions$|/serving-endpoints/[^/]+/invocations$")
"""The paths among them at which servers of one model answer calls that name none."""

_AT_HOME = re.compile(
    r"/(?:completions|responses|embeddings|messages|chat|complete|generate|embed|rerank|ocr|predictions|run/.+)$"
    r"|/(?:audio|images)/[a-z]+$|/conversations(?:/[^/]+)?$|/agents/completions$|/prompts/[^/]+/completions$"
)
"""What it may also end in on a provider's own host."""

_RESULTS = re.compile(
    r"/messages/batches/[^/]+/results$|/files/[^/]+(?:/content|:download)$|/v\d\w*/batches/[^/]+$"
    r"|/v\d\w*/responses/[^/]+$"
)
"""Answers that are fetched later: a batch's results, in a file or in the batch itself (Gemini), responses made in the
background."""

_BATCH = re.compile(
    r"(?:/v\d\w*|/openai|/messages)/batches$|/v\d\w*/batch/jobs$"
    r"|:(?:batchGenerateContent|asyncBatchEmbedContent)$|/model-invocation-job$"
)
"""What makes a batch: of OpenAI and those like it, of Anthropic, Mistral, Gemini, Bedrock."""

_MUTE = re.compile(r"/count_tokens$|/moderations$|/input_tokens$|:countTokens$")
"""Calls that cost nothing and use nothing."""


_BATCHED = frozenset({"input_file_id", "input_files", "requests", "batch"})


def may_be_batch(target: Target, body: Mapping[str, Any]) -> bool:
    """Whether a request to such a path makes a batch of calls: on a host that nobody has named, its body says so."""
    return target.sure or not _BATCHED.isdisjoint(body)


def completes(url: str, body: Mapping[str, Any]) -> bool:
    """Whether a request that names no model is a call all the same, on a host that nobody has named.

    No more is taken for one: a program's short messages and its own chat are not what a budget is to stop.
    """
    return bool(_COMPLETIONS.search(url)) and (isinstance(body.get("messages"), list) or "prompt" in body)


class Hosts:
    """Tells LLM calls from other requests. `custom`: hosts of the user's own, `host` or `host:port`, to providers."""

    def __init__(self, custom: Mapping[str, str] = EMPTY) -> None:
        for host, provider in custom.items():
            if not isinstance(host, str) or not isinstance(provider, str) or "/" in host or not host or not provider:
                raise ConfigError(
                    f"hosts: {host!r} = {provider!r}: must be a host, with its port if any, and a provider, "
                    'e.g. "llm.internal:8000" = "openai"'
                )
        self._custom = {host.lower(): resolve(provider, "") or provider for host, provider in custom.items()}
        self._known: dict[tuple[str, str, str], Target | None] = {}

    def target(self, method: str, host: str, path: str) -> Target | None:
        """Where the call goes; None for what is no LLM call. `host` may carry a port, `path` a query."""
        key = (method, host, path)
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        found = self._known[key] = self._look(method, host.lower(), path)
        return found

    def _look(self, method: str, host: str, path: str) -> Target | None:
        if method != "POST" and method != "GET":
            return None
        bare = path.partition("?")[0].rstrip("/")
        url = f"https://{host}{bare}"
        if method == "GET":
            if not _RESULTS.search(bare):
                return None
            return Target(self._provider(host), url, sure=False, results=True)
        if _MUTE.search(bare):
            return None
        home = self._provider(host)
        if _BATCH.search(bare):
            return Target(home, url, sure=home is not None, batch=True)
        if home is not None and (_AT_HOME.search(bare) or _ANYWHERE.search(bare)):
            return Target(home, url, sure=not _ANY_MODEL.search(bare))
        return Target(None, url, sure=False) if _ANYWHERE.search(bare) else None

    def _provider(self, host: str) -> str | None:
        """The provider of a host of the user's own, or of a provider's public one."""
        bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return self._custom.get(host) or self._custom.get(bare) or resolve(None, f"https://{host}/")
