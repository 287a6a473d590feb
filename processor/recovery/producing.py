"""The producer of a process: its configuration is the same in every life, so that a new life fences the former one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.config import producer_properties
from processor.kafka.records import RECORD_OVERHEAD_BYTES

if TYPE_CHECKING:
    from processor.config import Settings
    from processor.preflight import Topology


def properties_of(settings: Settings, facts: Topology, process_id: str) -> dict[str, Any]:
    """The configuration of the producer of the process with this id, in this life or a former one."""
    name = settings.kafka.group_instance_id or process_id
    properties = producer_properties(settings, f"{settings.kafka.group_id}-{name}")
    # The broker would refuse a batch that is larger than its topic allows, again and again.
    written = (facts.output, facts.dead_letter, facts.changelog)
    largest = min(topic.max_message_bytes for topic in written) - RECORD_OVERHEAD_BYTES
    properties["batch.size"] = min(int(properties["batch.size"]), largest)
    return properties
