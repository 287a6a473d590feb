"""A look at the input itself: whether events would get a prediction, and whether each key comes from one partition.

The newest events of each partition, bounded in number and time; read without joining the group.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from processor.codec import event_decoder
from processor.config import reader_properties
from processor.kafka.client import Consumer, KafkaError, TopicPartition
from processor.kafka.consumer import batch_of
from processor.log import kafka_logger
from processor.preflight.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from processor.config import Settings
    from processor.kafka.admin import Admin
    from processor.kafka.client import Message
    from processor.model.artifact import Artifact
    from processor.types import Batch

DEFAULT_SAMPLE: Final = 10_000
"""Events of all partitions together."""

_SHOWN: Final = 5  # keys that a finding names
_KEY_SHOWN: Final = 40  # characters of one
_AT_ONCE: Final = 1_000


def sample_findings(
    settings: Settings, artifact: Artifact, partitions: int, admin: Admin, most: int, budget_seconds: float
) -> list[Finding]:
    """What the newest `most` events say, those of at most `budget_seconds`."""
    topic = settings.input.topic
    messages = _read(settings, topic, partitions, admin, most, budget_seconds)
    if not messages:
        return [Finding("sample", "ok", f"{topic} holds no events that could be looked at.", topic=topic)]
    batch = batch_of(messages)
    findings = [*_unanswered(settings, artifact, batch), *_in_two_partitions(topic, batch)]
    if findings:
        return findings
    keys = len({key for key in batch.keys if key is not None})
    fact = f"The newest {len(batch)} events of {topic} would get a prediction; each of {keys} keys is in one partition."
    return [Finding("sample", "ok", fact, topic=topic)]


def _read(
    settings: Settings, topic: str, partitions: int, admin: Admin, most: int, budget_seconds: float
) -> list[Message]:
    lows, ends = admin.low_watermarks(topic, range(partitions)), admin.high_watermarks(topic, range(partitions))
    share = -(-most // partitions)
    left = {number: end for number, end in ends.items() if end > lows[number]}
    if not left:
        return []
    consumer = Consumer(reader_properties(settings), logger=kafka_logger())
    deadline = time.monotonic() + budget_seconds
    taken: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, n, max(lows[n], end - share)) for n, end in left.items()])
        while left and time.monotonic() < deadline:
            for message in consumer.consume(_AT_ONCE, 0.2):
                number, offset = message.partition(), message.offset()
                error = message.error()
                if error is None and offset < ends[number]:
                    taken.append(message)
                is_over = error is not None and error.code() == KafkaError._PARTITION_EOF
                if is_over or (error is None and offset + 1 >= ends[number]):
                    left.pop(number, None)
    finally:
        consumer.close()
    return taken


def _unanswered(settings: Settings, artifact: Artifact, batch: Batch) -> list[Finding]:
    """One warning for each reason for which events would become dead letters."""
    decoder = event_decoder(
        settings.input,
        artifact.inputs,
        max_ahead_ms=settings.sequence.max_ahead_ms,
        max_behind_ms=settings.sequence.max_behind_ms,
    )
    bad = decoder.decode(batch).bad
    counts = Counter(why.reason for why in bad.values())
    findings = []
    for reason, count in counts.most_common():
        row = next(row for row, why in bad.items() if why.reason == reason)
        where = f"partition {batch.partitions[row]}, offset {batch.offsets[row]}"
        findings.append(
            Finding(
                "sample",
                "warning",
                f"{count} of the newest {len(batch)} events of {settings.input.topic} would be dead letters: {reason}.",
                f"The event at {where}: {bad[row].detail}.",
                "schemas/README.md has what an event looks like; `input.format` is "
                f"{settings.input.format}, and `processor info` prints the model's inputs.",
                topic=settings.input.topic,
            )
        )
    return findings


def _in_two_partitions(topic: str, batch: Batch) -> list[Finding]:
    seen: Mapping[bytes, set[int]] = defaultdict(set)
    for key, number in zip(batch.keys, batch.partitions.tolist(), strict=True):
        if key is not None:
            seen[key].add(number)
    several = [(key, sorted(numbers)) for key, numbers in seen.items() if len(numbers) > 1]
    if not several:
        return []
    more = f", and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
    return [
        Finding(
            "sample",
            "warning",
            f"{len(several)} of {len(seen)} keys of {topic} come from several partitions: {_named(several)}{more}.",
            "A key's state lies in the partition of its events: each of these partitions steps a sequence of its own.",
            "Its producers choose partitions differently (librdkafka by CRC32, the Java client by murmur2), or the "
            "topic was given more. Set partitioner=murmur2_random in librdkafka's producers; see docs/semantics.md.",
            topic=topic,
        )
    ]


def _named(several: Sequence[tuple[bytes, Sequence[int]]]) -> str:
    return ", ".join(
        f"{key.decode(errors='backslashreplace')[:_KEY_SHOWN]!r} ({', '.join(map(str, numbers))})"
        for key, numbers in several[:_SHOWN]
    )
