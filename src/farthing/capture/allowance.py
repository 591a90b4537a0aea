"""What a request allows its answer to come to, and how its model is changed: every provider's shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from farthing.capture.request import Json
from farthing.event import EMPTY
from farthing.pricing.extract.origin import model_in_path, places

_MOST = (
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("max_tokens",),
    ("max_tokens_to_sample",),
    ("maxTokens",),
    ("max_gen_len",),
    ("max_new_tokens",),
    ("inferenceConfig", "maxTokens"),
    ("inferenceConfig", "max_new_tokens"),
    ("generationConfig", "maxOutputTokens"),
    ("generation_config", "max_output_tokens"),
    ("textGenerationConfig", "maxTokenCount"),
    ("parameters", "max_new_tokens"),
    ("parameters", "maxOutputTokens"),
    ("options", "num_predict"),
)
"""Where the providers' bodies say how many tokens may come out at most."""

_SEVERAL = (("n",), ("generationConfig", "candidateCount"), ("num_generations",))
"""Where they say how many answers are wanted."""

_PRICED = ("service_tier", "speed", "inference_geo")
"""Where they say how, and where, it is to be answered: it changes the price."""

_ORDINARY = frozenset({"", "auto", "default", "standard", "standard_only"})
_SPEECHLESS = re.compile(r"/embeddings?$|:(?:batch)?embedcontents?$|/embed$|/rerank$|/moderations$", re.IGNORECASE)
"""Paths of calls that give no tokens out."""

_BY_OTHER_UNITS = re.compile(r"/images/|/audio/|/rerank$|/ocr$|:predict$")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a request says of its answer.

    max_tokens  the most that may come out, of all answers together; None: it does not say
    models      further models that may answer; answers: how many are wanted
    context     what of the request changes its price
    by_text     whether it is billed by the text, else by images, seconds, pages or searches
    """

    max_tokens: int | None = None
    models: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    answers: int = 1
    by_text: bool = True


def allowance(body: Json, url: str) -> Allowance:
    """What the body of a request to this URL, or path, allows. What it says in no known way is not known."""
    bare = url.partition("?")[0]
    answers = _least(body, _SEVERAL) or 1
    by_text = not _BY_OTHER_UNITS.search(bare)
    if _SPEECHLESS.search(bare):
        return Allowance(max_tokens=0, by_text=by_text)
    most = _least(body, _MOST)
    if most is not None:
        most *= answers
    others = body.get("models")
    models = tuple(m for m in others if isinstance(m, str) and m) if isinstance(others, list) else ()
    asked = {key: body[key] for key in _PRICED if isinstance(body.get(key), str) and body[key] not in _ORDINARY}
    return Allowance(most, models, {**places(None, url), **asked}, answers, by_text)


def _least(body: Json, places: tuple[tuple[str, ...], ...]) -> int | None:
    found = [value for place in places if (value := _at(body, place)) is not None]
    return min(found) if found else None


def _at(body: Json, place: tuple[str, ...]) -> int | None:
    value: Any = body
    for name in place:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if type(value) is int and value > 0 else None


_ENDPOINT = re.compile(r"/(?:serving-)?endpoints/[^/]+/invocations$")


def with_model(path: str, body: bytes | None, old: str, new: str) -> tuple[str, bytes] | None:
    """Path and body of the same request to another model; None where it names its model in no way we know."""
    if body is None:
        return None
    named = quote(old, safe="")
    for name in dict.fromkeys((old, named, quote(old, safe=":"))):
        for before in ("/models/", "/model/", "/tunedModels/"):
            at = path.find(f"{before}{name}")
            end = at + len(before) + len(name)
            if at >= 0 and path[end : end + 1] in (":", "/"):
                return f"{path[: at + len(before)]}{quote(new, safe='')}{path[end:]}", body
    if model_in_path(path)[0] is not None or _ENDPOINT.search(path.partition("?")[0]):
        return None  # a deployment or an endpoint of the user's own answers, whatever the body says
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("model") != old:
        return None
    asked["model"] = new
    asked.pop("models", None)  # or another dear one might answer
    return path, json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
