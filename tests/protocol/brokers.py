"""The abstract Kafka and the real one behind the same few calls, for the contract that both keep.

Producers, consumers and readers are the processor's own; only what lies below them differs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from processor.config import consumer_properties, load_settings, producer_properties, reader_properties
from processor.kafka.admin import Admin
from processor.kafka.consumer import SampleConsumer
from processor.kafka.producer import TransactionalProducer
from processor.recovery.changelog import ChangelogReader
from processor.stepping.sequence import SequenceRules
from protocol.abstract.client import CHANGELOG, INPUT
from protocol.abstract.client import Admin as AbstractAdmin
from protocol.abstract.disk import Disk
from protocol.abstract.log import Transaction
from protocol.history import History
from protocol.process import RETENTION_MS, Process
from protocol.stand_ins import inside
from protocol.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.trial.kafka import EmbeddedKafka


class Broker(Protocol):
    """An input of two partitions, a changelog of two, one group, an empty cluster around them."""

    input: str
    changelog: str
    admin: Any

    def producer(self, name: str) -> TransactionalProducer: ...

    def member(self, **callbacks: Callable[[list[int]], None]) -> SampleConsumer: ...

    def reader(self) -> ChangelogReader: ...

    def write_input(self, partition: int, values: list[bytes]) -> None:
        """Records of somebody else."""

    def hold_input(self, partition: int) -> Callable[[], None]:
        """Somebody else's transaction of one record is left open; returns what aborts it."""

    def tend(self) -> None:
        """Gives the partitions to the members, as far as that is not done."""

    def compact(self) -> None:
        """The changelog, as far as it can be now."""

    def time_out(self) -> None:
        """Lets open transactions take too long."""

    def outsider(self) -> Any:
        """What a client says that is no member of the group."""


def _nothing(_numbers: list[int]) -> None:
    pass


def new_member(properties: Any, topic: str, callbacks: dict[str, Callable[[list[int]], None]]) -> SampleConsumer:
    chosen = dict.fromkeys(("assigned", "revoked", "lost"), _nothing) | callbacks
    consumer = SampleConsumer(properties, topic, unavailable_seconds=30)
    consumer.subscribe(**chosen)
    return consumer


class AbstractBroker:
    """The real clients' own code upon the abstract Kafka, where nothing goes wrong by itself."""

    input, changelog = INPUT, CHANGELOG

    def __init__(self) -> None:
        self.world = World(History(SequenceRules(), [], [], []))
        self.world.is_calm = True
        self.world.process = self._process("admin")
        self.admin: Any = AbstractAdmin(self.world.process)

    def _process(self, name: str) -> Process:
        return Process(self.world, name, Disk())

    def producer(self, name: str) -> TransactionalProducer:
        with self.world.running(self._process(name)):
            return TransactionalProducer({"transactional.id": name}, 30)

    def member(self, **callbacks: Callable[[list[int]], None]) -> SampleConsumer:
        with self.world.running(self._process("member")):
            return new_member({}, INPUT, callbacks)

    def reader(self) -> ChangelogReader:
        return ChangelogReader({}, CHANGELOG, "changelog-id")

    def write_input(self, partition: int, values: list[bytes]) -> None:
        log = self.world.kafka.log(INPUT, partition)
        for value in values:
            log.append(b"k", value)
        log.append(None, None, is_marker=True)

    def hold_input(self, partition: int) -> Callable[[], None]:
        log, transaction = self.world.kafka.log(INPUT, partition), Transaction("writer")
        log.open[id(transaction)] = log.end
        log.append(b"k", b"held", None, transaction)

        def abort() -> None:
            transaction.state = "aborted"
            log.append(None, None, None, transaction, is_marker=True)
            del log.open[id(transaction)]

        return abort

    def tend(self) -> None:
        group = self.world.kafka.group
        if group.members and (not group.is_settled() or not all(member.owned for member in group.members[:2])):
            group.rebalance({p: group.members[p % len(group.members)] for p in (0, 1)})
        for transaction in self.world.kafka.decided():
            self.world.kafka.deliver_markers(transaction)

    def compact(self) -> None:
        for partition in (0, 1):
            log = self.world.kafka.log(CHANGELOG, partition)
            log.compact(log.end, self.world.now_ms, RETENTION_MS)

    def time_out(self) -> None:
        for transaction in list(self.world.kafka.transactions):
            self.world.kafka.time_out(transaction)

    def outsider(self) -> Any:
        return b""


class RealBroker:
    """The embedded Kafka."""

    def __init__(self, kafka: EmbeddedKafka, name: Callable[[str], str], topic: Callable[..., str]) -> None:
        compacted = {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.01",
            "segment.ms": "100",
            "delete.retention.ms": "3600000",
        }
        given = {
            "kafka.bootstrap_servers": kafka.bootstrap_servers,
            "kafka.group_id": name("group"),
            "input.topic": topic("input", partitions=2),
            "output.topic": name("output"),
            "state.changelog_topic": topic("changelog", partitions=2, config=compacted),
        }
        self.settings = load_settings(None, {}, [f"{key}={value}" for key, value in given.items()]).settings
        self.input, self.changelog = self.settings.input.topic, self.settings.changelog_topic
        self.admin: Any = Admin(self.settings)
        self._members: list[SampleConsumer] = []

    def producer(self, name: str) -> TransactionalProducer:
        identity = f"{self.settings.kafka.group_id}-{name}"
        patience = {"transaction.timeout.ms": 1_500} if name == "slow" else {}
        return TransactionalProducer({**producer_properties(self.settings, identity), **patience}, 30)

    def member(self, **callbacks: Callable[[list[int]], None]) -> SampleConsumer:
        member = new_member(consumer_properties(self.settings), self.input, callbacks)
        self._members.append(member)
        return member

    def reader(self) -> ChangelogReader:
        return ChangelogReader(reader_properties(self.settings), self.changelog, "unused")

    def write_input(self, partition: int, values: list[bytes]) -> None:
        writer = self.producer("writer")
        writer.send(self.input, partition, [b"k"] * len(values), values)
        writer.commit()

    def hold_input(self, partition: int) -> Callable[[], None]:
        writer = self.producer("writer")
        writer.send(self.input, partition, [b"k"], [b"held"])
        writer.flush()
        return writer.drop

    def tend(self) -> None:
        pass

    def compact(self) -> None:
        """A record behind a segment's end lets the broker close the segment; its cleaner comes by each second."""
        filler = self.producer("filler")
        time.sleep(0.15)
        filler.send(self.changelog, 0, [b"filler"], [b""])
        filler.commit()
        time.sleep(0.1)

    def time_out(self) -> None:
        pass

    def outsider(self) -> Any:
        return self.member()._consumer.consumer_group_metadata()  # it has not joined

    def close(self) -> None:
        for member in self._members:
            member.close()


def abstract_broker() -> Iterator[AbstractBroker]:
    broker = AbstractBroker()
    with inside(broker.world):
        yield broker
