"""What follows when a process ends by itself."""

from __future__ import annotations

from typing import Final

from processor.errors import ConfigError, Incompatible, StateCorrupt

ENDS_ALL: Final = frozenset({ConfigError.exit_code, StateCorrupt.exit_code, Incompatible.exit_code})
"""Exit codes that no restart mends: a human has to do something."""

LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # a life this long was a good one: the next pause is the shortest again


class Lives:
    """How often a process has ended in a row, and how long to wait before the next start."""

    def __init__(self) -> None:
        self.restarts = 0
        self._in_a_row = 0

    def pause_after(self, seconds: float) -> float:
        """Seconds to wait after a life of `seconds`: 1, 2, 4, ... up to half a minute."""
        self._in_a_row = 0 if seconds >= _STEADY_SECONDS else self._in_a_row
        pause = min(LONGEST_PAUSE_SECONDS, 2.0**self._in_a_row)
        self._in_a_row += 1
        self.restarts += 1
        return pause
