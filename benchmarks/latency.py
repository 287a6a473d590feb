"""Latency: from the moment an event is handed to a producer until a read_committed reader has its prediction."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchmarks.feed import PARTITIONS
from processor.dev.load import partition_of
from processor.kafka.client import OFFSET_END, Consumer, Producer, TopicPartition

if TYPE_CHECKING:
    from benchmarks.rig import Rig

_KEYS = 10_000
_TICK_SECONDS = 0.005


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
        stop = threading.Event()
        load = threading.Thread(target=_send, args=(rig.kafka.bootstrap_servers, source, rate, stop), daemon=True)
        load.start()
        found = _read(rig.kafka.bootstrap_servers, f"{name}-output", seconds, warm_up=3.0)
        stop.set()
        load.join()
        process.sigterm()
    rig.clean(name)
    rig.drop(source)
    return Latency(rate, *np.percentile(found, [50, 99, 100]).tolist())


def _send(servers: str, topic: str, rate: int, stop: threading.Event) -> None:
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 1, "enable.idempotence": True, "log_level": 3})
    names = [b"device-%d" % number for number in range(_KEYS)]
    owners = [partition_of(name, PARTITIONS) for name in names]
    rng, sent, started = np.random.default_rng(1), 0, time.monotonic()
    while not stop.wait(_TICK_SECONDS):
        due = int((time.monotonic() - started) * rate) - sent
        now = time.time_ns() // 1_000_000
        by_partition: dict[int, list[dict[str, bytes]]] = {}
        for key in rng.integers(_KEYS, size=due).tolist():
            message = {"key": names[key], "value": b'{"features":[0.1,0.2,0.3],"time":%d}' % now}
            by_partition.setdefault(owners[key], []).append(message)
        for partition, messages in by_partition.items():
            producer.produce_batch(topic, messages, partition=partition)
        sent += due
        producer.poll(0)
    producer.flush(30)


def _read(servers: str, topic: str, seconds: float, warm_up: float) -> np.ndarray:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "latency",  # never joined: the client merely wants one
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
            "fetch.queue.backoff.ms": 1,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
    decode = msgspec.json.Decoder(_Prediction).decode
    started, found = time.monotonic(), []
    while (passed := time.monotonic() - started) < warm_up + seconds:
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(10_000, 0)]
        now = time.time_ns() / 1e6
        if passed > warm_up:
            found += [now - decode(message.value()).time for message in messages if message.error() is None]
    consumer.close()
    return np.array(found)
