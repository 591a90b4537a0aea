"""The meter that hooked clients talk to; None while nothing is instrumented."""

from __future__ import annotations

from farthing.capture.meter import Meter


class _Live:
    meter: Meter | None = None


LIVE = _Live()
