"""How a process stands, for those who ask over HTTP, from threads of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.recovery.partition import Phase
from processor.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from processor.config import Settings
    from processor.model.artifact import Artifact
    from processor.runtime.loop import Loop


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


def liveness(loop: Loop, limit_seconds: float) -> tuple[bool, str]:
    """Whether the loop comes round within the limit: above what it waits for a broker, which is no reason to kill."""
    age = loop.heartbeat_age()
    alive = age <= limit_seconds
    return alive, "the main loop is alive" if alive else f"the main loop has been stuck for {age:.0f} s"


def readiness(loop: Loop) -> tuple[bool, str]:
    """Whether the process has joined and all its partitions run, and what is missing where not."""
    if loop.lookout.is_away:
        return False, f"no Kafka broker has answered for {loop.lookout.silence():.0f} s"
    if not loop.consumer.joined:
        return False, "the process is not in the group yet, or not any more"
    waiting = [
        f"partition {number} is {partition.phase}"
        for number, partition in sorted(loop.assignment.partitions.copy().items())
        if partition.phase is not Phase.RUNNING
    ]
    return not waiting, "; ".join(waiting) or "all partitions run"


def status(loop: Loop) -> dict[str, Any]:
    """What the process holds, as a JSON-able dictionary."""
    lags = loop.metrics.lags
    partitions = {
        str(number): {
            "phase": partition.phase.value,
            "next_offset": partition.cursor.offset,
            "publish_from": partition.publish_from,
            "lag_events": lags.get(number),
        }
        for number, partition in sorted(loop.assignment.partitions.copy().items())
    }
    return {
        "joined": loop.consumer.joined,
        "kafka_silent_seconds": round(loop.lookout.silence(), 1) if loop.lookout.is_away else 0.0,
        "partitions": partitions,
        "lag_events": sum(lags.values()),
        "keys_in_memory": len(loop.arena),
        "key_capacity": loop.arena.size,
        "dirty_keys": loop.arena.flush_queue.dirty_count,
    }
