"""What the group has committed, asked without joining it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from processor.config import reader_properties
from processor.errors import Unavailable
from processor.kafka.client import Consumer, KafkaException, TopicPartition
from processor.kafka.retry import is_transient
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from processor.config import Settings


def committed_offsets(
    settings: Settings, topic: str, partitions: Iterable[int], budget_seconds: float
) -> dict[int, int | None]:
    """Partition -> the group's offset, stable: open transactions are waited for. None where it has none.

    Raises:
        Unavailable: a transaction stays open, or the brokers were away, for longer than the budget.
    """
    wanted = [TopicPartition(topic, number) for number in partitions]
    deadline = time.monotonic() + budget_seconds
    consumer = Consumer(reader_properties(settings), logger=kafka_logger())
    try:
        while True:
            try:
                found = consumer.committed(wanted, timeout=1.0)
                refused = [str(one.error) for one in found if one.error is not None]
                if not refused:
                    return {one.partition: one.offset if one.offset >= 0 else None for one in found}
                said = refused[0]
            except KafkaException as error:
                if not is_transient(error):
                    raise
                said = error.args[0].str()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The committed offsets of the group could not be learnt within {budget_seconds:.0f} s.",
                    said,
                    "A transaction of a former owner may hang: see `kafka-transactions.sh find-hanging`.",
                ) from None
    finally:
        consumer.close()
