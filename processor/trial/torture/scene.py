"""One thread's view of all that goes on: it reads the predictions, watches the processes, and waits for what it wants.

Whatever takes time here goes through `turn`, so that nothing is overlooked meanwhile: a process that ends by itself is
started again, as its supervisor would (exit codes 3 and 4), or ends the torture (any other).
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from processor.errors import OwnershipLost, Unavailable
from processor.trial.live_display import Happening
from processor.trial.reader import high_watermarks
from processor.trial.torture.recovery import Answered
from processor.trial.torture.torture_sandbox import GUEST, INPUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.background import Background
    from processor.trial.follower import Follower
    from processor.trial.live_display import Show
    from processor.trial.torture.recovery import Recovery
    from processor.trial.torture.torture_sandbox import Member, TortureSandbox

PATIENCE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.2
_FEW: Final = 50  # events without a prediction: some never get one (duplicates, null values)
_RESTARTED: Final = (Unavailable.exit_code, OwnershipLost.exit_code)
_KILLED: Final = -signal.SIGKILL


@dataclass(slots=True)
class Course:
    """What is known at a moment, for the screen and for the summary."""

    rounds: int
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0  # monotonic, as `started`
    timeline: list[Happening] = field(default_factory=list)
    sent: int = 0
    lag: int = 0
    answered: Answered = field(default_factory=Answered)
    recoveries: list[Recovery] = field(default_factory=list)
    ended_by_themselves: list[str] = field(default_factory=list)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def happened(self, text: str, style: str = "") -> None:
        self.timeline.append(Happening(self.seconds(), text, style))


@dataclass(slots=True)
class Scene:
    """The sandbox while it is tortured."""

    sandbox: TortureSandbox
    course: Course
    producing: Background
    rate: float
    show: Show[Course]
    follower: Follower | None = None  # the topic of predictions is made by the first process

    @property
    def members(self) -> list[Member]:
        """The residents; a guest comes and goes."""
        return [member for member in self.sandbox.members if member.name != GUEST]

    @property
    def recovery(self) -> Recovery | None:
        """Of the round that goes on."""
        return self.course.recoveries[-1] if self.course.recoveries else None

    # Waiting -------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Looks once at everything.

        Raises:
            Unavailable: a process ended by itself with an exit code that asks for a human, or the producer failed.
        """
        if self.follower is not None:
            self.course.answered.take(self.follower.read(0.02))
        else:
            time.sleep(0.02)
        if self.recovery is not None:
            self.recovery.see(self.course.answered, time.monotonic())
        _ = self.producing.running  # raises what it failed with
        for member in self.sandbox.members:
            self._supervise(member)
        self.show(self.course)

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits for it; whether it came in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.turn()
        return True

    def settle(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when all that is to run runs, without a lag worth speaking of.

        Raises:
            Unavailable: that did not come in time.
        """
        recovery = self.recovery
        if not self.until(lambda: self._is_settled(recovery), seconds):
            logs = "\n".join(f"{member.name}: {member.process.log_tail(15)}" for member in self.sandbox.members)
            raise Unavailable(
                f"The processes did not come back within {seconds:.0f} s.",
                f"{self.course.lag:,} events have no prediction.\nThe ends of their logs:\n{logs}",
                "Where the machine is merely too slow for the load, lower --rate.",
            )
        if recovery is not None and recovery.at is not None:
            recovery.settled_seconds = time.monotonic() - recovery.at

    def _is_settled(self, recovery: Recovery | None) -> bool:
        if recovery is not None and recovery.at is not None and recovery.seconds is None:
            return False
        if not all(member.ready for member in self.sandbox.members if member.wanted):
            return False
        self.course.lag = self.course.answered.lag(self.ends())
        return self.course.lag <= max(_FEW, 0.5 * self.rate)

    def ends(self) -> dict[int, int]:
        """The input's ends as they are now."""
        return high_watermarks(self.sandbox.bootstrap_servers, INPUT)

    # What is done to processes ---------------------------------------------------------------------------------

    def strike(self, text: str, ends: dict[int, int] | None = None, at: float | None = None) -> None:
        """Tells what has happened just now (or `at`): a recovery begins. ends: the input's then, or a moment before."""
        assert self.recovery is not None
        self.recovery.strike(time.monotonic() if at is None else at, self.ends() if ends is None else ends)
        self.course.happened(text, "bold red")

    def remark(self, text: str) -> None:
        """Something of this round that a reader of the report should know."""
        if self.recovery is not None:
            self.recovery.remarks.append(text)
        self.course.happened(text, "yellow")

    def start(self, member: Member, armed: str = "") -> None:
        """Starts a process; with a failpoint that kills it is expected_to_die."""
        member.process.start(armed)
        member.wanted, member.expected_to_die = True, "=kill" in armed

    def kill(self, *members: Member) -> None:
        """SIGKILL."""
        for member in members:
            member.wanted = False
            member.process.sigkill()

    def terminate(self, member: Member) -> None:
        """SIGTERM, and waits for the end.

        Raises:
            Unavailable: it ended with another exit code than 0, or not at all.
        """
        member.wanted = False
        member.process.terminate()
        if not self.until(lambda: not member.process.running, PATIENCE_SECONDS):
            raise self._failure(member, f"still ran {PATIENCE_SECONDS:.0f} s after SIGTERM")
        code = member.process.exit_code
        if code != 0 and not (member.expected_to_die and code == _KILLED):
            raise self._failure(member, f"ended with exit code {code} after SIGTERM")

    def happens(self, condition: Callable[[], bool], member: Member, seconds: float) -> bool:
        """Waits for something that a process comes by once it is ready for so long; whether it did.

        How long a start takes is the machine's affair: the time counts from when the process is ready.
        """
        ready_at: float | None = None

        def over() -> bool:
            nonlocal ready_at
            if condition() or not member.process.running:
                return True
            if ready_at is None and member.ready:
                ready_at = time.monotonic()
            return ready_at is not None and time.monotonic() > ready_at + seconds

        self.until(over, PATIENCE_SECONDS)
        return condition()

    def died(self, member: Member, seconds: float) -> bool:
        """Waits for the end of one that is expected_to_die; whether the failpoint was reached."""
        return self.happens(lambda: not member.process.running, member, seconds)

    def ready(self, *members: Member) -> None:
        """Waits until they are, expected_to_die ones excepted that have died before.

        Raises:
            Unavailable: one is not ready in time.
        """
        for member in members:
            if not self.until(lambda m=member: m.ready or not m.process.running, PATIENCE_SECONDS):  # type: ignore[misc]
                raise self._failure(member, f"was not ready within {PATIENCE_SECONDS:.0f} s")

    def _supervise(self, member: Member) -> None:
        if not member.wanted or member.process.running:
            return
        code = member.process.exit_code
        if member.expected_to_die and code == _KILLED:
            return
        if code not in _RESTARTED:
            raise self._failure(member, f"ended by itself with exit code {code}")
        self.course.ended_by_themselves.append(f"{member.name}: exit code {code}")
        self.remark(f"{member.name} ended with exit code {code}, and is started again")
        self.start(member)

    def _failure(self, member: Member, what: str) -> Unavailable:
        log = member.process.log_tail(40)
        return Unavailable(f"The processor {member.name} {what}.", f"The end of its log:\n{log}")
