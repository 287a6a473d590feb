"""What every test of recovery stands on: one input for all, topics of their own, and one way to judge.

All tests read the same input topic, each with a group, outputs and a changelog of its own. So what an undisturbed run
published (once per test run) is what each of them must publish, byte for byte; and the oracle with the trained model
says that the undisturbed run itself is right.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from processor.kafka.client import Producer
from processor.trial.process import ProcessorProcess
from processor.trial.reader import compare, high_watermarks, read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.reader import Topic

PARTITIONS = 4
TIMEOUTS = """
[kafka.consumer]
"session.timeout.ms" = 2000
"heartbeat.interval.ms" = 300
[kafka.producer]
"transaction.timeout.ms" = 6000
"""
CONSUMER_PROTOCOL = """
[kafka.consumer]
"group.protocol" = "consumer"
[kafka.producer]
"transaction.timeout.ms" = 6000
"""


def wait_until(is_so: Callable[[], Any], what: str, timeout_seconds: float = 120) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Deployment:
    """A group with its topics, and the processes that were started in it."""

    kafka: EmbeddedKafka
    artifact: Path
    input: str
    name: str
    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    static: bool = True  # a restarted static member has its partitions back at once, and a test its time
    processes: list[ProcessorProcess] = field(default_factory=list)
    properties: str = TIMEOUTS  # of the Kafka clients
    command: tuple[str, ...] = (sys.executable, "-m", "processor")

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def output(self) -> str:
        return f"{self.name}-output"

    @property
    def dead_letters(self) -> str:
        return f"{self.name}-dead-letters"

    @property
    def changelog(self) -> str:
        return f"{self.name}-changelog"

    def process(
        self, name: str = "one", *, create_topics: bool = True, arguments: Sequence[str] = (), **overrides: Any
    ) -> ProcessorProcess:
        """A process with a state directory of its own; not started. `a__b=1` overrides the setting `a.b`."""
        file = self.directory / "processor.toml"
        file.write_text(self.properties, encoding="utf-8")
        values = {
            "model.artifact": self.artifact,
            "kafka.bootstrap_servers": self.kafka.bootstrap_servers,
            "kafka.group_id": self.name,
            "kafka.group_instance_id": f"{self.name}-{name}" if self.static else "",
            "input.topic": self.input,
            "output.topic": self.output,
            "dead_letter.topic": self.dead_letters,
            "processing.commit_interval_seconds": 0.02,
            "processing.unavailable_seconds": 60,
            "state.directory": self.state(name),
            "state.changelog_topic": self.changelog,
            "state.snapshot_interval_seconds": 0.2,
            "state.memory_mib": 64,
            **self.settings,
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        log = self.directory / f"{name}.log"
        given = [*arguments, "--create-topics"] if create_topics else arguments
        process = ProcessorProcess(file, log=log, overrides=values, arguments=given, command=self.command)
        self.processes.append(process)
        return process

    def state(self, name: str = "one") -> Path:
        return self.directory / f"state-{name}"

    def places(self) -> dict[int, int]:
        """The next offsets of all partitions, as the running processes tell them."""
        places: dict[int, int] = {}
        for process in self.processes:
            try:
                status = json.loads(process.get("/status") or "{}") if process.running else {}
            except OSError:
                status = {}
            for number, partition in status.get("partitions", {}).items():
                if partition["phase"] == "running":
                    places[int(number)] = max(places.get(int(number), 0), partition["next_offset"])
        return places

    def ends(self) -> dict[int, int]:
        """Where each partition of the input ends."""
        return high_watermarks(self.kafka.bootstrap_servers, self.input)

    def wait_caught_up(self, *codes: int, timeout_seconds: float = 120) -> None:
        """Returns when running processes have stepped all of the input.

        codes: exit codes with which a process is started again, as a supervisor does.
        """
        ends = self.ends()
        deadline = time.monotonic() + timeout_seconds
        while any((places := self.places()).get(number, 0) < end for number, end in ends.items()):
            for process in self.processes:
                if process.exit_code in codes:
                    process.start()
                assert process.exit_code in (None, 0, -9), process.log()[-4000:]
            said = self.processes[-1].log()[-4000:]
            assert time.monotonic() < deadline, f"not caught up: {places} of {ends}\n{said}"
            time.sleep(0.05)

    def hold(self, point: str, hit: int) -> str:
        """A failpoint at whose `hit` a process waits until `release`: to be armed, by itself or in a list."""
        return f"{point}=hold:{self._held(point)}@{hit}"

    def release(self, point: str) -> None:
        """Lets the processes go on that wait there, and those that will come."""
        self._held(point).touch()

    def _held(self, point: str) -> Path:
        return self.directory / f"{point}.released"

    def finish(self, *codes: int, timeout_seconds: float = 120) -> None:
        """Waits until all is stepped, and ends every process in peace. codes: as for `wait_caught_up`, to the end."""
        while True:
            self.wait_caught_up(*codes, timeout_seconds=timeout_seconds)
            ended = {process.sigterm() for process in self.processes if process.running}
            if ended == {0}:
                return
            assert ended <= {0, *codes}, "\n".join(process.log()[-4000:] for process in self.processes)

    def finish_alone(self, name: str = "one", *codes: int) -> None:
        """Ends what runs, in peace or with one of the codes, and lets one process step what is left, at full speed.

        A killed member's place is kept for its session; under `group.protocol=consumer` nobody of its name gets in.
        """
        for process in self.processes:
            assert not process.running or process.sigterm() in (0, *codes), process.log()[-4000:]
        self.processes.clear()
        self.process(name, processing__commit_interval_seconds=0.1).start()
        self.finish()

    def published(self) -> tuple[Topic, Topic]:
        """Predictions and dead letters, as a read_committed reader sees them."""
        servers = self.kafka.bootstrap_servers
        return read_topic(servers, self.output), read_topic(servers, self.dead_letters)

    def must_equal(self, reference: tuple[Topic, Topic]) -> None:
        for wanted, found in zip(reference, self.published(), strict=True):
            report = compare(wanted, found)
            assert report, f"{report}\n{self.processes[-1].log()[-3000:]}"


@dataclass
class Fed:
    """A deployment whose input becomes what the common input is, but bit by bit: there is always something to do."""

    deployment: Deployment
    left: Topic

    def feed(self, parts: int = 1) -> None:
        """The next of so many parts of what is left."""
        now = {number: records[: len(records) // parts] for number, records in self.left.items()}
        self.left = {number: records[len(now[number]) :] for number, records in self.left.items()}
        write(self.deployment.kafka, self.deployment.input, now)

    def must_equal(self, reference: tuple[Topic, Topic], *codes: int) -> None:
        """The rest, and then the same bytes; a dead letter says which topic its event came from.

        codes: with which processes may end beside 0.
        """
        self.feed()
        self.deployment.finish_alone("one", *codes)
        predictions, dead_letters = reference
        of_this_topic = {
            number: [one._replace(headers=tuple(self._header(*header) for header in one.headers)) for one in records]
            for number, records in dead_letters.items()
        }
        self.deployment.must_equal((predictions, of_this_topic))

    def _header(self, name: str, value: bytes | None) -> tuple[str, bytes | None]:
        return name, self.deployment.input.encode() if name == "processor.topic" else value


def write(cluster: EmbeddedKafka, topic: str, records: Topic) -> None:
    """The same records in a topic that is there: at the same offsets where it is empty, with the same timestamps."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for partition, some in records.items():
        for record in some:
            producer.produce(topic, record.value, record.key, partition, timestamp=record.timestamp)
    assert producer.flush(60) == 0


def copy_topic(source: EmbeddedKafka, target: EmbeddedKafka, topic: str) -> None:
    """The same topic in another cluster."""
    records = read_topic(source.bootstrap_servers, topic)
    write(target, target.create_topic(topic, partitions=len(records)), records)
