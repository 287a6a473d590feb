"""`check --sample`: a look at the input's newest events, without joining the group."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from processor.config import Settings
from processor.kafka.client import Producer
from processor.model.artifact import load_artifact
from processor.preflight import Finding, apply_topics, check
from processor.trial.kafka import EmbeddedKafka


def sampled(settings: Settings, most: int = 1_000) -> list[Finding]:
    return [finding for finding in check(settings, most) if finding.name == "sample"]


def test_it_names_keys_in_two_partitions_and_events_that_would_not_be_answered(
    make: Callable[..., Settings], kafka: EmbeddedKafka
) -> None:
    settings = make()
    apply_topics(settings, partitions=2)
    (empty,) = sampled(settings)
    assert (empty.verdict, "no events" in empty.fact) == ("ok", True)

    width = load_artifact(settings.model.artifact).inputs[0].shape[0]
    good = b'{"features":[%b]' % b",".join([b"1"] * width)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

    def send(key: bytes, partition: int, value: bytes = good + b"}") -> None:
        producer.produce(settings.input.topic, value, key, partition)

    for number in range(20):
        send(b"key-%d" % number, number % 2)
    assert producer.flush(30) == 0
    (fine,) = sampled(settings)
    assert (fine.verdict, "20 events" in fine.fact) == ("ok", True), fine

    send(b"key-0", 1)
    send(b"key-2", 0, good + b',"time":%d}' % int(time.time()))
    send(b"key-3", 1, b"nonsense")
    assert producer.flush(30) == 0
    told: dict[str, Any] = {finding.fact.rpartition(": ")[2]: finding for finding in sampled(settings)}
    assert {finding.verdict for finding in told.values()} == {"warning"}
    assert "it looks like seconds" in told["time_behind."].cause
    assert "partition 1, offset 11" in told["undecodable."].cause
    (moved,) = [finding for finding in told.values() if "several partitions" in finding.fact]
    assert "1 of 20 keys" in moved.fact
    assert "'key-0' (0, 1)" in moved.fact
    assert "murmur2" in moved.hint

    newest = sampled(settings, 2)  # one of each partition
    assert ["1 of the newest 2 events" in finding.fact for finding in newest] == [True, True]
