"""Starts the processes, looks after them, and stops them as one.

The first process starts alone, until it has found settings, artifact and topics in order: what is wrong with them is
then reported once. Each process is a member of the group like any other. So nothing here touches a stream: a process
that dies is restarted, and its partitions are with the others meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from processor.errors import ConfigError, Unavailable
from processor.log import get_logger
from processor.supervisor.endpoints import Endpoints
from processor.supervisor.lives import ENDS_ALL
from processor.supervisor.member import Member, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.config import Settings

_LOG = get_logger()
_LOOK_SECONDS: Final = 0.05
_LEAST_MEMORY_MIB: Final = 8
_GRACE_SECONDS: Final = 5.0  # beyond `shutdown_seconds`, in which a process closes what is open


def supervise(settings: Settings, count: int, arguments: Sequence[str]) -> int:
    """Runs `count` processes until SIGTERM or SIGINT. Returns the exit code.

    arguments: of `processor run`, as the user gave them, without the number of processes.

    Raises:
        ConfigError: nothing can listen at `http.listen`, or the memory is not enough for so many processes.
    """
    if settings.state.memory_mib < count * _LEAST_MEMORY_MIB:
        raise ConfigError(
            f"state.memory_mib is {settings.state.memory_mib}, for {count} processes.",
            f"It is the memory of all together, and each needs {_LEAST_MEMORY_MIB} MiB.",
            f"Set state.memory_mib to {count * _LEAST_MEMORY_MIB} or more, or run fewer processes.",
        )
    members = [Member(number, arguments, settings_of(settings, number, count)) for number in range(count)]
    with Endpoints(settings.http.address, members):
        return Supervisor(members, settings.processing.shutdown_seconds).run()


def available_cores() -> int:
    """The cores that this process may use: of its affinity and of its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return cores


class Supervisor:
    """The processes' lives, on one thread."""

    def __init__(self, members: Sequence[Member], shutdown_seconds: float) -> None:
        self._members = members
        self._shutdown_seconds = shutdown_seconds
        self._stop = threading.Event()
        self._kill_at: float | None = None  # set once all are being stopped
        self._code = 0

    def run(self) -> int:
        """Until all processes have ended, by a signal to this process or by an end that no restart mends."""
        former = {number: signal.signal(number, self._asked_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._is_done():
                self._turn()
                self._stop.wait(_LOOK_SECONDS) if self._kill_at is None else time.sleep(_LOOK_SECONDS)
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
        return self._code

    def _asked_to_stop(self, *_: Any) -> None:
        self._stop.set()

    def _is_done(self) -> bool:
        return self._kill_at is not None and all(member.state == "ended" for member in self._members)

    def _turn(self) -> None:
        for member in self._members:
            code = member.look()
            if code is not None:
                self._ended(member, code)
        if self._stop.is_set() and self._kill_at is None:
            self._stop_all()
        if self._kill_at is None:
            self._start_those_due()
        elif time.monotonic() > self._kill_at:
            self._kill_all()

    def _start_those_due(self) -> None:
        # What is wrong with the settings is reported once: the others wait until one has found them in order.
        wanted = self._members if any(member.is_checked for member in self._members) else self._members[:1]
        for member in wanted:
            if member.due_at is not None and time.monotonic() >= member.due_at:
                member.start()
                _LOG.info("process.started", number=member.number, pid=member.pid)

    def _ended(self, member: Member, code: int) -> None:
        if self._kill_at is not None:
            ended_well = code in (0, -signal.SIGTERM)  # the latter: it had not begun
            self._code = self._code or (0 if ended_well else max(code, Unavailable.exit_code))
            _LOG.info("process.ended", number=member.number, code=code)
        elif code in ENDS_ALL:
            _LOG.error("process.ended", number=member.number, code=code, hint="No restart mends this: all stop.")
            self._code = code
            self._stop_all()
        else:
            pause = member.restart_later()
            _LOG.warning("process.restarts", number=member.number, code=code, seconds=pause)

    def _stop_all(self) -> None:
        _LOG.info("stopping")
        self._kill_at = time.monotonic() + self._shutdown_seconds + _GRACE_SECONDS
        for member in self._members:
            member.due_at = None
            member.signal(signal.SIGTERM)

    def _kill_all(self) -> None:
        for member in self._members:
            if member.state != "ended":
                _LOG.error("process.killed", number=member.number, pid=member.pid, seconds=self._shutdown_seconds)
                member.signal(signal.SIGKILL)
        self._kill_at = time.monotonic() + _GRACE_SECONDS
