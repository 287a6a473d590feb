"""The transactional producer and the group's member, against a real broker: fencing, and what is sent again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from processor.config import consumer_properties, load_settings, producer_properties
from processor.errors import OwnershipLost, Unavailable
from processor.kafka.consumer import SampleConsumer
from processor.kafka.producer import IdempotentProducer, TransactionalProducer
from processor.kafka.retry import CommitFailed, GenerationChanged
from processor.trial.load import Load, produce
from processor.trial.reader import read_topic
from trial.proxy import Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.config import Settings
    from processor.trial.kafka import EmbeddedKafka

OUT_OF_ORDER, OLD_EPOCH = 45, 47
"""Kafka's numbers of errors that end a producer for good."""

FENCED_INSTANCE_ID, OUT_OF_RANGE = 82, 1


@pytest.fixture
def settings(kafka: EmbeddedKafka, name: Callable[[str], str], topic: Callable[..., str]) -> Settings:
    given = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "kafka.group_id": name("group"),
        "input.topic": topic("input", partitions=2),
        "output.topic": topic("output", partitions=1),
    }
    return load_settings(None, {}, [f"{key}={value}" for key, value in given.items()]).settings


def member(settings: Settings, **properties: Any) -> SampleConsumer:
    def nothing(_numbers: list[int]) -> None:
        pass

    consumer = SampleConsumer(
        {**consumer_properties(settings), **properties},
        settings.input.topic,
        unavailable_seconds=30,
    )
    consumer.subscribe(assigned=nothing, revoked=nothing, lost=nothing)
    return consumer


def producer(settings: Settings, identity: str = "id") -> TransactionalProducer:
    return TransactionalProducer(producer_properties(settings, f"{settings.kafka.group_id}-{identity}"), 30)


def join(*members: SampleConsumer, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not until():
        for one in members:
            one.poll(0.01, 10)
        assert time.monotonic() < deadline


def values(settings: Settings) -> list[Any]:
    topic = read_topic(settings.kafka.bootstrap_servers, settings.output.topic)
    return [record.value for records in topic.values() for record in records]


def test_what_a_former_generation_could_not_commit_is_sent_again_once(settings: Settings) -> None:
    first, sender = member(settings), producer(settings)
    join(first, until=lambda: first.joined)
    stale = first.group_metadata()
    second = member(settings)
    join(first, second, until=lambda: second.joined and first.group_metadata() != stale)
    offsets = first.topic_partitions({0: 5})
    sender.send(settings.output.topic, 0, [b"k", b"k"], [b"1", b"2"])
    outputs = sender.sent
    sender.send_one(settings.output.topic, 0, b"k", b"of the first try only")
    with pytest.raises(GenerationChanged):
        sender.send_offsets(offsets, stale)
    sender.send_again(outputs)
    sender.send_offsets(offsets, first.group_metadata())
    sender.commit()
    assert values(settings) == [b"1", b"2"]
    assert first.committed(0, 10) == 5
    assert sender.sent == 0
    first.close()
    second.close()


def test_a_process_that_is_no_member_commits_nothing(settings: Settings) -> None:
    """The broker would take its offsets: those of a transaction are checked for members only."""
    outsider = member(settings)
    with pytest.raises(CommitFailed, match="not a member"):
        outsider.group_metadata()
    outsider.close()


def test_a_twin_fences_the_first_which_takes_the_way_back(settings: Settings) -> None:
    first = producer(settings)
    first.send(settings.output.topic, 0, [b"k"], [b"lost"])
    second = producer(settings)
    second.send(settings.output.topic, 0, [b"k"], [b"kept"])
    second.commit()
    with pytest.raises(CommitFailed):
        first.commit()
    first.drop()
    first.send(settings.output.topic, 0, [b"k"], [b"sent again"])
    first.commit()
    assert values(settings) == [b"kept", b"sent again"]


def test_twins_that_fence_each_other_for_ever_are_told_although_they_commit_now_and_then(settings: Settings) -> None:
    twins, published = [producer(settings), producer(settings)], 0

    def publish(sender: TransactionalProducer) -> None:
        sender.send(settings.output.topic, 0, [b"k"], [b"%d" % published])
        sender.commit()

    def duel() -> None:
        nonlocal published
        for twin in [*twins, *twins, *twins, *twins, *twins, *twins, *twins]:
            with suppress(CommitFailed):
                publish(twin)  # fenced, but for the first time
            twin.drop()
            publish(twin)
            published += 1

    with pytest.raises(OwnershipLost, match="fenced 6 times"):
        duel()
    assert published >= 5
    assert values(settings) == [b"%d" % number for number in range(published)]


def test_an_aborted_transaction_leaves_nothing(settings: Settings) -> None:
    sender = producer(settings)
    sender.send(settings.output.topic, 0, [b"k"], [b"dropped"])
    sender.drop()
    sender.drop()
    sender.send(settings.output.topic, 0, [b"k"], [b"kept"])
    sender.commit()
    assert values(settings) == [b"kept"]


def test_a_committed_offset_is_unknown_until_there_is_one(settings: Settings) -> None:
    one = member(settings)
    join(one, until=lambda: one.joined)
    assert one.committed(1, 10) is None
    one.commit({1: 7})
    assert one.committed(1, 10) == 7
    one.close()


@pytest.mark.parametrize("code", [OUT_OF_ORDER, OLD_EPOCH])
def test_a_producer_that_dies_of_a_delivery_fails_its_commit_and_is_replaced(
    kafka: EmbeddedKafka, settings: Settings, code: int
) -> None:
    """The client tells its death while it serves call-backs, where it is easily taken for a bug in one of them."""
    with Proxy(kafka.bootstrap_servers, [Fault("Produce", "error", code=code)]) as proxy:
        dying = TransactionalProducer(through(proxy, settings), 30)
        told: list[int] = []
        for number in range(20):
            on_delivery = lambda error, message: told.append(message.offset() if error is None else -1)  # noqa: E731
            dying.send_one(settings.output.topic, 0, b"lost", b"%d" % number, on_delivery=on_delivery)
        with pytest.raises(CommitFailed):
            dying.flush()
        dying.drop()
        dying.send(settings.output.topic, 0, [b"k"], [b"kept"])
        dying.commit()
    assert [record.value for record in read_topic(kafka.bootstrap_servers, settings.output.topic)[0]] == [b"kept"]


def test_an_idempotent_producer_that_dies_of_a_delivery_says_so(kafka: EmbeddedKafka, settings: Settings) -> None:
    properties = producer_properties(settings, "")
    del properties["transactional.id"]
    with Proxy(kafka.bootstrap_servers, [Fault("Produce", "error", code=OUT_OF_ORDER)]) as proxy:
        dying = IdempotentProducer({**properties, "bootstrap.servers": proxy.bootstrap_servers}, 30)
        for number in range(20):
            dying.send_one(settings.output.topic, 0, b"k", b"%d" % number)
        with pytest.raises(Unavailable, match="not delivered"):
            dying.flush()


@pytest.mark.parametrize("api", ["JoinGroup", "SyncGroup", "Heartbeat"])
def test_a_static_member_whose_name_was_taken_ends_and_does_not_wait_for_ever(
    kafka: EmbeddedKafka, settings: Settings, api: str
) -> None:
    with Proxy(kafka.bootstrap_servers, [Fault(api, "error", code=FENCED_INSTANCE_ID)]) as proxy:
        static = {"group.instance.id": "one", "bootstrap.servers": proxy.bootstrap_servers, "heartbeat.interval.ms": 50}
        fenced = member(settings, **static)
        with pytest.raises(OwnershipLost, match="under this one's name"):
            join(fenced, until=lambda: False)


def test_a_partition_that_could_not_be_read_is_read_again_from_where_it_is_told(
    kafka: EmbeddedKafka, settings: Settings
) -> None:
    produce(kafka.bootstrap_servers, settings.input.topic, Load(events=100, partitions=2))
    with Proxy(kafka.bootstrap_servers) as proxy:
        reader = member(settings, **{"bootstrap.servers": proxy.bootstrap_servers})
        unreadable, waiting, read = set[int](), {0, 1}, [0, 0]

        def look() -> None:
            polled = reader.poll(0.02, 100)
            for number in polled.batch.partitions.tolist() if polled.batch is not None else ():
                read[number] += 1
            waiting.difference_update([n for n in waiting if reader.joined and reader.resume_at(n, 0)])
            for number in polled.unreadable:
                reader.pause(number)
                waiting.add(number)
                unreadable.add(number)
            if sum(read) == 100 and not unreadable and not proxy.pending:
                # Again, until one is seen: the client passes over the answer to a question that it has given up.
                proxy.add(Fault("Fetch", "error", code=OUT_OF_RANGE))

        deadline = time.monotonic() + 30
        while sum(read) < 150:
            look()
            assert time.monotonic() < deadline, (read, waiting, unreadable)
        assert unreadable
        reader.close()


def test_a_poll_waits_for_more_than_the_first_event_where_it_is_told_to(settings: Settings) -> None:
    reader, sender = member(settings, **{"enable.partition.eof": False}), producer(settings)

    def send(*values: bytes) -> None:
        for value in values:
            time.sleep(0.2)
            sender.send(settings.input.topic, 0, [b"k"], [value])
            sender.commit()

    def poll(gather: float) -> list[bytes | None]:
        """What the first poll brings that brings anything."""
        while (batch := reader.poll(30, most=2, gather=gather).batch) is None:
            pass
        return list(batch.values)

    send(b"0")
    join(reader, until=lambda: reader.joined and reader.resume_at(0, 0))
    assert poll(gather=0) == [b"0"]
    with ThreadPoolExecutor() as meanwhile:
        sent = meanwhile.submit(send, b"1", b"2")
        assert poll(gather=30) == [b"1", b"2"]  # and it ends with the second: it has as many as it was asked for
        sent.result()
    reader.close()


def through(proxy: Proxy, settings: Settings) -> dict[str, Any]:
    properties = producer_properties(settings, f"{settings.kafka.group_id}-id")
    return {**properties, "bootstrap.servers": proxy.bootstrap_servers}
