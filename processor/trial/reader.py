"""Reading a topic from its beginning to its end as any reader sees it, and comparing what two readers saw.

`compare` is the check behind every claim of this project: nothing lost, nothing doubled, nothing differing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from processor.errors import ConfigError, Unavailable
from processor.kafka.admin import answered
from processor.kafka.client import (
    OFFSET_BEGINNING,
    AdminClient,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    OffsetSpec,
    TopicPartition,
)
from processor.kafka.retry import is_transient, repeat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from processor.kafka.client import Message

Source = tuple[int, int]
"""The input record that an output record belongs to: its partition and offset."""

_ANSWER_SECONDS: Final = 60.0
_ATTEMPT_SECONDS: Final = 5.0  # a leader that has just died is waited for in vain, and the next attempt finds another
_SHOWN: Final = 300  # characters of a value in a difference
_MOST_DIFFERENCES: Final = 5  # that a report keeps


class Record(NamedTuple):
    """One record of a topic. `timestamp`: ms since the epoch, as the broker keeps it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = -1

    @property
    def content(self) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]:
        """What must be equal, byte for byte: not where the record lies, nor when it was written."""
        return self.key, self.value, self.headers


Topic = dict[int, list[Record]]
"""Partition -> its records by rising offset; every partition is there."""


def high_watermarks(bootstrap_servers: str, topic: str, *, stable: bool = False) -> dict[int, int]:
    """Partition -> the offset after its last record, open transactions included.

    stable: the last stable offset instead, which moves once a transaction is decided.

    Raises:
        ConfigError: there is no such topic.
        Unavailable: the broker did not answer.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    def ask() -> dict[int, int]:
        found = admin.list_topics(topic, timeout=_ATTEMPT_SECONDS).topics[topic]
        if found.error is not None:
            raise ConfigError(f"The topic {topic} cannot be read.", str(found.error))
        wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in found.partitions}
        level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        answers = admin.list_offsets(wanted, isolation_level=level, request_timeout=_ATTEMPT_SECONDS)
        return answered({partition.partition: answer.result().offset for partition, answer in sorted(answers.items())})

    try:
        return repeat(ask, _ANSWER_SECONDS, is_transient)  # a topic that was just made is still looking for its leaders
    except KafkaException as error:
        raise Unavailable(f"The ends of the topic {topic} could not be asked for.", str(error)) from error


def committed_offsets(bootstrap_servers: str, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Partition -> the offset that a group has committed, where it has one. It waits for open transactions.

    Raises:
        Unavailable: the broker did not answer in time, or a transaction stays open.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "log_level": 0})
    try:
        wanted = [TopicPartition(topic, number) for number in partitions]
        found = repeat(lambda: consumer.committed(wanted, timeout=1.0), _ANSWER_SECONDS, is_transient)
    except KafkaException as error:
        raise Unavailable(f"The offsets of the group {group} could not be asked for.", str(error)) from error
    finally:
        consumer.close()
    return {place.partition: place.offset for place in found if place.offset >= 0}


def read_topic(bootstrap_servers: str, topic: str, *, committed: bool = True, timeout_seconds: float = 120) -> Topic:
    """Every record from the beginning up to the high watermark at the call.

    committed: as a read_committed reader sees it, waiting for the end of transactions that are open below that
    watermark; else everything, aborted records and those of open transactions too.

    Raises:
        ConfigError: there is no such topic.
        Unavailable: the end was not reached in time (a transaction stays open, say).
    """
    ends = high_watermarks(bootstrap_servers, topic)
    records: Topic = {number: [] for number in ends}
    unread = {number for number, end in ends.items() if end > 0}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",  # never joined: the client merely wants one
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    deadline = time.monotonic() + timeout_seconds
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            first = consumer.poll(0.2)
            messages = [first, *consumer.consume(100_000, 0)] if first is not None else []
            unread -= _take(messages, ends, records)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The topic {topic} could not be read to its end within {timeout_seconds:g} s.",
                    f"Partitions {sorted(unread)} did not reach {[ends[number] for number in sorted(unread)]}.",
                    "A transaction that stays open holds back readers: look for its producer.",
                )
    finally:
        consumer.close()
    return records


def _take(messages: Iterable[Message], ends: Mapping[int, int], records: Topic) -> set[int]:
    """Keeps what lies below the ends, and returns the partitions that are read to theirs.

    The end may be markers of transactions or holes that no reader is ever given, so it is the event at the end of a
    partition that tells, by the offset that it would fetch next.
    """
    done = set()
    for message in messages:
        error, number, offset = message.error(), message.partition(), message.offset()
        if error is None:
            if offset < ends[number]:
                headers = tuple((name, value) for name, value in message.headers() or ())
                records[number].append(Record(offset, message.key(), message.value(), headers, message.timestamp()[1]))
            if offset >= ends[number] - 1:
                done.add(number)
        elif error.code() == KafkaError._PARTITION_EOF:
            if offset >= ends[number]:
                done.add(number)
        elif error.fatal():
            raise Unavailable("The topic could not be read.", str(error))
    return done


def source_of(record: Record) -> Source | None:
    """The input record of a prediction or a dead letter; None if the record does not name one."""
    headers = dict(record.headers)
    partition, offset = headers.get("processor.partition"), headers.get("processor.offset")
    if partition is not None and offset is not None:
        return int(partition), int(offset)
    try:
        value = json.loads(record.value or b"")
        return int(value["partition"]), int(value["offset"])
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(slots=True)
class Report:
    """What a comparison found; falsy when something is wrong."""

    lost: int = 0  # expected, and not there
    doubled: int = 0  # there once more than expected
    differing: int = 0  # there with other bytes, elsewhere, in another order, or expected by nobody
    compared: int = 0  # records expected
    differences: list[str] = field(default_factory=list)  # the first few, readable

    def __bool__(self) -> bool:
        return not (self.lost or self.doubled or self.differing)

    def __str__(self) -> str:
        return "\n".join([self.summary, *self.differences])

    @property
    def summary(self) -> str:
        """`0 lost, 0 doubled, 0 differing`"""
        return f"{self.lost} lost, {self.doubled} doubled, {self.differing} differing"

    def note(self, text: str) -> None:
        if len(self.differences) < _MOST_DIFFERENCES:
            self.differences.append(text)

    def add(self, other: Report) -> Report:
        """This report with the findings of another one."""
        self.lost += other.lost
        self.doubled += other.doubled
        self.differing += other.differing
        self.compared += other.compared
        for text in other.differences:
            self.note(text)
        return self


def compare(expected: Mapping[int, Sequence[Record]], actual: Mapping[int, Sequence[Record]]) -> Report:
    """Compares two topics partition by partition, record by record: key, value and headers, byte for byte, in order.

    Records are paired by the input record that they answer, so that one lost record is one finding, and not a shift of
    all that follow. Repeats with the same bytes count as doubled and as nothing else: `at_least_once` allows them.
    """
    report = Report()
    for number in sorted({*expected, *actual}):
        report.add(_compare_partition(number, expected.get(number, ()), actual.get(number, ())))
    return report


def _compare_partition(number: int, expected: Sequence[Record], actual: Sequence[Record]) -> Report:
    report = Report(compared=len(expected))
    if len(expected) == len(actual) and all(a.content == b.content for a, b in zip(expected, actual, strict=True)):
        return report  # the usual case, and it spares the look into every value
    wanted, found = _by_identity(expected), _by_identity(actual)
    for identity, records in wanted.items():
        others = found.get(identity, [])
        where = f"partition {number}, answer to {_named(identity)}"
        if len(others) < len(records):
            report.lost += len(records) - len(others)
            report.note(f"lost: {where}: {_shown(records[len(others)])}")
        if len(others) > len(records):
            report.doubled += len(others) - len(records)
            report.note(f"doubled: {where}, at offsets {[record.offset for record in others]}: {_shown(others[0])}")
        contents = {record.content for record in records}
        for other in others:
            if other.content not in contents:
                report.differing += 1
                report.note(f"differing: {where}:\n  expected {_shown(records[0])}\n  found    {_shown(other)}")
    for identity in found.keys() - wanted.keys():
        report.differing += len(found[identity])
        report.note(f"unexpected: partition {number}, answer to {_named(identity)}: {_shown(found[identity][0])}")
    _compare_order(number, list(wanted), list(found), report)
    return report


def _compare_order(number: int, wanted: list[object], found: list[object], report: Report) -> None:
    """The first occurrences of what both have must come in the same order."""
    common = set(wanted) & set(found)
    left, right = [one for one in wanted if one in common], [one for one in found if one in common]
    misplaced = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
    if misplaced:
        report.differing += len(misplaced)
        first, second = misplaced[0]
        report.note(f"out of order: partition {number}: {_named(second)} is answered where {_named(first)} should be")


def _by_identity(records: Sequence[Record]) -> dict[object, list[Record]]:
    """Records by the input record they belong to; records without one, by their bytes."""
    found: dict[object, list[Record]] = {}
    for record in records:
        found.setdefault(source_of(record) or record.content, []).append(record)
    return found


def _named(identity: object) -> str:
    match identity:
        case (int(partition), int(offset)):
            return f"input {partition}:{offset}"
        case _:
            return "no input record"


def _shown(record: Record) -> str:
    headers = f" {dict(record.headers)}" if record.headers else ""
    value = repr(record.value)
    return f"{record.key!r} -> {value[:_SHOWN]}{'...' if len(value) > _SHOWN else ''}{headers}"
