"""The watchdog: ends a process whose loop hangs in a call that does not come back, or whose shutdown takes too long.

librdkafka's `send_offsets_to_transaction` has been seen to block for minutes beyond its timeout. The broker has ended
the transaction long before; so the process exits, and recovers when it is started again. A shutdown while the
brokers are away would wait for them as long as everything else does; the person who stops the process does not.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from processor.errors import Unavailable
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = get_logger()
_LOOK_SECONDS: Final = 0.5
_FRAMES: Final = 8
_HINT: Final = "Nothing is lost: start again."


@dataclass(frozen=True, slots=True)
class Watched:
    """Something that takes its time, and must not take more than its limit."""

    what: str
    age: Callable[[], float]  # seconds since it began; 0 while it has not
    limit_seconds: float


class Watchdog:
    """Looks at ages each second, on a thread of its own; a context manager. Past a limit the process exits with 3."""

    def __init__(self, *watched: Watched) -> None:
        self._watched = watched
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
            for one in self._watched:
                if one.age() > one.limit_seconds:
                    _LOG.error("hung", what=one.what, seconds=round(one.age(), 1), at=_main_stack(), hint=_HINT)
                    os._exit(Unavailable.exit_code)


def _main_stack() -> str:
    """Where the main thread is, outermost call first: the one thing that a bug report needs."""
    main = threading.main_thread().ident
    frame = sys._current_frames().get(main) if main is not None else None
    calls = [f"{Path(call.filename).stem}.{call.name}:{call.lineno}" for call in traceback.extract_stack(frame)]
    return " > ".join(calls[-_FRAMES:])
