"""Reads a topic as its records come, as any read_committed reader of it sees them.

This is for what is shown and measured while it goes on. What is checked in the end is read again, from the topic's
beginning (`reader`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processor.errors import Unavailable
from processor.kafka.client import OFFSET_BEGINNING, Consumer, TopicPartition

if TYPE_CHECKING:
    from processor.kafka.client import Message

_MOST: Final = 20_000  # messages of one look


class Follower:
    """One reader of all partitions, from their beginning, without a group."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "follower",  # never joined: the client merely wants one
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 10,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])

    def read(self, timeout_seconds: float) -> list[Message]:
        """Takes what has come, and waits for the first of it. Brokers that are away for a while are waited for.

        Raises:
            Unavailable: the topic cannot be read.
        """
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        return [message for message in (first, *self._consumer.consume(_MOST, 0)) if _is_record(message)]

    def close(self) -> None:
        """Leaves the brokers."""
        self._consumer.close()


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is not None and error.fatal():
        raise Unavailable("The predictions could not be read.", str(error))
    return error is None
