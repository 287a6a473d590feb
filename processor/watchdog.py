"""The watchdog: ends a process whose loop hangs in a call that does not come back.

librdkafka's `send_offsets_to_transaction` has been seen to block for minutes beyond its timeout. The broker has ended
the transaction long before; what is left to do is to exit for a restart, which takes the one way back.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from processor.errors import Unavailable
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = get_logger()
_LOOK_SECONDS: Final = 1.0


class Watchdog:
    """Looks at the age of the loop's heartbeat each second, on a thread of its own; a context manager."""

    def __init__(self, heartbeat_age: Callable[[], float], limit_seconds: float) -> None:
        """heartbeat_age: seconds since the loop last came round; beyond `limit_seconds` the process exits with 3."""
        self._age, self._limit = heartbeat_age, limit_seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            if self._age() > self._limit:
                _LOG.error("hung", seconds=round(self._age()), hint="start again: nothing is lost")
                os._exit(Unavailable.exit_code)
