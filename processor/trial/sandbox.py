"""Where a command of this package does its work: a directory of its own with a broker in it, and the end of both.

Invariants: whatever lies on the disk lies below the one directory; `close` may be called at any moment, also while
another thread is just starting the broker; after it no process of the broker is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from processor.errors import ConfigError
from processor.trial.background import Background
from processor.trial.kafka import EmbeddedKafka

_REMOVALS: Final = 20
_BETWEEN_REMOVALS_SECONDS: Final = 0.1


class Sandbox:
    """A directory, and the broker in it."""

    def __init__(self, directory: Path | None, *, name: str, keep: bool) -> None:
        """directory: a new or an empty one; None for a temporary one, which `name` is part of. keep: leave it there.

        Raises:
            ConfigError: there is something in the directory already.
        """
        if directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix=f"processor-{name}-"))
        else:
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise ConfigError(f"{directory} is not an empty directory.", "", "Name one that does not exist yet.")
            directory.mkdir(parents=True, exist_ok=True)
            self.directory = directory.absolute()
        self._keep = keep
        self._starting: Background | None = None
        self._kafka: EmbeddedKafka | None = None

    @property
    def kafka(self) -> EmbeddedKafka:
        """The broker, from the moment at which it is being started."""
        assert self._kafka is not None
        return self._kafka

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    def start_kafka(self, **shape: Any) -> Background:
        """Starts the broker on a thread of its own, so that something else can be done meanwhile.

        shape: what else `EmbeddedKafka` takes.
        """
        self._kafka = EmbeddedKafka(self.directory / "kafka", **shape)
        self._starting = Background(self._kafka.start, "kafka")
        return self._starting

    def restart_broker(self) -> Background:
        """Starts a killed broker again, on a thread of its own."""
        self._starting = Background(self.kafka.restart, "kafka")
        return self._starting

    def close(self) -> None:
        """Ends the broker and removes the directory. The data is nobody's any more, so nothing is asked to stop."""
        if self._kafka is not None:
            self._interrupt_start(self._kafka)
            self._kafka.kill_all()
        if not self._keep:
            self._remove()

    def _remove(self) -> None:
        """A thread of RocksDB or of the broker may write a file while its directory is being removed."""
        for _ in range(_REMOVALS):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                return
            time.sleep(_BETWEEN_REMOVALS_SECONDS)

    def _interrupt_start(self, kafka: EmbeddedKafka) -> None:
        """Ends a start that still goes on: the thread that waits for a node sees that it has ended, and gives up."""
        while self._starting is not None and not self._starting.ends_within(0.1):
            for pid in kafka.pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
