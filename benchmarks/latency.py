"""Latency: from the moment an event is handed to a producer until a read_committed reader has its prediction."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from benchmarks.feed import PARTITIONS
from processor.kafka.client import OFFSET_END, Consumer, Producer, TopicPartition
from processor.trial.load import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.rig import Rig
    from processor.trial.kafka import EmbeddedKafka

_KEYS = 10_000
_TICK_SECONDS = 0.005
_WARM_UP_SECONDS = 3.0


class _Prediction(msgspec.Struct, gc=False):
    time: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds at one rate."""

    rate: int
    p50: float
    p99: float
    longest: float


def latency(rig: Rig, rate: int, seconds: float, interval: float = 0.1) -> Latency:
    """Events carry the time at which they were sent as their event time, which their predictions repeat."""
    name = rig.run_name()
    source = rig.kafka.create_topic(f"{name}-input", partitions=PARTITIONS)
    process = rig.processor(name, source, processing__commit_interval_seconds=interval)
    with process.start():
        process.wait_ready()
        with sending(rig.kafka.bootstrap_servers, source, rate), Reader(rig.kafka, f"{name}-output") as reader:
            reader.read(_WARM_UP_SECONDS)
            found = reader.read(seconds)
        process.sigterm()
    rig.clean(name)
    rig.drop(source)
    return Latency(rate, *np.percentile(found, [50, 99, 100]).tolist())


@contextmanager
def sending(servers: str, topic: str, rate: int, keys: int = _KEYS) -> Iterator[None]:
    """Sends `rate` events a second meanwhile, on a thread of its own."""
    # The collector would look through all of TensorFlow, and sender and reader stand still for half a second.
    gc.collect()
    gc.freeze()
    stop = threading.Event()
    load = threading.Thread(target=_send, args=(servers, topic, rate, keys, stop), daemon=True)
    load.start()
    try:
        yield
    finally:
        stop.set()
        load.join()


def _send(servers: str, topic: str, rate: int, keys: int, stop: threading.Event) -> None:
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 1,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 2_000_000,
            "log_level": 3,
        }
    )
    names = [b"device-%d" % number for number in range(keys)]
    owners = [partition_of(name, PARTITIONS) for name in names]
    rng, sent, started = np.random.default_rng(1), 0, time.monotonic()
    while not stop.wait(_TICK_SECONDS):
        due = int((time.monotonic() - started) * rate) - sent
        now = time.time_ns() // 1_000_000
        by_partition: dict[int, list[dict[str, bytes]]] = {}
        for key in rng.integers(keys, size=due).tolist():
            message = {"key": names[key], "value": b'{"features":[0.1,0.2,0.3],"time":%d}' % now}
            by_partition.setdefault(owners[key], []).append(message)
        for partition, messages in by_partition.items():
            producer.produce_batch(topic, messages, partition=partition)
        sent += due
        producer.poll(0)
    producer.flush(30)


class Reader:
    """A read_committed reader of predictions, which knows by their times how old they are; a context manager."""

    def __init__(self, kafka: EmbeddedKafka, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": "latency",  # never joined: the client merely wants one
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                "fetch.queue.backoff.ms": 1,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
        self._decode = msgspec.json.Decoder(_Prediction).decode

    def read(self, seconds: float) -> np.ndarray:
        """Milliseconds between sending and reading, of all that comes in the next `seconds`."""
        found: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            messages = [first, *self._consumer.consume(10_000, 0)]
            now = time.time_ns() / 1e6
            found += [now - self._decode(message.value()).time for message in messages if message.error() is None]
        return np.array(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
