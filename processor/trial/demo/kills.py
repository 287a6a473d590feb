"""A kill and the recovery from it: SIGKILL under load, a new start at once, and when what came back.

planned -> killed (and started again) -> answering -> caught up
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from processor.trial.demo.figures import Figures
    from processor.trial.demo.tail import Tail
    from processor.trial.process import ProcessorProcess

_CAUGHT_UP_SECONDS: Final = 0.5  # of the load's rate: a lag that is below it is the ordinary one


@dataclass(slots=True)
class Kill:
    """One kill, when so many events were sent. `with_disk`: its state directory goes too."""

    name: str
    at_events: int
    rate: float
    with_disk: bool = False
    killed_at: float | None = None  # monotonic seconds
    killed_at_ms: int = 0  # since the epoch
    answering_seconds: float | None = None  # from the kill to the first prediction of the new process
    caught_up_seconds: float | None = None  # from the kill until nothing waited any more

    @property
    def planned(self) -> bool:
        return self.killed_at is None

    @property
    def over(self) -> bool:
        return self.caught_up_seconds is not None

    @property
    def told(self) -> str:
        """For the summary."""
        if self.answering_seconds is None or self.caught_up_seconds is None:
            return "did not come back"
        return f"first prediction after {self.answering_seconds:.1f} s, caught up after {self.caught_up_seconds:.1f} s"

    def strike(self, process: ProcessorProcess, state: Path, figures: Figures) -> None:
        """Kills the process, takes its disk away, and starts it again."""
        process.sigkill()
        self.killed_at, self.killed_at_ms = time.monotonic(), time.time_ns() // 1_000_000
        figures.steady = False
        if self.with_disk:
            shutil.rmtree(state)
        figures.happened("SIGKILL, and its disk is deleted" if self.with_disk else "SIGKILL", "bold red")
        process.start()
        figures.happened("started again", "yellow")

    def see(self, process: ProcessorProcess, tail: Tail, figures: Figures) -> None:
        """Looks how far the recovery has come."""
        assert self.killed_at is not None
        # Predictions that were committed before the kill may still come in: the time of writing tells the new ones.
        if self.answering_seconds is None and tail.newest_ms > self.killed_at_ms:
            self.answering_seconds = time.monotonic() - self.killed_at
            figures.happened(f"first new prediction {self.answering_seconds:.1f} s after the kill", "green")
        if self.answering_seconds is not None and figures.lag < self.rate * _CAUGHT_UP_SECONDS:
            self.caught_up_seconds = time.monotonic() - self.killed_at
            figures.happened(f"caught up {self.caught_up_seconds:.1f} s after the kill", "green")
            figures.happened(_recovery_of(process), "dim")
            figures.steady = True


def _recovery_of(process: ProcessorProcess) -> str:
    """What the process logs about its recovery."""
    lines = process.events()
    restored = sum(line["records"] for line in lines if line.get("event") == "restored")
    replayed = sum(line["replayed_offsets"] for line in lines if line.get("event") == "running")
    return f"{restored:,} records restored, {replayed:,} events replayed without publishing"
