"""The proxy at which Kafka misbehaves: nothing by itself, each fault once, and no way around it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, get_args

import pytest

from processor.kafka.client import KafkaException, Producer
from processor.trial.load import Load, produce
from processor.trial.reader import read_topic
from trial.proxy import Fault, Proxy, RandomCuts, What
from trial.wire import Request, refusal, request_of, with_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.kafka import EmbeddedKafka

LOAD = Load(events=3_000, keys=50)
SMALL_BATCHES = {"batch.size": 4_000, "socket.timeout.ms": 1_000, "linger.ms": 1, "retry.backoff.ms": 10}
FAULTS = [
    Fault("Produce", "late request", at=2, seconds=0.05),
    Fault("Produce", "late answer", at=4, seconds=0.05),
    Fault("Produce", "lost request", at=6),
    Fault("Produce", "lost answer", at=8),
    *(Fault("Produce", "cut request", at=10 + 2 * place, byte=byte) for place, byte in enumerate((0, 2, 9, 500, -1))),
    *(Fault("Produce", "cut answer", at=20 + 2 * place, byte=byte) for place, byte in enumerate((0, 2, 9, -1))),
    Fault("Produce", "twice", at=28),
    Fault("Produce", "answered twice", at=30),
    Fault("Produce", "error", at=32, code=6),  # not the partition's leader any more
    Fault("InitProducerId", "refused", code=14),  # the coordinator is loading
]


def contents(topic: dict[int, Any]) -> dict[int, list[Any]]:
    return {number: [record.content for record in records] for number, records in topic.items()}


@pytest.fixture
def undisturbed(kafka: EmbeddedKafka, topic: Callable[..., str]) -> dict[int, list[Any]]:
    plain = topic("plain")
    produce(kafka.bootstrap_servers, plain, LOAD)
    return contents(read_topic(kafka.bootstrap_servers, plain))


def test_an_idempotent_producer_gets_through_every_fault(
    kafka: EmbeddedKafka, topic: Callable[..., str], undisturbed: dict[int, list[Any]]
) -> None:
    disturbed = topic("disturbed")
    with Proxy(kafka.bootstrap_servers, FAULTS) as proxy:
        produce(proxy.bootstrap_servers, disturbed, LOAD, properties=SMALL_BATCHES)
        assert proxy.pending == ()
        assert sorted(fault.what for fault, _ in proxy.happened) == sorted(fault.what for fault in FAULTS)
        found = read_topic(proxy.bootstrap_servers, disturbed)
        assert proxy.counts["Fetch"] > 0, "a client was led around the proxy"
    assert contents(found) == undisturbed
    assert {fault.what for fault in FAULTS} == set(get_args(What))


def test_connections_that_end_anywhere(
    kafka: EmbeddedKafka, topic: Callable[..., str], undisturbed: dict[int, list[Any]]
) -> None:
    disturbed = topic("disturbed")
    with Proxy(kafka.bootstrap_servers, cuts=RandomCuts(seed=1, mean_bytes=20_000, most=12)) as proxy:
        produce(proxy.bootstrap_servers, disturbed, LOAD, properties=SMALL_BATCHES)
        assert proxy.cuts > 3
    assert contents(read_topic(kafka.bootstrap_servers, disturbed)) == undisturbed


def test_a_broker_that_refuses_has_done_nothing(kafka: EmbeddedKafka, name: Callable[[str], str]) -> None:
    refused = Fault("InitProducerId", "refused", code=53)  # this client may not use the transactional id
    with Proxy(kafka.bootstrap_servers, [refused]) as proxy:
        settings = {"bootstrap.servers": proxy.bootstrap_servers, "transactional.id": name("id"), "log_level": 0}
        with pytest.raises(KafkaException) as caught:
            Producer(settings).init_transactions(10)
        assert caught.value.args[0].code() == refused.code
        Producer(settings).init_transactions(10)


def test_only_what_has_a_short_answer_can_be_refused() -> None:
    with pytest.raises(ValueError, match="cannot refuse Fetch"):
        Fault("Fetch", "refused", code=1)


ID = bytes(range(16))
LONG_NAME = "n" * 200
# API, version, the answer in front of its error code, behind it. From https://kafka.apache.org/protocol.
ANSWERS = {
    "EndTxn 1": ("EndTxn", 1, bytes(4 + 4), b""),
    "EndTxn 3": ("EndTxn", 3, bytes(4 + 1 + 4), b"\0"),
    "JoinGroup 5": ("JoinGroup", 5, bytes(4 + 4), bytes(30)),
    "SyncGroup 5": ("SyncGroup", 5, bytes(4 + 1 + 4), bytes(30)),
    "Produce 7": ("Produce", 7, bytes(4) + struct.pack(">ih1sii", 1, 1, b"t", 1, 9), bytes(30)),
    "Produce 9": ("Produce", 9, bytes(4 + 1) + b"\2\2t\2" + bytes(4), bytes(30)),
    "Produce 9, long": ("Produce", 9, bytes(4 + 1) + b"\2\xc9\1" + LONG_NAME.encode() + b"\2" + bytes(4), bytes(30)),
    "Produce 13": ("Produce", 13, bytes(4 + 1) + b"\2" + ID + b"\2" + bytes(4), bytes(30)),
    "Fetch 11": ("Fetch", 11, bytes(4 + 4 + 2 + 4) + struct.pack(">ih1sii", 1, 1, b"t", 1, 9), bytes(30)),
    "Fetch 16": ("Fetch", 16, bytes(4 + 1 + 4 + 2 + 4) + b"\2" + ID + b"\2" + bytes(4), bytes(30)),
    "OffsetFetch 5": ("OffsetFetch", 5, bytes(8) + struct.pack(">ih1siiqih", 1, 1, b"t", 1, 9, 7, 1, -1), bytes(9)),
    "OffsetFetch 9": ("OffsetFetch", 9, bytes(9) + b"\2\2g\2\2t\2" + bytes(4 + 8 + 4) + b"\1", bytes(9)),
    "TxnOffsetCommit 2": ("TxnOffsetCommit", 2, bytes(8) + struct.pack(">ih1sii", 1, 1, b"t", 1, 9), b""),
    "TxnOffsetCommit 3": ("TxnOffsetCommit", 3, bytes(9) + b"\2\2t\2" + bytes(4), bytes(3)),
}


@pytest.mark.parametrize(("api", "version", "before", "behind"), ANSWERS.values(), ids=ANSWERS)
def test_an_error_is_put_where_the_protocol_has_it(api: str, version: int, before: bytes, behind: bytes) -> None:
    changed = with_error(Request(api, version, 0), before + b"\0\0" + behind, -5)
    assert changed == before + b"\xff\xfb" + behind


def test_an_answer_without_partitions_has_no_place_for_an_error() -> None:
    assert with_error(Request("Fetch", 16, 0), bytes(4 + 1 + 4 + 2 + 4) + b"\1\0", 3) is None
    assert with_error(Request("TxnOffsetCommit", 2, 0), bytes(4 + 4 + 4), 3) is None
    assert with_error(Request("Metadata", 12, 0), bytes(100), 3) is None


def test_a_request_is_known_by_its_header() -> None:
    assert request_of(struct.pack(">hhi", 26, 3, 77) + b"\0\1x") == Request("EndTxn", 3, 77)
    assert request_of(struct.pack(">hhi", 999, 0, -1)) == Request("999", 0, -1)
    assert refusal(Request("EndTxn", 3, 77), 47) == struct.pack(">ixihx", 77, 0, 47)
    assert refusal(Request("InitProducerId", 1, 77), 47) == struct.pack(">iihqh", 77, 0, 47, -1, -1)
