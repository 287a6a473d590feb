"""Reads the predictions as they come, as any read_committed reader of the output topic sees them.

This is for the screen. What is judged in the end is read anew, from the topic's beginning (`check`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from processor.dev.demo.figures import RECENT, Prediction
from processor.errors import Unavailable
from processor.kafka.client import OFFSET_BEGINNING, Consumer, TopicPartition

if TYPE_CHECKING:
    from processor.dev.demo.figures import Figures
    from processor.dev.load import Load
    from processor.kafka.client import Message

_MOST: Final = 20_000  # messages of one look


class _Value(msgspec.Struct, gc=False):
    """What the screen shows of a prediction."""

    probability: float
    step: int
    time: int


_decode = msgspec.json.Decoder(_Value).decode


class Tail:
    """One reader of all partitions, without a group."""

    def __init__(self, bootstrap_servers: str, topic: str, load: Load, figures: Figures) -> None:
        self._load, self._figures = load, figures
        self.newest_ms = -1  # when the newest prediction seen so far was written, ms since the epoch
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo-reader",  # never joined: the client merely wants one
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 10,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(load.partitions)])

    def read(self, timeout_seconds: float) -> int:
        """Takes what has come, and waits for the first of it; how many predictions it was.

        Raises:
            Unavailable: the topic cannot be read.
        """
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return 0
        now = time.monotonic()
        messages = [message for message in (first, *self._consumer.consume(_MOST, 0)) if _is_record(message)]
        read = [(message.key(), value) for message in messages if (value := _read(message)) is not None]
        if not read:
            return 0
        self.newest_ms = max(self.newest_ms, max(message.timestamp()[1] for message in messages))
        figures = self._figures
        figures.arrived(now - figures.sends.of(self._ranks([value for _, value in read])), now)
        figures.keys.update(key for key, _ in read)
        for key, value in read[-RECENT:]:
            figures.recent.append(Prediction(key.decode(errors="replace"), value.step, value.probability))
        return len(read)

    def close(self) -> None:
        """Leaves the brokers."""
        self._consumer.close()

    def _ranks(self, values: list[_Value]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Which events of the load were answered: an event's time says its rank, since each is a step after another."""
        times = np.fromiter((value.time for value in values), np.int64, len(values))
        return (times - self._load.first_time_ms) // self._load.step_ms - 1


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is not None and error.fatal():
        raise Unavailable("The predictions could not be read.", str(error))
    return error is None


def _read(message: Message) -> _Value | None:
    """A prediction; None for what is none: the check in the end will say so."""
    try:
        return _decode(message.value() or b"")
    except msgspec.MsgspecError:
        return None
