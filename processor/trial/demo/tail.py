"""Reads the predictions as they come, for the screen: how many, how late, and the last of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from processor.trial.demo.figures import RECENT, Prediction
from processor.trial.follower import Follower

if TYPE_CHECKING:
    from processor.kafka.client import Message
    from processor.trial.demo.figures import Figures
    from processor.trial.load import Load


class _Value(msgspec.Struct, gc=False):
    """What the screen shows of a prediction."""

    probability: float
    step: int
    time: int


_decode = msgspec.json.Decoder(_Value).decode


class Tail:
    """What comes out of the output topic, for the figures."""

    def __init__(self, bootstrap_servers: str, topic: str, load: Load, figures: Figures) -> None:
        self._load, self._figures = load, figures
        self.newest_ms = -1  # when the newest prediction seen so far was written, ms since the epoch
        self._follower = Follower(bootstrap_servers, topic, load.partitions)

    def read(self, timeout_seconds: float) -> int:
        """Takes what has come, and waits for the first of it; how many predictions it was.

        Raises:
            Unavailable: the topic cannot be read.
        """
        messages = self._follower.read(timeout_seconds)
        now = time.monotonic()
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
        self._follower.close()

    def _ranks(self, values: list[_Value]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Which events of the load have predictions: an event's time gives its rank, each is a step after another."""
        times = np.fromiter((value.time for value in values), np.int64, len(values))
        return (times - self._load.first_time_ms) // self._load.step_ms - 1


def _read(message: Message) -> _Value | None:
    """A prediction; None for anything else: the check in the end reports it."""
    try:
        return _decode(message.value() or b"")
    except msgspec.MsgspecError:
        return None
