"""How a process stands, for those who ask over HTTP, from threads of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from processor.recovery.partition import Phase
from processor.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from processor.config import Settings
    from processor.kafka.consumer import SampleConsumer
    from processor.kafka.lookout import Lookout
    from processor.metrics import Metrics
    from processor.model.artifact import Artifact
    from processor.recovery.assignment import Assignment
    from processor.state.arena import Arena


def describe_process(settings: Settings, artifact: Artifact, file: Path | None) -> dict[str, Any]:
    """What runs here, as a JSON-able dictionary: what a person at night wants to know first."""
    return {
        "version": __version__,
        "model": artifact.model_id,
        "artifact": str(settings.model.artifact),
        "mode": artifact.mode if artifact.length is None else f"{artifact.mode} {artifact.length}",
        "guarantee": settings.processing.guarantee,
        "group": settings.kafka.group_id,
        "brokers": settings.kafka.bootstrap_servers,
        "input": settings.input.topic,
        "output": settings.output.topic,
        "dead_letters": settings.dead_letter.topic,
        "changelog": settings.changelog_topic,
        "settings_file": None if file is None else str(file.absolute()),
        "state_directory": str(settings.state.directory.absolute()),
        "listen": settings.http.listen,
    }


def liveness(beat_age: float, limit_seconds: float) -> tuple[bool, str]:
    """Whether the loop comes round within the limit, and why.

    beat_age: seconds since it last did. The limit is above what it waits for a broker: that is no reason to kill.
    """
    alive = beat_age <= limit_seconds
    return alive, "the main loop is alive" if alive else f"the main loop has been stuck for {beat_age:.0f} s"


@dataclass(frozen=True, slots=True)
class Status:
    """How a process stands. The loop measures; `/readyz` and `/status` read."""

    consumer: SampleConsumer
    assignment: Assignment
    arena: Arena
    lookout: Lookout
    metrics: Metrics

    def measure(self) -> None:
        """Sets the gauges. For the loop's thread alone."""
        held = self.assignment.partitions
        ends = {number: self.consumer.known_end(number) for number in held}
        self.metrics.lag({n: max(0, end - held[n].committable) for n, end in ends.items() if end is not None})
        self.metrics.partitions(partition.phase for partition in held.values())
        self.metrics.keys(self.arena, self.arena.flush_queue.dirty_count)

    def readiness(self) -> tuple[bool, str]:
        """Whether the process has joined and all its partitions run, and what is missing where not."""
        if self.lookout.is_away:
            return False, f"no Kafka broker has answered for {self.lookout.silence():.0f} s"
        if not self.consumer.joined:
            return False, "the process is not in the group yet, or not any more"
        waiting = [
            f"partition {number} is {partition.phase}"
            for number, partition in sorted(self.assignment.partitions.copy().items())
            if partition.phase is not Phase.RUNNING
        ]
        return not waiting, "; ".join(waiting) or "all partitions run"

    def describe(self) -> dict[str, Any]:
        """What the process holds, as a JSON-able dictionary."""
        lags = self.metrics.lags
        partitions = {
            str(number): {
                "phase": partition.phase.value,
                "next_offset": partition.cursor.offset,
                "publish_from": partition.publish_from,
                "lag_events": lags.get(number),
            }
            for number, partition in sorted(self.assignment.partitions.copy().items())
        }
        return {
            "joined": self.consumer.joined,
            "kafka_silent_seconds": round(self.lookout.silence(), 1) if self.lookout.is_away else 0.0,
            "partitions": partitions,
            "lag_events": sum(lags.values()),
            "keys_in_memory": len(self.arena),
            "key_capacity": self.arena.size,
            "dirty_keys": self.arena.flush_queue.dirty_count,
        }
