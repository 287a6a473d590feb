"""A partition that was given to the process is read from where it is sought, however early that is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from processor.config import consumer_properties, load_settings, producer_properties
from processor.kafka.client import TopicPartition
from processor.kafka.consumer import SampleConsumer
from processor.kafka.producer import TransactionalProducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.config import Settings
    from processor.trial.kafka import EmbeddedKafka

PARTITIONS = range(12)


def settings_of(kafka: EmbeddedKafka, group: str, target: str) -> Settings:
    given = [f"kafka.bootstrap_servers={kafka.bootstrap_servers}", f"kafka.group_id={group}"]
    return load_settings(None, {}, [*given, f"input.topic={target}", "output.topic=unused"]).settings


@pytest.mark.parametrize("deleted", [0, 2])
def test_a_partition_is_read_from_where_it_is_sought_at_once(
    kafka: EmbeddedKafka, name: Callable[[str], str], topic: Callable[..., str], deleted: int
) -> None:
    """With the client's "from the beginning", a broker's answer of where that is came later than the seek. And where
    the input begins later than at 0, the refusal of 0 came later than the seek, and ended the reading."""
    target = topic("input", partitions=len(PARTITIONS))
    sender = TransactionalProducer(producer_properties(settings_of(kafka, "none", target), name("sender")), 30)
    for partition in PARTITIONS:
        sender.send(target, partition, [b"k"] * 4, [b"0", b"1", b"2", b"3"])
    sender.commit()
    if deleted:
        places = [TopicPartition(target, partition, deleted) for partition in PARTITIONS]
        admin = kafka.admin()
        for future in admin.delete_records(places).values():
            future.result()
    for turn in range(8):
        assert read(settings_of(kafka, name(f"group-{turn}"), target)) == {
            partition: [2, 3] for partition in PARTITIONS
        }


def read(settings: Settings) -> dict[int, list[int]]:
    """The offsets of each partition that come after each was sought to 2 as soon as it was given."""
    seen: dict[int, list[int]] = {partition: [] for partition in PARTITIONS}
    unsought: set[int] = set()

    def nothing(_numbers: list[int]) -> None:
        pass

    consumer = SampleConsumer(
        consumer_properties(settings),
        settings.input.topic,
        unavailable_seconds=30,
    )
    consumer.subscribe(assigned=unsought.update, revoked=nothing, lost=nothing)
    ended: set[int] = set()
    deadline = time.monotonic() + 60
    while len(ended) < len(PARTITIONS):
        polled = consumer.poll(0.05, 100)
        ended |= {partition for partition, end in polled.ends.items() if end >= 4}
        if polled.batch is not None:
            for partition, offset in zip(polled.batch.partitions.tolist(), polled.batch.offsets.tolist(), strict=True):
                seen[partition].append(offset)
        assert polled.unreadable.keys() <= unsought
        unsought -= {partition for partition in unsought if consumer.resume_at(partition, 2)}
        assert time.monotonic() < deadline, (ended, unsought)
    consumer.close()
    return seen
