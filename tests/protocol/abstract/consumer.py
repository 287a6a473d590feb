"""Consumers as the processor's own code calls them, upon the abstract Kafka: the group's member, the changelog's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from processor.kafka.client import KafkaError
from protocol.abstract.client import CHANGELOG, INPUT, Message, TopicPartition, failure
from protocol.abstract.group import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.abstract.log import Log
    from protocol.process import Process


@dataclass(slots=True)
class Reading:
    """Where a client reads a partition, and at which offset it has told its end."""

    log: Log
    offset: int
    paused: bool = False
    told_end: int = -1

    def take(self, most: int) -> list[Message]:
        """Records from here on; once there are no more, the end, if it has moved since it was told."""
        entries = self.log.read(self.offset, most)
        messages = [Message(self.log.partition, entry.offset, entry) for entry in entries]
        if entries:
            self.offset = entries[-1].offset + 1
        elif most and (end := self.log.stable_end) >= self.offset and end != self.told_end:
            self.offset = self.told_end = end
            messages.append(Message(self.log.partition, end, None))
        return messages


class _Reader:
    """What the group's member and the changelog's reader share."""

    def __init__(self, process: Process, topic: str) -> None:
        self._process, self._world, self._topic = process, process.world, topic
        self._readings: dict[int, Reading] = {}

    def _take(self, most: int) -> list[Message]:
        random, messages = self._world.random, []
        readings = [reading for reading in self._readings.values() if not reading.paused]
        if len(readings) > 1 and random.random() < 0.5:
            readings.reverse()
        for reading in readings:
            messages += reading.take(random.randrange(most + 1) if random.random() < 0.5 else most)
        return messages

    def incremental_assign(self, partitions: list[Any]) -> None:
        self._process.at("assign")
        for one in partitions:
            log = self._world.kafka.log(self._topic, one.partition)
            self._readings[one.partition] = Reading(log, max(0, one.offset))

    def incremental_unassign(self, partitions: list[Any]) -> None:
        self._process.at("unassign")
        for one in partitions:
            del self._readings[one.partition]


class ChangelogConsumer(_Reader):
    """Of `processor.recovery.changelog`: one partial slice a poll."""

    def __init__(self, process: Process) -> None:
        super().__init__(process, CHANGELOG)
        self._rest: list[Message] = []

    def poll(self, timeout: float) -> Message | None:
        self._process.at("changelog.poll")
        messages = self._take(self._world.history.restored_at_once)
        self._rest = messages[1:]
        return messages[0] if messages else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        return self._rest

    def close(self) -> None:
        pass


class GroupConsumer(_Reader):
    """Of `processor.kafka.consumer`: rebalances are served inside `poll` and `consume`."""

    def __init__(self, process: Process) -> None:
        super().__init__(process, INPUT)
        self._member = self._world.kafka.group.join()
        self._process.member = self._member
        self._callbacks: dict[str, Callable[[Any, list[Any]], None]] = {}
        self._rest: list[Message] = []

    def subscribe(self, topics: list[str], **callbacks: Callable[[Any, list[Any]], None]) -> None:
        self._callbacks = callbacks

    # Rebalances ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        member = self._member
        if not member.is_known:
            self._call("on_lost", sorted(member.owned))
            self._member = self._process.member = self._world.kafka.group.join()
            return
        if member.to_revoke:
            leaving, member.to_revoke = sorted(member.to_revoke), set()
            self._call("on_revoke", leaving)
            member.owned.difference_update(leaving)
            member.to_revoke.difference_update(leaving)
        elif member.to_assign:
            coming, member.to_assign = sorted(member.to_assign), set()
            member.owned.update(coming)
            self._call("on_assign", coming)

    def _call(self, name: str, partitions: list[int]) -> None:
        self._callbacks[name](self, [TopicPartition(number) for number in partitions])

    def pause(self, partitions: list[Any]) -> None:
        for one in partitions:
            if one.partition in self._readings:
                self._readings[one.partition].paused = True

    def resume(self, partitions: list[Any]) -> None:
        for one in partitions:
            self._readings[one.partition].paused = False

    def seek(self, one: Any) -> None:
        self._process.at("seek")
        if one.partition not in self._readings or self._world.random.random() < 0.05:
            raise failure(KafkaError._STATE)
        reading = self._readings[one.partition]
        reading.offset, reading.told_end = one.offset, -1

    # Polling ---------------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Message | None:
        self._process.at("poll")
        random = self._world.random
        early = random.random() < 0.7
        if early:
            self._serve()
        messages = self._take(random.randrange(1, 1 + self._world.history.polled_at_once))
        self._rest = messages[1:]
        if not messages and not early:
            self._serve()
        return messages[0] if messages else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        """What it returns may be of a partition that left while it was called."""
        if self._world.random.random() < 0.5:
            self._serve()
        return self._rest[:most]

    # Offsets ---------------------------------------------------------------------------------------------------

    def committed(self, partitions: list[Any], timeout: float) -> list[TopicPartition]:
        self._process.at("committed?")
        (number,) = (one.partition for one in partitions)
        kafka = self._world.kafka
        if not kafka.is_stable(number):
            raise failure(KafkaError._TIMED_OUT)
        return [TopicPartition(number, kafka.group.offsets.get(number, -1001))]

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        self._process.at("consumer.commit")
        try:
            metadata = self.consumer_group_metadata()
            self._world.kafka.commit_offsets({one.partition: one.offset for one in offsets}, metadata)
        except Refused as refusal:
            raise failure(refusal.code) from None

    def memberid(self) -> str:
        return self._world.kafka.group.metadata(self._member).partition(b" ")[0].decode()

    def consumer_group_metadata(self) -> bytes:
        """Who the member is, for all that its client has heard: nobody, once it knows that its session has ended."""
        self._process.at("metadata")
        return self._world.kafka.group.metadata(self._member)

    def get_watermark_offsets(self, one: Any, cached: bool) -> tuple[int, int]:
        return 0, self._readings[one.partition].log.stable_end if one.partition in self._readings else -1001

    def close(self) -> None:
        self._process.at("close")
        if self._readings:
            held = sorted(self._readings)
            self._call("on_revoke" if self._member.is_known else "on_lost", held)
        self._world.kafka.group.leave(self._member)
