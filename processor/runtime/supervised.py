"""What a process reports to the supervisor that started it: lines on a pipe, whose number is in the environment.

A process that nobody supervises reports nothing.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

ENVIRONMENT_VARIABLE: Final = "PROCESSOR_SUPERVISED"
"""`NUMBER:FILE_DESCRIPTOR`: which of the supervisor's processes this is, and the pipe's end to write to."""

CHECKED: Final = "checked"
"""Settings, artifact and topics are as they must be: the next processes may start."""

PORT: Final = "port"
"""`port N`: the HTTP endpoints listen at this port."""


def number() -> int | None:
    """Which of the supervisor's processes this is; None where there is no supervisor."""
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    return int(value.partition(":")[0]) if value else None


def report(line: str) -> None:
    """Writes one line to the supervisor. A supervisor that is gone ends this process by itself: no error here."""
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not value:
        return
    with contextlib.suppress(OSError):
        os.write(int(value.partition(":")[2]), f"{line}\n".encode())
