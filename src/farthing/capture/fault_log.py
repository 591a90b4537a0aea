"""Faults on disk, so that `farthing doctor` in another process can tell of them.

Whatever is logged as an error under `farthing` (each kind once a process) goes into a small file in the data folder.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from farthing.config import data_dir

MAX_BYTES = 256_000
"""Then the file is begun anew; the one before is kept beside it."""


class FaultLog(logging.Handler):
    """Writes errors of ours into the file; where logging is not set up, they are shown as they would be without it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """One line. A file that cannot be written is no reason to trouble anybody."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "program": " ".join(sys.argv[:2])[:200],
            "fault": record.getMessage()[:1_000],
        }
        with suppress(OSError, TypeError):  # TypeError: the interpreter is ending and has taken modules apart
            path = fault_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > MAX_BYTES:
                path.replace(path.with_suffix(".old.jsonl"))
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not logging.getLogger().handlers and logging.lastResort is not None:
            logging.lastResort.handle(record)


def fault_file() -> Path:
    """Where faults are written."""
    return data_dir() / "faults.jsonl"


def keep_faults() -> None:
    """From now on faults of this process are written to the file. Twice is once."""
    logger = logging.getLogger("farthing")
    if not any(isinstance(handler, FaultLog) for handler in logger.handlers):
        logger.addHandler(FaultLog())


def leave_faults() -> None:
    """As before `keep_faults`."""
    logger = logging.getLogger("farthing")
    for handler in [handler for handler in logger.handlers if isinstance(handler, FaultLog)]:
        logger.removeHandler(handler)


def recent_faults(days: int, now: datetime) -> list[dict[str, Any]]:
    """The faults of the last so many days, oldest first; lines that cannot be read are passed over."""
    since = (now - timedelta(days=days)).isoformat()
    found = []
    with suppress(OSError):
        for line in fault_file().read_text(errors="replace").splitlines():
            with suppress(ValueError):
                fault = json.loads(line)
                if isinstance(fault, dict) and str(fault.get("at", "")) >= since:
                    found.append(fault)
    return found
