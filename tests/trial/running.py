"""A command of this project that is run, read, interrupted, and must leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

MARK = "COMMAND_TEST_MARK"


class Running:
    """A command in a process of its own, with a directory for temporary files that is its alone."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.temporary, self.mark = directory / "tmp", uuid.uuid4().hex
        self.temporary.mkdir()
        self.lines: list[str] = []
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "processor", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, MARK: self.mark, "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def read_until(self, text: str) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError(f"ended before {text!r}:\n{self.output}")

    def finish(self) -> int:
        """Its exit code, as a shell counts it.

        Python dies of SIGINT, after all that it has to do, where a Ctrl-C came in the middle of an `exec` of text (a
        dataclass that is being made, say), although the KeyboardInterrupt was caught: 130, too.
        """
        rest, _ = self.popen.communicate(timeout=240)
        self.lines += rest.splitlines()
        return 128 + signal.SIGINT if self.popen.returncode == -signal.SIGINT else self.popen.returncode

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def processes(self) -> list[psutil.Process]:
        """All that were started by it, and that still run: every child has inherited the mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def must_have_left_nothing(self) -> None:
        deadline = time.monotonic() + 10  # the watchdog of the children ends a moment after the command
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        left = [str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*")]
        assert left == [], left[:20]

    def close(self) -> None:
        """Ends whatever is left."""
        for process in self.processes():
            process.kill()
        self.popen.wait()
