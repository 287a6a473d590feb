"""The Kafka clients' configurations: what is ours, what the user may change, and what nobody may."""

from __future__ import annotations

import pytest

from processor.config import (
    Settings,
    admin_properties,
    consumer_properties,
    load_settings,
    producer_properties,
    reader_properties,
)
from processor.config.clients import REFUSED
from processor.errors import ConfigError
from processor.kafka.client import AdminClient, Consumer, Producer


def load(*overrides: str) -> Settings:
    return load_settings(None, {}, ["kafka.bootstrap_servers=127.0.0.1:1", "kafka.group_id=g", *overrides]).settings


def test_the_consumer_by_default() -> None:
    expected = {
        "bootstrap.servers": "127.0.0.1:1",
        "group.id": "g",
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": "true",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 1_000,
        "queued.min.messages": 200_000,
        "fetch.message.max.bytes": 4_194_304,
        "queued.max.messages.kbytes": 65_536,
        "fetch.queue.backoff.ms": 10,
    }
    assert expected.items() <= consumer_properties(load()).items()
    assert "group.instance.id" not in consumer_properties(load())
    assert consumer_properties(load("kafka.group_instance_id=i"))["group.instance.id"] == "i"


def test_the_producer_by_default() -> None:
    expected = {
        "enable.idempotence": "true",
        "transactional.id": "g-i",
        "transaction.timeout.ms": 10_000,
        "linger.ms": 5,
        "batch.size": 1_048_576,
        "queue.buffering.max.messages": 2_000_000,
        "compression.type": "none",
    }
    assert expected.items() <= producer_properties(load(), "g-i").items()


def test_no_transaction_without_exactly_once() -> None:
    properties = producer_properties(load("processing.guarantee=at_least_once"), "g-i")
    assert properties["enable.idempotence"] == "true"
    assert not {"transactional.id", "transaction.timeout.ms"} & set(properties)


@pytest.mark.parametrize(("interval", "linger"), [("0.001", 1), ("0.1", 5), ("0.4", 20), ("4", 20)])
def test_lingering_is_a_part_of_the_commit_interval(interval: str, linger: int) -> None:
    settings = load(f"processing.commit_interval_seconds={interval}")
    assert producer_properties(settings, "t")["linger.ms"] == linger


def test_the_nearer_table_wins() -> None:
    settings = load(
        "kafka.properties.linger.ms=1",
        "kafka.producer.linger.ms=2",
        "kafka.properties.fetch.message.max.bytes=3000",
        "kafka.consumer.session.timeout.ms=6000",
        "kafka.properties.security.protocol=SSL",
    )
    assert producer_properties(settings, "t")["linger.ms"] == "2"
    assert consumer_properties(settings)["linger.ms"] == "1"
    assert consumer_properties(settings)["fetch.message.max.bytes"] == "3000"
    assert consumer_properties(settings)["session.timeout.ms"] == "6000"
    assert "session.timeout.ms" not in producer_properties(settings, "t")
    assert admin_properties(settings)["security.protocol"] == "SSL"
    assert admin_properties(settings)["bootstrap.servers"] == "127.0.0.1:1"


def test_under_the_consumer_protocol_the_group_is_the_brokers() -> None:
    properties = consumer_properties(load("kafka.consumer.group.protocol=consumer"))
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(properties)


def test_the_reader_never_joins_the_group() -> None:
    settings = load("kafka.group_instance_id=i", "kafka.properties.group.protocol=consumer", "kafka.consumer.debug=all")
    properties = reader_properties(settings)
    assert not {"group.instance.id", "group.protocol", "session.timeout.ms"} & set(properties)
    assert (properties["isolation.level"], properties["debug"]) == ("read_committed", "all")


@pytest.mark.parametrize("table", ["properties", "consumer", "producer"])
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_carries_the_promise_is_nobodys_to_change(table: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"kafka.{table}.{name}=x")
    assert caught.value.fact == f"kafka.{table} sets {name}, which the processor sets itself."
    assert caught.value.cause == REFUSED[name]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["kafka.group_instance_id=i"],
        ["processing.guarantee=at_least_once"],
        ["kafka.properties.group.protocol=consumer"],
        ["kafka.properties.socket.keepalive.enable=true", "kafka.producer.linger.ms=7"],
    ],
)
def test_librdkafka_takes_them(overrides: list[str]) -> None:
    """No property is misspelt or goes badly with another: the real clients are made, and never reach a broker."""
    settings = load(*overrides, "kafka.properties.log_level=0")
    consumer = Consumer(consumer_properties(settings))
    consumer.close()
    reader = Consumer(reader_properties(settings))
    reader.close()
    Producer(producer_properties(settings, "g-t"))
    AdminClient(admin_properties(settings))
