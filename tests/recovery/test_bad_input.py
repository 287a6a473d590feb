"""Bad input through the real processor: every bad event in the dead-letter topic with its reason, once and in order,
and the good ones among them answered as if the bad ones were not there.

PROCESSOR_BAD_EVENTS=1000000 runs the first test with that many bad events.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from codec.reference import THREE, expected
from junk import GOOD, KEYS, junk
from processor.kafka.client import Producer
from processor.kafka.records import RECORD_OVERHEAD_BYTES
from processor.state.record import HEADER_BYTES
from processor.trial.load import Event, Load, partition_of, send
from processor.trial.reader import Record, Topic, read_topic
from processor.types import Kind
from recovery.deployment import PARTITIONS, Deployment

if TYPE_CHECKING:
    from processor.trial.kafka import EmbeddedKafka

BAD_EVENTS = int(os.environ.get("PROCESSOR_BAD_EVENTS", "20000"))
GOOD_EVENTS = max(4_000, BAD_EVENTS // 10)
AT_ONCE = 20_000
DAY_MS = 86_400_000
THIRTY_YEARS_MS = 946_728_000_000
LIMITS = {"max_ahead_ms": DAY_MS, "max_behind_ms": THIRTY_YEARS_MS}
WRITTEN_MS = time.time_ns() // 1_000_000  # about when: no event's time is anywhere near it
MIB = 2**20
WORDS = 2 * 12 + 2 * 8  # of the model's state
SETTINGS = {"sequence.allowed_lateness_seconds": 30, "sequence.gap_seconds": 20}
LARGEST_KEY = MIB + 12 - HEADER_BYTES - 4 * WORDS - RECORD_OVERHEAD_BYTES


def headers_of(letter: Record) -> dict[str, Any]:
    """Name -> value, bytes; those of a dead letter all have one."""
    return dict(letter.headers)


def good_events() -> Iterator[Event]:
    """With everything that a bad event among them could disturb: the keys' order and numbers, the stream's time."""
    shares: dict[str, Any] = {
        "duplicate_share": 0.02,
        "late_share": 0.02,
        "gap_share": 0.001,
        "end_share": 0.02,
        "null_share": 0.01,
    }
    return iter(Load(seed=3, events=GOOD_EVENTS, keys=200, partitions=PARTITIONS, step_ms=5, **shares))


def bad_events() -> Iterator[Event]:
    """Under the keys of good events, where they could do harm, and under others; far in the future, and in the past."""
    random = Random(9)
    for value in junk(seed=8, count=10**9):
        key = b"key-%d" % random.randrange(200) if random.random() < 0.8 else random.choice(KEYS)
        verdict = expected(key, value, THREE, WRITTEN_MS, **LIMITS)
        if random.random() < 0.02:
            yield Event(partition_of(key, PARTITIONS), None, random.choice([value, GOOD, None]))
        elif verdict["kind"] is Kind.BAD:
            yield Event(partition_of(key, PARTITIONS), key, value)


def mixed(random: Random) -> Iterator[Event]:
    bad = islice(bad_events(), BAD_EVENTS)
    share = BAD_EVENTS / GOOD_EVENTS
    for event in good_events():
        yield from islice(bad, int(random.expovariate(1 / share)))
        yield event
    yield from bad


def in_chunks(events: Iterator[Event]) -> Iterator[list[Event]]:
    while chunk := list(islice(events, AT_ONCE)):
        yield chunk


def without_offsets(records: list[Record]) -> list[tuple[bytes | None, bytes]]:
    return [(record.key, re.sub(rb'"offset":\d+', b"", record.value or b"")) for record in records]


def letters(topic: Topic, *, late: bool) -> dict[int, list[Record]]:
    """The dead letters of late events, or all others."""
    return {
        number: [record for record in records if (headers_of(record)["processor.reason"] == b"late") == late]
        for number, records in topic.items()
    }


@pytest.fixture
def made(
    kafka: EmbeddedKafka, artifact: Path, name: Callable[[str], str], tmp_path: Path, topic: Callable[..., str]
) -> Iterator[Callable[..., Deployment]]:
    """`made("what", config=...)` -> a deployment with an input of its own."""
    deployments: list[Deployment] = []

    def make(what: str, **config: str) -> Deployment:
        source = topic(f"{what}-input", partitions=PARTITIONS, config=config)
        deployments.append(Deployment(kafka, artifact, source, name(what), tmp_path / what, dict(SETTINGS)))
        return deployments[-1]

    yield make
    for deployment in deployments:
        for process in deployment.processes:
            process.close()
        kafka.delete_topics(deployment.output, deployment.dead_letters, deployment.changelog)


def must_be_the_dead_letters(deployment: Deployment, found: Topic, *, largest_key: int = LARGEST_KEY) -> int:
    """Each bad event of the input once, in order, whole, with the reason that a naive reader gives. Their number."""
    inputs = read_topic(deployment.kafka.bootstrap_servers, deployment.input)
    count = 0
    for number, records in inputs.items():
        wanted = []
        for record in records:
            limits = {**LIMITS, "largest_key": largest_key}
            verdict = expected(record.key, record.value, THREE, record.timestamp, **limits)
            if verdict["kind"] is Kind.BAD:
                wanted.append((record.offset, verdict["reason"], record.key, record.value))
        dead = [
            (int(headers["processor.offset"]), headers["processor.reason"].decode(), record.key, record.value)
            for record in found[number]
            if (headers := headers_of(record))
        ]
        assert len(dead) == len(wanted), number
        for one, other in zip(dead, wanted, strict=True):
            assert one == other
        count += len(dead)
    return count


def test_a_flood_of_bad_events_disturbs_nothing(made: Callable[..., Deployment]) -> None:
    """Killed in the middle of it, too."""
    clean, flooded = made("clean"), made("flooded")
    for chunk in in_chunks(good_events()):
        send(clean.kafka.bootstrap_servers, clean.input, chunk)
    for chunk in in_chunks(mixed(Random(4))):
        send(flooded.kafka.bootstrap_servers, flooded.input, chunk)
    clean.process().start()
    process = flooded.process().start("commit.committed=kill@6")
    process.wait_exit()
    process.start()
    clean.finish()
    flooded.finish(timeout_seconds=60 + BAD_EVENTS / 500)

    (wanted, wanted_late), (found, found_dead) = clean.published(), flooded.published()
    for number, records in wanted.items():
        assert without_offsets(found[number]) == without_offsets(records)
    assert sum(map(len, wanted.values())) > GOOD_EVENTS // 2
    late = letters(found_dead, late=True)
    assert sum(map(len, late.values())) > 20
    for number, records in letters(wanted_late, late=True).items():
        assert without_offsets(late[number]) == without_offsets(records)
    count = must_be_the_dead_letters(flooded, letters(found_dead, late=False))
    assert count == BAD_EVENTS
    for records in found_dead.values():
        offsets = [int(headers_of(record)["processor.offset"]) for record in records]
        assert offsets == sorted(set(offsets))


def test_what_is_too_large_is_a_dead_letter_and_the_rest_goes_on(
    made: Callable[..., Deployment],
) -> None:
    """Keys of a mebibyte, values of several, and a prediction whose topic takes less than its key."""
    deployment = made("large", **{"max.message.bytes": str(8 * MIB)})
    deployment.kafka.create_topic(deployment.output, partitions=PARTITIONS, config={"max.message.bytes": "2000"})
    padded = GOOD[:-1] + b',"note":"' + b"x" * 3 * MIB + b'"}'
    events = [
        (b"small", GOOD),
        (b"k" * 3000, GOOD),  # its prediction does not fit
        (b"k" * LARGEST_KEY, GOOD),  # nor does this one's; its state's record just does
        (b"k" * (LARGEST_KEY + 1), GOOD),
        (b"small", b"{" * 3 * MIB),
        (b"k" * 3 * MIB, b"no event"),
        (b"padded", padded),
        (b"small", GOOD),
    ]
    servers = deployment.kafka.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 8 * MIB, "log_level": 0})
    for key, value in events:
        producer.produce(deployment.input, value, key, 0)
    assert producer.flush(60) == 0
    deployment.process().start()
    deployment.finish()

    predictions, dead = deployment.published()
    assert [(r.key, re.findall(rb'"step":\d+', r.value or b"")) for r in predictions[0]] == [
        (b"small", [b'"step":1']),
        (b"padded", [b'"step":1']),
        (b"small", [b'"step":2']),
    ]
    told = {int(headers_of(r)["processor.offset"]): headers_of(r)["processor.reason"] for r in dead[0]}
    assert told == {1: b"too_large", 2: b"too_large", 3: b"too_large", 4: b"undecodable", 5: b"too_large"}
    for record in dead[0]:  # whole where the topic takes it; otherwise its detail says what was cut
        sent = events[int(headers_of(record)["processor.offset"])]
        whole = (record.key, record.value) == sent
        assert whole or headers_of(record)["processor.detail"].startswith(b"cut: ")
        assert whole == (len(sent[1]) < MIB and len(sent[0]) < MIB)
