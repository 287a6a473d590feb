"""Whether the loop comes round, whether it was asked to end, and whether it has failed. Any thread may ask."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """now: monotonic seconds; now_ms: wall clock."""

    now: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = wall_clock_ms


@dataclass(slots=True)
class Lifetime:
    """From the start of a process to its end."""

    clock: Clock = field(default_factory=Clock)
    has_failed: bool = False  # nothing may be committed: memory may be in the middle of a slice
    _beat_at: float | None = None
    _stopped_at: float | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stopped_at is not None

    def beat(self) -> None:
        """The loop has come round."""
        self._beat_at = self.clock.now()

    def stop(self) -> None:
        """Asks the loop to end after the piece in hand. A signal handler may call it, and twice is once."""
        if self._stopped_at is None:
            self._stopped_at = self.clock.now()

    def beat_age(self) -> float:
        """Seconds since the loop last came round; 0 before it has begun."""
        return 0.0 if self._beat_at is None else self.clock.now() - self._beat_at

    def stopping_age(self) -> float:
        """Seconds since `stop`; 0 before."""
        return 0.0 if self._stopped_at is None else self.clock.now() - self._stopped_at
