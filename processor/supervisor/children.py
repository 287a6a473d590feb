"""Child processes that never outlive this one.

A child is started in a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which then stops its
children in the right order. In return nothing but the parent would ever end them: if it dies first, by SIGKILL too,
they would go on for good. A watchdog, one small process for all children, therefore waits for the end of a pipe that
only this process holds open, and kills every child that is left. (Linux could do so by a signal at a parent's death,
but it watches the *thread* that started the child, and other systems have no such thing.)

Invariant: a child is known to the watchdog from its start until it was waited for, so that its id cannot have been
given to somebody else's process meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_WATCHDOG: Final = """
import os, signal, sys
for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_IGN)
alive = set()
for line in sys.stdin:
    sign, number = line[0], int(line[1:])
    (alive.add if sign == "+" else alive.discard)(number)
for number in alive:
    try:
        os.killpg(number, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

_lock = threading.Lock()
_watchdog: subprocess.Popen[str] | None = None
_owner = 0


def _tell(line: str) -> None:
    """Says one line to the watchdog of this process, which is started with the first line."""
    global _watchdog, _owner
    with _lock:
        if _watchdog is None or _owner != os.getpid():  # a fork must not share its parent's watchdog
            _watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCHDOG],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
                bufsize=1,
            )
            _owner = os.getpid()
        assert _watchdog.stdin is not None
        _watchdog.stdin.write(line + "\n")
        _watchdog.stdin.flush()


class Child:
    """One child process, leader of a session and a process group of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        output: IO[bytes] | int,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        """Starts `command` with stdout and stderr going to `output`, and nothing to read.

        inherited: file descriptors that it keeps open.
        """
        self._popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            pass_fds=tuple(inherited),
        )
        self._known = True
        _tell(f"+{self.pid}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        code = self._popen.poll()
        if code is not None:
            self._forget()
        return code

    def send(self, signal_number: int) -> None:
        """Sends a signal to the child alone; does nothing when it has ended."""
        self._popen.send_signal(signal_number)

    def wait(self, timeout_seconds: float) -> int:
        """Its exit code.

        Raises:
            TimeoutError: it still runs after `timeout_seconds`.
        """
        try:
            code = self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {timeout_seconds:g} s") from None
        self._forget()
        return code

    def kill(self) -> int:
        """Ends it by SIGKILL, stopped or not, and returns its exit code."""
        self._popen.kill()
        return self.wait(timeout_seconds=60)

    def _forget(self) -> None:
        if self._known:
            self._known = False
            _tell(f"-{self.pid}")
