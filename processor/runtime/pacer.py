"""How often and how much: when a commit is due, how long to poll, how many rows to step at once.

None of it changes what is computed: only the events decide that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

_LEAST_ROWS: Final = 64  # of a slice, however slow the model is
_SLICES_AT_ONCE: Final = 10
_LATE_SECONDS: Final = 1.0
_LONGEST_POLL_SECONDS: Final = 0.5
_RECOVERING_POLL_SECONDS: Final = 0.005  # while some partition is in recovery, which goes on between two polls


@dataclass(frozen=True, slots=True)
class Pace:
    """The settings behind it."""

    commit_interval_seconds: float
    snapshot_interval_seconds: float
    gather_seconds: float = 0.0  # how long a poll waits for more than a few events
    most_events: int = 10_000  # of one poll

    @property
    def share(self) -> float:
        """Of all dirty keys, that each commit writes at the least."""
        return self.commit_interval_seconds / max(self.snapshot_interval_seconds, self.commit_interval_seconds)


class Poll(NamedTuple):
    """The arguments of one poll: seconds, events, seconds."""

    timeout: float
    most: int
    gather: float


class Pacer:
    """Measures slices and commits, and sizes the next ones by it. `now` is monotonic seconds."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.rows = 1_000  # of the next slice
        self._committed_at = 0.0

    def start(self, now: float) -> None:
        """The first commit is due an interval from now."""
        self._committed_at = now

    def poll(self, now: float, *, is_settled: bool) -> Poll:
        """What is polled is stepped before the next poll: of a slow model no more than some slices at a time."""
        most = min(self.pace.most_events, _SLICES_AT_ONCE * self.rows)
        if not is_settled:
            return Poll(_RECOVERING_POLL_SECONDS, most, 0.0)
        until_due = self._committed_at + self.pace.commit_interval_seconds - now
        return Poll(min(max(until_due, 0.0), _LONGEST_POLL_SECONDS), most, self.pace.gather_seconds)

    def stepped(self, events: int, seconds: float) -> None:
        """The next slice takes about half a commit interval."""
        fitting = int(events * self.pace.commit_interval_seconds / 2 / max(seconds, 1e-6))
        self.rows = min(self.pace.most_events, max(_LEAST_ROWS, fitting))

    def is_due(self, now: float) -> bool:
        """Whether a commit interval has passed."""
        return now - self._committed_at >= self.pace.commit_interval_seconds

    def committed(self, started: float, now: float) -> float | None:
        """A commit has ended. Returns the seconds since the one before, where these are far too many."""
        gap = now - self._committed_at
        # From beginning to beginning, so that no event waits for longer; but half of the interval is for steps.
        self._committed_at = max(started, now - self.pace.commit_interval_seconds / 2)
        return gap if gap > max(_LATE_SECONDS, 10 * self.pace.commit_interval_seconds) else None
