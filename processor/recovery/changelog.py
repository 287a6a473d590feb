"""Reading the changelog: a read_committed consumer of its own, in bounded slices, of the partitions being restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import methodcaller
from typing import TYPE_CHECKING, Any, cast

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

        Waits up to `timeout` seconds for the first record. At the end of a partition, `next_offset` of its
        tail is the client's end, which is the last stable offset and may still move.
        """
        if not self._followed:
            return {}
        first = self._consumer.poll(timeout)
        messages = [] if first is None else [first, *self._consumer.consume(most - 1, 0)]
        tails: dict[int, Tail] = {}
        for partition, run in groupby(messages, methodcaller("partition")):
            if partition in self._followed:
                _take(list(run), tails.setdefault(partition, Tail()))
        return tails

    def close(self) -> None:
        self._consumer.close()


def _take(run: list[Message], tail: Tail) -> None:
    """Messages of one partition, in order. A restore reads a million of them: all but the rare are taken at once."""
    records = [message for message in run if message.error() is None]
    if len(records) < len(run):
        for message in run:
            if message.error() is not None:
                _note(message, tail)
    if not records:
        return
    keys: list[bytes | None] = list(map(methodcaller("key"), records))
    if None in keys:
        raise Incompatible(
            f"The changelog {run[0].topic()} has a record without a key.",
            "Something else writes to it.",
            "Give the processor a changelog of its own (state.changelog_topic).",
        )
    tail.values.update(zip(cast("list[bytes]", keys), map(methodcaller("value"), records), strict=True))
    tail.records += len(records)
    tail.next_offset = max(tail.next_offset or 0, records[-1].offset() + 1)


def _note(message: Message, tail: Tail) -> None:
    """What is no record: the partition's end, or that it cannot be read."""
    error = message.error()
    assert error is not None
    if error.code() == KafkaError._PARTITION_EOF:
        tail.next_offset = message.offset()
    elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        tail.missing = error.str()
