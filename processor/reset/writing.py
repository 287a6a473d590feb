"""What a reset writes, under either guarantee: to the changelog, and the group's offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from processor.failpoints import failpoint
from processor.kafka.producer import IdempotentProducer, TransactionalProducer
from processor.state.record import CHECKPOINT_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from processor.reset.group import HeldGroup


class Writing(Protocol):
    """Both guarantees, as a reset sees them. Each method raises CommitFailed or Unavailable."""

    def send(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Sends records to a partition of the changelog."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """What was sent is there. offsets: where the group stands, and stays."""

    def set_offsets(self, checkpoints: Mapping[int, bytes], offsets: Mapping[int, int]) -> None:
        """Puts the group where it goes on from, with the checkpoints that say so."""


class Transactions:
    """exactly_once: every commit carries the group's offsets, for the brokers to refuse it once others are there."""

    def __init__(self, properties: Mapping[str, Any], budget_seconds: float, topic: str, group: HeldGroup) -> None:
        self._producer = TransactionalProducer(properties, budget_seconds)
        self._topic, self._group = topic, group

    def send(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """See Writing."""
        self._producer.send(self._topic, partition, keys, values)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See Writing."""
        # As in any commit: who joins the group after these offsets were taken must find the records below its end.
        self._producer.flush()
        self._producer.send_offsets(self._group.topic_partitions(offsets), self._group.metadata())
        self._producer.commit()

    def set_offsets(self, checkpoints: Mapping[int, bytes], offsets: Mapping[int, int]) -> None:
        """See Writing. One transaction: all of it or nothing."""
        for number, checkpoint in checkpoints.items():
            self.send(number, [CHECKPOINT_KEY], [checkpoint])
        self.commit(offsets)


class Untransacted:
    """at_least_once: what was sent is there once it is flushed."""

    def __init__(self, properties: Mapping[str, Any], budget_seconds: float, topic: str, group: HeldGroup) -> None:
        self._producer = IdempotentProducer(properties, budget_seconds)
        self._topic, self._group = topic, group

    def send(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """See Writing."""
        self._producer.send(self._topic, partition, keys, values)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See Writing. The group's offsets stay as they are."""
        self._producer.flush()

    def set_offsets(self, checkpoints: Mapping[int, bytes], offsets: Mapping[int, int]) -> None:
        """See Writing. The offsets first: until a partition has its checkpoint, `run` refuses it."""
        self._group.commit(offsets)
        failpoint("reset.offsets")
        for number, checkpoint in checkpoints.items():
            self.send(number, [CHECKPOINT_KEY], [checkpoint])
        self._producer.flush()
