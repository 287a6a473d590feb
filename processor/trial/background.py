"""A function on a thread of its own, whose failure reaches the caller that asks for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """A function on a thread of its own; what it raises is raised to the caller that asks."""

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self.seconds = 0.0  # that it took
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it goes on; raises what it has ended with."""
        running = self._thread.is_alive()
        if not running:
            self.join()
        return running

    def join(self) -> None:
        """Waits for its end; raises what it has ended with."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def ends_within(self, seconds: float) -> bool:
        """Waits; whether it has ended, well or not."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        started = time.monotonic()
        try:
            self._function()
        except BaseException as error:
            self._error = error
        self.seconds = time.monotonic() - started
