"""Input topics for a benchmark: cheap to write, so that the machine's time goes to what is measured."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from processor.kafka.client import Producer
from processor.trial.load import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 4
_CHUNK = 50_000
_POOL = 4_096  # different samples; more of them would tell nothing more
_START_MS = 1_700_000_000_000

Keys = Literal["uniform", "zipf", "hot"]
Format = Literal["json", "float32"]


@dataclass(frozen=True, slots=True)
class Feed:
    """Events of `keys` keys. zipf: the r-th key has a share of 1/r. hot: every tenth event is one key's."""

    events: int
    keys: int
    distribution: Keys = "uniform"
    format: Format = "json"
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.distribution}-{self.format}-{self.keys}-{self.events}"

    def chunks(self) -> Iterator[tuple[np.ndarray, list[bytes]]]:
        """Key numbers and values, some ten thousand at a time. Each event's time is a millisecond after the last."""
        rng = np.random.default_rng(self.seed)
        samples = rng.normal(size=(_POOL, 3)).astype(np.float32)
        texts = [b"[%.4f,%.4f,%.4f]" % tuple(row) for row in samples.tolist()]
        packed = [row.tobytes() for row in samples]
        for first in range(0, self.events, _CHUNK):
            count = min(_CHUNK, self.events - first)
            keys = self._draw(rng, count)
            pool = rng.integers(_POOL, size=count).tolist()
            times = range(_START_MS + first, _START_MS + first + count)
            if self.format == "json":
                values = [
                    b'{"features":%b,"time":%d}' % (texts[at], time) for at, time in zip(pool, times, strict=True)
                ]
            else:
                extras = [struct.pack("<qqI", time, 0, 1) for time in times]
                values = [packed[at] + extra for at, extra in zip(pool, extras, strict=True)]
            yield keys, values

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        if self.distribution == "zipf":
            # The inverse of the cumulated harmonic shares, near enough: ln(r) / ln(keys) is uniform.
            ranks: np.ndarray = np.minimum(
                np.exp(rng.random(count) * np.log(self.keys)).astype(np.int64), self.keys - 1
            )
            return ranks
        keys = rng.integers(self.keys, size=count)
        if self.distribution == "hot":
            keys[rng.random(count) < 0.1] = 0
        return keys


def write(bootstrap_servers: str, topic: str, feed: Feed) -> None:
    """Writes a feed as fast as it goes, and returns when all of it was delivered."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 2_000_000,
            "compression.type": "lz4",
            "log_level": 3,
        }
    )
    names = [b"device-%d" % number for number in range(feed.keys)]
    owners = np.fromiter((partition_of(name, PARTITIONS) for name in names), np.int8, feed.keys)
    for keys, values in feed.chunks():
        while len(producer) > 500_000:
            producer.poll(0.05)
        partitions = owners[keys]
        for partition in range(PARTITIONS):
            rows = np.flatnonzero(partitions == partition).tolist()
            messages = [
                {"key": names[key], "value": values[row]} for row, key in zip(rows, keys[rows].tolist(), strict=True)
            ]
            if producer.produce_batch(topic, messages, partition=partition) != len(messages):
                raise RuntimeError("the producer's queue is full")
        producer.poll(0)
    if producer.flush(300):
        raise RuntimeError("not all events were delivered")
