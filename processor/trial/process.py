"""A real `processor run` as a child process: started, watched by its log and its HTTP port, killed, started again.

The tests that kill and the demo use it. One object is one process, life after life: settings, state directory, log.
`start` may be called again and again, after each end of the process before.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

from processor import failpoints
from processor.errors import Unavailable
from processor.supervisor.children import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LOOK_SECONDS: Final = 0.02
_HTTP_SECONDS: Final = 5.0
# No proxy of the environment stands between this process and 127.0.0.1.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProcessorProcess:
    """`python -m processor run`, its log in a file of its own, its HTTP server on a free port."""

    def __init__(
        self,
        settings: Path,
        *,
        log: Path,
        overrides: Mapping[str, object] | None = None,
        arguments: Sequence[str] = (),
        command: Sequence[str] = (sys.executable, "-m", "processor"),
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing runs before `start`.

        settings: the TOML file. log: where stdout and stderr go, appended at every start. overrides: setting ->
        value, for `--set`. arguments: more for the command line (`--create-topics`). command: how the program is called
        (from another environment, say). directory: its working directory. environment: over this process' own.
        """
        self._command = (*command, "run", "-c", str(settings.absolute()), *arguments)
        self.log_path = log.absolute()
        self._overrides = {"http.listen": "127.0.0.1:0", "log.format": "json", **(overrides or {})}
        self._directory, self._environment = directory, dict(environment or {})
        self._child: Child | None = None
        self._log_start = 0

    def start(self, armed: str = "") -> Self:
        """Starts the process, with failpoints as `processor.failpoints` takes them. It need not be ready yet."""
        if self.exit_code is None and self._child is not None:
            raise RuntimeError("the process runs already")
        command = list(self._command)
        for name, value in self._overrides.items():
            command += ["--set", f"{name}={_as_text(value)}"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self._environment}
        environment.pop(failpoints.ENVIRONMENT_VARIABLE, None)
        if armed:
            environment[failpoints.ENVIRONMENT_VARIABLE] = armed
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._child = Child(command, output=log, directory=self._directory, environment=environment)
        return self

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs (and before the first start); minus the signal's number when a signal ended it."""
        return self._child.exit_code if self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def wait_ready(self, timeout_seconds: float = 60) -> Self:
        """Returns when `/readyz` reports ready: it has joined the group, and all its partitions run.

        Raises:
            Unavailable: it ended before, or was not ready in time; the end of its log is in the message.
        """
        self._wait_until(self.is_ready, timeout_seconds, "was not ready")
        return self

    def wait_event(self, event: str, timeout_seconds: float = 60, *, times: int = 1) -> dict[str, Any]:
        """The `times`-th log line of this start whose `event` is the one named.

        Raises:
            Unavailable: it ended before, or logged no such line in time.
        """
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [line for line in self.events() if line.get("event") == event]
            return len(found) >= times

        self._wait_until(seen, timeout_seconds, f"did not log {event!r}")
        return found[times - 1]

    def wait_exit(self, timeout_seconds: float = 60) -> int:
        """Its exit code, minus the signal's number when a signal (or a failpoint's `kill`) ended it.

        Raises:
            Unavailable: it still runs.
        """
        try:
            return self._started().wait(timeout_seconds)
        except TimeoutError:
            raise self._failure(f"still ran after {timeout_seconds:g} s") from None

    def sigkill(self) -> None:
        """A crash: SIGKILL, and the process is gone when this returns."""
        self._started().kill()

    def sigterm(self, timeout_seconds: float = 60) -> int:
        """A shutdown: SIGTERM, wait, return the exit code."""
        self.terminate()
        return self.wait_exit(timeout_seconds)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._started().send(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it does nothing at all until `resume`."""
        self._started().send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._started().send(signal.SIGCONT)

    def log(self) -> str:
        """What was logged since the last start."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def log_tail(self, lines: int) -> str:
        """The end of that."""
        return "\n".join(self.log().splitlines()[-lines:])

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of the log since the last start, in order; other text is left out."""
        return [line for line in map(_json_object, self.log().splitlines()) if line is not None]

    @property
    def port(self) -> int | None:
        """The HTTP server's port, once it was logged."""
        ports = [line["port"] for line in self.events() if line.get("event") == "listening" and "process" not in line]
        return int(ports[-1]) if ports else None

    def is_ready(self) -> bool:
        """Whether `/readyz` answers yes now."""
        try:
            return self.get("/readyz") is not None
        except OSError:
            return False

    def get(self, path: str) -> str | None:
        """The body of an HTTP answer: of `/metrics`, `/status`, ...; None when the status is not 200, or no port known.

        Raises:
            OSError: nobody replies at the port.
        """
        port = self.port
        if port is None:
            return None
        try:
            with _http.open(f"http://127.0.0.1:{port}{path}", timeout=_HTTP_SECONDS) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            return None

    def close(self) -> None:
        """SIGKILL if it still runs."""
        if self.running:
            self.sigkill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Child:
        if self._child is None:
            raise RuntimeError("the process was never started")
        return self._child

    def _wait_until(self, condition: Callable[[], bool], timeout_seconds: float, failure: str) -> None:
        deadline = time.monotonic() + timeout_seconds
        while True:
            ended = not self.running  # asked before the condition: its last words count
            if condition():
                return
            if ended:
                raise self._failure(f"{failure}: it ended with exit code {self.exit_code}")
            if time.monotonic() > deadline:
                raise self._failure(f"{failure} within {timeout_seconds:g} s")
            time.sleep(_LOOK_SECONDS)

    def _failure(self, what: str) -> Unavailable:
        return Unavailable(f"The processor {what}.", f"The end of its log ({self.log_path}):\n{self.log_tail(40)}")


def _as_text(value: object) -> str:
    """A setting's value as `--set` takes it: as TOML, strings without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        parsed = json.loads(line)
    except ValueError:
        return None  # the last line may be half written
    return parsed if isinstance(parsed, dict) else None
