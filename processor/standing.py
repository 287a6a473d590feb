"""How a process stands, for those who ask over HTTP, from threads of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.partition import Phase

if TYPE_CHECKING:
    from processor.loop import Loop


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
    partitions = {
        str(number): {
            "phase": partition.phase.value,
            "next_offset": partition.place.offset,
            "publish_from": partition.publish_from,
        }
        for number, partition in sorted(loop.assignment.partitions.copy().items())
    }
    return {
        "joined": loop.consumer.joined,
        "kafka_silent_seconds": round(loop.lookout.silence(), 1) if loop.lookout.is_away else 0.0,
        "partitions": partitions,
        "keys_in_memory": len(loop.arena),
        "slots": loop.arena.size,
        "dirty_keys": loop.arena.wheel.dirty_count,
    }
