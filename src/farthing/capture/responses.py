"""`on_response`: one line for whatever calls models in a way of its own."""

from __future__ import annotations

from typing import Any, Unpack

from farthing.capture import process
from farthing.capture.faults import FAULTS
from farthing.details import CallDetails
from farthing.errors import ExtractionError
from farthing.event import Event
from farthing.tracker import CostTracker


def on_response(
    response: Any, /, agent: str | None = None, *, tracker: CostTracker | None = None, **details: Unpack[CallDetails]
) -> Event | None:
    """Records a provider's response: its body or stream as bytes or text, parsed JSON, an SDK's object or a list of a
    stream's, or an HTTP client's response.

    `details` as of `CostTracker.record`; tracker: None: the process-wide one. A response of a type that cannot be read
    is counted as a fault and gives None: a callback does not break the call it is told of. Wrong keywords raise.
    """
    if response is None:
        FAULTS.add("reading a response", ExtractionError("there is none: None was given"))
        return None
    try:
        given: CallDetails = {**details, "response": response}
        return (tracker or process.tracker()).record(agent=agent, **given)
    except ExtractionError as fault:
        FAULTS.add("reading a response", fault)
        return None
