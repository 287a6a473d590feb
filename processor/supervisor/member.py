"""One of the supervisor's processes: an ordinary member of the group, with its own directory, name, port and memory."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final, Literal, get_args

from processor.runtime.supervised import CHECKED, ENVIRONMENT_VARIABLE, PORT
from processor.supervisor.children import Child
from processor.supervisor.lives import Lives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from processor.config import Settings

State = Literal["waiting", "starting", "running", "ended"]
STATES: Final[tuple[State, ...]] = get_args(State)

_STDERR: Final = 2


def settings_of(settings: Settings, number: int, count: int) -> dict[str, str]:
    """The settings in which process `number` of `count` differs from those in force, as `--set` takes them."""
    own = {
        "state.directory": str(settings.state.directory.absolute() / f"process-{number}"),
        "state.memory_mib": str(settings.state.memory_mib // count),
        "http.listen": "127.0.0.1:0",
    }
    if settings.kafka.group_instance_id:
        own["kafka.group_instance_id"] = f"{settings.kafka.group_instance_id}-{number}"
    return own


class Member:
    """One process of the supervisor, life after life. The supervisor's thread alone changes it; other threads read."""

    def __init__(self, number: int, arguments: Sequence[str], own: Mapping[str, str]) -> None:
        """arguments: of `processor run`, as the user gave them; own: settings over them."""
        self.number = number
        self.lives = Lives()
        self.is_checked = False  # in some life: settings, artifact and topics are as they must be
        self.port: int | None = None
        self.due_at: float | None = 0.0  # when to start (monotonic seconds); None while it lives, or is not wanted
        self._command = [sys.executable, "-m", "processor", "run", *arguments]
        for name, value in own.items():
            self._command += ["--set", f"{name}={value}"]
        self._child: Child | None = None
        self._began = self._ended = 0.0
        self._reports: int | None = None  # the pipe's end to read from
        self._unread = b""

    @property
    def state(self) -> State:
        if self._child is None:
            return "ended" if self.due_at is None else "waiting"
        return "running" if self.port is not None else "starting"

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Starts the process."""
        self._reports, writing = os.pipe()
        os.set_blocking(self._reports, False)
        environment = {**os.environ, ENVIRONMENT_VARIABLE: f"{self.number}:{writing}"}
        try:
            self._child = Child(self._command, output=_STDERR, environment=environment, inherited=[writing])
        finally:
            os.close(writing)
        self._began, self.due_at, self.port = time.monotonic(), None, None

    def look(self) -> int | None:
        """Takes in what the process has reported. Returns its exit code where it has ended since the last look."""
        if self._child is None:
            return None
        code = self._child.exit_code
        self._read()
        if code is not None:
            self._bury()
        return code

    def restart_later(self) -> float:
        """Sets when it starts again, and returns in how many seconds."""
        pause = self.lives.pause_after(self._ended - self._began)
        self.due_at = time.monotonic() + pause
        return pause

    def signal(self, number: int) -> None:
        """Sends a signal, where the process lives."""
        if self._child is not None:
            self._child.send(number)

    def _read(self) -> None:
        assert self._reports is not None
        try:
            while data := os.read(self._reports, 4096):
                self._unread += data
        except BlockingIOError:
            pass
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            what, _, value = line.decode().partition(" ")
            if what == CHECKED:
                self.is_checked = True
            elif what == PORT:
                self.port = int(value)

    def _bury(self) -> None:
        assert self._reports is not None
        os.close(self._reports)
        self._child = self._reports = self.port = None
        self._unread, self._ended = b"", time.monotonic()
