"""Everything that the demo starts and writes, and that must be gone when it ends, however it ends.

Invariant: `close` may be called at any moment; after it, no process and no thread of the demo is left.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from processor.trial.background import Background
from processor.trial.demo.tail import Tail
from processor.trial.load import produce
from processor.trial.process import ProcessorProcess
from processor.trial.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.demo.figures import Figures
    from processor.trial.load import Load, Sent

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


class DemoSandbox(Sandbox):
    """The demo's directory, broker, processor, producer and reader."""

    def __init__(self, directory: Path | None = None, *, keep: bool = False) -> None:
        """As `Sandbox`."""
        super().__init__(directory, name="demo", keep=keep)
        self._stop = threading.Event()
        self._producing: Background | None = None
        self._tail: Tail | None = None
        self.processor: ProcessorProcess | None = None

    @property
    def artifact(self) -> Path:
        return self.directory / "artifact"

    @property
    def state(self) -> Path:
        return self.directory / "state"

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
        """Ends everything, and removes the directory."""
        self._stop.set()
        if self.processor is not None:
            self.processor.close()
        if self._producing is not None:
            self._producing.ends_within(_JOIN_SECONDS)
        if self._tail is not None:
            self._tail.close()
        super().close()
