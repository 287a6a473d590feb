"""Reading the changelog: a read_committed consumer of its own, in bounded slices, of the partitions being restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from processor.errors import Incompatible
from processor.kafka.client import Consumer, KafkaError, TopicPartition
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.kafka.client import Message


@dataclass(slots=True)
class Tail:
    """What one slice brought of one partition: the newest value of each key, None where it was deleted."""

    values: dict[bytes, bytes | None] = field(default_factory=dict)
    records: int = 0
    next_offset: int | None = None  # the offset after the last record, or that of the end where it was reached
    missing: str | None = None  # why it cannot be read on from its offset


class ChangelogReader:
    """Follows any number of changelog partitions, each from an offset of its own."""

    def __init__(self, properties: Mapping[str, Any], topic: str, topic_id: str) -> None:
        """properties: of a consumer with `enable.partition.eof` and `isolation.level=read_committed`.

        topic_id: as Kafka prints it, of the topic as it is now.
        """
        self.topic, self.topic_id = topic, topic_id
        self._consumer = Consumer(dict(properties), logger=kafka_logger())
        self._followed: set[int] = set()

    @property
    def is_idle(self) -> bool:
        return not self._followed

    def follow(self, partition: int, offset: int) -> None:
        """Reads a partition from `offset` on, in this and the following slices."""
        self.leave(partition)
        self._consumer.incremental_assign([TopicPartition(self.topic, partition, offset)])
        self._followed.add(partition)

    def leave(self, partition: int) -> None:
        """Reads no more of a partition."""
        if partition in self._followed:
            self._consumer.incremental_unassign([TopicPartition(self.topic, partition)])
            self._followed.discard(partition)

    def read(self, timeout: float, most: int) -> dict[int, Tail]:
        """The next slice: at most `most` records of all followed partitions together.

        Waits up to `timeout` seconds for the first record. At the end of a partition its tail says so by
        `next_offset`: the client's end, which is the last stable offset and may still move.
        """
        if not self._followed:
            return {}
        first = self._consumer.poll(timeout)
        messages = [] if first is None else [first, *self._consumer.consume(most - 1, 0)]
        tails: dict[int, Tail] = {}
        for message in messages:
            if message.partition() in self._followed:
                _take(message, tails.setdefault(message.partition(), Tail()))
        return tails

    def close(self) -> None:
        self._consumer.close()


def _take(message: Message, tail: Tail) -> None:
    error = message.error()
    if error is None:
        key = message.key()
        if key is None:
            raise Incompatible(
                f"The changelog {message.topic()} has a record without a key.",
                "Something else writes to it.",
                "Give the processor a changelog of its own (state.changelog_topic).",
            )
        tail.values[key] = message.value()
        tail.records += 1
        tail.next_offset = message.offset() + 1
    elif error.code() == KafkaError._PARTITION_EOF:
        tail.next_offset = message.offset()
    elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        tail.missing = error.str()
