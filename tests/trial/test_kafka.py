"""The embedded Kafka is a real one: transactions, crashes, restarts on the same data, no leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psutil
import pytest

from processor.errors import ConfigError, Unavailable
from processor.kafka.client import KafkaException, Producer
from processor.trial.kafka import EmbeddedKafka, free_ports
from processor.trial.load import Event, send
from processor.trial.reader import high_watermarks, read_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    TopicFactory = Callable[..., str]


def transactional(kafka: EmbeddedKafka, name: str) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name, "log_level": 0})
    producer.init_transactions(30)
    return producer


def values(kafka: EmbeddedKafka, topic: str, *, committed: bool = True, timeout_seconds: float = 60) -> list[bytes]:
    read = read_topic(kafka.bootstrap_servers, topic, committed=committed, timeout_seconds=timeout_seconds)
    return [record.value or b"" for number in sorted(read) for record in read[number]]


def test_a_topic_has_the_partitions_and_settings_that_were_asked_for(kafka: EmbeddedKafka, topic: TopicFactory) -> None:
    made = topic("input", partitions=3, config={"cleanup.policy": "compact"})
    assert len(kafka.admin().list_topics(made, timeout=10).topics[made].partitions) == 3
    assert high_watermarks(kafka.bootstrap_servers, made) == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("what", ["same", "other"])
def test_two_topics_never_share_a_name(kafka: EmbeddedKafka, topic: TopicFactory, what: str) -> None:
    made = topic("same")
    if what == "same":
        with pytest.raises(KafkaException, match="already exists"):
            topic(what)
    else:
        assert topic(what) != made


def test_topics_are_not_made_by_asking_for_them(kafka: EmbeddedKafka) -> None:
    with pytest.raises(ConfigError):
        high_watermarks(kafka.bootstrap_servers, "nobody-made-this")


def test_aborted_records_are_hidden_from_read_committed_readers_alone(
    kafka: EmbeddedKafka, topic: TopicFactory, name: Callable[[str], str]
) -> None:
    made = topic(partitions=1)
    producer = transactional(kafka, name("id"))
    for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(made, value, b"k")
        producer.flush(30)
        end(30)
    assert values(kafka, made) == [b"kept"]
    assert values(kafka, made, committed=False) == [b"kept", b"dropped"]


def test_a_reader_waits_for_an_open_transaction_below_the_end(
    kafka: EmbeddedKafka, topic: TopicFactory, name: Callable[[str], str]
) -> None:
    made = topic(partitions=1)
    producer = transactional(kafka, name("id"))
    producer.begin_transaction()
    producer.produce(made, b"late", b"k")
    producer.flush(30)
    assert values(kafka, made, committed=False) == [b"late"]
    with pytest.raises(Unavailable, match="could not be read to its end"):
        values(kafka, made, timeout_seconds=1)
    producer.commit_transaction(30)
    assert values(kafka, made) == [b"late"]


@pytest.mark.usefixtures("embedded_kafka_installed")
def test_committed_records_survive_a_broker_that_is_killed_and_started_again(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path / "kafka", separate_controller=True) as kafka:
        made = kafka.create_topic("survivor", partitions=1)
        producer = transactional(kafka, "survivor")
        producer.begin_transaction()
        producer.produce(made, b"before", b"k")
        producer.commit_transaction(30)
        kafka.kill(1)
        assert set(kafka.pids) == {0}
        kafka.restart(1)
        send(kafka.bootstrap_servers, made, [Event(0, b"k", b"after")])
        assert values(kafka, made) == [b"before", b"after"]
        servers = kafka.bootstrap_servers
        kafka.pause(1)
        paused = psutil.Process(kafka.pids[1])
        deadline = time.monotonic() + 10
        while paused.status() != psutil.STATUS_STOPPED:  # a signal takes its time to be seen
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kafka.resume(1)
        assert values(kafka, made) == [b"before", b"after"]
    assert kafka.pids == {}

    with EmbeddedKafka(tmp_path / "kafka", separate_controller=True) as again:
        assert again.bootstrap_servers == servers
        assert values(again, made) == [b"before", b"after"]

    with pytest.raises(ConfigError, match="another shape"):
        EmbeddedKafka(tmp_path / "kafka", brokers=3)


@pytest.mark.usefixtures("embedded_kafka_installed")
def test_a_broker_that_does_not_start_shows_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path, properties={"num.io.threads": "many"})
    with pytest.raises(Unavailable, match=r"(?s)broker 1.*num\.io\.threads"):
        kafka.start()
    assert kafka.pids == {}


PARENT = """
import sys, time
from pathlib import Path
from processor.trial.kafka import EmbeddedKafka
kafka = EmbeddedKafka(Path(sys.argv[1]))
with kafka:
    print(kafka.pids[1], flush=True)
    time.sleep(600)
"""


def ends(process: psutil.Process, within_seconds: float = 30) -> bool:
    try:
        process.wait(within_seconds)
    except psutil.TimeoutExpired:
        return False
    return True


@pytest.mark.usefixtures("embedded_kafka_installed")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_broker_is_left_when_its_parent_ends(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    broker = psutil.Process(int(parent.stdout.readline()))
    helpers = [one for one in psutil.Process(parent.pid).children(recursive=True) if one.pid != broker.pid]
    assert helpers, "the watchdog is a child, too"
    os.killpg(parent.pid, how)  # as a terminal does it: the whole group of the foreground
    parent.wait(60)
    assert ends(broker)
    assert all(map(ends, helpers))
    parent.stdout.close()


def test_free_ports_are_distinct_and_none_that_the_system_hands_out() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    lowest = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if lowest.exists():
        assert max(ports) < int(lowest.read_text().split()[0])


def test_free_ports_pass_over_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from processor.trial import kafka

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(kafka, "_PORTS", range(port, port + 1))
        with pytest.raises(Unavailable, match="free ports"):
            free_ports(1)


def test_no_clusters_id_looks_like_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: UUID(bytes=b"\xf8" * 16))  # in url-safe base64 it begins with a dash
    EmbeddedKafka(tmp_path)
    assert not json.loads((tmp_path / "cluster.json").read_text())["id"].startswith("-")
