"""What every measurement stands on: one broker, one artifact, topics by name, processors with settings."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.feed import PARTITIONS, Feed, write
from processor.model.artifact import load_artifact
from processor.model.convert import convert
from processor.model.convert.example import train
from processor.trial.kafka import EmbeddedKafka
from processor.trial.process import ProcessorProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BYTES_OF_A_STATE = 1_000
"""Of memory that one key takes at the most: its words, its row of the columns, its place in the index."""


@dataclass
class Rig:
    """Directories, a broker and an artifact. Topics are kept while several measurements read them."""

    directory: Path
    model: Path  # as it was trained
    artifact: Path
    kafka: EmbeddedKafka
    tell: Callable[[str], None]
    _written: set[str] = field(default_factory=set)
    _runs: int = 0

    def topic_of(self, feed: Feed) -> str:
        """The topic with this feed in it; written at the first call."""
        if feed.name not in self._written:
            self.tell(f"writing {feed.events:,} events of {feed.keys:,} keys ({feed.distribution}, {feed.format})")
            self.kafka.create_topic(feed.name, partitions=PARTITIONS)
            write(self.kafka.bootstrap_servers, feed.name, feed)
            self._written.add(feed.name)
        return feed.name

    def drop(self, *topics: str) -> None:
        """Deletes topics, so that the disk holds what is measured and no more."""
        self.kafka.delete_topics(*topics)
        self._written.difference_update(topics)

    def save_initial_state(self, file: Path) -> None:
        """The state of a key that was never seen, as a NumPy file, for those who cannot read an artifact."""
        np.save(file, load_artifact(self.artifact).initial_state)

    def run_name(self) -> str:
        """A name that no other measurement has, for a group and its topics."""
        self._runs += 1
        return f"run-{self._runs}"

    def processor(self, name: str, source: str, member: str = "one", **overrides: Any) -> ProcessorProcess:
        """A process of the group `name` over the topic `source`; not started. `a__b=1` sets `a.b`."""
        file = self.directory / "processor.toml"
        file.write_text("")
        values: dict[str, Any] = {
            "model.artifact": self.artifact,
            "kafka.bootstrap_servers": self.kafka.bootstrap_servers,
            "kafka.group_id": name,
            "kafka.group_instance_id": f"{name}-{member}",
            "input.topic": source,
            "output.topic": f"{name}-output",
            "dead_letter.topic": f"{name}-dead-letter",
            "state.directory": self.directory / name / member,
            "state.snapshot_interval_seconds": 10,
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        log = self.directory / name / f"{member}.log"
        return ProcessorProcess(file, log=log, overrides=values, arguments=["--create-topics"])

    def clean(self, name: str) -> None:
        """Deletes what a run has left."""
        self.kafka.delete_topics(f"{name}-output", f"{name}-dead-letter", f"{name}-changelog")
        shutil.rmtree(self.directory / name, ignore_errors=True)


@contextmanager
def rigged(directory: Path | None, broker: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[Rig]:
    """A rig with a freshly trained model and a broker of its own, below `directory`; nothing of it stays."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        place = Path(scratch)
        model, artifact = train(place / "model.keras").path, place / "artifact"
        convert(model, artifact)
        with EmbeddedKafka(place / "kafka", properties=broker, heap_mib=1024) as kafka:
            yield Rig(place, model, artifact, kafka, tell)


def memory_for(keys: int) -> int:
    """The setting `state.memory_mib` with which this many keys stay in memory."""
    return max(64, keys * BYTES_OF_A_STATE // 2**20)


def stepped(process: ProcessorProcess) -> int:
    """How many offsets a process has stepped in all its partitions, as it says."""
    try:
        status = json.loads(process.get("/status") or "{}")
    except OSError:
        return 0
    return sum(partition["next_offset"] for partition in status.get("partitions", {}).values())


def wait_stepped(
    processes: list[ProcessorProcess], events: int, budget_seconds: float = 1_800
) -> list[tuple[float, int]]:
    """(seconds, events) as they go, until all are stepped."""
    started, curve = time.monotonic(), [(0.0, 0)]
    while curve[-1][1] < events:
        done = sum(stepped(process) for process in processes)
        seconds = time.monotonic() - started
        curve.append((seconds, done))
        for process in processes:
            if not process.running:
                raise RuntimeError(f"a processor has ended with {process.exit_code}:\n{process.log()[-3000:]}")
        if seconds > budget_seconds:
            raise RuntimeError(f"{done} of {events} events in {seconds:.0f} s")
        time.sleep(0.1)
    return curve


def rate_of(curve: list[tuple[float, int]], warm_up: float) -> float:
    """Events a second behind the first `warm_up` (0 to 1) of them: starts and first sights of keys are left out.

    Raises:
        RuntimeError: the run was too short to have a rate.
    """
    most = curve[-1][1]
    first = next(point for point in curve if point[1] >= warm_up * most)
    last = next(point for point in curve if point[1] >= most)
    if last[0] <= first[0]:
        raise RuntimeError(f"{most} events passed between two looks: too few for a rate. Raise --scale.")
    return (last[1] - first[1]) / (last[0] - first[0])
