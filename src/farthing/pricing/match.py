"""A model name -> the model of the price data it means, and why; or a miss, with near matches. Never a guess.

Order: registered and custom models, our overlays, the data. In each: exact id, alias, pattern, and clauses of the data
that match the beginning or a part of a name, only where what is left over is a known kind of suffix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from farthing.errors import SHOWN, shown
from farthing.pricing.names import (
    Reading,
    bedrock_shaped,
    clause_holds,
    names_in,
    plausible,
    provider_of,
    readings,
)
from farthing.pricing.overlay import Alias, CustomModel
from farthing.pricing.source import Clause, ModelData, ProviderData, Source, clause_texts


@dataclass(frozen=True, slots=True)
class Match:
    """A model that a name means: of `provider`, priced by `model` of the data or of an overlay; `why` in words.

    `via` names the provider whose list price it is, where that is another one.
    """

    provider: str
    model: ModelData | CustomModel
    why: str
    via: str | None = None

    @property
    def model_id(self) -> str:
        """The id of the model in the data."""
        return self.model.model if isinstance(self.model, CustomModel) else self.model.id


@dataclass(frozen=True, slots=True)
class Miss:
    """A name that no price is known for, with the reason and near matches in words."""

    name: str
    provider: str | None
    reason: str
    near: tuple[str, ...] = ()


@dataclass(slots=True)
class _Index:
    """The models of one provider, by exact name, and those that match by clauses, in the order of the data."""

    names: dict[str, tuple[Any, str]] = field(default_factory=dict)
    broad: list[tuple[ModelData, Clause]] = field(default_factory=list)
    patterns: list[tuple[re.Pattern[str], Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def add_custom(self, model: CustomModel) -> None:
        self.names[model.model.lower()] = (model, "exact id")
        for alias in model.aliases:
            self.names[alias] = (model, f"alias of {model.model!r}")
        self.patterns.extend((pattern, model) for pattern in model.patterns)
        self.ids.append(model.model)

    def add_data(self, model: ModelData) -> None:
        self.names.setdefault(model.id.lower(), (model, "exact id"))
        self.ids.append(model.id)
        parts = model.match[1] if model.match[0] == "or" else (model.match,)
        for part in parts:
            if part[0] == "equals":
                self.names.setdefault(part[1], (model, f"alias of {model.id!r}"))
            else:
                self.broad.append((model, part))

    def find(self, name: str, *, narrow: bool = False) -> tuple[Any, str] | None:
        """The model of a name and why; `narrow` leaves the broad clauses of the data out."""
        if name in self.names:
            return self.names[name]
        for pattern, model in self.patterns:
            if pattern.search(name):
                named = model.model if isinstance(model, CustomModel) else model.id
                return model, f"pattern {pattern.pattern!r} of {named!r}"
        if narrow:
            return None
        best: tuple[int, ModelData, str] | None = None
        for model, clause in self.broad:
            if clause_holds(clause, name) and plausible(clause, name):
                length = max((len(text) for kind, text in clause_texts(clause) if kind != "regex"), default=1000)
                if best is None or length > best[0]:
                    best = (length, model, _words(clause, model.id))
        return (best[1], best[2]) if best else None

    def refused(self, name: str) -> str | None:
        """The model whose clause matches the name, but not plausibly."""
        return next((model.id for model, clause in self.broad if clause_holds(clause, name)), None)


def _words(clause: Clause, model: str) -> str:
    texts = [(kind, text) for kind, text in clause_texts(clause)]
    kind, text = next(((k, t) for k, t in texts if k != "regex"), texts[0])
    how = {"starts_with": "begins with", "ends_with": "ends with", "contains": "contains", "regex": "fits"}
    return f"{how.get(kind, kind)} {text!r}, {model!r} in the data"


class Matcher:
    """Finds models: in the custom models given first, then the overlays', then the data of a source."""

    def __init__(self, source: Source, models: Sequence[CustomModel], aliases: Sequence[Alias]) -> None:
        self._source = source
        self._models = models
        self._aliases = aliases
        self._indexes: dict[str, _Index] = {}
        self._custom_providers = {model.provider for model in models} - set(source.providers)

    def find(self, name: str, provider: str | None = None) -> Match | Miss:
        """The model that a name means with this provider, which may be any name of it, or None: told by the model."""
        if not name:
            return Miss(name, provider, "no model was named")
        given = self._given(provider)
        if given in names_in("local"):
            return Miss(name, given, _own_machine(given))
        if given is None:
            return self._inferred(name)
        found = given if given in self._custom_providers else provider_of(given, self._source.providers)
        if found is None:
            inferred = self._inferred(name)
            hint = (
                f"; with provider {inferred.provider!r} it would be {inferred.model_id!r}"
                if isinstance(inferred, Match)
                else ""
            )
            reason = f"unknown provider {shown(provider)} for model {shown(name)}{hint}"
            return Miss(name, provider, reason, self._near(name, None))
        return self._within(name, found)

    @staticmethod
    def _given(provider: str | None) -> str | None:
        """The provider as it was given; a gateway is none: the model tells whose it is."""
        given = provider.strip().lower() if provider else None
        return None if given in names_in("gateways") else given

    def named(self, provider: str | None) -> str | None:
        """The id of the provider that a caller gave; what is not known stays as given; None where none was."""
        given = self._given(provider)
        return None if given is None else self.provider(given) or provider

    def _within(self, name: str, provider: str) -> Match | Miss:
        for reading in readings(name, self._source.providers):
            if reading.provider not in (None, provider) and provider not in self._fallbacks(reading.provider):
                continue
            if match := self._lookup(reading, provider):
                return match
        return self._miss(name, provider)

    def _fallbacks(self, provider: str | None) -> tuple[str, ...]:
        """Providers that may name this one in a prefix: a host that offers its models."""
        return tuple(p.id for p in self._source.providers.values() if provider in p.fallbacks)

    def _lookup(self, reading: Reading, provider: str) -> Match | None:
        if found := self._index(provider).find(reading.name):
            return Match(provider, found[0], _because(reading, found[1]))
        data = self._source.providers.get(provider)
        for other in data.fallbacks if data else ():
            if found := self._index(other).find(reading.name):
                why = f"{found[1]} of {other}, whose models {provider} offers at list price"
                return Match(provider, found[0], _because(reading, why), via=other)
        return None

    def _inferred(self, name: str) -> Match | Miss:
        told: str | None = None
        for reading in readings(name, self._source.providers):
            provider = reading.provider or self._by_shape(reading.name)
            told = told or provider
            if provider and (match := self._lookup(reading, provider)):
                return match
            if provider is None and (match := self._anywhere(reading)):
                return match
        for reading in readings(name, self._source.providers):
            if reading.provider is None and (match := self._anywhere(reading)):
                return match
        return self._hosted(name) or self._miss(name, told)

    def _inferred_from_name(self, name: str, provider: str) -> Match | None:
        """What the name would mean if no provider were given, where that is another one."""
        for reading in readings(name, self._source.providers):
            told = reading.provider or self._by_shape(reading.name)
            if told and told != provider and (match := self._lookup(reading, told)):
                return match
        return None

    def _by_shape(self, name: str) -> str | None:
        """The provider that a model's name alone tells."""
        if bedrock_shaped(name):
            return "aws"
        if name.startswith("ft:"):
            return "openai"
        for provider in self._source.providers.values():
            if provider.model_match and (clause_holds(provider.model_match, name)):
                return provider.id
        return None

    def _anywhere(self, reading: Reading) -> Match | None:
        """The model of this exact name, or of a pattern of ours, at its maker or at a custom provider."""
        makers = [name for name in names_in("first_party") if name in self._source.providers]
        for provider in (*sorted(self._custom_providers), *makers):
            if found := self._index(provider).find(reading.name, narrow=True):
                return Match(provider, found[0], _because(reading, f"{found[1]}, a model of {provider}"))
        return None

    def _hosted(self, name: str) -> Match | Miss | None:
        """The one host of this exact id; where there are several, a miss that names them."""
        key = name.lower()
        hosts = [p for p in self._source.providers if key in self._index(p).names]
        if len(hosts) == 1:
            found = self._index(hosts[0]).names[key]
            return Match(hosts[0], found[0], f"{found[1]}, offered by {hosts[0]} alone")
        if hosts:
            listed = ", ".join(hosts[:6])
            return Miss(
                name, None, f"model {name!r} is offered by several providers ({listed}): name one with provider="
            )
        return None

    def _index(self, provider: str) -> _Index:
        if provider not in self._indexes:
            index = _Index()
            data = self._source.providers.get(provider)
            for model in self._models:
                if model.provider == provider:
                    index.add_custom(model)
            for item in data.models() if data else ():
                index.add_data(item)
            for alias in self._aliases:
                if alias.provider == provider and (target := index.names.get(alias.model.lower())):
                    for text in alias.aliases:
                        index.names[text] = (target[0], f"alias of {alias.model!r}")
                    index.patterns.extend((pattern, target[0]) for pattern in alias.patterns)
            self._indexes[provider] = index
        return self._indexes[provider]

    def ids(self, provider: str) -> list[str]:
        """The ids of a provider's models."""
        return self._index(provider).ids

    def providers(self) -> Iterator[str]:
        """Every provider: of the data, then of custom models."""
        yield from self._source.providers
        yield from sorted(self._custom_providers)

    def provider(self, name: str) -> str | None:
        """The id of the provider that a name means."""
        if name in self._custom_providers:
            return name
        return provider_of(name, self._source.providers)

    def readings(self, name: str, *, whole: bool) -> Iterator[Reading]:
        """What a name may mean, as it is written first; `whole`: only with prefixes taken off, nothing else changed."""
        yield Reading(name, None, "")
        for reading in readings(name, self._source.providers):
            tail = name[-len(reading.name) :]
            if tail.lower() == reading.name:
                yield Reading(tail, reading.provider, reading.why)
            elif not whole:
                yield reading
        prefix, _, rest = name.partition("/")
        if prefix.lower() in names_in("local"):
            yield Reading(rest, prefix.lower(), f"prefix '{prefix}/' names a machine of your own")

    def data(self, provider: str) -> ProviderData | None:
        """The provider's data."""
        return self._source.providers.get(provider)

    def _near(self, name: str, provider: str | None) -> tuple[str, ...]:
        if len(name) > SHOWN:
            return ()  # no model's name, and slow to compare
        where = [provider] if provider else [*names_in("first_party"), *sorted(self._custom_providers)]
        ids = {_last(model): model for one in where for model in self.ids(one)}
        close = difflib.get_close_matches(_last(re.sub(r"\s+", "-", name)), ids, n=3, cutoff=0.6)
        return tuple(ids[text] for text in close)

    def _miss(self, name: str, provider: str | None) -> Miss:
        near = self._near(name, provider)
        where = f" for provider {provider!r}" if provider else ""
        reason = f"unknown model {shown(name)}{where}"
        if provider is None and (host := name.lower().partition("/")[0]) in names_in("local"):
            return Miss(name, host, _own_machine(host))
        refused = self._index(provider).refused(name.lower()) if provider else None
        if refused:
            reason += f" (it resembles {refused!r}, but what follows is no known suffix)"
        if near:
            reason += f"; did you mean {', '.join(repr(text) for text in near)}?"
        elif provider and isinstance(other := self._inferred_from_name(name, provider), Match):
            reason += f"; it is a model of {other.provider}"
        return Miss(name, provider, reason, near)


def _last(model: str) -> str:
    """A model's name without the makers and hosts before it: what a misspelling is compared with."""
    return model.lower().rsplit("/", 1)[-1]


def _own_machine(host: str) -> str:
    return f"{host} runs on a machine of your own: no list price; register yours"


def _because(reading: Reading, why: str) -> str:
    return f"{reading.why}; {why}" if reading.why else why


def registered(models: Sequence[CustomModel], named: Iterable[Reading], provider: str | None) -> Match | None:
    """The registered model that a name means by one of its readings, the latest first: exact names before patterns."""
    for reading in named:
        told, name = provider or reading.provider, reading.name.lower()
        if reading.provider not in (None, told):
            continue
        fitting = [m for m in reversed(models) if told is None or m.provider in ("custom", told)]
        for model in fitting:
            whole = model.model.lower()
            if name in (whole, f"{model.provider}/{whole}".lower(), *model.aliases):
                return Match(model.provider, model, _because(reading, "exact name of a registered price"))
        for model in fitting:
            for pattern in model.patterns:
                if pattern.search(reading.name):
                    why = f"pattern {pattern.pattern!r} of the registered price {model.model!r}"
                    return Match(model.provider, model, _because(reading, why))
    return None
