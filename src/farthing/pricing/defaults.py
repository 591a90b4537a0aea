"""What the process-wide catalog is made of: the data, our overlays, and the user's settings and files."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from farthing.config import data_dir, load_settings
from farthing.errors import PriceError
from farthing.pricing.overlay import BUILT_IN, OPT_IN, CustomModel, Overlay, Patch, built_in, discount, read_overlay
from farthing.pricing.register import from_mapping, load_custom
from farthing.pricing.source import Source, bundled, read_file

_logger = logging.getLogger("farthing")


def price_file() -> Path:
    """Where `farthing prices update` keeps a newer price file."""
    return data_dir() / "prices" / "prices.json"


def custom_file() -> Path:
    """Where `farthing prices add` keeps the user's own prices."""
    return data_dir() / "prices" / "custom-prices.json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a catalog is made of."""

    source: Source
    overlays: list[Overlay]
    custom: list[CustomModel]
    discounts: list[Patch]


def default_parts() -> Parts:
    """Everything the user has. Broken price files of the user are logged and left out."""
    settings = load_settings()
    overlays = [built_in(name) for name in BUILT_IN]
    overlays += [_overlay(str(name)) for name in settings.price_overlays]
    custom: list[CustomModel] = []
    try:
        custom = [price.compiled() for price in load_custom(custom_file())]
    except PriceError as error:
        _logger.error("custom prices are left out: %s", error)
    custom += [from_mapping(entry, "farthing.toml").compiled() for entry in settings.models]
    return Parts(_source(), overlays, custom, [discount(one) for one in settings.discounts])


def _overlay(name: str) -> Overlay:
    if name in OPT_IN or name in BUILT_IN:
        return built_in(name)
    path = Path(name).expanduser()
    try:
        return read_overlay(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise PriceError(
            f"price_overlays: {name!r} is neither one of {', '.join(OPT_IN)} nor a readable file: {error}"
        ) from error


def _source() -> Source:
    path = price_file()
    if path.is_file():
        try:
            return read_file(path)
        except PriceError as error:
            _logger.error("the newer price file is left out, the bundled prices are used: %s", error)
    return bundled()
