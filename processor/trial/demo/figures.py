"""What the demo knows at a moment: how many, how fast, how late, and what has happened so far.

The reader of the output topic writes it, the screen shows it. An event's latency is from the moment at which it was
handed to the producer to the moment at which its prediction came out of a read_committed reader.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from processor.trial.live_display import Happening

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Seconds = NDArray[np.float64]

_WINDOW_SECONDS: Final = 2.0  # over which rates and the latency of now are taken
RECENT: Final = 8  # predictions on the screen


class Prediction(NamedTuple):
    """One of the last predictions, as the screen shows it."""

    key: str
    step: int
    probability: float


@dataclass(slots=True)
class SendTimes:
    """When which events were handed to the producer: `counts[i]` events in all until `times[i]` (monotonic seconds).

    The producer's thread appends, another one looks up; the times come first, so that no count is without its time.
    """

    counts: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def add(self, count: int, now: float) -> None:
        self.times.append(now)
        self.counts.append(count)

    @property
    def sent(self) -> int:
        return self.counts[-1] if self.counts else 0

    def of(self, ranks: NDArray[np.int64]) -> Seconds:
        """The moment of each event, by its rank in the load (0 for the first one)."""
        known = len(self.counts)
        counts, times = np.array(self.counts[:known]), np.array(self.times[:known])
        return np.asarray(times[np.minimum(np.searchsorted(counts, ranks, side="right"), known - 1)])


@dataclass(slots=True)
class Figures:
    """Counts since the load began, and the last seconds' course."""

    events: int  # of the whole load
    sends: SendTimes = field(default_factory=SendTimes)
    started: float = field(default_factory=time.monotonic)
    answered: int = 0
    keys: set[bytes] = field(default_factory=set)
    recent: deque[Prediction] = field(default_factory=lambda: deque(maxlen=RECENT))
    timeline: list[Happening] = field(default_factory=list)
    steady: bool = True  # nothing was killed that has not caught up yet
    _arrivals: deque[tuple[float, Seconds]] = field(default_factory=deque)
    _steady_latencies: list[Seconds] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return self.sends.sent

    @property
    def lag(self) -> int:
        """Events without an answer."""
        return max(0, self.sent - self.answered)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def happened(self, text: str, style: str = "") -> Happening:
        happening = Happening(self.seconds(), text, style)
        self.timeline.append(happening)
        return happening

    def arrived(self, latencies: Seconds, now: float) -> None:
        """Predictions came, this late."""
        self.answered += len(latencies)
        self._arrivals.append((now, latencies))
        if self.steady:
            self._steady_latencies.append(latencies)

    def events_per_second(self, now: float) -> float:
        known = len(self.sends.counts)
        first = bisect_right(self.sends.times, now - _WINDOW_SECONDS, hi=known)
        before = self.sends.counts[first - 1] if first else 0
        return (self.sends.counts[known - 1] - before) / self._window(now) if known else 0.0

    def predictions_per_second(self, now: float) -> float:
        self._forget(now)
        return sum(len(latencies) for _, latencies in self._arrivals) / self._window(now)

    def latency(self, now: float) -> Seconds | None:
        """The 50th and the 99th percentile of the last seconds; None when nothing came."""
        self._forget(now)
        return _percentiles([latencies for _, latencies in self._arrivals])

    def steady_latency(self) -> Seconds | None:
        """The 50th and the 99th percentile of all predictions, but for the times of recovery."""
        return _percentiles(self._steady_latencies)

    def _window(self, now: float) -> float:
        return min(_WINDOW_SECONDS, max(now - self.started, 0.1))

    def _forget(self, now: float) -> None:
        while self._arrivals and self._arrivals[0][0] < now - _WINDOW_SECONDS:
            self._arrivals.popleft()


def _percentiles(parts: list[Seconds]) -> Seconds | None:
    return np.asarray(np.percentile(np.concatenate(parts), [50, 99])) if parts else None
