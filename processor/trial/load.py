"""Sample events by a seed: for the demo, the tests and the benchmark.

The same `Load` gives the same events, partition by partition and in the same order, whatever the rate and the batches
in which they are produced: two topics that were fed with it are equal but for the records' timestamps. For that, every
event names its time itself, and times lie in the past, so that the records' timestamps decide nothing.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from processor.errors import Unavailable
from processor.kafka.client import KafkaError, Producer
from processor.trial.samples import BAD_REASONS, Input, bad_value, feature_texts, static_texts, with_static
from processor.types import Reason

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

_CHUNK: Final = 4096  # events that one random generator is used for
_QUEUE: Final = 200_000  # messages in the producer's queue, at most
_NULL, _DUPLICATE, _LATE, _BAD = range(4)  # kinds of events, in the order of their shares; more is an ordinary one


class Event(NamedTuple):
    """One input record to be."""

    partition: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Load:
    """What the events are like. A share is a fraction of the events; all are off by default.

    shape: of one sample. inputs: for a model of several inputs or one of tokens, instead of the shape. start_share,
    end_share: markers. null_share: null values. duplicate_share: events whose sequence number was seen before, with the
    bytes of the key's last event or with others. unnumbered_share: events without a sequence number (1.0: none has
    one). late_share: events that are `late_ms` to `2 * late_ms` behind. gap_share: pauses of `gap_ms` in the event time
    of everybody. bad_share: bad events, of each reason in turn (the first input's, where a sample has several).
    left_out_share, other_share: events that leave the key's static inputs out, and that bring others than its own.
    step_ms: how far the event time moves from one event to the next. skew: 0 for keys that are equally frequent, more
    for a few that are frequent and many that are rare.
    """

    seed: int = 1
    events: int = 100_000
    keys: int = 1_000
    shape: tuple[int, ...] = (3,)
    inputs: tuple[Input, ...] = ()
    partitions: int = 4
    first_time_ms: int = 1_700_000_000_000
    step_ms: int = 1
    skew: float = 0.0
    start_share: float = 0.0
    end_share: float = 0.0
    null_share: float = 0.0
    duplicate_share: float = 0.0
    unnumbered_share: float = 0.0
    late_share: float = 0.0
    late_ms: int = 60_000
    gap_share: float = 0.0
    gap_ms: int = 60_000
    bad_share: float = 0.0
    left_out_share: float = 0.0
    other_share: float = 0.0

    def __iter__(self) -> Iterator[Event]:
        """The events, in the order in which they are to be produced."""
        return _events(self)


def everything(seed: int = 1, **fields: Any) -> Load:
    """A load in which everything happens that the rules cover, often enough for a few thousand events."""
    shares: dict[str, Any] = {
        "start_share": 0.01,
        "end_share": 0.02,
        "null_share": 0.005,
        "duplicate_share": 0.02,
        "unnumbered_share": 0.05,
        "late_share": 0.01,
        "gap_share": 0.001,
        "bad_share": 0.02,
        "left_out_share": 0.5,
        "other_share": 0.01,
        "skew": 1.0,
    }
    return Load(seed=seed, **{**shares, **fields})


def partition_of(key: bytes, partitions: int) -> int:
    """Where librdkafka's own partitioner puts a key: CRC-32 of it."""
    return zlib.crc32(key) % partitions


def _events(load: Load) -> Iterator[Event]:
    """Chunk by chunk, each with a generator of its own; the clock and the keys' numbers go on from one to the next."""
    clock = load.first_time_ms
    numbers = [0] * load.keys
    last_value: dict[int, bytes] = {}
    bad_rank = 0
    inputs = load.inputs or (Input("", load.shape),)
    # Each key's own, and then as many others; drawn apart, so that a load without static inputs is what it is.
    static = static_texts(np.random.default_rng((load.seed, 1)), 2 * load.keys, inputs)
    kinds = np.cumsum([load.null_share, load.duplicate_share, load.late_share, load.bad_share])
    for first in range(0, load.events, _CHUNK):
        rng = np.random.default_rng((load.seed, first))
        chosen = (load.keys * rng.random(_CHUNK) ** (1 + load.skew)).astype(int).tolist()
        texts = feature_texts(rng, _CHUNK, inputs)
        drawn = np.searchsorted(kinds, rng.random(_CHUNK), side="right").tolist()
        starts, ends, gaps, bare = (
            (rng.random(_CHUNK) < share).tolist()
            for share in (load.start_share, load.end_share, load.gap_share, load.unnumbered_share)
        )
        extra = rng.random(_CHUNK).tolist()
        lots = rng.random(_CHUNK).tolist() if static else ()
        for row in range(min(_CHUNK, load.events - first)):  # a whole chunk is drawn: a shorter load is a prefix
            clock += load.step_ms + (load.gap_ms if gaps[row] else 0)
            index, kind, text = chosen[row], drawn[row], texts[row]
            key = b"key-%d" % index
            if static and lots[row] >= load.left_out_share:
                is_other = lots[row] >= 1 - load.other_share
                text = with_static(text, static[index + load.keys * is_other])
            partition = zlib.crc32(key) % load.partitions
            if kind == _NULL:
                yield Event(partition, key, None)
                continue
            if kind == _BAD:
                reason = BAD_REASONS[bad_rank % len(BAD_REASONS)]
                bad_rank += 1
                value = bad_value(reason, extra[row], text, clock, inputs[0].shape)
                yield Event(partition, None if reason is Reason.NO_KEY else key, value)
                continue
            if kind == _DUPLICATE and numbers[index]:
                if extra[row] < 0.5 and index in last_value:
                    yield Event(partition, key, last_value[index])
                    continue
                number = max(1, numbers[index] - int(extra[row] * 4))
            else:
                numbers[index] += 1
                number = numbers[index]
            when = clock - int(load.late_ms * (1 + extra[row])) if kind == _LATE else clock
            value = b'{"features":%b,"time":%d' % (text, when)
            if not bare[row] or kind == _DUPLICATE:
                value += b',"sequence":%d' % number
            if starts[row]:
                value += b',"start":true'
            if ends[row]:
                value += b',"end":true'
            value += b"}"
            if load.duplicate_share:
                last_value[index] = value
            yield Event(partition, key, value)


@dataclass(slots=True)
class Sent:
    """How far `produce` came."""

    events: int = 0
    seconds: float = 0.0


def produce(
    bootstrap_servers: str,
    topic: str,
    load: Load,
    *,
    rate: float | None = None,
    stop: threading.Event | None = None,
    on_batch: Callable[[Sent], None] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> Sent:
    """Writes a load to a topic that has its number of partitions, and returns when all of it was delivered.

    rate: events a second, None for as fast as it goes. stop: ends it early, between two batches. on_batch: called after
    every batch.

    Raises:
        Unavailable: something was not delivered.
    """
    producer, failures = _producer(bootstrap_servers, properties or {})
    size = 10_000 if rate is None else max(1, round(rate * 0.02))
    sent, started = Sent(), time.monotonic()
    events = iter(load)
    while not (stop is not None and stop.is_set()):
        batch = list(islice(events, size))
        if not batch:
            break
        _enqueue(producer, topic, batch, failures)
        sent.events += len(batch)
        sent.seconds = time.monotonic() - started
        if on_batch is not None:
            on_batch(sent)
        if rate is not None:
            _pause(sent.events / rate - (time.monotonic() - started), stop)
    remaining = producer.flush(120)
    sent.seconds = time.monotonic() - started
    if remaining or failures:
        raise Unavailable(
            f"Not all events of the load reached the topic {topic}.",
            f"{remaining} are still in the queue. {failures[0] if failures else ''}",
        )
    return sent


def send(bootstrap_servers: str, topic: str, events: list[Event]) -> None:
    """Writes events made by hand, in their order within each partition, and returns when all were delivered."""
    producer, failures = _producer(bootstrap_servers, {})
    _enqueue(producer, topic, events, failures)
    if producer.flush(60) or failures:
        raise Unavailable(f"Not all events reached the topic {topic}.", str(failures[:1]))


def _producer(bootstrap_servers: str, properties: Mapping[str, Any]) -> tuple[Producer, list[str]]:
    """An idempotent producer, so that a retry neither doubles an event nor changes their order; and its failures."""
    failures: list[str] = []

    def on_error(error: KafkaError) -> None:
        if error.fatal():
            failures.append(str(error))

    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "enable.idempotence": True,
        "linger.ms": 5,
        "batch.size": 1 << 20,
        "queue.buffering.max.messages": 2 * _QUEUE,
        "delivery.report.only.error": True,
        "error_cb": on_error,
        "log_level": 3,
        **properties,
    }
    return Producer(settings), failures


def _enqueue(producer: Producer, topic: str, events: list[Event], failures: list[str]) -> None:
    by_partition: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        by_partition.setdefault(event.partition, []).append({"key": event.key, "value": event.value})

    def on_delivery(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    # A batch that overflows the queue would be taken in part, with holes: wait until there is room for all of it.
    while len(producer) > _QUEUE:
        producer.poll(0.05)
    for partition, messages in by_partition.items():
        taken = producer.produce_batch(topic, messages, partition=partition, on_delivery=on_delivery)
        if taken != len(messages):
            raise Unavailable(f"The producer took {taken} of {len(messages)} events.", str(messages[taken]))
    producer.poll(0)
    if failures:
        raise Unavailable(f"An event did not reach the topic {topic}.", failures[0])


def _pause(seconds: float, stop: threading.Event | None) -> None:
    if seconds <= 0:
        return
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
