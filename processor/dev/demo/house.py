"""Everything that the demo starts and writes, and that must be gone when it ends, however it ends.

Invariants: whatever lies on the disk lies below one directory; `close` may be called at any moment, also while the
broker is just being started by another thread; after it, no process and no thread of the demo is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from processor.dev.demo.tail import Tail
from processor.dev.kafka import EmbeddedKafka
from processor.dev.load import produce
from processor.dev.process import ProcessorProcess
from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.dev.demo.figures import Figures
    from processor.dev.load import Load, Sent

INPUT, OUTPUT, DEAD_LETTERS = "samples", "probabilities", "samples-dead-letter"
_JOIN_SECONDS: Final = 10.0

_SETTINGS: Final = """\
[model]
artifact = "artifact"
[kafka]
bootstrap_servers = "{servers}"
group_id = "demo"
group_instance_id = "demo-1"      # a static member: a restart has its partitions back at once
[input]
topic = "{input}"
[output]
topic = "{output}"
[dead_letter]
topic = "{dead_letters}"
[state]
directory = "state"
snapshot_interval_seconds = 3     # short, so that a short demo shows a restore and a replay
memory_mib = 256
"""


class Background:
    """A function on a thread of its own; what it raises is raised to whoever asks."""

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self.seconds = 0.0  # that it took
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it goes on; raises what it has ended with."""
        running = self._thread.is_alive()
        if not running:
            self.join()
        return running

    def join(self) -> None:
        """Waits for its end; raises what it has ended with."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def ends_within(self, seconds: float) -> bool:
        """Waits; whether it has ended, well or not."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        started = time.monotonic()
        try:
            self._function()
        except BaseException as error:
            self._error = error
        self.seconds = time.monotonic() - started


class House:
    """The demo's directory, broker, processor, producer and reader."""

    def __init__(self, directory: Path | None = None, *, keep: bool = False) -> None:
        """directory: a new or an empty one; None for a temporary one. keep: leave it on the disk.

        Raises:
            ConfigError: there is something in the directory already.
        """
        if directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="processor-demo-"))
        else:
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise ConfigError(f"{directory} is not an empty directory.", "", "Name one that does not exist yet.")
            directory.mkdir(parents=True, exist_ok=True)
            self.directory = directory.absolute()
        self._keep = keep
        self._stop = threading.Event()
        self._starting: Background | None = None
        self._producing: Background | None = None
        self._tail: Tail | None = None
        self.kafka: EmbeddedKafka | None = None
        self.processor: ProcessorProcess | None = None

    @property
    def artifact(self) -> Path:
        return self.directory / "artifact"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def bootstrap_servers(self) -> str:
        assert self.kafka is not None
        return self.kafka.bootstrap_servers

    def start_kafka(self) -> Background:
        """Starts the broker on a thread of its own, so that a model can be trained meanwhile."""
        self.kafka = EmbeddedKafka(self.directory / "kafka")
        self._starting = Background(self.kafka.start, "kafka")
        return self._starting

    def start_processor(self) -> ProcessorProcess:
        """Starts the processor, which makes the topics; it need not be ready yet."""
        settings = self.directory / "processor.toml"
        settings.write_text(
            _SETTINGS.format(servers=self.bootstrap_servers, input=INPUT, output=OUTPUT, dead_letters=DEAD_LETTERS)
        )
        log = self.directory / "processor.log"
        self.processor = ProcessorProcess(settings, log=log, arguments=["--create-topics"])
        return self.processor.start()

    def start_load(self, load: Load, rate: float, on_batch: Callable[[Sent], None]) -> Background:
        """Starts the producer, upstream of the processor. `on_batch` is called on its thread."""
        servers, stop = self.bootstrap_servers, self._stop
        self._producing = Background(
            lambda: produce(servers, INPUT, load, rate=rate, stop=stop, on_batch=on_batch), "producer"
        )
        return self._producing

    @property
    def stopping(self) -> bool:
        """Whether the producer is to end."""
        return self._stop.is_set()

    def start_tail(self, load: Load, figures: Figures) -> Tail:
        """Starts to read the predictions, downstream of the processor."""
        self._tail = Tail(self.bootstrap_servers, OUTPUT, load, figures)
        return self._tail

    def close(self) -> None:
        """Ends everything and removes the directory. The data is nobody's any more, so nothing is asked to stop."""
        self._stop.set()
        if self.processor is not None:
            self.processor.close()
        if self._producing is not None:
            self._producing.ends_within(_JOIN_SECONDS)
        if self._tail is not None:
            self._tail.close()
        if self.kafka is not None:
            self._interrupt_start(self.kafka)
            self.kafka.kill_all()
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _interrupt_start(self, kafka: EmbeddedKafka) -> None:
        """Ends a start that still goes on: whoever waits for a node sees that it has ended, and gives up."""
        while self._starting is not None and not self._starting.ends_within(0.1):
            for pid in kafka.pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
