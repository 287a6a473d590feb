"""What is tortured: a broker, a group of processes with a disk each, the load, and the reader of the predictions.

Invariants: `close` may be called at any moment; after it no process and no thread of it is left. A process whose end is
nobody's wish is known: a fault that wants one to die marks it first (`Member.expected_to_die`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from processor.trial.background import Background
from processor.trial.follower import Follower
from processor.trial.load import produce
from processor.trial.process import ProcessorProcess
from processor.trial.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.load import Load, Sent

INPUT: Final = "samples"
PARTITIONS: Final = 6
TORTURED, UNDISTURBED = "tortured", "undisturbed"  # groups; what they publish is called after them
SESSION_SECONDS: Final = 3.0
TRANSACTION_SECONDS: Final = 7.0
NAMES: Final = ("one", "two", "three")
GUEST: Final = "guest"
_JOIN_SECONDS: Final = 10.0
_PATIENT: Final = {"reconnect.backoff.max.ms": 1_000, "log_level": 0}  # of the load: the broker comes and goes

# Short timeouts, so that a takeover shows in seconds; short intervals, so that all that is written is written often.
_SETTINGS: Final = """\
[kafka]
bootstrap_servers = "{servers}"
[kafka.consumer]
"session.timeout.ms" = {session_ms}
"heartbeat.interval.ms" = 500
[kafka.producer]
"transaction.timeout.ms" = {transaction_ms}
[input]
topic = "{input}"
[processing]
commit_interval_seconds = 0.1
unavailable_seconds = 120
[state]
snapshot_interval_seconds = 2
memory_mib = 128
[sequence]
gap_seconds = {gap}
idle_seconds = {idle}
allowed_lateness_seconds = {lateness}
"""
GAP_SECONDS, IDLE_SECONDS, LATENESS_SECONDS = 20, 40, 30


def output_of(group: str) -> str:
    return f"{group}-probabilities"


def dead_letters_of(group: str) -> str:
    return f"{group}-dead-letters"


@dataclass(slots=True)
class Member:
    """One process of the group, and its disk."""

    name: str
    process: ProcessorProcess
    state: Path
    wanted: bool = False  # whether it is to run
    expected_to_die: bool = False  # whether it is to die by itself: a failpoint kills it

    @property
    def ready(self) -> bool:
        return self.process.is_ready()


class TortureSandbox(Sandbox):
    """Everything that is started. Members are made at once and started by the faults that want them to run."""

    def __init__(self, directory: Path | None = None, *, keep: bool = False) -> None:
        """As `Sandbox`."""
        super().__init__(directory, name="torture", keep=keep)
        self.members: list[Member] = []
        self._artifact = self.example_artifact
        self._stop = threading.Event()
        self._producing: Background | None = None
        self._follower: Follower | None = None

    @property
    def example_model(self) -> Path:
        return self.directory / "model.keras"

    @property
    def example_artifact(self) -> Path:
        return self.directory / "artifact"

    @property
    def copies(self) -> Path:
        """Where copies of disks are kept."""
        return self.directory / "copies"

    def start_mortal_kafka(self) -> Background:
        """A broker that can be killed and started again."""
        # A controller of its own: without one a broker that was killed leaves transactions without an end. It lets a
        # broker in again once it has given up the one before.
        quick = {"broker.heartbeat.interval.ms": "500", "broker.session.timeout.ms": "3000"}
        return self.start_kafka(separate_controller=True, properties=quick)

    def furnish(self, artifact: Path) -> None:
        """Makes the input topic and the settings of processes that serve an artifact. The broker runs."""
        self._artifact = artifact.absolute()
        self.kafka.create_topic(INPUT, partitions=PARTITIONS)
        text = _SETTINGS.format(
            servers=self.bootstrap_servers,
            session_ms=round(SESSION_SECONDS * 1000),
            transaction_ms=round(TRANSACTION_SECONDS * 1000),
            input=INPUT,
            gap=GAP_SECONDS,
            idle=IDLE_SECONDS,
            lateness=LATENESS_SECONDS,
        )
        self._settings.write_text(text, encoding="utf-8")

    def member(self, name: str, group: str, *, static: bool) -> Member:
        """A process of a group with a disk of its own, not started yet."""
        state = self.directory / f"state-{name}"
        overrides = {
            "model.artifact": self._artifact,
            "kafka.group_id": group,
            "kafka.group_instance_id": f"{group}-{name}" if static else "",
            "output.topic": output_of(group),
            "dead_letter.topic": dead_letters_of(group),
            "state.directory": state,
        }
        log = self.directory / f"{name}.log"
        process = ProcessorProcess(self._settings, log=log, overrides=overrides, arguments=["--create-topics"])
        member = Member(name, process, state)
        self.members.append(member)
        return member

    def start_load(self, load: Load, rate: float, on_batch: Callable[[Sent], None]) -> Background:
        """Starts the producer, upstream of the processes. `on_batch` is called on its thread."""
        servers, stop = self.bootstrap_servers, self._stop
        self._producing = Background(
            lambda: produce(servers, INPUT, load, rate=rate, stop=stop, on_batch=on_batch, properties=_PATIENT),
            "producer",
        )
        return self._producing

    def stop_load(self) -> None:
        """The producer ends once all that it has was delivered."""
        self._stop.set()

    def start_follower(self) -> Follower:
        """Starts to read the predictions, downstream of the processes."""
        self._follower = Follower(self.bootstrap_servers, output_of(TORTURED), PARTITIONS)
        return self._follower

    def close(self) -> None:
        """Ends everything, and removes the directory."""
        self._stop.set()
        for member in self.members:
            member.process.close()
        if self._producing is not None:
            self._producing.ends_within(_JOIN_SECONDS)
        if self._follower is not None:
            self._follower.close()
        super().close()

    @property
    def _settings(self) -> Path:
        return self.directory / "processor.toml"
