"""What the brokers answer, through the admin client: true watermarks, facts of topics, members, and refusals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from processor.config import Settings
from processor.errors import ConfigError, Unavailable
from processor.kafka.admin import Admin, TopicSpec
from processor.kafka.client import Consumer, Producer, TopicPartition
from processor.trial.reader import high_watermarks
from trial.proxy import Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.kafka import EmbeddedKafka


def settings_for(servers: str, **kafka: Any) -> Settings:
    return Settings.model_validate({"kafka": {"bootstrap_servers": servers, **kafka}})


@pytest.fixture
def admin(kafka: EmbeddedKafka) -> Admin:
    return Admin(settings_for(kafka.bootstrap_servers), 20.0)


def test_facts_of_a_topic(admin: Admin, topic: Callable[..., str]) -> None:
    config = {
        "cleanup.policy": "compact,delete",
        "max.message.bytes": "123456",
        "retention.ms": "-1",
        "retention.bytes": "77",
        "delete.retention.ms": "8000",
    }
    name = topic("facts", partitions=3, config=config)
    facts = admin.describe_topic(name)
    assert facts is not None
    assert (facts.name, facts.partitions, facts.replicas) == (name, 3, 1)
    assert facts.cleanup_policy == {"compact", "delete"}
    assert (facts.max_message_bytes, facts.retention_ms, facts.retention_bytes) == (123456, -1, 77)
    assert (facts.delete_retention_ms, facts.min_insync_replicas) == (8000, 1)
    assert facts.operations >= {"READ", "WRITE"}
    assert len(facts.topic_id) == 22


def test_a_topic_that_is_not_there_is_none(admin: Admin, topic: Callable[..., str], name: Callable[[str], str]) -> None:
    there, absent = topic("there"), name("absent")
    described = admin.describe_topics([there, absent])
    assert described[there] is not None
    assert described[absent] is None


def test_a_topic_made_anew_has_another_id(kafka: EmbeddedKafka, admin: Admin, name: Callable[[str], str]) -> None:
    again = name("again")
    ids = set()
    for _ in range(2):
        admin.create_topics([TopicSpec(again, 1, {})])
        facts = admin.describe_topic(again)
        assert facts is not None
        ids.add(facts.topic_id)
        kafka.delete_topics(again)
        while admin.describe_topic(again) is not None:
            time.sleep(0.05)
    assert len(ids) == 2


def test_the_high_watermark_counts_open_transactions(
    kafka: EmbeddedKafka, admin: Admin, topic: Callable[..., str], name: Callable[[str], str]
) -> None:
    """A read_committed consumer would say 3: the last stable offset."""
    target = topic("open", partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name("open")})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(2):
        producer.produce(target, b"x", partition=1)
    producer.commit_transaction(30)
    producer.begin_transaction()
    for _ in range(5):
        producer.produce(target, b"x", partition=1)
    producer.flush(30)
    try:
        assert admin.high_watermarks(target, [0, 1]) == {0: 0, 1: 8}
        assert admin.low_watermarks(target, [1]) == {1: 0}
    finally:
        producer.abort_transaction(30)


def test_the_low_watermark_follows_deletions(kafka: EmbeddedKafka, admin: Admin, topic: Callable[..., str]) -> None:
    target = topic("deleted", partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(5):
        producer.produce(target, b"x", partition=0)
    producer.flush(30)
    client = kafka.admin()
    for future in client.delete_records([TopicPartition(target, 0, 3)]).values():
        future.result(30)
    assert admin.low_watermarks(target, [0]) == {0: 3}
    assert admin.high_watermarks(target, [0]) == {0: 5}
    assert admin.high_watermarks(target, []) == {}


@pytest.mark.parametrize("what", ["cut request", "cut answer", "lost answer"])
def test_watermarks_are_asked_for_again_where_the_connection_breaks(
    kafka: EmbeddedKafka, topic: Callable[..., str], what: Any
) -> None:
    """The client then gives an offset that is none, and no error: taken at its word, the changelog would be empty."""
    target = topic("target", partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(target, b"x", partition=1)
    producer.flush(30)
    with (
        Proxy(kafka.bootstrap_servers, [Fault("ListOffsets", what, byte=5)] * 2) as proxy,
        Admin(settings_for(proxy.bootstrap_servers), 20.0) as admin,
    ):
        assert admin.high_watermarks(target, [0, 1]) == {0: 0, 1: 1}
    with Proxy(kafka.bootstrap_servers, [Fault("ListOffsets", "cut answer", byte=5)]) as proxy:
        assert high_watermarks(proxy.bootstrap_servers, target) == {0: 0, 1: 1}


def test_topics_are_made_once_and_ready(admin: Admin, kafka: EmbeddedKafka, name: Callable[[str], str]) -> None:
    spec = TopicSpec(name("made"), 5, {"cleanup.policy": "compact"})
    try:
        admin.create_topics([spec])
        admin.create_topics([spec])  # another process was quicker: no error
        facts = admin.describe_topic(spec.name)
        assert facts is not None
        assert (facts.partitions, facts.cleanup_policy) == (5, frozenset({"compact"}))
        assert admin.high_watermarks(spec.name, range(5)) == dict.fromkeys(range(5), 0)
    finally:
        kafka.delete_topics(spec.name)


def test_a_topic_that_the_broker_refuses_is_a_config_error(admin: Admin, name: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError, match="was not created") as refused:
        admin.create_topics([TopicSpec(name("refused"), 1, {"max.message.bytes": "many"})])
    assert "many" in refused.value.cause


def test_members_of_a_group(
    kafka: EmbeddedKafka, admin: Admin, topic: Callable[..., str], name: Callable[[str], str]
) -> None:
    group, target = name("group"), topic("input", partitions=1)
    assert admin.group_members(group) == []
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group, "client.id": "somebody"})
    consumer.subscribe([target])
    deadline = time.monotonic() + 30
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(0.1)
    (member,) = admin.group_members(group)
    assert member.startswith("somebody (")
    consumer.close()
    assert admin.group_members(group) == []


@pytest.mark.parametrize(
    ("servers", "cause"),
    [("127.0.0.1:1", "Connection refused"), ("no-such-host.invalid:9092", "resolve")],
)
def test_an_unreachable_broker_is_unavailable_and_says_why(servers: str, cause: str) -> None:
    with Admin(settings_for(servers), 1.0) as admin, pytest.raises(Unavailable) as refused:
        admin.describe_topic("samples")
    assert servers in refused.value.fact
    assert cause in refused.value.cause
    assert "bootstrap_servers" in refused.value.hint


def test_wrong_credentials_are_a_config_error_at_once(kafka: EmbeddedKafka) -> None:
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "user",
        "sasl.password": "s3cret",
    }
    with (
        Admin(settings_for(kafka.bootstrap_servers, properties=properties), 60.0) as admin,
        pytest.raises(ConfigError, match="do not let this client") as refused,
    ):
        admin.describe_topic("samples")
    assert "s3cret" not in str(refused.value)


def test_a_property_that_the_client_does_not_know_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="properties") as refused:
        Admin(settings_for("localhost:1", properties={"no.such.property": 1}))
    assert "no.such.property" in refused.value.cause


def test_offsets_of_a_topic_that_is_gone_are_refused(kafka: EmbeddedKafka, name: Callable[[str], str]) -> None:
    with Admin(settings_for(kafka.bootstrap_servers), 0.5) as admin, pytest.raises((ConfigError, Unavailable)):
        admin.high_watermarks(name("gone"), [0])
