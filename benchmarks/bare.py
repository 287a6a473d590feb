"""The bare client: what Python and Kafka can do when nothing is computed. A process of its own, as the processor is.

It consumes the input, produces a constant of a prediction's size for each event with the event's key, and commits the
same transactions at the same interval, tuned as the processor is. Prints one line of JSON a look: seconds, events.
"""

from __future__ import annotations

import json
import sys
import time

from processor.kafka.client import Consumer, Producer


def main(servers: str, source: str, output: str, events: int, value_bytes: int, interval: float) -> None:
    """Runs until `events` were consumed, answered and committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": output,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "queued.min.messages": 200_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.message.max.bytes": 4 * 2**20,
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": output,
            "linger.ms": 5,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    producer.init_transactions(30)
    consumer.subscribe([source])
    value, done, committed_at = b"x" * value_bytes, 0, 0.0
    started: float | None = None
    producer.begin_transaction()
    while done < events:
        first = consumer.poll(0.5)
        if first is None:
            continue
        messages = [first, *consumer.consume(9_999, 0)]
        by_partition: dict[int, list[dict[str, bytes]]] = {}
        for message in messages:
            if message.error() is None:
                by_partition.setdefault(message.partition(), []).append({"key": message.key(), "value": value})
        for partition, batch in by_partition.items():
            producer.produce_batch(output, batch, partition=partition)
            done += len(batch)
        now = time.monotonic()
        started = started or now
        if now - committed_at >= interval or done >= events:
            producer.send_offsets_to_transaction(
                consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30
            )
            producer.commit_transaction(30)
            committed_at = time.monotonic()
            print(json.dumps([committed_at - started, done]), flush=True)
            producer.begin_transaction()
    producer.abort_transaction(30)
    consumer.close()


if __name__ == "__main__":
    servers, source, output, events, value_bytes, interval = sys.argv[1:]
    main(servers, source, output, int(events), int(value_bytes), float(interval))
