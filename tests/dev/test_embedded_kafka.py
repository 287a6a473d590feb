"""The embedded Kafka is a real one: transactions, crashes, restarts on the same data, no leftovers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.dev.kafka import EmbeddedKafka


def test_a_topic_has_the_partitions_that_were_asked_for(kafka: EmbeddedKafka, topic: Callable[..., str]) -> None:
    made = topic("input", partitions=3, config={"cleanup.policy": "compact"})
    assert len(kafka.admin().list_topics(made, timeout=10).topics[made].partitions) == 3
