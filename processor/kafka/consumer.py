"""The input's consumer: a poll gives columns, and reports where a partition ended or could not be read.

Callbacks of a rebalance run inside `poll`, on the caller's thread. What they raise is kept and raised by `poll` itself,
because the client would swallow it and go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import OwnershipLost, ProcessorError, Unavailable
from processor.kafka.client import Consumer, KafkaError, KafkaException, Message, TopicPartition
from processor.kafka.retry import CommitFailed, is_transient, repeat
from processor.log import get_logger, kafka_logger
from processor.types import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LOG = get_logger()
_REPLACED: Final = (KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED)
_ENOUGH: Final = 1_000  # events in hand: no more are waited for
_QUIET: Final = (KafkaError._MAX_POLL_EXCEEDED, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll returned."""

    batch: Batch | None = None
    ends: dict[int, int] = field(default_factory=dict)  # partition -> offset of its end, where it was reached
    unreadable: dict[int, str] = field(default_factory=dict)  # partition -> why its offset cannot be read


class SampleConsumer:
    """A member of the consumer group, from `subscribe` on.

    joined: whether it is in the group, as far as the last callback knows.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        *,
        unavailable_seconds: float,
    ) -> None:
        self.topic = topic
        self.joined = False
        self._pending: BaseException | None = None
        self._budget = unavailable_seconds
        self._stopped: set[int] = set()  # partitions that the client reads no more, after an error
        self._sought: dict[int, int] = {}  # partition that is read -> where that began
        self._consumer = Consumer({**properties, "error_cb": self._on_error}, logger=kafka_logger())

    # Rebalances ------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *,
        assigned: Callable[[list[int]], None],
        revoked: Callable[[list[int]], None],
        lost: Callable[[list[int]], None],
    ) -> None:
        """Joins the group. The callbacks come inside `poll` and `close`, with partition numbers.

        A partition that was assigned is paused until `resume_at`. `revoked` and `lost` come before the partition is
        given back.
        """
        self._consumer.subscribe(
            [self.topic],
            on_assign=self._guarded(assigned, self._assign),
            on_revoke=self._guarded(revoked, self._unassign),
            on_lost=self._guarded(lost, self._unassign, joined=False),
        )

    def _guarded(
        self, act: Callable[[list[int]], None], apply: Callable[[list[TopicPartition]], None], *, joined: bool = True
    ) -> Callable[[Consumer, list[TopicPartition]], None]:
        def callback(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self.joined = joined
            try:
                act([partition.partition for partition in partitions])
            except BaseException as error:
                self._pending = error
            finally:
                apply(partitions)

        return callback

    def _assign(self, partitions: list[TopicPartition]) -> None:
        """Takes the partitions, paused. Where each is read from is known only once its state is restored.

        Until then they stand at 0, not at "the beginning": the client would ask a broker where that is, and an answer
        that comes after `resume_at` moves the partition there, although it was sought elsewhere. What 0 brings about
        where the input begins later is seen to in `_note`.
        """
        for partition in partitions:
            partition.offset = 0
        self._consumer.incremental_assign(partitions)
        if partitions:
            self._consumer.pause(partitions)

    def _unassign(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._stopped.discard(partition.partition)
            self._sought.pop(partition.partition, None)
        self._consumer.incremental_unassign(partitions)

    def pause(self, partition: int) -> None:
        """Returns nothing more of a partition until `resume_at`."""
        self._sought.pop(partition, None)
        self._consumer.pause([TopicPartition(self.topic, partition)])

    def resume_at(self, partition: int, offset: int) -> bool:
        """Reads a paused partition on from `offset`. False: the client is not ready for it yet; ask again."""
        place = TopicPartition(self.topic, partition, offset)
        if partition in self._stopped:
            # It cannot be sought any more; as a new one it can be read again.
            self._consumer.incremental_unassign([place])
            self._consumer.incremental_assign([place])
            self._stopped.discard(partition)
        else:
            try:
                self._consumer.seek(place)
            except KafkaException as error:
                if error.args[0].code() in (KafkaError._STATE, KafkaError._TIMED_OUT, KafkaError._IN_PROGRESS):
                    return False
                raise
        self._consumer.resume([TopicPartition(self.topic, partition)])
        self._sought[partition] = offset
        return True

    # Polling ---------------------------------------------------------------------------------------------------

    def poll(self, timeout: float, most: int, gather: float = 0.0) -> Polled:
        """Waits up to `timeout` seconds for a first event, then takes what is there, `most` at the most.

        gather: for how long, inside of `timeout`, it waits for more where there are but few.

        Raises:
            OwnershipLost: another member took this one's name for good.
            Unavailable: the client has failed for good.
        """
        until = time.monotonic() + timeout
        first = self._consumer.poll(timeout)
        self._raise_pending()
        messages = [] if first is None else [first, *self._consumer.consume(most - 1, 0)]
        missing, wait = min(most, _ENOUGH) - len(messages), min(gather, until - time.monotonic())
        if messages and missing > 0 and wait > 0:
            messages += self._consumer.consume(missing, wait)
        self._raise_pending()
        if not messages:
            return Polled()
        return self._columns(messages)

    def _raise_pending(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending

    def _columns(self, messages: list[Message]) -> Polled:
        polled = Polled()
        if any(map(Message.error, messages)):
            for message in messages:
                if message.error() is not None:
                    self._note(message, polled)
            messages = [message for message in messages if message.error() is None]
        batch = batch_of(messages) if messages else None
        return Polled(batch, polled.ends, polled.unreadable)

    def _note(self, message: Message, polled: Polled) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            polled.ends[message.partition()] = message.offset()
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._stopped.add(message.partition())
            sought = self._sought.get(message.partition(), 0)
            if (message.offset() or 0) < sought:  # the answer to what the client asked before it was sought
                self.resume_at(message.partition(), sought)
            else:
                polled.unreadable[message.partition()] = error.str()
        elif error.fatal() or error.code() == KafkaError._FATAL:
            raise _fatal(error)
        elif error.code() not in _QUIET:
            _LOG.warning("input.error", error=error.str(), partition=message.partition())

    def _on_error(self, error: KafkaError) -> None:
        if _is_fatal(error) and self._pending is None:
            self._pending = _fatal(error)
        elif error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE):
            _LOG.warning("kafka.error", error=error.str())

    def known_end(self, partition: int) -> int | None:
        """The partition's end as of the last fetch, None before the first. Asks nobody."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
        except KafkaException:
            return None
        return int(high) if high >= 0 else None

    # Offsets ---------------------------------------------------------------------------------------------------

    def committed(self, partition: int, timeout: float) -> int | None:
        """The group's committed offset, stable; None where it has none.

        Raises:
            TimeoutError: a transaction that holds it is still open, or no broker answered in time; ask again.
        """
        try:
            (found,) = self._consumer.committed([TopicPartition(self.topic, partition)], timeout=timeout)
        except KafkaException as error:
            if is_transient(error):
                raise TimeoutError(error.args[0].str()) from None
            raise
        if found.error is not None:
            raise TimeoutError(found.error.str())
        return found.offset if found.offset >= 0 else None

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits offsets outside of any transaction, and waits for it.

        Raises:
            CommitFailed: this member's generation is over, or no broker answered within the budget.
        """
        places = self.topic_partitions(offsets)
        try:
            repeat(lambda: self._consumer.commit(offsets=places, asynchronous=False), self._budget, is_transient)
        except KafkaException as error:
            raise CommitFailed(error.args[0].str()) from None

    def topic_partitions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        """Offsets of partitions of the input as the client wants them."""
        return [TopicPartition(self.topic, number, offset) for number, offset in sorted(offsets.items())]

    def group_metadata(self) -> Any:
        """What fences this member's transactions: ask for it again at every commit.

        A broker does not check the offsets of somebody who is no member. The client forgets its membership in the
        background, as soon as it hears of its end and before the loop does: then there must be no commit.

        Raises:
            CommitFailed: this process is no member of its group now.
        """
        metadata = self._consumer.consumer_group_metadata()
        member = self._consumer.memberid()
        if metadata is None or not member or member.encode() not in metadata:
            raise CommitFailed("this process is not a member of its group any more")
        return metadata

    def close(self) -> None:
        """Leaves the group. Partitions that are still held are revoked first."""
        self._consumer.close()
        self._raise_pending()


def _is_fatal(error: KafkaError) -> bool:
    """Also where the client hands the error out as a message's: then only the code shows it."""
    return bool(error.fatal() or error.code() == KafkaError._FATAL)


def _fatal(error: KafkaError) -> ProcessorError:
    if error.code() in _REPLACED or any(KafkaError(code).str() in error.str() for code in _REPLACED):
        return OwnershipLost(
            "Another process has joined the group under this one's name.",
            error.str(),
            "Give each process a kafka.group_instance_id (and a state.directory) of its own. If each has one, it was a "
            "broker's crash that made the group forget this process: start it again.",
        )
    if KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str() in error.str():
        return Unavailable(
            "The group has not yet let go of the former process of this name.",
            error.str(),
            "Start again until the broker's group.consumer.session.timeout.ms is over. If that does not help, another "
            "process has the same kafka.group_instance_id: give each its own.",
        )
    return Unavailable("The Kafka client has failed for good.", error.str(), "Start the process again.")


def batch_of(messages: Sequence[Message]) -> Batch:
    """Messages without errors as columns, ordered by partition; inside each as they came. n >= 1."""
    count = len(messages)
    # `map` of the client's own methods: half the time of a loop, and this is done for every event.
    partitions = np.fromiter(map(Message.partition, messages), np.int32, count)
    if (partitions[1:] < partitions[:-1]).any():
        order = np.argsort(partitions, kind="stable")
        partitions = partitions[order]
        messages = [messages[row] for row in order.tolist()]
    return Batch(
        partitions=partitions,
        offsets=np.fromiter(map(Message.offset, messages), np.int64, count),
        timestamps=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, count),
        keys=list(map(Message.key, messages)),
        values=list(map(Message.value, messages)),
    )
